"""Tables and sentences that several commands show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from adascale_runtime.seams import speed
from adascale_tf.cli import console, speeds

if TYPE_CHECKING:
    from pathlib import Path

    from adascale_runtime.seams.manifest import Branch, Manifest
    from adascale_runtime.seams.predictors import Predictors
    from adascale_runtime.seams.records import Measurement
    from adascale_runtime.seams.speed import Usual
    from adascale_tf.verbs.build import Built
    from adascale_tf.verbs.phones import Device, Devices
    from adascale_tf.verbs.profile import Measured
    from adascale_tf.verbs.replay import Compared
    from adascale_tf.verbs.run import Cascade
    from profiling.comparison import Compared as ComparedDelegates
    from profiling.comparison import Comparison, Entry


# --- bundles


def branches(manifest: Manifest, where: str) -> None:
    """The branches of a bundle, and the accuracy of the model that it was made from."""
    rows: list[tuple[Any, ...]] = [
        (
            b.recipe, b.exit, b.precision, console.size(b.size_bytes), f"{b.cost.params:,}", f"{b.cost.macs / 1e6:.2f}",
            accuracy_cell(manifest, b), f"{b.verification.agreement:.1%} of {b.verification.samples}",
            f"{b.verification.max_abs_difference:.3g}",
        )
        for b in manifest.branches
    ]  # fmt: skip
    columns: tuple[str, ...] = (
        "recipe", "exit", "precision", "size", "params", "MMACs", "accuracy", "top-1 as Keras", "max diff",
    )  # fmt: skip
    estimates = [_estimate(branch) for branch in manifest.branches]
    if any(estimates):
        cells = [f"~{one['loss_points']:.1f}" if one else "-" for one in estimates]
        rows = [(*row, cell) for row, cell in zip(rows, cells, strict=True)]
        columns = (*columns, "loss against trained (estimate)")
    console.table(f"{manifest.name}: {where}", columns, rows)
    if any(estimates):
        errors = [one["error_points"] for one in estimates if "error_points" in one]
        off = f"; estimates of those from each other are {max(errors):.1f} points off" if errors else ""
        console.say(f"~: an estimate, from the branches that were trained, of the points that training would add{off}.")
    if manifest.given is not None:
        console.say(f"The model as it was given: {manifest.given.value:.2%} of {manifest.given.samples}.")


def _estimate(branch: Branch) -> Mapping[str, float]:
    """The numbers of what was estimated of a branch that was not trained; none of any other."""
    facts = branch.training.get("estimate")
    numbers = {name: value for name, value in (facts if isinstance(facts, dict) else {}).items() if _is_number(value)}
    return numbers if "loss_points" in numbers else {}


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float))


def accuracy_cell(manifest: Manifest, branch: Branch) -> str:
    """A branch's accuracy, with what it lost where that is too much: ``76.12% (-8.4)``."""
    return f"{branch.accuracy.value:.2%}" + (f" (-{branch.loss:.1f})" if manifest.lossy(branch) else "")


def built(result: Built, out: Path, quiet: bool, as_json: bool) -> None:
    """A bundle that was just written, as a table or JSON; what is wrong with it also for those who asked for quiet."""
    if as_json:
        console.emit(result.bundle.manifest)
    elif not quiet:
        branches(result.bundle.manifest, str(out))
    for remark in result.remarks:
        console.say(f"Note: {remark}", err=True)


# --- measurements


def measurements(measured: Sequence[Measurement], usual: Usual) -> None:
    """Latency as seen and at usual speed, memory and energy of measurements, fastest first."""
    rows = []
    several = len({str(m.device.get("name")) for m in measured}) > 1
    of_branches = [m for m in measured if not m.settings.get("kernel")]
    for m in sorted(of_branches, key=lambda m: m.latency_quantile_ms(0.5)):
        sign = "~" if m.energy.how.startswith("estimated") else ""
        energy = "-" if m.energy.value_mj is None else f"{sign}{m.energy.value_mj:.3g}"
        if m.energy.uncertainty_mj is not None:
            energy += f" +-{m.energy.uncertainty_mj:.1g}"
        taken = "-" if m.delegation is None else f"{m.delegation.verdict} {m.delegation.delegated}/{m.delegation.nodes}"
        p50, *quantiles = [f"{m.latency_quantile_ms(q):.3f}" for q in (0.5, 0.9, 0.99)]
        quantiles = [p50, speeds.text(speed.at_usual(m, usual)), *quantiles]
        memory = "-" if m.memory_mb is None else f"{m.memory_mb:.1f}"
        right = "-" if m.outputs is None else f"{m.outputs.agreement:.0%}"
        where = (str(m.device.get("name")),) if several else ()
        heat = "-" if m.context_after.temperature_c is None else f"{m.context_after.temperature_c:.0f}"
        beside = f" ({m.settings['context']})" if "context" in m.settings else ""
        rows.append((*where, m.recipe + beside, m.delegate, m.threads, *quantiles, memory, energy, taken, right, heat))
    columns = (
        *(("device",) if several else ()), "recipe", "delegate", "threads", "p50 ms", "at usual speed", "p90 ms",
        "p99 ms", "memory MB", "energy mJ", "delegated", "outputs", "C",
    )  # fmt: skip
    console.table("Measurements (~ is an estimate: no energy meter)", columns, rows)
    if len(of_branches) < len(measured):
        console.say(f"And {len(measured) - len(of_branches)} micro-kernels, for 'adascale fit'.")


