"""Vectors for the Kotlin runtime: the real code reads some cases and refuses others."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from adascale_runtime.seams import bundle
from tests.vectors import seams


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seams.write(tmp_path_factory.mktemp("v"))


@pytest.mark.parametrize(
    "name", ["json", "budgets", "recipes", "manifests", "predictors", "predictions", "devices", "traces"]
)
def test_some_cases_are_read_and_others_refused(folder: Path, name: str) -> None:
    cases = json.loads((folder / f"{name}.json").read_text())
    read = sum("result" in case for case in cases)
    refused = sum("error" in case for case in cases)
    assert min(read, refused) >= len(cases) // 10, (read, refused)
    assert all(case.get("error", ".")[-1] in ".?" for case in cases)


def test_bundles_are_whole(folder: Path) -> None:
    for case in json.loads((folder / "bundles.json").read_text()):
        assert bundle.load(folder / case["folder"]).digest == case["digest"]


def test_a_case_can_be_read_again(folder: Path, tmp_path: Path) -> None:
    case = json.loads((folder / "manifests.json").read_text())[0]
    path = tmp_path / "manifest.json"
    path.write_bytes(base64.b64decode(case["content"]))
    assert seams._manifest(path) == case["result"]
