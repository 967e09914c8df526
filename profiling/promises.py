"""What was known of a delegate from a branch's file alone, beside what was measured; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adascale_runtime.device import nnapi
from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.records import Delegation, Measurement
from adascale_runtime.seams.support import Support


@dataclass(frozen=True)
class Promise:
    """What was known of a delegate and a branch before anything ran, beside what was measured."""

    #: The support table's entry, such as "gpu" or "nnapi:1.2"; None where nothing is known.
    support: Support | None
    #: Whether both are the same; None where one of them is not known.
    kept: bool | None
    #: The contradiction, or why there is nothing to compare; empty where both are the same.
    words: str


def promise_of(m: Measurement, branch: Branch | None, known: bool) -> Promise:
    """What a branch's support table promised of a measured cell, beside what was measured.

    Args:
        m: The measurement.
        branch: The branch in its bundle's manifest; None where it is not there.
        known: Whether there is a manifest of the bundle.
    """
    support = None if branch is None else supported(branch, m.delegate, m.device, m.versions)
    if support is None:
        plain = m.delegate in DELEGATES and DELEGATES[m.delegate].plain
        return Promise(None, None, "plain kernels run everything" if plain else unknown(known, m.delegate))
    if m.delegation is None:
        return Promise(support, None, m.delegation_reason or "the delegate does not tell what it took")
    words = contradiction(support, m.delegation)
    return Promise(support, not words, words)


def unknown(known: bool, delegate: str) -> str:
    """Why there is no support table of a delegate."""
    if not known:
        return "not known without the bundle"
    return f"not known: the bundle says nothing of {delegate}"


def supported(
    branch: Branch, delegate: str, device: Mapping[str, object], versions: Mapping[str, str]
) -> Support | None:
    """The entry of a branch's support that is meant by a delegate of a device."""
    entries = {one.delegate: one for one in branch.support}
    return next((entries[name] for name in variants(delegate, device, versions) if name in entries), None)


def variants(delegate: str, device: Mapping[str, object], versions: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the support table that a measured delegate may stand under, the most exact first.

    One table may have two names; which of them manifests hold depends on their age.
    """
    if delegate == "gpu" and versions.get("engine") == "benchmark_model":
        return ("gpu:classic",)
    if delegate == "nnapi":
        level = nnapi.version(nnapi.api_level(device))
        return (f"nnapi:{level}", "nnapi") if level else ("nnapi",)
    if delegate == "npu" and device.get("kind") == "host":
        return ("npu:openvino", "npu")
    return (delegate,)


def contradiction(promised: Support, taken: Delegation) -> str:
    """What differs between the support table and what was measured; empty where nothing does.

    Operators that are left are compared, since the engine counts among the others what only unpacks constants.
    """
    left = promised.operators - promised.taken, taken.nodes - taken.delegated
    if promised.taken == taken.delegated == 0 or (left[0] == left[1] and promised.partitions == taken.partitions):
        return ""
    parts = "1 part" if taken.partitions == 1 else f"{taken.partitions} parts"
    return f"the support table says {promised.words}; measured: {taken.delegated} of {taken.nodes} in {parts}"
