"""Whatever phones do, cells are neither lost nor done twice."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from adascale_runtime.errors import BadInput
from android_harness.fleet import dispatch
from android_harness.fleet.dispatch import Dispatcher, Lease, Phone, guided

PHONES = [
    Phone("lab-a", "10.0.0.1:5555", "A1", "pixel"),
    Phone("lab-a", "10.0.0.2:5555", "A2", "pixel"),
    Phone("lab-b", "10.0.0.3:5555", "A3", "pixel"),
    Phone("lab-b", "10.0.0.4:5555", "B1", "galaxy"),
    Phone("lab-b", "10.0.0.5:5555", "B2", "galaxy"),
]
ELSEWHERE = [Phone("lab-c", "10.1.0.1:5555", phone.serial, phone.kind) for phone in PHONES]
WORK = {
    "pixel": [[f"p{n}/cpu" for n in range(5)], [f"p{n}/gpu" for n in range(4)]],
    "galaxy": [[f"g{n}/cpu" for n in range(3)], []],
}
CELLS = {(kind, cell) for kind, groups in WORK.items() for group in groups for cell in group}
STRIKES = 2


def stranded(dispatcher: Dispatcher) -> set[tuple[str, str]]:
    """(kind, cell) of cells that wait, but no phone of their kind is here."""
    kinds = dispatcher._kinds.items()
    return {(name, cell) for name, kind in kinds if not kind.phones for cell in kind.waiting}


class History(RuleBasedStateMachine):
    """A coordinator that says anything that can happen, and keeps its own books."""

    def __init__(self) -> None:
        super().__init__()
        self.here: dict[str, Phone] = {}
        self.leases: dict[str, tuple[Phone, Lease]] = {}
        self.said: dict[str, set[str]] = {}
        self.expired: set[str] = set()
        self.new: Counter[tuple[str, str]] = Counter()
        #: (kind, cell) -> for each attempt that failed: the phone, and the other phones of the kind that were there
        self.attempts: dict[tuple[str, str], list[tuple[str, set[str]]]] = {}
        self.losses: Counter[tuple[str, str]] = Counter()
        self.others: dict[str, set[str]] = {}

    @initialize(most=st.integers(1, 5))
    def begin(self, most: int) -> None:
        self.most = most
        self.dispatcher = Dispatcher(WORK, most, STRIKES)

    def open(self) -> list[str]:
        return [i for i, (_, lease) in self.leases.items() if i not in self.expired and self.said[i] < {*lease.cells}]

    def leased(self) -> set[tuple[str, str]]:
        """Cells of open leases of which nothing was said yet."""
        loans = [(self.leases[i][1], self.said[i]) for i in self.open()]
        return {(lease.kind, cell) for lease, said in loans for cell in set(lease.cells) - said}

    @rule(phone=st.sampled_from(PHONES + ELSEWHERE))
    def join(self, phone: Phone) -> None:
        if self.here.get(phone.id) not in (None, phone):
            self._expire(phone.id)
        self.here[phone.id] = phone
        self.dispatcher.join(phone)

    @rule(phone=st.sampled_from(PHONES))
    def leave(self, phone: Phone) -> None:
        self._expire(phone.id)
        self.here.pop(phone.id, None)
        self.dispatcher.leave(phone.id, "its cable was pulled")

    def _expire(self, phone_id: str) -> None:
        for lease_id in self.open():
            phone, lease = self.leases[lease_id]
            if phone.id == phone_id:
                self.expired.add(lease_id)
                for cell in set(lease.cells) - self.said[lease_id]:
                    key = (lease.kind, cell)
                    self.losses[key] += 1
                    if self.losses[key] > dispatch.SUSPECT and not self.new[key]:
                        self.attempts.setdefault(key, []).append((phone_id, self.others[lease_id]))

    @rule()
    def assign(self) -> None:
        for phone, lease in self.dispatcher.assign():
            assert lease.id not in self.leases, "an id is used again"
            assert self.here[phone.id] == phone and lease.kind == phone.kind
            assert phone.id not in {self.leases[i][0].id for i in self.open()}, "a phone has two leases"
            assert 1 <= len(lease.cells) <= self.most and len(set(lease.cells)) == len(lease.cells)
            assert any(set(lease.cells) <= set(group) for group in WORK[lease.kind]), "a lease mixes groups"
            taken = self.leased()
            for cell in lease.cells:
                assert (lease.kind, cell) not in taken | self.dispatcher.given_up.keys() | self.new.keys()
            self.leases[lease.id], self.said[lease.id] = (phone, lease), set()
            self.others[lease.id] = {p.id for p in self.here.values() if p.kind == phone.kind} - {phone.id}
        assert self.dispatcher.assign() == []

    @precondition(lambda self: self.leases)
    @rule(data=st.data())
    def report(self, data: st.DataObject) -> None:
        """Open leases, expired ones and ended ones; in parts, or again."""
        lease_id = data.draw(st.sampled_from(sorted(self.leases)))
        phone, lease = self.leases[lease_id]
        done = data.draw(st.sets(st.sampled_from(lease.cells)))
        failed = data.draw(st.sets(st.sampled_from(lease.cells))) - done
        was_open, said = lease_id in self.open(), self.said[lease_id]
        new = self.dispatcher.take(lease_id, done, dict.fromkeys(failed, "SIGSEGV"))
        ended = said >= set(lease.cells)
        assert set(new) <= done and not (ended and new)
        if not ended:
            assert set(new) == {cell for cell in done if not self.new[lease.kind, cell]}, "a result is lost"
        self.new.update((lease.kind, cell) for cell in new)
        if was_open:
            for cell in failed - said:
                if not self.new[lease.kind, cell]:
                    self.attempts.setdefault((lease.kind, cell), []).append((phone.id, self.others[lease_id]))
        self.said[lease_id] = said | done | failed

    @invariant()
    def books_agree(self) -> None:
        if not hasattr(self, "dispatcher"):
            return
        assert all(count == 1 for count in self.new.values()), "a cell is done twice"
        assert self.dispatcher.progress == (len(self.new), len(CELLS))
        assert dict(self.dispatcher.open_leases) == {i: self.leases[i] for i in self.open()}
        given_up = self.dispatcher.given_up.keys()
        assert given_up == {key for key, made in self.attempts.items() if len(made) >= STRIKES} - self.new.keys()
        for key in given_up:
            (first, _), (second, others) = self.attempts[key][:STRIKES]
            assert first != second or not others, "the same phone tries again although there is another"
        assert self.dispatcher.finished == (self.new.keys() | given_up == CELLS)
        left = stranded(self.dispatcher)
        assert not {kind for kind, _ in left} & {phone.kind for phone in self.here.values()}
        absent = {(kind, c) for kind, c in CELLS if kind not in {p.kind for p in self.here.values()}}
        assert left == absent - self.leased() - self.new.keys() - given_up

    def teardown(self) -> None:
        """From any state on: with phones that stay, all ends, and every cell was done or is given up."""
        if not hasattr(self, "dispatcher"):
            return
        for phone in PHONES:
            self.join(phone)
        for _ in range(3 * len(CELLS)):
            self.assign()
            for lease_id in self.open():
                _, lease = self.leases[lease_id]
                self.new.update((lease.kind, cell) for cell in self.dispatcher.take(lease_id, lease.cells, {}))
                self.said[lease_id] = set(lease.cells)
            self.books_agree()
        assert self.dispatcher.finished and not self.dispatcher.open_leases and not stranded(self.dispatcher)


def test_nothing_is_lost_and_nothing_twice_in_any_history() -> None:
    run_state_machine_as_test(History, settings=settings(max_examples=150, stateful_step_count=60, deadline=None))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_it_ends_while_one_phone_of_each_kind_stays(data: st.DataObject) -> None:
    """The others come and go at every step, and half of what they do fails."""
    dispatcher = Dispatcher(WORK, cells_per_lease=data.draw(st.integers(1, 5)))
    steady = {"A1", "B1"}
    for phone in PHONES:
        dispatcher.join(phone)
    steps = 0
    while not dispatcher.finished:
        steps += 1
        assert steps <= 10 * len(CELLS)
        dispatcher.assign()
        for lease_id, (phone, lease) in list(dispatcher.open_leases.items()):
            if phone.id in steady:
                dispatcher.take(lease_id, lease.cells, {})
            elif data.draw(st.booleans()):
                dispatcher.leave(phone.id, "the battery is empty")
                dispatcher.join(phone)
            else:
                dispatcher.take(lease_id, (), dict.fromkeys(lease.cells, "SIGSEGV"))


def history(seed: int) -> list[str]:
    """What a dispatcher says in a random history, for the test that runs this in processes of their own."""
    import random

    draw, said = random.Random(seed), []
    dispatcher = Dispatcher(WORK, cells_per_lease=3)
    for _ in range(200):
        phone = draw.choice(PHONES)
        draw.choice((dispatcher.join, lambda p: dispatcher.leave(p.id, "gone")))(phone)
        said += [f"{p.id} {lease}" for p, lease in dispatcher.assign()]
        for lease_id, (_, lease) in list(dispatcher.open_leases.items()):
            cell, outcome = draw.choice(lease.cells), draw.random()
            done, failed = ({cell}, {}) if outcome < 0.15 else ((), {cell: "fault"} if outcome < 0.5 else {})
            said.append(f"{dispatcher.take(lease_id, done, failed)}")
        said.append(f"{dispatcher.progress} {dict(dispatcher.given_up)} {sorted(stranded(dispatcher))}")
    return said


def test_the_same_history_gives_the_same_leases() -> None:
    """Also where Python hashes strings otherwise, which changes the order of sets."""
    code = "from tests.android_harness.fleet.test_dispatch import history; print(*history(7), sep='\\n')"
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] and "('galaxy', 'g0/cpu')" in runs[0] and "fault" in runs[0]


def joined(dispatcher: Dispatcher, *serials: str) -> list[tuple[Phone, Lease]]:
    for phone in PHONES:
        if phone.serial in serials:
            dispatcher.join(phone)
    return dispatcher.assign()


def test_leases_shrink_towards_the_end() -> None:
    dispatcher = Dispatcher({"pixel": [[str(n) for n in range(20)]]}, cells_per_lease=8)
    sizes, leases = [], joined(dispatcher, "A1", "A2")
    while leases:
        sizes.append(len(leases[0][1].cells))
        dispatcher.take(leases[0][1].id, leases[0][1].cells, {})
        leases = leases[1:] + dispatcher.assign()
    assert sizes == sorted(sizes, reverse=True) and sizes[0] == 8 and sizes[-1] == 1 and sum(sizes) == 20


@given(st.integers(1, 10**6), st.integers(0, 10**5), st.integers(1, 100))
def test_a_lease_is_an_even_share_within_its_limits(waiting: int, phones: int, most: int) -> None:
    size = guided(waiting, phones, most)
    assert 1 <= size <= most
    assert size in (1, most) or (size - 1) * max(1, phones) < waiting <= size * max(1, phones)


def test_a_cell_that_failed_is_tried_on_another_phone_and_then_given_up() -> None:
    dispatcher = Dispatcher({"pixel": [["a"]]})
    ((first, lease),) = joined(dispatcher, "A1", "A2")
    assert dispatcher.take(lease.id, (), {"a": "SIGSEGV"}) == () and not dispatcher.finished
    ((second, lease),) = dispatcher.assign()
    assert second != first
    dispatcher.take(lease.id, (), {"a": "SIGBUS"})
    assert dispatcher.finished and dispatcher.given_up == {("pixel", "a"): "SIGBUS"} and dispatcher.progress == (0, 1)


def test_a_cell_that_failed_waits_for_a_phone_that_is_busy_but_not_for_one_that_left() -> None:
    dispatcher = Dispatcher({"pixel": [["a"], ["b"]]}, cells_per_lease=1)
    (one, lease), (other, _) = joined(dispatcher, "A1", "A2")
    assert lease.cells == ("a",)
    dispatcher.take(lease.id, (), {"a": "SIGSEGV"})
    assert dispatcher.assign() == []
    dispatcher.leave(other.id, "unplugged")
    ((again, lease),) = dispatcher.assign()
    assert again == one
    dispatcher.take(lease.id, lease.cells, {})
    ((again, other_lease),) = dispatcher.assign()
    assert again == one and {*lease.cells, *other_lease.cells} == {"a", "b"}


def test_a_part_that_failed_belongs_to_the_next_phone_also_when_the_first_one_leaves() -> None:
    dispatcher = Dispatcher({"pixel": [["a", "b"]]})
    ((_, lease),) = joined(dispatcher, "A1")
    dispatcher.take(lease.id, (), {"a": "SIGSEGV"})
    ((_, second),) = joined(dispatcher, "A2")
    assert second.cells == ("a",)
    dispatcher.leave("A1", "unplugged")
    ((_, third),) = joined(dispatcher, "A3")
    assert third.cells == ("b",)


def test_a_late_result_counts_unless_another_phone_was_faster() -> None:
    dispatcher = Dispatcher({"pixel": [["a", "b", "c"]]})
    ((_, lost),) = joined(dispatcher, "A1")
    dispatcher.leave("A1", "no answer for 30 s")
    ((_, second),) = joined(dispatcher, "A2")
    assert second.cells == lost.cells
    assert dispatcher.take(second.id, ["a"], {}) == ("a",)
    assert dispatcher.take(lost.id, ["a", "b"], {"c": "late, and not the cell's fault"}) == ("b",)
    assert dispatcher.take(second.id, ["b", "c"], {}) == ("c",)
    assert dispatcher.finished and not dispatcher.given_up
    assert dispatcher.take(second.id, ["b", "c"], {}) == ()


def test_a_late_result_also_saves_a_cell_that_was_given_up() -> None:
    dispatcher = Dispatcher({"pixel": [["a"]]}, strikes=1)
    ((_, lost),) = joined(dispatcher, "A1")
    dispatcher.leave("A1", "no answer for 30 s")
    ((_, second),) = joined(dispatcher, "A2")
    dispatcher.take(second.id, (), {"a": "SIGSEGV"})
    assert dispatcher.given_up and dispatcher.finished
    assert dispatcher.take(lost.id, ["a"], {}) == ("a",)
    assert not dispatcher.given_up and dispatcher.finished and dispatcher.progress == (1, 1)


@pytest.mark.parametrize("serials", [("A1",), ("A1", "A2", "A3")])
def test_a_cell_that_kills_every_phone_is_found_and_given_up(serials: tuple[str, ...]) -> None:
    """Nobody says which cell it was; the phone is just gone, and comes back."""
    dispatcher = Dispatcher({"pixel": [["a", "b", "poison", "d"]]})
    joined(dispatcher, *serials)
    for _ in range(40):
        dispatcher.assign()
        for lease_id, (phone, lease) in list(dispatcher.open_leases.items()):
            if "poison" in lease.cells:
                dispatcher.leave(phone.id, "it rebooted")
                dispatcher.join(phone)
            else:
                dispatcher.take(lease_id, lease.cells, {})
    assert dispatcher.finished and dispatcher.progress == (3, 4)
    assert "it rebooted" in dispatcher.given_up["pixel", "poison"]


def test_what_no_phone_is_left_for_waits() -> None:
    dispatcher = Dispatcher(WORK)
    joined(dispatcher, "A1", "B1")
    assert not stranded(dispatcher)
    dispatcher.leave("B1", "unplugged")
    assert stranded(dispatcher) == {("galaxy", f"g{n}/cpu") for n in range(3)}


def test_mistakes_are_named() -> None:
    with pytest.raises(BadInput, match="work of 'pixel' names a cell twice"):
        Dispatcher({"pixel": [["a"], ["a"]]})
    with pytest.raises(BadInput, match="at least 1 of each"):
        Dispatcher({}, cells_per_lease=0)
    dispatcher = Dispatcher({"pixel": [["a"]]})
    with pytest.raises(BadInput, match="There is no lease '1'"):
        dispatcher.take("1", (), {})
    ((_, lease),) = joined(dispatcher, "A1")
    with pytest.raises(BadInput, match="Lease 1 does not hold the cell 'b'"):
        dispatcher.take(lease.id, ["b"], {})
