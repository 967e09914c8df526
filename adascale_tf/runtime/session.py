"""A bundle, a budget, and ``predict``: warm branches, switched between inferences."""

from __future__ import annotations

import math
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from adascale_tf.bundle import Branch, Bundle
from adascale_tf.errors import AdaScaleError, BadInput
from adascale_tf.predictors import Predictors
from adascale_tf.records import Context, quantile
from adascale_tf.runtime import policy as policies
from adascale_tf.runtime.budget import Budget
from adascale_tf.runtime.context import Monitor
from adascale_tf.runtime.delegates import Runner, check_delegate, open_runner
from adascale_tf.runtime.events import Event
from adascale_tf.runtime.policy import Option, Settings, State

if TYPE_CHECKING:
    import numpy as np

#: How long the idle latency of each branch is measured when a session opens, in seconds.
PROBE_S = 0.03


class Session:
    """Keeps a budget while it predicts; thread-safe, one inference at a time.

    Opening loads every branch and measures its idle latency in interleaved rounds, which a table of options keeps for
    the policy; ``broken`` says why branches could not be opened. ``predictors`` add energy and memory. ``last`` is the
    event of the latest inference. A branch that fails or answers NaN is taken out, and the next best answers the same
    request.

    Raises :class:`BadInput` if no branch could keep the budget even on an idle device.
    """

    def __init__(
        self,
        bundle: Bundle,
        budget: Budget,
        predictors: Optional[Predictors] = None,
        delegate: str = "cpu",
        threads: int = 1,
        policy: str = "adaptive",
        settings: Settings = Settings(),  # noqa: B008  (frozen)
        monitor: Optional[Monitor] = None,
    ) -> None:
        if policy not in policies.POLICIES:
            raise BadInput("There is no policy '{}'; choose among {}.".format(policy, ", ".join(policies.POLICIES)))
        self.bundle, self.budget, self.delegate, self.threads = bundle, budget, delegate, threads
        self.settings = settings
        self.last: Optional[Event] = None
        self._decide = policies.POLICIES[policy]
        self._lock = threading.Lock()
        if budget.energy_mj is not None and (
            predictors is None or predictors.find("energy_mj", delegate, threads) is None
        ):
            raise BadInput(
                "A budget of energy_mj needs an energy predictor for {} with {} threads; give a file of "
                "'adascale fit'.".format(delegate, threads)
            )
        self._runners, self.broken = _open_all(bundle, delegate, threads)
        latencies = probe(self._runners)
        self.table: policies.Table = tuple(
            _option(branch, latencies[branch.id], predictors, delegate, threads)
            for branch in bundle.manifest.branches
            if branch.id in latencies
        )
        policies.check_feasible(budget, self.table)
        self._options = {option.id: option for option in self.table}
        self._shape = bundle.manifest.branches[0].input.shape
        self.monitor = monitor or Monitor()
        self.restart()

    def __enter__(self) -> "Session":
        self.monitor.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.monitor.__exit__(*error)

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
            while True:
                before = time.perf_counter()
                now = round(self.monitor.now() - self._begun, 6)
                snapshot = self.monitor.latest()
                context = replace(snapshot, time_s=now)
                decision = self._decide(context, self.budget, self.table, self._state, self.settings)
                decided = time.perf_counter()
                switched = self._state.branch not in (None, decision.branch)
                runner, option = self._runners[decision.branch], self._options[decision.branch]
                slowdown = decision.state.slowdown
                ready = time.perf_counter()
                output = self._run(runner, x)
                ended = time.perf_counter()
                if output is None:
                    continue
                # Rounded before anything is decided on it, so that a trace says exactly what the policy knew.
                latency_ms = round(1e3 * (ended - ready), 4)
                after = round(self.monitor.now() - self._begun, 6)
                self._state = policies.observe(decision.state, option, latency_ms, after, self.settings)
                limit = self.budget.latency_ms
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
                    kept=limit is None or latency_ms <= limit,
                    failed=self._failed,
                    phase=phase,
                    context=None if snapshot is self._context else snapshot,
                )
                self._context, self._failed = snapshot, ()
                return output

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

    def _run(self, runner: Runner, x: "np.ndarray") -> "Optional[np.ndarray]":
        """The output, or None after the branch was taken out because it failed or answered NaN."""
        try:
            output = runner(x)
            # A NaN or infinity anywhere makes the sum one, at a fraction of isfinite().all()'s cost.
            if math.isfinite(float(output.sum())):
                return output
        except (AdaScaleError, RuntimeError, ValueError):
            pass
        self._take_out(runner.branch.id)
        return None

    def _take_out(self, branch_id: str) -> None:
        self.table = tuple(option for option in self.table if option.id != branch_id)
        if not self.table:
            raise AdaScaleError("Every branch of the bundle fails on this device; look at 'adascale doctor'.")
        self._failed += (branch_id,)
        self._state = policies.forget(self._state, branch_id)


def probe(runners: Dict[str, Runner]) -> Dict[str, float]:
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


def _open_all(bundle: Bundle, delegate: str, threads: int) -> Tuple[Dict[str, Runner], Dict[str, str]]:
    """The runners of all branches that can be opened, and why the others cannot; at least one must open."""
    check_delegate(delegate)
    runners, broken = {}, {}
    for branch in bundle.manifest.branches:
        try:
            runners[branch.id] = open_runner(bundle, branch, delegate, threads)
        except (AdaScaleError, RuntimeError, ValueError) as error:
            broken[branch.id] = str(error)
    if not runners:
        raise AdaScaleError("No branch can be opened on {}: {}".format(delegate, next(iter(broken.values()))))
    return runners, broken


def _option(branch: Branch, latency_ms: float, predictors: Optional[Predictors], delegate: str, threads: int) -> Option:
    predicted = {} if predictors is None else {
        name: predictors.predict(name, branch, delegate, threads) for name in ("energy_mj", "memory_mb")
    }  # fmt: skip
    memory_mb = predicted.get("memory_mb")
    if memory_mb is None:  # an estimate: weights once packed, activations twice
        memory_mb = (branch.cost.weight_bytes + 2 * branch.cost.peak_bytes) / 1e6
    return Option(branch.id, branch.accuracy.value, latency_ms, predicted.get("energy_mj"), memory_mb)
