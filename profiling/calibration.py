"""Calibration from few points: which micro-kernels and branches to measure first, and measuring them.

What a bundle's branches cost is known before anything is measured. So is, up to the unknown noise, how well a linear
regression on any set of measurements would predict them: the variance of a prediction for features b is b' (X'X)^-1 b,
with the measured rows X. Measurements are chosen one by one, each the one that lowers the sum of these variances over
all branches most (the greedy form of I-optimal design; Fedorov, "Theory of Optimal Experiments", 1972).
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle, predictors
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Accuracy, Branch, Cost, Manifest, Samples, Verification
from adascale_runtime.seams.records import Measurement
from converters import flatbuffer
from profiling import contexts, device, measure, micro_kernels, together
from profiling.cells import Cell
from profiling.contexts import Surroundings
from profiling.micro_kernels import Kernel
from profiling.together import Part

#: How many micro-kernels and branches a calibration measures: about a minute on a desktop's core.
KERNELS, BRANCHES = 240, 6
#: Of the kernels, those whose memory is measured, too: each takes a process of its own.
_MEMORY = 14
#: A guess at the memory of a process that runs next to nothing, in MB.
_PROCESS_MB = 4.0
#: Seconds of a block; a micro-kernel takes 3 us to 1 ms.
_BLOCK_S = 0.004
_SETTINGS = {"seconds": _BLOCK_S, "most": 20, "kernel": True}
#: A guess at time to weigh candidates by, before any is known: a call's overhead in ms, and ms for a million
#: multiply-accumulates and for a MB. Only the order of magnitude matters.
_CALL_MS, _MACS_MS, _BYTES_MS = 0.003, 0.02, 0.05
#: Weight of having no measurement at all, relative to one of the same size as the prediction.
_PRIOR = 1e-3
_SIZES, _CHANNELS = (
    (2, 4, 6, 7, 8, 12, 14, 16, 24, 32, 48),
    (3, 6, 8, 12, 16, 17, 24, 32, 40, 48, 64, 72, 96, 128, 192, 256),
)


def candidates(classes: Sequence[str], count: int = 60, seed: int = 0) -> list[Kernel]:
    """Micro-kernels for the classes of a bundle (``conv-integer``, ...), ``count`` shapes each, drawn from a wide
    range.

    The draw is seeded: the same classes give the same kernels. Kernels of 5 thousand to 30 million
    multiply-accumulates.
    """
    rng = random.Random(seed)
    kernels: list[Kernel] = []
    for name in sorted(set(classes)):
        kind, _, arithmetic = name.partition("-")
        if arithmetic not in micro_kernels.ARITHMETICS:
            continue
        drawn = {_draw(rng, kind, arithmetic) for _ in range(4 * count)} - {None}
        kernels += sorted((k for k in drawn if k is not None), key=lambda k: rng.random())[:count]
    if any(name.startswith("builtin") for name in classes):
        kinds = {name.partition("-")[2] for name in classes if name.startswith("dense")} & set(
            micro_kernels.ARITHMETICS
        )
        kernels += [
            Kernel("gru", kind, 1, units, repeat=steps)
            for kind in sorted(kinds)
            for units in (16, 32, 48, 64, 96, 128)
            for steps in (2, 8, 20, 40)
        ]
    return list(dict.fromkeys(kernels))


def _draw(rng: random.Random, kind: str, arithmetic: str) -> Kernel | None:
    """A random kernel of a class, None where the class has none or the draw is too small or too large."""
    size, channels, filters = rng.choice(_SIZES), rng.choice(_CHANNELS), rng.choice(_CHANNELS)
    if rng.random() < 0.5:
        filters = channels
    if kind in ("conv", "gemm"):
        window, stride = (1, 1) if kind == "gemm" else rng.choice(((1, 2), (3, 1), (3, 1), (3, 2), (5, 1), (5, 2)))
        macs = size * size * channels * filters * window * window // stride**2
        chain = 1 if filters != channels or stride > 1 else 2 if macs > 1e6 else 4 if macs > 1e5 else 8
        return Kernel("conv", arithmetic, size, channels, filters, window, stride, chain) if 5e3 < macs < 3e7 else None
    if kind == "depthwise":
        window, stride = rng.choice((3, 3, 5)), rng.choice((1, 1, 2))
        work = size * size * channels
        if arithmetic == "hybrid":
            chain = 2 if stride == 1 and work < 3e4 else 1
            return Kernel("separable", arithmetic, size, channels, 0, window, stride, chain) if work < 1e5 else None
        return Kernel(kind, arithmetic, size, channels, 0, window, stride, 1 if stride > 1 else 2 if work > 4e3 else 6)
    if kind == "dense":
        return Kernel(kind, arithmetic, 1, channels * rng.choice((1, 2, 4)), filters, repeat=1) if rng.random() < 0.6 \
            else Kernel(kind, arithmetic, 1, channels, channels, repeat=rng.choice((4, 16, 64)))  # fmt: skip
    if arithmetic == "hybrid":
        return None
    if kind in ("averagepool", "maxpool"):
        window = rng.choice((2, 2, 3))
        return Kernel(kind, arithmetic, size, channels, window=window, stride=rng.choice((window, 1)))
    names = {
        "elementwise": ("add", "mul", "sub"), "curve": ("logistic", "tanh"), "copy": ("concat",), "mean": ("mean",),
        "builtin": ("split",), "view": ("view",),
    }.get(kind)  # fmt: skip
    if names is None:
        return None
    name, size = rng.choice(names), rng.choice((1, *_SIZES))
    single = name in ("concat", "mean")
    if (size == 1 and name == "mean") or channels % 2:
        return None
    return Kernel(name, arithmetic, size, channels, repeat=1 if single else 2 if size * size * channels > 4e3 else 12)


def choose(pool: np.ndarray, targets: np.ndarray, count: int) -> list[int]:
    """The positions in ``pool`` of up to ``count`` rows to measure, the most telling first.

    ``pool`` (candidates, features) and ``targets`` (predictions, features), in shares of each row's own time, so that
    errors are relative. Stops early when nothing lowers the variance any more.
    """
    scale = np.sqrt(np.mean(np.vstack([pool, targets]) ** 2, axis=0))
    scale[scale == 0] = 1.0
    x, b = pool / scale, targets / scale
    covariance = np.eye(x.shape[1]) / _PRIOR
    left = np.ones(len(x), bool)
    order: list[int] = []
    while len(order) < min(count, len(x)):
        reach = x @ covariance  # (candidates, features)
        gains = ((reach @ b.T) ** 2).sum(axis=1) / (1.0 + np.einsum("ij,ij->i", reach, x))
        best = int(np.argmax(np.where(left, gains, -1.0)))
        if gains[best] <= 1e-12:
            break
        step = reach[best]
        covariance = covariance - np.outer(step, step) / (1.0 + step @ x[best])
        left[best] = False
        order.append(best)
    return order


def _times(name: str) -> bool:
    """Whether a feature is one that latency depends on."""
    return ("." in name and not name.startswith("file.")) or name.startswith("miss_")


def rows(costs: Sequence[tuple[Cost, str]], caches: dict[str, int]) -> tuple[np.ndarray, list[str]]:
    """Features in shares of a guessed time, (costs, features), and their names."""
    values = [predictors.features(cost, precision, caches) for cost, precision in costs]
    wanted = sorted({n for v in values for n in v if _times(n)})
    names = ["one", *wanted]
    guess = [
        _CALL_MS + _MACS_MS * c.macs / 1e6 + _BYTES_MS * (c.activation_bytes + c.weight_bytes) / 1e6 for c, _ in costs
    ]
    return np.array([[v.get(n, 0.0) / t for n in names] for v, t in zip(values, guess, strict=True)]), names


@cache
def _cost(kernel: Kernel) -> Cost:
    return flatbuffer.cost(micro_kernels.write(kernel), micro_kernels.SIGNATURE)


def plan(
    opened: Bundle, caches: dict[str, int], kernel_count: int = KERNELS, branch_count: int = BRANCHES
) -> tuple[list[Kernel], list[str]]:
    """The micro-kernels and the ids of the branches to measure for a bundle, each the most telling first.

    Raises :class:`BadInput` for a bundle of an earlier version, which says nothing about its kernels.
    """
    branches = opened.manifest.branches
    if not all(branch.cost.kernels for branch in branches):
        raise BadInput("The bundle was built before predictors knew of kernels; build it again to calibrate for it.")
    classes = [name for branch in branches for name in branch.cost.kernels]
    pool = candidates(classes)
    costs = [(_cost(k), k.precision) for k in pool]
    targets = [(branch.cost, branch.precision) for branch in branches]
    matrix, _ = rows([*costs, *targets], caches)
    own = matrix[len(pool) :]
    picked = choose(matrix[: len(pool)], own, kernel_count) if pool else []
    few = choose(own, own, min(branch_count, len(branches)))
    few += [i for i in range(len(branches)) if i not in few][: max(0, min(4, len(branches)) - len(few))]
    return [pool[i] for i in picked], [branches[i].id for i in few]


def calibrate(
    opened: Bundle,
    delegates: Sequence[str],
    threads: Sequence[int],
    *,
    runs: int,
    out: Path,
    tick: Tick = silent,
    allow_fallback: bool = False,
    again: bool = False,
    anchors: bool = True,
) -> list[Measurement]:
    """Measure the plan for a bundle: a few branches as ever, and micro-kernels in the same rounds, so that both meet
    the machine in the same moods. All are appended to ``out``. A call that was killed continues."""
    chosen, few = plan(opened, device.caches())
    with TemporaryDirectory() as folder:
        parts = [
            measure.part(
                opened, delegates, threads, runs=runs, out=out, branches=few, allow_fallback=allow_fallback,
                again=again, anchors=anchors,
            )
        ]  # fmt: skip
        if chosen:
            own = write(chosen, Path(folder))
            parts.append(part(own, delegates, threads, out, again=again, anchors=anchors))
        return [m for found in together.measure(parts, tick=tick) for m in found]


def take(
    chosen: Sequence[Kernel], delegates: Sequence[str], threads: Sequence[int], out: Path, *, tick: Tick = silent,
    again: bool = False, anchors: bool = True,
) -> list[Measurement]:  # fmt: skip
    """Measure micro-kernels alone, as measurements of a bundle of their own, with ``settings["kernel"]``."""
    with TemporaryDirectory() as folder:
        own = part(write(chosen, Path(folder)), delegates, threads, out, again=again, anchors=anchors)
        return together.measure([own], tick=tick, label="profile kernels")[0]


def part(
    own: Bundle, delegates: Sequence[str], threads: Sequence[int], out: Path, *, beside: Surroundings | None = None,
    again: bool = False, anchors: bool = True,
) -> Part:  # fmt: skip
    """What :func:`take` measures of a bundle of micro-kernels (:func:`write`), for common rounds with other parts.

    ``beside``: shared with the other parts; None: its own.
    """
    branches = own.manifest.branches
    cells = [Cell(b, d, n) for d in dict.fromkeys(delegates) for n in dict.fromkeys(threads) for b in branches]
    telling = [branches[i].id for i in heaviest([b.cost for b in branches])]
    return contexts.part(
        own, cells, _SETTINGS, out, beside=beside or Surroundings(), journal=Path(f"{out}.kernels.journal"),
        memory=telling, again=again, anchors=anchors,
    )  # fmt: skip


def heaviest(costs: Sequence[Cost], count: int = _MEMORY) -> list[int]:
    """The positions of the costs whose memory to measure: those that tell most of the memory of all the others."""
    files = [cost.kernels["file"] for cost in costs]
    shares = np.array(
        [[1.0, f["bytes"] / 1e6, f["packed_bytes"] / 1e6, f["operators"] / 1e3, c.peak_bytes / 1e6]
         for f, c in zip(files, costs, strict=True)]
    )  # fmt: skip
    relative = shares / (_PROCESS_MB * shares[:, :1] + shares[:, 1:].sum(axis=1, keepdims=True))
    # Files far larger than any kernel are what predictions are made for, so the ends of every range matter, too.
    return choose(relative, np.vstack([relative, 10 * np.eye(shares.shape[1])]), count)


def write(chosen: Sequence[Kernel], root: Path) -> Bundle:
    """A bundle of micro-kernels in a folder: without samples, since no output means anything."""
    (root / "none.bin").write_bytes(b"")
    nothing = {"accuracy": Accuracy("none", 0.0, 0, "none"), "verification": Verification(0, 0.0, 0.0, 0.0)}
    branches = [_branch(kernel, root, nothing) for kernel in chosen]
    manifest = Manifest(
        bundle.FORMAT, "micro-kernels", "calibration", "micro-kernels", (), {}, tuple(branches), bundle.entries(root),
        Samples("none.bin", 0, ()), datetime.now(timezone.utc).isoformat(timespec="seconds"), device.versions(),
    )  # fmt: skip
    codec.write_text(root / bundle.MANIFEST, codec.dump(manifest))
    return Bundle(root, manifest)  # its branches take inputs of many shapes, which no bundle of a user may


def _branch(kernel: Kernel, root: Path, nothing: dict[str, Any]) -> Branch:
    model = micro_kernels.write(kernel)
    (root / f"{kernel.id}.tflite").write_bytes(model)
    source, target = flatbuffer.borders(model, micro_kernels.SIGNATURE)
    return Branch(
        id=kernel.id, recipe=kernel.id, exit=1, precision=kernel.precision, file=f"{kernel.id}.tflite",
        signature=micro_kernels.SIGNATURE, size_bytes=len(model), input=source, output=target,
        cost=_cost(kernel), expected="none.bin", **nothing,
    )  # fmt: skip
