"""Operators of several outputs that LiteRT's GPU accelerator takes and runs wrongly, by what reads their outputs.

Warnings of :mod:`converters.delegates.gpu_wrong` name them; :mod:`converters.slices` rewrites them.
"""

from __future__ import annotations

from converters.delegates.operator import Operator, Subgraph

#: Kinds that join their inputs element by element.
JOINED = "ADD SUB MUL DIV MAXIMUM MINIMUM SQUARED_DIFFERENCE POW FLOOR_DIV FLOOR_MOD LESS"
_SIBLINGS = frozenset(f"{JOINED} GREATER GREATER_EQUAL LESS_EQUAL EQUAL NOT_EQUAL ADD_N LOGICAL_AND LOGICAL_OR".split())


def read(graph: Subgraph) -> set[int]:
    """The indices of tensors that an operator of the subgraph reads, or that leave it."""
    found = {t.index for one in graph.operators for t in one.inputs if t is not None}
    return found | {t.index for t in graph.outputs}


def unread(graph: Subgraph) -> list[Operator]:
    """Operators of several outputs of which nothing reads one."""
    known = read(graph)
    several = [one for one in graph.operators if len(one.outputs) > 1]
    return [one for one in several if any(t.index not in known for t in one.outputs)]


def joins(graph: Subgraph) -> list[tuple[Operator, int]]:
    """Arithmetic that joins two outputs of one operator, with that operator's ``index``.

    One of the two comes from it directly, the other directly or through operators of one variable input.
    """
    origins, found = _origins(graph), []
    for one in graph.operators:
        came = [origins[t.index] for t in one.variables if t.index in origins] if one.kind in _SIBLINGS else []
        for origin in dict.fromkeys(origin for origin, direct in came if direct):
            if sum(other == origin for other, _ in came) > 1:
                found.append((one, origin))
    return found


def _origins(graph: Subgraph) -> dict[int, tuple[int, bool]]:
    """For tensors: the operator of several outputs that they come from, and whether directly or through others."""
    found: dict[int, tuple[int, bool]] = {}
    for one in graph.operators:
        sources = one.variables
        if len(one.outputs) > 1:
            found.update({t.index: (one.index, True) for t in one.outputs})
        elif len(sources) == 1 and sources[0].index in found and one.outputs:
            found[one.target.index] = (found[sources[0].index][0], False)
    return found
