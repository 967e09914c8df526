"""Spreads cases over worker processes, with a time limit for each, and notices workers that die."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adascale_runtime.text import ended
from tests.mutations.formats import FORMATS, SLOW, WEIGHTS

ROOT = Path(__file__).parent.parent.parent
#: Seconds that a case, and the first run of a format's commands in a process, may take.
LIMIT_S, START_S = 10.0, 300.0
#: Where processes find modules.
PATHS = [str(ROOT)]
#: Cases that a process runs before another takes its place.
TURN = 600


@dataclass(frozen=True)
class Asked:
    """A case: ``number`` counts within its format."""

    format: str
    number: int


@dataclass
class Result:
    """What came of all cases: counts by verdict, and those that ended otherwise than well."""

    counts: Counter[str] = field(default_factory=Counter)
    by_format: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[tuple[Asked, dict[str, Any]]] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, asked: Asked, answer: dict[str, Any]) -> None:
        verdict = answer["verdict"]
        self.counts[verdict] += 1
        self.by_format.setdefault(asked.format, Counter())[verdict] += 1
        if verdict not in ("worked", "refused"):
            self.findings.append((asked, answer))


def choose(cases: int, seed: int, formats: Sequence[str]) -> list[Asked]:
    """So many cases of these formats, by their weights, in mixed order."""
    total = sum(WEIGHTS[name] for name in formats)
    found = [Asked(name, n) for name in formats for n in range(math.ceil(cases * WEIGHTS[name] / total))]
    random.Random(seed).shuffle(found)
    return found[:cases]


def fast() -> list[str]:
    """The formats that need neither TensorFlow nor a phone."""
    return [name for name in FORMATS if name not in SLOW]


class Worker:
    """A process of :mod:`tests.mutations.worker`."""

    def __init__(self, goods: Path, formats: Sequence[str] = ()) -> None:
        """Start a process and run the commands of some formats on whole files: they must work, and are imported."""
        reader, writer = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mutations.worker", str(goods), str(writer)],
            cwd=PATHS[0], stdin=subprocess.PIPE, stderr=None, text=True, pass_fds=[writer], start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(PATHS), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        os.close(writer)
        self._pipe = os.fdopen(reader)
        self.done = 0
        for name in formats:
            answer = self._ask({"format": name, "number": None}, START_S)
            if answer.get("wrong") or "verdict" in answer:
                self.stop()
                raise RuntimeError(f"undamaged files of {name} do not work: {answer}")

    def run(self, asked: Asked, seed: int) -> dict[str, Any]:
        self.done += 1
        return self._ask({"format": asked.format, "number": asked.number, "seed": seed}, LIMIT_S)

    def _ask(self, message: dict[str, Any], limit_s: float) -> dict[str, Any]:
        assert self._process.stdin is not None
        begun = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        said = select.poll()  # a test's process may have a thousand open files, which select() refuses
        said.register(self._pipe, select.POLLIN)
        ready = said.poll(1000 * limit_s)
        line = self._pipe.readline() if ready else ""
        if line:
            return dict(json.loads(line))
        if ready:
            return {"verdict": "death", "details": ended(self._process.wait()), "seconds": time.monotonic() - begun}
        return {"verdict": "hang", "details": f"over {limit_s:g} s", "seconds": limit_s}

    def stop(self) -> None:
        """End the process and those that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._pipe.close()


def run(
    goods: Path, cases: Sequence[Asked], seed: int, workers: int = 2, tick: Callable[[int, int], None] | None = None,
    warm: bool = True,
) -> Result:  # fmt: skip
    """Run all cases; deaths and hangs cost a worker, which is replaced.

    ``warm``: first see, in each process, that all commands work on whole files.
    """
    result, left, lock = Result(), list(reversed(cases)), threading.Lock()
    begun, failed = time.monotonic(), []
    formats = sorted({asked.format for asked in cases}, key=list(FORMATS).index) if warm else []

    def serve() -> None:
        worker: Worker | None = None
        try:
            while True:
                with lock:
                    if not left or failed:
                        return
                    asked = left.pop()
                if worker is None:
                    worker = Worker(goods, formats)
                answer = worker.run(asked, seed)
                if answer["verdict"] == "hang":  # the machine may have been busy: what hangs again does hang
                    worker.stop()
                    worker = Worker(goods, [asked.format] if warm else [])
                    answer = worker.run(asked, seed)
                    worker.done = TURN
                with lock:
                    result.add(asked, answer)
                    if tick is not None:
                        tick(sum(result.counts.values()), len(cases))
                if answer["verdict"] in ("death", "hang") or worker.done >= TURN:
                    worker.stop()
                    worker = None
        except Exception as error:
            failed.append(error)
        finally:
            if worker is not None:
                worker.stop()

    threads = [threading.Thread(target=serve) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    result.findings.sort(key=lambda finding: (finding[1]["verdict"], finding[0].format, finding[0].number))
    result.seconds = time.monotonic() - begun
    return result
