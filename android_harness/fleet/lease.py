"""A host's work for the coordinator: look for phones, measure a lease's cells on one, clean up.

These functions run in a Dask worker, several at once for different phones. A lease keeps journal and measurements in
the host's cache until the profile is done, so a host that was killed goes on where it was.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle as bundles
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from android_harness import discovery, keys, store
from android_harness.adb import connect, parse_address
from android_harness.fleet import parcels
from android_harness.harness import Harness, Outcome, file_name
from android_harness.runner import Options
from profiling import cells as table
from profiling.journal import adopt

#: How often a lease that waits for its phone looks whether anybody still waits for the lease, in seconds.
LOOK_S = 1.0


@dataclass(frozen=True)
class Order:
    """A lease as its host needs it: cells of one delegate and one number of threads, on one phone.

    ``run``: the profile that it is part of; ``phone``: the device's name, so that no other is measured in its place;
    ``bundle``: digest of its parcel. Paths in ``options`` are DIGEST/NAME of parcels. ``away_s``: how long to wait for
    the phone when it goes away or is used by somebody else. ``clean``: remove first what an earlier time left there.
    """

    run: str
    bundle: str
    address: str
    phone: str
    key: str | None
    delegate: str
    threads: int
    branches: tuple[str, ...]
    options: Options
    away_s: float
    clean: bool = False


@dataclass(frozen=True)
class LeaseResult:
    """What came of a lease; between hosts it travels as plain JSON."""

    measurements: tuple[Measurement, ...] = ()
    #: Why cells failed by their own fault, by their keys.
    failed: dict[str, str] = field(default_factory=dict)
    #: Why the phone could not finish.
    gone: str | None = None
    #: What the phone lacks for this delegate.
    refused: str | None = None


class Abandoned(AdaScaleError):
    """Nobody waits for this lease any more."""


def survey(addresses: Sequence[str], key: str | None) -> list[dict[str, Any]]:
    """Who answers at these addresses: :class:`android_harness.discovery.Found` as JSON, in order."""
    try:
        met = discovery.look([parse_address(text) for text in addresses], _signer(key))
    except AdaScaleError as error:  # of the key
        met = [discovery.Found(address, "waiting", str(error)) for address in addresses]
    return codec.to_json(met)


def measure(order: Order, wanted: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """Measure a lease's cells; a :class:`LeaseResult` as plain JSON. Stops soon after ``wanted`` has become false."""
    return codec.to_json(_measure(order, wanted))


def _measure(order: Order, wanted: Callable[[], bool]) -> LeaseResult:
    try:
        with _alone(order, wanted):
            outcome = _profile(order, wanted)
    except BadInput as error:
        return LeaseResult(refused=str(error))
    except AdaScaleError as error:
        return LeaseResult(gone=str(error))
    if outcome.device["name"] != order.phone:
        return LeaseResult(gone=f"{order.address} is another phone now ({outcome.device['name']})")
    return LeaseResult(tuple(outcome.measurements), outcome.failed)


def _profile(order: Order, wanted: Callable[[], bool]) -> Outcome:
    def tick(what: str, done: int, total: int, note: str = "") -> None:
        if not wanted():
            raise Abandoned("The coordinator has gone; what was measured is kept for the next.")

    opened = bundles.load(parcels.place(order.bundle))
    options = replace(order.options, litert=_resolved(order.options.litert), binary=_resolved(order.options.binary))
    out = _folder(order.run) / f"{file_name(order.phone)}.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    _take_over(out, opened, order)
    harness = Harness(
        opened, parse_address(order.address), options, out, signer=_signer(order.key), tick=tick, away_s=order.away_s
    )
    return harness.profile([order.delegate], [order.threads], order.branches, keep=True, clean=order.clean)


def _take_over(out: Path, bundle: Bundle, order: Order) -> None:
    """Let the journal of an earlier lease serve this one: facts of its cells stay, others are measured anew."""
    settings = order.options.settings()
    cells = table.choose(bundle, [order.delegate], [order.threads], order.options.runs, order.branches)
    finished = table.finished(bundle, cells, settings, order.phone, out)
    todo = [cell.key for cell in cells if cell.key not in finished]
    same = {"bundle": bundle.digest, "device": order.phone, **settings}
    for journal in out.parent.glob(f"{out.name}.*.journal"):
        adopt(journal, same, todo)


@contextlib.contextmanager
def _alone(order: Order, wanted: Callable[[], bool]) -> Iterator[None]:
    """No other lease uses the phone meanwhile, also none of an earlier coordinator that has not noticed its end yet."""
    waited = 0.0
    lock = parcels.cache() / "phones" / f"{file_name(order.phone)}.lock"
    while wanted():
        with parcels.held(lock, min(LOOK_S, order.away_s)) as mine:
            if mine:
                yield
                return
        waited += LOOK_S
        if waited > order.away_s:
            raise AdaScaleError(f"{order.phone} is used by another profile; it is tried again later.")
    raise Abandoned("The coordinator has gone before the phone was free.")


def tidy(address: str, key: str | None) -> None:
    """Remove what leases brought to a phone, also those that died; one that does not answer keeps it."""
    with contextlib.suppress(AdaScaleError), connect(parse_address(address), _signer(key)) as adb:
        store.clear(adb)


def forget(run: str) -> None:
    """Remove what this host kept for a profile that is done."""
    shutil.rmtree(_folder(run), ignore_errors=True)


def _signer(key: str | None) -> Any:
    return keys.load(None if key is None else Path(key).expanduser())[0]


def _resolved(path: Path | None) -> Path | None:
    return None if path is None else parcels.place(path.parts[0]) / path.name


def _folder(run: str) -> Path:
    return parcels.cache() / "runs" / run
