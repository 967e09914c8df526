"""``profile``: measure branches on this machine, on phones, or on a fleet."""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.speed import PRECISE
from adascale_tf.verbs import given, phones
from adascale_tf.verbs.places import Fleet, Host, OnPhones, Phone, Place
from adascale_tf.verbs.saying import Say, unsaid

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.records import Measurement
    from adascale_runtime.seams.speed import Usual
    from android_harness.runner import Options


@dataclass(frozen=True)
class Measured:
    """What came of measuring."""

    measurements: tuple[Measurement, ...]
    """One for each cell (branch x delegate x threads) of each device, those that ``out`` held already among them."""

    problems: tuple[str, ...] = ()
    """A sentence for each cell or phone that could not be measured."""

    notes: tuple[str, ...] = ()
    """What else a person should know."""

    out: Path | None = None
    """The file that the measurements were appended to, None if they are here only."""

    fresh: bool = True
    """False if ``out`` held everything already."""

    usual: Usual = field(default_factory=dict)
    """What the anchors usually take on each device, by all measurements in ``out``."""


@dataclass(frozen=True)
class Request:
    """What is measured, wherever it is measured."""

    bundle: Bundle
    delegates: tuple[str, ...]
    threads: tuple[int, ...]
    branches: tuple[str, ...] | None = None
    runs: int = 50
    allow_fallback: bool = False
    op_profile: bool = False
    again: bool = False
    anchors: bool = True
    precise: float = PRECISE


@dataclass
class _Work:
    """A request on its way through the places: where facts go, and what has come of it."""

    request: Request
    out: Path
    tick: Tick
    say: Say
    measurements: list[Measurement]
    problems: list[str]
    notes: list[str]

    def note(self, sentence: str) -> None:
        self.notes.append(sentence)
        self.say(sentence)


def profile(
    bundle: Bundle | str | Path,
    delegates: Sequence[str] = ("cpu",),
    threads: Sequence[int] = (1,),
    *,
    on: Place | Sequence[Place] | None = None,
    out: str | Path | None = None,
    branches: Sequence[str] | None = None,
    runs: int = 50,
    allow_fallback: bool = False,
    op_profile: bool = False,
    again: bool = False,
    anchors: bool = True,
    precise: float = PRECISE,
    tick: Tick = silent,
    say: Say = unsaid,
) -> Measured:
    """Measure every branch of a bundle in interleaved rounds, with raw samples.

    Args:
        bundle: A bundle or its path.
        delegates: Names of the registry of delegates.
        threads: Numbers of threads; every branch is measured with each of them on each delegate.
        on: A place or several: :func:`~adascale_tf.verbs.places.host` (the default),
            :func:`~adascale_tf.verbs.places.phone`, :func:`~adascale_tf.verbs.places.fleet`. Phones are measured at the
            same time, one that is named twice only once.
        out: Measurements are appended to this file (JSON lines), and those of a call that was killed continue.
            None: they are in the result only.
        branches: Ids of branches. Default: all.
        runs: Timed runs of each branch, delegate and number of threads.
        allow_fallback: Also measure branches that a delegate runs only in part.
        op_profile: Also measure the time of each operator, in a separate run.
        again: Measure once more what ``out`` holds already, and append it.
        anchors: Run anchors beside the branches, which tell the device's speed, so that a latency can be told at its
            usual speed (``docs/measuring.md``). False for comparisons.
        precise: Percent. What is not known as well as this to either side, at usual speed, gets further rounds, at
            most as many again, more of runs that hardly take any time; 0 for none.
        tick: Progress.
        say: Is given each note as soon as it is known.

    Returns:
        All measurements. What could not be measured is among its ``problems``.

    Raises:
        BadInput: The request names what does not exist, or a place cannot do it.
        AdaScaleError: Nothing could be measured: the only phone stays away, a delegate refuses a branch.
    """
    places = _places(on)
    request = Request(
        given.bundle_of(bundle), tuple(delegates), tuple(threads), None if branches is None else tuple(branches), runs,
        allow_fallback, op_profile, again, anchors, precise,
    )  # fmt: skip
    _check(request, places)
    if out is not None:
        return _profile(request, places, Path(out), tick, say)
    with tempfile.TemporaryDirectory(prefix="adascale-profile-") as folder:
        return _profile(request, places, Path(folder) / "measurements.jsonl", tick, say, kept=False)


