"""The machine that a benchmark runs on: as it is, or made to wander (``--wander``)."""

from __future__ import annotations

import argparse
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from adascale_runtime.errors import BadInput
from profiling import wander


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--wander``; what is measured with it goes to a result of its own."""
    parser.add_argument(
        "--wander", action="store_true",
        help=f"the speed of all cores wanders between {wander.LOW:g} and {wander.HIGH:g} of the full one meanwhile",
    )  # fmt: skip


def check(options: argparse.Namespace) -> None:
    """Turn to the result of wandering machines; :class:`BadInput` where this one cannot be made to."""
    if options.wander:
        refusal = wander.refusal()
        if refusal is not None:
            raise BadInput(refusal)
        options.results = options.results.with_name(f"{Path(options.results).stem}_wandering.json")


def machine(options: argparse.Namespace, seconds: float, seed: int = 0) -> AbstractContextManager[object]:
    """The machine for so many seconds; each seed wanders another way."""
    return wander.Wander(wander.course(seconds, seed)) if options.wander else nullcontext()


def goal(options: argparse.Namespace, quiet: str, wandering: str) -> str:
    """The goal that holds for this machine."""
    return wandering if options.wander else quiet
