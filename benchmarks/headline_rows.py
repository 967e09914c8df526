"""The lines of the headline benchmark, from the facts of its seeds. Pure.

Facts hold accuracies in [0, 1]. A share of the *unit* is a share of the multiply-accumulates of training each of the
thirty branches alone for all epochs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean
from typing import Any

from compute import STEP, Comparison, Curve, Shipped, break_even, compare, line
from goals import Row, repeated

Facts = dict[str, Any]
FULL_ALONE, PRUNED = "full, alone", "TF-MOT pruning"
#: What a branch may lose against the full one to count as its equal, in points.
WITHIN = 4.0


def unit(one: Facts) -> int:
    """Forward MACs of the thirty branches."""
    return sum(one["alone"]["macs"].values())


def cost(one: Facts, variant: Facts) -> float:
    """The share of the unit that a variant took from the first step on."""
    return (pretrain_cost(one) + join_cost(one) * variant["join"]) + _share(one, variant["effort"]["specialise"])


def pretrain_cost(one: Facts) -> float:
    """The share of the unit that training the full network took."""
    return _share(one, one["pretrain"]["effort"]["pretrain"])


def join_cost(one: Facts) -> float:
    """The share of the unit that training the compressed trunks together took."""
    return _share(one, one["join"]["effort"]["join"])


def _share(one: Facts, effort: Facts) -> float:
    return float(effort["macs"] / (STEP * unit(one) * one["images"]))


def seconds(one: Facts, variant: Facts) -> float:
    """Wall time of a variant from the first step on."""
    joined = one["join"]["effort"]["join"]["seconds"] * variant["join"]
    return float(one["pretrain"]["effort"]["pretrain"]["seconds"] + joined + variant["effort"]["specialise"]["seconds"])


def alone_seconds(one: Facts, recipes: Iterable[str]) -> float:
    """Wall time of training each branch alone; of one that was not timed on the line through the timed ones."""
    macs, timed = one["alone"]["macs"], one["alone"]["seconds"]
    points = [(macs[recipe], known) for recipe, known in timed.items()]
    return sum(timed[recipe] if recipe in timed else line(points, macs[recipe]) for recipe in recipes)


def branches(one: Facts, variant: Facts) -> dict[str, Facts]:
    """The measures of every branch that a variant leaves: its own, the joined ones, and those of the full network."""
    known = dict(one["join"]["branches"]) if variant["join"] else {}
    return {**known, **one["pretrain"]["branches"], **variant["branches"]}


def pairs(one: Facts, variant: Facts) -> list[Facts]:
    """For each hand-made network our branch of at most its MACs that is best on the validation split."""
    return [_pair(one, variant, name, "macs") for name in one["hand_made"] if name != FULL_ALONE]


def thinnest(one: Facts, variant: Facts) -> Facts:
    """The pruned network against our best branch of at most the MACs of its weights that are not zero."""
    return _pair(one, variant, PRUNED, "effective_macs")


def _pair(one: Facts, variant: Facts, name: str, by: str) -> Facts:
    known, theirs = branches(one, variant), one["hand_made"][name]
    fitting = [recipe for recipe in known if known[recipe]["macs"] <= theirs[by]]
    fitting = fitting or [min(known, key=lambda recipe: known[recipe]["macs"])]
    best = max(fitting, key=lambda recipe: known[recipe]["validation"])
    return {
        "hand_made": name, "macs": theirs[by], "accuracy": theirs["accuracy"], "branch": best,
        "branch_macs": known[best]["macs"], "branch_accuracy": known[best]["test"],
        "validation": known[best]["validation"], "points": 100 * (known[best]["test"] - theirs["accuracy"]),
    }  # fmt: skip


def within(one: Facts, budget: float) -> Facts:
    """The variant whose branches for the five sizes are best on the validation split, at most at a share of the unit.

    If all of them are dearer, the cheapest one.
    """
    affordable = [variant for variant in one["variants"] if cost(one, variant) <= budget]
    if not affordable:
        return min(one["variants"], key=lambda variant: cost(one, variant))
    return max(affordable, key=lambda variant: mean(pair["validation"] for pair in pairs(one, variant)))


def thirty(one: Facts) -> Facts:
    """The first variant in which all thirty branches ship."""
    return next(variant for variant in one["variants"] if _ships_thirty(one, variant))


def _ships_thirty(one: Facts, variant: Facts) -> bool:
    return set(one["alone"]["macs"]) <= set(variant["recipes"])


@dataclass(frozen=True)
class Contest:
    """So many branches ship, ours or the rivals'."""

    #: The rivals that are trained one by one.
    shipped: Shipped
    #: Their mean accuracy by length.
    curve: Curve
    #: Total cost and mean accuracy of every way to train ours.
    ours: tuple[tuple[float, float], ...]
    #: Which of them is compared.
    chosen: int


