"""Profiling on phones: interleaved rounds that survive cuts, reboots, crashes and kills.

The driver and what surrounds it are those of every experiment (:mod:`profiling.driver`); here is what can happen to a
phone only. The phone is left as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from adascale_runtime.files.disk import Busy
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import speed
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import EnergyFact
from adascale_runtime.seams.jobs import Failed, Finished, Job, Message
from adascale_runtime.seams.records import Measurement
from android_harness import (
    benchmark_runner,  # noqa: F401  (registers its runner)
    keys,
    phone_facts,
    store,
)
from android_harness.adb import Adb, Address, PhoneGone, Silent, connect
from android_harness.agent.alone import Owner
from android_harness.runner import Options, PhoneRunner, check_delegates
from android_harness.strikes import Strikes
from profiling import cells as table
from profiling import experiment
from profiling.cells import Cell
from profiling.driver import Driven, Turn
from profiling.experiment import Study
from profiling.journal import Journal
from profiling.rounds import Aim, drive_rounds
from profiling.runners import find_runner

#: Seconds between attempts to reach a phone that went away.
RETRY_S = 0.5
#: How much longer a job may take than it may be silent: it waits for heat and a charger, and makes batches longer.
TALK = 4
Result = TypeVar("Result")
NOT_ASKED = "not asked for; give --energy"


@dataclass
class Outcome:
    """What came of a profile."""

    #: All that the phone tells of itself.
    device: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    #: Why cells could not be measured, by their keys.
    failed: dict[str, str] = field(default_factory=dict)
    #: Seconds of the whole, and of them while the runner worked on jobs.
    seconds: float = 0.0
    measuring_s: float = 0.0
    #: The cells of which facts wait for the same command.
    given_up: frozenset[str] = frozenset()


class Harness:
    """One phone and what to measure on it.

    Args:
        bundle: The bundle.
        address: Where the phone answers.
        options: How to measure.
        out: A file of measurements (JSON lines).
        signer: The key that the phone knows, see :mod:`android_harness.keys`; None for adb's own.
        tick: Told ``("profile ADDRESS", ...)`` at every message, and of files that are sent.
        away_s: How long to wait for the phone when it went away, where that is not the options' patience.
    """

    def __init__(
        self,
        bundle: Bundle,
        address: Address,
        options: Options,
        out: Path,
        *,
        signer: Any = None,
        tick: Tick = silent,
        away_s: float | None = None,
    ) -> None:
        self.bundle, self.address, self.options, self.out, self.tick = bundle, address, options, out, tick
        self.signer = signer or keys.load()[0]
        self.owner = store.owner(out)
        self.away_s = options.patience_s if away_s is None else away_s
        self._adb: Adb | None = None

    def profile(
        self,
        delegates: Sequence[str],
        threads: Sequence[int],
        branches: Sequence[str] | None = None,
        *,
        keep: bool = False,
        clean: bool = False,
        again: bool = False,
    ) -> Outcome:
        """Measure what is not yet in ``out``, and append it there; continues what a kill cut short.

        Args:
            delegates: Names of delegates.
            threads: Numbers of threads; every branch is measured on every delegate with each of them.
            branches: Ids of branches; None for all.
            keep: Leave the files on the phone for the next time.
            clean: Remove first what an earlier time left there.
            again: Measure once more what ``out`` holds.

        Raises:
            BadInput: It cannot be asked.
            AdaScaleError: The phone stays away.
        """
        begun = time.monotonic()
        cells = table.choose(self.bundle, delegates, threads, self.options.runs, branches)
        runner = _runner(self.options, self.bundle, self.owner)
        check_delegates(self.options.runner, delegates)
        try:
            self._connected()
            visit = _Visit(self, runner, self._steadily(phone_facts.read), delegates)
            outcome = self._measure(visit, cells, clean, again)
            tidy = store.release if keep else store.remove
            self._steadily(lambda adb: tidy(adb, self.owner))
        except Busy:  # the files on the phone are another command's
            raise
        except BaseException:
            if not keep and self._adb is not None:
                self._leave()
            raise
        finally:
            self._hang_up()
        outcome.seconds = time.monotonic() - begun
        return outcome

    def _measure(self, visit: _Visit, cells: list[Cell], clean: bool, again: bool) -> Outcome:
        device = visit.device
        journal = Path(f"{self.out}.{file_name(str(device['serial'] or device['address']))}.journal")
        identity, settings = phone_facts.identity(device), self.options.settings()
        study = Study(self.bundle, cells, identity, settings, self.out, journal, again)

        def measure(todo: list[Cell], journal: Journal) -> Driven:
            self._steadily(visit.bring)
            visit.look()
            aim = Aim(self.options.precise, speed.place_of(identity, settings))
            driven = drive_rounds(
                visit, todo, self.options.schedule, journal, aim, tick=self.tick, label=f"profile {self.address}",
                recovery=visit,
            )  # fmt: skip
            for cell in todo:
                if not self.options.energy and cell.key not in driven.failed:
                    journal.add("energy", cell.key, EnergyFact(reason=NOT_ASKED))
            return driven

        with experiment.unfinished(study) as left:
            if clean:
                self._steadily(lambda adb: store.clear(adb, self.owner))
            results = experiment.complete(left, measure, lambda: dict(visit.versions), self.tick)
        return Outcome(
            device, results.measurements, results.failed, measuring_s=visit.measuring_s, given_up=results.given_up
        )

    def _bring(self, adb: Adb, runner: PhoneRunner, device: dict[str, Any], delegates: Sequence[str]) -> None:
        store.refuse_others(adb, self.owner)
        runner.prepare(adb, device, delegates, self.tick)
        store.bring(adb, store.bundle_files(self.bundle), self.tick, self.owner)

    def _connected(self) -> Adb:
        if self._adb is None:

            def waiting() -> None:
                self.tick(f"allow on {self.address}", 0, 1, "the phone asks: 'Allow USB debugging?'")

            self._adb = connect(self.address, self.signer, dialog_s=min(60.0, self.options.patience_s), waiting=waiting)
        return self._adb

    def _hang_up(self) -> None:
        if self._adb is not None:
            self._adb.close()
            self._adb = None

    def _steadily(self, act: Callable[[Adb], Result]) -> Result:
        """Do something on the phone; one that goes away is reached again, as long as patience lasts."""
        deadline = time.monotonic() + self.away_s
        while True:
            try:
                return act(self._connected())
            except PhoneGone as error:
                self._hang_up()
                if time.monotonic() > deadline:
                    raise AdaScaleError(
                        f"{error} What was measured is kept; run the same command again to resume."
                    ) from None
                time.sleep(RETRY_S)

    def _leave(self) -> None:
        """Remove everything after a failure, if the phone answers at once."""
        self._hang_up()  # and with it what still runs there
        with contextlib.suppress(AdaScaleError):
            store.remove(self._connected(), self.owner)


class _Visit:
    """A phone while it is measured: what the driver takes for a runner, and what brings it back when it goes away."""

    gone: tuple[type[Exception], ...] = (PhoneGone,)

    def __init__(self, harness: Harness, runner: PhoneRunner, device: dict[str, Any], delegates: Sequence[str]) -> None:
        self.harness, self.runner, self.device, self.delegates = harness, runner, device, delegates
        self.versions = runner.versions
        self.measuring_s = 0.0
        self._strikes = Strikes()
        self._boot = ""

    def bring(self, adb: Adb) -> None:
        """See that everything needed is on the phone."""
        self.harness._bring(adb, self.runner, self.device, self.delegates)

    def look(self) -> bool:
        """Whether the phone was started anew since the last look."""
        before, self._boot = self._boot, self.harness._steadily(_boot)
        return self._boot != before

    def run(self, jobs: Sequence[Job]) -> Iterator[Message]:
        """The runner's messages; counts the time between them as measuring. One that ends no job is given up."""
        last: float | None = None
        ended = time.monotonic()
        left = {(job.kind, job.key) for job in jobs}
        most = TALK * self.harness.options.silence_s
        for message in self.runner.run(self.harness._connected(), jobs):
            now = time.monotonic()
            if now - ended > most:
                raise Silent(f"{self.harness.address} responds, but has finished no job for {now - ended:.0f} s.")
            if isinstance(message, (Finished, Failed)):
                self.measuring_s += 0.0 if last is None else now - last
                if (message.kind, message.key) in left:
                    left.discard((message.kind, message.key))
                    ended = now
            last = now
            yield message

    def recover(self, turn: Turn) -> str | None:
        """Reach the phone once more. A job is given up when it has ended the runner, or lost the phone, too often."""
        reason, lost = "the runner on the phone died", False
        if turn.error is not None:
            reason, lost = str(turn.error).rstrip("."), not isinstance(turn.error, Silent)
        if turn.finished:
            reason = "the runner ended without it"
        self._return()
        if self.look():
            reason, lost = "the phone rebooted", False
        times = self._strikes.ended(turn.job and (turn.job.kind, turn.job.key), turn.progress, lost)
        if not times:
            return None
        if turn.job is None:
            raise AdaScaleError(f"{self.harness.address} cannot be measured: {reason}. Finished work is kept.")
        return f"{reason} while it did '{turn.job.kind}', {times} times"

    def _return(self) -> None:
        """Reach the phone, and see that it still is the same with all files."""

        def see(adb: Adb) -> None:
            name = phone_facts.read(adb)["name"]
            if name != self.device["name"]:
                raise AdaScaleError(
                    f"{self.harness.address} is another phone now ({name}); run the command again for that one."
                )
            self.bring(adb)

        self.harness._hang_up()
        self.harness._steadily(see)


def _boot(adb: Adb) -> str:
    """What is another after each boot of the phone."""
    told = adb.shell("cat /proc/sys/kernel/random/boot_id 2>/dev/null || getprop ro.boottime.init")[1]
    return told.strip().rpartition("\n")[2]


def _runner(options: Options, bundle: Bundle, owner: Owner) -> PhoneRunner:
    made: PhoneRunner = find_runner(options.runner, "phone").make(options, bundle, owner)
    return made


def file_name(text: str) -> str:
    """A phone's name or address as a part of a file's name; of a long one its beginning and a checksum."""
    plain = "".join(c if c.isalnum() or c in "-." else "_" for c in text)
    return plain if len(plain.encode()) <= 80 else f"{plain[:20]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def show(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain JSON."""
    return {
        "device": outcome.device,
        "measurements": codec.to_json(outcome.measurements),
        "failed": outcome.failed,
        "seconds": outcome.seconds,
        "measuring_s": outcome.measuring_s,
    }
