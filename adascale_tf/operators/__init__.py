"""Compression operators: each turns a :class:`~adascale_tf.operators.plan.Plan` into a cheaper one.

One file an operator, which says everything of it. To add one: a new file with a function ``(plan, step) -> Plan``
under ``@operator(...)``, and its name among the imports below (a plug-in's operators register when it is imported). It
imports ``plan``, ``registry`` and ``rewriting``. Kinds, in the order in which a recipe's steps must come:

* ``structure``: changes layers or widths;
* ``weights``: keeps the layers, limits their weights' values. It and ``structure`` make a *trunk*: branches that have
  them in common are trained as one;
* ``exit``: where the branch ends;
* ``precision``: how the converter writes the numbers.
"""

from adascale_tf.operators import (  # noqa: I001  (the order of tables, and of the steps that a search writes)
    width,
    depth,
    resolution,
    steps,
    lowrank,
    separable,
    fire,
    ghost,
    prune,
    cluster,
    exit,
    precision,
)
from adascale_tf.operators.applying import applies, apply, idle_steps, structure, trunk
from adascale_tf.operators.plan import FLOAT32, Plan
from adascale_tf.operators.registry import KINDS, OPERATORS, Operator, check, exclusive, lookup, operator

__all__ = [
    "FLOAT32", "KINDS", "OPERATORS", "Operator", "Plan", "applies", "apply", "check", "cluster", "depth", "exclusive",
    "exit", "fire", "ghost", "idle_steps", "lookup", "lowrank", "operator", "precision", "prune", "resolution",
    "separable", "steps", "structure", "trunk", "width",
]  # fmt: skip
