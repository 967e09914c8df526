"""Random tables, budgets, settings, contexts and devices for vectors of decisions; also wild ones, as far as files
allow."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random

from adascale_runtime.policies import policy as policies
from adascale_runtime.policies import rivals  # noqa: F401  (registers its policies)
from adascale_runtime.policies.limits import Engine, Option, Settings, Table
from adascale_runtime.policies.pressure import LENGTHS, UNKNOWN, Excesses, Learning
from adascale_runtime.policies.state import Habits, Told
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

ENGINES: tuple[Engine, ...] = (
    ("cpu", 1), ("cpu", 2), ("cpu", 4), ("builtin", 1), ("reference", 8), ("gpu", 1), ("npu", 1), ("nnapi", 1),
    ("of its own", 3),
)  # fmt: skip
#: The policies that the runtime has itself: others may be registered in the same process.
POLICIES = tuple(sorted(n for n, p in policies.POLICIES.items() if p.__module__.startswith(policies.__package__)))


def spread(r: Random, low: float, high: float) -> float:
    """A positive number, evenly over the logarithm."""
    return math.exp(r.uniform(math.log(low), math.log(high)))


def maybe(r: Random, chance: float, value: float) -> float | None:
    """A value with a chance, else None."""
    return value if r.random() < chance else None


def table(r: Random) -> Table:
    """1 to 30 options on some engines, with ties and holes."""
    engines = r.sample(ENGINES, r.choice((1, 1, 1, 2, 3, 5)))
    known_mj, known_mb = r.choice((0.0, 0.6, 1.0, 1.0)), r.choice((0.0, 0.6, 1.0))
    low, high = r.choice(((0.1, 10.0), (0.1, 10.0), (0.01, 100.0), (0.5, 2.0), (1e-6, 1e6)))
    digits = r.choice((1, 2, 6))
    options = []
    for number in range(r.choice((1, 2, 2, 3, 3, 5, 8, 13, 21, 30))):
        delegate, threads = r.choice(engines)
        ms = spread(r, low, high)
        latency_ms = round(ms, 1) if digits == 1 and ms >= 0.05 else ms
        energy_mj = maybe(r, known_mj, latency_ms * spread(r, 0.5, 4.0))
        memory_mb = maybe(r, known_mb, round(r.uniform(1.0, 64.0), digits))
        name = f"b{r.randrange(1000)}-{number}" if number else "full"
        options.append(Option(name, round(r.random(), digits), latency_ms, energy_mj, memory_mb, delegate, threads))
    return tuple(options)


def budget(r: Random, options: Table) -> Budget:
    """Every limit there or not, mostly near what the options need."""
    one = r.choice(options)
    power_mw = spread(r, 0.01, 10.0) * (one.energy_mj or 1.0) / r.choice((0.01, 0.1, 1.0))
    return Budget(
        latency_ms=maybe(r, 0.85, one.latency_ms * spread(r, 0.6, 6.0)),
        energy_mj=maybe(r, 0.25, (one.energy_mj or 1.0) * spread(r, 0.7, 2.0)),
        memory_mb=maybe(r, 0.25, (one.memory_mb or 8.0) * spread(r, 0.7, 2.0)),
        min_accuracy=maybe(r, 0.3, max(1e-3, one.accuracy * r.uniform(0.8, 1.1))),
        power_mw=maybe(r, 0.25, power_mw),
        lifetime_h=maybe(r, 0.2, spread(r, 0.001, 100.0)),
        temperature_c=maybe(r, 0.25, r.uniform(30.0, 80.0)),
    )


def settings(r: Random) -> Settings:
    """The usual settings, or others."""
    if r.random() < 0.4:
        return Settings()
    learning = Learning(
        window_s=spread(r, 0.05, 5.0), excess_s=spread(r, 0.1, 60.0), memory_s=spread(r, 0.1, 100.0),
        excess_ms=spread(r, 1.0, 2000.0), stall=r.uniform(1.0, 3.0), surely=r.uniform(1.0, 5.0),
        trust_ms=spread(r, 0.1, 100.0), habit_ms=spread(r, 1.0, 5000.0), caution=r.choice((0.0, 0.5, 1.0, 3.0)),
    )  # fmt: skip
    return Settings(
        misses=r.choice((0.0, 0.01, 0.04, 0.3, 1.0)), patience_s=spread(r, 0.1, 100.0), headroom=r.uniform(0.3, 1.1),
        dwell_s=r.choice((0.0, 0.1, 0.4, 3.0)), battery_wh=spread(r, 1.0, 100.0), reserve_mb=r.choice((0.0, 64.0)),
        clock=r.choice((1.0, 1.5, 3.0, 10.0)), forecast_s=r.choice((0.0, 0.0, 0.5, 3.0)),
        learning=r.choice((Learning(), learning)),
    )  # fmt: skip


def wild_table(r: Random) -> Table:
    """Options at the ends of what files may hold."""
    return tuple(
        Option(
            f"b{number}", r.choice((0.0, 1.0, r.random())), ends(r, 1e-9, 1e12), r.choice((None, 0.0, 1.0, 1e15)),
            r.choice((None, 0.0, 1e15)), *r.choice(ENGINES),
        )
        for number in range(r.randrange(1, 6))
    )  # fmt: skip


def wild_budget(r: Random) -> Budget:
    """Limits far from what options need."""

    def limit() -> float | None:
        return r.choice((None, 1e-300, 1e-9, 1e15, 1e300, spread(r, 1e-9, 1e12)))

    return Budget(limit(), limit(), limit(), r.choice((None, 1e-300, 1.0)), limit(), limit(), limit())


def wild_settings(r: Random) -> Settings:
    """Settings at the ends of what files may hold."""
    learning = Learning(
        window_s=ends(r, 1e-9, 1e12), excess_s=ends(r, 1e-9, 1e12), memory_s=ends(r, 1e-9, 1e12),
        excess_ms=ends(r, 1e-9, 1e12), stall=ends(r, 1.0, 1e6), surely=ends(r, 1.0, 1e6),
        trust_ms=ends(r, 1e-9, 1e12), habit_ms=ends(r, 1e-9, 1e12), caution=r.choice((0.0, 1.0, 1e6)),
    )  # fmt: skip
    return Settings(
        misses=r.choice((0.0, 1e-300, 0.04, 1.0)), patience_s=ends(r, 1e-9, 1e12), headroom=ends(r, 1e-6, 1e6),
        dwell_s=r.choice((0.0, 1e15)), battery_wh=ends(r, 1e-9, 1e12), clock=ends(r, 1.0, 100.0),
        forecast_s=r.choice((0.0, 1.0, 1e15)), learning=learning,
    )  # fmt: skip


def ends(r: Random, low: float, high: float) -> float:
    """The lowest value, the highest, or one between them."""
    return r.choice((low, high, spread(r, low, high)))


def habits(r: Random, options: Table) -> Habits:
    """Habits of some engines, also of such that the table does not have; or none."""
    if r.random() < 0.5:
        return {}
    known: Habits = {}
    for engine in {*(option.engine for option in options), r.choice(ENGINES)}:
        for level in r.sample(range(UNKNOWN + 1), r.randrange(4)):
            counts = sorted((spread(r, 1e-3, 300.0) for _ in range(LENGTHS)), reverse=True)
            known[engine, level] = Excesses(tuple(counts), spread(r, 1.0, 1500.0))
    return known


def told(r: Random, options: Table) -> Told:
    """Slowdowns of some engines, or of none."""
    engines = {option.engine for option in options}
    return {e: (r.uniform(0.1, 10.0), -r.uniform(0.0, 3.0)) for e in sorted(engines) if r.random() < 0.3}


def context(r: Random, limits: Budget) -> Context:
    """A snapshot with holes."""
    near_c = limits.temperature_c or 50.0
    return Context(
        time_s=0.0,
        cpu_load=maybe(r, 0.6, round(r.uniform(-0.01, 1.2), 4)),
        runnable=r.randrange(20) if r.random() < 0.5 else None,
        cores=r.choice((1, 2, 4, 8, 8)) if r.random() < 0.8 else r.choice((None, 0)),
        cpu_freq_mhz=maybe(r, 0.5, r.uniform(300.0, 3000.0)),
        memory_free_mb=maybe(r, 0.5, r.uniform(10.0, 4000.0)),
        battery=maybe(r, 0.6, r.random()),
        charging=r.choice((None, False, True)),
        temperature_c=maybe(r, 0.6, near_c + r.uniform(-8.0, 3.0)),
        clock_cap_mhz=maybe(r, 0.6, r.choice((0.0, 300.0, 1000.0, 1500.0, 2000.0, 2000.0, 2000.0))),
    )


@dataclass
class Device:
    """A device that wanders, and stalls now and then; its clock jumps back at times."""

    r: Random
    time_s: float = 0.0
    slow: dict[Engine, float] = field(default_factory=dict)

    def idle(self) -> float:
        """The next moment at which an inference begins, in seconds."""
        self.time_s += self.r.choice((0.0, 0.0, 0.001, 0.05, 0.3)) * self.r.expovariate(1.0)
        if self.r.random() < 0.02:
            self.time_s += self.r.uniform(1.0, 200.0)
        if self.r.random() < 0.03:
            self.time_s -= self.r.uniform(0.0, 20.0)
        self.time_s = round(self.time_s, 6)
        return self.time_s

    def run(self, option: Option) -> tuple[float, float]:
        """What a run of an option takes, in ms, and when it ends, in seconds."""
        before = self.slow.get(option.engine, spread(self.r, 0.7, 1.6))
        now = self.slow[option.engine] = min(8.0, max(0.2, before * math.exp(self.r.gauss(0.0, 0.08))))
        latency_ms = option.latency_ms * now * math.exp(self.r.gauss(0.0, 0.03))
        if self.r.random() < 0.1:
            latency_ms += spread(self.r, 0.003, 30.0)
        latency_ms = max(1e-4, round(latency_ms, 4))
        self.time_s = round(self.time_s + 1e-3 * latency_ms, 6)
        return latency_ms, self.time_s


class WildDevice(Device):
    """A device whose clock and latencies are anything."""

    def idle(self) -> float:
        """As :meth:`Device.idle`."""
        self.time_s = self.r.choice((0.0, 1e15, -1e15, self.time_s, self.r.uniform(-5.0, 5.0)))
        return self.time_s

    def run(self, option: Option) -> tuple[float, float]:
        """As :meth:`Device.run`."""
        self.time_s = self.r.choice((self.time_s, self.time_s + 1e-3, 1e15, -1e15))
        return self.r.choice((0.0, 1e-4, 1e15, option.latency_ms, 1.7 * option.latency_ms)), self.time_s
