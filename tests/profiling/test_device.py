from __future__ import annotations

import time

from adascale_runtime.device import identity
from profiling import device


def test_snapshots_tell_the_load_and_can_be_put_in_order() -> None:
    begun = time.monotonic()
    first, second = device.snapshot(0.1), device.snapshot(0.1)
    assert begun < first.time_s < second.time_s <= time.monotonic()
    for context in (first, second):
        assert context.cpu_load is not None and 0 <= context.cpu_load <= 1
        assert context.memory_free_mb is not None and context.memory_free_mb > 0


def test_the_name_tells_the_machine_and_stays_the_same() -> None:
    assert device.facts() == device.facts() and identity.processor() in device.facts()["name"]
