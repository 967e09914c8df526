from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.policies import policy, rivals
from adascale_runtime.policies.outlook import tolerance
from adascale_runtime.policies.policy import POLICIES, Option, Settings, State, check_feasible, decide
from adascale_runtime.policies.state import observe
from adascale_runtime.seams.budget import Budget
from adascale_runtime.seams.records import Context

SETTINGS = Settings()
cost = st.floats(0.01, 1000)
unknown = st.none() | cost
tables = st.lists(
    st.builds(
        Option,
        st.sampled_from("abcdefgh"),
        st.floats(0.01, 1.0),
        cost,
        unknown,
        unknown,
        st.sampled_from(["cpu", "gpu"]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda option: option.id,
).map(tuple)
budgets = st.builds(
    Budget, unknown, unknown, unknown, st.none() | st.floats(0.01, 1.0), unknown, unknown, st.none() | st.floats(20, 90)
)
contexts = st.builds(
    Context,
    time_s=st.floats(0, 1e6),
    cpu_load=st.none() | st.floats(0, 1),
    runnable=st.none() | st.integers(0, 500),
    cores=st.none() | st.integers(1, 64),
    cpu_freq_mhz=unknown,
    memory_free_mb=st.none() | st.floats(0, 1e5),
    battery=st.none() | st.floats(0, 1),
    charging=st.none() | st.booleans(),
    temperature_c=st.none() | st.floats(-40, 120),
    clock_cap_mhz=st.none() | st.floats(0, 1e6),
)
runs = st.lists(st.tuples(st.integers(0, 5), st.floats(0.01, 5000), st.floats(0, 10)), max_size=8)


def lived(table, history):
    """The state after that history of (branch, latency, pause)."""
    state, now = State(), 0.0
    for index, latency_ms, pause_s in history:
        option = table[index % len(table)]
        now += pause_s
        state = observe(state._replace(branch=option.id), option, latency_ms, now, SETTINGS)
    return state


@given(contexts, budgets, tables, runs, st.sampled_from(sorted(set(POLICIES) - set(rivals.REPLAY_ONLY))))
def test_total_and_deterministic(context, budget, table, history, name):
    state = lived(table, history)
    first = POLICIES[name](context, budget, table, state, SETTINGS)
    assert first == POLICIES[name](context, budget, table, state, SETTINGS)
    assert first.branch in {option.id for option in table}
    assert first.state.branch == first.branch
    assert first.reason


def keepers(context, budget, table, state):
    """The options whose bounds keep every limit."""
    prospects = policy.Prospects(context, budget, table, state, SETTINGS)
    return [option for option in table if prospects.fits(option)]


@given(contexts, budgets, tables, runs)
def test_never_a_branch_whose_bound_breaks_a_budget_that_another_keeps(context, budget, table, history):
    state = lived(table, history)
    context = dataclasses.replace(context, time_s=(state.last_s or 0.0) + 1e6)  # every dwell is over
    chosen = policy.find(table, decide(context, budget, table, state, SETTINGS).branch)
    keeping = keepers(context, budget, table, state)
    if keeping:
        assert chosen in keeping
    elif budget.min_accuracy is not None and any(o.accuracy >= budget.min_accuracy for o in table):
        assert chosen.accuracy >= budget.min_accuracy


@given(contexts, budgets, tables, runs)
def test_a_fresh_choice_is_the_most_accurate_that_fits(context, budget, table, history):
    state = lived(table, history)._replace(branch=None)
    chosen = policy.find(table, decide(context, budget, table, state, SETTINGS).branch)
    fitting = keepers(context, budget, table, state)
    if fitting:
        best = max(option.accuracy for option in fitting)
        assert chosen.accuracy == best
        assert chosen.latency_ms == min(o.latency_ms for o in fitting if o.accuracy == best)


@given(st.lists(st.tuples(st.floats(0.01, 50), st.floats(0, 0.05)), min_size=1, max_size=200), tables, budgets)
def test_upward_switches_are_no_more_than_dwells(history, table, budget):
    state, now, ups = State(), 0.0, 0
    for latency_ms, pause_s in history:
        decision = decide(Context(now, cores=2, runnable=3), budget, table, state, SETTINGS)
        before, after = policy.find(table, state.branch), policy.find(table, decision.branch)
        fits = before is not None and before in keepers(Context(now, cores=2, runnable=3), budget, table, state)
        ups += fits and after.latency_ms > before.latency_ms
        now += pause_s + latency_ms / 1e3
        state = observe(decision.state, after, latency_ms, now, SETTINGS)
    assert ups <= 1 + now / SETTINGS.dwell_s


def fresh_accuracy(context, budget, table):
    return policy.find(table, decide(context, budget, table, State(), SETTINGS).branch).accuracy


@given(contexts, tables, cost, st.floats(1.0, 100.0), st.none() | st.floats(0.01, 1.0))
def test_more_time_never_lowers_the_accuracy_on_a_delegate(context, table, latency_ms, factor, min_accuracy):
    table = tuple(dataclasses.replace(option, delegate="cpu") for option in table)
    tight = Budget(latency_ms, min_accuracy=min_accuracy)
    loose = Budget(latency_ms * factor, min_accuracy=min_accuracy)
    assert fresh_accuracy(context, loose, table) >= fresh_accuracy(context, tight, table)


THRIFTY = Option("thrifty", 0.5, 2.0, memory_mb=1.0)
GREEDY = Option("greedy", 0.9, 1.0, memory_mb=100.0)


def test_without_time_the_memory_limit_still_holds():
    decision = decide(Context(0.0), Budget(latency_ms=0.1, memory_mb=10), (THRIFTY, GREEDY), State(), SETTINGS)
    assert decision.branch == "thrifty"


def test_more_time_never_lowers_the_accuracy_beside_a_memory_limit():
    tight, loose = Budget(latency_ms=0.1, memory_mb=10), Budget(latency_ms=5, memory_mb=10)
    table = (THRIFTY, GREEDY)
    assert fresh_accuracy(Context(0.0), loose, table) >= fresh_accuracy(Context(0.0), tight, table)


TABLE = (Option("full", 0.9, 1.0), Option("half", 0.8, 0.5), Option("tiny", 0.6, 0.1))
BUDGET = Budget(latency_ms=1.5)


def simulate(phases, seed=0, budget=BUDGET, table=TABLE):
    """(time, decision, latency) of a machine whose stalls make the mean grow by a factor: (seconds, factor) each."""
    rng = random.Random(seed)
    state, now, seen = State(), 0.0, []
    for seconds, factor in phases:
        end = now + seconds
        while now < end:
            decision = decide(Context(now, cores=2), budget, table, state, SETTINGS)
            option = policy.find(table, decision.branch)
            # Stalls of 6 ms, as often per running time as the factor asks for; the median stays where it was.
            stalls = 6.0 if rng.random() < (factor - 1) * option.latency_ms / 6.0 else 0.0
            latency_ms = option.latency_ms * rng.uniform(0.97, 1.03) + stalls
            now += latency_ms / 1e3
            late = latency_ms > budget.latency_ms
            state = observe(decision.state, option, latency_ms, now, SETTINGS, late=late)
            seen.append((now, decision, latency_ms))
    return seen


def share(seen, branch, begin, end):
    chosen = [d.branch for t, d, _ in seen if begin <= t < end]
    return chosen.count(branch) / len(chosen)


@pytest.mark.parametrize("seed", range(3))
def test_load_moves_down_and_its_end_moves_up_again(seed):
    seen = simulate([(3, 1.0), (6, 2.6), (4, 1.0)], seed)
    assert share(seen, "full", 0.5, 3) == 1.0
    assert share(seen, "full", 5, 9) < 0.3
    assert share(seen, "full", 11, 13) > 0.9


@pytest.mark.parametrize("lucky", [0.7, 1.0, 1.3])
def test_a_probe_at_a_lucky_moment_is_corrected_within_a_second(lucky):
    """Idle latencies that were measured while the device was faster, or slower, than it is."""
    probed = tuple(dataclasses.replace(option, latency_ms=option.latency_ms * lucky) for option in TABLE)
    rng, state, now, chosen = random.Random(0), State(), 0.0, []
    while now < 2.0:
        decision = decide(Context(now, cores=2, runnable=0), Budget(latency_ms=0.8), probed, state, SETTINGS)
        latency_ms = policy.find(TABLE, decision.branch).latency_ms * rng.uniform(0.97, 1.03)
        late = latency_ms > 0.8
        now += max(0.02, latency_ms / 1e3)
        option = policy.find(probed, decision.branch)
        state = observe(decision.state, option, latency_ms, now, SETTINGS, late=late, context=Context(now, cores=2))
        chosen.append((now, decision.branch))
    after = [branch for at, branch in chosen if at > 1.0]
    assert after.count("half") >= 0.95 * len(after), after


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.slow)])
def test_deadlines_are_kept_under_stalls(seed):
    seen = simulate([(3, 1.0), (20, 2.6)], seed)
    assert sum(ms > BUDGET.latency_ms for _, _, ms in seen) / len(seen) < 0.06
    static = simulate([(3, 1.0), (20, 2.6)], seed, table=TABLE[:1])
    assert sum(ms > BUDGET.latency_ms for _, _, ms in static) / len(static) > 0.15