def contests(one: Facts) -> dict[int, Contest]:
    """Ours and the rivals with a shared teacher for five, ten and thirty shipped branches."""
    teacher, variants = one["pretrain"]["branches"]["full"]["macs"], one["variants"]
    five, made, sample = one["rivals"]["five"], one["alone"]["macs"], one["rivals"]["sample"]["accuracy"]
    many = [variant for variant in variants if _ships_thirty(one, variant)]
    reached = [mean(pair["branch_accuracy"] for pair in pairs(one, variant)) for variant in variants]
    all_of = {
        5: Contest(
            Shipped(tuple(five["macs"].values()), teacher),
            Curve.of({float(length): mean(them.values()) for length, them in five["accuracy"].items()}),
            tuple((cost(one, variant), value) for variant, value in zip(variants, reached, strict=True)),
            variants.index(within(one, 0.25)),
        )
    }
    for count, early in ((10, False), (30, True)):
        macs = [m for recipe, m in made.items() if recipe != "full" and (early or _ends_last(one, recipe))]
        all_of[count] = Contest(
            Shipped(tuple(macs), teacher),
            Curve.of({float(length): mixed(one, them, early) for length, them in sample.items()}),
            tuple((cost(one, variant), mixed(one, _sampled(one, variant), early)) for variant in many),
            0,
        )
    return all_of


def compared(one: Facts) -> dict[int, Comparison]:
    """Ours against rivals with a shared teacher at the same total compute, for five, ten and thirty branches."""
    teacher_cost = pretrain_cost(one)
    return {
        count: compare(
            contest.shipped, contest.curve, ours=contest.ours[contest.chosen][1], cost=contest.ours[contest.chosen][0],
            teacher_cost=teacher_cost, unit=unit(one),
        )
        for count, contest in contests(one).items()
    }  # fmt: skip


def _sampled(one: Facts, variant: Facts) -> dict[str, float]:
    """The accuracy of our branches of which rivals were trained."""
    known = branches(one, variant)
    return {recipe: known[recipe]["test"] for recipe in one["rivals"]["sample"]["macs"]}


def mixed(one: Facts, accuracies: Mapping[str, float], early: bool) -> float:
    """The mean accuracy of what ships, from a sample of the last exits and one of the early ones.

    The full network ships too, and is the same on both sides.

    Args:
        one: the facts of a seed.
        accuracies: of the branches of the sample.
        early: whether early exits ship too.
    """
    shipped = [recipe for recipe in one["alone"]["macs"] if recipe != "full"]
    total, count = float(one["pretrain"]["branches"]["full"]["test"]), 1
    for last in (True, False) if early else (True,):
        of_kind = [value for recipe, value in accuracies.items() if _ends_last(one, recipe) is last]
        many = sum(_ends_last(one, recipe) is last for recipe in shipped)
        total, count = total + many * mean(of_kind), count + many
    return total / count


def _ends_last(one: Facts, recipe: str) -> bool:
    return recipe in one["alone"]["last"]


def pays_from(one: Facts) -> int | None:
    """The least number of shipped branches from which on ours with a join is better at the same total compute."""
    many, full = thirty(one), one["pretrain"]["branches"]["full"]["macs"]
    last = [recipe for recipe in one["alone"]["last"] if recipe != "full"]
    sample = one["rivals"]["sample"]["accuracy"]
    sampled = [recipe for recipe in one["rivals"]["sample"]["macs"] if recipe in last]
    ours = mean(many["branches"][recipe]["test"] for recipe in sampled)
    rival = Curve.of({float(length): mean(them[recipe] for recipe in sampled) for length, them in sample.items()})
    macs = Shipped((round(mean(one["alone"]["macs"][recipe] for recipe in last)),), 0)
    return break_even(
        macs.cost(1.0, unit(one)), Shipped((), full).cost(1.0, unit(one)), join_cost(one),
        length=many["length"], ours=ours, rival=rival,
    )  # fmt: skip


