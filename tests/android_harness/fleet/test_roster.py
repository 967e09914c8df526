"""Who is where in a fleet, whatever comes and goes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from android_harness.fleet.dispatch import Phone
from android_harness.fleet.inventory import Host, Inventory
from android_harness.fleet.roster import LOSSES, NEVER, Roster, Route

LAB = Inventory((Host("lab-a", ("x:1", "x:2")), Host("lab-b", ("x:1", "x:3"))))


def phone(route: Route, serial: str) -> Phone:
    return Phone(route.host.name, route.address, serial, "pixel")


@pytest.fixture()
def roster() -> Roster:
    return Roster(LAB, 5.0)


def test_at_first_everybody_is_asked_and_then_only_where_nobody_was(roster: Roster) -> None:
    first, second = roster.due("lab-a", 0.0)
    assert not roster.asked and first.reason == "no Dask worker named 'lab-a' is there; start one with --name lab-a"
    assert roster.met(first, phone(first, "A"), "Pixel A")
    roster.absent(second, "no answer", 1.0)
    assert roster.due("lab-a", 5.9) == [] and roster.due("lab-a", 6.0) == [second]
    assert roster.here == {"A": first} and not roster.hopeless


def test_a_phone_that_two_hosts_reach_is_one_phone(roster: Roster) -> None:
    (first, _), (second, _) = roster.routes.values()
    assert roster.met(first, phone(first, "A"), "Pixel A") and not roster.met(second, phone(second, "A"), "Pixel A")
    assert second not in roster.due("lab-b", 100.0)
    assert roster.leave(first, "it fell", 100.0) == phone(first, "A")
    assert second not in roster.due("lab-b", 104.9) and second in roster.due("lab-b", 105.0)
    assert roster.met(second, phone(second, "A"), "Pixel A") and not roster.met(first, phone(first, "A"), "Pixel A")
    assert roster.here == {"A": second}


def test_a_host_that_goes_takes_its_phones_along_and_they_are_asked_for_when_it_is_back(roster: Roster) -> None:
    (first, second), (third, fourth) = roster.routes.values()
    for route, serial in ((first, "A"), (second, "B"), (third, "A"), (fourth, "C")):
        roster.met(route, phone(route, serial), serial)
    assert [p.id for p in roster.went("lab-a", 10.0, "power cut")] == ["A", "B"]
    assert set(roster.here) == {"C"} and first.reason == "power cut"
    assert roster.due("lab-a", 10.0) == [first, second] and roster.due("lab-b", 15.0) == [third]


def test_who_loses_leases_again_and_again_is_barred(roster: Roster) -> None:
    first = roster.routes["lab-a"][0]
    for number in range(LOSSES):
        assert roster.met(first, phone(first, "A"), "Pixel A")
        roster.leave(first, "gone", 0.0, roster.lost(first))
        assert first.barred == (number == LOSSES - 1)
    assert first not in roster.due("lab-a", 1e9)


def test_an_address_that_another_phone_has_got_is_no_way_to_the_first(roster: Roster) -> None:
    first, second = roster.routes["lab-a"][0], roster.routes["lab-b"][0]
    assert roster.met(second, phone(second, "A"), "Pixel A")
    roster.leave(second, "gone", 0.0)
    assert roster.met(first, phone(first, "A"), "Pixel A") and roster.met(second, phone(second, "B"), "Pixel B")
    roster.leave(first, "gone", 1.0)
    assert second.due is None and roster.here["B"] is second


def test_a_host_that_cannot_ask_has_said_nothing_of_its_phones(roster: Roster) -> None:
    roster.unfit("lab-a", "its disk is full")
    assert all(r.reason == "its disk is full" and r.due == NEVER for r in roster.routes["lab-a"])
    for route in roster:
        roster.absent(route, "no answer", 0.0, asked=False)
    assert not roster.asked and roster.due("lab-a", 4.9) == [] and len(roster.due("lab-a", 5.0)) == 2
    for route in roster:
        roster.absent(route, "no answer", 5.0)
        roster.absent(route, "no answer", 9.0, asked=False)
    assert roster.asked and not roster.hopeless


ACTS = st.tuples(st.sampled_from(["met", "absent", "leave", "lost", "went"]), st.integers(0, 3), st.sampled_from("AB"))


@given(st.lists(ACTS, max_size=40))
def test_a_phone_is_used_by_one_route_and_can_come_back(acts: list[tuple[str, int, str]]) -> None:
    roster = Roster(LAB, 1.0)
    routes = list(roster)
    for now, (act, number, serial) in enumerate(acts):
        route = routes[number]
        used = route.phone is not None and roster.here.get(route.phone.id) is route
        due = route in roster.due(route.host.name, now)
        if act == "met" and due:
            assert roster.met(route, phone(route, serial), serial) == (roster.here.get(serial) is route)
        elif act == "absent" and due:
            roster.absent(route, "no answer", now)
        elif act in ("leave", "lost") and used:
            roster.leave(route, "gone", now, act == "lost" and roster.lost(route))
        elif act == "went":
            roster.went(route.host.name, now, "power cut")
        for name, here in roster.here.items():
            assert here.phone is not None and here.phone.id == name and not here.barred and here.due is None
        for other in routes:  # nobody is forgotten: used, spare of one that is used, asked again, or barred
            spare = other.phone is not None and other.phone.id in roster.here
            assert spare or other.barred or other in roster.due(other.host.name, now + 2.0)
