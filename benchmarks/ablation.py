"""What memory, clock and forecast are worth: each switched off in turn, on the same recorded rows.

``adapt.py --ablation`` records the rows: at every tick each option answers one input, while load comes and goes, the
cores are slowed down and the cap of their clock tells so, and memory falls. Then decisions are taken on the rows again
and again with other settings, which is deterministic. Sensors are a folder of files: load is this machine's own; the
cap is what slows the cores (:mod:`profiling.wander`), as a phone's ``scaling_max_freq`` would tell; memory is a course,
and so are the sizes of the branches, which are scaled to what several large models take. Heat is a model: a chip that
warms up with what the chosen options run.
"""

from __future__ import annotations

import math
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from adascale_runtime import probing
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.device.sensors import FileSampler
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.engines.warm import PAUSE_S, fits, giving_way, in_need
from adascale_runtime.files import codec
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies.limits import Option, Settings, Table
from adascale_runtime.policies.state import State, observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Context
from profiling.wander import Course, Wander

Row = dict[str, Any]
#: Phases: name and share of the time.
PHASES = (("idle", 0.15), ("rising load", 0.25), ("clock", 0.35), ("memory", 0.25))
#: In the phase "clock" the cap is lowered to these shares by turns, for so many seconds each.
CAPS, CAP_S, FULL_MHZ = (1.0, 0.6, 1.0, 0.5), 1.5, 2000.0
#: What all branches are thought to take together, in MB, and how long it takes to open a session again, in seconds.
TOTAL_MB, REOPEN_S = 200.0, 1.0
#: The heat model: degrees at rest, degrees above that if an option ran all the time, the time constant in seconds, the
#: limit, how often it is told, and how long the model runs.
REST_C, RISE_C, WARM_S, LIMIT_C, TOLD_S, HEAT_S = 35.0, 60.0, 5.0, 55.0, 2.0, 120.0
#: Options at most: those of highest rank at even distances.
MOST = 12
FPS = 50.0


def phase_at(share: float) -> tuple[str, float]:
    """The phase after a share of the time, and how much of it is over."""
    for name, length in PHASES:
        if share < length:
            return name, share / length
        share -= length
    return PHASES[-1][0], 1.0


def course(seconds: float) -> Course:
    """How fast the cores are: slow by turns in the phase "clock"."""
    begin, times, speeds = sum(length for _, length in PHASES[:2]) * seconds, [0.0], [1.0]
    end, number = begin + PHASES[2][1] * seconds, 0
    while (at := begin + number * CAP_S) < end:
        times.append(at)
        speeds.append(CAPS[number % len(CAPS)])
        number += 1
    return Course((*times, end), (*speeds, 1.0))


def left_mb(share: float, sizes_mb: dict[str, float], reserve_mb: float) -> float:
    """What others leave for branches after a share of the phase "memory": down to two of the smallest, and back."""
    high, low = sum(sizes_mb.values()) + 2 * reserve_mb, 2 * min(sizes_mb.values()) + reserve_mb
    return low + (high - low) * abs(2.0 * share - 1.0)


class Device:
    """A folder of sensors: the load of this machine, and files for memory and clock that :meth:`tell` writes."""

    def __init__(self, root: Path) -> None:
        self._root, self._told = root, (-1.0, -1.0)
        (root / "proc").mkdir()
        for name in ("stat", "loadavg"):
            (root / "proc" / name).symlink_to(Path("/proc") / name)
        self._cpu = root / "sys/devices/system/cpu/cpu0/cpufreq"
        self._cpu.mkdir(parents=True)
        self.tell(1.0, 1e4)

    def tell(self, speed: float, memory_mb: float) -> None:
        """The cap of the clock as a share of the full one, and the memory that is free."""
        if (speed, memory_mb) != self._told:
            self._told = speed, memory_mb
            _replace(self._cpu / "scaling_max_freq", f"{1e3 * FULL_MHZ * speed:.0f}\n")
            _replace(self._root / "proc/meminfo", f"MemAvailable: {memory_mb * 1e6 / 1024:.0f} kB\n")


