"""Drift on demand: a course of speeds, and a program that makes this machine follow it.

Phones and shared machines wander: their speed changes in steps and slow walks while nothing else seems to run. Tests
and benchmarks need such a machine when they ask for it, and the same one twice:

* a :class:`Course` says how fast a machine is at every second, as a share of its full speed, and
  :meth:`Course.stretched` what becomes of latencies that were recorded at full speed;
* :class:`Wander` makes this machine follow a course. On every core a process of real-time priority takes a share of
  each tenth of a millisecond, so that an inference is slowed down like by a lower clock, not stalled for a time slice,
  which burners of normal priority (:mod:`profiling.load`) do. It needs the right to ask for such a priority.

    python -m profiling.wander --seconds 60 --seed 1
"""

from __future__ import annotations

import argparse
import bisect
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.text import excerpt

#: The slowest and the fastest speed of a course: +-25 % around their middle.
LOW, HIGH = 0.6, 1.0
#: Seconds of a step at least and at most, and between two points of a walk.
STEP_S, WALK_S = (1.0, 15.0), 0.25
#: The share of the range by which a walk moves at a point, as a standard deviation.
_PACE = 0.15
#: The real-time priority: the lowest, which is above all normal processes.
_PRIORITY = 1
#: Seconds of a turn, short against an inference of a tenth of a millisecond; what a turn costs others even where
#: nothing is taken; and how much is taken at once at most: what was missed beyond that is let go.
_TURN_S, _COST_S, _LONGEST_S = 1e-4, 3e-5, 1e-4
# Takes a core away for as much of every turn as the course says; ends when its standard input closes.
_TAKE = """
import bisect, json, os, sys, threading, time
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
core, priority, begun, turn, cost, longest = int(sys.argv[1]), int(sys.argv[2]), *map(float, sys.argv[3:7])
seconds, speeds = json.loads(sys.argv[7])
os.sched_setaffinity(0, {core})
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
clock = time.perf_counter
owed = share = looked = 0.0
before = clock()
while True:
    now = clock()
    if now - looked > 0.05:
        looked = now
        share = 1.0 - speeds[max(0, bisect.bisect_right(seconds, time.monotonic() - begun) - 1)]
    owed = min(owed + share * (now - before), longest) - cost
    before = now
    if owed > 0.0:
        until = now + owed
        while clock() < until:
            pass
        owed -= clock() - now
    time.sleep(max(turn, min(0.02, (cost - owed) / max(share, 1e-6))))
"""


@dataclass(frozen=True)
class Course:
    """How fast a machine is over time: from each second on, until the next, it has that share of its speed."""

    seconds: tuple[float, ...]
    speeds: tuple[float, ...]

    def at(self, second: float) -> float:
        """The speed at a second; before the first one and after the last the nearest."""
        return self.speeds[max(0, bisect.bisect_right(self.seconds, second) - 1)]

    def stretched(self, latencies_ms: Iterable[float], begun_s: float = 0.0, pause_s: float = 0.0) -> list[float]:
        """What runs one after the other take on this course.

        Args:
            latencies_ms: What they take at full speed, in ms.
            begun_s: The second at which the first one begins.
            pause_s: Seconds between two runs.
        """
        taken, now = [], begun_s
        for latency_ms in latencies_ms:
            taken.append(latency_ms / self.at(now))
            now += taken[-1] / 1e3 + pause_s
        return taken


def course(seconds: float, seed: int, low: float = LOW, high: float = HIGH) -> Course:
    """A course of steps and random walks by turns, each of 1 to 15 s, between two speeds.

    Args:
        seconds: Its length.
        seed: The same seed gives the same course.
        low: The slowest speed, in (0, 1].
        high: The fastest, in [low, 1].
    """
    rng = random.Random(seed)
    times, speeds = [0.0], [rng.uniform(low, high)]
    walks = False
    while times[-1] < seconds:
        length, end = rng.uniform(*STEP_S), times[-1]
        if walks:
            for number in range(1, int(length / WALK_S) + 1):
                moved = speeds[-1] + rng.gauss(0.0, _PACE * (high - low))
                times.append(end + number * WALK_S)
                speeds.append(min(high, max(low, moved)))
        else:
            times.append(end + length)
            speeds.append(rng.uniform(low, high))
        walks = not walks
    return Course(tuple(times), tuple(speeds))


def steady(speed: float) -> Course:
    """A course that stays where it is."""
    return Course((0.0,), (speed,))


class Wander:
    """This machine on a course, from ``__enter__`` on until ``__exit__``.

    Args:
        along: The course; after its end the last speed stays.
        cores: The cores that wander; default: all that this process may use.

    Raises:
        AdaScaleError: In ``__enter__``: this user may not take a real-time priority.
    """

    def __init__(self, along: Course, cores: Sequence[int] | None = None) -> None:
        self.course = along
        self.cores = tuple(sorted(os.sched_getaffinity(0)) if cores is None else cores)
        self._takers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Wander:
        reason = refusal()
        if reason is not None:
            raise AdaScaleError(reason)
        points = json.dumps([self.course.seconds, self.course.speeds])
        numbers = [str(number) for number in (_PRIORITY, time.monotonic(), _TURN_S, _COST_S, _LONGEST_S)]
        for core in self.cores:
            command = [sys.executable, "-c", _TAKE, str(core), *numbers, points]
            self._takers.append(subprocess.Popen(command, stdin=subprocess.PIPE))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for taker in self._takers:
            taker.kill()
            taker.communicate()
        self._takers.clear()


def refusal() -> str | None:
    """Why this machine cannot wander on demand; None if it can."""
    try:
        policy, own = os.sched_getscheduler(0), os.sched_getparam(0)
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        os.sched_setscheduler(0, policy, own)
    except (OSError, AttributeError) as error:
        why = excerpt(str(getattr(error, "strerror", error)))
        return f"A process cannot take a real-time priority here ({why}), which wandering needs; run it as root."
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m profiling.wander``: make this machine wander for some time."""
    parser = argparse.ArgumentParser(
        prog="python -m profiling.wander", description="Make this machine wander, to see what depends on its speed."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the course (default: %(default)s)")
    parser.add_argument("--low", type=float, default=LOW, help="the slowest speed (default: %(default)s)")
    parser.add_argument("--high", type=float, default=HIGH, help="the fastest speed (default: %(default)s)")
    given = parser.parse_args(arguments)
    if not 0.05 <= given.low <= given.high <= 1.0:
        parser.error("--low and --high should be speeds from 0.05 to 1, the lower one first")
    if not given.seconds > 0:
        parser.error("--seconds should be positive")
    try:
        with contextlib.suppress(KeyboardInterrupt), Wander(course(given.seconds, given.seed, given.low, given.high)):
            time.sleep(given.seconds)
    except AdaScaleError as error:
        print(f"wander: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
