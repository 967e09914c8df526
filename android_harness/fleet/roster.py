"""The roster of a fleet: addresses, the phone met at each, who is present, and whom to ask again when. Pure.

Times are seconds of one clock that never falls; whoever calls tells the time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from android_harness.fleet.dispatch import Phone
from android_harness.fleet.inventory import Host, Inventory

#: When a route is due that was never tried.
NEVER = float("-inf")
#: A phone that lost so many leases, and finished none between them, is not asked again.
LOSSES = 3


@dataclass
class Route:
    """A way to a phone. ``reason``: why nobody is here. ``due``: when to ask who is there, None while that is known.
    ``asked``: somebody said who is there, or that nobody is. ``barred``: it is not asked again. ``refused``: groups of
    cells that the phone refused since it measured any. ``leased``: it had work."""

    host: Host
    address: str
    reason: str
    due: float | None = NEVER
    asked: bool = False
    barred: bool = False
    phone: Phone | None = None
    device: str = ""
    losses: int = 0
    refused: set[tuple[str, int]] = field(default_factory=set)
    leased: bool = False


def absence(host: str) -> str:
    """Why nothing is known of the phones of a host that was never there."""
    return f"no Dask worker named '{host}' is there; start one with --name {host}"


class Roster:
    """All routes of a fleet. ``probe_s``: seconds until an address where nobody answered is asked again."""

    def __init__(self, inventory: Inventory, probe_s: float) -> None:
        self.probe_s = probe_s
        self.routes = {h.name: [Route(h, address, absence(h.name)) for address in h.phones] for h in inventory.hosts}
        #: The routes by which phones are used, by the phones' ids.
        self.here: dict[str, Route] = {}
        self._spare: dict[str, list[Route]] = {}  # all ways to a phone that were met, by its id

    def __iter__(self) -> Iterator[Route]:
        return (route for routes in self.routes.values() for route in routes)

    def due(self, host: str, now: float) -> list[Route]:
        """The routes of a host that are to be asked now."""
        return [r for r in self.routes[host] if not r.barred and r.due is not None and r.due <= now]

    def absent(self, route: Route, reason: str, now: float, asked: bool = True) -> None:
        """Nobody answered there, or the host could not ask."""
        route.asked, route.reason, route.due = asked or route.asked, reason, now + self.probe_s

    def met(self, route: Route, phone: Phone, device: str) -> bool:
        """A phone answered; whether it joins, that is, is not here already by another route, which stays its way."""
        known = self._spare.setdefault(phone.id, [])
        if route.phone is not None and route.phone.id != phone.id:  # another phone has got the address
            self._spare[route.phone.id].remove(route)
        if route not in known:
            known.append(route)
        route.asked, route.phone, route.device, route.due = True, phone, device, None
        if phone.id in self.here:
            return False
        self.here[phone.id] = route
        return True

    def leave(self, route: Route, reason: str, now: float, bar: bool = False) -> Phone:
        """A phone that is here can be used no more. Its other routes are asked too, after a while: a host that went may
        not yet have let go of it."""
        phone = route.phone
        assert phone is not None and self.here[phone.id] is route
        del self.here[phone.id]
        route.reason, route.barred = reason, bar
        for other in self._spare[phone.id]:
            other.due = now + self.probe_s
        return phone

    def lost(self, route: Route) -> bool:
        """A lease was lost on a route; whether that happens too often."""
        route.losses += 1
        return route.losses >= LOSSES

    def went(self, host: str, now: float, reason: str) -> list[Phone]:
        """A host is gone, and with it the phones that were used there; they are asked for when it is back."""
        used = [r for r in self.routes[host] if r.phone is not None and self.here.get(r.phone.id) is r]
        gone = [self.leave(route, reason, now, route.losses >= LOSSES) for route in used]
        for route in self.routes[host]:
            route.reason, route.due = reason, now
        return gone

    def unfit(self, host: str, reason: str) -> None:
        """A host cannot do its part, so its phones are of no use."""
        for route in self.routes[host]:
            route.reason = reason

    @property
    def asked(self) -> bool:
        """Every address was asked at least once."""
        return all(route.asked for route in self)

    @property
    def hopeless(self) -> bool:
        """Nobody can join any more."""
        return all(r.barred or (r.phone is not None and r.phone.id in self.here) for r in self)