def _replace(path: Path, text: str) -> None:
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def record(
    opened: Bundle, seconds: float, seed: int, pressure: Callable[[], Any], *, threads: tuple[int, ...], slack: float
) -> dict[str, Any]:
    """Rows of what every option takes, with what the sensors tell meanwhile.

    Args:
        opened: The bundle.
        seconds: How long.
        seed: Of the order in which options answer.
        pressure: Gives a context manager of a function that sets how many burners and thrashers run.
        threads: The numbers of threads.
        slack: The limit of latency, as a multiple of the costliest option's latency at rest.
    """
    keys = {f"{b.id}@cpux{count}": (b, count) for b in opened.manifest.branches for count in threads}
    runners = {key: open_branch(opened, branch, "cpu", count) for key, (branch, count) in keys.items()}
    idle = probing.latencies(probing.probe(runners), dict.fromkeys(runners), {})
    whole = {k: b.cost.weight_bytes + 2 * b.cost.peak_bytes for k, (b, _) in keys.items()}
    ranked = sorted(keys, key=lambda key: (-keys[key][0].accuracy.value, idle[key]))
    kept = sorted({ranked[round(n * (len(ranked) - 1) / (MOST - 1))] for n in range(MOST)}, key=ranked.index)
    scale = TOTAL_MB / sum(whole[key] for key in kept)
    table = tuple(
        Option(key, keys[key][0].accuracy.value, idle[key], None, scale * whole[key], "cpu", keys[key][1])
        for key in kept
    )  # fmt: skip
    sizes_mb = {option.id: option.memory_mb or 0.0 for option in table}
    x = np.zeros(opened.manifest.branches[0].input.shape, np.float32)
    cores, order, along, rows = os.cpu_count() or 1, random.Random(seed), course(seconds), []
    with tempfile.TemporaryDirectory() as folder, Wander(along), pressure() as resize:
        device = Device(Path(folder))
        with Monitor(sampler=FileSampler(folder)) as monitor:
            begun = time.monotonic()
            while (elapsed := time.monotonic() - begun) < seconds:
                name, share = phase_at(elapsed / seconds)
                resize(round(3 * cores * share) if name == "rising load" else 0, 0)
                memory_mb = left_mb(share if name == "memory" else 0.0, sizes_mb, Settings().reserve_mb)
                device.tell(along.at(elapsed), memory_mb)
                turn = [option.id for option in table]
                order.shuffle(turn)
                context, taken = monitor.latest(), {}
                for key in turn:
                    before = time.perf_counter()
                    runners[key](x)
                    taken[key] = round(1e3 * (time.perf_counter() - before), 4)
                told = {
                    k: v for k, v in asdict(replace(context, time_s=0.0)).items() if v is not None and k != "time_s"
                }
                rows.append(
                    {"phase": name, "time_s": round(elapsed, 4), "left_mb": round(memory_mb, 3), "context": told,
                     "ms": [taken[option.id] for option in table]}
                )  # fmt: skip
                time.sleep(max(0.0, 1 / FPS - (time.monotonic() - begun - elapsed)))
    limit_ms = slack * max(option.latency_ms for option in table)
    return {"bundle": opened.digest, "model": opened.manifest.name, "budget_ms": limit_ms,
            "table": [codec.to_json(option) for option in table], "rows": rows}  # fmt: skip


def table_of(recorded: dict[str, Any]) -> Table:
    """The options of recorded rows."""
    return tuple(codec.from_json(Option, one, "table") for one in recorded["table"])


