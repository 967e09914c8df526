"""What is said of a bundle whose branches lost too much."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams import bundle, losses
from adascale_runtime.seams.manifest import Accuracy, Branch, Cost, Manifest, Samples, TensorSpec, Verification

SPEC = TensorSpec("x", (1, 4), "float32")


def branch(recipe: str, before: float | None, after: float) -> Branch:
    training = {} if before is None else {"keras_accuracy": before}
    return Branch(
        recipe, recipe, 1, "int8", "f", "s", 1, SPEC, SPEC, Cost(1, 1, 1, 1, 1, 1),
        Accuracy("top-1", after, 200, "test"), Verification(200, 1.0, 0.1, 1.0), "e", training,
    )  # fmt: skip


def manifest(*found: Branch, **facts: object) -> Manifest:
    plain = Manifest(
        bundle.FORMAT, "n", "classification", "resnet", ("a", "b"), {}, found, (), Samples("s", 0, ()), "now", {}
    )
    return replace(plain, **facts)  # type: ignore[arg-type]


def test_a_loss_beyond_the_mark_is_said() -> None:
    good, bad = branch("int8", 0.95, 0.90), branch("width(0.5)+int8", 0.95, 0.866)
    found = manifest(good, bad)
    assert (found.lossy(good), found.lossy(bad)) == (False, True)
    assert losses.remarks(found) == [
        "Branch 'width(0.5)+int8' loses 8.4 points of accuracy as a file (95.0% -> 86.6%); try another precision, such "
        "as int16x8 or dynamic."
    ]
    assert losses.remarks(replace(found, max_loss=10.0)) == []


@pytest.mark.parametrize(
    ("max_loss", "after", "refused"), [(5.0, 0.751, False), (5.0, 0.749, True), (40.0, 0.6, False), (40.0, 0.5, True)]
)
def test_twenty_points_are_too_many_unless_more_are_allowed(max_loss: float, after: float, refused: bool) -> None:
    reason = losses.refused_loss(branch("int8", 0.95, after), max_loss)
    assert (reason is not None) == refused
    assert reason is None or f"95.0% -> {after:.1%}" in reason


def test_what_was_left_out_is_said() -> None:
    left = manifest(branch("full", 0.9, 0.9), left_out={"int8": "its file loses 30.0 points"})
    assert losses.remarks(left) == ["Branch 'int8' is left out: its file loses 30.0 points."]


def test_a_collapsed_structure_and_a_full_branch_worse_than_the_model_are_said() -> None:
    found = manifest(
        branch("full", 0.80, 0.80), branch("width(0.1)+int8", 0.37, 0.36), branch("width(0.9)", 0.7, 0.7),
        given=Accuracy("top-1", 0.875, 200, "test"),
    )  # fmt: skip
    assert losses.remarks(found) == [
        "Already as float networks these stand more than 15 points below full (80.0%): width(0.1)+int8 (37.0%); train "
        "longer, or choose milder steps.",
        "The branch 'full' is 7.5 points worse than the model as it was given (87.5% -> 80.0%); train with more data "
        "or for another number of epochs.",
    ]


def test_older_manifests_have_no_losses() -> None:
    data = codec.to_json(manifest(branch("int8", None, 0.4)))
    for name in ("given", "max_loss", "left_out"):
        del data[name]
    found = codec.from_json(Manifest, data, "manifest.json")
    assert (found.given, found.max_loss, found.left_out) == (None, 5.0, {})
    assert found.branches[0].loss == 0.0 and losses.remarks(found) == []


@pytest.mark.parametrize(
    ("value", "samples", "low", "high"),
    [(0.5, 100, 0.4038, 0.5962), (1.0, 100, 0.963, 1.0), (0.0, 20, 0.0, 0.1611), (0.3, 0, 0.0, 1.0)],
)
def test_accuracies_have_an_interval(value: float, samples: int, low: float, high: float) -> None:
    assert Accuracy("top-1", value, samples, "test").interval == pytest.approx((low, high), abs=1e-4)
