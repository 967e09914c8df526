"""Thousands of phones as events in time, around the real dispatcher: what a lease costs is drawn from measurements.

Pure: the same seed gives the same history. What nobody here could measure (how phones differ, how often they die) is
in ``fleet_assumed.Assumptions`` and nowhere else.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleet_assumed import Assumptions, Costs, Outcome, Plan, models_of

from android_harness.fleet.dispatch import Dispatcher, Lease, Phone


@dataclass
class _Unit:
    """A phone of the world: whether it is up, ``known`` to be there, has the files (``brought``), is being given up
    (``noticing``), and the lease it works on."""

    phone: Phone
    slower: float
    up: bool = True
    known: bool = True
    brought: bool = False
    noticing: bool = False
    lease: Lease | None = None
    begun: float = 0.0
    ends: float = 0.0
    #: Counts what happened to it, so that events of an earlier life are told apart.
    life: int = 0


class World:
    """One simulated profile; :meth:`run` gives what came of it."""

    def __init__(self, plan: Plan, assumed: Assumptions, costs: Costs, seed: int = 0) -> None:
        self.plan, self.assumed, self.costs = plan, assumed, costs
        self._random = random.Random(seed)
        self._events: list[tuple[float, int, str, Any, int]] = []
        self._count = 0
        self._now = self._cpu = 0.0
        self._free = 0.0  # when the coordinator has dealt with all answers so far
        self._units: dict[str, _Unit] = {}
        self._by_host: dict[str, list[_Unit]] = {}
        self._outcome = Outcome(plan.name)
        self._seconds: Counter[int] = Counter()
        self._ended: dict[str, float] = {}
        self._lay_out()

    def _lay_out(self) -> None:
        a, draw = self.assumed, self._random
        models = [model for model, count in enumerate(models_of(a)) for _ in range(count)]
        speed = [a.slower * draw.lognormvariate(0, a.slower_sigma) for _ in range(a.models)]
        draw.shuffle(models)
        for number, model in enumerate(models):
            serial, host = f"S{number:05d}", f"host-{number % a.hosts:03d}"
            kind = f"model-{model:03d}" if self.plan.share == "model" else serial
            unit = _Unit(Phone(host, serial, serial, kind), speed[model] * draw.lognormvariate(0, a.phone_sigma))
            self._units[serial] = unit
            self._by_host.setdefault(host, []).append(unit)
        self._base = {
            f"b{branch}/e{engine}": draw.choice(self.costs.cells)
            for engine in range(a.engines)
            for branch in range(a.branches)
        }
        groups = [[f"b{branch}/e{engine}" for branch in range(a.branches)] for engine in range(a.engines)]
        self._model_of = {unit.phone.kind: models[i] for i, unit in enumerate(self._units.values())}
        self._broken = {(m, cell) for m in range(a.models) for cell in self._base if draw.random() < a.broken}
        work = dict.fromkeys(self._model_of, groups)
        self.dispatcher = Dispatcher(work, self.plan.cells_per_lease, size=self.plan.size)
        self._open = Counter({kind: len(self._base) for kind in work})

    # --- time

    def _at(self, delay: float, what: str, whom: Any, life: int = 0) -> None:
        self._count += 1
        heapq.heappush(self._events, (self._now + delay, self._count, what, whom, life))

    def _rate(self, per_hour: float) -> float:
        return self._random.expovariate(per_hour / 3600)

    def _timed(self, act: Any, *words: Any) -> Any:
        """A call of the real dispatcher, whose CPU time is counted."""
        begun = time.process_time()
        found = act(*words)
        self._cpu += time.process_time() - begun
        return found

    def run(self) -> Outcome:
        """All events in order of time, until every cell is done or given up."""
        a = self.assumed
        for unit in self._units.values():
            self._timed(self.dispatcher.join, unit.phone)
            if a.deaths:
                self._at(self._rate(a.deaths), "dies", unit, unit.life)
        if a.host_deaths:
            for host in self._by_host:
                self._at(self._rate(a.host_deaths), "host dies", host)
        self._lend()
        while not self.dispatcher.finished:
            self._now, _, what, whom, life = heapq.heappop(self._events)
            if isinstance(whom, _Unit) and whom.life != life:
                continue
            getattr(self, "_" + what.replace(" ", "_"))(whom)
            self._lend()
        return self._summary()

    # --- leases

    def _lend(self) -> None:
        for phone, lease in self._timed(self.dispatcher.assign):
            unit = self._units[phone.id]
            unit.lease, unit.begun = lease, self._now
            self._outcome.leases += 1
            self._seconds[int(self._now)] += 1
            if unit.up:
                unit.ends = self._now + self._length(unit, lease)
                self._at(unit.ends - self._now, "ends", unit, unit.life)
            else:  # it died while it had nothing to do, which nobody saw
                self._notice(unit, self._until_noticed())

    def _length(self, unit: _Unit, lease: Lease) -> float:
        """Seconds of a lease: what is not the phone's tasks, and its cells."""
        draw, costs, a = self._random, self.costs, self.assumed
        if unit.brought:
            seconds = draw.choice(costs.next)
        else:
            seconds = draw.choice(costs.first) + costs.pushed / a.bytes_per_s
            unit.brought = True
        for cell in lease.cells:
            seconds += unit.slower * draw.choice(self._base[cell])
            if self.plan.energy:
                seconds += draw.choice(costs.energy)
            if draw.random() < a.warm:
                seconds += draw.expovariate(1 / a.cooling_s)
        return seconds

    def _ends(self, unit: _Unit) -> None:
        """A phone is done; the coordinator hears of it when it is done with earlier answers."""
        lease, unit.lease = unit.lease, None
        self._busy(unit)
        service = self.costs.answer + self.costs.append
        self._free = max(self._now, self._free) + service
        self._outcome.coordinator_s += service
        self._at(self._free - self._now, "told", lease)

    def _told(self, lease: Lease) -> None:
        model = self._model_of[lease.kind]
        failed = {cell: "SIGSEGV" for cell in lease.cells if (model, cell) in self._broken}
        before = len(self.dispatcher.given_up)
        new = self._timed(self.dispatcher.take, lease.id, [c for c in lease.cells if c not in failed], failed)
        self._open[lease.kind] -= len(new) + len(self.dispatcher.given_up) - before
        self._outcome.done += len(new)
        if not self._outcome.most_s and self._outcome.done + len(self.dispatcher.given_up) >= 0.99 * self._total:
            self._outcome.most_s = self._now
        if not self._open[lease.kind]:
            self._ended[lease.kind] = self._now

    @property
    def _total(self) -> int:
        return int(self.dispatcher.progress[1])

    def _busy(self, unit: _Unit) -> None:
        self._outcome.busy_h += (self._now - unit.begun) / 3600

    # --- deaths

    def _dies(self, unit: _Unit) -> None:
        """A phone goes away and comes back; if it is back before anybody gives up, its lease goes on."""
        self._outcome.deaths += 1
        absence, notice = self._random.expovariate(1 / self.assumed.absence_s), self._until_noticed()
        self._down(unit)
        working = unit.lease is not None
        if working and absence < notice:
            unit.ends += absence
            self._at(unit.ends - self._now, "ends", unit, unit.life)
        elif working:
            self._notice(unit, notice)
        self._at(absence, "returns", unit, unit.life)

    def _down(self, unit: _Unit) -> None:
        """What was to happen to a phone will not."""
        unit.up = unit.noticing = False
        unit.life += 1

    def _notice(self, unit: _Unit, delay: float) -> None:
        if not unit.noticing:
            unit.noticing = True
            self._at(delay, "noticed", unit, unit.life)

    def _noticed(self, unit: _Unit) -> None:
        unit.known = unit.noticing = False
        if unit.lease is not None:
            self._busy(unit)
            self._outcome.lost += len(unit.lease.cells)
            unit.lease = None
        self._timed(self.dispatcher.leave, unit.phone.id, "it went away")
        if unit.up:
            self._at(self._random.uniform(0, self.assumed.probe_s), "probed", unit, unit.life)

    def _returns(self, unit: _Unit) -> None:
        unit.up = True
        if self.assumed.deaths:
            self._at(self._rate(self.assumed.deaths), "dies", unit, unit.life)
        if not unit.known:
            self._at(self._random.uniform(0, self.assumed.probe_s), "probed", unit, unit.life)

    def _probed(self, unit: _Unit) -> None:
        if unit.up and not unit.known:
            unit.known = True
            self._timed(self.dispatcher.join, unit.phone)

    def _host_dies(self, host: str) -> None:
        """All leases of its phones are lost, the phones come back with it."""
        a = self.assumed
        absence = a.host_notice_s + self._random.expovariate(1 / a.host_absence_s)
        self._outcome.deaths += len(self._by_host[host])
        for unit in self._by_host[host]:
            self._down(unit)
            self._notice(unit, a.host_notice_s)
            self._at(absence, "returns", unit, unit.life)
        self._at(absence + self._rate(a.host_deaths), "host dies", host)

    def _until_noticed(self) -> float:
        """Seconds from a phone's death to the harness giving up."""
        a, draw = self.assumed, self._random
        if draw.random() < a.silent:
            return a.silence_s + a.patience_s + draw.choice(self.costs.silent)
        return a.patience_s + draw.choice(self.costs.cut)

    # --- results

    def _summary(self) -> Outcome:
        found = self._outcome
        found.cells, found.given_up = self._total, len(self.dispatcher.given_up)
        found.makespan_s = self._now
        sizes = Counter(unit.phone.kind for unit in self._units.values())
        available = sum(sizes[kind] * ended for kind, ended in self._ended.items()) / 3600
        found.utilisation = found.busy_h / available
        found.leases_per_s = found.leases / self._now
        found.peak_leases_per_s = peak(self._seconds)
        found.dispatcher_s_per_1000 = 1000 * self._cpu / found.leases
        found.last_kind = max(self._ended, key=lambda kind: self._ended[kind])
        found.last_kind_phones = sizes[found.last_kind]
        return found


def peak(seconds: Counter[int], window: int = 10) -> float:
    """The most leases per second in any ``window`` seconds after the start, when all phones begin at once."""
    found: Sequence[int] = [sum(seconds[s + i] for i in range(window)) for s in range(1, max(seconds, default=1) + 1)]
    return max(found, default=0) / window
