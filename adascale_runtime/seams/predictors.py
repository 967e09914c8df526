"""Predictors: fitted regressions from a branch's static cost to latency, memory and energy, as plain coefficients.

Format ``adascale-predictors/1``. Standard library only and Python 3.8 compatible: fitted by :mod:`profiling.fit` with
scikit-learn, used on a phone without it. A prediction is the dot product of non-negative coefficients with
:func:`features`, times the slowdown of a context, over the device's speed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams.manifest import Branch, Cost
from adascale_runtime.seams.pace import LONGEST_MS, SHORTEST_MS
from adascale_runtime.seams.precisions import ARITHMETICS, arithmetic
from adascale_runtime.seams.records import Context
from adascale_runtime.seams.support import Support
from adascale_runtime.text import excerpt

FORMAT = "adascale-predictors/1"

#: The feature of branches that a delegate takes in several pieces: each costs copies to the delegate and back.
PARTITIONS = "partitions"
#: The share of all cores that is left to a branch at least, however many others want them.
_LEAST = 0.02
#: What others take of an idle device counts as usual up to this share of its cores.
_ALWAYS = 0.5
#: The unit of a kernel's sum in :func:`features`, by how its name begins: single pieces, thousands, else millions.
_ONES, _THOUSANDS = ("count", "operators"), ("rows", "tiles", "fetches")


def features(
    cost: Cost, precision: str, caches: Optional[Mapping[str, int]] = None, partitions: Optional[float] = None
) -> Dict[str, float]:
    """The named, non-negative features of a branch.

    MACs in millions by kind of arithmetic, and 1 for the kind it is; bytes moved in MB, ops; ``kinds``, the classes of
    kernels, each of which is code that a process maps. ``CLASS.SUM`` for every sum of ``cost.kernels``, such as
    ``conv-integer.macs_7x16``: counts as they are, rows, tiles and fetches in thousands, MACs in millions, bytes in MB.
    With ``caches``, sizes in bytes by name: ``hit_mb``, MB that the last of them serves, and ``miss_L2_mb``, MB that it
    does not. ``partitions``: in how many pieces a delegate takes it.
    """
    values = {"one": 1.0, **{"macs_{}_m".format(kind): 0.0 for kind in ARITHMETICS}}
    own = arithmetic(precision, cost.arithmetic)
    values["macs_{}_m".format(own)] = cost.macs / 1e6
    values["one_{}".format(own)] = 1.0
    values["weights_mb"] = cost.weight_bytes / 1e6
    values["activations_mb"] = cost.activation_bytes / 1e6
    values["peak_mb"] = cost.peak_bytes / 1e6
    values["ops"] = float(cost.ops)
    values["kinds"] = float(sum("-" in name for name in cost.kernels))
    for name, sums in cost.kernels.items():
        if name == "reuse":
            continue
        for key, value in sums.items():
            unit = 1.0 if key in _ONES else 1e3 if key.startswith(_THOUSANDS) else 1e6
            values["{}.{}".format(name, key)] = value / unit
    for level, size in (caches or {}).items():
        if not level.endswith("i"):  # instructions have their own
            values["miss_{}_mb".format(level)] = missed_bytes(cost, size) / 1e6
    if caches:
        outermost = max(caches.values())
        values["hit_mb"] = (moved_bytes(cost) - missed_bytes(cost, outermost)) / 1e6
    if partitions is not None:
        values[PARTITIONS] = float(partitions)
    return values


def moved_bytes(cost: Cost) -> float:
    """M, the memory accesses of one inference: bytes of inputs, weights and outputs of every operator, each once."""
    return sum(cost.kernels.get("reuse", {}).values()) or float(cost.weight_bytes + cost.activation_bytes)


def missed_bytes(cost: Cost, cache_bytes: float) -> float:
    """Bytes of M that a cache of that size does not hold any more when they are touched again: (1 - eps) * M.

    From the distances of reuse in ``cost.kernels["reuse"]`` (bytes by upper bound of distance, a power of two), taken
    as evenly spread below their bound. Without them: weights are read once an inference, and activations soon after
    they were written, so a network that does not fit misses its weights, and of its activations what alone exceeds the
    cache.
    """
    distances = cost.kernels.get("reuse")
    if distances:
        shares = ((float(bound), size) for bound, size in distances.items())
        return sum(size * min(1.0, max(0.0, 2.0 - 2.0 * cache_bytes / bound)) for bound, size in shares)
    missed = float(cost.weight_bytes) if cost.weight_bytes + cost.peak_bytes > cache_bytes else 0.0
    if cost.peak_bytes > cache_bytes:
        missed += cost.activation_bytes * (1.0 - cache_bytes / cost.peak_bytes)
    return missed


def hit_rate(cost: Cost, cache_bytes: float) -> float:
    """eps, the share of M in [0, 1] that a cache of that size serves."""
    moved = moved_bytes(cost)
    return 1.0 - missed_bytes(cost, cache_bytes) / moved if moved else 1.0


def strain(context: Context, threads: int, reference: Mapping[str, float]) -> Dict[str, float]:
    """What of a context slows an inference down, each at least 0, and 0 where the device does not report it.

    ``load``: share of all cores that others use while the branch runs, of those that an idle device has left: what is
    taken all the time, the ``cpu_load`` of ``reference``, is a part of its usual speed. ``waiting``: how much longer
    than it runs an inference waits for a core. Cores that are taken are shared so that no time is lost: what others do
    not use is what the branch gets, and it needs ``threads`` cores. Where the load is not told, the threads that want a
    core share them evenly. ``clock``: how many times the ``cpu_freq_mhz`` of ``reference`` exceeds the clock now, less
    1. ``memory``: share of the reference's ``memory_free_mb`` that is taken.
    """
    always = min(_ALWAYS, max(0.0, reference.get("cpu_load", 0.0)))
    load = max(0.0, ((context.cpu_load or 0.0) - always) / (1.0 - always))
    strains = {"load": load, "waiting": 0.0, "clock": 0.0, "memory": 0.0}
    if context.cores and context.cpu_load is not None:
        left = context.cores * max(1.0 - load, _LEAST)
        strains["waiting"] = max(0.0, threads / left - 1.0)
    elif context.cores and context.runnable is not None:
        strains["waiting"] = max(0.0, (context.runnable + threads) / context.cores - 1.0)
    if context.cpu_freq_mhz and reference.get("cpu_freq_mhz"):
        strains["clock"] = max(0.0, reference["cpu_freq_mhz"] / context.cpu_freq_mhz - 1.0)
    if context.memory_free_mb is not None and reference.get("memory_free_mb"):
        strains["memory"] = max(0.0, 1.0 - context.memory_free_mb / reference["memory_free_mb"])
    return strains


@dataclass(frozen=True)
class Predictor:
    """One quantity (``latency_ms``, ``memory_mb``, ``energy_mj``) on one device x delegate x threads.

    ``how``: ``fitted`` or, for energy without a meter, ``estimated:...``. ``error``: mean absolute percentage error in
    [0, ...) on held-out branches, None where nothing was fitted. ``ranges``: smallest and largest value of each feature
    among the ``samples`` measurements it was fitted on. ``spread``: the ratio of measured to predicted that 5 % and 95
    % of held-out branches stay below. ``caches``: the device's, in bytes. ``latency``: for energy, coefficients of the
    latency that its coefficient ``latency_ms`` (in mJ/ms, so watts) is multiplied with. ``slowdown``: what each
    :func:`strain` adds to 1, fitted in a sweep of contexts against the idle ``reference``; empty if there was none;
    ``strained`` is the sweep's ``spread``. ``about``: serial, model and processor of the device, as far as it told.
    ``anchors``: what each anchor usually takes there, in ms by kind, so that who runs anchors knows the speed of the
    moment (:func:`adascale_runtime.seams.speed.speed_of`); empty if the device was measured without them. ``support``:
    the entries of a branch's ``support`` that tell in how many partitions the delegate takes it, the most exact first;
    empty if its partitions do not matter.
    """

    quantity: str
    device: str
    delegate: str
    threads: int
    how: str
    coefficients: Dict[str, float]
    ranges: Dict[str, Tuple[float, ...]]
    samples: int
    error: Optional[float] = None
    spread: Tuple[float, ...] = ()
    caches: Dict[str, int] = field(default_factory=dict)
    latency: Dict[str, float] = field(default_factory=dict)
    slowdown: Dict[str, float] = field(default_factory=dict)
    strained: Tuple[float, ...] = ()
    reference: Dict[str, float] = field(default_factory=dict)
    about: Dict[str, str] = field(default_factory=dict)
    anchors: Dict[str, float] = field(default_factory=dict)
    support: Tuple[str, ...] = ()

    def partitions(self, support: Sequence[Support]) -> Optional[float]:
        """In how many pieces the delegate takes a branch, by its ``support``; None where that is not known."""
        told = {one.delegate: float(one.partitions) for one in support}
        return next((told[name] for name in self.support if name in told), None)

    def features(self, cost: Cost, precision: str, partitions: Optional[float] = None) -> Dict[str, float]:
        """The :func:`features` that this predictor was fitted on; where the number of partitions is not known, 1."""
        known = 1.0 if partitions is None else partitions
        return features(cost, precision, self.caches, known if self.support else None)

    def predict(
        self, cost: Cost, precision: str, context: Optional[Context] = None, latency_ms: Optional[float] = None, *,
        speed: float = 1.0, partitions: Optional[float] = None,
    ) -> float:  # fmt: skip
        """The predicted quantity, in the unit that its name says.

        On the idle device the lower quartile of runs, which is its median where nothing disturbs it; in a ``context``
        the mean, since a loaded core is lost for milliseconds at a time. ``latency_ms``: a measured idle latency, which
        predicts energy better than a predicted one. ``speed``: how fast the device is, relative to its usual speed; at
        0.8 everything takes 1/0.8 as long. A clock that a context tells counts as well, so give one of the two.
        ``partitions``: in how many pieces the delegate takes the branch (:meth:`partitions`), 1 where that is not
        known. :class:`BadInput` for a speed that is not positive.
        """
        if not 0.0 < speed < math.inf:
            raise BadInput("A device cannot have {:g} times its usual speed; give a positive number.".format(speed))
        values = self.features(cost, precision, partitions)
        if self.latency:
            values["latency_ms"] = _dot(self.latency, values) / speed if latency_ms is None else latency_ms
        value = _dot(self.coefficients, values) / (speed if self.quantity == "latency_ms" else 1.0)
        return value * (1.0 if context is None else self.factor(context))

    def factor(self, context: Context) -> float:
        """How many times slower than idle the device is in a context, at least 1."""
        return 1.0 + _dot(self.slowdown, strain(context, self.threads, self.reference))

    def interval(
        self, cost: Cost, precision: str, context: Optional[Context] = None, latency_ms: Optional[float] = None, *,
        speed: float = 1.0, partitions: Optional[float] = None,
    ) -> Optional[Tuple[float, float]]:  # fmt: skip
        """Bounds that held nine of ten held-out branches; None if no branch was held out. See :meth:`predict`."""
        if len(self.spread) != 2:
            return None
        middle = self.predict(cost, precision, context, latency_ms, speed=speed, partitions=partitions)
        low, high = self.spread
        if context is not None and len(self.strained) == 2:
            low, high = low * min(1.0, self.strained[0]), high * max(1.0, self.strained[1])
        return middle * low, middle * high

    def outside(self, cost: Cost, precision: str, partitions: Optional[float] = None) -> Tuple[str, ...]:
        """The features of a branch that lie outside the data this predictor holds for; sorted.

        A kernel that was never measured counts as outside if the branch has it.
        """
        values = self.features(cost, precision, partitions)
        wrong = [n for n, (low, high) in self.ranges.items() if not low <= values.get(n, 0.0) <= high]
        if any(name.endswith(".count") for name in self.ranges):
            wrong += [n for n, v in values.items() if n.endswith(".count") and v and n not in self.ranges]
            wrong += [n for n, v in values.items() if n.startswith("macs_") and v and n not in self.ranges]
        return tuple(sorted(wrong))


def _dot(coefficients: Mapping[str, float], values: Mapping[str, float]) -> float:
    return sum(weight * values.get(name, 0.0) for name, weight in coefficients.items())


@dataclass(frozen=True)
class Predictors:
    """All predictors of one file."""

    format: str
    predictors: Tuple[Predictor, ...]
    created: str
    versions: Dict[str, str]

    @property
    def devices(self) -> Tuple[str, ...]:
        """The names of the devices that the predictors are of."""
        return tuple(dict.fromkeys(p.device for p in self.predictors))

    def of(self, wanted: str) -> "Predictors":
        """Those of one device: by its name or serial, else its model, else its processor. :class:`BadInput` lists the
        devices if none or several of them are meant."""
        return self._only([[wanted], [wanted], [wanted]], "'{}' names".format(excerpt(wanted)))

    def here(self, facts: Mapping[str, Any]) -> "Predictors":
        """Those of the device that ``facts`` describe (``name``, ``serial``, ``manufacturer``, ``model``, ``soc``,
        ``board``, ``cpu``); whatever it is if the file knows one device only."""
        if len(self.devices) <= 1:
            return self
        known = {key: str(value) for key, value in facts.items() if value}
        model = [known["model"]] if "model" in known else []
        model += ["{} {}".format(known["manufacturer"], name) for name in model if "manufacturer" in known]
        levels = [[known[key] for key in keys if key in known] for keys in (("name", "serial"), (), _CHIPS)]
        return self._only([levels[0], model, levels[2]], "this device matches")

    def _only(self, levels: Sequence[Sequence[str]], who: str) -> "Predictors":
        for level, names in enumerate(levels):
            meant = {p.device for p in self.predictors if any(_is(p, name, level) for name in names)}
            if len(meant) == 1:
                return replace(self, predictors=tuple(p for p in self.predictors if p.device in meant))
            if meant:
                raise _several(sorted(meant), who + " several of them")
        raise _several(self.devices, who + " none of them")

    def find(self, quantity: str, delegate: str, threads: int) -> Optional[Predictor]:
        """The predictor of that cell, or None. :class:`BadInput` if several devices have one; see :meth:`of`."""
        fitted = [p for p in self.predictors if (p.quantity, p.delegate, p.threads) == (quantity, delegate, threads)]
        if any(p.device != fitted[0].device for p in fitted):
            raise _several(self.devices, "none of them is chosen")
        return fitted[0] if fitted else None

    def predict(
        self, quantity: str, branch: Branch, delegate: str, threads: int, context: Optional[Context] = None, *,
        speed: float = 1.0,
    ) -> Optional[float]:  # fmt: skip
        """The prediction for a branch, or None where there is no predictor. See :meth:`Predictor.predict`."""
        found = self.find(quantity, delegate, threads)
        if found is None:
            return None
        pieces = found.partitions(branch.support)
        return found.predict(branch.cost, branch.precision, context, speed=speed, partitions=pieces)

    def interval(
        self, quantity: str, branch: Branch, delegate: str, threads: int, context: Optional[Context] = None, *,
        speed: float = 1.0,
    ) -> Optional[Tuple[float, float]]:  # fmt: skip
        """Bounds for a branch that held nine of ten held-out ones, or None where they are not known."""
        found = self.find(quantity, delegate, threads)
        if found is None:
            return None
        pieces = found.partitions(branch.support)
        return found.interval(branch.cost, branch.precision, context, speed=speed, partitions=pieces)


#: The facts that name a device's processor.
_CHIPS = ("soc", "board", "cpu")
_MODEL = ("model",)


def _is(predictor: Predictor, name: str, level: int) -> bool:
    """Whether a name means a predictor's device: as itself (level 0), as its model (1), as its processor (2)."""
    device, about, name = predictor.device.casefold(), predictor.about, name.casefold()
    if level == 0:
        return name in (device, device.rsplit(" ", 1)[-1], about.get("serial", "").casefold())
    if device.startswith((name + " ", name + ",")):  # a device's name begins with its model, or its processor
        return True
    values = [about.get(key, "").casefold() for key in (_MODEL if level == 1 else _CHIPS)]
    return bool(name) and name in values


