"""The dispatcher of a fleet: a pure state machine that gives phones work, used by the coordinator and the simulation.

Work is cells by kind of phone, in groups; a lease is some cells of one group for one phone. Phones come and go, answers
come late or never: every cell is done once, or is given up with a reason, or waits for a phone of its kind. The same
history always gives the same leases. What an event costs does not grow with the number of phones and cells.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from adascale_runtime.errors import BadInput

#: A cell whose leases were lost so often is leased alone: if the phone goes away again, this cell is to blame.
SUSPECT = 2
#: Cells waiting, phones of their kind, most cells of a lease -> cells of the next lease, at least 1.
Sizing = Callable[[int, int, int], int]


@dataclass(frozen=True)
class Phone:
    """A phone and the host that reaches it. ``kind``: what phones must share to do each other's work."""

    host: str
    address: str
    serial: str
    kind: str

    @property
    def id(self) -> str:
        """The same for every address and host at which the phone is met."""
        return self.serial


@dataclass(frozen=True)
class Lease:
    """A piece of work for one phone: cells of one group. ``id`` is never used again by the same dispatcher."""

    id: str
    kind: str
    cells: tuple[str, ...]


def guided(waiting: int, phones: int, most: int) -> int:
    """An even share of what waits: leases shrink towards the end, so that no phone keeps the others waiting."""
    return max(1, min(most, -(-waiting // max(1, phones))))


@dataclass(frozen=True)
class _Queue:
    """Cells that may be leased together: of one ``group``, failed on the same phones (``tried``), ``alone`` or not."""

    group: int
    tried: frozenset[str]
    alone: bool


@dataclass
class _Kind:
    """All that is known of the phones of a kind and of their cells."""

    groups: dict[str, int]
    phones: dict[str, Phone] = field(default_factory=dict)
    idle: OrderedDict[str, None] = field(default_factory=OrderedDict)
    #: Only queues that are not empty, in order of creation; the newest serves first, so what came back is not left for
    #: the end. May still hold cells that an expired lease has done since; ``waiting`` is what counts.
    queues: dict[_Queue, deque[str]] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    #: Phones that failed a cell, one entry an attempt; and how often a lease with the cell was lost.
    failures: dict[str, list[str]] = field(default_factory=dict)
    losses: dict[str, int] = field(default_factory=dict)

    def put(self, cells: Iterable[str]) -> None:
        """Let cells wait, in front of others of the same queue."""
        for cell in cells:
            tried = frozenset(self.failures.get(cell, ()))
            queue = _Queue(self.groups[cell], tried, self.losses.get(cell, 0) >= SUSPECT)
            self.queues.setdefault(queue, deque()).appendleft(cell)
            self.waiting.add(cell)

    def pick(self, phone_id: str, most: int, size: Sizing) -> tuple[str, ...]:
        """Take the cells of a phone's next lease; none if all that wait have failed on it and others could try."""
        while (queue := self._queue_for(phone_id)) is not None:
            cells, wanted = self.queues[queue], 1 if queue.alone else size(len(self.waiting), len(self.phones), most)
            taken: list[str] = []
            while cells and len(taken) < wanted:
                cell = cells.popleft()
                if cell in self.waiting:
                    self.waiting.remove(cell)
                    taken.append(cell)
            if not cells:
                del self.queues[queue]
            if taken:
                return tuple(taken)
        return ()

    def _queue_for(self, phone_id: str) -> _Queue | None:
        for queue in reversed(self.queues):
            if phone_id not in queue.tried or all(other in queue.tried for other in self.phones):
                return queue
        return None


@dataclass
class _Loan:
    """A lease that is out, or was lost with its phone (``expired``); ``left``: cells of which nothing was said yet."""

    lease: Lease
    phone: Phone
    left: set[str]
    expired: bool = False


class Dispatcher:
    """Leases cells to phones. ``work``: groups of cell keys for each kind; a lease never mixes groups.

    ``cells_per_lease``: the most cells of a lease. ``strikes``: a cell that failed so often is given up. ``size``: how
    many cells a lease takes. Raises :class:`BadInput` for work that names a cell twice, and for numbers below 1.
    """

    def __init__(
        self, work: Mapping[str, Sequence[Sequence[str]]], cells_per_lease: int = 4, strikes: int = 2,
        size: Sizing = guided,
    ) -> None:  # fmt: skip
        if cells_per_lease < 1 or strikes < 1:
            raise BadInput(
                f"Leases of {cells_per_lease} cells and {strikes} strikes do nothing; give at least 1 of each."
            )
        self._most, self._strikes, self._size = cells_per_lease, strikes, size
        self._kinds: dict[str, _Kind] = {}
        self._where: dict[str, str] = {}  # phone id -> its kind, for phones that are here
        self._loans: dict[str, _Loan] = {}  # open and expired
        self._open: dict[str, tuple[Phone, Lease]] = {}
        self._working: dict[str, str] = {}  # phone id -> lease id
        self._given_up: dict[tuple[str, str], str] = {}
        self._changed: dict[str, None] = {}  # kinds where something may be leased, in order
        self._leases = self._done = self._total = 0
        for name, groups in work.items():
            cells = {cell: number for number, group in enumerate(groups) for cell in group}
            if len(cells) != sum(map(len, groups)):
                raise BadInput(f"The work of '{name}' names a cell twice; name each once.")
            kind = self._kinds[name] = _Kind(cells)
            kind.put(reversed(cells))
            self._total += len(cells)

    def join(self, phone: Phone) -> None:
        """A phone is here, for the first time or again. One that is here already, but elsewhere, loses its lease."""
        if phone.id in self._where:
            if self._kinds[self._where[phone.id]].phones[phone.id] == phone:
                return
            self.leave(phone.id, "it has another address now")
        kind = self._kinds.setdefault(phone.kind, _Kind({}))
        self._where[phone.id] = phone.kind
        kind.phones[phone.id] = phone
        kind.idle[phone.id] = None
        self._changed[phone.kind] = None

    def leave(self, phone_id: str, reason: str) -> None:
        """A phone is gone: what its lease had not done waits for another. Nothing happens if it was not here."""
        name = self._where.pop(phone_id, None)
        if name is None:
            return
        kind = self._kinds[name]
        del kind.phones[phone_id]
        kind.idle.pop(phone_id, None)
        self._changed[name] = None
        lease_id = self._working.pop(phone_id, None)
        if lease_id is None:
            return
        del self._open[lease_id]
        loan = self._loans[lease_id]
        loan.expired = True
        for cell in reversed(loan.lease.cells):
            if cell in loan.left and cell not in kind.done:
                self._lost(kind, loan, cell, reason)

    def assign(self) -> list[tuple[Phone, Lease]]:
        """Leases for phones that have nothing to do; who waits longest comes first."""
        leases = []
        for name in self._changed:
            kind = self._kinds[name]
            skipped = []
            while kind.waiting and kind.idle:
                phone_id, _ = kind.idle.popitem(last=False)
                cells = kind.pick(phone_id, self._most, self._size)
                if not cells:
                    skipped.append(phone_id)  # fewer than `strikes`: a cell failed on no more phones than that
                    continue
                leases.append(self._lend(kind.phones[phone_id], cells))
            for phone_id in reversed(skipped):
                kind.idle[phone_id] = None
                kind.idle.move_to_end(phone_id, last=False)
        self._changed.clear()
        return leases

    def take(self, lease_id: str, done: Collection[str], failed: Mapping[str, str]) -> tuple[str, ...]:
        """What came of cells of a lease; gives those that are new, in the lease's order.

        The first result of a cell wins, also one of a lease that was lost with its phone. ``failed`` gives reasons that
        are the cell's own fault: it is tried on another phone of the kind if there is one, and given up after
        ``strikes`` attempts. A lease ends when all its cells were said; if nothing more will come, say :meth:`leave`.
        Raises :class:`BadInput` for a lease that was never given and for cells that are not in it.
        """
        if not (lease_id.isdecimal() and 0 < int(lease_id) <= self._leases):
            raise BadInput(f"There is no lease '{lease_id}'; give the id of one that was assigned.")
        loan = self._loans.get(lease_id)
        if loan is None:
            return ()  # ended: all was said before
        foreign = sorted({*done, *failed} - set(loan.lease.cells))
        if foreign:
            raise BadInput(f"Lease {lease_id} does not hold the cell '{foreign[0]}'; report the lease's own cells.")
        name = loan.lease.kind
        kind, told = self._kinds[name], set(done)
        new = tuple(cell for cell in loan.lease.cells if cell in told and cell not in kind.done)
        for cell in new:
            kind.done.add(cell)
            kind.waiting.discard(cell)
            self._given_up.pop((name, cell), None)
        self._done += len(new)
        for cell in reversed(loan.lease.cells):
            if cell in failed and cell in loan.left and cell not in kind.done and not loan.expired:
                self._failed(kind, loan, cell, failed[cell])
        loan.left -= {*told, *failed}
        if not loan.left:
            self._end(loan)
        self._changed[name] = None
        return new

    @property
    def finished(self) -> bool:
        """All cells are done or given up."""
        return self._done + len(self._given_up) == self._total

    @property
    def open_leases(self) -> Mapping[str, tuple[Phone, Lease]]:
        """Lease id -> who has it, and the lease, as :meth:`assign` gave them."""
        return MappingProxyType(self._open)

    @property
    def given_up(self) -> Mapping[tuple[str, str], str]:
        """(kind, cell) -> the reason of its last attempt."""
        return MappingProxyType(self._given_up)

    @property
    def progress(self) -> tuple[int, int]:
        """Cells done, and cells in all; those given up are not done."""
        return self._done, self._total

    def _lend(self, phone: Phone, cells: tuple[str, ...]) -> tuple[Phone, Lease]:
        self._leases += 1
        lease = Lease(str(self._leases), phone.kind, cells)
        self._loans[lease.id] = _Loan(lease, phone, set(cells))
        self._open[lease.id] = (phone, lease)
        self._working[phone.id] = lease.id
        return phone, lease

    def _end(self, loan: _Loan) -> None:
        del self._loans[loan.lease.id]
        if not loan.expired:
            del self._open[loan.lease.id], self._working[loan.phone.id]
            self._kinds[loan.lease.kind].idle[loan.phone.id] = None

    def _lost(self, kind: _Kind, loan: _Loan, cell: str, reason: str) -> None:
        """A phone went away with a cell; if that happens while it does nothing else, the cell is to blame."""
        before = kind.losses.get(cell, 0)
        kind.losses[cell] = before + 1
        if before >= SUSPECT:  # so it was leased alone
            self._failed(kind, loan, cell, f"phones are lost while they measure it: {reason}")
        else:
            kind.put([cell])

    def _failed(self, kind: _Kind, loan: _Loan, cell: str, reason: str) -> None:
        attempts = kind.failures.setdefault(cell, [])
        attempts.append(loan.phone.id)
        if len(attempts) < self._strikes:
            kind.put([cell])
        else:
            self._given_up[loan.lease.kind, cell] = reason
