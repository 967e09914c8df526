"""Delegates side by side, by what was measured: pure functions.

For each branch on each device: how fast every delegate is against the CPU, whether its outputs are right, what it took
of the branch, and which one is best; from how many multiplications on a delegate is ahead; and where what was known of
a delegate from the file alone is not what was measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adascale_runtime.device import nnapi
from adascale_runtime.seams import records, speed
from adascale_runtime.seams.manifest import Branch, Manifest
from adascale_runtime.seams.precisions import arithmetic
from adascale_runtime.seams.records import Delegation, Energy, Measurement
from profiling.promises import Promise, promise_of, supported, unknown
from profiling.ratios import Ratio, ratio

#: The share of samples with the class that the bundle expects from which on outputs are right.
RIGHT = 0.99
#: The largest difference of any output that rounding explains, as a share of the outputs' range: of float outputs, and
#: in steps of the stored numbers of integer ones. It tells near ties, which rounding decides, from wrong classes.
ROUNDING, STEPS = 1e-3, 2.0
#: Said where no support table was found.
_UNKNOWN = "what delegates were known to take is not known; give the bundle, if it was written with support tables."
#: Outputs that are further off than this share of their range are wrong, whatever class is the largest.
FAR = 0.1


@dataclass(frozen=True)
class Entry:
    """One delegate with a number of threads, on one branch of one device."""

    delegate: str
    threads: int
    #: The median of the timed runs; None if it was not measured.
    median_ms: float | None
    #: How many times as fast as the CPU: the CPU's median divided by this one's. None for the CPU itself, and where
    #: the CPU was not measured.
    speedup: Ratio | None
    #: ``baseline``, ``faster``, ``slower``, ``same`` (within the interval), ``wrong outputs``, ``no comparison`` or
    #: ``not measured``.
    verdict: str
    #: Why there is such a verdict, where it needs a reason.
    reason: str
    #: Whether its outputs are right; None if they were not compared.
    right: bool | None
    #: Why they are held for wrong, or were not compared.
    outputs: str
    delegation: Delegation | None
    load_ms: float | None
    #: The first inference after loading.
    first_ms: float | None
    memory_mb: float | None
    energy: Energy | None
    promise: Promise

    @property
    def name(self) -> str:
        """``gpu``, or ``cpu x4`` with several threads."""
        return self.delegate if self.threads == 1 else f"{self.delegate} x{self.threads}"


@dataclass(frozen=True)
class Compared:
    """All delegates on one branch of one device."""

    device: str
    #: The cores that it was kept to; empty for all of them.
    affinity: str
    bundle: str
    branch: str
    recipe: str
    precision: str
    arithmetic: str
    macs: int
    #: The CPU first, then by name.
    entries: tuple[Entry, ...]
    #: The fastest entry with right outputs: the CPU unless another is faster by its whole interval. None if no outputs
    #: are known to be right.
    best: Entry | None


@dataclass(frozen=True)
class Crossover:
    """From how many multiplications on a delegate is ahead of the CPU, among the branches of an arithmetic."""

    device: str
    affinity: str
    delegate: str
    threads: int
    arithmetic: str
    #: Ids of the branches on both sides, and their multiply-accumulates; None where there is no crossover.
    below: str | None
    above: str | None
    below_macs: int | None
    above_macs: int | None
    #: Whether the delegate is ahead above; else it is ahead below.
    ahead_above: bool
    words: str


@dataclass(frozen=True)
class Comparison:
    """What measurements tell of delegates."""

    branches: tuple[Compared, ...]
    crossovers: tuple[Crossover, ...]
    #: A sentence for each entry of which the support table said otherwise.
    contradictions: tuple[str, ...]
    notes: tuple[str, ...]


def compare(
    measurements: Sequence[Measurement], manifests: Mapping[str, Manifest] | None = None, *, seed: int = 0
) -> Comparison:
    """Compare the delegates of each branch on each device.

    Micro-kernels and branches under load are left out; of a cell that was measured several times, the last counts. The
    baseline is the delegate ``cpu`` with the number of threads that is fastest.

    Args:
        measurements: Of any bundles and devices.
        manifests: Of bundles, by digest: what their branches' support tables promised, and the range of their outputs.
        seed: What the bootstrap's draws follow from.
    """
    idle = records.latest([m for m in measurements if is_idle(m) and m.latency_ms])
    cells: dict[tuple[str, str, str, str], list[Measurement]] = {}
    for m in idle:
        cells.setdefault((*speed.place_of(m.device, m.settings), m.bundle, m.branch), []).append(m)
    asked: dict[tuple[str, str, str], set[tuple[str, int]]] = {}
    for (*where, _), own in cells.items():
        asked.setdefault((where[0], where[1], where[2]), set()).update((m.delegate, m.threads) for m in own)
    known = manifests or {}
    deprecated = dict.fromkeys(nnapi.remark(m.device) for m in idle if m.delegate == "nnapi")
    compared = tuple(
        _compared(own, sorted(asked[key[:3]]), _branch(known.get(key[2]), key[3]), known=key[2] in known, seed=seed)
        for key, own in cells.items()
    )
    contradictions = tuple(
        f"{one.device}, {one.branch} on {entry.name}: {entry.promise.words}."
        for one in compared
        for entry in one.entries
        if entry.promise.kept is False
    )
    return Comparison(compared, _crossovers(compared), contradictions, (*_notes(compared), *filter(None, deprecated)))


def is_idle(m: Measurement) -> bool:
    """Whether a measurement is of a branch on a device that had nothing else to do."""
    return not m.settings.get("kernel") and m.settings.get("context", "idle") == "idle"


def _branch(manifest: Manifest | None, branch: str) -> Branch | None:
    return next((b for b in manifest.branches if b.id == branch), None) if manifest else None


def _compared(
    own: Sequence[Measurement], asked: Sequence[tuple[str, int]], branch: Branch | None, *, known: bool, seed: int
) -> Compared:
    m = own[0]
    cpu = min((one for one in own if one.delegate == "cpu"), key=lambda one: one.latency_quantile_ms(0.5), default=None)
    by_name = {(one.delegate, one.threads): one for one in own}
    entries = [
        _entry(by_name[key], cpu, branch, known=known, seed=seed) if key in by_name else _absent(key, branch, known)
        for key in asked
    ]
    first = () if cpu is None else (("cpu", cpu.threads),)
    entries.sort(key=lambda e: ((e.delegate, e.threads) not in first, e.delegate, e.threads))
    place = speed.place_of(m.device, m.settings)
    kind = arithmetic(m.precision, m.cost.arithmetic)
    return Compared(
        *place, m.bundle, m.branch, m.recipe, m.precision, kind, m.cost.macs, tuple(entries), _best(entries)
    )


def _entry(m: Measurement, cpu: Measurement | None, branch: Branch | None, *, known: bool, seed: int) -> Entry:
    right, outputs = judged(m, branch)
    found = None if cpu is None or m is cpu else against(m, cpu, seed)
    verdict, reason = _verdict(m, cpu, found, right, outputs)
    return Entry(
        m.delegate, m.threads, m.latency_quantile_ms(0.5), found, verdict, reason, right, outputs, m.delegation,
        m.load_ms, m.warmup_ms[0] if m.warmup_ms else None, m.memory_mb, m.energy, promise_of(m, branch, known),
    )  # fmt: skip


def _verdict(
    m: Measurement, cpu: Measurement | None, found: Ratio | None, right: bool | None, outputs: str
) -> tuple[str, str]:
    if right is False:
        return "wrong outputs", outputs
    if m is cpu:
        return "baseline", ""
    if cpu is None:
        return "no comparison", "the branch was not measured on cpu"
    if found is None:
        return "no comparison", "one run tells no interval; give more runs"
    apart = "" if found.paired else "not measured in the same rounds as cpu, so a drift of the device is in it"
    return "faster" if found.above else "slower" if found.below else "same", apart


def _absent(key: tuple[str, int], branch: Branch | None, known: bool) -> Entry:
    """A delegate that was measured on other branches of the device, but not on this one."""
    support = None if branch is None else supported(branch, key[0], {}, {})
    reason = "no measurement of it is here"
    if support is not None and not support.whole:
        reason += f"; the support table says {support.words}"
    promise = Promise(support, None, "not measured" if support else unknown(known, key[0]))
    return Entry(*key, None, None, "not measured", reason, None, "not measured", *(None,) * 5, promise)


def against(m: Measurement, cpu: Measurement, seed: int = 0) -> Ratio | None:
    """How many times as fast as ``cpu`` a measurement is; in pairs of rounds where both were measured together."""
    return ratio(speed.blocks(cpu), speed.blocks(m), paired=together(m, cpu), seed=seed)


def together(one: Measurement, other: Measurement) -> bool:
    """Whether two measurements of a device were taken at the same time, so in interleaved rounds."""
    spans = []
    for m in (one, other):
        try:
            begin = datetime.fromisoformat(m.started.replace("Z", "+00:00"))
            end = begin + timedelta(seconds=m.context_after.time_s - m.context_before.time_s)
            spans.append((begin.timestamp(), end.timestamp()))
        except (ValueError, OverflowError):
            return False
    (first, last), (other_first, other_last) = spans
    return first <= other_last + 1 and other_first <= last + 1  # times are told in whole seconds


def judged(m: Measurement, branch: Branch | None) -> tuple[bool | None, str]:
    """Whether a measurement's outputs are right, with the reason if they are not, or None if that is not known.

    They are wrong where another class than the bundle expects is the largest too often (:data:`RIGHT`), unless rounding
    explains it, or where an output is too far off (:data:`FAR`). The last two need the branch's entry in the manifest,
    which tells the outputs' range.
    """
    if m.outputs is None:
        return None, "outputs were not compared, or are not finite numbers"
    seen = m.outputs
    off = f"off by up to {seen.max_abs_difference:.3g}"
    span = 0.0 if branch is None else branch.verification.output_range
    if span and seen.max_abs_difference > FAR * span:
        return False, f"{off}, of a range of {span:.3g}"
    if seen.agreement >= RIGHT:
        return True, ""
    step = 0.0 if branch is None or branch.output.scale is None else branch.output.scale
    if span and seen.max_abs_difference <= max(ROUNDING * span, STEPS * step):
        return True, "near ties, which rounding decides"
    return False, f"the expected class in {seen.agreement:.0%} of {seen.samples} samples, {off}"


def _best(entries: Sequence[Entry]) -> Entry | None:
    right = [entry for entry in entries if entry.right]
    ahead = [(entry.speedup.value, entry) for entry in right if entry.speedup is not None and entry.speedup.above]
    if ahead:
        return max(ahead, key=lambda pair: pair[0])[1]
    base = [entry for entry in right if entry.verdict == "baseline"]
    return min(base or right, key=lambda entry: entry.median_ms or 0.0, default=None)


# --- crossovers


def _crossovers(compared: Sequence[Compared]) -> tuple[Crossover, ...]:
    groups: dict[tuple[str, str, str, int, str], list[tuple[Compared, Entry]]] = {}
    for one in compared:
        for entry in one.entries:
            if entry.delegate != "cpu":
                key = (one.device, one.affinity, entry.delegate, entry.threads, one.arithmetic)
                groups.setdefault(key, []).append((one, entry))
    return tuple(_crossover(key, group) for key, group in groups.items())


def _crossover(key: tuple[str, str, str, int, str], group: Sequence[tuple[Compared, Entry]]) -> Crossover:
    ahead = [one for one, entry in group if entry.verdict == "faster" and entry.right]
    behind = [one for one, entry in group if entry.verdict == "slower" and entry.right]

    def by_macs(one: Compared) -> int:
        return one.macs

    if ahead and behind:
        for low, high, ahead_above in ((behind, ahead, True), (ahead, behind, False)):
            below, above = max(low, key=by_macs), min(high, key=by_macs)
            if below.macs < above.macs:
                ends = (
                    f"{below.branch} ({below.macs / 1e6:.3g} MMACs)",
                    f"{above.branch} ({above.macs / 1e6:.3g} MMACs)",
                )
                words = "behind up to {}, ahead from {} on" if ahead_above else "ahead up to {}, behind from {} on"
                sides = below.branch, above.branch, below.macs, above.macs
                return Crossover(*key, *sides, ahead_above, words.format(*ends))
        words = f"none: ahead on {len(ahead)} and behind on {len(behind)} of {len(group)} branches, whatever their MACs"
    else:
        words = f"none: ahead on {len(ahead) or 'none'} and behind on {len(behind) or 'none'} of {len(group)} branches"
    return Crossover(*key, None, None, None, None, True, words)


def _notes(compared: Sequence[Compared]) -> list[str]:
    notes = []
    for place in dict.fromkeys((one.device, one.affinity) for one in compared):
        own = [one for one in compared if (one.device, one.affinity) == place]
        name = " ".join(filter(None, place))
        if not any(entry.delegate == "cpu" for one in own for entry in one.entries):
            notes.append(f"{name}: nothing was measured on cpu, so nothing is faster or slower; add it to --delegates.")
        if all(entry.promise.support is None for one in own for entry in one.entries):
            notes.append(f"{name}: {_UNKNOWN}")
        unchecked = sorted({e.delegate for one in own for e in one.entries if e.right is None and e.median_ms})
        if unchecked:
            notes.append(
                f"{name}: outputs of {', '.join(unchecked)} were not compared with the bundle's, so what is fast there "
                "is not recommended."
            )
    return notes
