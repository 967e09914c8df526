"""What the documentation says of each result: a title, the command, a sentence, figures with their goals, tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ablation
import headline_tables

from adascale_runtime.seams.records import quantile


@dataclass(frozen=True)
class Figure:
    """A line of a table."""

    quantity: str
    goal: str
    middle: str
    worst: str = ""
    met: bool | None = None
    #: The name of the figure in the README; empty if the README leaves it out.
    brief: str = ""


@dataclass(frozen=True)
class Section:
    """What a result says: ``command`` gives it, ``text`` explains, ``tables`` in Markdown follow the figures."""

    title: str
    command: str
    text: str
    figures: list[Figure]
    tables: list[str] = field(default_factory=list)


#: The drawing of the headline benchmark, beside the page of the figures.
CURVES = "headline.svg"
Result = dict[str, Any]
Writer = Callable[[Result], Section]
WRITERS: dict[str, Writer] = {}


def writer(name: str) -> Callable[[Writer], Writer]:
    """Register the writer of a result's section, in the order of the page."""

    def register(write: Writer) -> Writer:
        WRITERS[name] = write
        return write

    return register


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def _goals(rows: Iterable[Result], briefs: Mapping[str, str] | None = None) -> list[Figure]:
    briefs = briefs or {}
    return [
        Figure(
            row["quantity"], row["goal"], f"{row['reached']:.3g}",
            f"{row['worst']:.3g}" if len(row["values"]) > 1 else "", row["met"], briefs.get(row["quantity"], ""),
        )
        for row in rows
    ]  # fmt: skip


@writer("headline")
def headline(result: Result) -> Section:
    """The elastic network against compressions made by hand."""
    briefs = {
        "five pairs, cost at most 25 %: mean": "accuracy against hand-made compressions of the same MACs",
        "MACs of training 30 branches, against 30 alone": "MACs of training 30 branches, against each alone",
        "latency on one thread, fastest branch within 4 points of full": "speed-up, fastest branch within 4 points",
    }
    seeds = ", ".join(str(run["seed"]) for run in result["runs"])
    text = (
        f"{result['train_images']:,} training images of {result['data']}, {result['epochs']} epochs, seeds {seeds}; "
        f"{result['seconds'] / 60:.0f} minutes in all. Cost is counted in MACs trained, from the first step on, as a "
        "share of training each of 30 branches alone. Branches are chosen on images that nobody trained on. What is "
        "called an estimate is read off the line through measured lengths of training. An unseen recipe that was not "
        "trained itself is held against the line between trained ones, over the logarithm of their MACs. "
        f"{headline_tables.uncertainty(result)}"
    )
    tables = [f"{one.title}:\n\n{table(one.columns, one.rows)}" for one in headline_tables.tables(result)]
    return Section(
        "Elastic training against compressions made by hand",
        f"headline.py{' --short' if result['short'] else ''} --data {result['data']}.zip --sounds spoken_digits.zip",
        text, _goals(result["rows"], briefs), [f"![Accuracy against training compute]({CURVES})", *tables],
    )  # fmt: skip


_SWITCH = ("decision + switch, both branches warm", "p50_ms")


@writer("switching")
def switching(result: Result) -> Section:
    """Deciding and switching."""
    found = []
    for row in result["rows"]:
        several = result["repeats"] > 1
        name = row["what"]
        for key, what in (("p50_ms", "median"), ("p99_ms", "99th percentile")):
            brief = "decision and switch between warm branches" if (name, key) == _SWITCH else ""
            worst = f"{row['worst_' + key]:.3f} ms" if several else ""
            found.append(Figure(f"{name}, {what}", "", f"{row[key]:.3f} ms", worst, brief=brief))
    text = (
        f"Repeats: {result['repeats']}, of {len(result['rows'][0]['samples_ms'][0])} samples each; "
        f"{result['branches']} branches."
    )
    return Section("Switching", "switching.py build/demo/bundle", text, found)


