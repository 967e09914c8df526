"""Profiling on phones: interleaved rounds that survive cuts, reboots, crashes and kills; the phone is left as found."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.files.disk import Busy
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from adascale_runtime.text import excerpt
from android_harness import keys, messages, store
from android_harness import phone_facts as phone_facts
from android_harness.adb import Adb, Address, PhoneGone, Silent, connect
from android_harness.agent.alone import Owner
from android_harness.agent.work import Job
from android_harness.runner import AgentRunner, Message, Options, Runner
from android_harness.strikes import Strikes
from android_harness.tasks import tasks_of
from profiling import cells as table
from profiling.cells import Cell
from profiling.facts import EnergyFact
from profiling.journal import Journal, work

#: Seconds between attempts to reach a phone that went away.
RETRY_S = 0.5
#: How much longer a task may take than it may be silent: it waits for heat and a charger, and makes batches longer.
TALK = 4
Result = TypeVar("Result")
NOT_ASKED = "not asked for; give --energy"


@dataclass
class Outcome:
    """What came of a profile: ``failed`` says why cells could not be measured; the facts of those ``given_up`` wait for
    the same command. ``seconds`` of the whole, and ``measuring_s`` of them while the runner worked on tasks."""

    device: dict[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    measuring_s: float = 0.0
    given_up: set[str] = field(default_factory=set)


class Harness:
    """One phone and what to measure on it. ``signer``: see :mod:`android_harness.keys`; ``away_s``: how long to wait
    for the phone when it went away, where that is not the options' patience."""

    def __init__(
        self, bundle: Bundle, address: Address, options: Options, out: Path, signer: Any = None, tick: Tick = silent,
        away_s: float | None = None,
    ) -> None:  # fmt: skip
        self.bundle, self.address, self.options, self.out, self.tick = bundle, address, options, out, tick
        self.signer = signer or keys.load()[0]
        self.owner = store.owner(out)
        self.away_s = options.patience_s if away_s is None else away_s
        self._adb: Adb | None = None
        self._waited = ""
        self._progress_s = 0.0

    def profile(
        self, delegates: Sequence[str], threads: Sequence[int], branches: Sequence[str] | None = None,
        keep: bool = False, clean: bool = False, again: bool = False,
    ) -> Outcome:  # fmt: skip
        """Measure what is not yet in ``out``, append it there; continues what a kill cut short. ``again``: also what is
        there already.

        Raises :class:`BadInput` for what cannot be asked, :class:`AdaScaleError` if the phone stays away.
        """
        begun = time.monotonic()
        cells = table.choose(self.bundle, delegates, threads, self.options.runs, branches)
        runner = _runner(self.options, self.bundle, self.owner)
        try:
            self._connected()
            device = self._steadily(phone_facts.read)
            outcome = self._measure(cells, runner, device, delegates, clean, again)
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

    def _measure(
        self, cells: list[Cell], runner: Runner, device: dict[str, Any], delegates: Sequence[str], clean: bool,
        again: bool,
    ) -> Outcome:  # fmt: skip
        settings, name = self.options.settings(), device["name"]
        outcome = Outcome(device)
        path = Path(f"{self.out}.{file_name(str(device['serial'] or device['address']))}.journal")
        with work(path, self.bundle, cells, name, settings, self.out, again) as found:
            finished, todo = found.finished, found.todo
            if clean:
                self._steadily(lambda adb: store.clear(adb, self.owner))
            if todo:
                with Journal(path, found.settings, self.tick) as journal:
                    self._steadily(lambda adb: self._bring(adb, runner, device, delegates))
                    self._drive(runner, tasks_of(todo, self.options), journal, device, delegates, outcome)
                    for cell in todo:
                        if cell.key not in outcome.failed:
                            self._finish(cell, journal, device, dict(runner.versions), finished, outcome)
                    table.append(self.out, [finished[cell.key] for cell in todo if cell.key in finished])
                    if not outcome.given_up:
                        journal.remove()
        outcome.measurements = [finished[cell.key] for cell in cells if cell.key in finished]
        return outcome

    def _finish(
        self, cell: Cell, journal: Journal, device: dict[str, Any], versions: dict[str, str],
        finished: dict[str, Measurement], outcome: Outcome,
    ) -> None:  # fmt: skip
        """Make the measurement of a cell; one that no reader would take is a cell that failed."""
        if not self.options.energy:
            journal.add("energy", cell.key, EnergyFact(reason=NOT_ASKED))
        identity, settings = phone_facts.identity(device), self.options.settings()
        try:
            finished[cell.key] = table.measurement(self.bundle, cell, journal, identity, versions, settings)
        except BadInput as error:
            outcome.failed[cell.key] = f"its facts make no measurement: {error}"

    def _bring(self, adb: Adb, runner: Runner, device: dict[str, Any], delegates: Sequence[str]) -> None:
        store.refuse_others(adb, self.owner)
        runner.prepare(adb, device, delegates, self.tick)
        store.bring(adb, store.bundle_files(self.bundle), self.tick, self.owner)

    def _drive(
        self, runner: Runner, tasks: list[Job], journal: Journal, device: dict[str, Any], delegates: Sequence[str],
        outcome: Outcome,
    ) -> None:  # fmt: skip
        """Run all tasks that the journal lacks, however often the phone or the runner goes away."""
        strikes, boot = Strikes(), self._steadily(_boot)
        total = len(tasks)
        while True:
            left = [t for t in tasks if not journal.has(t.kind, t.key) and t.cell not in outcome.failed]
            if not left:
                return
            current: Job | None = None
            finished = lost = False
            try:
                for message in self._messages(runner, left, outcome):
                    if message["say"] == "done":
                        finished = True
                    current = self._take(message, left, journal, outcome, total, current)
                reason = "the runner on the phone died"
            except PhoneGone as error:
                reason, lost = str(error).rstrip("."), not isinstance(error, Silent)
            progress = any(journal.has(t.kind, t.key) or t.cell in outcome.failed for t in left)
            if finished and progress:
                continue
            if finished:  # it says that it is done, and did nothing of what is left
                current, reason = current or left[0], "the runner ended without it"
            self._again(runner, device, delegates)
            before, boot = boot, self._steadily(_boot)
            if boot != before:
                reason, lost = "the phone rebooted", False
            times = strikes.ended(current and (current.kind, current.key), progress, lost)
            if times and current is None:
                raise AdaScaleError(f"{self.address} cannot be measured: {reason}. Nothing that was done is lost.")
            if times and current is not None:
                outcome.failed[current.cell] = f"{reason} while it did '{current.kind}', {times} times"
                outcome.given_up.add(current.cell)

    def _messages(self, runner: Runner, left: list[Job], outcome: Outcome) -> Iterator[Message]:
        """The runner's messages; counts the time between them as measuring."""
        last: float | None = None
        self._progress_s = time.monotonic()
        for message in runner.run(self._connected(), left):
            now = time.monotonic()
            if now - self._progress_s > TALK * self.options.silence_s:
                raise Silent(f"{self.address} goes on, but has ended no task for {now - self._progress_s:.0f} s.")
            if last is not None and message["say"] in ("fact", "failed"):
                outcome.measuring_s += now - last
            last = now
            yield message

    def _take(
        self, message: Message, left: list[Job], journal: Journal, outcome: Outcome, total: int, current: Job | None
    ) -> Job | None:
        """Keep what a message says, or why it cannot be used; gives the task that is being done."""
        said, task = messages.understood(message, left, current)
        if said.say == "wait":
            self._waited = f"waits: {excerpt(said.why, 100)}"
        elif said.say == "begin":
            self._waited = ""
        ended = task is not None and said.say in ("fact", "failed")
        if task is None:
            task = current
        elif ended and task.cell not in outcome.failed and not journal.has(task.kind, task.key):
            self._progress_s = time.monotonic()
            reason = messages.keep(task, said, journal)
            if reason is not None:
                outcome.failed[task.cell] = reason
        done = total - sum(not journal.has(t.kind, t.key) for t in left)
        note = self._waited or ("" if task is None else f"{task.kind} {task.cell}")
        self.tick(f"profile {self.address}", done, total, note)
        return None if ended else task

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
                    raise AdaScaleError(f"{error} What was measured is kept; the same command continues.") from None
                time.sleep(RETRY_S)

    def _again(self, runner: Runner, device: dict[str, Any], delegates: Sequence[str]) -> None:
        """Reach the phone once more, and see that it still is the same with all files."""

        def see(adb: Adb) -> None:
            name = phone_facts.read(adb)["name"]
            if name != device["name"]:
                raise AdaScaleError(f"{self.address} is another phone now ({name}); give the command for it.")
            self._bring(adb, runner, device, delegates)

        self._hang_up()
        self._steadily(see)

    def _leave(self) -> None:
        """Remove everything after a failure, if the phone answers at once."""
        self._hang_up()  # and with it what still runs there
        with contextlib.suppress(AdaScaleError):
            store.remove(self._connected(), self.owner)


