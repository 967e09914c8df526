"""How fast devices were while they were measured, in words and as JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from adascale_runtime.files import codec
from adascale_runtime.seams import speed
from adascale_tf.cli import console

if TYPE_CHECKING:
    from adascale_runtime.seams.records import Measurement
    from adascale_runtime.seams.speed import Figure, Usual


def text(figure: Figure) -> str:
    """A latency at usual speed with half its interval: ``0.560 +-1.8%``; ``-`` where no anchor tells it."""
    return f"{figure.value_ms:.3f} +-{figure.percent:.1f}%" if figure.corrected else "-"


def wandering(measured: Sequence[Measurement], usual: Usual) -> None:
    """Say how far each device's speed wandered; nothing where no anchors ran."""
    for (name, affinity), kinds in speed.wandered(measured, usual).items():
        told = ", ".join(f"{kind} {100 * low:.0f} to {100 * high:.0f} %" for kind, (low, high) in kinds.items())
        cores = f" ({affinity})" if affinity else ""
        console.say(f"{name}{cores} ran at {told} of its usual speed (p10 to p90 of the anchors).")


def plain(measured: Sequence[Measurement], usual: Usual) -> list[dict[str, Any]]:
    """Measurements as JSON, each with its latency as ``seen`` and ``at_usual`` speed, and how far the device's speed
    ``wandered`` by its anchors: p10 and p90 of each, relative to the usual one."""
    wandered = speed.wandered(measured, usual)
    shown = []
    for m in measured:
        place = speed.place_of(m.device, m.settings)
        known = {"wandered": {kind: list(ends) for kind, ends in wandered.get(place, {}).items()}}
        if m.latency_ms:
            known |= {"seen": _plain(speed.seen(m)), "at_usual": _plain(speed.at_usual(m, usual))}
        shown.append({**codec.to_json(m), **known})
    return shown


def _plain(figure: Figure) -> dict[str, Any]:
    return {name: None if isinstance(v, float) and math.isnan(v) else v for name, v in codec.to_json(figure).items()}
