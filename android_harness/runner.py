"""What measures on a phone: the interface, and the agent behind it.

A runner does tasks in order and gives messages as :mod:`android_harness.agent.bench` says them: begin, fact, failed,
wait, done. It may end without done; the harness then starts it again with what is left.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from adascale_runtime.engines.delegates import lookup
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick
from adascale_runtime.text import excerpt
from android_harness import store
from android_harness.adb import Adb, quote
from android_harness.agent.alone import Owner
from android_harness.agent.bench import MARK, Plan
from android_harness.agent.work import Job

Message = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """How to measure. ``cooldown_c``: wait while the phone is warmer; ``affinity``: big, little or a hexadecimal mask;
    ``idle_s`` and ``batch_s``: seconds of idle and of running behind each energy; ``patience_s``: how long to wait for
    heat, a charger, a piece of work, or a phone that went away."""

    runs: int = 50
    rounds: int = 5
    energy: bool = False
    affinity: str | None = None
    allow_fallback: bool = False
    cooldown_c: float | None = None
    idle_s: float = 2.0
    batch_s: float = 4.0
    patience_s: float = 300.0
    runner: str = "agent"
    litert: Path | None = None
    python: str = "python3"
    binary: Path | None = None
    op_profile: bool = False

    @property
    def silence_s(self) -> float:
        """How long a task may say nothing: it waits for heat or a charger, or measures energy on a slow gauge."""
        return self.patience_s + 8 * (self.batch_s + self.idle_s) + 30

    def settings(self) -> dict[str, Any]:
        """What two measurements must share to be the same, for their ``settings``."""
        found: dict[str, Any] = {"runs": self.runs, "runner": self.runner}
        if self.affinity is not None:
            found["affinity"] = self.affinity
        if self.energy:
            found["energy"] = True
        return found


class Runner(Protocol):
    """A way to measure on a phone."""

    #: What kinds of task it does itself before and after the rounds.
    versions: dict[str, str]

    def prepare(self, adb: Adb, facts: dict[str, Any], delegates: Sequence[str], tick: Tick) -> None:
        """Bring what is needed; refuse what it cannot do with a sentence."""

    def run(self, adb: Adb, tasks: Sequence[Job]) -> Iterator[Message]:
        """Do the tasks."""


def parse_line(line: str) -> Message | None:
    """The message in a line of the agent's output, None for whatever else a phone prints."""
    start = line.find(MARK)
    if start < 0:
        return None
    try:
        found = json.loads(line[start + len(MARK) :])
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("say"), str) else None


@dataclass(frozen=True)
class Info:
    """What the agent says of itself: ``engine`` is None for a ``reason`` where it cannot run branches."""

    engine: str | None
    delegates: tuple[str, ...]
    reason: str = "it does not say why."


def parse_info(told: str, where: str) -> Info:
    """What the agent's ``info`` printed, between whatever else a phone prints."""
    try:
        found, _ = json.JSONDecoder().raw_decode(told, max(0, told.find('{"python"')))
        return codec.from_json(Info, found, "its info")
    except (ValueError, RecursionError, BadInput) as error:
        raise AdaScaleError(f"{where} does not say what it can do ({excerpt(str(error), 200)}); try again.") from None


class AgentRunner:
    """The agent: a zipapp that the phone's Python runs with LiteRT's C library."""

    def __init__(self, options: Options, bundle: str = "bundle", owner: Owner | None = None) -> None:
        self.options, self.bundle, self.owner = options, bundle, owner
        self.versions: dict[str, str] = {}
        self._command = ""

    def prepare(self, adb: Adb, facts: dict[str, Any], delegates: Sequence[str], tick: Tick) -> None:
        python = self.options.python
        code, version = adb.shell(
            f"{quote(python)} -c 'import sys; print(\"{MARK}\" + sys.version.split()[0]); 1/(sys.version_info>=(3,8))'"
        )
        if code:
            raise BadInput(
                f"{adb.address} has no {python} of version 3.8 or later for its adb shell; name one with --python, "
                "profile in Termux ('adascale agent --termux'), or use '--runner benchmark_model'."
            )
        self.versions["python"] = excerpt("".join(re.findall(f"{MARK}(.*)", version)))
        library = self.options.litert or host_library(facts.get("abi"))
        accelerated = any(lookup(name).hardware != "cpu" for name in delegates)
        files = store.agent_files(library, str(facts.get("abi")), accelerated)
        store.bring(adb, files, tick, self.owner)
        place = {Path(name).name: f"{store.FOLDER}/{name}" for name in files}
        chosen = f" --litert {place[store.LITERT]}" if library else ""
        self._command = f"cd {store.FOLDER} && {quote(python)} {place[store.AGENT]}{chosen}"
        told = adb.check(f"{self._command} info 2>/dev/null", timeout_s=120)
        info = parse_info(told, f"The agent on {adb.address}")
        if info.engine is None:
            hint = "give --litert the .aar of com.google.ai.edge.litert:litert, or its libLiteRt.so"
            why = excerpt(info.reason, 400)
            raise BadInput(f"The agent cannot run branches on {adb.address}: {why} On the command line, {hint}.")
        self.versions["engine"] = excerpt(info.engine)
        lacking = [name for name in delegates if name not in info.delegates]
        if lacking:
            raise BadInput(
                f"The agent on {adb.address} has no delegate {lacking[0]}; it has {excerpt(', '.join(info.delegates))} "
                "(nnapi: use '--runner benchmark_model')."
            )

    def run(self, adb: Adb, tasks: Sequence[Job]) -> Iterator[Message]:
        o = self.options
        plan = Plan(
            self.bundle, tuple(tasks), o.affinity, o.allow_fallback, o.cooldown_c, o.idle_s, o.batch_s,
            o.patience_s, o.op_profile, self.owner,
        )  # fmt: skip
        name = f"{store.run_folder(self.owner)}/plan.json" if self.owner else "plan.json"
        adb.push(codec.dump(plan).encode(), f"{store.FOLDER}/{name}")
        said = ""
        begun = False
        for line in adb.stream(f"{self._command} bench {name} 2>&1", o.silence_s):
            message = parse_line(line)
            if message is not None:
                begun = True
                yield message
            elif line.startswith("agent: "):
                said = line[len("agent: ") :]
        if said and not begun:
            raise AdaScaleError(f"{adb.address}: {said}")


def host_library(abi: str | None) -> Path | None:
    """The wheel's ``libLiteRt.so``, for an Android or Linux device of this machine's kind; None for others."""
    import platform

    from adascale_runtime.engines.delegates import wheel_library

    return Path(wheel_library()) if abi == platform.machine() else None
