"""A bundle, a budget, and ``predict``: warm branches, switched between inferences."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from adascale_runtime.device.monitor import Monitor
from adascale_runtime.engines.delegates import LoadedBranch, check_delegate, examine, open_branch
from adascale_runtime.engines.warm import Warm
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import tflite_file
from adascale_runtime.policies import limits, rivals
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies.policy import Option, Settings, State
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Branch, Bundle
from adascale_runtime.seams.events import Event
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context, quantile

if TYPE_CHECKING:
    import numpy as np

ALL_FAIL = "Every branch of the bundle fails on this device; look at 'adascale doctor'."
#: How long the idle latency of each branch is measured when a session opens, in seconds.
PROBE_S = 0.03


class Session:
    """Keeps a budget while it predicts; thread-safe, one inference at a time.

    Opening loads every branch on every delegate with every number of threads, and measures its idle latency, which a
    table of options keeps for the policy; ``broken`` says why options could not be opened. What this machine has not
    run yet is tried in a child process first (:mod:`adascale_runtime.engines.trial`), so a crash is one of the reasons.
    What exceeds ``warm_mb`` together is given up again and prepared in the background when the policy wants it, while a
    ready branch serves. ``predictors`` add energy and memory. ``last`` is the event of the latest inference. A branch
    that fails, or answers a NaN or an infinity, is taken out, and the next best answers the same request.

    Options of the first delegate and number of threads have the branch's id, others ``branch@delegatexTHREADS``: on a
    crowded CPU one thread is safer than two, which both have to be served. Raises :class:`BadInput` if no branch could
    keep the budget even on an idle device, or if this device does not tell what a limit is on (its temperature, its
    battery); with ``best_effort`` such limits are ``ignored``, which names them.
    """

    def __init__(
        self,
        bundle: Bundle,
        budget: Budget,
        predictors: Optional[Predictors] = None,
        delegates: Sequence[str] = ("cpu",),
        threads: Union[int, Sequence[int]] = 1,
        policy: str = "adaptive",
        settings: Settings = Settings(),  # noqa: B008  (frozen)
        monitor: Optional[Monitor] = None,
        warm_mb: Optional[float] = None,
        allow_fallback: bool = False,
        best_effort: bool = False,
    ) -> None:
        policies.check_policy(policy)
        if policy in rivals.REPLAY_ONLY:
            raise BadInput("The policy '{}' needs the future; it serves only in replays.".format(policy))
        for name in delegates:
            check_delegate(name)
        numbers = (threads,) if isinstance(threads, int) else tuple(threads)
        if not numbers or not delegates:
            raise BadInput("A session needs at least one delegate and one number of threads.")
        engines = tuple((name, count) for name in delegates for count in numbers)
        tflite_file.check_inputs(bundle.manifest.branches)
        self._check_budget(budget)
        limits.check_energy(budget, predictors, engines)
        self.monitor = monitor or Monitor()
        self.ignored = limits.check_signals(budget, self.monitor.latest(), best_effort)
        self.bundle, self.budget, self.delegates, self.threads = bundle, budget, tuple(delegates), numbers[0]
        self.settings = settings
        self.last: Optional[Event] = None
        self._decide = policies.POLICIES[policy]
        self._lock = threading.Lock()
        self._branches = {
            branch.id if engine == engines[0] else "{}@{}x{}".format(branch.id, *engine): (branch, engine)
            for engine in engines
            for branch in bundle.manifest.branches
        }

        def open_one(key: str) -> LoadedBranch:
            branch, engine = self._branches[key]
            return open_branch(bundle, branch, engine[0], engine[1], allow_fallback)

        for name, count in engines:
            examine(bundle, bundle.manifest.branches, name, count, allow_fallback)
        runners, self.broken = _open_all(open_one, tuple(self._branches))
        latencies = probe(runners)
        self.table: policies.Table = tuple(
            _option(key, branch, latencies[key], predictors, engine)
            for key, (branch, engine) in self._branches.items()
            if key in latencies
        )
        policies.check_feasible(budget, self.table)
        self._options = {option.id: option for option in self.table}
        sizes = {option.id: option.memory_mb for option in self.table}
        self._warm = Warm(open_one, sizes, warm_mb, policies.fallback(budget, self.table).id)
        for option in sorted(self.table, key=policies.rank, reverse=True):  # the best are the most recently used
            self._warm.put(option.id, runners[option.id])
        self._shape = bundle.manifest.branches[0].input.shape
        self.restart()

    def __enter__(self) -> "Session":
        self.monitor.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.monitor.__exit__(*error)

    def _check_budget(self, budget: Budget) -> None:
        """Refuse a budget that this kind of session cannot keep."""

    def warnings(self) -> List[str]:
        """What a user should know before the first inference: options that are left out, limits that are ignored."""
        found = ["{} is left out: {}".format(key, why) for key, why in self.broken.items()]
        return found + [
            "The limit {} is ignored: this device tells no {}.".format(n, limits.SIGNALS[n][1]) for n in self.ignored
        ]

    def restart(self) -> None:
        """Forget what was observed and begin to count time anew; branches that were taken out stay out."""
        with self._lock:
            self._state = State()
            self._context: Optional[Context] = None
            self._failed: Tuple[str, ...] = ()
            self._begun = self.monitor.now()

    def predict(self, x: "np.ndarray", phase: Optional[str] = None) -> "np.ndarray":
        """The real-valued output for one preprocessed input, of the branch's shape with or without the batch of 1."""
        x = self._checked(x)
        with self._lock:
            if not self.table:
                raise AdaScaleError(ALL_FAIL)
            while True:
                before = time.perf_counter()
                now = round(self.monitor.now() - self._begun, 6)
                snapshot = self.monitor.latest()
                context = replace(snapshot, time_s=now)
                decision, runner, absent = self._choose(context)
                decided = time.perf_counter()
                switched = self._state.branch not in (None, decision.branch)
                option, slowdown = self._options[decision.branch], decision.slowdown
                ready = time.perf_counter()
                output = self._run(decision.branch, runner, x)
                ended = time.perf_counter()
                if output is None:
                    continue
                # Rounded before anything is decided on it, so that a trace says exactly what the policy knew.
                latency_ms = round(1e3 * (ended - ready), 4)
                after = round(self.monitor.now() - self._begun, 6)
                limit = self.budget.latency_ms
                kept = limit is None or latency_ms <= limit
                self._state = policies.observe(decision.state, option, latency_ms, after, self.settings, not kept)
                self.last = Event(
                    time_s=now,
                    ended_s=after,
                    branch=option.id,
                    reason=decision.reason,
                    switched=switched,
                    decide_ms=round(1e3 * (decided - before), 4),
                    switch_ms=round(1e3 * (ready - before), 4),
                    latency_ms=latency_ms,
                    base_ms=option.latency_ms,
                    slowdown=slowdown,
                    kept=kept,
                    failed=self._failed,
                    absent=absent,
                    phase=phase,
                    context=None if snapshot is self._context else snapshot,
                )
                self._context, self._failed = snapshot, ()
                return output

    def _choose(self, context: Context) -> Tuple[policies.Decision, Any, Tuple[str, ...]]:
        """The decision, the runner for it, and the options that could not be chosen because they were not ready."""
        decision = self._decide(context, self.budget, self.table, self._state, self.settings)
        runner = self._warm.get(decision.branch)
        if runner is not None:
            return decision, runner, ()
        if decision.branch in self._warm.broken:  # it could be opened once, and cannot any more
            self.broken[decision.branch] = self._warm.broken[decision.branch]
            self._leave_out(decision.branch)
            return self._choose(context)
        self._warm.prepare(decision.branch)
        ready = tuple(option for option in self.table if self._warm.ready(option.id))
        if not ready:
            raise AdaScaleError("No branch of the bundle is ready on this device; look at 'adascale doctor'.")
        decision = self._decide(context, self.budget, ready, self._state, self.settings)
        absent = tuple(option.id for option in self.table if option not in ready)
        runner = self._warm.get(decision.branch)
        return (decision, runner, absent) if runner is not None else self._choose(context)

    def _checked(self, x: "np.ndarray") -> "np.ndarray":
        shape = getattr(x, "shape", None)
        if shape == self._shape[1:]:
            return x[None]
        if shape != self._shape:
            raise BadInput(
                "The input should be a float32 array of shape {}, not {}.".format(
                    self._shape[1:], type(x).__name__ if shape is None else shape
                )
            )
        return x

    def _run(self, key: str, runner: Any, x: "np.ndarray") -> "Optional[np.ndarray]":
        """The output, or None after the branch was taken out because it failed or answered NaN."""
        try:
            output = runner(x)
            # A NaN or infinity anywhere makes the sum one, at a fraction of isfinite().all()'s cost.
            if math.isfinite(float(output.sum())):
                return output
        except (AdaScaleError, OSError, RuntimeError, ValueError):
            pass
        self._take_out(key, x)
        return None

    def _take_out(self, branch_id: str, x: "np.ndarray") -> None:
        if not math.isfinite(float(x.sum())):  # no branch can answer that, so none is to blame
            raise BadInput("The input holds numbers that are not finite; look at its preprocessing.")
        self._leave_out(branch_id)

    def _leave_out(self, branch_id: str) -> None:
        self.table = tuple(option for option in self.table if option.id != branch_id)
        self._warm.drop(branch_id)
        if not self.table:
            raise AdaScaleError(ALL_FAIL)
        self._failed += (branch_id,)
        self._state = policies.forget(self._state, branch_id)


