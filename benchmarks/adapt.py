"""Keeping a budget under real pressure: our policy against static branches, rules by hand, and an oracle, in one run.

Real processes compete for the same cores: CPU burners in bursts, memory hogs, cache thrashers. The budget is 1.3 times
the idle latency of the full branch. At every tick each contender answers one input, in random order: sessions with our
policy and with thresholds, the full and the smallest branch alone, and every branch once with either number of
threads, which tells what an oracle would have chosen at that tick.
Every bundle is measured several times, each time by a device that is new to it: nothing was learned before. Prints the
tables with the goals, for the middle run and the worst, and writes ``benchmarks/results/adapt.json``, or with
``--wander``, on a machine whose speed is made to wander, ``adapt_wandering.json``.

    python benchmarks/adapt.py --short                                 two bundles, built first; 2 x 3 x 60 s
    python benchmarks/adapt.py --short --wander                        the same on a machine that wanders
    python benchmarks/adapt.py --bundle ONE --bundle ANOTHER           2 x 3 x 5 minutes
    python benchmarks/adapt.py --short --ablation                      what memory, clock and forecast are worth
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import ablation
import building
import console
import drift
import evidence
import numpy as np
from goals import Row, repeated, show

from adascale_runtime import probing
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.policies import rivals
from adascale_runtime.policies.policy import Option
from adascale_runtime.seams import bundle
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import quantile
from adascale_runtime.session import Session
from profiling import wander
from profiling.meters import estimate_mj

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "adascale_runtime/policies",
    "adascale_runtime/device",
    "adascale_runtime/engines",
    "adascale_runtime/habits.py",
    "adascale_runtime/measuring/anchors.py",
    "adascale_runtime/observer.py",
    "adascale_runtime/probing.py",
    "adascale_runtime/ready.py",
    "adascale_runtime/seams/speed.py",
    "adascale_runtime/session.py",
    "profiling/wander.py",
    "benchmarks/ablation.py",
    "benchmarks/drift.py",
)
RESULTS = Path(__file__).parent / "results" / "adapt.json"
SLACK = 1.3
FPS = 50.0
#: Apps use all big cores; a session may choose fewer.
THREADS = (2, 1)
#: Phases of one cycle: name, share of the time, CPU burners and memory thrashers for each core.
PHASES = (
    ("idle", 0.25, 0, 0), ("burst", 0.15, 2, 0), ("idle 2", 0.10, 0, 0), ("cache", 0.15, 0, 1), ("crowd", 0.15, 4, 0),
    ("memory", 0.10, 1, 1), ("idle 3", 0.10, 0, 0),
)  # fmt: skip
#: The battery-saver scenario: the thriftiest branch that loses less than this much accuracy.
LOSS = 0.04
_BURN = "while True:\n    pass\n"
#: Walks over more memory than any cache holds.
_THRASH = "import numpy as np\nx = np.zeros(1 << 25)\nwhile True:\n    x += 1.0\n"


@contextmanager
def pressure() -> Iterator[Any]:
    """A function that sets how many burners and thrashers run."""
    running: dict[str, list[subprocess.Popen[bytes]]] = {_BURN: [], _THRASH: []}

    def resize(burners: int, thrashers: int) -> None:
        for code, count in ((_BURN, burners), (_THRASH, thrashers)):
            processes = running[code]
            while len(processes) < count:
                processes.append(subprocess.Popen([sys.executable, "-c", code]))
            while len(processes) > count:
                process = processes.pop()
                process.kill()
                process.wait()

    try:
        yield resize
    finally:
        resize(0, 0)


def _option(branch: str, threads: int) -> str:
    """The id that a session gives to a branch with a number of threads."""
    return branch if threads == THREADS[0] else f"{branch}@cpux{threads}"


def phase_at(share: float) -> tuple[str, int, int]:
    """The phase after a share of the time, with its burners and thrashers for each core."""
    for name, length, burners, thrashers in PHASES:
        if share < length:
            return name, burners, thrashers
        share -= length
    return PHASES[-1][0], *PHASES[-1][2:]


def measure(opened: bundle.Bundle, seconds: float, seed: int = 0) -> dict[str, Any]:
    """One row a tick: phase, and for each contender the branch and the latency in ms."""
    branches = {b.id: b for b in opened.manifest.branches}
    engines = [(key, count) for count in THREADS for key in branches]
    runners = {_option(key, count): open_branch(opened, branches[key], "cpu", count) for key, count in engines}
    idle = probing.latencies(probing.probe(runners), dict.fromkeys(runners), {})  # as seen now, as the runs are
    full = max((key for key in branches), key=lambda key: idle[key])
    budget = Budget(latency_ms=SLACK * idle[full])
    x = np.zeros(runners[full].branch.input.shape, np.float32)
    cores, order = os.cpu_count() or 1, random.Random(seed)
    rows: list[dict[str, Any]] = []
    decide_ms: list[float] = []
    switch_ms: list[float] = []
    overhead: list[float] = []
    with (
        pressure() as resize,
        Session(opened, budget, threads=THREADS, remember=False) as ours,
        Session(opened, budget, threads=THREADS[0], policy="threshold", remember=False) as rules,
    ):

        def ask(session: Session) -> tuple[str, float]:
            begun = time.perf_counter()
            session.predict(x)
            spent = 1e3 * (time.perf_counter() - begun)
            event = session.last
            assert event is not None
            if session is ours:
                decide_ms.append(event.decide_ms)
                switch_ms.append(event.switch_ms)
                overhead.append(max(0.0, spent - event.latency_ms) / spent)
            return event.branch, event.latency_ms

        def run(key: str) -> tuple[str, float]:
            begun = time.perf_counter()
            runners[key](x)
            return key, 1e3 * (time.perf_counter() - begun)

        contenders: dict[str, Any] = {"ours": lambda: ask(ours), "threshold": lambda: ask(rules)}
        contenders |= {key: (lambda key=key: run(key)) for key in runners}
        begun = time.monotonic()
        while (elapsed := time.monotonic() - begun) < seconds:
            name, burners, thrashers = phase_at(elapsed / seconds)
            resize(burners * cores, thrashers * cores)
            turn = list(contenders)
            order.shuffle(turn)
            rows.append({"phase": name, "runs": {key: contenders[key]() for key in turn}})
            time.sleep(max(0.0, 1 / FPS - (time.monotonic() - begun - elapsed)))
    assert budget.latency_ms is not None
    return {
        "rows": rows, "idle_ms": idle, "full": full, "budget_ms": budget.latency_ms, "decide_ms": decide_ms,
        "switch_ms": switch_ms, "overhead": overhead,
    }  # fmt: skip


def judge(opened: bundle.Bundle, played: dict[str, Any]) -> tuple[dict[str, dict[str, tuple[float, float]]], str]:
    """By contender and phase: the share of deadlines missed and the mean accuracy; and the smallest branch's name."""
    accuracy = {_option(b.id, n): b.accuracy.value for b in opened.manifest.branches for n in THREADS}
    idle, limit = played["idle_ms"], played["budget_ms"]
    smallest = min(idle, key=lambda key: idle[key])
    table = tuple(Option(key, accuracy[key], idle[key]) for key in idle)
    budget = Budget(latency_ms=limit)
    result: dict[str, dict[str, tuple[float, float]]] = {}
    for name in ("ours", "static full", "static smallest", "threshold", "oracle"):
        result[name] = {}
        for phase in ("all", *(p[0] for p in PHASES)):
            rows = [row["runs"] for row in played["rows"] if phase in ("all", row["phase"])]
            picked = []
            for runs in rows:
                if name == "oracle":
                    best = rivals.foresee(budget, table, {key: runs[key][1] for key in idle})
                    picked.append(runs[best.id])
                else:
                    key = {"static full": played["full"], "static smallest": smallest}.get(name, name)
                    picked.append(runs[key])
            if picked:
                missed = sum(ms > limit for _, ms in picked) / len(picked)
                result[name][phase] = missed, sum(accuracy[key] for key, _ in picked) / len(picked)
    return result, smallest


