"""What the headline benchmark trains: its branches, its splits, and networks that a killed run takes up again."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.progress import silent
from adascale_tf.data import Dataset

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import headline_parts
import ours
from parts import Parts


def test_branches_are_named_by_their_exit() -> None:
    named = ours.exits(("full", "width(0.5)"), 2)
    assert named == ("exit(1)", "full", "width(0.5)+exit(1)", "width(0.5)")
    assert [recipe for recipe in named if ours.of_full(recipe)] == ["full"]


@pytest.mark.parametrize("size", [headline_parts.SHORT, headline_parts.FULL, headline_parts.SMOKE])
def test_every_size_joins_what_it_ships(size: Any) -> None:
    variants = size.variants(3)
    assert len(variants) == len(size.fours) + len(size.thirties)
    assert len(variants[-1].recipes) == 3 * len(size.ten) and variants[0].recipes == size.four
    assert any(set(ends) <= set(size.structures) for ends in ours.EVOLVED.values())


def test_nobody_trains_on_the_validation_split(digits: Dataset) -> None:
    numbered = replace(digits, x_train=np.arange(len(digits.x_train)))
    size = replace(headline_parts.SHORT, images=200, validation=50)
    found = headline_parts.split(numbered, size)
    assert len(found.x_train) == 200 and len(found.x_val) == 50 and not set(found.x_train) & set(found.x_val)
    assert (digits.y_train[found.x_val] == found.y_val).all() and (digits.y_train[found.x_train] == found.y_train).all()


@pytest.mark.slow
def test_a_killed_run_goes_on_with_its_networks(digits: Dataset, tmp_path: Path) -> None:
    size = replace(headline_parts.SMOKE, images=128, validation=64, epochs=1, ten=("full", "prune(0.75)"), four=())
    dataset = replace(headline_parts.split(digits, size), x_test=digits.x_test[:64], y_test=digits.y_test[:64])
    first = headline_parts.Seed(dataset, size, 0, Parts(tmp_path / "x", {}), silent)
    facts = first._take("pretrain", first._pretrain), first._take("join", first._join)
    again = headline_parts.Seed(dataset, size, 0, Parts(tmp_path / "x", {}), silent)
    assert (again._take("pretrain", pytest.fail), again._take("join", pytest.fail)) == facts
    assert ours.measured(again._joined, facts[1]["branches"], dataset) == facts[1]["branches"]
    assert ours.measured(again._full, ["full"], dataset)["full"] == facts[0]["branches"]["full"]