class Loaded:
    """What is loaded, as a session does it: the least recently used goes first, and what fits is opened in a tick."""

    def __init__(self, table: Table, safe: str, reserve_mb: float) -> None:
        self._sizes = {option.id: option.memory_mb or 0.0 for option in table}
        self._held = [option.id for option in sorted(table, key=policies.rank, reverse=True)]
        self._safe, self._reserve_mb = safe, reserve_mb
        self._given: dict[str, float] = {}

    def held_mb(self) -> float:
        """What is taken."""
        return sum(self._sizes[key] for key in self._held)

    def possible(self, table: Table, free_mb: float, serving: str | None, now_s: float) -> Table:
        """What may be chosen, after others gave way."""
        missing_mb = self._reserve_mb - free_mb
        given = giving_way(tuple(self._held), self._sizes, missing_mb, (serving, self._safe))
        for key in given:
            self._held.remove(key)
            self._given[key] = now_s

        must = (
            not given
            and serving not in (None, self._safe)
            and in_need(self._sizes[str(serving)], free_mb, self._reserve_mb)
        )

        def there(key: str) -> bool:
            if must and key == serving:
                return False
            waited = now_s - self._given.get(key, -PAUSE_S) >= PAUSE_S
            return key in self._held or (waited and fits(self._sizes[key], free_mb, self._reserve_mb))

        return tuple(option for option in table if there(option.id)) or table

    def use(self, key: str) -> bool:
        """Whether it is there; else it is from now on."""
        ready = key in self._held
        if ready:
            self._held.remove(key)
        self._held.append(key)
        return ready

    def ready(self, table: Table) -> Table:
        """What could serve at once."""
        return tuple(option for option in table if option.id in self._held)


def decide_again(recorded: dict[str, Any], settings: Settings, memory: bool = True) -> dict[str, dict[str, float]]:
    """What the policy does on recorded rows: by phase the shares of inputs that came late or were lost, and accuracy.

    Args:
        recorded: What :func:`record` gives.
        settings: Those of the policy; ``clock=1`` and ``forecast_s=0`` switch these off.
        memory: Whether memory is told. If not, all options stay loaded, and whoever takes more than there is is ended:
            inputs are lost until there is enough again, and until the session is open again.
    """
    table, budget = table_of(recorded), Budget(latency_ms=recorded["budget_ms"])
    places = {option.id: number for number, option in enumerate(table)}
    loaded = Loaded(table, policies.fallback(budget, table).id, settings.reserve_mb)
    state, back_s = State(), -math.inf
    seen: dict[str, list[tuple[bool, bool, float]]] = {"all": [], **{name: [] for name, _ in PHASES}}
    for row in recorded["rows"]:
        now_s, held_mb = row["time_s"], loaded.held_mb()
        context = codec.from_json(Context, {**row["context"], "time_s": now_s}, "context")
        if held_mb > row["left_mb"]:
            back_s = now_s + REOPEN_S
        if now_s < back_s:
            one = (False, True, 0.0)
        else:
            one, state = _tick(row, context, (table, budget, state, settings), loaded if memory else None, places)
        seen["all"].append(one)
        seen[row["phase"]].append(one)
    return {name: _shares(ones) for name, ones in seen.items() if ones}


def _tick(
    row: Row,
    context: Context,
    known: tuple[Table, Budget, State, Settings],
    loaded: Loaded | None,
    places: dict[str, int],
) -> tuple[tuple[bool, bool, float], State]:
    """An input: whether it came late, that it was not lost, the accuracy; and the state after it."""
    table, budget, state, settings = known
    free_mb, possible = context.memory_free_mb, table
    if loaded is not None and free_mb is not None:
        free_mb = max(0.0, free_mb - loaded.held_mb())
        possible = loaded.possible(table, free_mb, state.branch, context.time_s)
    decision = policies.decide(context, budget, possible, state, settings)
    if loaded is not None and not loaded.use(decision.branch):
        there = tuple(option for option in loaded.ready(table) if option.id != decision.branch)
        decision = policies.decide(context, budget, there, state, settings)
    option = table[places[decision.branch]]
    latency_ms = row["ms"][places[option.id]]
    late = budget.latency_ms is not None and latency_ms > budget.latency_ms
    ended_s = context.time_s + latency_ms / 1e3
    state = observe(decision.state, option, latency_ms, ended_s, settings, late=late, context=context)
    return (late, False, option.accuracy), state


def _shares(ones: list[tuple[bool, bool, float]]) -> dict[str, float]:
    answered = [accuracy for _, lost, accuracy in ones if not lost]
    return {
        "missed": sum(late or lost for late, lost, _ in ones) / len(ones),
        "lost": sum(lost for _, lost, _ in ones) / len(ones),
        "accuracy": sum(answered) / len(answered) if answered else 0.0,
    }