def operator_times(measured: Sequence[Measurement]) -> None:
    """What the kinds of operators take in each branch, for those whose operators were timed."""
    rows = []
    for m in measured:
        spent: dict[str, list[float]] = {}
        for operator in m.operators:
            spent.setdefault(operator.kind, []).append(operator.mean_ms)
        total = sum(map(sum, spent.values()))
        for kind, times in sorted(spent.items(), key=lambda item: -sum(item[1])):
            share = f"{sum(times) / total:.0%}" if total else "-"
            rows.append((m.recipe, m.delegate, kind, len(times), f"{sum(times):.3f}", share))
    if rows:
        console.table("Operators", ("recipe", "delegate", "kind", "count", "ms", "share"), rows)


def delegates(compared: Comparison) -> None:
    """The delegates of each branch side by side, tables for each device, with crossovers and broken promises."""
    for place in dict.fromkeys((one.device, one.affinity) for one in compared.branches):
        own = sorted((one for one in compared.branches if (one.device, one.affinity) == place), key=lambda o: o.macs)
        rows = [(one, entry) for one in own for entry in one.entries]
        name = " ".join(filter(None, place))
        columns = (
            "branch",
            "MMACs",
            "delegate",
            "p50 ms",
            "times cpu's speed",
            "verdict",
            "outputs",
            "took",
            "promised",
        )
        console.table(
            f"Delegates on {name} (* is the best with right outputs)", columns, [_speed_row(*r) for r in rows]
        )
        costs = ("branch", "delegate", "load ms", "first ms", "memory MB", "energy mJ")
        console.table(f"What else they cost on {name} (~ is an estimate)", costs, [_cost_row(*r) for r in rows])
        for cross in compared.crossovers:
            if (cross.device, cross.affinity) == place:
                threads = "" if cross.threads == 1 else f" x{cross.threads}"
                console.say(f"Crossover of {cross.delegate}{threads}, {cross.arithmetic}: {cross.words}.")
    for sentence in compared.contradictions:
        console.say(f"Not as promised: {sentence}")
    for note in compared.notes:
        console.remark(note)


def _speed_row(one: ComparedDelegates, entry: Entry) -> tuple[Any, ...]:
    p50 = "-" if entry.median_ms is None else f"{entry.median_ms:.3f}"
    against, taken = entry.speedup, entry.delegation
    times = "-" if against is None else f"{against.value:.3g} ({against.low:.3g} to {against.high:.3g})"
    took = "-" if taken is None else f"{taken.verdict} {taken.delegated}/{taken.nodes}"
    verdict = f"{entry.verdict}: {entry.reason}" if entry.reason else entry.verdict
    right = {True: "right", False: "wrong", None: "not known"}[entry.right]
    name = entry.name + ("*" if one.best is entry else "")
    return one.branch, f"{one.macs / 1e6:.3g}", name, p50, times, verdict, right, took, promised(entry)


def _cost_row(one: ComparedDelegates, entry: Entry) -> tuple[Any, ...]:
    energy = "-"
    if entry.energy is not None and entry.energy.value_mj is not None:
        energy = f"{'~' if entry.energy.how.startswith('estimated') else ''}{entry.energy.value_mj:.3g}"
    numbers = ((entry.load_ms, 1), (entry.first_ms, 2), (entry.memory_mb, 1))
    return one.branch, entry.name, *("-" if v is None else f"{v:.{digits}f}" for v, digits in numbers), energy


def promised(entry: Entry) -> str:
    """What the support table said, with an exclamation mark where something else was measured: ``all 23``."""
    if entry.promise.support is None:
        return "not known"
    return entry.promise.support.words + ("!" if entry.promise.kept is False else "")


def nothing_new(measured: Measured) -> str:
    """The sentence for a profile that found everything measured."""
    times = sorted(m.started for m in measured.measurements)
    when = times[0] if times[0] == times[-1] else f"from {times[0]} to {times[-1]}"
    cells = f"All {len(measured.measurements)} cells are already in {measured.out}"
    return f"{cells} (measured {when}); give --again to measure them again."


def predictors(fitted: Predictors, where: str) -> None:
    """What is predicted, from how many measurements, and how well."""
    rows = [
        (p.quantity, p.delegate, p.threads, p.samples, "-" if p.error is None else f"{p.error:.1%}",
         " ".join(f"{ratio - 1:+.0%}" for ratio in p.spread) or "-", p.how)
        for p in fitted.predictors
    ]  # fmt: skip
    columns = ("quantity", "delegate", "threads", "measured", "held-out error", "nine of ten within", "how")
    console.table(f"Predictors: {where}", columns, rows)


