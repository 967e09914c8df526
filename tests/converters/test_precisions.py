"""The records of precisions, and what is done with one that nobody declared here."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.seams import bundle
from adascale_runtime.seams import precisions as seam
from adascale_runtime.seams.predictors import features
from converters import precisions
from converters.precisions import PRECISIONS
from profiling import meters


def test_every_record_agrees_with_what_old_bundles_mean() -> None:
    for name, record in PRECISIONS.items():
        assert record.name == name and record.summary.endswith(".") and record.mac_pj > 0
        assert seam.arithmetic(name) == record.arithmetic


def test_records_need_no_tensorflow() -> None:
    code = "import sys, converters.precisions; print('tensorflow' in sys.modules)"
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True).stdout == "False\n"


def test_a_precision_that_nobody_declared_is_a_sentence() -> None:
    with pytest.raises(BadInput, match="There is no precision 'int3'; choose among dynamic, float16, "):
        precisions.lookup("int3")
    with pytest.raises(BadInput, match="'int3' has no arithmetic"):
        precisions.of("int3")
    with pytest.raises(BadInput, match="'int3' has the arithmetic 'magic', which is not one of float"):
        seam.arithmetic("int3", "magic")


def test_a_device_predicts_a_precision_that_it_has_never_heard_of(built: bundle.Bundle) -> None:
    branch = built.manifest.branch("int8")
    told = replace(branch.cost, arithmetic="integer")
    assert features(told, "int3") == features(branch.cost, "int8")
    assert meters.estimate(told, "int3") == meters.estimate(branch.cost, "int8")


def test_bundles_carry_the_arithmetic(built: bundle.Bundle) -> None:
    for branch in built.manifest.branches:
        assert branch.cost.arithmetic == PRECISIONS[branch.precision].arithmetic


def test_a_manifest_without_the_arithmetic_is_read_if_its_precision_is_an_old_one(copied: Path) -> None:
    path = copied / "manifest.json"
    manifest = json.loads(path.read_text())
    for branch in manifest["branches"]:
        del branch["cost"]["arithmetic"]
    path.write_text(json.dumps(manifest))
    assert {b.cost.arithmetic for b in bundle.load(copied).manifest.branches} == {""}
    manifest["branches"][0]["precision"] = "int3"
    path.write_text(json.dumps(manifest))
    with pytest.raises(BadBundle, match="has the precision 'int3' of the arithmetic '', but this program knows"):
        bundle.load(copied)
    manifest["branches"][0]["cost"]["arithmetic"] = "float"
    path.write_text(json.dumps(manifest))
    assert bundle.load(copied).manifest.branches[0].precision == "int3"