def _places(on: Place | Sequence[Place] | None) -> list[Place]:
    if on is None:
        return [Host()]
    return [on] if isinstance(on, (Host, Phone, Fleet)) else list(on)


def _check(request: Request, places: Sequence[Place]) -> None:
    """Refuse at once what a place cannot do."""
    if not places:
        raise BadInput("No device to measure on was given; give host(), phone(...) or fleet(...).")
    for place in places:
        _check_delegates(request.delegates, place)
    if request.again and any(isinstance(place, Fleet) for place in places):
        raise BadInput("A fleet measures what 'out' lacks; leave 'again' out, or choose another 'out'.")
    if request.branches is not None and any(isinstance(place, Host) and place.calibrate for place in places):
        raise BadInput("A calibration chooses the branches itself; leave 'branches' out.")


def _check_delegates(names: Sequence[str], place: Place) -> None:
    """Refuse delegates that what measures at a place does not have."""
    if isinstance(place, Host):
        from adascale_runtime.engines.registry import check_delegate

        for name in names:
            check_delegate(name)
        return
    from android_harness import benchmark_runner as benchmark_runner  # declares itself
    from android_harness.runner import check_delegates
    from profiling.runners import find_runner

    check_delegates(find_runner(place.runner, "phone").name, names)


def _profile(
    request: Request, places: Sequence[Place], out: Path, tick: Tick, say: Say, *, kept: bool = True
) -> Measured:
    work = _Work(request, out, tick, say, [], [], [])
    before = _sizes(out)
    for place in places:  # first this machine, which then is not busy with phones
        if isinstance(place, Host):
            _on_host(work, place)
    called = [place for place in places if isinstance(place, Phone)]
    if called:
        _on_phones(work, called, alone=len(places) == 1)
    for place in places:
        if isinstance(place, Fleet):
            _on_fleet(work, place)
    _name_the_deprecated(work)
    fresh = not work.measurements or _sizes(out) != before
    usual = _usual(work)
    if fresh and request.precise:
        _name_the_wide(work, usual)
    measured = tuple(work.measurements)
    return Measured(measured, tuple(work.problems), tuple(work.notes), out if kept else None, fresh, usual)


def _usual(work: _Work) -> Usual:
    from adascale_runtime.seams import records, speed

    earlier = records.runs([work.out]) if work.out.exists() else []
    return speed.usual(earlier or work.measurements)


def _name_the_wide(work: _Work, usual: Usual) -> None:
    """A note that names the cells which further rounds did not make known well enough."""
    from adascale_runtime.seams import speed

    chosen = [m for m in work.measurements if "kernel" not in m.settings and "context" not in m.settings]
    found = [(m, speed.at_usual(m, usual).percent) for m in chosen if m.latency_ms]
    wide = [f"{m.branch}/{m.delegate}x{m.threads} (±{at:.1f} %)" for m, at in found if at > work.request.precise]
    if wide:
        work.note(f"Not known to ±{work.request.precise:g} % after all rounds: {', '.join(wide)}; give more runs.")


def _name_the_deprecated(work: _Work) -> None:
    """A note for each phone whose Android still has NNAPI, but deprecates it."""
    from adascale_runtime.device import nnapi

    for sentence in dict.fromkeys(nnapi.remark(m.device) for m in work.measurements if m.delegate == "nnapi"):
        if sentence:
            work.note(sentence)


def _sizes(out: Path) -> list[int]:
    """How large the files of measurements are, those of contexts among them; they only grow."""
    return [path.stat().st_size for path in sorted(out.parent.glob(f"{glob.escape(out.stem)}*{out.suffix}"))]


