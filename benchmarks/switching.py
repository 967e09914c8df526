"""How fast a session decides and switches between warm branches, against opening the branch anew (load + allocate).

All three are taken in turn in every round of one run, so that whatever disturbs the machine disturbs them alike. The
run is repeated with sessions of its own; the middle repeat and the worst are shown. Writes
``benchmarks/results/switching.json`` with the raw samples in milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import evidence
import numpy as np

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.policies import policy as policies
from adascale_runtime.seams import bundle
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context, quantile
from adascale_runtime.session import Session

#: What its figures are of; a change of it makes them stale.
MEASURES = ("adascale_runtime",)
RESULTS = Path(__file__).parent / "results" / "switching.json"
DECISION = "decision"
SWITCH = "decision + switch, both branches warm"
COLD = "cold open: load + allocate"
WARMUP_ROUNDS = 20


@policies.policy("alternate")
def alternate(
    context: Context, budget: Budget, table: policies.Table, state: policies.State, settings: policies.Settings
) -> policies.Decision:
    """Pay for the whole adaptive decision, then take the other of the two most accurate branches: always a switch."""
    decision = policies.decide(context, budget, table, state, settings)
    first, second = sorted(table, key=policies.rank)[:2]
    other = second.id if state.branch == first.id else first.id
    state = state._replace(branch=other, since_s=context.time_s)
    return policies.Decision(other, decision.reason, state)


def measure(opened: bundle.Bundle, rounds: int) -> dict[str, list[float]]:
    """The samples of the three, in ms, after warm-up rounds that are left out."""
    from ai_edge_litert.interpreter import Interpreter

    if len(opened.manifest.branches) < 2:
        raise BadInput("The bundle has one branch only; give one with two or more to switch between.")
    budget = Budget(latency_ms=1e6)
    x = np.zeros(opened.manifest.branches[0].input.shape, np.float32)
    samples: dict[str, list[float]] = {DECISION: [], SWITCH: [], COLD: []}
    with Session(opened, budget) as staying, Session(opened, budget, policy="alternate") as switching:
        switching.predict(x)  # the first choice is no switch

        def decision() -> float:
            staying.predict(x)
            assert staying.last is not None
            return staying.last.decide_ms

        def switch() -> float:
            switching.predict(x)
            assert switching.last is not None
            assert switching.last.switched
            return switching.last.switch_ms

        def cold() -> float:
            branch = opened.manifest.branch(switching.last.branch if switching.last else staying.table[0].id)
            before = time.perf_counter()
            interpreter = Interpreter(model_path=str(opened.path(branch.file)), num_threads=1)
            interpreter.allocate_tensors()
            return 1e3 * (time.perf_counter() - before)

        turns: list[tuple[str, Callable[[], float]]] = [(DECISION, decision), (SWITCH, switch), (COLD, cold)]
        for number in range(WARMUP_ROUNDS + rounds):
            # What ran before leaves its caches behind, so each takes every place in turn.
            turns.append(turns.pop(0))
            if number % len(turns) == 0:
                turns.reverse()
            for name, take in turns:
                sample = take()
                if number >= WARMUP_ROUNDS:
                    samples[name].append(sample)
    return samples


def result(opened: bundle.Bundle, repeats: list[dict[str, list[float]]]) -> dict[str, Any]:
    """What the results file holds: quantiles for the reader, raw samples for whoever doubts them."""
    rows = []
    for name in repeats[0]:
        p50, p99 = ([quantile(samples[name], q) for samples in repeats] for q in (0.5, 0.99))
        row = {"what": name, "p50_ms": median(p50), "p99_ms": median(p99), "worst_p50_ms": max(p50)}
        rows.append({**row, "worst_p99_ms": max(p99), "samples_ms": [samples[name] for samples in repeats]})
    return {"bundle": opened.digest, "branches": len(opened.manifest.branches), "repeats": len(repeats), "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("bundle", metavar="BUNDLE", type=Path)
    parser.add_argument("--rounds", type=int, default=500, help="samples of each in a repeat (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="(default: %(default)s)")
    evidence.add_options(parser, RESULTS)
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.repeats < 1:
        parser.error("--rounds and --repeats should be 1 or more")
    rounds, repeats = (5, 2) if arguments.smoke else (arguments.rounds, arguments.repeats)
    try:
        opened = bundle.load(arguments.bundle)
        facts = result(opened, [measure(opened, rounds) for _ in range(repeats)])
        evidence.write(arguments, __file__, facts)
    except AdaScaleError as error:
        print(f"switching: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{'':40}{'median ms':>12}{'worst':>10}{'p99 ms':>10}{'worst':>10}")
    for row in facts["rows"]:
        figures = (row[key] for key in ("worst_p50_ms", "p99_ms", "worst_p99_ms"))
        print(f"{row['what']:40}{row['p50_ms']:12.4f}" + "".join(f"{ms:10.4f}" for ms in figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
