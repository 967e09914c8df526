from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, parse
from adascale_tf import operators
from adascale_tf.operators import page
from adascale_tf.operators.width import kept_channels


@pytest.fixture(scope="module")
def network() -> Any:
    from adascale_tf.bridge import backbones
    from adascale_tf.network.elastic import ElasticNetwork

    return ElasticNetwork(backbones.build("resnet", (32, 32, 1), 10), [parse("full")])


def plan(network: Any, text: str) -> operators.Plan:
    return operators.apply(network.trunks[0].plan, parse(text))


def test_width_halves_channels_along_residuals(network: Any) -> None:
    half = plan(network, "width(0.5)")
    assert half.graph["stage1_block1_2_conv"].config["filters"] == 8
    assert half.graph["head3_logits"].config["units"] == 10
    assert half.graph["stage3_block2_add"].shape[-1] == 32


def test_width_of_one_block_leaves_the_others(network: Any) -> None:
    part = plan(network, "width(0.5)@stage3")
    assert part.graph["stage2_block1_1_conv"].config["filters"] == 32
    assert part.graph["stage3_block1_1_conv"].config["filters"] == 32


def test_widths_of_different_blocks_compose(network: Any) -> None:
    both = plan(network, "width(0.5)@stage1+width(0.25)@stage2")
    assert both.graph["stage1_block1_1_conv"].config["filters"] == 8
    assert both.graph["stage2_block1_1_conv"].config["filters"] == 8


def test_every_operator_says_what_it_does_with_an_example_that_parses(network: Any) -> None:
    for name, one in operators.OPERATORS.items():
        assert one.summary.endswith((".", ":", "``.")) or "``" in one.summary, name
        assert parse(one.example).steps[0].operator == name and one.references, name
        for step in one.steps(network.whole.graph):
            assert parse(str(step)).steps == (step,), name


def test_an_operator_is_registered_once_and_of_a_known_kind() -> None:
    with pytest.raises(
        BadInput, match=r"'width' among the operators, but that name is taken by adascale_tf.operators.width.apply"
    ):
        operators.operator("width", "structure", "width(0.5)")(lambda plan, step: plan)
    with pytest.raises(ValueError, match="of the kind 'magic', not one of structure"):
        operators.operator("wand", "magic", "wand(0.5)")


def test_the_documentation_has_the_operators_of_the_registry() -> None:
    text = (Path(__file__).parents[3] / page.PAGE).read_text()
    assert text == page.written(text), "run 'python -m adascale_tf.operators.page'"


def test_depth_leaves_out_identity_blocks(network: Any) -> None:
    names = {n.name for n in plan(network, "depth(0.5)").graph.nodes}
    assert "stage1_block1_1_conv" in names and "stage1_block2_1_conv" not in names
    assert "stage2_block1_1_conv" in names and "stage2_block2_1_conv" not in names


def test_exit_keeps_only_what_it_needs(network: Any) -> None:
    early = plan(network, "exit(1)")
    assert early.exit == 1 and early.graph.outputs == ("head1_logits",)
    assert not any(n.name.startswith("stage2") for n in early.graph.nodes)
    assert plan(network, "full").exit == 3


def test_trunk_is_the_structure_alone() -> None:
    assert operators.trunk(parse("width(0.5)+exit(2)+int8")) == parse("width(0.5)")
    assert operators.trunk(parse("exit(2)+int8")) == Recipe()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("magic(0.5)", "no operator 'magic'; choose among cluster, depth, dynamic, exit, fire"),
        ("width", "needs a number"),
        ("width(1.5)", "outside"),
        ("width(0)", "outside"),
        ("width(0.5)@nowhere", "no block 'nowhere'; it has"),
        ("depth(0.5)@stem", "no residual block"),
        ("exit(4)", r"exit\(1\) to exit\(3\)"),
        ("exit(2)@stage1", "cannot be limited"),
        ("exit(1)+exit(2)", "names two exit steps"),
        ("int8+float16", "names two precision steps"),
        ("int8(4)", "takes no strength"),
        ("prune(0.5)@head1", "finds no layer to prune"),
        ("prune(0.5)+cluster(16)", "names two weights steps"),
        ("prune(0.5)+width(0.5)", "changes what 'prune.0.5.' has settled; write 'width.0.5.' first"),
        ("int8+exit(1)", "write 'exit.1.' first"),
        ("width(0.5)+width(0.5)", "names 'width' twice for the same layers"),
        ("depth(0.5)@stage1+depth(0.5)@stage2+depth(0.5)@stage2", "names 'depth' twice for the same layers"),
        ("prune(3:4)", "only for 2:4"),
        ("prune(0.5:axb)", "HEIGHTxWIDTH"),
        ("cluster(1)", "from 2 to 256"),
        ("separable(0.5)", "takes no strength"),
        ("lowrank(1)", "outside"),
        ("steps(0.5)", "one sequence"),
        ("resolution(0.3)", "changes what 'head1_flat' gives"),
        ("resolution(0.5)@stage1", "cannot be limited"),
        ("ghost(0.5)@stem", "no convolution without bias"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason(network: Any, text: str, sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence):
        plan(network, text)


@pytest.mark.parametrize(
    ("size", "share", "kept"), [(16, 0.5, 8), (64, 0.25, 16), (6, 0.5, 3), (10, 0.9, 8), (1, 0.1, 1)]
)
def test_kept_channels_suit_simd(size: int, share: float, kept: int) -> None:
    assert kept_channels(size, share) == kept


def test_a_lower_resolution_goes_through_layers_split_before() -> None:
    import tf_keras

    from adascale_tf.bridge.functional import read_graph, slots

    inputs = tf_keras.Input((16, 16, 3))
    x = tf_keras.layers.Conv2D(16, 3, name="a_conv")(inputs)
    x = tf_keras.layers.Conv2D(16, 3, name="b_conv")(x)
    outputs = tf_keras.layers.Dense(4, name="logits")(tf_keras.layers.GlobalAveragePooling2D()(x))
    model = tf_keras.Model(inputs, outputs)
    whole = operators.Plan(read_graph(model), {key: len(slot.variable.shape) for key, slot in slots(model).items()})
    plan = operators.apply(whole, parse("lowrank(0.5)+resolution(0.5)"))
    assert plan.graph["b_conv"].shape == (4, 4, 16)