def probe(runners: Dict[str, LoadedBranch]) -> Dict[str, float]:
    """The median latency in ms of each runner on zeros, in interleaved rounds of about ``PROBE_S`` per branch.

    A branch that fails has no entry.
    """
    inputs = {key: r.zeros() for key, r in runners.items()}
    samples: Dict[str, List[float]] = {key: [] for key in runners}
    failed = set()
    for number in range(200):
        for key, run in runners.items():
            if key in failed or (number >= 5 and sum(samples[key]) > 1e3 * PROBE_S):
                continue
            before = time.perf_counter()
            try:
                run(inputs[key])
            except (AdaScaleError, RuntimeError, ValueError):
                failed.add(key)
                continue
            samples[key].append(1e3 * (time.perf_counter() - before))
    return {key: quantile(values, 0.5) for key, values in samples.items() if key not in failed}


def _open_all(open_one: Callable[[str], Any], keys: Sequence[str]) -> Tuple[Dict[str, Any], Dict[str, str]]:
    """The runners of all options that can be opened, and why the others cannot; at least one must open."""
    runners, broken = {}, {}
    for key in keys:
        try:
            runners[key] = open_one(key)
        except (AdaScaleError, OSError, RuntimeError, ValueError) as error:
            broken[key] = str(error)
    if not runners:
        raise AdaScaleError("No branch can be opened: {}".format(next(iter(broken.values()))))
    return runners, broken


def _option(
    key: str, branch: Branch, latency_ms: float, predictors: Optional[Predictors], engine: policies.Engine
) -> Option:
    predicted = {} if predictors is None else {
        name: predictors.predict(name, branch, *engine) for name in ("energy_mj", "memory_mb")
    }  # fmt: skip
    memory_mb = predicted.get("memory_mb")
    if memory_mb is None:  # an estimate: weights once packed, activations twice
        memory_mb = (branch.cost.weight_bytes + 2 * branch.cost.peak_bytes) / 1e6
    return Option(key, branch.accuracy.value, latency_ms, predicted.get("energy_mj"), memory_mb, *engine)
