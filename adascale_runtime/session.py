"""Sessions: a bundle, a budget, and ``predict``, which chooses a loaded branch before every inference."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, Union

from adascale_runtime import habits
from adascale_runtime.device import audit
from adascale_runtime.device import monitor as monitors
from adascale_runtime.device.audit import Auditor
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines.warm import Room
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import tflite_file
from adascale_runtime.observer import Moment, Observer
from adascale_runtime.policies import limits, rivals, verdicts
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies.limits import Settings, Table
from adascale_runtime.policies.policy import Decision
from adascale_runtime.ready import ALL_FAIL, Ready, answer, engines_of
from adascale_runtime.seams import bundle as bundles
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import Event
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context

if TYPE_CHECKING:
    import numpy as np


class BaseSession:
    """What every kind of session has: options that are ready, an observer, a monitor, a door for inputs, an end.

    A subclass says in ``_serve`` how an input is answered. Its arguments are those of :class:`Session`.
    """

    #: The bundle, and the budget that is kept.
    bundle: Bundle
    budget: Budget
    #: Limits that are not kept because the device does not report what they are on (``best_effort``).
    ignored: Tuple[str, ...]
    #: The event of the latest inference; None before the first.
    last: Optional[Event]

    def __init__(
        self,
        bundle: Union[Bundle, Path, str],
        budget: Budget,
        predictors: Optional[Predictors] = None,
        *,
        delegates: Sequence[str] = ("cpu",),
        threads: Union[int, Sequence[int]] = 1,
        policy: str = "adaptive",
        settings: Settings = Settings(),  # noqa: B008  (frozen)
        monitor: Optional[Monitor] = None,
        warm_mb: Optional[float] = None,
        allow_fallback: bool = False,
        best_effort: bool = False,
        remember: bool = True,
        anchors: bool = True,
        auditor: Optional[Auditor] = None,
    ) -> None:
        policies.check_policy(policy)
        if policy in rivals.REPLAY_ONLY:
            raise BadInput("The policy '{}' needs future latencies; use it in replays only.".format(policy))
        numbers = (threads,) if isinstance(threads, int) else tuple(threads)
        engines = engines_of(delegates, numbers)
        self.bundle = bundle if isinstance(bundle, Bundle) else bundles.load(Path(bundle))
        tflite_file.check_inputs(self.bundle.manifest.branches)
        limits.check_energy(budget, predictors, engines)
        self.monitor = monitor or monitors.here()
        self.ignored = limits.check_signals(budget, self.monitor.latest(), best_effort)
        self.budget, self.delegates, self.threads, self.settings = budget, tuple(delegates), numbers[0], settings
        known = habits.recall() if remember else habits.NOTHING
        self.ready = Ready(
            self.bundle, budget, engines, predictors, warm_mb=warm_mb, allow_fallback=allow_fallback,
            anchored=anchors, openings=known.openings, room=Room(self.monitor.memory_free_mb, settings.reserve_mb),
        )  # fmt: skip
        self._remembers = remember
        self._auditor: Optional[Auditor] = None
        if limits.on_energy(budget):  # else nobody asks
            self._auditor = auditor or audit.here()
        self.observer = Observer(self.monitor, settings, known.habits, self.ready.slowdowns, self._auditor)
        self.last = None
        self._decide = policies.POLICIES[policy]
        self._lock = threading.Lock()
        self._watching = self._closed = False

    @property
    def table(self) -> Table:
        """The options that may be chosen: branches on engines, with what they cost at rest at usual speed."""
        return self.ready.table

    @property
    def broken(self) -> Dict[str, str]:
        """Why options could not be opened, by id."""
        return self.ready.broken

    def __enter__(self) -> Any:
        self.monitor.watch(self._make_way)
        self.monitor.__enter__()
        self._watching = True
        if self._auditor is not None:
            self._auditor.__enter__()
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Give back all interpreters and open files and stop the monitor, at once.

        An inference that runs in another thread is waited for. ``last``, ``table`` and ``broken`` stay for reading;
        ``predict`` raises :class:`AdaScaleError` from now on. Closing twice is harmless.
        """
        if self._watching:
            self._watching = False
            if self._auditor is not None:
                self._auditor.__exit__()
            self.monitor.__exit__()
            self.monitor.unwatch(self._make_way)
        with self._lock:
            first, self._closed = not self._closed, True
            learned = self.observer.state.habits
            self.ready.close()
        if first and self._remembers:  # others that wait for the lock need not wait for the disk
            habits.keep(learned, self.ready.took)

    def warnings(self) -> List[str]:
        """What a user should know before the first inference: options that are left out, limits that are ignored."""
        left_out = ["{} is left out: {}".format(key, why) for key, why in self.broken.items()]
        return left_out + [
            "The limit {} is ignored: this device does not report {}.".format(n, limits.SIGNALS[n][1])
            for n in self.ignored
        ]

    def restart(self) -> None:
        """Forget what was observed and begin to count time anew; branches that were taken out stay out."""
        with self._lock:
            self._forget()

    def predict(self, x: "np.ndarray", phase: Optional[str] = None) -> "np.ndarray":
        """Answer one input; :attr:`last` then says by which branch, why, and how long it took.

        Args:
            x: A preprocessed input of the branches' shape (float32), with or without the batch of 1.
            phase: A label for the event, such as "idle".

        Returns:
            The output of the branch that answered, real-valued (float32), with the batch of 1.

        Raises:
            BadInput: The input has another shape, or holds numbers that are not finite.
            AdaScaleError: No branch can answer on this device, or the session is closed.
        """
        x = self.ready.checked(x)
        with self._lock:
            self._check_open()
            return self._serve(x, phase)

    def _serve(self, x: "np.ndarray", phase: Optional[str]) -> "np.ndarray":
        """Answer a checked input, and set :attr:`last`; the lock is held."""
        raise NotImplementedError

    def _check_open(self) -> None:
        if self._closed:
            raise AdaScaleError("The session is closed; open another.")

    def _forget(self) -> None:
        """Begin anew; the lock is held."""
        self.observer.restart()

    def _make_way(self, snapshot: Context) -> None:
        """Give memory back as soon as it runs short, also while an inference runs or none comes."""
        self.ready.make_way(snapshot, self.observer.state.branch)

    def _leave_out(self, key: str) -> None:
        """Take an option out for good."""
        self.ready.leave_out(key)
        self.observer.lost(key)


