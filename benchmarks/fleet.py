"""How long 10,000 phones take: what a lease costs is measured here, the fleet is simulated around the real dispatcher.

Measured: the harness on emulated phones, how it notices a death, the output file, a Dask scheduler, the dispatcher's
own CPU time. Assumed, as nobody here has 10,000 phones: see ``Assumptions`` in ``fleet_assumed.py``. Prints tables and
writes ``benchmarks/results/fleet.json`` with the raw samples.

    python benchmarks/fleet.py build/demo/bundle
    python benchmarks/fleet.py --measured benchmarks/results/fleet.json --phones 1000     # simulate only
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import console
import evidence
import fleet_costs
from fleet_assumed import Assumptions, Costs, Outcome, Plan, fixed
from fleet_world import World

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle
from adascale_runtime.seams.records import quantile
from android_harness.fleet.dispatch import Dispatcher, Phone, guided

#: What its figures are of; a change of it makes them stale.
MEASURES = ("android_harness", "benchmarks/fleet_assumed.py", "benchmarks/fleet_costs.py", "benchmarks/fleet_world.py")
RESULTS = Path(__file__).parent / "results" / "fleet.json"
#: The first is the table's; the others tell how much is chance.
SEEDS = (1, 2, 3, 4, 5)


def scenarios(phones: int) -> list[tuple[Plan, Assumptions]]:
    """What is varied: who shares, how phones die, how large leases are and whether they shrink."""
    assumed = Assumptions(phones=phones, models=max(1, min(300, phones // 4)), hosts=max(1, phones // 25))
    chosen = []
    for share in ("none", "model"):
        for deaths in (0.0, 0.01, 0.05):
            dying = replace(assumed, deaths=deaths, host_deaths=assumed.host_deaths if deaths else 0.0)
            chosen.append((Plan(f"{share}, deaths {deaths:.0%}/h", share), dying))
    chosen += [(Plan(f"none, leases of {most}", "none", most), assumed) for most in (1, 12, 24)]
    for most in (4, 24):
        chosen += [
            (Plan(f"model, {name} {most}", "model", most, size), assumed)
            for name, size in (("at most", guided), ("always", fixed))
        ]
    chosen.append((Plan("none, without energy", "none", energy=False), assumed))
    chosen.append((Plan("none, phones twice as slow", "none"), replace(assumed, slower=2 * assumed.slower)))
    return chosen


def dispatching(phones: int, leases: int) -> float:
    """CPU seconds of the dispatcher for 1,000 leases, in a fleet of one model where every tenth lease is lost."""
    dispatcher = Dispatcher({"model": [[str(n) for n in range(4 * (phones + leases))]]})
    fleet = [Phone("host", str(n), str(n), "model") for n in range(phones)]
    for phone in fleet:
        dispatcher.join(phone)
    queue = dispatcher.assign()
    begun = time.process_time()
    for number in range(leases):
        phone, lease = queue[number]
        if number % 10:
            dispatcher.take(lease.id, lease.cells, {})
        else:
            dispatcher.leave(phone.id, "gone")
            dispatcher.join(phone)
        queue += dispatcher.assign()
    return 1000 * (time.process_time() - begun) / leases


def simulate(costs: Costs, phones: int) -> list[Outcome]:
    """All scenarios, one after the other."""
    return [World(plan, assumed, costs, SEEDS[0]).run() for plan, assumed in scenarios(phones)]


def spread(costs: Costs, phones: int) -> dict[str, list[list[float]]]:
    """Seconds until 99 % and until all are done, for each seed; where that is soon simulated."""
    chosen = [(p, a) for p, a in scenarios(phones) if p.share == "model" or p.name == "none, deaths 1%/h"]
    runs = {p.name: [World(p, assumed, costs, seed).run() for seed in SEEDS] for p, assumed in chosen}
    return {name: [[o.most_s, o.makespan_s] for o in outcomes] for name, outcomes in runs.items()}


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show(outcomes: Sequence[Outcome], phones: int) -> None:
    """The simulation's table."""
    rows = [
        (o.name, _time(o.makespan_s), _time(o.most_s), f"{o.busy_h:,.0f}", f"{o.utilisation:.0%}", f"{o.leases:,}",
         f"{o.peak_leases_per_s:.0f}", f"{o.coordinator_s / o.makespan_s:.0%}", f"{o.deaths:,}", f"{o.lost:,}",
         f"{o.given_up:,}", f"{1e3 * o.dispatcher_s_per_1000:.0f}")
        for o in outcomes
    ]  # fmt: skip
    names = (
        "share", "all done", "99 % done", "phone h", "in use", "leases", "peak/s", "coord", "deaths", "again",
        "given up", "CPU ms/1000",
    )  # fmt: skip
    console.table(f"Simulated: {phones:,} phones, {outcomes[0].cells // phones} cells each", names, rows)


