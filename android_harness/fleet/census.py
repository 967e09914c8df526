"""The census of a fleet: which phones answer, host by host."""

from __future__ import annotations

from typing import Any

from adascale_runtime.files import codec
from android_harness.discovery import Found
from android_harness.fleet.hosts import Answer, Came, Hosts, Went
from android_harness.fleet.inventory import Host, Inventory
from android_harness.fleet.lease import survey
from android_harness.fleet.roster import absence

#: Seconds of the first look, which sees all hosts that are there, and between others.
LOOK_S = 0.5


def look(cluster: Hosts, inventory: Inventory) -> list[dict[str, Any]]:
    """Who answers in a fleet: :class:`android_harness.discovery.Found` as JSON with its ``host``, in order."""
    surveyed: dict[str, list[dict[str, Any]]] = {}
    asked: dict[str, str] = {}
    known = {host.name: host for host in inventory.hosts}
    events = cluster.wait(LOOK_S)  # the first look sees all hosts that are there
    while True:
        for event in events:
            if isinstance(event, Came) and event.host in known:
                host = known[event.host]
                asked[cluster.submit(host.name, survey, host.phones, host.key)] = host.name
            elif isinstance(event, Answer) and event.ticket in asked:
                name = asked.pop(event.ticket)
                surveyed[name] = event.value or _absent(known[name], str(event.error))
            elif isinstance(event, Went):
                asked = {ticket: host for ticket, host in asked.items() if host != event.host}
        if not asked:
            break
        events = cluster.wait(LOOK_S)
    told = {host.name: surveyed.get(host.name) or _absent(host, f"{absence(host.name)}.") for host in inventory.hosts}
    return [{"host": name, **one} for name, ones in told.items() for one in ones]


def _absent(host: Host, reason: str) -> list[dict[str, Any]]:
    return [codec.to_json(Found(address, "absent", reason)) for address in host.phones]