def saver(opened: bundle.Bundle) -> tuple[float, float, str]:
    """Battery saver: modelled energy of the full branch over that of the thriftiest that loses under 4 points."""
    branches = opened.manifest.branches
    full = max(branches, key=lambda b: estimate_mj(b.cost, b.precision))
    near = [b for b in branches if b.accuracy.value > full.accuracy.value - LOSS]
    thrifty = min(near, key=lambda b: estimate_mj(b.cost, b.precision))
    ratio = estimate_mj(full.cost, full.precision) / estimate_mj(thrifty.cost, thrifty.precision)
    return ratio, full.accuracy.value - thrifty.accuracy.value, thrifty.id


def facts_of(opened: bundle.Bundle, played: dict[str, Any]) -> dict[str, Any]:
    """What the results file keeps of a run."""
    judged, smallest = judge(opened, played)
    above = {name: facts["all"][1] - judged["static smallest"]["all"][1] for name, facts in judged.items()}
    ratio, loss, thrifty = saver(opened)
    return {
        "bundle": opened.digest, "model": opened.manifest.name, "ticks": len(played["rows"]), "smallest": smallest,
        "idle_ms": played["idle_ms"], "budget_ms": played["budget_ms"], "judged": judged,
        "kept": above["ours"] / above["oracle"] if above["oracle"] > 0 else 1.0,
        "decide_ms": {"p50": quantile(played["decide_ms"], 0.5), "p99": quantile(played["decide_ms"], 0.99)},
        "switch_ms": {"p50": quantile(played["switch_ms"], 0.5), "p99": quantile(played["switch_ms"], 0.99)},
        "overhead": quantile(played["overhead"], 0.5),
        "saver": {"ratio": ratio, "loss": loss, "branch": thrifty},
    }  # fmt: skip