def warm_up(recorded: dict[str, Any], settings: Settings) -> dict[str, float]:
    """What the policy does on a chip that warms up with what it runs: the share of inputs above the limit, by how many
    degrees at most, and the mean accuracy. The latencies are those of the idle rows, over and over."""
    table, budget = table_of(recorded), Budget(temperature_c=LIMIT_C)
    places = {option.id: number for number, option in enumerate(table)}
    rows = [row for row in recorded["rows"] if row["phase"] == "idle"]
    costliest_ms = max(option.latency_ms for option in table)
    state, celsius, told, told_s, over, accuracy = State(), REST_C, REST_C, -math.inf, [], 0.0
    count = int(HEAT_S * FPS)
    for number in range(count):
        now_s, row = number / FPS, rows[number % len(rows)]
        if now_s - told_s >= TOLD_S:
            told, told_s = celsius, now_s
        context = Context(now_s, cores=2, runnable=0, temperature_c=told)
        decision = policies.decide(context, budget, table, state, settings)
        option = table[places[decision.branch]]
        latency_ms = row["ms"][places[option.id]]
        state = observe(decision.state, option, latency_ms, now_s, settings, context=context)
        target = REST_C + RISE_C * option.latency_ms / costliest_ms
        celsius += (target - celsius) * (1.0 - math.exp(-1.0 / (FPS * WARM_S)))
        over.append(max(0.0, celsius - LIMIT_C))
        accuracy += option.accuracy / count
    return {"above": sum(one > 0.0 for one in over) / count, "overshoot_c": max(over), "accuracy": accuracy}


#: The seconds ahead that are tried.
AHEAD_S = (0.0, 0.5, 1.0, 2.0, 5.0)


def outcomes(recorded: dict[str, Any]) -> dict[str, Any]:
    """All features, each switched off in turn, and the forecast over several times, on the same rows."""
    usual = Settings()
    variants: dict[str, tuple[Settings, bool]] = {
        "all": (usual, True),
        "without memory": (usual, False),
        "without the clock": (replace(usual, clock=1.0), True),
        "without both": (replace(usual, clock=1.0), False),
        **{f"forecast {ahead_s:g} s": (replace(usual, forecast_s=ahead_s), True) for ahead_s in AHEAD_S},
    }
    return {
        "model": recorded["model"], "bundle": recorded["bundle"], "ticks": len(recorded["rows"]),
        "budget_ms": recorded["budget_ms"], "options": len(recorded["table"]),
        "decided": {name: decide_again(recorded, *variant) for name, variant in variants.items()},
        "heat": {f"{ahead_s:g}": warm_up(recorded, replace(usual, forecast_s=ahead_s)) for ahead_s in AHEAD_S},
    }  # fmt: skip


def lines(runs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The lines of a table: what is on, then the shares in %, as means over all runs."""
    for name in runs[0]["decided"]:
        cells = []
        for phase in ("all", *(phase for phase, _ in PHASES)):
            shares = [run["decided"][name][phase]["missed"] for run in runs if phase in run["decided"][name]]
            cells.append(f"{100 * sum(shares) / len(shares):.1f}" if shares else "-")
        whole = [run["decided"][name]["all"] for run in runs]
        cells.append(f"{100 * sum(one['lost'] for one in whole) / len(runs):.1f}")
        cells.append(f"{100 * sum(one['accuracy'] for one in whole) / len(runs):.2f}")
        yield (name, *cells)


#: The head of that table.
COLUMNS = ("", "all", *(name for name, _ in PHASES), "lost", "accuracy")


def heat_lines(runs: list[dict[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The lines of the table of the heat model, as means over all runs, the overshoot as the highest."""
    for ahead_s in runs[0]["heat"]:
        ones = [run["heat"][ahead_s] for run in runs]
        above, accuracy = (100 * sum(one[key] for one in ones) / len(ones) for key in ("above", "accuracy"))
        yield f"{ahead_s} s", f"{above:.1f}", f"{max(one['overshoot_c'] for one in ones):.2f}", f"{accuracy:.2f}"


HEAT_COLUMNS = ("forecast", "above the limit, %", "highest above, degrees", "accuracy")