class Session(BaseSession):
    """Keeps a budget while it predicts; thread-safe, one inference at a time.

    Opening loads every branch on every delegate with every number of threads and measures its idle latency, which the
    ``table`` of options keeps for the policy; ``broken`` says why options could not be opened. Anchors run meanwhile,
    small fixed kernels that tell how fast the CPU is just now: the table is for its usual speed, and the first decision
    knows that of the moment. What this machine has
    not run yet is tried in a child process first (:mod:`adascale_runtime.engines.trial`), so a crash is one of the
    reasons. A branch that fails later, or answers a NaN or an infinity, is taken out, and the next best answers the
    same request.

    Options of the first delegate and number of threads have the branch's id, others ``branch@delegatexTHREADS``: on a
    crowded CPU one thread is safer than two, which both have to be served.

    A ``with`` block starts the monitor of the device's load, and closes the session at its end.

    Args:
        bundle: A bundle, or the path of one (a folder or a .zip).
        budget: What every inference should keep.
        predictors: Predict energy and memory; needed by budgets of energy, power and battery life.
        delegates: What may execute branches, the usual one first.
        threads: One number of threads, or several to choose from, the usual one first.
        policy: A name of :data:`adascale_runtime.POLICIES`.
        settings: How cautious the policy is and how fast it learns.
        monitor: Where the device's context comes from; by default this device's own sensors.
        warm_mb: Memory for all branches that are kept ready, in MB; others are prepared in the background when the
            policy wants them, while a ready one answers. None keeps all of them ready. The device's own memory is
            looked at besides: ``settings.reserve_mb`` of it are left alone.
        allow_fallback: Whether a delegate may leave operators to the CPU.
        best_effort: Whether limits that this device has no sensor for are ignored (``ignored`` names them) instead of
            refused.
        remember: Whether what was learned of the device (how often others hold it up, and for how long) is kept for the
            next session, and what an earlier one learned is known from the start; so is what anchors usually take here.
        anchors: Whether anchors run when the session opens; False is for comparisons.
        auditor: Checks predictions of energy while a budget limits energy, power or battery life; by default with this
            device's own meter, if it has one (:func:`adascale_runtime.device.audit.here`). A ``with`` block then begins
            with up to four seconds of rest.

    Raises:
        BadBundle: The path is not a bundle, or the bundle is damaged.
        BadInput: No branch could keep the budget even on an idle device at its usual speed, or the device lacks the
            sensor of a limit.
        UnknownDelegate: There is no such delegate here.
        AdaScaleError: No branch can be opened.
    """

    def _serve(self, x: "np.ndarray", phase: Optional[str]) -> "np.ndarray":
        if not self.ready.table:
            raise AdaScaleError(ALL_FAIL)
        observer = self.observer
        while True:
            moment = observer.begin()
            decision, runner, absent = self._choose(moment)
            decided = time.perf_counter()
            switched = observer.state.branch not in (None, decision.branch)
            option = self.ready.option(decision.branch)
            begun = time.perf_counter()
            output = answer(runner, x)
            ended = time.perf_counter()
            if output is None:
                self._leave_out(decision.branch)
                continue
            # Rounded before anything is decided on it, so that a trace says exactly what the policy knew.
            latency_ms = round(1e3 * (ended - begun), 4)
            ended_s = observer.now_s()
            observer.state = decision.state
            late = verdicts.late(self.budget, latency_ms)
            observer.seen(option, latency_ms, ended_s, moment.context, late=late)
            broken = verdicts.broken(self.budget, option, latency_ms, moment.context, observer.state, self.settings)
            failed, news = observer.news(moment.snapshot)
            self.last = Event(
                time_s=moment.time_s,
                ended_s=ended_s,
                branch=option.id,
                reason=decision.reason,
                switched=switched,
                decide_ms=round(1e3 * (decided - moment.begun), 4),
                switch_ms=round(1e3 * (begun - moment.begun), 4),
                latency_ms=latency_ms,
                base_ms=option.latency_ms,
                slowdown=decision.slowdown,
                kept=not broken,
                failed=failed,
                absent=absent,
                phase=phase,
                context=news,
                broken=broken,
                audit=observer.audit_news(),
            )
            return output

    def _choose(self, moment: Moment) -> Tuple[Decision, Any, Tuple[str, ...]]:
        """The decision, what runs it, and the options that could not be chosen: they were not ready, or do not fit."""
        ready, state, context = self.ready, self.observer.state, moment.context
        possible, absent = ready.possible(moment.snapshot, state.branch)
        decision = self._decide(context, self.budget, possible, state, self.settings)
        runner = ready.runner(decision.branch)
        if runner is not None:
            return decision, runner, absent
        if ready.failed(decision.branch):  # it could be opened once, and cannot any more
            self._leave_out(decision.branch)
            return self._choose(moment)
        ready.prepare(decision.branch)
        there = ready.now()
        if not there:
            raise AdaScaleError("No branch of the bundle is ready on this device; look at 'adascale doctor'.")
        decision = self._decide(context, self.budget, there, state, self.settings)
        absent = tuple(option.id for option in ready.table if option not in there)
        runner = ready.runner(decision.branch)
        return (decision, runner, absent) if runner is not None else self._choose(moment)