@pytest.mark.parametrize("factor", [1.3, 2.0])
def test_a_lasting_slowdown_is_learned(factor):
    state = State()
    for step in range(400):
        state = observe(state, TABLE[1], TABLE[1].latency_ms * factor, step * 2e-3, SETTINGS)
    prospects = policy.Prospects(Context(0.8), BUDGET, TABLE, state, SETTINGS)
    found = {option.id: prospects.of(option) for option in TABLE}
    assert found["half"].slowdown == pytest.approx(factor, rel=0.1)
    assert found["full"].slowdown == pytest.approx(factor, rel=0.35)  # part of it may be the branch's own


def test_one_stall_of_a_short_run_changes_nothing():
    state, now = State(), 0.0
    context = Context(0.0, cores=4, runnable=0)
    for _ in range(600):
        decision = decide(dataclasses.replace(context, time_s=now), BUDGET, TABLE, state, SETTINGS)
        now += 1e-3
        state = observe(decision.state, policy.find(TABLE, decision.branch), 1.0, now, SETTINGS)
    assert decision.branch == "full"
    state = observe(state, TABLE[0], 9.0, now + 9e-3, SETTINGS, late=True)
    assert decide(dataclasses.replace(context, time_s=now + 9e-3), BUDGET, TABLE, state, SETTINGS).branch == "full"