def show_measured(measured: dict[str, Any]) -> None:
    """The measurements' table: medians and the 90th percentile, in seconds unless it says otherwise."""
    leased, stored = measured["leases"], measured["storage"]
    cells = [seconds for repeats in leased["cells"].values() for seconds in repeats]
    samples = {
        "a cell's tasks": cells, "energy of a cell": leased["energy"], "beside the tasks, bare phone": leased["first"],
        "beside the tasks, files there": leased["next"], **{f"  {k}": v for k, v in leased["steps"].items()},
        "phone cut off until given up, beyond patience": measured["deaths"]["cut"],
        "silent phone until given up, beyond patience and silence": measured["deaths"]["silent"],
        "a Dask task there and back": measured["dask"]["round_trip_s"],
        **{f"a lease added to {a['lines']:,} lines": a["seconds"] for a in stored["appends"]},
    }  # fmt: skip
    rows = [(n, len(v), f"{quantile(v, 0.5):.3f}", f"{quantile(v, 0.9):.3f}") for n, v in samples.items()]
    console.table("Measured, s", ("what", "samples", "p50", "p90"), rows)
    dask, lines = measured["dask"], stored["line_bytes"]
    cpu = sum(leased["host_cpu_s"]) / sum(leased["seconds"])
    print(f"Dask: {dask['nothing_per_s']:.0f} empty tasks a second, {dask['answers_per_s']:.0f} with answers.")
    print(f"A phone in use takes {cpu:.1%} of a host's core. A bare phone gets {leased['pushed_bytes']} bytes.")
    print(f"A measurement is {sum(lines) / len(lines):.0f} bytes, {stored['gzip_bytes_per_line']:.0f} gzipped.")
    for phones, seconds in measured["dispatcher_s_per_1000"].items():
        print(f"The dispatcher takes {1e3 * seconds:.1f} ms of CPU for 1,000 leases on {int(phones):,} phones.")


def main() -> int:
    """Measure, simulate, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, nargs="?", default=Path("build/demo/bundle"))
    parser.add_argument("--phones", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5, help="how often each cell is measured")
    parser.add_argument("--tasks", type=int, default=2000, help="for Dask")
    parser.add_argument("--measured", type=Path, help="results to simulate with, instead of measuring")
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    fleets, leases = (100, 1000, 10_000, 100_000), 20_000
    if options.smoke:
        options.phones, options.repeats, options.tasks = min(200, options.phones), 1, 50
        fleets, leases = fleets[:2], 1000
    try:
        if options.measured is not None:
            known = codec.read_json(options.measured)
            measured, beside = known["measured"], {"evidence": known["evidence"]}
        else:
            opened, beside = bundle.load(options.bundle), {}
            with tempfile.TemporaryDirectory() as name:
                measured = fleet_costs.measure(opened, Path(name), options.repeats, options.tasks)
            measured["load_average"] = os.getloadavg()
            measured["dispatcher_s_per_1000"] = {n: dispatching(n, leases) for n in fleets}
    except AdaScaleError as error:
        print(f"fleet: {error}", file=sys.stderr)
        return error.exit_code
    if options.measured is not None and options.out is None:
        options.results = None  # nothing new was measured
    facts = {
        **beside, "measured": measured, "assumed": asdict(scenarios(options.phones)[1][1]), "phones": options.phones,
        "seeds": SEEDS,
    }  # fmt: skip
    evidence.write(options, __file__, facts)  # what was measured is kept, whatever comes of the simulation
    costs = fleet_costs.costs(measured)
    outcomes, chance = simulate(costs, options.phones), spread(costs, options.phones)
    evidence.write(options, __file__, {**facts, "simulated": [asdict(o) for o in outcomes], "spread": chance})
    show_measured(measured)
    show(outcomes, options.phones)
    rows = [
        (n, *(f"{quantile([run[i] for run in v], q) / 60:.1f}" for i in (0, 1) for q in (0, 0.5, 1)))
        for n, v in chance.items()
    ]
    names = ("share", "99 % done: least", "median", "most", "all done: least", "median", "most")
    console.table(f"The same with {len(SEEDS)} seeds, minutes", names, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
