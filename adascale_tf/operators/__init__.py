"""Compression operators: each turns a :class:`~adascale_tf.operators.plan.Plan` into a cheaper one.

One file an operator. To add one: a new file with a function ``(plan, step) -> Plan`` under ``@operator("name", kind,
example)``, and its import below (a plug-in's module is imported for it). Operators import ``plan``, ``registry`` and
``rewriting``. Kinds, in the order in which a recipe's steps must come:

* ``structure``: changes layers or widths;
* ``weights``: keeps the layers, limits their weights' values. It and ``structure`` make a *trunk*: branches that have
  them in common are trained as one;
* ``exit``: where the branch ends;
* ``precision``: how the converter writes the numbers.
"""

from adascale_tf.operators import (  # the built-in operators register themselves
    cluster,
    depth,
    exit,
    fire,
    ghost,
    lowrank,
    precision,
    prune,
    resolution,
    separable,
    steps,
    width,
)
from adascale_tf.operators.applying import apply, idle_steps, structure, trunk
from adascale_tf.operators.plan import FLOAT32, Plan
from adascale_tf.operators.registry import KINDS, OPERATORS, Operator, check, lookup, operator

__all__ = [
    "FLOAT32", "KINDS", "OPERATORS", "Operator", "Plan", "apply", "check", "cluster", "depth", "exit", "fire", "ghost",
    "idle_steps", "lookup", "lowrank", "operator", "precision", "prune", "resolution", "separable", "steps",
    "structure", "trunk", "width",
]  # fmt: skip