def _boot(adb: Adb) -> str:
    """What is another after each boot of the phone."""
    told = adb.shell("cat /proc/sys/kernel/random/boot_id 2>/dev/null || getprop ro.boottime.init")[1]
    return told.strip().rpartition("\n")[2]


def _runner(options: Options, bundle: Bundle, owner: Owner) -> Runner:
    if options.runner == "agent":
        return AgentRunner(options, store.bundle_folder(bundle), owner)
    if options.runner == "benchmark_model":
        from android_harness.benchmark_runner import BenchmarkRunner

        return BenchmarkRunner(options, bundle, owner)
    raise BadInput(f"There is no runner '{options.runner}'; use agent or benchmark_model.")


def file_name(text: str) -> str:
    """A phone's name or address as a part of a file's name; of a long one its beginning and a checksum."""
    found = "".join(c if c.isalnum() or c in "-." else "_" for c in text)
    return found if len(found.encode()) <= 80 else f"{found[:20]}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def show(outcome: Outcome) -> dict[str, Any]:
    """The outcome as plain JSON."""
    return {
        "device": outcome.device,
        "measurements": codec.to_json(outcome.measurements),
        "failed": outcome.failed,
        "seconds": outcome.seconds,
        "measuring_s": outcome.measuring_s,
    }