def _on_host(work: _Work, host: Host) -> None:
    """Branches, or what calibrates predictors for them; then again in other contexts."""
    from profiling import calibration, contexts, measure
    from profiling.host import stand_in

    request, out, tick = work.request, work.out, work.tick
    bundle, delegates, threads, branches = request.bundle, request.delegates, request.threads, request.branches
    names = contexts.parse(",".join(host.contexts))
    sentence = stand_in(delegates)
    if sentence is not None:
        work.note(sentence)
    if host.calibrate:
        measured = calibration.calibrate(
            bundle, delegates, threads, runs=request.runs, out=out, tick=tick, allow_fallback=request.allow_fallback,
            again=request.again, anchors=request.anchors,
        )  # fmt: skip
        work.measurements += measured
        branches = tuple(dict.fromkeys(m.branch for m in measured if m.bundle == bundle.digest))
    elif contexts.IDLE in names:
        work.measurements += measure.profile(
            bundle, delegates, threads, runs=request.runs, out=out, tick=tick, branches=branches,
            allow_fallback=request.allow_fallback, op_profile=request.op_profile, again=request.again,
            failed=lambda cell, why: work.problems.append(f"{cell.delegate} with {cell.threads} threads: {why}"),
            anchors=request.anchors, precise=request.precise,
        )  # fmt: skip
    work.measurements += contexts.sweep(
        bundle, delegates, threads, contexts=names, out=out, tick=tick, branches=branches, again=request.again,
        anchors=request.anchors,
    )  # fmt: skip


def _options(request: Request, how: OnPhones, patience_s: float) -> Options:
    """A request and how phones are measured, as the harness takes them."""
    from android_harness import benchmark_runner as benchmark_runner  # declares itself
    from android_harness.runner import Options
    from profiling.runners import find_runner

    find_runner(how.runner, "phone")
    return Options(
        runs=request.runs, energy=how.energy, affinity=how.affinity, allow_fallback=request.allow_fallback,
        cooldown_c=how.cooldown_c, batch_s=how.batch_s, idle_s=how.batch_s / 2, patience_s=patience_s,
        runner=how.runner, litert=given.path_of(how.litert), python=how.python, binary=given.path_of(how.binary),
        op_profile=request.op_profile, anchors=request.anchors, precise=request.precise,
    )  # fmt: skip


def _on_phones(work: _Work, called: Sequence[Phone], *, alone: bool) -> None:
    """One thread a phone. ``alone``: nothing else is measured, so an error of the only phone is raised."""
    import threading
    from concurrent.futures import ThreadPoolExecutor

    from android_harness.harness import Harness, Outcome

    request = work.request
    chosen = phones.distinct(called)
    for sentence in chosen.notes:
        work.note(sentence)
    lock = threading.Lock()

    def locked(what: str, done: int, total: int, note: str = "") -> None:
        with lock:
            work.tick(what, done, total, note)

    def one(reached: phones.Reached) -> Outcome | AdaScaleError:
        phone = reached.phone
        try:
            options = _options(request, phone, phone.patience_s)
            harness = Harness(request.bundle, reached.address, options, work.out, signer=reached.signer, tick=locked)
            return harness.profile(
                request.delegates, request.threads, request.branches, keep=phone.keep, clean=phone.clean,
                again=request.again,
            )  # fmt: skip
        except AdaScaleError as error:
            if alone and len(chosen.phones) == 1:
                raise
            return error

    with ThreadPoolExecutor(max_workers=len(chosen.phones)) as pool:
        results: list[Any] = list(pool.map(one, chosen.phones))
    outcomes = [result for result in results if not isinstance(result, AdaScaleError)]
    work.measurements += [m for outcome in outcomes for m in outcome.measurements]
    work.problems += [f"{o.device['name']} {cell}: {why}" for o in outcomes for cell, why in o.failed.items()]
    work.problems += [str(result) for result in results if isinstance(result, AdaScaleError)]


def _on_fleet(work: _Work, fleet: Fleet) -> None:
    from android_harness.fleet import hosts, inventory
    from android_harness.fleet.coordinator import Coordinator, FleetJob

    request = work.request
    lab = inventory.load(Path(fleet.path))
    options = _options(request, fleet, fleet.patience_s)
    job = FleetJob(
        request.bundle, request.delegates, request.threads, request.branches, options, work.out, fleet.away_s,
        fleet.keep, fleet.clean,
    )  # fmt: skip
    with hosts.connect(lab) as connected:
        result = Coordinator(connected, lab, job, work.tick).run()
    work.measurements += result.measurements
    work.problems += result.missing
    for sentence in result.notes:
        work.note(sentence)