# --- phones


def devices(reached: Sequence[Device], title: str) -> None:
    """Phones, with their hosts if they are of a fleet, and why those that cannot be used cannot."""
    of_fleet = any(device.host is not None for device in reached)
    columns = ("address", "state", "phone", "SoC", "Android", "ABI", "Python", "battery", "temperature", "thermal")
    rows = [(*((device.host,) if of_fleet else ()), *_device_row(device)) for device in reached]
    console.table(title, ("host", *columns) if of_fleet else columns, rows)
    for device in reached:
        if device.detail:
            console.say(f"{device.host}: {device.detail}" if of_fleet else device.detail)


def _device_row(device: Device) -> tuple[str, ...]:
    facts = device.facts
    if not facts:
        return (device.address, device.state, *["-"] * 8)
    battery = "-" if facts["battery"] is None else f"{facts['battery']:.0%}{' charging' if facts['charging'] else ''}"
    celsius = "-" if facts["temperature_c"] is None else f"{facts['temperature_c']:.1f} C"
    shown = (facts["name"], facts["soc"] or facts["board"], facts["android"], facts["abi"], facts.get("python"))
    words = [str(value or "-") for value in shown]
    return (device.address, device.state, *words, battery, celsius, facts["thermal"] or "-")


def unusable(reached: Devices) -> str:
    """The sentence on phones that cannot be used now."""
    missing = [
        f"{device.address}{'' if device.host is None else f' at {device.host}'} is {device.state}"
        for device in reached.unusable
    ]
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return f"{len(missing)} of {len(reached.devices)} phones cannot be used: {', '.join(missing[:5])}{more}."


def device_facts(device: Device) -> dict[str, Any]:
    """A phone as JSON; only one of a fleet has a ``host``."""
    host = {} if device.host is None else {"host": device.host}
    return {**host, "address": device.address, "state": device.state, "detail": device.detail, "facts": device.facts}


# --- adaptive loops


def phases(by_name: Mapping[str, Any], title: str) -> None:
    """What :func:`adascale_runtime.loop.summary` says of each phase."""
    columns = ("phase", "inferences", "budget kept", "accuracy", "mean ms", "switches", "branches")
    console.table(title, columns, [_phase_row(name, phase) for name, phase in by_name.items()])


def summary(facts: Mapping[str, Any], title: str) -> None:
    """What a loop reached, as a whole and in each of its phases."""
    phases({"all": facts, **facts["phases"]}, title)
    broken("phase", {"all": facts, **facts["phases"]})


def broken(of: str, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """How often and how far limits were broken, if any was."""
    found = [
        (name, limit, f"{told['share']:.2%}", f"{told['mean']:.3g}", f"{told['worst']:.3g}")
        for name, facts in rows.items()
        for limit, told in facts["broken"].items()
    ]
    if found:
        console.table("Limits that were broken", (of, "limit", "inferences", "beyond it, mean", "worst"), found)


def cascade(did: Cascade) -> None:
    """What a cascade buys: accuracy, mean latency and energy against each of its branches alone."""

    def energy(value: float | None) -> str:
        return "-" if value is None else f"{value:.3g}"

    rows = [
        (f"cascade, {did.asked:.0%} asked again", f"{did.accuracy:.2%}", f"{did.mean_ms:.3f}", energy(did.energy_mj)),
        *(
            (f"{o.id} alone", f"{o.accuracy:.2%}", f"{o.latency_ms:.3f}", energy(o.energy_mj))
            for o in dict.fromkeys((did.first, did.second))
        ),
    ]
    console.table(f"Cascade, temperature {did.temperature:.2f}", ("branches", "accuracy", "mean ms", "mJ"), rows)


def policies(compared: Compared, trace: str) -> None:
    """Policies side by side on the same recorded inferences."""
    rows = [
        (
            name, f"{facts['kept']:.2%}", f"{facts['expected_accuracy']:.2%}", f"{facts['mean_ms']:.3f}",
            facts["switches"], most_used(facts["branches"]),
        )
        for name, facts in compared.policies.items()
    ]  # fmt: skip
    columns = ("policy", "budget kept", "expected accuracy", "mean ms", "switches", "branches")
    console.table(f"{compared.recorded:,} recorded inferences of {trace}", columns, rows)
    broken("policy", compared.policies)


def _phase_row(name: str, phase: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        name,
        f"{phase['count']:,}",
        f"{phase['kept']:.2%}",
        "-" if phase["accuracy"] is None else f"{phase['accuracy']:.2%}",
        f"{phase['mean_ms']:.3f}",
        str(phase["switches"]),
        most_used(phase["branches"]),
    )


def most_used(shares: Mapping[str, float]) -> str:
    """The three branches that served most, with their shares."""
    used = sorted(shares.items(), key=lambda item: -item[1])
    return ", ".join(f"{branch} {share:.0%}" for branch, share in used[:3])
