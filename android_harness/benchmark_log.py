"""The output of TensorFlow Lite's ``benchmark_model`` as data, and the command line that produces it.

The formats are those of its sources from 2019 (TensorFlow 1.13) to LiteRT: ``benchmark_model.cc`` (timings, memory),
``benchmark_tflite_model.cc`` and ``subgraph.cc`` (delegates), ``stats_calculator.cc`` and ``.h`` (tables, statistics).
Its times are microseconds in lines and milliseconds in tables; here all are milliseconds. A figure that is missing, not
finite, or cut off is None: the tool ends each line, so a number that touches the end of the text may have lost digits.
No text makes a parser raise.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass

from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.errors import BadInput, UnknownDelegate
from adascale_runtime.seams.records import Delegation


@dataclass(frozen=True)
class OpProfile:
    """One row of the table "Run Order". ``share``: of the time of all rows, in [0, 1]; ``memory_kb``: 1000 bytes each.

    ``start_ms`` is None in tables of newer versions (2022 on), which have no such column.
    """

    name: str
    kind: str
    start_ms: float | None
    mean_ms: float
    share: float | None
    memory_kb: float | None
    calls: int


@dataclass(frozen=True)
class BenchmarkLog:
    """One run of the tool. ``count`` and the statistics are of the timed runs, ``warmup_ms`` is the mean before them.

    ``model_mb``: 10^6 bytes. ``memory_*_mb``: MiB since the tool started (it may shrink); the peak is absolute.
    ``verdict``: ``fully``, ``partly`` or ``not``. ``ops``: operators of the main graph in the timed runs;
    ``delegate_ops``: what a delegate tells of its inside, whose time is in ``ops`` already.
    """

    load_ms: float | None = None
    first_ms: float | None = None
    warmup_ms: float | None = None
    latency_ms: float | None = None
    count: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    std_ms: float | None = None
    median_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    model_mb: float | None = None
    memory_init_mb: float | None = None
    memory_overall_mb: float | None = None
    peak_memory_mb: float | None = None
    delegation: Delegation | None = None
    delegate: str | None = None
    verdict: str | None = None
    failed_delegate: bool = False
    ops: tuple[OpProfile, ...] = ()
    delegate_ops: tuple[OpProfile, ...] = ()


#: Longer lines are cut: only names of operators get that long, and they stand last.
LONGEST = 4096
NUMBER = r"[-+]?(?:nan|inf|[0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)"
WHOLE = "([0-9]{1,9})"
COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
STATISTIC = re.compile(rf"\b(count|first|curr|min|max|avg|std|p5|median|p95)=({NUMBER})")
#: What a figure's line holds, and what stands before the figure after that; the last one counts. Two searches, each
#: linear: one pattern with ``.*`` between them takes seconds for a line made to repeat its beginning.
FIGURES = {
    "init": ("timings in us", re.compile(rf"\bInit: ({NUMBER})")),
    "first": ("timings in us", re.compile(rf"\bFirst inference: ({NUMBER})")),
    "warmup": ("timings in us", re.compile(rf"\bWarmup(?: \(avg\))?: ({NUMBER})")),
    "latency": ("timings in us", re.compile(rf"\b(?:Inference \(avg\)|Inference|no stats): ({NUMBER})")),
    "session": ("Initialized session", re.compile(rf" in ({NUMBER})\s{{0,9}}ms")),
    "model": ("model file size", re.compile(rf" \(MB\): ({NUMBER})")),
    "memory_init": ("emory footprint", re.compile(rf"\(MB\): init=({NUMBER})")),
    "memory_overall": ("emory footprint", re.compile(rf"\(MB\): init=\S{{1,40}} overall=({NUMBER})")),
    "peak": ("peak memory footprint", re.compile(rf" \(MB\) via periodic monitoring: ({NUMBER})")),
}
TITLE = re.compile(r"(?<!=)={5,} ([^=]+) ={5,}")
PERCENTS = re.compile(rf"(?<![\w.])({NUMBER})%[\s,]+{NUMBER}%")
REPLACED = re.compile(
    rf"Replacing {WHOLE} (?:out of {WHOLE} )?node\(s\) with delegate \(([^()]*)\) node, "
    rf"yielding {WHOLE} partitions?(?: for (subgraph [0-9]+))?"
)
COUNTED = re.compile(rf"\b(\w+) delegate: {WHOLE} nodes? delegated out of {WHOLE} nodes? with {WHOLE} partitions?")
APPLIED = re.compile(r"(?:pplied|Though) (\w{1,200}) delegate")
EXECUTED = re.compile(r" (completely|partially|not be) executed")
DELEGATE_KERNELS = re.compile(rf" w/ {WHOLE} delegate kernels")
FAILED = re.compile(
    r"Failed to apply (\w+) delegate|\b(\w+) acceleration is unsupported|\b(\w+) delegate isn't supported"
    r"|\b(?=TfLite\w*Delegate)(\w+) (?:Init|Prepare|Invoke):|delegate application failure|Disallowed CPU fallback"
)
VERDICTS = {"completely": "fully", "partially": "partly", "not be": "not"}
SWITCHES = {
    "cpu": "--use_xnnpack=true",
    "builtin": "--use_xnnpack=false",
    "gpu": "--use_gpu=true",
    "nnapi": "--use_nnapi=true",
}


#: The delegates that the tool's words mean: its own switch, external libraries, and names that it prints.
_XNNPACK, _FLEX, _EXTERNAL = "cpu", "flex", "npu"
_FAMILIES = {_XNNPACK: "xnnpack", "nnapi": "nnapi", "gpu": "gpu|_cl$|opencl|metal", _FLEX: "flex"}


def parse(text: str, delegate: str | None = None) -> BenchmarkLog:
    """Read what the tool printed. ``delegate`` names the one that was asked for, as for :func:`command`.

    Of several delegates in a log that one is reported, even if all it says is that it took nothing; without a name, the
    first accelerator, else the CPU's XNNPACK.
    """
    lines = _lines(text)
    figures: dict[str, float] = {}
    runs: tuple[dict[str, float], dict[str, float]] = ({}, {})
    begun = ended = 0
    for line in lines:
        begun += "Running benchmark for" in line
        if "count=" in line and "(microseconds)" not in line and "(bytes)" not in line:
            # The warm-up is announced and ends first; counting both survives the loss of a line.
            ended = max(begun, ended + 1)
            runs[ended > 1].update(_statistics(line))
        for key, (mark, pattern) in FIGURES.items():
            numbers = pattern.findall(line, line.find(mark)) if mark in line else []
            if numbers and math.isfinite(value := float(numbers[-1])):
                figures[key] = value
    warmup, main = runs
    count = main.get("count")
    load_ms = _positive(figures, "session", 1) if "init" not in figures else _positive(figures, "init")
    took, name, verdict, failed = _delegation(lines, delegate)
    ops, inside = _tables(lines)
    return BenchmarkLog(
        load_ms=load_ms,
        first_ms=_positive(figures, "first") or _positive(warmup, "first") or None,
        warmup_ms=_positive(figures, "warmup") or _positive(warmup, "avg") or None,
        # The mean of no runs is printed as 0, and no inference takes no time.
        latency_ms=None if count == 0 else _positive(figures, "latency") or _positive(main, "avg") or None,
        count=None if count is None else int(count),
        min_ms=_positive(main, "min"),
        max_ms=_positive(main, "max"),
        std_ms=_positive(main, "std"),
        median_ms=_positive(main, "median"),
        p5_ms=_positive(main, "p5"),
        p95_ms=_positive(main, "p95"),
        model_mb=_positive(figures, "model", 1),
        memory_init_mb=figures.get("memory_init"),
        memory_overall_mb=figures.get("memory_overall"),
        peak_memory_mb=_positive(figures, "peak", 1),
        delegation=took,
        delegate=name,
        verdict=verdict,
        failed_delegate=failed,
        ops=ops,
        delegate_ops=inside,
    )


def command(
    binary: str,
    graph: str,
    delegate: str,
    threads: int,
    runs: int,
    warmup_runs: int,
    *,
    op_profile: bool = False,
    mask: str | None = None,
    external_delegate: str | None = None,
    signature: str | None = None,
) -> str:
    """The shell command that runs the tool; it does at least ``runs``, and goes on for at least a second.

    ``mask``: the cores to pin to, hexadecimal. ``external_delegate``: the library of ``npu``, on the device.
    ``signature``: which one to run; newer versions demand it for a file with several. ``op_profile`` costs time, so it
    goes with the memory monitor, which does too: take latencies from a run without.
    """
    if delegate == _EXTERNAL and not external_delegate:
        raise BadInput(f"The delegate '{_EXTERNAL}' needs the path of the external delegate's library on the device.")
    if delegate != _EXTERNAL and delegate not in SWITCHES:
        known = f"{', '.join(SWITCHES)} or {_EXTERNAL}"
        raise UnknownDelegate(f"benchmark_model has no delegate {delegate!r}: use {known}.")
    words = [binary, f"--graph={graph}", f"--num_threads={threads}", f"--num_runs={runs}"]
    words += [f"--warmup_runs={warmup_runs}", SWITCHES.get(delegate, f"--external_delegate_path={external_delegate}")]
    if signature is not None:
        words.append(f"--signature_to_run_for={signature}")
    if op_profile:
        words += ["--enable_op_profiling=true", "--report_peak_memory_footprint=true"]
    if mask is not None:
        digits = mask.lower().removeprefix("0x")  # Android's taskset (toybox) wants none
        if not re.fullmatch("[0-9a-f]+", digits) or int(digits, 16) == 0:
            raise BadInput(f"{mask!r} is not a mask of cores: give a hexadecimal number such as f0 for cores 4 to 7.")
        words = ["taskset", digits, *words]
    return " ".join(shlex.quote(word) for word in words)


def _lines(text: str) -> list[str]:
    """Lines without colours; the last one without a number that the end of the text may have cut."""
    *whole, last = re.split(r"[\r\n]", text)
    kept = last.rstrip("0123456789.eE+-")
    cut = any(char.isdigit() for char in last[len(kept) :])
    return [COLOUR.sub("", line[:LONGEST]) for line in (*whole, kept if cut else last)]


def _statistics(line: str) -> dict[str, float]:
    """``count=.. first=.. ..``; one run, or equal ones, are printed as ``count=5 curr=71(all same)`` alone."""
    figures = {key: float(token) for key, token in STATISTIC.findall(line)}
    figures = {key: value for key, value in figures.items() if math.isfinite(value) and value >= 0}
    if figures.get("count") == 0:
        return {"count": 0.0}
    if "curr" in figures and "count" in figures and "first=" not in line:
        same = figures["curr"]
        figures = {"first": same, "min": same, "max": same, "avg": same, "std": 0.0, **figures}
    return figures


def _positive(figures: dict[str, float], key: str, scale: float = 1e3) -> float | None:
    value = figures.get(key, math.nan)
    return value / scale if value >= 0 else None


def _family(name: str) -> str:
    """Which of our delegates a printed name means: TfLiteGpuDelegateV2, LITERT_CL, TfLiteNnapiDelegate, QNN, ..."""
    lower = name.lower()
    return next((family for family, pattern in _FAMILIES.items() if re.search(pattern, lower)), _EXTERNAL)


def _delegation(lines: list[str], asked: str | None) -> tuple[Delegation | None, str | None, str | None, bool]:
    """What the delegate that counts took, its name, the verdict, and whether it failed."""
    taken: dict[str, dict[object, tuple[int | None, int, int]]] = {}  # family -> graph -> nodes, delegated, partitions
    applied: dict[str, tuple[str, int]] = {}  # family -> verdict, kernels
    names: dict[str, str] = {}
    failures: set[str] = set()
    nodes: int | None = None  # of the graph, before any delegate
    for number, line in enumerate(lines):
        name = ""
        if match := REPLACED.search(line):
            delegated, total, name, pieces, graph = match.groups()
            whole = int(total) if total else None
            nodes = whole if nodes is None else nodes
            # Another line for the same graph means that the delegate was applied anew.
            taken.setdefault(_family(name), {})[graph or number] = (whole, int(delegated), int(pieces))
        elif match := COUNTED.search(line):
            name = match[1]
            taken.setdefault(_family(name), {})["counted"] = (int(match[3]), int(match[2]), int(match[4]))
        elif (match := APPLIED.search(line)) and (ends := list(EXECUTED.finditer(line, match.end()))):
            name = match[1]
            kernels_told = DELEGATE_KERNELS.findall(line, ends[-1].end())
            applied[_family(name)] = (VERDICTS[ends[-1][1]], int(kernels_told[-1]) if kernels_told else 0)
        elif match := FAILED.search(line):
            name = next(filter(None, match.groups()), "")
            failures.add(_family(name) if name else "")
        if name:
            names.setdefault(_family(name), name)

    family = asked or ""
    record = DELEGATES.get(family)
    if asked is None or (record is not None and record.plain):
        family = next((f for f in names if f not in (_XNNPACK, _FLEX)), _XNNPACK)
    graphs = taken.get(family, {})
    if len(graphs) > 1:
        graphs.pop("counted", None)  # the delegate's own words for what the other lines tell
    verdict, kernels = applied.get(family, (None, 0))
    delegated, pieces = (sum(graph[i] or 0 for graph in graphs.values()) for i in (1, 2))
    took = None
    if graphs and (verdict == "fully" or all(total is not None for total, _, _ in graphs.values())):
        # Versions of 2020 print no total; it is known if all was taken. "Partitions" count the stretches that stay on
        # the CPU too; kernels are the delegate's own.
        whole = sum(delegated if total is None else total for total, _, _ in graphs.values())
        took = Delegation(whole, delegated, kernels if kernels and len(graphs) == 1 else pieces)
    elif not graphs and nodes is not None and family != _XNNPACK and verdict in (None, "not"):
        took = Delegation(nodes, 0, 0)  # others took nodes, this one none
    # A verdict is about the graph that runs, the sum about all graphs: the lesser word counts.
    known = [word for word in (verdict, took.verdict if took else None) if word]
    failed = family in failures or "" in failures
    verdict = "not" if failed else min(known, key=["not", "partly", "fully"].index, default=None)
    if took and verdict == "not":
        took = Delegation(took.nodes, 0, 0)
    return took, names.get(family), verdict, failed


def _tables(lines: list[str]) -> tuple[tuple[OpProfile, ...], tuple[OpProfile, ...]]:
    """The tables "Run Order" of the timed runs: the main graph's, and the inside of its delegates."""
    rows: dict[str, list[OpProfile]] = {"main": [], "inside": []}
    timed, section, table, starts = True, "main", "", None
    for line in lines:
        if title := TITLE.search(line):
            table, starts = title[1], None
        elif "Benchmark Initialization" in line or "Regular Benchmark Runs" in line or "Primary graph" in line:
            timed = "Regular" in line or (timed and "Initialization" not in line)
            section = "main"
        elif "Delegate internal:" in line:
            section = "inside"
        elif "Subgraph (index:" in line:
            section = "subgraph"
        elif table == "Run Order" and timed and section in rows:
            if "node type" in line:
                starts = "start" in line
            elif "%" in line and (row := _row(line, starts)):
                rows[section].append(row)
    return tuple(rows["main"]), tuple(rows["inside"])


