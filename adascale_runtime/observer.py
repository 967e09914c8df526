"""The observer of a session: time, device context, policy state, and notes for the next event."""

from __future__ import annotations

import time
from typing import Any, Dict, NamedTuple, Optional, Tuple

from adascale_runtime.device.monitor import Monitor
from adascale_runtime.policies.limits import Option, Settings
from adascale_runtime.policies.state import Habits, State, forget, observe
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
    """

    #: What the policy remembers.
    state: State

    def __init__(self, monitor: Monitor, settings: Settings, habits: Optional[Habits] = None) -> None:
        self._monitor, self._settings = monitor, settings
        self._snapshot: Optional[Context] = None
        self._signals: Dict[str, Any] = {}
        self.state = State(habits=habits or {})
        self.restart()

    def restart(self) -> None:
        """Forget what was observed, but for the device's habits, and begin to count time anew."""
        self.state = State(habits=self.state.habits)
        self._told: Optional[Context] = None
        self._failed: Tuple[str, ...] = ()
        self._start_s = self._monitor.now()

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
        return Moment(begun, time_s, snapshot, Context(time_s, **self._signals))

    def seen(self, option: Option, latency_ms: float, time_s: float, context: Context, *, late: bool = False) -> None:
        """Learn from an inference of ``option`` that began in a context and ended at ``time_s``."""
        self.state = observe(self.state, option, latency_ms, time_s, self._settings, late=late, context=context)

    def lost(self, key: str) -> None:
        """Remember that an option was taken out; the next event names it."""
        self._failed += (key,)
        self.state = forget(self.state, key)

    def news(self, snapshot: Context) -> Tuple[Tuple[str, ...], Optional[Context]]:
        """What an event tells that earlier ones did not: options taken out since then, and the context if it is new."""
        failed, context = self._failed, None if snapshot is self._told else snapshot
        self._told, self._failed = snapshot, ()
        return failed, context