@writer("adapt")
def adapt(result: Result) -> Section:
    """The loop under pressure."""
    briefs = {
        "deadlines missed, ours, %": "deadlines missed under real load, %",
        "of the oracle's accuracy above the smallest, %": "share of an oracle's gain in accuracy, %",
    }
    worst = max(result["runs"], key=lambda run: run["judged"]["ours"]["all"][0])
    phases = list(worst["judged"]["ours"])
    rows = [
        (name, *(f"{100 * missed[p][0]:.1f}" if p in missed else "-" for p in phases), f"{missed['all'][1]:.2%}")
        for name, missed in worst["judged"].items()
    ]
    bundles = ", ".join(dict.fromkeys(str(run["model"]) for run in result["runs"]))
    text = (
        f"Bundles: {bundles}. Runs: {len(result['runs'])} of {result['seconds']:g} s, {result['fps']:g} inputs a "
        "second, under CPU burners and memory thrashers. The budget is 1.3 times the full branch's idle latency. The "
        "second table has the deadlines missed in the worst run, by phase, in %; the third those of every run beside "
        "what could be reached: by the smallest branch alone, and by an oracle that knows the future."
    )
    reached = [
        (run["model"], f"{run['budget_ms']:.2f}", *(f"{100 * run['judged'][name]['all'][0]:.1f}" for name in _REACHED),
         f"{run['kept']:.0%}")
        for run in result["runs"]
    ]  # fmt: skip
    return Section(
        "Adaptation under load", "adapt.py --short", text, _goals(result["rows"], briefs),
        [
            table(("contender", *phases, "accuracy"), rows),
            table(("bundle", "budget, ms", *_REACHED, "of the oracle's accuracy above the smallest"), reached),
        ],
    )  # fmt: skip


#: Contenders that say what could be reached.
_REACHED = ("ours", "static smallest", "oracle")


@writer("adapt_wandering")
def adapt_wandering(result: Result) -> Section:
    """The same on a machine that wanders."""
    return _wandering(adapt(result))


@writer("adapt_ablation")
def adapt_ablation(result: Result) -> Section:
    """What memory, clock and forecast are worth."""
    runs = result["runs"]
    models = ", ".join(dict.fromkeys(str(run["model"]) for run in runs))
    text = (
        f"Bundles: {models}. Runs: {len(runs)} of {result['seconds']:g} s, {result['fps']:g} inputs a second. "
        "Decisions are taken again and again on the same recorded rows, so two lines differ by nothing but what is "
        "switched off. "
        "Deadlines missed in %, by phase, with inputs that were lost; lost: because the process took more memory than "
        "there was. Real: latencies, load, and cores that are slowed down; told by files: the clock's cap and the free "
        "memory; scaled: what branches take. The second table is of a model of a chip that warms up."
    )
    tables = [
        table(ablation.COLUMNS, ablation.lines(runs)), table(ablation.HEAT_COLUMNS, ablation.heat_lines(runs))
    ]  # fmt: skip
    return Section("Memory, clock and forecast", "adapt.py --short --ablation", text, [], tables)


def _wandering(still: Section) -> Section:
    """The section of a benchmark that was run with ``--wander``."""
    return replace(
        still,
        title=f"{still.title}, on a machine that wanders",
        command=f"{still.command} --wander",
        text=still.text + " The speed of all cores wanders between 0.6 and 1 of the full one meanwhile.",
        figures=[replace(one, brief=f"{one.brief}, wandering" if one.brief else "") for one in still.figures],
    )


@writer("again")
def again(result: Result) -> Section:
    """Profiles against themselves."""
    briefs = {"two profiles, worst cell apart at usual speed, %": "two profiles of one bundle, worst cell apart, %"}
    rates = [pair["wandered"]["float"] for pair in result["pairs"] if "float" in pair["wandered"]]
    slowest, fastest = min(low for low, _ in rates), max(high for _, high in rates)
    text = (
        f"{len(result['pairs'])} pairs of profiles of {result['cells']} branches, {result['pause_s']:g} s apart. "
        f"Meanwhile the floating-point anchor ran at {slowest:.2f} to {fastest:.2f} of its usual speed (p10-p90)."
    )
    return Section("Measured again", "again.py", text, _goals(result["rows"], briefs))


@writer("again_wandering")
def again_wandering(result: Result) -> Section:
    """The same on a machine that wanders."""
    return _wandering(again(result))


