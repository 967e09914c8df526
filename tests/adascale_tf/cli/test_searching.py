"""What ``adascale search`` prints: a table, JSON, and the command that trains what it chose."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams.recipe import parse_list
from adascale_tf.cli import main
from adascale_tf.network.front import OBJECTIVES, Candidate
from adascale_tf.verbs.search import Searched
from tests.fixtures import small_model


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asked for; it gets two branches."""
    asked: dict[str, Any] = {}

    def searched(source: Path, predictors: Path | None, **options: Any) -> Searched:
        asked.update(options, source=source, predictors=predictors)
        chosen = [
            Candidate(recipe, 0.9, {"latency_ms": 1.25, "size_bytes": 14_300.0}, (0.87, 0.93))
            for recipe in parse_list("width(0.5)+int8,full")
        ]
        return Searched(tuple(chosen), 48, (OBJECTIVES["latency"], OBJECTIVES["size"]), "validation")

    monkeypatch.setattr("adascale_tf.verbs.search.search", searched)
    return asked


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    return int(ended.value.code or 0), *capsys.readouterr()


def test_the_table_ends_with_a_command_to_paste(told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(
        capsys, "search", "my bundle.checkpoint", "--data", "digits", "--objectives", "latency,size", "--predictors",
        "p.json", "--steps", 0,
    )  # fmt: skip
    assert code == 0 and (told["objectives"], told["steps"], told["predictors"]) == ("latency,size", 0, Path("p.json"))
    for piece in ("The best 2 of 48 recipes", "accuracy (validation)", "90.00%", "87.0% to 93.0%", "1.250", "14.3 kB"):
        assert piece in out
    last = out.strip().splitlines()[-1]
    words = shlex.split(last)
    assert words[:3] == ["adascale", "specialise", "my bundle.checkpoint"]
    assert (
        words[words.index("--recipes") + 1] == "width(0.5)+int8,full" and words[words.index("--data") + 1] == "digits"
    )


def test_json_has_the_same_facts(told: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "search", "bundle", "--json")
    assert code == 0 and told["objectives"] == "latency"
    facts = json.loads(out)
    assert (facts["seen"], facts["objectives"], facts["split"]) == (48, ["latency", "size"], "validation")
    assert facts["chosen"][0] == {
        "recipe": "width(0.5)+int8", "accuracy": 0.9, "interval": [0.87, 0.93], "latency_ms": 1.25,
        "size_bytes": 14300.0,
    }  # fmt: skip


def test_a_bundle_is_searched_for_its_smallest_branches(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = small_model.write(tmp_path / "b", {"full": small_model.pack(small_model.tree())})
    code, out, _ = run(capsys, "search", root, "--objectives", "size")
    assert code == 0 and out.strip().splitlines()[-1] == "--recipes 'full'"
    code, _, err = run(capsys, "search", root, "--objectives", "size,energy")
    assert code == 2 and "name the device's predictors with --predictors" in err
