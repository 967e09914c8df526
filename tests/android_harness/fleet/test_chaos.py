"""The coordinator in a world where phones and hosts come and go as they like: nothing is lost, nothing is done twice.

The world is a cluster of no processes: hosts, phones and their clock are simulated, so disasters take no time.
What the coordinator itself does is real, its output and its restarts included.
"""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adascale_runtime.files import codec
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch
from android_harness.fleet import lease as work
from android_harness.fleet import parcels, roster
from android_harness.fleet.coordinator import Coordinator, FleetJob, Result
from android_harness.fleet.hosts import Answer, Came, Event, Went
from android_harness.fleet.inventory import Host, Inventory
from android_harness.fleet.ledger import kind_of
from android_harness.runner import Options
from profiling import cells as table
from tests.android_harness.fleet.test_ledger import measured

OPTIONS, AWAY_S = Options(runs=4), 30.0
#: Serial -> model, and the address of each at its hosts; P2 is reached from both.
PHONES = {"P1": "Pixel", "P2": "Pixel", "P3": "Pixel", "X1": "Xiaomi"}
HOSTS = {"lab-a": ["P1", "P2"], "lab-b": ["P2", "P3", "X1"]}


def facts(serial: str) -> dict[str, Any]:
    return {
        "name": f"{PHONES[serial]} {serial}",
        "serial": serial,
        "model": PHONES[serial],
        "android": "14",
        "abi": "arm",
    }


@dataclass
class World:
    """A cluster whose time passes when it is waited for. ``until``: when the disasters end and all is well again;
    ``calm``: there are none, and ``phones`` are those there are; ``losing``: functions whose next answer is lost."""

    built: Bundle
    chance: random.Random
    until: float = 300.0
    calm: bool = False
    losing: list[Any] = field(default_factory=list)
    now: float = 0.0
    here: set[str] = field(default_factory=set)
    phones: set[str] = field(default_factory=lambda: set(PHONES))
    lost: set[str] = field(default_factory=set)
    kept: set[tuple[str, str]] = field(default_factory=set)
    #: ticket -> its host, when it is done, what it gives, and the phone that it uses
    tasks: dict[str, tuple[str, float, Callable[[], Any], str | None]] = field(default_factory=dict)
    #: Since when a phone and one of its hosts are there without a break.
    since: dict[tuple[str, str], float] = field(default_factory=dict)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def connect(self) -> None:
        """A new coordinator: what an earlier one asked for is dropped, and it has yet to see the hosts come."""
        self.tasks.clear()
        self.here.clear()
        self.since.clear()

    def submit(self, host: str, function: Any, *words: Any, data: bytes | None = None) -> str:
        assert host in self.here, "only hosts that are there are asked"
        ticket, phone, seconds = f"t{next(self.numbers)}", None, 0.1
        if function is parcels.missing:
            act = lambda: [digest for digest in words[0] if (host, digest) not in self.kept]  # noqa: E731
        elif function is parcels.keep:
            assert data is not None
            act, seconds = lambda: self.kept.add((host, words[0])), 2.0
        elif function is work.survey:
            act, seconds = lambda: [self._found(address) for address in words[0]], 1.0
        elif function in (work.tidy, work.forget):
            act = lambda: None  # noqa: E731
        else:
            order = words[1]
            assert words[0] is work.measure and all((host, digest) in self.kept for digest in [order.bundle])
            phone = order.address.split(":")[0]
            assert phone not in [used for *_, used in self.tasks.values()], "one lease at a time uses a phone"
            assert order.phone == facts(phone)["name"] and phone in HOSTS[host]
            act, seconds = lambda: self._measured(order, phone), self.chance.uniform(5, 40)
        if function in self.losing:
            self.losing.remove(function)
            act = lambda: None  # noqa: E731
            self.lost.add(ticket)
        self.tasks[ticket] = (host, self.now + seconds, act, phone)
        return ticket

    def _found(self, address: str) -> dict[str, Any]:
        serial = address.split(":")[0]
        if serial in self.phones:
            return {"address": address, "state": "ready", "detail": "", "facts": facts(serial)}
        return {"address": address, "state": "absent", "detail": "No phone answers.", "facts": {}}

    def _measured(self, order: work.Order, serial: str) -> dict[str, Any]:
        said: dict[str, Any] = {"measurements": [], "failed": {}, "gone": None, "refused": None}
        if serial not in self.phones:
            return {**said, "gone": "No phone answers."}
        measuring = [self.built.manifest.branch(branch) for branch in order.branches]
        cells = [table.Cell(branch, order.delegate, order.threads) for branch in measuring]
        return {**said, "measurements": [codec.to_json(measured(self.built, cell, facts(serial))) for cell in cells]}

    def wait(self, timeout_s: float) -> list[Event]:
        self.now += self.chance.uniform(0.01, 3 * timeout_s)
        found = [*self._disasters()]
        for ticket, (_, due, act, _) in list(self.tasks.items()):
            if due <= self.now:
                del self.tasks[ticket]
                lost = ticket in self.lost or (not self.calm and self.now < self.until and self.chance.random() < 0.03)
                found.append(Answer(ticket, error="did not deliver") if lost else Answer(ticket, act()))
        return found

    def _disasters(self) -> list[Event]:
        found: list[Event] = []
        if self.calm:
            found += [Came(host) for host in HOSTS if host not in self.here]
            self.here |= set(HOSTS)
            return found
        for host in HOSTS:
            if host not in self.here and (self.now > self.until or self.chance.random() < 0.1):
                self.here.add(host)
                found.append(Came(host))
            elif host in self.here and self.now < self.until and self.chance.random() < 0.01:
                self.here.discard(host)
                lost = tuple(ticket for ticket, (at, *_) in self.tasks.items() if at == host)
                for ticket in lost:
                    del self.tasks[ticket]
                found.append(Went(host, lost))
        for serial in PHONES:
            if self.now > self.until or self.chance.random() < 0.05:
                self.phones.add(serial)
            elif self.chance.random() < 0.02:
                self.phones.discard(serial)
        for host, serials in HOSTS.items():
            for serial in serials:
                if host in self.here and serial in self.phones:
                    self.since.setdefault((host, serial), self.now)
                else:
                    self.since.pop((host, serial), None)
        return found

    def idle(self, kind: str, share: str) -> list[str]:
        """Phones of a kind that could have done something for as long as patience lasts, and more."""
        long_ago = self.now - AWAY_S - 15
        return [p for (_, p), t in self.since.items() if t < long_ago and kind_of(facts(p), share) == kind]