@writer("predict")
def predict(result: Result) -> Section:
    """Predictions of what was never measured."""
    briefs = {
        "latency, idle, held-out models": "latency of models that were never measured, predicted within 10 %",
    }
    figures = []
    for row in result["rows"]:
        limit = re.search(r"within (\d+) %", row["goal"])
        if limit is None:
            middle = f"mean error {row['mape']:.1%}"
            if not row["goal"]:
                middle += f", {row['within'][result['levels'].index(row['level'])]:.0%} within {row['level']:.0%}"
        else:
            middle = f"{row['within'][result['levels'].index(int(limit.group(1)) / 100)]:.0%} {limit.group(0)}"
        figures.append(Figure(row["what"], row["goal"], middle, "", row["met"], briefs.get(row["what"], "")))
    text = (
        f"{len(result['models'])} architectures with random weights: {', '.join(result['models'])}; "
        f"{result['micro_kernels']} micro-kernels. [Prediction](prediction.md) says what is held out."
    )
    return Section("Predictions", "predict.py --short", text, figures, [prediction_table(result)])


@writer("predict_wandering")
def predict_wandering(result: Result) -> Section:
    """The same on a machine that wanders."""
    return _wandering(predict(result))


_VERDICTS = {True: "met", False: "missed", None: ""}


def prediction_table(result: Result) -> str:
    """How many predictions are how close."""
    columns = ("what", "goal", "cases", *(f"<= {level:.0%}" for level in result["levels"]), "mean error", "")
    rows = [
        (
            r["what"], r["goal"], r["count"], *(f"{share:.0%}" for share in r["within"]), f"{r['mape']:.1%}",
            ", ".join(filter(None, (_VERDICTS[r["met"]], r.get("note", "")))),
        )
        for r in result["rows"]
    ]  # fmt: skip
    return table(columns, rows)


@writer("harness")
def harness(result: Result) -> Section:
    """Phones over adb."""
    text = (
        f"Repeats: {len(result['runs'])}, on an emulated phone; files of {result['bytes'] / 1e6:g} MB, "
        f"{len(result['runs'][0]['transfers_s']['push'])} times in turn with the real adb client."
    )
    return Section("Phones over adb", "harness.py build/demo/bundle", text, _goals(result["rows"]))


@writer("harness_wandering")
def harness_wandering(result: Result) -> Section:
    """The same on a machine that wanders."""
    return _wandering(harness(result))


def _scaling(result: Result) -> Section:
    lines = []
    for line in result["lines"]:
        gain = "{:.2f} ({:.2f}-{:.2f})".format(*line["gain"]) if "gain" in line else ""
        accuracies = (f"{line[key]:.2%}" for key in ("accuracy", "least", "greatest"))
        lines.append(
            (line["rule"], line["scale"], *accuracies, f"{line['steps']:,.0f}", f"{line['speedup']:.1f}x", gain)
        )
    columns = ("rule", "batches a step", "accuracy", "least", "greatest", "steps", "fewer by", "gain")
    name = result["data"]
    text = (
        f"{result['train_images']:,} images of {name}, T = {result['iterations']:,}; means, the least and the greatest "
        f"of {len(result['seeds'])} seeds. The rate was tuned once, at one batch a step."
    )
    command, figures = "adascale_sgd.py", _goals(result["rows"])
    if name != "digits":
        command += f" --data {name}.zip --iterations {result['iterations']} --out FILE"
    return Section(f"AdaScale SGD, {name}", command, text, figures, [table(columns, lines)])


WRITERS["adascale_sgd"] = _scaling
WRITERS["adascale_sgd_cifar10"] = _scaling


@writer("operators")
def operators(result: Result) -> Section:
    """What operators cost and save."""
    text = "Medians of interleaved runs on one thread. [Operators](operators.md) explains the steps."
    return Section("Operators", "operators.py", text, [], [operators_table(result)])


def operators_table(result: Result) -> str:
    """A row a recipe."""
    columns = ("backbone", "recipe", "MMACs", "file kB", "zipped kB", "latency ms", "faster", "accuracy, untrained")
    rows = [
        (
            row["backbone"], f"`{row['recipe']}`", f"{row['macs'] / 1e6:.2f}", f"{row['size_bytes'] / 1e3:.0f}",
            f"{row['zipped_bytes'] / 1e3:.0f}", f"{row['latency_ms']:.3f}", f"{row['speedup']:.2f}x",
            f"{row['accuracy']:.1%}",
        )
        for row in result["rows"]
    ]  # fmt: skip
    return table(columns, rows)


