"""A runner: what measures on a phone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from adascale_runtime.progress import Tick
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.jobs import Job, Message
from android_harness.adb import Adb
from android_harness.agent.alone import Owner
from android_harness.runner import AgentRunner, Options
from profiling.runners import runner


@runner("noted")
class NotedRunner:
    """The agent, which every measurement is told of."""

    def __init__(self, options: Options, bundle: Bundle | None = None, owner: Owner | None = None) -> None:
        self._agent = AgentRunner(options, bundle, owner)
        self.versions = self._agent.versions

    def prepare(self, adb: Adb, facts: dict[str, Any], delegates: Sequence[str], tick: Tick) -> None:
        """Bring the agent."""
        self._agent.prepare(adb, facts, delegates, tick)
        self.versions["adascale-example"] = "1.0"

    def run(self, adb: Adb, jobs: Sequence[Job]) -> Iterator[Message]:
        """Do the jobs."""
        return self._agent.run(adb, jobs)
