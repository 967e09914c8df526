from __future__ import annotations

import sys
import time
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from adascale_runtime.device import monitor
from adascale_runtime.device.monitor import Monitor, here
from adascale_runtime.device.sensors import FileSampler
from adascale_runtime.seams.records import Context


@pytest.mark.parametrize(
    "error", [OSError("gone"), PermissionError(), NotImplementedError(), psutil.AccessDenied(), ZeroDivisionError()]
)
def test_a_signal_that_cannot_be_read_is_none_and_the_others_stay(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(psutil, "cpu_freq", denied)
    monkeypatch.setattr(psutil, "sensors_battery", denied, raising=False)
    context = Monitor().latest()
    assert (context.cpu_freq_mhz, context.battery, context.charging) == (None, None, None)
    assert context.memory_free_mb is not None and context.memory_free_mb > 1


def test_a_system_whose_psutil_knows_no_battery_tells_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(psutil, "sensors_battery", raising=False)
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {}, raising=False)
    context = Monitor().latest()
    assert context.battery is None and context.temperature_c is None


def test_what_psutil_tells_is_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    heat = {"cpu": [SimpleNamespace(current=40.0), SimpleNamespace(current=71.5)], "disk": []}
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: heat, raising=False)
    monkeypatch.setattr(psutil, "cpu_freq", lambda: SimpleNamespace(current=1800))
    battery = SimpleNamespace(percent=55, power_plugged=None)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    context = Monitor().latest()
    assert (context.temperature_c, context.cpu_freq_mhz) == (71.5, 1800.0)
    assert (context.battery, context.charging) == (0.55, False)


def test_a_defect_in_the_sampler_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.SystemSampler, "_load", lambda self, times: self.nothing)
    with pytest.raises(AttributeError):
        Monitor()


def test_without_psutil_this_devices_files_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    by_files = here()
    assert isinstance(by_files._sampler, FileSampler)
    time.sleep(0.05)
    assert by_files._sampler.sample(1.0).memory_free_mb > 1
    monkeypatch.undo()
    assert isinstance(here()._sampler, monitor.SystemSampler)


def test_each_new_snapshot_is_told_until_it_is_not_wanted_any_more() -> None:
    told: list[Context] = []
    watched = Monitor(period_s=0.002)
    watched.watch(told.append)
    with watched:
        deadline = time.monotonic() + 10
        while len(told) < 3 and time.monotonic() < deadline:
            time.sleep(0.002)
    assert len(told) >= 3 and told[-1] is watched.latest() and len(set(map(id, told))) == len(told)
    watched.unwatch(told.append)
    count = len(told)
    with watched:
        time.sleep(0.05)
    assert len(told) == count and watched.latest() is not told[-1]
