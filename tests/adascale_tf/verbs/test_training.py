"""The options of a training, and what a build gives."""

from __future__ import annotations

import pytest

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_tf.verbs.build import Built, parsed
from adascale_tf.verbs.training import Training


def test_several_batches_a_step_are_for_adascale_sgd() -> None:
    assert Training().rule == "adamw"
    assert Training(accumulate=2).rule == Training(strategy="mirrored").rule == "sgd"
    assert Training(optimizer="sgd").rule == "sgd"


def test_networks_that_come_trained_get_a_lower_rate() -> None:
    fresh, given = (Training(flip=True).schedule(2000, 7, trained) for trained in (False, True))
    assert [one.rate("pretrain") for one in (fresh, given)] == [3e-3, 1e-3]
    assert fresh.rate("join") == given.rate("join") == 3e-3  # compressed branches have much to learn in both
    assert fresh.length("pretrain") == fresh.epochs and given.length("pretrain") == 0
    assert (fresh.epochs, fresh.seed, fresh.flip) == (10, 7, True)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"epochs": 0}, "A training's epochs is 0; give at least 1"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"replicas": -1}, "replicas is -1"),
        ({"optimizer": "lion"}, "has the optimizer lion; use adamw or sgd"),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        Training(**options).schedule(100, 0, False)  # type: ignore[arg-type]


def test_a_worker_without_a_bundle_says_so() -> None:
    built = Built(None)
    assert built.remarks == ()
    with pytest.raises(AdaScaleError, match="not the chief"):
        _ = built.bundle


def test_recipes_are_text_or_lists() -> None:
    assert (
        parsed("full,width(0.5)+int8") == parsed(["full", "width(0.5)+int8"]) == parsed(parsed("full,width(0.5)+int8"))
    )
    with pytest.raises(BadInput):
        parsed(["width(0.5"])