def _several(devices: Sequence[str], why: str) -> BadInput:
    names = "; ".join(excerpt(name) for name in devices)
    return BadInput(
        "The predictors are of {} devices ({}), and {}; name one with --device-name.".format(len(devices), names, why)
    )


def load(path: Path) -> Predictors:
    """Read a predictors file; :class:`BadInput` says what is wrong with it."""
    data: Any = codec.read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise BadInput(
            "{} is not a predictors file ({!r} is expected); write one with 'adascale fit'.".format(path, FORMAT)
        )
    found = codec.from_json(Predictors, data, str(path))
    for number, one in enumerate(found.predictors):
        where = "{}: predictors[{}]".format(path, number)
        for kind, ms in one.anchors.items():
            if not SHORTEST_MS <= ms <= LONGEST_MS:
                outside = "is {:g} ms, which is not in the range from {:g} to {:g}".format(ms, SHORTEST_MS, LONGEST_MS)
                raise BadInput("{}.anchors[{!r}] {}.".format(where, excerpt(kind), outside))
        for name, bounds in one.ranges.items():
            if len(bounds) != 2:
                told = "has {} numbers, but a range has 2; fit the predictors again".format(len(bounds))
                raise BadInput("{}.ranges[{!r}] {}.".format(where, excerpt(name), told))
    return found


def choose(path: Path, wanted: Optional[str], facts: Mapping[str, Any]) -> Predictors:
    """The predictors of a file for one device: the one that is ``wanted``, else the one that ``facts`` describe."""
    fitted = load(path)
    try:
        return fitted.here(facts) if wanted is None else fitted.of(wanted)
    except BadInput as error:
        raise BadInput("{}: {}".format(path, error)) from None