def table(runs: list[dict[str, Any]], options: argparse.Namespace) -> list[Row]:
    """The lines with the goals."""

    def missed(name: str) -> list[float]:
        return [100 * run["judged"][name]["all"][0] for run in runs]

    lines = [
        repeated("deadlines missed, ours, %", drift.goal(options, "<= 5 %", "<= 7 %"), missed("ours")),
        repeated("deadlines missed, static full, %", ">= 30 %", missed("static full")),
        repeated(
            "of the oracle's accuracy above the smallest, %", drift.goal(options, ">= 85 %", ">= 75 %"),
            [100 * run["kept"] for run in runs],
        ),
        repeated("decision + switch, p99 ms", "<= 1", [run["switch_ms"]["p99"] for run in runs]),
        repeated("decision + switch, median ms", "<= 0.1", [run["switch_ms"]["p50"] for run in runs]),
        repeated("loop overhead, median share of a prediction, %", "<= 2 %", [100 * run["overhead"] for run in runs]),
        repeated(
            f"battery saver: modelled energy of full over the thriftiest within {100 * LOSS:g} points", ">= 4.69 x",
            [run["saver"]["ratio"] for run in runs],
        ),
    ]  # fmt: skip
    if not options.wander:
        phases = [
            [100 * run["judged"]["ours"][p[0]][0] for p in PHASES if p[0] in run["judged"]["ours"]] for run in runs
        ]
        lines.insert(1, repeated("deadlines missed in the worst phase, ours, %", "<= 12 %", [max(p) for p in phases]))
    return lines


def show_run(run: dict[str, Any]) -> None:
    """The contenders of a run, phase by phase."""
    columns = ("contender", *(p[0] for p in PHASES), "all", "accuracy")
    shown = [
        (
            name, *(f"{100 * facts[p[0]][0]:.1f}" if p[0] in facts else "-" for p in PHASES),
            f"{100 * facts['all'][0]:.1f}", f"{100 * facts['all'][1]:.2f}",
        )
        for name, facts in run["judged"].items()
    ]  # fmt: skip
    title = f"{run['model']}: deadlines missed in % of {run['ticks']} ticks, budget {run['budget_ms']:.3f} ms"
    console.table(title, columns, shown)


#: Bundles that are built where none is given: backbone and epochs on the digits.
BUILT = (("resnet", 6), ("resnet-wide", 2))


def bundles(places: list[Path] | None, folder: Path, smoke: bool) -> list[bundle.Bundle]:
    """The bundles to measure: those of the places, or two that are built in a folder."""
    if places:
        return [bundle.load(place) for place in places]
    wanted = BUILT[:1] if smoke else BUILT
    return [building.built(folder / backbone, epochs, smoke, backbone=backbone) for backbone, epochs in wanted]


def ablate(options: argparse.Namespace, seconds: float, repeats: int) -> None:
    """Record rows of each bundle, decide on them with and without each feature, print, write."""
    refusal = wander.refusal()
    if refusal is not None:
        raise BadInput(refusal)
    options.results = options.results.with_name(f"{Path(options.results).stem}_ablation.json")
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for one in bundles(options.bundle, Path(folder), options.smoke):
            for seed in range(repeats):
                recorded = ablation.record(one, seconds, seed, pressure, threads=THREADS, slack=SLACK)
                runs.append(ablation.outcomes(recorded))
    console.table("Deadlines missed in %, by what is on", ablation.COLUMNS, list(ablation.lines(runs)))
    console.table("On a chip that warms up", ablation.HEAT_COLUMNS, list(ablation.heat_lines(runs)))
    evidence.write(options, __file__, {"fps": ablation.FPS, "seconds": seconds, "runs": runs})


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, action="append", help="may be repeated; default: two of the digits")
    parser.add_argument("--short", action="store_true", help="60 s a run instead of 5 minutes")
    parser.add_argument("--seconds", type=float, default=None, help="of a run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each bundle (default: %(default)s)")
    parser.add_argument(
        "--ablation", action="store_true", help="switch memory, clock and forecast off in turn, on the same rows"
    )
    drift.add_option(parser)
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    seconds, repeats = options.seconds or (60.0 if options.short else 300.0), max(1, options.repeats)
    if options.smoke:
        seconds, repeats = 6.0, 2
    runs = []
    try:
        if options.ablation:
            ablate(options, seconds, repeats)
            return 0
        drift.check(options)
        with tempfile.TemporaryDirectory() as folder:
            opened = bundles(options.bundle, Path(folder), options.smoke)
            for seed in range(repeats):  # the bundles in turn, so that a machine's better hours are shared
                for number, one in enumerate(opened):
                    with drift.machine(options, seconds, len(opened) * seed + number):
                        played = measure(one, seconds, seed)
                    runs.append(facts_of(one, played))
                    show_run(runs[-1])
        rows = table(runs, options)
        facts = {"fps": FPS, "seconds": seconds, "rows": [asdict(row) for row in rows], "runs": runs}
        evidence.write(options, __file__, facts)
    except AdaScaleError as error:
        print(f"adapt: {error}", file=sys.stderr)
        return error.exit_code
    show("Adaptation on a machine that wanders" if options.wander else "Adaptation", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