@writer("targets")
def targets(result: Result) -> Section:
    """What delegates take of networks that were built for them."""
    rows = result["rows"]
    figures = []
    for name in result["tolerance"]:
        own = [row for row in rows if row["target"] == name and not row["refused"]]
        promised, taken, right = (sum(row[key] for row in own) for key in ("promised", "taken", "right"))
        for what, count in (("taken as a whole", taken), ("with the CPU's outputs", right)):
            told = f"{count} of {promised}" if own else "not measured"
            met = count == promised if own else None
            figures.append(Figure(f"{name}: branches promised as a whole, {what}", "all", told, met=met))
    lines = [
        (
            row["model"], row["target"], "refused" if row["refused"] else row["count"], row["promised"], row["taken"],
            row["right"], "-" if row["worst_gap"] is None else f"{row['worst_gap']:.1%}",
            row["refused"] or "; ".join(row["contrary"]) or "-",
        )
        for row in rows
    ]  # fmt: skip
    allowed = ", ".join(f"{limit:.0%} on {name}" for name, limit in result["tolerance"].items())
    absent = "".join(f" {name} was not measured: {reason}" for name, reason in result["absent"].items())
    text = (
        f"Keras networks after a training of seconds on made-up examples, images of {result['side']}x{result['side']}, "
        f"sequences of {result['steps']} steps, each built with `--for` of one delegate and run there: a software GPU "
        "(WebGPU), and OpenVINO's CPU device in the place of an NPU, in float32. *Promised*: branches that the "
        "manifest says the delegate takes as a whole, with nothing known to be wrong. *Taken*: those of them that it "
        "took as a whole; *right*: those whose outputs are the CPU's within a share of their range: "
        f"{allowed}; or within twice what rounding to 8 bits alone does to the branch on the CPU.{absent}"
    )
    columns = (
        "network",
        "for",
        "branches",
        "promised",
        "taken",
        "right",
        "largest difference",
        "what is not as promised",
    )
    return Section("Built for delegates", "targets.py", text, figures, [table(columns, lines)])


@writer("fleet")
def fleet(result: Result) -> Section:
    """The simulated fleet."""
    measured = result["measured"]
    leased = measured["leases"]
    cells = [seconds for repeats in leased["cells"].values() for seconds in repeats]
    samples = {
        "tasks of a cell": cells, "energy of a cell": leased["energy"], "beside the tasks, bare phone": leased["first"],
        "beside the tasks, files there": leased["next"], "a Dask task there and back": measured["dask"]["round_trip_s"],
    }  # fmt: skip
    figures = [Figure(n, "", f"{quantile(v, 0.5):.3f} s", f"{max(v):.3f} s") for n, v in samples.items()]
    rows = [
        (
            o["name"], f"{o['most_s'] / 60:.1f} min", f"{o['makespan_s'] / 60:.1f} min", f"{o['busy_h']:,.0f}",
            f"{o['leases']:,}", f"{o['deaths']:,}", f"{o['lost']:,}",
        )
        for o in result["simulated"]
    ]  # fmt: skip
    text = (
        "Costs of a lease are measured on emulated phones; the fleet around the real dispatcher is simulated. "
        f"{result['phones']:,} phones; [Scale](scale.md) lists the assumptions."
    )
    columns = ("simulated: share, deaths", "99 % done", "all done", "phone hours", "leases", "deaths", "cells again")
    return Section("Fleets", "fleet.py build/demo/bundle", text, figures, [table(columns, rows)])


@writer("startup")
def startup(result: Result) -> Section:
    """How long a command takes to start."""
    figures = [
        Figure(name, "", f"{quantile(values, 0.5):.2f} s", f"{max(values):.2f} s")
        for name, values in result["seconds"].items()
    ]
    rounds = len(result["seconds"]["adascale --help"])
    return Section("Start-up", "startup.py", f"Whole processes; rounds: {rounds}.", figures)
