"""Runners on phones: their interface, and the one that uses the agent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adascale_runtime.engines import registry
from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.jobs import Job, Message, parse
from adascale_runtime.text import excerpt
from android_harness import pythons, store
from android_harness.adb import Adb, quote
from android_harness.agent.alone import Owner
from android_harness.agent.bench import Agenda
from android_harness.portable.installed import Portable, find
from profiling.jobs import Schedule, lasting
from profiling.runners import RUNNERS, runner


@dataclass(frozen=True)
class Options:
    """How to measure on phones."""

    #: Timed runs of each cell, in so many rounds.
    runs: int = 50
    rounds: int = 5
    #: Measure energy from the battery.
    energy: bool = False
    #: The cores to use: big, little or a hexadecimal mask.
    affinity: str | None = None
    #: Also measure branches that a delegate runs only in part.
    allow_fallback: bool = False
    #: Wait while the phone is warmer.
    cooldown_c: float | None = None
    #: Seconds of rest and of continuous inference per energy measurement.
    idle_s: float = 2.0
    batch_s: float = 4.0
    #: Seconds to wait for heat, a charger, a job, or a phone that went away.
    patience_s: float = 300.0
    #: The name of a registered runner.
    runner: str = "agent"
    #: LiteRT for the phone: ``libLiteRt.so``, an Android package or a wheel.
    litert: Path | None = None
    #: The Python on the phone that runs the agent: its path there; ``python3``, for which the portable one stands in
    #: where the phone has none; or ``portable``.
    python: str = "python3"
    #: Google's ``benchmark_model``, built for the phone.
    binary: Path | None = None
    #: Also measure the time of each operator, in a separate run.
    op_profile: bool = False
    #: Whether anchors run beside the blocks, so that a latency can be told at the phone's usual speed.
    anchors: bool = True
    #: Cells whose latency at usual speed has an interval wider than so many percent to either side get further rounds,
    #: at most as many again; 0 for none.
    precise: float = 0.0

    @property
    def schedule(self) -> Schedule:
        """How the work on each cell is cut up."""
        return Schedule(self.runs, self.rounds, self.energy, lasting_ms=lasting(self.precise))

    def agenda(self, bundle: str, jobs: Sequence[Job], owner: Owner | None = None) -> Agenda:
        """The agent's orders: to do jobs on the bundle in a folder of the phone."""
        return Agenda(
            bundle, tuple(jobs), self.affinity, self.allow_fallback, self.cooldown_c, self.idle_s, self.batch_s,
            self.patience_s, self.op_profile, self.anchors, owner,
        )  # fmt: skip

    @property
    def silence_s(self) -> float:
        """How long a job may say nothing: it waits for heat or a charger, or measures energy on a slow gauge."""
        return self.patience_s + 8 * (self.batch_s + self.idle_s) + 30

    def settings(self) -> dict[str, Any]:
        """What two measurements must share to be the same, for their ``settings``."""
        settings: dict[str, Any] = {"runs": self.runs, "runner": self.runner}
        if self.affinity is not None:
            settings["affinity"] = self.affinity
        if not self.anchors:
            settings["anchors"] = False
        if self.energy:
            settings["energy"] = True
        return settings


class PhoneRunner(Protocol):
    """A way to measure on a phone; registered with :func:`profiling.runners.runner`, and made with
    ``(options, bundle, owner)``."""

    versions: dict[str, str]

    def prepare(self, adb: Adb, facts: dict[str, Any], delegates: Sequence[str], tick: Tick) -> None:
        """Bring what is needed; refuse what it cannot do with a sentence."""

    def run(self, adb: Adb, jobs: Sequence[Job]) -> Iterator[Message]:
        """Do the jobs. It may end without :class:`~adascale_runtime.seams.jobs.Done`; the harness then starts it again
        with what is left."""


@dataclass(frozen=True)
class Info:
    """What the agent says of itself: ``engine`` is None for a ``reason`` where it cannot run branches."""

    engine: str | None
    delegates: tuple[str, ...]
    reason: str = "it gives no reason."


def parse_info(told: str, where: str) -> Info:
    """What the agent's ``info`` printed, between whatever else a phone prints."""
    try:
        info, _ = json.JSONDecoder().raw_decode(told, max(0, told.find('{"python"')))
        return codec.from_json(Info, info, "its info")
    except (ValueError, RecursionError, BadInput) as error:
        raise AdaScaleError(
            f"{where} does not report its capabilities ({excerpt(str(error), 200)}); try again."
        ) from None


