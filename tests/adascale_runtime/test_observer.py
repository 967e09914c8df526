from __future__ import annotations

import pytest

from adascale_runtime.device.monitor import Monitor
from adascale_runtime.observer import Observer
from adascale_runtime.policies.limits import Option, Settings
from adascale_runtime.policies.state import State
from adascale_runtime.seams.records import Context


class Script:
    """A sampler that gives the contexts of a list, again and again the last one."""

    def __init__(self, *contexts: Context) -> None:
        self.contexts = list(contexts)

    def sample(self, time_s: float) -> Context:
        return self.contexts.pop(0) if len(self.contexts) > 1 else self.contexts[0]


def observer(*contexts: Context, clock: float = 0.0) -> tuple[Observer, Monitor, list[float]]:
    now = [clock]
    monitor = Monitor(clock=lambda: now[0], sampler=Script(*contexts))
    return Observer(monitor, Settings()), monitor, now


def test_time_counts_from_the_latest_start_and_stands_in_the_context() -> None:
    seen, _, now = observer(Context(0.0, cpu_load=0.5, cores=2), clock=100.0)
    now[0] = 101.25
    moment = seen.begin()
    assert (moment.time_s, seen.now_s()) == (1.25, 1.25)
    assert moment.context == Context(1.25, cpu_load=0.5, cores=2) and moment.snapshot.time_s == 0.0
    seen.restart()
    now[0] = 102.0
    assert seen.begin().context.time_s == 0.75


def test_what_was_told_of_engines_is_there_from_the_start_and_grows_old() -> None:
    now = [100.0]
    monitor = Monitor(clock=lambda: now[0], sampler=Script(Context(0.0)))
    seen = Observer(monitor, Settings(), None, {("cpu", 1): 1.66666666, ("cpu", 2): 1e9})
    assert seen.told == {("cpu", 1): (1.6667, 0.0), ("cpu", 2): (10.0, 0.0)}
    assert seen.state.windows["cpu", 1].mean() == pytest.approx(1.6667)
    now[0] = 100.5
    seen.seen(Option("full", 0.9, 1.0), 1.0, 0.5, Context(0.5))
    seen.restart()
    assert seen.told["cpu", 1] == (1.6667, -0.5)
    window = seen.state.windows["cpu", 1]
    assert 1.1 < window.decayed(0.0, Settings().learning.window_s).mean() < 1.6


def test_a_new_snapshot_is_seen() -> None:
    seen, monitor, _ = observer(Context(0.0, cpu_load=0.1), Context(0.0, cpu_load=0.9))
    assert seen.begin().context.cpu_load == 0.1
    monitor._latest = monitor._sampler.sample(1.0)
    assert seen.begin().context.cpu_load == 0.9


def test_an_event_tells_what_is_new_and_no_more() -> None:
    seen, _, _ = observer(Context(0.0, cpu_load=0.1))
    snapshot = seen.begin().snapshot
    seen.lost("full")
    seen.lost("half")
    assert seen.news(snapshot) == (("full", "half"), snapshot)
    assert seen.news(snapshot) == ((), None)
    assert seen.news(Context(1.0)) == ((), Context(1.0))
    seen.restart()
    assert seen.news(snapshot) == ((), snapshot)


def test_what_is_lost_is_forgotten_as_the_branch_in_use_and_learning_goes_on() -> None:
    seen, _, _ = observer(Context(0.0))
    seen.state = State(branch="full")
    seen.seen(Option("full", 0.9, 1.0), 2.0, 0.1, Context(0.0), late=True)
    assert seen.state.served == seen.state.late == 1.0 and seen.state.windows["cpu", 1].mean() > 1.0
    seen.lost("half")
    assert seen.state.branch == "full"
    seen.lost("full")
    assert seen.state.branch is None
    seen.restart()
    assert seen.state == State(habits=seen.state.habits)
