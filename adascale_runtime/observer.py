"""The observer of a session: time, device context, policy state, and notes for the next event."""

from __future__ import annotations

import time
from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from adascale_runtime.device.audit import Auditor
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.policies.limits import Engine, Option, Settings
from adascale_runtime.policies.pressure import SLOWDOWNS
from adascale_runtime.policies.state import Habits, State, Told, audited, begin, forget, observe
from adascale_runtime.seams.events import Audit
from adascale_runtime.seams.records import Context


class Moment(NamedTuple):
    """The beginning of an inference."""

    #: Seconds of :func:`time.perf_counter`, from which decision and switch are timed.
    begun: float
    #: Seconds since the session's start.
    time_s: float
    #: The monitor's newest snapshot.
    snapshot: Context
    #: The same with this moment's time.
    context: Context


class Observer:
    """Tells the time, keeps the policy's state, and knows what the next event has to tell. Not thread-safe.

    Args:
        monitor: The clock, and where snapshots of the device come from.
        settings: How fast the policy's state learns.
        habits: What is known of the device from earlier sessions.
        slowdowns: How many times longer than usual engines take just now, as anchors tell it.
        auditor: Checks predictions of energy with a meter; None where nothing does.
    """

    #: What the policy remembers.
    state: State
    #: What it was told of engines before anything ran on them, by this observer's time.
    told: Told

    def __init__(
        self,
        monitor: Monitor,
        settings: Settings,
        habits: Optional[Habits] = None,
        slowdowns: Optional[Mapping[Engine, float]] = None,
        auditor: Optional[Auditor] = None,
    ) -> None:
        self._monitor, self._settings, self._auditor = monitor, settings, auditor
        self._snapshot: Optional[Context] = None
        self._signals: Dict[str, Any] = {}
        self.state = State(habits=habits or {})
        low, high = SLOWDOWNS
        self._slowdowns = {
            engine: round(min(high, max(low, slowdown)), 4) for engine, slowdown in (slowdowns or {}).items()
        }
        self._told_s = monitor.now()
        self.restart()

    def restart(self) -> None:
        """Forget what was observed, but for the device's habits, and begin to count time anew.

        What was told of engines is as old as it is, so it counts for nothing some seconds later.
        """
        self._told: Optional[Context] = None
        self._audit: Optional[Audit] = None
        self._audit_told = False
        self._failed: Tuple[str, ...] = ()
        self._start_s = self._monitor.now()
        age_s = round(self._start_s - self._told_s, 6)
        self.told = {engine: (slowdown, -age_s) for engine, slowdown in self._slowdowns.items()}
        self.state = begin(self.state.habits, self.told)

    def now_s(self) -> float:
        """Seconds since the start, rounded as they stand in a trace."""
        return round(self._monitor.now() - self._start_s, 6)

    def begin(self) -> Moment:
        """The moment at which an inference begins."""
        begun = time.perf_counter()
        time_s = round(self._monitor.now() - self._start_s, 6)
        snapshot = self._monitor.latest()
        if snapshot is not self._snapshot:  # dataclasses.replace() for every inference would take twice as long
            self._snapshot, self._signals = snapshot, {k: v for k, v in vars(snapshot).items() if k != "time_s"}
        audit = None if self._auditor is None else self._auditor.latest()
        if audit is not None and audit is not self._audit:
            self._audit, self._audit_told, self.state = audit, False, audited(self.state, audit)
        return Moment(begun, time_s, snapshot, Context(time_s, **self._signals))

    def seen(self, option: Option, latency_ms: float, time_s: float, context: Context, *, late: bool = False) -> None:
        """Learn from an inference of ``option`` that began in a context and ended at ``time_s``."""
        self.state = observe(self.state, option, latency_ms, time_s, self._settings, late=late, context=context)
        if self._auditor is not None and option.energy_mj is not None:
            self._auditor.spent(option.engine, option.energy_mj)

    def lost(self, key: str) -> None:
        """Remember that an option was taken out; the next event names it."""
        self._failed += (key,)
        self.state = forget(self.state, key)

    def news(self, snapshot: Context) -> Tuple[Tuple[str, ...], Optional[Context]]:
        """What an event tells that earlier ones did not: options taken out since then, and the context if it is new."""
        failed, context = self._failed, None if snapshot is self._told else snapshot
        self._told, self._failed = snapshot, ()
        return failed, context

    def audit_news(self) -> Optional[Audit]:
        """What the energy audit told since the event before; None for nothing."""
        told, self._audit_told = self._audit_told, True
        return None if told else self._audit