@runner("agent")
class AgentRunner:
    """The agent: a zipapp that the phone's Python runs with LiteRT's C library."""

    def __init__(self, options: Options, bundle: Bundle | None = None, owner: Owner | None = None) -> None:
        self.options, self.owner = options, owner
        self.bundle = "bundle" if bundle is None else store.bundle_folder(bundle)
        self.versions: dict[str, str] = {}
        self._command = ""

    def prepare(self, adb: Adb, facts: dict[str, Any], delegates: Sequence[str], tick: Tick) -> None:
        python, abi = self.options.python, facts.get("abi")
        own = None if python == pythons.PORTABLE else pythons.version(adb, python)
        library = self.options.litert or host_library(abi)
        info = None if own is None else self._bring(adb, facts, quote(python), library, delegates, tick)
        spare = python in (pythons.DEFAULT, pythons.PORTABLE) and _on_cpu(delegates)
        if info is None or (info.engine is None and self.options.litert is None and spare):
            portable = find(abi) if python in (pythons.DEFAULT, pythons.PORTABLE) else None
            if portable is not None:
                own = f"{portable.manifest.python} portable"
                info = self._portable(adb, facts, portable, delegates, tick)
            elif info is None:
                raise pythons.absent(adb, python, abi)
        self.versions["python"] = own or ""
        if info.engine is None:
            hint = "give --litert the .aar of com.google.ai.edge.litert:litert, or its libLiteRt.so"
            why = excerpt(info.reason, 400)
            raise BadInput(f"The agent cannot run branches on {adb.address}: {why} On the command line, {hint}.")
        self.versions["engine"] = excerpt(info.engine)
        for name in delegates:
            if name not in info.delegates:
                there = excerpt(", ".join(info.delegates))
                more = _instead(name, "agent")
                raise BadInput(f"The agent on {adb.address} has no delegate {name}; it has {there}{more}.")

    def _portable(
        self, adb: Adb, facts: dict[str, Any], portable: Portable, delegates: Sequence[str], tick: Tick
    ) -> Info:
        """Bring the portable Python, with its own LiteRT where none is given."""
        pythons.refuse_drivers(adb, delegates)
        library = self.options.litert or portable.library
        chosen = store.libraries(library, portable.target.abi)[store.LITERT]
        pythons.refuse_pages(adb, min(pythons.refuse_library(chosen, portable), portable.manifest.alignment))
        files = pythons.files_of(portable)
        store.bring(adb, files, tick, self.owner)
        return self._bring(adb, facts, pythons.command(files), library, delegates, tick)

    def _bring(
        self, adb: Adb, facts: dict[str, Any], python: str, library: Path | None, delegates: Sequence[str], tick: Tick
    ) -> Info:
        """Bring the agent and LiteRT; what the agent says of itself under a Python that a command starts."""
        files = store.agent_files(library, str(facts.get("abi")), not _on_cpu(delegates))
        store.bring(adb, files, tick, self.owner)
        place = {Path(name).name: f"{store.FOLDER}/{name}" for name in files}
        chosen = f" --litert {place[store.LITERT]}" if library else ""
        self._command = f"cd {store.FOLDER} && {python} {place[store.AGENT]}{chosen}"
        told = adb.check(f"{self._command} info 2>/dev/null", timeout_s=120)
        return parse_info(told, f"The agent on {adb.address}")

    def run(self, adb: Adb, jobs: Sequence[Job]) -> Iterator[Message]:
        agenda = self.options.agenda(self.bundle, jobs, self.owner)
        name = f"{store.run_folder(self.owner)}/plan.json" if self.owner else "plan.json"
        adb.push(codec.dump(agenda).encode(), f"{store.FOLDER}/{name}")
        said = ""
        begun = False
        for line in adb.stream(f"{self._command} bench {name} 2>&1", self.options.silence_s):
            message = parse(line)
            if message is not None:
                begun = True
                yield message
            elif line.startswith("agent: "):
                said = line[len("agent: ") :]
        if said and not begun:
            raise AdaScaleError(f"{adb.address}: {said}")


def _on_cpu(delegates: Sequence[str]) -> bool:
    """Whether none of the delegates needs a driver; what is not known is another's to refuse."""
    return all(DELEGATES[name].hardware == "cpu" for name in delegates if name in DELEGATES)


def check_delegates(runner: str, names: Sequence[str]) -> None:
    """Refuse delegates that a runner for phones does not have, before a phone is asked or anything is pushed.

    Args:
        runner: The runner's name. One of a plug-in is not known to lack any.
        names: The delegates.

    Raises:
        BadInput: Names the delegate, and the runner that has it.
    """
    there = registry.names(runner) if runner in registry.RUNNERS else names
    for name in names:
        if name not in there:
            more = _instead(name, runner)
            raise BadInput(f"The runner {runner} has no delegate {name}; it has {', '.join(there)}{more}.")


def _instead(name: str, runner: str) -> str:
    """What there is on phones in the place of a delegate that a runner lacks, for the end of a sentence."""
    record = DELEGATES.get(name)
    others = [] if record is None else [r for r in record.runners if r in RUNNERS and RUNNERS[r].where == "phone"]
    if others and runner not in others:
        return f" ({name}: use '--runner {others[0]}')"
    if record is not None and record.kernels == "reference":
        plain = [d.name for d in DELEGATES.values() if d.kernels == "builtin"]
        return f"; LiteRT's kernels without XNNPACK are the delegate {plain[0]} there" if plain else ""
    return ""


def host_library(abi: str | None) -> Path | None:
    """The wheel's ``libLiteRt.so``, for an Android or Linux device of this machine's kind; None for others."""
    import platform

    from adascale_runtime.engines.delegates import wheel_library

    return Path(wheel_library()) if abi == platform.machine() else None
