"""The options of a bundle on this device: opened, timed at its usual speed, kept loaded within a memory limit."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from adascale_runtime import probing
from adascale_runtime.engines.delegates import LoadedBranch, check_delegate, examine, open_branch
from adascale_runtime.engines.warm import Room, Warm, estimate_mb, trim
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.measuring.anchors import Anchors, open_anchors
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies.limits import Engine, Option, Table
from adascale_runtime.probing import Probe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.predictors import Predictors
from adascale_runtime.seams.records import Context
from adascale_runtime.seams.speed import anchor_of

if TYPE_CHECKING:
    import numpy as np

#: Numbers of an output from which on numpy is the faster one to add them up.
MANY = 200
ALL_FAIL = "Every branch of the bundle fails on this device; look at 'adascale doctor'."


class Ready:
    """Options by id: the branches of a bundle on each engine, and what runs them. Only :meth:`make_way` is
    thread-safe.

    Options of the first engine have the branch's id, others ``branch@delegatexTHREADS``. All are opened once, to be
    timed: the smallest first, then together what fits into the device's memory, the rest in further groups. What does
    not fit beside the smallest is left out. What exceeds ``warm_mb`` together is given up again, as is the least
    recently used when the device runs short of memory; it is opened in the background when it is wanted and fits.
    Latencies are those at the device's usual speed, as far as anchors tell it (:mod:`adascale_runtime.probing`).

    Args:
        bundle: Where the branches come from.
        budget: Decides which option is always kept ready, and must be possible on an idle device at its usual speed.
        engines: Delegates with numbers of threads, the usual one first.
        predictors: Add energy and memory to the options.
        warm_mb: Memory for all options that are kept ready, in MB; None for no limit.
        allow_fallback: Whether a delegate may leave operators to the CPU.
        anchored: Whether anchors run beside the options; without them latencies are as they are seen just now.
        openings: What the anchors took when earlier sessions opened here, in ms by kind.
        room: The device's memory, and how much of it is left alone.

    Raises:
        AdaScaleError: No branch can be opened.
        BadInput: No option keeps the budget even on an idle device.
    """

    #: The options that may be chosen.
    table: Table
    #: Why the others could not be opened, by id.
    broken: Dict[str, str]
    #: What the anchors took meanwhile, in ms by kind; empty without them.
    took: Dict[str, float]
    #: How many times longer than usual each engine takes just now, where anchors tell it.
    slowdowns: Dict[Engine, float]

    def __init__(
        self,
        bundle: Bundle,
        budget: Budget,
        engines: Sequence[Engine],
        predictors: Optional[Predictors] = None,
        *,
        warm_mb: Optional[float] = None,
        allow_fallback: bool = False,
        anchored: bool = True,
        openings: Optional[Mapping[str, Sequence[float]]] = None,
        room: Room = Room(),  # noqa: B008  (immutable)
    ) -> None:
        branches = bundle.manifest.branches
        keys = {_key(branch, engine, engines[0]): (branch, engine) for engine in engines for branch in branches}

        def open_one(key: str) -> LoadedBranch:  # knows nothing of this object, so that dropping it frees everything
            branch, engine = keys[key]
            if key in refused:
                raise AdaScaleError(refused[key])
            return open_branch(bundle, branch, engine[0], engine[1], allow_fallback)

        refused = {
            _key(bundle.manifest.branch(name), engine, engines[0]): why
            for engine in engines
            for name, why in examine(bundle, branches, *engine, allow_fallback, room=room).items()
        }
        sizes = {key: _memory_mb(branch, predictors, engine) for key, (branch, engine) in keys.items()}
        anchors = {
            key: anchor_of(engine[0], branch.precision, branch.cost.arithmetic)
            for key, (branch, engine) in keys.items()
        }
        wanted = sorted({kind for kind in anchors.values() if kind is not None})
        beside = open_anchors(wanted) if anchored and wanted else None
        runners, probed, self.broken = _open_all(open_one, sizes, room, beside)
        self.took = probed.took()
        usual = probing.usual_of(openings or {}, self.took)
        latencies = probing.latencies(probed, anchors, usual)
        self.slowdowns = probing.slowdowns(probed, [(keys[key][1], anchors[key]) for key in latencies], usual)
        self.table = tuple(
            _option(key, branch, latencies[key], sizes[key], predictors, engine)
            for key, (branch, engine) in keys.items()
            if key in latencies
        )
        policies.check_feasible(budget, self.table)
        self._options = {option.id: option for option in self.table}
        self._shape = branches[0].input.shape
        self._snapshot: Optional[Context] = None
        self._made_way: Optional[Context] = None
        self._making_way = threading.Lock()
        self._possible: Tuple[Table, Tuple[str, ...]] = self.table, ()
        safe = policies.fallback(budget, self.table).id
        self._warm = Warm(open_one, sizes, warm_mb, safe, room)
        if safe not in runners:  # it was timed in an earlier group
            runners[safe] = open_one(safe)
        for option in sorted(self.table, key=policies.rank, reverse=True):  # the best are the most recently used
            if option.id in runners:
                self._warm.put(option.id, runners[option.id])

    def checked(self, x: "np.ndarray") -> "np.ndarray":
        """An input with its batch of 1; :class:`BadInput` if its shape is another."""
        shape = getattr(x, "shape", None)
        if shape == self._shape[1:]:
            return x[None]
        if shape != self._shape:
            raise BadInput(
                "The input should be a float32 array of shape {}, not {}.".format(
                    self._shape[1:], type(x).__name__ if shape is None else shape
                )
            )
        return x

    def option(self, key: str) -> Option:
        """The option of an id, also one that was left out meanwhile."""
        return self._options[key]

    def runner(self, key: str) -> Optional[Any]:
        """What runs an option, if it is ready."""
        return self._warm.get(key)

    def failed(self, key: str) -> bool:
        """Whether an option could not be opened again; :attr:`broken` then says why."""
        if key not in self._warm.broken:
            return False
        self.broken[key] = self._warm.broken[key]
        return True

    def prepare(self, key: str) -> None:
        """Open an option in the background, if it is not ready."""
        self._warm.prepare(key)

    def possible(self, snapshot: Context, serving: Optional[str]) -> Tuple[Table, Tuple[str, ...]]:
        """The options that are ready or that the device's memory has room for, and the ids of the others.

        Looked at once for each snapshot of the device, after :meth:`make_way`. The whole :attr:`table` is possible
        where nobody knows the memory.

        Args:
            snapshot: What the device has left.
            serving: The option that answered last.
        """
        if snapshot is not self._snapshot:
            self._snapshot, free_mb = snapshot, snapshot.memory_free_mb
            self.make_way(snapshot, serving)
            self._without(tuple(o.id for o in self.table if not self._warm.holds(o.id, free_mb)))
        return self._possible

    def make_way(self, snapshot: Context, serving: Optional[str]) -> None:
        """Give options up where a snapshot has less memory left than the reserve; from any thread.

        Once for each snapshot, whether the monitor tells it first or an inference finds it. What gives way is closed
        when no inference runs on it any more.
        """
        with self._making_way:
            if snapshot is not self._made_way:
                self._made_way = snapshot
                self._warm.give_way(snapshot.memory_free_mb, serving)

    def _without(self, absent: Tuple[str, ...]) -> None:
        """Keep what is possible: the same objects as long as nothing changes, which decisions remember."""
        table = tuple(option for option in self.table if option.id not in absent) if absent else self.table
        if not table or table == self.table:
            table, absent = self.table, ()
        if (table, absent) != self._possible:
            self._possible = table, absent

    def now(self) -> Table:
        """The options that could run at once."""
        return tuple(option for option in self.table if self._warm.ready(option.id))

    def only(self, keys: Sequence[str]) -> None:
        """Keep these options ready from now on, whatever memory they take, and no others."""
        self._warm.only(keys)

    def leave_out(self, key: str) -> None:
        """Take an option out of the table for good; :class:`AdaScaleError` if it was the last."""
        self.table = tuple(option for option in self.table if option.id != key)
        self._without(tuple(name for name in self._possible[1] if name != key))
        self._warm.drop(key)
        if not self.table:
            raise AdaScaleError(ALL_FAIL)

    def held_mb(self) -> float:
        """What the options that are ready hold, in MB."""
        return self._warm.held_mb()

    def close(self) -> None:
        """Give all interpreters and open files back; the table stays for reading."""
        for key in self._options:
            self._warm.drop(key)


def answer(runner: Any, x: "np.ndarray") -> "Optional[np.ndarray]":
    """The output of a runner, or None if it fails or answers a NaN or an infinity.

    Raises :class:`BadInput` if the input itself is not finite: no branch can answer that, so none is to blame.
    """
    try:
        output: "np.ndarray" = runner(x)
        if getattr(runner, "finite", False) or _finite(output):
            return output
    except (AdaScaleError, OSError, RuntimeError, ValueError):
        pass
    if not math.isfinite(float(x.sum())):
        raise BadInput("The input holds numbers that are not finite; look at its preprocessing.")
    return None


def _finite(output: "np.ndarray") -> bool:
    """Whether an output holds finite numbers only: a NaN or infinity anywhere makes the sum one.

    Up to some hundred numbers are added up in Python: between two inferences numpy's own sum is out of the caches, and
    takes 0.02 ms instead of 0.002, which would be a sixth of a small branch.
    """
    values = output.ravel().tolist() if getattr(output, "size", MANY) < MANY else None
    return math.isfinite(float(output.sum() if values is None else sum(values)))


def engines_of(delegates: Sequence[str], threads: Sequence[int]) -> Tuple[Engine, ...]:
    """Each delegate with each number of threads; :class:`BadInput` if there are none, or for an unknown delegate."""
    for name in delegates:
        check_delegate(name)
    if not threads or not delegates:
        raise BadInput("A session needs at least one delegate and one number of threads.")
    return tuple((name, count) for name in delegates for count in threads)


def _key(branch: Branch, engine: Engine, first: Engine) -> str:
    return branch.id if engine == first else "{}@{}x{}".format(branch.id, *engine)


def _open_all(
    open_one: Callable[[str], Any], sizes_mb: Mapping[str, float], room: Room, anchors: Optional[Anchors]
) -> Tuple[Dict[str, Any], Probe, Dict[str, str]]:
    """Open and time all options that can be opened, in groups that fit into memory together.

    Args:
        open_one: Opens an option.
        sizes_mb: What each takes, in MB.
        room: The device's memory.
        anchors: What runs beside the options, if anything.

    Returns:
        The runners of the last group and of the smallest option, what was measured, and why others are not there.

    Raises:
        AdaScaleError: No option can be opened.
    """
    runners: Dict[str, Any] = {}
    broken: Dict[str, str] = {}
    probed = Probe({}, {})
    waiting: Sequence[str] = tuple(sizes_mb) if room.free_mb() is None else sorted(sizes_mb, key=sizes_mb.__getitem__)
    while waiting:
        later: List[str] = []
        group: Dict[str, Any] = {}
        for key in waiting:
            if runners and not room.holds(sizes_mb[key]):
                later.append(key)
                continue
            try:
                runners[key] = group[key] = open_one(key)
            except (AdaScaleError, OSError, RuntimeError, ValueError) as error:
                broken[key] = str(error)
        if not group:
            broken.update((key, "It {}.".format(room.lack(sizes_mb[key]))) for key in later)
            break
        timed = probing.probe(group, anchors)
        # The latest looks at the anchors go first: they tell how fast the device is now.
        probed = Probe({**timed.latency_ms, **probed.latency_ms}, {**timed.paces, **probed.paces})
        waiting = later
        if later:
            runners = dict(list(runners.items())[:1])
            group.clear()
            trim()
    if not runners:
        raise AdaScaleError("No branch can be opened: {}".format(next(iter(broken.values()))))
    return runners, probed, broken


def _memory_mb(branch: Branch, predictors: Optional[Predictors], engine: Engine) -> float:
    """What a branch is predicted to hold while it is ready, else an estimate."""
    predicted = None if predictors is None else predictors.predict("memory_mb", branch, *engine)
    return estimate_mb(branch) if predicted is None else predicted


def _option(
    key: str, branch: Branch, latency_ms: float, memory_mb: float, predictors: Optional[Predictors], engine: Engine
) -> Option:
    # Energy, too, is that at usual speed: a table is for the whole session, not for the moment in which it opens.
    energy_mj = None if predictors is None else predictors.predict("energy_mj", branch, *engine)
    return Option(key, branch.accuracy.value, latency_ms, energy_mj, memory_mb, *engine)
