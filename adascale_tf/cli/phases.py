"""What happened in each phase of an adaptive loop, as a table."""

from __future__ import annotations

from typing import Any

from adascale_tf.cli import console


def show(phases: dict[str, Any], title: str) -> None:
    """What :func:`~adascale_runtime.loop.summary` found in each phase, as a table."""
    columns = ("phase", "inferences", "budget kept", "accuracy", "mean ms", "switches", "branches")
    console.table(title, columns, [_row(name, phase) for name, phase in phases.items()])


def _row(name: str, phase: dict[str, Any]) -> tuple[str, ...]:
    used = sorted(phase["branches"].items(), key=lambda item: -item[1])
    return (
        name,
        f"{phase['count']:,}",
        f"{phase['kept']:.2%}",
        "-" if phase["accuracy"] is None else f"{phase['accuracy']:.2%}",
        f"{phase['mean_ms']:.3f}",
        str(phase["switches"]),
        ", ".join(f"{branch} {share:.0%}" for branch, share in used[:3]),
    )
