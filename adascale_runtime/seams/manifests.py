"""Checks of a manifest's values, beyond their types, before anything is computed with them.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

from math import prod
from typing import Dict, Iterator, NoReturn, Tuple

from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.seams.manifest import Branch, Cost, Manifest, TensorSpec
from adascale_runtime.seams.precisions import ARITHMETICS, arithmetic
from adascale_runtime.text import excerpt

#: Values of one input or output, of all samples together, and dimensions of a tensor, at most.
MOST_VALUES, MOST_SAMPLES, MOST_DIMENSIONS = 1 << 28, 1 << 30, 8
#: The types of a branch's border, with what an integer's zero point may be; a float has none.
DTYPES: Dict[str, Tuple[int, int]] = {
    "float32": (0, 0), "int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (0, 0),
}  # fmt: skip
#: The task of bundles of micro-kernels, whose branches have nothing in common and need no samples.
CALIBRATION = "calibration"
#: Bytes of a value in the files of samples.
_FLOAT = 4


def check(manifest: Manifest, where: str) -> None:
    """Refuse a manifest whose numbers do not fit together; :class:`BadBundle` names ``where`` and the place there."""
    _check_paths(manifest, where)
    _check_names(manifest, where)
    first = manifest.branches[0]
    for branch in manifest.branches:
        for problem in _problems(branch):
            _refuse("{}: branch '{}' {}".format(where, excerpt(branch.id), problem))
        if manifest.task != CALIBRATION and _shapes(branch) != _shapes(first):
            _refuse("{}: branch '{}' has other shapes than the first one".format(where, excerpt(branch.id)))
    _check_samples(manifest, where)


def _shapes(branch: Branch) -> Tuple[Tuple[int, ...], Tuple[int, ...]]:
    return branch.input.shape, branch.output.shape


def _refuse(sentence: str) -> NoReturn:
    raise BadBundle(sentence + "; build the bundle again.")


def _check_paths(manifest: Manifest, where: str) -> None:
    listed = set()
    for entry in manifest.files:
        path = entry.path
        if path.startswith("/") or "\\" in path or "\0" in path or ".." in path.split("/"):
            raise BadBundle("{} names '{}', which lies outside the bundle; do not use it.".format(where, excerpt(path)))
        if path in listed:
            _refuse("{} lists '{}' twice".format(where, excerpt(path)))
        listed.add(path)
    needed = [manifest.samples.file]
    for branch in manifest.branches:
        needed += [branch.file, branch.expected, *(one.file for one in branch.compiled)]
    for path in needed:
        if path not in listed:
            _refuse("{} uses '{}' but gives no checksum for it".format(where, excerpt(path)))


def _check_names(manifest: Manifest, where: str) -> None:
    if not manifest.branches:
        _refuse("{} lists no branch".format(where))
    seen = set()
    for branch in manifest.branches:
        if not branch.id.strip() or branch.id in seen:
            _refuse("{} has a branch without a name, or '{}' twice".format(where, excerpt(branch.id)))
        seen.add(branch.id)


def _problems(branch: Branch) -> Iterator[str]:
    """What is wrong with a branch."""
    yield from _precision_problems(branch)
    if branch.exit < 1 or branch.size_bytes < 0:
        yield "has an exit below 1 or a negative size"
    for name, share in (("accuracy", branch.accuracy.value), ("agreement", branch.verification.agreement)):
        if not 0.0 <= share <= 1.0:
            yield "has the {} {:g}, which is not between 0 and 1".format(name, share)
    if branch.accuracy.samples < 0 or branch.verification.samples < 0:
        yield "was measured on a negative number of samples"
    for name, spec in (("input", branch.input), ("output", branch.output)):
        for problem in _tensor_problems(spec):
            yield "has an {} {}".format(name, problem)
    yield from _cost_problems(branch.cost)
    for one in branch.support:
        if not 0 <= one.taken <= one.operators or not 0 <= one.partitions <= max(1, one.taken):
            yield "says that '{}' takes {} of {} operators in {} parts".format(
                excerpt(one.delegate), one.taken, one.operators, one.partitions
            )
    yield from _compiled_problems(branch)


def _compiled_problems(branch: Branch) -> Iterator[str]:
    seen = set()
    for one in branch.compiled:
        if not one.vendor.strip() or not one.chip.strip() or (one.vendor, one.chip) in seen:
            yield "has a compiled file without a vendor or chip, or two for '{}'".format(excerpt(one.chip))
        seen.add((one.vendor, one.chip))
        if one.file == branch.file:
            yield "has a compiled file for '{}' that is its portable one".format(excerpt(one.chip))
        if not 0 <= one.taken <= one.operators or not 0 <= one.partitions <= max(1, one.taken):
            yield "has a compiled file for '{}' with {} of {} operators in {} parts".format(
                excerpt(one.chip), one.taken, one.operators, one.partitions
            )
        if one.verification is not None and not 0.0 <= one.verification.agreement <= 1.0:
            yield "has the agreement {:g} for '{}', which is not between 0 and 1".format(
                one.verification.agreement, excerpt(one.chip)
            )


def _precision_problems(branch: Branch) -> Iterator[str]:
    try:
        arithmetic(branch.precision, branch.cost.arithmetic)
    except BadInput:
        known = ", ".join(ARITHMETICS)
        yield "has the precision '{}' of the arithmetic '{}', but this program knows the arithmetics {}".format(
            excerpt(branch.precision), excerpt(branch.cost.arithmetic), known
        )


def _tensor_problems(spec: TensorSpec) -> Iterator[str]:
    shape = spec.shape
    if not 1 <= len(shape) <= MOST_DIMENSIONS or min(shape) < 1 or shape[0] != 1 or prod(shape) > MOST_VALUES:
        yield "of the shape {}, but it needs a batch of 1 and at most {:,} values".format(
            excerpt(list(shape)), MOST_VALUES
        )
    if spec.dtype not in DTYPES:
        yield "of type '{}', but this program knows {}".format(excerpt(spec.dtype), ", ".join(DTYPES))
        return
    if spec.scale is not None or spec.zero_point is not None:
        low, high = DTYPES[spec.dtype]
        if spec.scale is None or spec.zero_point is None or not 1e-30 < spec.scale < 1e30:
            yield "whose scale {} and zero point {} are not those of integers".format(spec.scale, spec.zero_point)
        elif low < high and not low <= spec.zero_point <= high:
            yield "whose zero point {} is out of the range of {}".format(spec.zero_point, spec.dtype)


def _cost_problems(cost: Cost) -> Iterator[str]:
    counted = (cost.macs, cost.params, cost.weight_bytes, cost.activation_bytes, cost.peak_bytes, cost.ops)
    if min(counted) < 0 or any(value < 0 for sums in cost.kernels.values() for value in sums.values()):
        yield "has a negative cost"
    for bound in cost.kernels.get("reuse", {}):
        if not (bound.isdecimal() and bound.isascii() and len(bound) < 20 and int(bound)):
            yield "has the distance of reuse '{}', which is not a valid number of bytes".format(excerpt(bound))


def _check_samples(manifest: Manifest, where: str) -> None:
    samples, first = manifest.samples, manifest.branches[0]
    least = 0 if manifest.task == CALIBRATION else 1
    if samples.count < least or len(samples.labels) != samples.count:
        _refuse("{} has {} samples with {} labels".format(where, samples.count, len(samples.labels)))
    if not all(0 <= label < len(manifest.labels) for label in samples.labels):
        _refuse("{} has samples of classes that its {} labels do not name".format(where, len(manifest.labels)))
    sizes = {entry.path: entry.size_bytes for entry in manifest.files}
    wanted = [(samples.file, first.input)] + [(branch.expected, branch.output) for branch in manifest.branches]
    for path, spec in wanted:
        values = samples.count * prod(spec.shape)
        if values > MOST_SAMPLES or sizes[path] != values * _FLOAT:
            _refuse(
                "{}: '{}' has {} bytes, but {} samples of the shape {} need {}".format(
                    where, excerpt(path), sizes[path], samples.count, excerpt(list(spec.shape)), values * _FLOAT
                )
            )
