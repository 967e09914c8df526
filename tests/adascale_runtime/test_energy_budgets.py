"""Budgets of energy in real sessions on devices whose time and battery are simulated: what is really used is known."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from adascale_runtime.device.audit import Auditor
from adascale_runtime.device.monitor import Monitor
from adascale_runtime.loop import header, summary
from adascale_runtime.policies.replay import replay
from adascale_runtime.seams import predictors
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.predictors import Predictor, Predictors
from adascale_runtime.seams.records import Context
from adascale_runtime.session import Session
from tests.adascale_runtime.device.test_audit import Device

#: What an inference really takes, in mJ; what is predicted is that over :data:`WRONG`.
TRUE = {"full": 750.0, "half": 250.0, "tiny": 75.0}
WRONG = 1.5
PERIOD_S, BATTERY_WH, REST_W = 0.5, 15.0, 0.9


class Phone(Monitor):
    """A phone that tells its charge in whole percent, by its own clock; a monitor of a session."""

    def __init__(self, charge: float, noise: float = 0.01) -> None:
        self.device, self.wh = Device(REST_W, noise=noise), charge * BATTERY_WH
        super().__init__(clock=self.device.clock, sampler=self)

    def sample(self, time_s: float) -> Context:
        return Context(time_s, battery=round(self.wh / BATTERY_WH, 2), charging=False)

    def memory_free_mb(self) -> None:
        """Nobody knows."""

    def live(self, joules: float) -> None:
        """An inference took so much; the time until the next passes."""
        self.device.pass_(PERIOD_S, joules)
        self.wh -= (REST_W * PERIOD_S + joules) / 3600
        if round(self.wh / BATTERY_WH, 2) != self._latest.battery:
            self._latest = self.sample(self.now())


def known(wrong: float = WRONG) -> Predictors:
    """Predictors by the number of operators, which :func:`priced` sets."""
    one = Predictor("energy_mj", "phone", "cpu", 1, "fitted", {"ops": 1.0 / wrong}, {}, 3)
    return Predictors(predictors.FORMAT, (one,), "2026-01-01T00:00:00Z", {})


@pytest.fixture
def priced(healthy: Bundle) -> Bundle:
    branches = tuple(
        dataclasses.replace(b, cost=dataclasses.replace(b.cost, ops=round(TRUE[b.id])))
        for b in healthy.manifest.branches
    )
    return Bundle(healthy.root, dataclasses.replace(healthy.manifest, branches=branches))


@dataclass
class Lived:
    events: list
    header: object
    hours: float
    used_mj: list
    budget: Budget


def live(bundle, image, budget, *, phone=None, audited=True, seconds=120.0, wrong=WRONG):
    """Inferences in a session until the time or the battery is over; begins with some seconds of rest."""
    phone = phone or Phone(0.8)
    auditor = Auditor(phone.device, phone.device.clock) if audited else None
    events, used = [], []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adascale_runtime.session.audit.here", lambda: None)
        session = Session(bundle, budget, known(wrong), monitor=phone, auditor=auditor, remember=False)
    for _ in range(40 if audited else 0):
        phone.live(0.0)
        auditor.step()
    session.restart()
    first, begun = header(session), phone.now()
    while phone.now() - begun < seconds and phone.wh > 0.0:
        session.predict(image)
        events.append(session.last)
        used.append(TRUE[session.last.branch])
        phone.live(used[-1] / 1e3)
        if audited:
            auditor.step()
    session.close()
    return Lived(events, first, (phone.now() - begun) / 3600, used, budget)


def mean(values):
    return sum(values) / len(values)


def test_energy_and_power_are_kept_with_wrong_predictions(priced, image):
    for budget, unit in ((Budget(energy_mj=300.0), 1.0), (Budget(power_mw=600.0), 1 / PERIOD_S)):
        limit = 300.0 if unit == 1.0 else 600.0
        corrected = live(priced, image, budget)
        assert mean(corrected.used_mj) * unit <= 1.1 * limit
        assert mean(corrected.used_mj) * unit >= 0.7 * limit  # nor is more given up than is needed
        alone = live(priced, image, Budget(latency_ms=1000.0))
        assert mean(alone.used_mj) * unit >= 2.0 * limit


def test_without_an_audit_a_wrong_prediction_breaks_the_limit(priced, image):
    """What :func:`test_energy_and_power_are_kept_with_wrong_predictions` would pass without an audit says nothing."""
    budget = Budget(energy_mj=550.0)
    assert mean(live(priced, image, budget, audited=False).used_mj) > 1.3 * 550.0
    assert mean(live(priced, image, budget).used_mj) <= 1.1 * 550.0


def test_events_tell_what_the_audit_says_and_replays_agree(priced, image):
    for budget in (Budget(energy_mj=550.0), Budget(power_mw=600.0), Budget(latency_ms=1000.0, lifetime_h=6.0)):
        lived = live(priced, image, budget)
        audits = [event.audit for event in lived.events if event.audit is not None]
        assert lived.events[0].audit is not None and audits[-1].energies["cpu x 1"] == pytest.approx(1.5, rel=0.1)
        assert audits[-1].rest_mw == pytest.approx(900.0, rel=0.1)
        assert replay(priced, lived.header, lived.events, budget, "adaptive") == lived.events


def test_an_event_is_judged_by_corrected_energy(priced, image):
    lived = live(priced, image, Budget(energy_mj=550.0))
    told = [number for number, event in enumerate(lived.events) if event.audit is not None]
    early = lived.events[: told[1]]  # only the rest is known: 500 mJ are predicted
    assert early and all(event.branch == "full" and event.kept for event in early)
    over = [event for event in lived.events if event.branch == "full" and not event.kept]
    assert all(event.broken["energy_mj"] > 0.0 for event in over)
    facts = summary(lived.events)
    assert facts["kept"] == mean([event.kept for event in lived.events]) > 0.9


@pytest.mark.parametrize("hours", [2.0, 3.0])
def test_a_battery_lasts_as_long_as_it_should(priced, image, hours):
    """From 30 %: 4.5 Wh, which last 1.9 h with the best branch, 3.2 h with the middle one, 4.3 h with the smallest."""
    lived = live(priced, image, Budget(lifetime_h=hours), phone=Phone(0.3), seconds=24 * 3600.0)
    assert lived.hours == pytest.approx(hours, rel=0.1)
    assert len({event.branch for event in lived.events}) > 1


def test_without_an_audit_the_battery_is_empty_too_soon(priced, image):
    lived = live(priced, image, Budget(lifetime_h=3.0), phone=Phone(0.3), audited=False, seconds=24 * 3600.0)
    assert lived.hours < 0.85 * 3.0
