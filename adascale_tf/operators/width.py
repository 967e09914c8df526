"""Channel width: keep the first share of every layer's channels.

The backbone's channels are sorted by importance beforehand (:mod:`adascale_tf.graph.importance`), and training with
shared prefixes keeps them so.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from adascale_runtime.seams.recipe import Step
from adascale_tf.graph import channels
from adascale_tf.graph.weights import Cut
from adascale_tf.operators.plan import Plan
from adascale_tf.operators.registry import operator
from adascale_tf.operators.rewriting import nothing_to_do, number

#: Widths are multiples of this where the parent is wide enough: SIMD kernels pad the rest anyway.
MULTIPLE = 4


@operator(
    "width", "structure", "width(0.5)", at_blocks=True,
    strengths=("0.25", "0.375", "0.5", "0.625", "0.75", "0.875"),
    formula="`W[..., :s·i, :s·o]`, channels sorted by the L1 norm of their filters first",
)  # fmt: skip
def apply(plan: Plan, step: Step) -> Plan:
    """Keep a share in (0, 1] of the channels, cut consistently along residuals: ``width(0.5)``, ``width(0.5)@stage2``.

    Channels are cut in dependency groups; with a block, only groups made entirely inside it. Recurrent layers lose
    hidden units the same way.

    References:
        Yu et al., Slimmable Neural Networks, ICLR 2019.
        Cai et al., Once-for-All, ICLR 2020.
        Li et al., Pruning Filters for Efficient ConvNets, ICLR 2017.
    """
    share = number(step, 0.0, 1.0)
    analysed = channels.analyse(plan.graph)
    keep = {
        index: np.arange(kept_channels(group.size, share))
        for index, group in enumerate(analysed.groups)
        if not group.fixed and _inside(plan, group, step.block)
    }
    if not keep:
        raise nothing_to_do(step, "channels that may be cut")
    graph, views = channels.cut(plan.graph, analysed, keep, lambda node, name: plan.ranks.get((node, name), 0))
    cuts = {key: (plan.ranks[key], Cut(plan.weight(*key), axes)) for key, axes in views.items()}
    return replace(plan.with_weights(cuts), graph=graph)


def _inside(plan: Plan, group: channels.Group, block: str | None) -> bool:
    return block is None or all(plan.graph[name].block == block for name in group.producers)


def kept_channels(size: int, share: float) -> int:
    """How many of ``size`` channels a share keeps: at least one, a multiple of 4 where 4 or more remain."""
    kept = max(1, round(size * share))
    return min(size, max(MULTIPLE, round(kept / MULTIPLE) * MULTIPLE)) if kept >= MULTIPLE else kept