def _row(line: str, starts: bool | None) -> OpProfile | None:
    """A row, in columns or as CSV: kind, [start,] first, mean, share%, cumulative%, memory, calls, name.

    Kinds and names hold commas and spaces ("Convolution (NHWC, F32) IGEMM"), so a row is read from its percentages
    outwards. ``starts``: whether the header names a start; None if the header was lost.
    """
    percents = PERCENTS.search(line)
    after = percents and re.match(rf"[\s,]+({NUMBER})[\s,]+{WHOLE}(?:[\s,]+(.*))?$", line[percents.end() :])
    if not percents or not after:
        return None
    left = line[: percents.start()].rstrip(" ,\t")
    times: list[float] = []
    while len(times) < (2 if starts is False else 3) and re.fullmatch(NUMBER, last := re.split(r"[\s,]", left)[-1]):
        times.insert(0, float(last))
        left = left.removesuffix(last).rstrip(" ,\t")
    if len(times) < (3 if starts else 2) or not (math.isfinite(times[-1]) and times[-1] >= 0):
        return None
    share, memory = float(percents[1]), float(after[1])
    return OpProfile(
        name=(after[3] or "").strip(),
        kind=left.rsplit("\t", 1)[-1].strip(),
        start_ms=times[0] if len(times) == 3 and math.isfinite(times[0]) else None,
        mean_ms=times[-1],
        share=share / 100 if math.isfinite(share) else None,
        memory_kb=memory if math.isfinite(memory) else None,
        calls=int(after[2]),
    )