def test_too_many_misses_make_it_careful_and_none_bold():
    bold, careful = State(), State()
    for step in range(200):
        bold = observe(bold, TABLE[0], 1.0, step * 0.01, SETTINGS)
        careful = observe(careful, TABLE[0], 9.0, step * 0.01, SETTINGS, late=True)
    assert tolerance(bold, SETTINGS) == 2 * SETTINGS.misses
    assert tolerance(careful, SETTINGS) == SETTINGS.misses / 2


def test_the_gpu_serves_while_the_cpu_is_crowded_and_the_cpu_when_it_is_free():
    table = (Option("full", 0.9, 1.0), Option("full@gpu", 0.9, 1.2, delegate="gpu"), Option("tiny", 0.6, 0.1))
    crowded, free = Context(0.0, cores=2, runnable=8), Context(0.0, cores=2, runnable=0)
    assert decide(crowded, BUDGET, table, State(), SETTINGS).branch == "full@gpu"
    assert decide(free, BUDGET, table, State(), SETTINGS).branch == "full"


ENERGY = (Option("full", 0.9, 1.0, energy_mj=3.0), Option("tiny", 0.6, 0.1, energy_mj=0.2))


def paced(period_s, table=ENERGY):
    state = State()
    for step in range(100):
        state = observe(state, table[0], 1.0, step * period_s, SETTINGS)
    return state