def branches(built: Bundle) -> tuple[Branch, ...]:
    """Those that are measured."""
    return built.manifest.branches[:5]


class Killed(Exception):
    """The coordinator dies."""


def fleet(world: World, out: Path, share: str, most: int, lives: float = float("inf")) -> Result:
    """Run a coordinator in a world, for so many seconds at most."""
    hosts = tuple(Host(name, tuple(f"{serial}:5555" for serial in serials)) for name, serials in HOSTS.items())
    inventory = Inventory(hosts, share=share, cells_per_lease=most)
    job = FleetJob(world.built, ["cpu", "builtin"], [1], [b.id for b in branches(world.built)], OPTIONS, out, AWAY_S)

    def tick(*_: Any) -> None:
        if world.now > lives:
            raise Killed

    world.connect()
    return Coordinator(world, inventory, job, tick, lambda: world.now).run()  # type: ignore[arg-type]


# Here the first of the two coordinators ends by itself before it would be killed.
@example(seed=4460, share="none", most=3, kills=2)
@given(
    seed=st.integers(0, 2**32), share=st.sampled_from(["model", "none"]), most=st.integers(1, 4),
    kills=st.integers(0, 2),
)  # fmt: skip
def test_whatever_dies_every_cell_is_measured_and_written_once(
    built: Bundle, tmp_path_factory: pytest.TempPathFactory, seed: int, share: str, most: int, kills: int
) -> None:
    out = tmp_path_factory.mktemp("chaos") / "m.jsonl"
    world = World(built, random.Random(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(roster, "LOSSES", 10**6)  # whom the world treats badly is not to blame
        live(world, out, share, most, kills)
    lines = Counter((kind_of(m["device"], share), m["branch"], m["delegate"]) for m in codec.read_lines(out))
    kinds = {kind_of(facts(serial), share) for serial in PHONES}
    met = kinds if share == "none" else {kind for kind, *_ in lines}
    assert lines == Counter({(k, b.id, d): 1 for k in met for b in branches(built) for d in ("cpu", "builtin")})
    assert [p.name for p in out.parent.iterdir()] == [out.name]


def live(world: World, out: Path, share: str, most: int, kills: int) -> None:
    """Coordinators that are killed, and then one that is given again until nothing is missing."""
    for _ in range(kills):
        with contextlib.suppress(Killed):
            fleet(world, out, share, most, world.now + world.chance.uniform(1, 200))
    result = fleet(world, out, share, most)
    while result.missing:  # everybody was away for longer than patience lasts; the same command continues
        assert world.now < 3 * world.until
        for line in result.missing:
            assert not world.idle(line.split(":")[0], share), line
        text = out.read_text() if out.exists() else ""
        result = fleet(world, out, share, most)
        assert not out.exists() or out.read_text().startswith(text)


@pytest.mark.parametrize("function", [parcels.missing, parcels.keep, work.survey])
def test_a_host_whose_answer_is_lost_is_asked_again(built: Bundle, tmp_path: Path, function: Any) -> None:
    world = World(built, random.Random(1), calm=True, losing=[function] * 2)
    result = fleet(world, tmp_path / "m.jsonl", "none", 2)
    assert result.missing == result.notes == [] and world.losing == []
    assert len(result.measurements) == len(PHONES) * 2 * len(branches(built))


def test_a_kind_that_was_met_is_missing_when_its_phones_have_gone(built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "m.jsonl"
    world = World(built, random.Random(2), calm=True)
    with pytest.raises(Killed):
        fleet(world, out, "model", 2, 40.0)
    before = [m["device"]["name"] for m in codec.read_lines(out)].count("Xiaomi X1")
    total = 2 * len(branches(built))
    assert 0 < before < total
    world.phones.discard("X1")
    result = fleet(world, out, "model", 2)
    assert result.missing == [
        f"Xiaomi, Android 14, arm: {total - before} of {total} cells wait for a phone (none has answered this time)."
    ]
    assert result.notes == ["X1:5555 at lab-b: No phone answers."]
    world.phones.add("X1")
    assert fleet(world, out, "model", 2).missing == []
    assert len(list(codec.read_lines(out))) == 2 * total
