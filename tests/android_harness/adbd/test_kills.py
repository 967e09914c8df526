"""The harness is killed at ten moments and started again: all is measured once, and the phone is left as it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from tests.android_harness.adbd.test_outages import clean
from tests.android_harness.test_crashes import journal_facts
from tests.fixtures.native_phone import NativePhone
from tests.fixtures.profiles import FULL, MIDDLE, SCRIPT, SMALL

pytestmark = pytest.mark.adbd
BRANCHES, RUNS, ROUNDS = [FULL, MIDDLE, SMALL], 10, 5
#: Before the first job, while the files are sent; then after so many jobs and so many seconds.
MOMENTS: Sequence[tuple[int, float]] = [
    (0, 0.6), (0, 0.9), (1, 0.0), (2, 0.01), (1, 0.05), (2, 0.0), (1, 0.1), (2, 0.02), (1, 0.03), (2, 0.005),
]  # fmt: skip


def test_a_harness_that_is_killed_at_ten_moments(built: Bundle, key: Path, phone: NativePhone, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    journal = Path(f"{out}.{phone.props['ro.serialno']}.journal")
    words = [built.root, "{}:{}".format(*phone.address), key, out, RUNS, ROUNDS, *BRANCHES]
    most = 0
    for jobs, seconds in [*MOMENTS, (1000, 0.0)]:
        known = journal_facts(journal)
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, words)], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        assert child.stdout is not None
        begun = [line for _, line in zip(range(jobs), child.stdout, strict=False)]
        time.sleep(seconds)
        last = jobs == 1000
        if not last:
            assert child.poll() is None
            child.kill()
        begun += child.communicate(timeout=60)[0].splitlines(keepends=True)
        assert child.returncode == (0 if last else -signal.SIGKILL)
        told = [tuple(line.split()) for line in begun if line.endswith("\n")]
        assert len(told) == len(set(told)) and not set(told) & set(known), "what is known is not measured again"
        most = max(most, len(phone.agents()))
        if not last:
            assert set(journal_facts(journal)) >= set(known), "what was measured is kept"
    assert most <= 1 and not journal.exists()
    measured = records.runs([out])
    assert sorted(m.branch for m in measured) == sorted(BRANCHES)
    assert all(len(m.latency_ms) == RUNS and m.rounds == ROUNDS for m in measured)
    assert clean(phone)
