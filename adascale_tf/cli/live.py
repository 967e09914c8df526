"""A live view of an adaptive loop in the terminal: load, budget, branch, latency, kept or missed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from adascale_runtime.seams.events import Event
from adascale_tf.cli import console

#: Seconds between two drawings, and inferences that a line of bars covers.
EVERY_S, SHOWN = 0.2, 60
_BARS = " ▁▂▃▄▅▆▇█"


@contextmanager
def view(budget_ms: float | None) -> Iterator[Callable[[Event], None]]:
    """A function that takes each event and redraws now and then; silent where standard error is no terminal."""
    recent: deque[Event] = deque(maxlen=SHOWN)
    counts = {"all": 0, "kept": 0, "switches": 0}
    drawn = 0.0
    with console.drawing() as show:

        def take(event: Event) -> None:
            nonlocal drawn
            if show is None:
                return
            recent.append(event)
            counts["all"] += 1
            counts["kept"] += event.kept
            counts["switches"] += event.switched
            if time.monotonic() - drawn > EVERY_S:
                drawn = time.monotonic()
                show(draw(list(recent), counts, budget_ms))

        yield take


def draw(recent: list[Event], counts: dict[str, int], budget_ms: float | None) -> str:
    """The view as three lines of text."""
    last = recent[-1]
    seen = [event.context for event in recent if event.context is not None]
    load = seen[-1].cpu_load if seen else None
    top = budget_ms or max(event.latency_ms for event in recent)
    bars = "".join(_BARS[min(8, int(8 * event.latency_ms / (2 * top)))] for event in recent)
    limit = "" if budget_ms is None else f" of {budget_ms:g} ms"
    return (
        f"load {'-' if load is None else format(load, '.0%'):>5}   branch {last.branch} ({last.reason})\n"
        f"latency {last.latency_ms:.3f} ms{limit}   kept {counts['kept'] / counts['all']:.2%} of {counts['all']:,}   "
        f"switches {counts['switches']}\n{bars}"
    )
