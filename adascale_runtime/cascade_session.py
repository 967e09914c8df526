"""Cascade sessions: run a cheap branch, then a better one if it is unsure and the mean latency allows it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Optional, Sequence, Union

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.policies import cascade, verdicts
from adascale_runtime.policies.limits import Limits
from adascale_runtime.policies.outlook import view as view_of
from adascale_runtime.ready import answer
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import Event
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context
from adascale_runtime.session import BaseSession

if TYPE_CHECKING:
    import numpy as np

#: Share of the budget that is planned with; the rest is for what the plan does not know.
PLANNED = 0.95
#: Limits that change with the device, while a cascade's branches are chosen once.
_CHANGING = ("power_mw", "lifetime_h", "temperature_c")


class CascadeSession(BaseSession):
    """A cheap branch answers; the better one of ``pair`` is asked when it is unsure. The *mean* latency keeps the
    budget; every other limit holds for each of the two. These two stay ready, whatever ``warm_mb`` says, and no others.

    An event's ``branch`` is the one whose answer counts, its latency that of both; ``switched`` says whether the second
    was asked, ``kept`` whether the mean latency so far keeps the budget, and the branch its other limits.

    Args:
        bundle: A bundle, or the path of one (a folder or a .zip).
        budget: Must limit ``latency_ms``, and cannot limit power, battery life or heat.
        predictors: Predict energy and memory; needed by budgets of energy.
        temperature: Calibrates the first branch's confidence
            (:func:`adascale_runtime.policies.cascade.fit_temperature`).
        **options: The other arguments of :class:`adascale_runtime.session.Session`; its ``policy`` decides nothing.

    Raises:
        BadInput: The budget is none for a cascade, or no branch could keep it even on an idle device.
    """

    #: The branch that is asked first, and the one that is asked when it is unsure.
    pair: cascade.Pair
    #: What the first branch's confidence is calibrated with.
    temperature: float

    def __init__(
        self,
        bundle: Union[Bundle, Path, str],
        budget: Budget,
        predictors: Optional[Predictors] = None,
        *,
        temperature: float = 1.0,
        **options: Any,
    ) -> None:
        self._limit_ms = _check_budget(budget)
        super().__init__(bundle, budget, predictors, **options)
        self.temperature = temperature
        limits = Limits.of(self.budget, self.table, Context(0.0), self.settings)
        allowed = tuple(option for option in self.table if limits.keep(option))
        self.pair = cascade.choose(allowed, PLANNED * self._limit_ms)
        self.ready.only([self.pair.first.id, self.pair.second.id])
        self._forget()

    def calibrate(self, inputs: "Iterable[np.ndarray]", labels: Sequence[int]) -> None:
        """Fit :attr:`temperature` on examples that were used neither for training nor for testing.

        Args:
            inputs: Preprocessed inputs, a few hundred, as :meth:`predict` takes them.
            labels: The class of each.
        """
        with self._lock:
            self._check_open()
            outputs = [self._ask(self.pair.first.id, self.ready.checked(x)) for x in inputs]
        self.temperature = cascade.fit_temperature([cascade.logits(output) for output in outputs], labels)

    def _forget(self) -> None:
        super()._forget()
        self._gate = cascade.Gate()
        self._total_ms, self._count = 0.0, 0

    def _serve(self, x: "np.ndarray", phase: Optional[str]) -> "np.ndarray":
        observer, planned_ms = self.observer, PLANNED * self._limit_ms
        first, second = self.pair.first, self.pair.second
        moment = observer.begin()
        view = view_of(first.engine, moment.context, observer.state, self.settings)
        spent = self._total_ms > planned_ms * self._count  # what the plan does not know shows in the mean
        share = 0.0 if spent else cascade.share_of(self.pair, planned_ms, view.mean)
        begun = time.perf_counter()
        option, output = first, self._ask(first.id, x)
        middle = time.perf_counter()
        observer.seen(first, 1e3 * (middle - begun), observer.now_s(), moment.context)
        sure = cascade.confidence(output, self.temperature)
        again = second is not first and self._gate.asks(sure, share)
        if again:
            option, output = second, self._ask(second.id, x)
        ended = time.perf_counter()
        latency_ms = round(1e3 * (ended - begun), 4)
        self._total_ms += latency_ms
        self._count += 1
        decide_ms = round(1e3 * (begun - moment.begun), 4)
        failed, news = observer.news(moment.snapshot)
        mean_ms = self._total_ms / self._count
        broken = verdicts.broken(self.budget, option, mean_ms, moment.context, observer.state, self.settings)
        self.last = Event(
            time_s=moment.time_s,
            ended_s=observer.now_s(),
            branch=option.id,
            reason="asked again at {:.2f}".format(sure) if again else "sure enough at {:.2f}".format(sure),
            switched=again,
            decide_ms=decide_ms,
            switch_ms=decide_ms,
            latency_ms=latency_ms,
            base_ms=first.latency_ms + (second.latency_ms if again else 0.0),
            slowdown=view.mean,
            kept=not broken,
            failed=failed,
            phase=phase,
            context=news,
            broken=broken,
            audit=observer.audit_news(),
        )
        return output

    def _ask(self, key: str, x: "np.ndarray") -> "np.ndarray":
        """The answer of one of the two."""
        runner = self.ready.runner(key)
        output = None if runner is None else answer(runner, x)
        if output is None:
            if runner is not None:
                self._leave_out(key)
            raise AdaScaleError("The branch {} of the cascade fails on this device; run without --cascade.".format(key))
        return output


def _check_budget(budget: Budget) -> float:
    """The limit of latency in ms; refuses a budget that a cascade cannot keep."""
    if budget.latency_ms is None:
        raise BadInput("A cascade needs a budget with latency_ms, which limits the mean latency.")
    for name in _CHANGING:
        if getattr(budget, name) is not None:
            raise BadInput(
                "A cascade cannot enforce {}; remove it from the budget, or run without --cascade.".format(name)
            )
    return budget.latency_ms
