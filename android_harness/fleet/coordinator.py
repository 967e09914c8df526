"""The coordinator of a fleet's profile: it identifies phones and leases cells to them until each kind is measured.

The :class:`~android_harness.fleet.dispatch.Dispatcher` decides who does what; here its world is the cluster, the clock
and the output. There is one for each kind of phone, since kinds are known only when their phones answer.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from android_harness.fleet import hosts as hosts
from android_harness.fleet import lease as work
from android_harness.fleet import parcels
from android_harness.fleet.dispatch import Dispatcher, Lease, Phone
from android_harness.fleet.hosts import Answer, Came, Event, Hosts, Went
from android_harness.fleet.inventory import Inventory
from android_harness.fleet.ledger import Ledger
from android_harness.fleet.parcels import Parcel
from android_harness.fleet.roster import NEVER, Roster, Route
from android_harness.runner import Options
from profiling import cells as table

#: A phone that refused so many groups of cells (or all), and measured nothing between them, is not asked again.
REFUSALS = 2
#: Seconds between looks at which addresses are due, and for phones and hosts to tidy up after the work.
LOOK_S, TIDY_S = 0.5, 20.0


@dataclass(frozen=True)
class FleetJob:
    """What to measure on every kind of phone, and where the measurements go.

    ``away_s``: how long a phone that went away is waited for by its host, and a kind without a phone by all;
    ``options.patience_s`` is for heat and slow pieces of work. ``keep``: leave the files on the phones; ``clean``:
    remove first what an earlier time left there.
    """

    bundle: Bundle
    delegates: Sequence[str]
    threads: Sequence[int]
    branches: Sequence[str] | None
    options: Options
    out: Path
    away_s: float = 30.0
    keep: bool = False
    clean: bool = False


@dataclass(frozen=True)
class Result:
    """``measurements`` of all cells that are done; ``missing``: what is not and why; ``notes``: what else to know."""

    measurements: list[Measurement]
    missing: list[str]
    notes: list[str]


class Coordinator:
    """Drives a fleet through a job. ``clock``: seconds that never fall."""

    def __init__(
        self, cluster: Hosts, inventory: Inventory, job: FleetJob, tick: Tick = silent,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._cluster, self._inventory, self._job, self._tick, self._clock = cluster, inventory, job, tick, clock
        cells = table.choose(job.bundle, job.delegates, job.threads, job.options.runs, job.branches)
        self._ledger = Ledger(job.bundle, cells, job.options.settings(), inventory.share, job.out)
        self._parcels: dict[str, Parcel] = {}
        self._bundle = self._packed(parcels.of_bundle(job.bundle))
        self._options = replace(
            job.options, litert=self._travelling(job.options.litert), binary=self._travelling(job.options.binary)
        )
        self._roster = Roster(inventory, min(30.0, job.away_s / 4))
        self._dispatchers: dict[str, Dispatcher] = {}
        self._unfinished: set[str] = set()  # kinds
        self._restless: set[str] = set()  # kinds whose dispatcher may have leases to give
        self._ready: set[str] = set()  # hosts that have all parcels
        self._unfit: dict[str, float] = {}  # hosts that could not take the parcels, and when to try again
        self._asking: set[str] = set()  # hosts that are being asked who is there
        self._waiting: dict[str, Callable[[Answer], None]] = {}  # by ticket
        self._vital: set[str] = set()  # tickets without whose answer it cannot be said that all is over
        self._leases: dict[str, tuple[Route, Lease]] = {}  # by ticket
        self._done = self._total = 0
        self._alive = self._looked = float("-inf")

    def run(self) -> Result:
        """Measure until every kind has all cells, or for what is left no phone comes back."""
        with self._ledger.opened():
            self._alive = self._clock()
            for kind in self._ledger.kinds:
                self._await(kind)
            while True:
                self._survey()
                self._lend()
                self._say()
                if self._over():
                    break
                for event in self._cluster.wait(LOOK_S):
                    self._hear(event)
            result = self._result()
            self._tidy(not result.missing)
            if not result.missing:
                self._ledger.close()
        return result

    # --- hosts

    def _packed(self, parcel: Parcel) -> str:
        self._parcels[parcel.digest] = parcel
        return parcel.digest

    def _travelling(self, path: Path | None) -> Path | None:
        return None if path is None else Path(self._packed(parcels.of_file(path)), path.name)

    def _ask(
        self, host: str, then: Callable[[Answer], None], function: Any, *words: Any, data: bytes | None = None,
        vital: bool = True,
    ) -> str:  # fmt: skip
        ticket = self._cluster.submit(host, function, *words, data=data)
        self._waiting[ticket] = then
        if vital:
            self._vital.add(ticket)
        return ticket

    def _hear(self, event: Event) -> None:
        if isinstance(event, Answer):
            self._vital.discard(event.ticket)
            self._leases.pop(event.ticket, None)
            then = self._waiting.pop(event.ticket, None)
            if then is not None:
                then(event)
        elif event.host not in self._roster.routes:
            pass  # somebody else's worker
        elif isinstance(event, Came):
            self._bring(event.host, True)
        else:
            self._went(event)

    def _bring(self, host: str, vital: bool) -> None:
        """Send the parcels that a host lacks, one after the other; then its phones are asked. ``vital``: for the first
        time; whoever fails again and again is not waited for."""

        def lacks(answer: Answer) -> None:
            send(list(answer.value or ()), answer)

        def send(digests: list[str], answer: Answer) -> None:
            if answer.error is not None:
                self._roster.unfit(host, answer.error)
                self._unfit[host] = self._clock() + self._roster.probe_s
            elif digests:
                data = self._parcels[digests[0]].data
                self._ask(host, partial(send, digests[1:]), parcels.keep, digests[0], data=data, vital=vital)
            else:
                self._ready.add(host)
                self._looked = float("-inf")  # ask its phones at once

        self._unfit.pop(host, None)
        self._ask(host, lacks, parcels.missing, sorted(self._parcels), vital=vital)

    def _went(self, event: Went) -> None:
        self._ready.discard(event.host)
        self._unfit.pop(event.host, None)
        self._asking.discard(event.host)
        for ticket in event.tickets:
            self._waiting.pop(ticket, None)
            self._vital.discard(ticket)
            if ticket in self._leases:
                self._roster.lost(self._leases.pop(ticket)[0])
        reason = f"the host {event.host} went away"
        for phone in self._roster.went(event.host, self._clock(), reason):
            self._dispatchers[phone.kind].leave(phone.id, reason)
            self._restless.add(phone.kind)

    # --- phones

    def _survey(self) -> None:
        """Ask who is at addresses where nobody is known, now and then."""
        now = self._clock()
        if now - self._looked < LOOK_S:
            return
        self._looked = now
        for host in [host for host, due in self._unfit.items() if due <= now]:
            self._bring(host, False)
        for host in sorted(self._ready - self._asking):
            if due := self._roster.due(host, now):
                self._asking.add(host)
                addresses, key = [route.address for route in due], due[0].host.key
                first = any(route.due == NEVER for route in due)
                self._ask(host, partial(self._met, host, due), work.survey, addresses, key, vital=first)

    def _met(self, host: str, routes: list[Route], answer: Answer) -> None:
        self._asking.discard(host)
        met = answer.value or [{"state": "unasked", "detail": answer.error}] * len(routes)
        for route, one in zip(routes, met, strict=True):
            if one["state"] == "ready":
                self._join(route, one["facts"])
            else:
                self._roster.absent(route, str(one["detail"]), self._clock(), one["state"] != "unasked")

    def _join(self, route: Route, facts: dict[str, Any]) -> None:
        kind = self._ledger.kind(facts)
        phone = Phone(route.host.name, route.address, str(facts["serial"] or route.address), kind)
        if not self._roster.met(route, phone, facts["name"]):
            return
        if kind not in self._dispatchers:
            self._ledger.meet(kind)
            self._await(kind)
        self._dispatchers[kind].join(phone)
        self._restless.add(kind)
        self._alive = self._clock()

    # --- leases

    def _await(self, kind: str) -> None:
        """A kind of phone is to measure what it lacks."""
        groups = self._ledger.groups(kind)
        self._dispatchers[kind] = Dispatcher({kind: groups}, self._inventory.cells_per_lease)
        self._unfinished |= {kind} if groups else set()
        self._done += self._ledger.done(kind)
        self._total += len(self._ledger.cells)

    def _lend(self) -> None:
        for kind in sorted(self._restless):
            for phone, lease in self._dispatchers[kind].assign():
                self._order(self._roster.here[phone.id], lease)
        self._restless.clear()

    def _order(self, route: Route, lease: Lease) -> None:
        cells = [self._ledger.cells[key] for key in lease.cells]
        order = work.Order(
            self._ledger.run, self._bundle, route.address, route.device, route.host.key, cells[0].delegate,
            cells[0].threads, tuple(cell.branch.id for cell in cells), self._options,
            self._job.away_s, clean=self._job.clean and not route.leased,
        )  # fmt: skip
        route.leased = True
        ticket = self._ask(route.host.name, partial(self._ended, route, lease), hosts.watched, work.measure, order)
        self._leases[ticket] = (route, lease)

    def _ended(self, route: Route, lease: Lease, answer: Answer) -> None:
        """A lease's answer: what is new goes into the output at once, then it is seen what the phone is good for."""
        told = _understood(answer, route.device)
        measured = {key: m for m in told.measurements if (key := self._ledger.key(m)) in lease.cells}
        failed, gone, bar = dict(told.failed), told.gone, False
        if measured:
            route.refused.clear()
        if told.refused is not None:
            route.refused.add(self._group(lease.cells[0]))
            bar = len(route.refused) >= min(REFUSALS, len(set(map(self._group, self._ledger.cells))))
            failed = {} if bar else dict.fromkeys(lease.cells, told.refused)  # if barred, it is no cell's fault
            gone = told.refused if bar else None
        dispatcher = self._dispatchers[lease.kind]
        new = dispatcher.take(lease.id, list(measured), failed)
        self._ledger.add(measured[key] for key in new)
        self._done += len(new)
        self._alive = self._clock()
        if gone is None and lease.id in dispatcher.open_leases:
            gone = "it did not report the results of its cells"
        if gone is None:
            route.losses = 0
        else:
            bar = self._roster.lost(route) or bar
            dispatcher.leave(self._roster.leave(route, gone, self._clock(), bar).id, gone)
        self._restless.add(lease.kind)
        if dispatcher.finished:
            self._unfinished.discard(lease.kind)

    def _group(self, key: str) -> tuple[str, int]:
        return self._ledger.cells[key].delegate, self._ledger.cells[key].threads

    # --- the end

    def _say(self) -> None:
        if not self._total:  # nobody has answered yet
            return
        some = itertools.islice(self._leases.values(), 2)
        working = "; ".join(f"{route.device}: {', '.join(lease.cells)}" for route, lease in some)
        more = f"; {len(self._leases) - 2} more" if len(self._leases) > 2 else ""
        self._tick("profile fleet", self._done, self._total, working + more)

    def _over(self) -> bool:
        """All is done, or nobody can do the rest, or nobody came to do it for as long as patience lasts."""
        if self._vital:
            self._alive = self._clock()
            return False
        if self._roster.asked and (not self._unfinished or self._roster.hopeless):
            return True
        return self._clock() - self._alive > self._job.away_s

    def _result(self) -> Result:
        """What came of it. An address that never answered is missing only if its phone cannot share others' cells."""
        missing: list[str] = []
        notes: list[str] = []
        for kind, dispatcher in sorted(self._dispatchers.items()):
            missing += [
                f"{kind}, {cell}: {reason.rstrip('.')}." for (_, cell), reason in sorted(dispatcher.given_up.items())
            ]
            done, total = dispatcher.progress
            left = total - done - len(dispatcher.given_up)
            if left:
                whom = [r for r in self._roster if r.phone is not None and r.phone.kind == kind]
                told = dict.fromkeys(f"{r.device}: {r.reason.rstrip('.')}" for r in whom)
                why = "; ".join(told) or "none has answered this time"
                missing.append(f"{kind}: {left} of {len(self._ledger.cells)} cells wait for a phone ({why}).")
        for route in self._roster:
            line = f"{route.device or route.address} at {route.host.name}: {route.reason.rstrip('.')}."
            if route.phone is None and (self._inventory.share == "none" or not self._dispatchers):
                missing.append(line)
            elif route.phone is None or route.phone.id not in self._roster.here:
                notes.append(line)
        return Result(self._ledger.measurements(sorted(self._dispatchers)), missing, notes)

    def _tidy(self, complete: bool) -> None:
        """Remove the files on phones that are here and, if nothing is left to do, what hosts kept for it."""
        wanted: set[str] = set()
        for route in self._roster.here.values():
            if route.leased and not self._job.keep:
                wanted.add(self._ask(route.host.name, lambda _: None, work.tidy, route.address, route.host.key))
        if complete:
            wanted |= {self._ask(h, lambda _: None, work.forget, self._ledger.run) for h in sorted(self._ready)}
        deadline = self._clock() + TIDY_S
        while wanted & set(self._waiting) and self._clock() < deadline:
            for event in self._cluster.wait(LOOK_S):
                if not isinstance(event, Came):
                    self._hear(event)


def _understood(answer: Answer, device: str) -> work.LeaseResult:
    """What a lease's host says; an error, also one of a host that writes it otherwise, is a phone that cannot be
    used."""
    gone = answer.error
    if answer.value is not None:
        try:
            return codec.from_json(work.LeaseResult, answer.value, device)
        except BadInput as error:
            gone = f"its host has another version of adascale-tf ({error})"
    return work.LeaseResult(gone=gone)