def test_power_and_lifetime_hold_back_what_draws_too_much():
    for period_s, branch in ((0.1, "full"), (0.01, "tiny")):  # 3 mJ ten or a hundred times a second
        assert decide(Context(9.9), Budget(power_mw=100), ENERGY, paced(period_s), SETTINGS).branch == branch
    lasts = Budget(lifetime_h=10.0)
    full, empty = Context(9.9, battery=1.0), Context(9.9, battery=0.1)
    assert decide(full, lasts, ENERGY, paced(0.01), SETTINGS).branch == "full"
    assert decide(empty, lasts, ENERGY, paced(0.01), SETTINGS).branch == "tiny"
    assert decide(Context(9.9), lasts, ENERGY, paced(0.01), SETTINGS).branch == "full"  # no battery to save


def test_heat_holds_back_the_costly_ones():
    for celsius, branch in ((30.0, "full"), (44.0, "tiny"), (60.0, "tiny")):
        context = Context(0.0, temperature_c=celsius)
        assert decide(context, Budget(temperature_c=45.0), ENERGY, State(), SETTINGS).branch == branch


def test_upwards_waits_for_the_dwell_and_for_headroom():
    state = State(branch="half", since_s=10.0)
    free = Context(10.1, cores=4, runnable=0)
    assert decide(free, BUDGET, TABLE, state, SETTINGS).branch == "half"
    later = dataclasses.replace(free, time_s=10.1 + SETTINGS.dwell_s)
    assert decide(later, BUDGET, TABLE, state, SETTINGS).branch == "full"
    tight = Budget(latency_ms=1.0 / (SETTINGS.headroom + 0.05))
    assert decide(dataclasses.replace(free, time_s=20.0), tight, TABLE, state, SETTINGS).branch == "half"


def test_where_nothing_fits_accuracy_comes_before_steadiness():
    table = (Option("a", 1.0, 9.0, energy_mj=1.0), Option("b", 0.5, 1.0))
    decision = decide(Context(0.0), Budget(energy_mj=0.5, min_accuracy=1.0), table, State(), SETTINGS)
    assert decision.branch == "a"


def test_reasons_say_what_is_expected_and_when_nothing_fits():
    assert "1.00 of 1.5 ms" in decide(Context(0.0), BUDGET, TABLE, State(), SETTINGS).reason
    hopeless = decide(Context(0.0), Budget(latency_ms=0.01, min_accuracy=0.7), TABLE, State(), SETTINGS)
    assert hopeless.branch == "half"
    assert "nothing fits" in hopeless.reason


def test_static_policies_never_move():
    for name, branch in (("static-full", "full"), ("static-smallest", "tiny")):
        for state in (State(), State(branch="half")):
            assert POLICIES[name](Context(0.0), BUDGET, TABLE, state, SETTINGS).branch == branch


@given(budgets, tables)
def test_feasible_means_that_a_branch_keeps_all_limits_at_once(budget, table):
    if any(policy.keeps_idle(option, budget, table) for option in table):
        check_feasible(budget, table)
    else:
        with pytest.raises(BadInput, match=r"\.$"):
            check_feasible(budget, table)


def test_an_impossible_budget_is_told_what_there_is():
    with pytest.raises(BadInput, match=r"0\.1 ms"):
        check_feasible(Budget(latency_ms=0.05), TABLE)
    with pytest.raises(BadInput, match=r"0\.9"):
        check_feasible(Budget(min_accuracy=0.95), TABLE)
