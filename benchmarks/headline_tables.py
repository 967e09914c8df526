"""The tables of the headline benchmark beside its goals, for the terminal and for the documentation. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import chart
import headline_rows as lines

Facts = dict[str, Any]


@dataclass(frozen=True)
class Table:
    """A table with a title."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]


def tables(result: Facts) -> list[Table]:
    """All of them; of several seeds the pairs of each, and otherwise the middle."""
    runs = result["runs"]
    return [*(_pairs(runs, budget) for budget in (0.25, 0.175)), ways(runs), equal_compute(runs), _rivals(runs)]


def uncertainty(result: Facts) -> str:
    """A sentence on the error of the accuracies."""
    count = result["test_images"]
    middle = median(one["pretrain"]["branches"]["full"]["test"] for one in result["runs"])
    error = lines.error(middle, count)
    return (
        f"The standard error of the difference of two accuracies on {count:,} test images is {error:.1f} points, of "
        f"the mean of five such differences at least {error / 5**0.5:.1f}."
    )


def curves(result: Facts) -> str:
    """Accuracy of what ships against total training compute, as SVG; of several seeds the middle."""
    drawn: list[chart.Line] = []
    runs = result["runs"]
    of_seeds = [lines.contests(one) for one in runs]
    for (count, first), colour in zip(of_seeds[0].items(), chart.COLOURS, strict=False):
        them = [(one, seed[count]) for one, seed in zip(runs, of_seeds, strict=True)]
        mine = [
            (median(100 * c.ours[place][0] for _, c in them), median(100 * c.ours[place][1] for _, c in them))
            for place in range(len(first.ours))
        ]
        theirs = [
            (
                median(100 * (lines.pretrain_cost(one) + c.shipped.cost(length, lines.unit(one))) for one, c in them),
                median(100 * c.curve.at(length) for _, c in them),
            )
            for length, _ in first.curve.points
        ]
        drawn.append(chart.Line(f"{count} shipped, ours", mine, colour, joined=False))
        drawn.append(chart.Line(f"{count} shipped, shared teacher", theirs, colour))
    cost = "training compute, % of 30 branches alone"
    return chart.draw(drawn, cost, "mean accuracy of what ships, %")


def _pairs(runs: Sequence[Facts], budget: float) -> Table:
    cells = []
    for one in runs:
        variant = lines.within(one, budget)
        for pair in (*lines.pairs(one, variant), lines.thinnest(one, variant)):
            thin = pair["macs"] != one["hand_made"][pair["hand_made"]]["macs"]
            cells.append(
                (
                    str(one["seed"]), pair["hand_made"] + (", by non-zero MACs" if thin else ""), _mega(pair["macs"]),
                    f"{pair['accuracy']:.2%}", pair["branch"], _mega(pair["branch_macs"]),
                    f"{pair['branch_accuracy']:.2%}", f"{pair['points']:+.2f}",
                )
            )  # fmt: skip
    columns = ("seed", "made by hand, trained alone", "MMACs", "accuracy", "branch", "MMACs", "accuracy", "points")
    return Table(f"Pairs, cost at most {100 * budget:g} %", columns, cells)


def ways(runs: Sequence[Facts]) -> Table:
    """The ways to train what ships: what each costs, and what it reaches."""
    cells = []
    for number, first in enumerate(runs[0]["variants"]):
        them = [(one, one["variants"][number]) for one in runs]
        cells.append(
            (
                first["name"],
                _percent(median(lines.cost(one, variant) for one, variant in them)),
                f"{median(lines.seconds(one, variant) for one, variant in them):,.0f}",
                f"{median(mean(b['test'] for b in variant['branches'].values()) for _, variant in them):.2%}",
                f"{median(mean(p['points'] for p in lines.pairs(one, variant)) for one, variant in them):+.2f}",
            )
        )
    columns = ("what ships is trained by", "cost", "seconds", "mean accuracy of it", "five pairs")
    return Table("Ways to train what ships", columns, cells)


def equal_compute(runs: Sequence[Facts]) -> Table:
    """Ours and the rivals', after the same total compute."""
    cells = []
    of_seeds = [lines.compared(one) for one in runs]
    for count in of_seeds[0]:
        them = [seed[count] for seed in of_seeds]
        beyond = "" if all(one.measured for one in them) else " (beyond what was measured)"
        cells.append(
            (
                str(count),
                _percent(median(one.cost for one in them)),
                f"{median(one.ours for one in them):.2%}",
                f"{median(one.rival for one in them):.2%}",
                f"{median(one.length for one in them):.2f}{beyond}",
                f"{median(one.points for one in them):+.2f}",
            )
        )
    pays = [number for one in runs if (number := lines.pays_from(one)) is not None]
    told = f"a join pays from {median(pays):g} shipped branches on" if pays else "no join pays"
    columns = ("shipped", "total cost", "ours", "rivals", "epochs of a rival, share", "points")
    return Table(f"The same total compute, rivals with a shared teacher (estimate; {told})", columns, cells)


def _rivals(runs: Sequence[Facts]) -> Table:
    cells = []
    for name, told in (("five", "the five made by hand"), ("sample", "sample of our branches, from scratch")):
        for length in runs[0]["rivals"][name]["accuracy"]:
            reached = [mean(one["rivals"][name]["accuracy"][length].values()) for one in runs]
            cells.append((told, f"{float(length):.2f}", f"{median(reached):.2%}"))
    return Table("Rivals with a shared teacher", ("networks", "epochs, share", "mean accuracy"), cells)


def _mega(macs: float) -> str:
    return f"{macs / 1e6:.2f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
