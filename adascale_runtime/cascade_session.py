"""A session that asks twice where the first answer is unsure and the mean latency allows it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Optional

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.policies import cascade, policy
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.events import Event
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session

if TYPE_CHECKING:
    import numpy as np

#: Share of the budget that is planned with; the rest is for what the plan does not know.
PLANNED = 0.95
#: Limits that change with the device, while a cascade's branches are chosen once.
_CHANGING = ("power_mw", "lifetime_h", "temperature_c")


class CascadeSession(Session):
    """A cheap branch answers; the better one of ``pair`` is asked when it is unsure. The *mean* latency keeps the
    budget; every other limit holds for each of the two. These two stay ready, whatever ``warm_mb`` says, and no others.

    ``temperature`` calibrates the first branch's confidence
    (:func:`adascale_runtime.policies.cascade.fit_temperature`). An event's ``branch`` is the one whose answer counts,
    its latency that of both, ``kept`` says whether the mean so far keeps the budget. Raises :class:`BadInput` without a
    budget of latency, and for limits of power, battery and heat, which it cannot keep.
    """

    def __init__(self, *arguments: Any, temperature: float = 1.0, **options: Any) -> None:
        super().__init__(*arguments, **options)
        assert self.budget.latency_ms is not None
        self.temperature = temperature
        limits = policy.Limits.of(self.budget, self.table, Context(0.0), self.settings)
        allowed = tuple(option for option in self.table if limits.keep(option))
        self.pair = cascade.choose(allowed, PLANNED * self.budget.latency_ms)
        self._warm.only([self.pair.first.id, self.pair.second.id])

    def _check_budget(self, budget: Budget) -> None:
        if budget.latency_ms is None:
            raise BadInput("A cascade needs a budget of latency_ms, which its mean keeps.")
        for name in _CHANGING:
            if getattr(budget, name) is not None:
                raise BadInput("A cascade cannot keep {}; leave it out, or run without --cascade.".format(name))

    def restart(self) -> None:
        super().restart()
        self._gate = cascade.Gate()
        self._total_ms, self._count = 0.0, 0

    def predict(self, x: "np.ndarray", phase: Optional[str] = None) -> "np.ndarray":
        """The answer of the first branch, or of the second where the first is unsure."""
        x = self._checked(x)
        limit = self.budget.latency_ms
        assert limit is not None
        with self._lock:
            before = time.perf_counter()
            now = round(self.monitor.now() - self._begun, 6)
            snapshot = self.monitor.latest()
            context = replace(snapshot, time_s=now)
            view = policy.view(self.pair.first.engine, context, self._state, self.settings)
            spent = self._total_ms > PLANNED * limit * self._count  # what the plan does not know shows in the mean
            share = 0.0 if spent else cascade.share_of(self.pair, PLANNED * limit, view.mean)
            ready = time.perf_counter()
            option, output = self.pair.first, self._answer(self.pair.first.id, x)
            middle = time.perf_counter()
            self._observe(self.pair.first, 1e3 * (middle - ready))
            sure = cascade.confidence(output, self.temperature)
            again = self.pair.second is not self.pair.first and self._gate.asks(sure, share)
            if again:
                option, output = self.pair.second, self._answer(self.pair.second.id, x)
            ended = time.perf_counter()
            latency_ms = round(1e3 * (ended - ready), 4)
            self._total_ms += latency_ms
            self._count += 1
            base_ms = self.pair.first.latency_ms + (self.pair.second.latency_ms if again else 0.0)
            self.last = Event(
                time_s=now,
                ended_s=round(self.monitor.now() - self._begun, 6),
                branch=option.id,
                reason="asked again at {:.2f}".format(sure) if again else "sure enough at {:.2f}".format(sure),
                switched=again,
                decide_ms=round(1e3 * (ready - before), 4),
                switch_ms=round(1e3 * (ready - before), 4),
                latency_ms=latency_ms,
                base_ms=base_ms,
                slowdown=view.mean,
                kept=self._total_ms / self._count <= limit,
                phase=phase,
                context=None if snapshot is self._context else snapshot,
            )
            self._context = snapshot
            return output

    def _answer(self, key: str, x: "np.ndarray") -> "np.ndarray":
        runner = self._warm.get(key)
        output = None if runner is None else self._run(key, runner, x)
        if output is None:
            raise AdaScaleError("The branch {} of the cascade fails on this device; run without --cascade.".format(key))
        return output

    def _observe(self, option: policy.Option, latency_ms: float) -> None:
        time_s = round(self.monitor.now() - self._begun, 6)
        self._state = policy.observe(self._state, option, latency_ms, time_s, self.settings)
