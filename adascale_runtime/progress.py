"""Progress reports of long work: one function type, and a silent default."""

from __future__ import annotations

from typing import Callable

#: ``tick(what, done, total, note)``: ``what`` names the work ("train", "profile"), ``done`` of ``total`` steps are
#: finished, ``note`` is a short changing remark (a loss, a branch). Called at every step; must be cheap and not raise.
Tick = Callable[[str, int, int, str], None]


def silent(what: str, done: int, total: int, note: str = "") -> None:
    """The default: say nothing."""
