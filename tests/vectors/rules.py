"""Vectors of the policies' single functions: each line names a function, its arguments and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.policies import cascade, habits, limits, pressure, rivals
from adascale_runtime.policies import policy as policies
from adascale_runtime.policies.pressure import LENGTHS, UNKNOWN, Excesses, Learning
from adascale_runtime.policies.trend import UNSEEN
from tests.vectors import draws

Line = dict[str, Any]


def lines(r: Random, count: int) -> Iterator[Line]:
    """About ``count`` lines, of each function as many."""
    rules = (
        throttled, crowding, presumed, excesses, rate, choose, share, confidence, signals, unknown, feasible, ranking,
        foresee, parsed_habits, parsed_told, engine, trend, numbers,
    )  # fmt: skip
    for _ in range(max(20, count // len(rules))):
        for rule in rules:
            yield {"rule": rule.__name__, **rule(r)}
    for _ in range(max(20, count // 100)):
        yield {"rule": "gate", **gate(r)}
        yield {"rule": "temperature", **temperature(r)}


def told(call: Callable[[], Any]) -> Line:
    """What a call gives, or the sentence with which it refuses."""
    try:
        return {"gives": call()}
    except BadInput as error:
        return {"refuses": str(error)}


def throttled(r: Random) -> Line:
    mhz = (0.0, 300.0, 1000.0, 1999.0, 2000.0, r.uniform(0.0, 3000.0))
    then, now, most = r.choice((None, *mhz)), r.choice(mhz), r.choice((1.0, 1.5, 3.0, 10.0))
    return {"then": then, "now": now, "most": most, "gives": pressure.throttled(then, now, most)}


def crowding(r: Random) -> Line:
    context = r.choice((None, *[draws.context(r, draws.budget(r, draws.table(r))) for _ in range(5)]))
    delegate, threads = r.choice(draws.ENGINES)
    more = r.choice((0.0, 0.0, r.uniform(0.0, 9.0)))
    return {
        "context": codec.to_json(context), "delegate": delegate, "threads": threads, "more": more,
        "gives": pressure.crowding(context, delegate, threads, more),
        "crowd": None if context is None else pressure.crowd(context),
    }  # fmt: skip


def slack_ms(r: Random) -> float:
    return r.choice((0.0, pressure.SHORTEST_MS * 2.0 ** r.randrange(20), draws.spread(r, 1e-4, 1e3)))


def counted(r: Random) -> Excesses:
    counts = sorted((r.choice((0.0, draws.spread(r, 1e-6, 1e4))) for _ in range(LENGTHS)), reverse=True)
    return Excesses(tuple(counts), r.choice((0.0, draws.spread(r, 1e-3, 1e4))))


def flat(had: Excesses) -> list[float]:
    return [had.exposure_ms, *had.counts]


def presumed(r: Random) -> Line:
    level, ms = r.randrange(UNKNOWN + 1), slack_ms(r)
    return {"level": level, "slack_ms": ms, "gives": pressure.presumed(level, ms)}


def excesses(r: Random) -> Line:
    had, slack, share = counted(r), slack_ms(r), r.random()
    runs = [(r.choice((0.0, slack_ms(r))), r.choice((0.0, draws.spread(r, 1e-3, 100.0)))) for _ in range(4)]
    after = had.kept(share)
    for excess_ms, exposure_ms in runs:
        after = after.with_run(excess_ms, exposure_ms)
    return {
        "had": flat(had), "slack_ms": slack, "longer": had.longer(slack), "share": share, "runs": runs,
        "gives": flat(after),
    }  # fmt: skip


def rate(r: Random) -> Line:
    window, habit, level, slack, fresh = counted(r), counted(r), r.randrange(UNKNOWN + 1), slack_ms(r), r.random()
    learning = Learning(trust_ms=draws.spread(r, 0.1, 100.0), caution=r.choice((0.0, 1.0, 2.5)))
    return {
        "window": flat(window), "habit": flat(habit), "level": level, "slack_ms": slack, "fresh": fresh,
        "trust_ms": learning.trust_ms, "caution": learning.caution,
        "gives": pressure.rate(window, habit, level, slack, learning, fresh),
    }  # fmt: skip


def choose(r: Random) -> Line:
    table = draws.table(r)
    budget_ms = r.choice(table).latency_ms * r.uniform(0.3, 5.0)

    def pair() -> list[str]:
        chosen = cascade.choose(table, budget_ms)
        return [chosen.first.id, chosen.second.id]

    return {"table": codec.to_json(table), "budget_ms": budget_ms, **told(pair)}


def share(r: Random) -> Line:
    table = draws.table(r)
    pair, slowdown = cascade.Pair(table[0], table[-1]), draws.spread(r, 0.2, 8.0)
    budget_ms = pair.first.latency_ms * r.uniform(0.5, 20.0)
    return {
        "table": codec.to_json((pair.first, pair.second)), "budget_ms": budget_ms, "slowdown": slowdown,
        "gives": cascade.share_of(pair, budget_ms, slowdown),
    }  # fmt: skip


def confidence(r: Random) -> Line:
    logits = [r.uniform(-30.0, 30.0) for _ in range(r.randrange(1, 20))]
    t = draws.spread(r, 0.05, 20.0)
    return {"logits": logits, "temperature": t, "gives": list(cascade.softmax(logits, t))}


def signals(r: Random) -> Line:
    budget = draws.budget(r, draws.table(r))
    context, best_effort = draws.context(r, budget), r.random() < 0.5
    return {
        "budget": budget.limits(), "context": codec.to_json(context), "best_effort": best_effort,
        "on_energy": limits.on_energy(budget),
        **told(lambda: limits.check_signals(budget, context, best_effort)),
    }  # fmt: skip


def unknown(r: Random) -> Line:
    table = draws.table(r)
    budget = draws.budget(r, table)
    contexts = [draws.context(r, budget) for _ in range(r.randrange(3))]
    return {
        "table": codec.to_json(table), "budget": budget.limits(), "contexts": codec.to_json(contexts),
        "gives": limits.unknown(budget, table, contexts),
    }  # fmt: skip


def feasible(r: Random) -> Line:
    table = draws.table(r)
    budget = draws.budget(r, draws.table(r) if r.random() < 0.4 else table)
    return {
        "table": codec.to_json(table), "budget": budget.limits(),
        "keeps_idle": [policies.keeps_idle(option, budget, table) for option in table],
        "fallback": policies.fallback(budget, table).id,
        **told(lambda: policies.check_feasible(budget, table)),
    }  # fmt: skip


def ranking(r: Random) -> Line:
    table = draws.table(r)
    return {"table": codec.to_json(table), "gives": [option.id for option in policies.ranking(table)]}


def foresee(r: Random) -> Line:
    table = draws.table(r)
    budget = draws.budget(r, table)
    ms = {option.id: round(option.latency_ms * draws.spread(r, 0.5, 5.0), r.choice((1, 6))) for option in table}
    return {
        "table": codec.to_json(table), "budget": budget.limits(), "latencies_ms": ms,
        "gives": rivals.foresee(budget, table, ms).id,
    }  # fmt: skip


#: Values that are no numbers of milliseconds, and names that are no engines.
_ODD: tuple[Any, ...] = (None, True, "1", -1.0, 2e9, [], {}, 3, 0)
_NAMES = (
    "cpu x 1", "cpu x 9999", "cpu x 10000", "cpu x 0", " x 1", "cpu x", "cpu x 1 x 2", "cpu", "", "x", "cpu x -1",
    "cpu x 1.0", "cpu x \u0663", "a b x 2", "cpu  x  1", "cpu x \u00b2",
)  # fmt: skip


def parsed_habits(r: Random) -> Line:
    data: Any = r.choice((None, [], "cpu", {}, {}, {}, {}))
    if data == {}:
        data = habits.to_json(draws.habits(r, draws.table(r)))
        for values in data.values():
            if r.random() < 0.3:
                values[r.randrange(len(values))] = r.choice(_ODD)
            if r.random() < 0.2:
                values.append(0.0)
        for level in r.sample(("0", "5", "6", "-1", "", "00005", "3 @ 2", "\u0664"), 3):
            counts = sorted((r.uniform(0.0, 9.0) for _ in range(LENGTHS)), reverse=True)
            data[f"{r.choice(_NAMES)} @ {level}"] = r.choice((None, [1, *counts], {"1": 2}))
    return {"data": data, "gives": habits.to_json(habits.parse(data))}


def parsed_told(r: Random) -> Line:
    data: Any = r.choice((None, 1, {}, {}, {}))
    if data == {}:
        for name in r.sample(_NAMES, 5):
            data[name] = r.choice((
                [r.uniform(0.05, 12.0), r.uniform(-5.0, 5.0)], [1, -2], [r.choice(_ODD), 1.0], [1.0, r.choice(_ODD)],
                [1.0], None, [0.1, 1e9], [10.0, -1e9], [1.0, 1.1e9],
            ))  # fmt: skip
    return {"data": data, "gives": habits.told_to_json(habits.parse_told(data))}


def engine(r: Random) -> Line:
    name = r.choice(_NAMES)
    found = limits.parse_engine(name)
    return {"name": name, "gives": None if found is None else list(found)}


def trend(r: Random) -> Line:
    now, time_s, constant_s, samples = UNSEEN, 0.0, draws.spread(r, 0.1, 10.0), []
    for _ in range(r.randrange(12)):
        time_s += r.choice((-1.0, 0.0, 0.01, 0.5, 5.0)) * r.random()
        samples.append((r.uniform(-5.0, 80.0), time_s))
        now = now.follow(*samples[-1], constant_s)
    ahead_s = r.uniform(0.0, 5.0)
    return {
        "samples": samples, "constant_s": constant_s, "ahead_s": ahead_s, "rise": now.rise(ahead_s),
        "gives": list(now),
    }  # fmt: skip


def numbers(r: Random) -> Line:
    sixteenth = r.randrange(-100, 10_000) / 16
    value = r.choice((0.0, -0.0, sixteenth, r.uniform(-2.0, 2.0), r.choice((-1.0, 1.0)) * draws.spread(r, 1e-9, 1e15)))
    return {
        "value": value, "fixed": f"{value:.2f}", "percent": f"{value:.1%}", "three": f"{value:.3g}",
        "four": f"{value:.4g}", "rounded": round(value, 6),
    }  # fmt: skip


def gate(r: Random) -> Line:
    sure = r.choice((0.999, 0.9, 1.1))
    one, digits, share_now = cascade.Gate(sure), r.choice((1, 2, 9)), r.random()
    asked = []
    for _ in range(r.choice((5, 50, 500))):
        if r.random() < 0.1:
            share_now = r.choice((0.0, 1.0, r.random()))
        sure_of = round(r.random(), digits)
        asked.append([sure_of, share_now, one.asks(sure_of, share_now)])
    return {"sure": sure, "asked": asked}


def temperature(r: Random) -> Line:
    classes, scale = r.randrange(2, 8), draws.spread(r, 0.3, 10.0)
    outputs = [[r.gauss(0.0, scale) for _ in range(classes)] for _ in range(r.randrange(1, 60))]
    labels = [max(range(classes), key=row.__getitem__) if r.random() < 0.7 else 0 for row in outputs]
    return {"outputs": outputs, "labels": labels, "gives": cascade.fit_temperature(outputs, labels)}
