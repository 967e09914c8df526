"""What several benchmarks time."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.seams import bundle


def seconds(what: Callable[[], Any]) -> float:
    """Wall time of one call."""
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def latencies(opened: bundle.Bundle, rounds: int = 300, delegate: str = "cpu") -> dict[str, float]:
    """Median latency in ms of every branch on one thread, measured in interleaved rounds; by recipe."""
    x = np.zeros(opened.manifest.branches[0].input.shape, np.float32)
    runners = {b.recipe: open_branch(opened, b, delegate) for b in opened.manifest.branches}
    stored = {name: runner.quantize(x) for name, runner in runners.items()}
    samples: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            samples[name].append(1e3 * seconds(lambda r=runner, s=stored[name]: r.invoke(s)))  # type: ignore[misc]
    return {name: median(values) for name, values in samples.items()}
