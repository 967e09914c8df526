from __future__ import annotations

import pytest

from adascale_runtime.errors import BadInput
from adascale_tf.bridge import backbones
from adascale_tf.bridge.functional import read_graph
from adascale_tf.graph import shapes
from adascale_tf.network import create

WHAT_TO_DO = "reshape the data to one of these, or give a network of your own with --model."


@pytest.mark.parametrize(
    ("shape", "who"), [((4,), "No built-in backbone takes vectors"), ((5, 8, 8, 3), "takes examples")]
)
def test_what_no_backbone_takes_is_told_with_what_can_be_done(shape: tuple[int, ...], who: str) -> None:
    with pytest.raises(BadInput) as caught:
        backbones.default_for(shape)
    assert who in str(caught.value) and str(shape) in str(caught.value) and WHAT_TO_DO in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("gru", (4,)), ("resnet", (4,)), ("gru", (8, 8, 3)), ("resnet", (9, 8)), ("resnet-wide", (40, 32))],
)
def test_a_backbone_that_does_not_suit_says_what_does(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=f"^Backbone '{name}' does not take .*{WHAT_TO_DO}$"):
        backbones.build(name, shape, 3)


@pytest.mark.parametrize("name", ["resnet", "resnet-wide"])
def test_small_images_can_be_enlarged(name: str) -> None:
    with pytest.raises(BadInput, match=rf"^Backbone '{name}' .* have 9x7; enlarge them, as with --input-size 32\.$"):
        backbones.build(name, (7, 9, 3), 3)


@pytest.mark.parametrize(("name", "millions"), [("resnet", 26.7), ("resnet-wide", 105.8)])
def test_the_cost_of_a_backbone(name: str, millions: float) -> None:
    model = backbones.build(name, (32, 32, 3), 10)
    assert model.name == name and len(model.outputs) == 3
    assert shapes.macs(read_graph(model)) / 1e6 == pytest.approx(millions, abs=0.1)
    assert len(create.default_recipes(model, name)) == 11


@pytest.mark.parametrize(("shape", "name"), [((32, 32, 3), "resnet"), ((64, 40), "gru")])
def test_images_and_sequences_have_a_backbone(shape: tuple[int, ...], name: str) -> None:
    assert backbones.default_for(shape) == name
