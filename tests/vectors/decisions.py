"""Vectors of policies for the Kotlin runtime: what the Python runtime decides, and what it then knows.

    python -m tests.vectors.decisions --cases 10000 --seed 1 OUT

writes a folder ``OUT/decisions`` of JSON lines: ``decisions-N.jsonl`` (a case is a table, a budget, settings and a
history of inferences, each with its decision and sums of the state), ``rules.jsonl`` (single functions) and
``replays.jsonl`` (traces with what each policy makes of them). Values are drawn by :mod:`random` from the seed, so a
seed gives the same files everywhere.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from adascale_runtime.engines import built_in  # noqa: F401  (declares which delegates processes take time from)
from adascale_runtime.files import codec
from adascale_runtime.policies import habits as habits_json
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies import rivals, verdicts
from adascale_runtime.policies.limits import Option, Settings, Table, engine_name
from adascale_runtime.policies.outlook import Prospects, tolerance
from adascale_runtime.policies.state import State, audited, begin, forget, observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.events import Audit
from adascale_runtime.seams.records import Context
from tests.vectors import draws, rules, traces

#: Cases of decisions in a file.
CASES = 2500
#: The share of cases at the ends of what files may hold.
_WILD = 0.1
_RIVALS = tuple(name for name in draws.POLICIES if name not in ("adaptive", *rivals.REPLAY_ONLY))


class Case:
    """A history that is played with the real policy."""

    def __init__(self, r: Random) -> None:
        self.r = r
        wild = r.random() < _WILD
        self.all = self.table = draws.wild_table(r) if wild else draws.table(r)
        self.budget = draws.wild_budget(r) if wild else draws.budget(r, self.all)
        self.settings = draws.wild_settings(r) if wild else draws.settings(r)
        self.policy = "adaptive" if r.random() < 0.85 else r.choice(_RIVALS)
        self.device = draws.WildDevice(r) if wild else draws.Device(r)
        self.habits, self.told = draws.habits(r, self.all), draws.told(r, self.all)
        self.state = begin(self.habits, self.told)
        self.context = draws.context(r, self.budget)
        self.outlook: list[Any] = []

    def play(self) -> dict[str, Any]:
        """The case as JSON."""
        context = codec.to_json(self.context)
        steps = [self.step() for _ in range(self.r.choice((1, 2, 3, 5, 8, 13, 34)))]
        return {
            "policy": self.policy,
            "context": context,
            "table": [codec.to_json(option) for option in self.all],
            "budget": self.budget.limits(),
            "settings": codec.to_json(self.settings),
            "habits": habits_json.to_json(self.habits),
            "told": habits_json.told_to_json(self.told),
            "steps": steps,
            "outlook": self.outlook,
            "state": whole(self.state),
        }

    def step(self) -> dict[str, Any]:
        """The next thing that happens."""
        kind = self.r.random()
        if kind < 0.04:
            return self.seen()
        if kind < 0.05:
            told = draws.told(self.r, self.all)
            self.state = begin(self.state.habits, told)
            return {"begin": habits_json.told_to_json(told)}
        step: dict[str, Any] = {}
        if self.r.random() < 0.08:
            step["audit"] = self.audit()
        if self.r.random() < 0.4:
            self.context = draws.context(self.r, self.budget)
            step["context"] = codec.to_json(self.context)
        return {**step, **self.decided()}

    def audit(self) -> Any:
        """The energy audit tells something."""
        names = [engine_name(engine) for engine in draws.ENGINES] + ["cpu x", "x 1", "", "gpu x 10000"]
        factors = {name: self.r.choice((0.0, 1e10, 0.5, 1.0, 3.0)) for name in self.r.sample(names, 4)}
        audit = Audit(draws.maybe(self.r, 0.6, self.r.uniform(0.0, 3000.0)), factors)
        self.state = audited(self.state, audit)
        return codec.to_json(audit)

    def seen(self) -> dict[str, Any]:
        """A run that no policy chose, as the first one of a cascade, with or without a context."""
        option = self.r.choice(self.all)
        context = self.r.choice((None, self.context))
        latency_ms, time_s = self.device.run(option)
        late = self.r.random() < 0.5
        self.state = observe(self.state, option, latency_ms, time_s, self.settings, late=late, context=context)
        return {
            "seen": option.id, "latency_ms": latency_ms, "ended_s": time_s, "late": late,
            "known": context is not None, "sums": sums(self.state, option),
        }  # fmt: skip

    def decided(self) -> dict[str, Any]:
        """A decision; then the branch is lost, or an inference is seen."""
        absent = [o.id for o in self.table if self.r.random() < 0.3] if self.r.random() < 0.1 else []
        there = tuple(option for option in self.table if option.id not in absent) or self.table
        context = replace(self.context, time_s=self.device.idle())
        decision = policies.POLICIES[self.policy](context, self.budget, there, self.state, self.settings)
        self.outlook = outlook(context, self.budget, there, self.state, self.settings)
        step: dict[str, Any] = {
            "absent": absent, "time_s": context.time_s, "branch": decision.branch, "reason": decision.reason,
            "slowdown": decision.slowdown, "tolerance": tolerance(self.state, self.settings),
        }  # fmt: skip
        if len(self.table) > 1 and self.r.random() < 0.03:  # it answered a NaN
            self.state = forget(self.state, decision.branch)
            self.table = tuple(option for option in self.table if option.id != decision.branch)
            return {**step, "lost": True}
        option = next(option for option in self.table if option.id == decision.branch)
        latency_ms, time_s = self.device.run(option)
        late = verdicts.late(self.budget, latency_ms)
        self.state = observe(
            decision.state, option, latency_ms, time_s, self.settings, late=late, context=context
        )  # fmt: skip
        broken = verdicts.broken(self.budget, option, latency_ms, context, self.state, self.settings)
        return {
            **step, "latency_ms": latency_ms, "ended_s": time_s, "late": late, "broken": broken,
            "sums": sums(self.state, option),
        }  # fmt: skip


def sums(state: State, option: Option) -> list[Any]:
    """What an inference changed of a state."""
    window, excesses = state.windows[option.engine], state.excesses[option.engine]
    one = state.correction(option.id)
    return [
        state.branch, finite(state.since_s), state.period_s, state.last_s, state.served, state.late,
        state.drawn.energy_mj, state.drawn.seconds, window.weight, window.ratios, window.apart, window.time_s,
        window.others, window.before, window.last, window.upper, window.open_ms, excesses.exposure_ms,
        excesses.counts[0], one.weight, one.total, one.time_s, one.recent,
    ]  # fmt: skip


def whole(state: State) -> dict[str, Any]:
    """All that a state holds."""
    return {
        "branch": state.branch,
        "since_s": finite(state.since_s),
        "windows": {engine_name(engine): list(window) for engine, window in state.windows.items()},
        "excesses": {engine_name(e): [had.exposure_ms, *had.counts] for e, had in state.excesses.items()},
        "habits": habits_json.to_json(state.habits),
        "corrections": {name: list(one)[1:] for name, one in state.corrections.items()},
        "rest_mw": state.rest_mw,
        "drawn_mw": state.drawn.mw(),
        "cap_mhz": state.cap_mhz,
        "load": list(state.load),
        "heat": list(state.heat),
    }


def finite(value: float) -> float | None:
    """A number for JSON."""
    return value if math.isfinite(value) else None


def outlook(context: Context, budget: Budget, table: Table, state: State, settings: Settings) -> list[Any]:
    """What is expected of each option: its outlook, whether it is allowed, and whether it fits, with headroom, too."""
    prospects = Prospects(context, budget, table, state, settings)
    return [
        [o.id, *prospects.of(o), prospects.allowed(o), prospects.fits(o), prospects.fits(o, settings.headroom)]
        for o in table
    ]


def cases(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Cases of decisions."""
    for number in range(count):
        yield Case(Random(f"{seed} decisions {number}")).play()


def write(path: Path, lines: Iterator[dict[str, Any]]) -> int:
    """Write JSON lines; how many there were."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n")
            count += 1
    return count


def main() -> None:
    """Write the vectors."""
    parser = argparse.ArgumentParser(prog="python -m tests.vectors.decisions", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000, help="cases of decisions (default: 10,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("folder", type=Path, metavar="OUT")
    given = parser.parse_args()
    folder = given.folder / "decisions"
    folder.mkdir(parents=True, exist_ok=True)
    all_cases = cases(given.cases, given.seed)
    parts: list[tuple[str, Callable[[], Iterator[dict[str, Any]]]]] = [
        ("rules", lambda: rules.lines(Random(f"{given.seed} rules"), given.cases)),
        ("replays", lambda: traces.lines(Random(f"{given.seed} traces"))),
    ]
    for name, lines in parts:
        print(name, write(folder / f"{name}.jsonl", lines()), flush=True)
    for number in range(math.ceil(given.cases / CASES)):
        some = islice(all_cases, CASES)
        print("decisions", number, write(folder / f"decisions-{number}.jsonl", some), flush=True)


if __name__ == "__main__":
    main()