def rows(runs: Sequence[Facts]) -> list[Row]:
    """The lines of the table, from the facts of every seed."""
    five, equal = "five pairs, cost at most", "shipped, rivals share a teacher, same total compute (estimate)"
    near = "fastest branch within 4 points of full"
    values: list[tuple[str, str, Callable[[Facts], float]]] = [
        (f"{five} 25 %: mean", ">= 6 points", lambda r: mean(_points(r, 0.25))),
        (f"{five} 25 %: worst pair", ">= 2.5 points", lambda r: min(_points(r, 0.25))),
        (f"{five} 25 %: cost", "<= 25 %", lambda r: 100 * cost(r, within(r, 0.25))),
        (f"{five} 17.5 %: mean", ">= 3 points", lambda r: mean(_points(r, 0.175))),
        (f"{five} 17.5 %: cost", "<= 17.5 %", lambda r: 100 * cost(r, within(r, 0.175))),
        (f"5 {equal}", ">= 1 points", lambda r: compared(r)[5].points),
        (f"10 {equal}", ">= 3 points", lambda r: compared(r)[10].points),
        (f"30 {equal}", ">= 10 points", lambda r: compared(r)[30].points),
        ("MACs of training 30 branches, against 30 alone", "<= -75 %", lambda r: 100 * (cost(r, thirty(r)) - 1)),
        ("seconds of training 30 branches, against 30 alone", "<= -75 %",
         lambda r: 100 * (seconds(r, thirty(r)) / alone_seconds(r, r["alone"]["macs"]) - 1)),
        ("seconds of training for ten shipped, of ten alone", "<= 60 %",
         lambda r: 100 * seconds(r, thirty(r)) / alone_seconds(r, r["alone"]["last"])),
        ("full against full alone", ">= -0.3 points", _full),
        ("unseen recipe after 30 steps, worst loss against trained", "<= 1 points", _evolved),
        (f"latency on one thread, {near}", ">= 12 x", lambda r: gain(r, "latency_ms")),
        ("energy (modelled), best branch within 4 points of full", ">= 8 x", lambda r: gain(r, "energy_mj")),
        ("elastic step against Keras fit, MACs trained/s", ">= 0.9 x", _throughput),
        ("loading and augmentation, share of a step", "<= 5 %", _loading),
        ("new recipe to runnable branch", "<= 10 s", lambda r: r["deployed"]["runnable_s"]),
        ("decision + switch between existing branches", "< 1 ms", lambda r: r["deployed"]["switch_ms"]),
    ]  # fmt: skip
    return [repeated(name, goal, [float(value(one)) for one in runs]) for name, goal, value in values]


def _points(one: Facts, budget: float) -> list[float]:
    return [pair["points"] for pair in pairs(one, within(one, budget))]


def _full(one: Facts) -> float:
    return float(100 * (one["pretrain"]["branches"]["full"]["test"] - one["hand_made"][FULL_ALONE]["accuracy"]))


def _evolved(one: Facts) -> float:
    trained = one["evolved"].get("trained", {})
    losses = [
        trained.get(recipe, facts["between"]) - facts["test"] for recipe, facts in one["evolved"]["branches"].items()
    ]
    return 100 * max(losses)


def gain(one: Facts, what: str) -> float:
    """How many times less the best branch within :data:`WITHIN` points takes than the full one in float32."""
    files = one["deployed"]["branches"]
    full = files["full"]
    near = [file for file in files.values() if file["accuracy"] > full["accuracy"] - WITHIN / 100]
    return float(full[what] / min(file[what] for file in near))


def _throughput(one: Facts) -> float:
    full, joined = one["hand_made"][FULL_ALONE], one["join"]["effort"]["join"]
    return float(joined["macs"] / _stepping(joined) / (full["train_macs"] / _stepping(full)))


def _loading(one: Facts) -> float:
    joined = one["join"]["effort"]["join"]
    return float(100 * joined["loading_s"] / _stepping(joined))


def _stepping(effort: Facts) -> float:
    """Seconds of training without tracing: a join traces eleven networks, plain Keras one."""
    return float(effort["seconds"] - effort["tracing_s"])


def error(accuracy: float, count: int) -> float:
    """The standard error of the difference of two accuracies near a value, on ``count`` examples each, in points."""
    return 100 * sqrt(2 * accuracy * (1 - accuracy) / count)
