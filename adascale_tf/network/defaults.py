"""The default branches of a network: from the whole network to a few percent of its cost."""

from __future__ import annotations

from adascale_runtime.seams.recipe import Recipe, parse_list
from adascale_tf import operators
from adascale_tf.operators import Plan

_RESIDUAL = (
    "full,float16,int8,exit(2)+int8,depth(0.5)+int8,prune(0.5)+dynamic,width(0.5),width(0.5)+int8,"
    "width(0.5)+exit(2)+int8,width(0.25)+int8,width(0.25)+exit(2)+int8"
)
#: What suits the built-in backbones.
BUILT_IN = {
    "resnet": _RESIDUAL,
    "resnet-wide": _RESIDUAL,
    "gru": (
        "full,float16,int8,exit(1)+int8,prune(0.5)+dynamic,width(0.5),width(0.5)+int8,width(0.5)+exit(1)+int8,"
        "width(0.25)+int8,width(0.25)+exit(1)+int8"
    ),
}
#: What is tried on any other network, in this order.
CANDIDATES = (
    "full,float16,dynamic,int8,width(0.75)+int8,width(0.5),width(0.5)+int8,depth(0.5)+int8,lowrank(0.5)+int8,"
    "exit(2)+int8,width(0.5)+exit(2)+int8,exit(1)+int8,width(0.5)+exit(1)+int8"
)


def recipes(built_in: str, plan: Plan) -> list[Recipe]:
    """The recipes for a backbone: a built-in one's own, or every candidate that applies to its graph and changes it.

    ``built_in``: the name of the built-in backbone; empty for any other model.
    """
    if built_in in BUILT_IN:
        return parse_list(BUILT_IN[built_in])
    return [recipe for recipe in parse_list(CANDIDATES) if operators.applies(plan, recipe)]
