from __future__ import annotations

import dataclasses
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_tf.errors import BadInput
from adascale_tf.records import Context
from adascale_tf.runtime import policy
from adascale_tf.runtime.budget import Budget
from adascale_tf.runtime.policy import POLICIES, Option, Settings, State, check_feasible, decide, observe

SETTINGS = Settings()
cost = st.floats(0.01, 1000)
unknown = st.none() | cost
tables = st.lists(
    st.builds(Option, st.sampled_from("abcdefgh"), st.floats(0.01, 1.0), cost, unknown, unknown),
    min_size=1,
    max_size=6,
    unique_by=lambda option: option.id,
).map(tuple)
budgets = st.builds(Budget, unknown, unknown, unknown, st.none() | st.floats(0.01, 1.0))
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
)
runs = st.lists(st.tuples(st.integers(0, 5), st.floats(0.01, 5000), st.floats(0, 10)), max_size=8)


def lived(table, history):
    """The state after that history of (branch, latency, pause)."""
    state, now = State(), 0.0
    for index, latency_ms, pause_s in history:
        option = table[index % len(table)]
        now += pause_s
        state = observe(dataclasses.replace(state, branch=option.id), option, latency_ms, now, SETTINGS)
    return state


@given(contexts, budgets, tables, runs, st.sampled_from(sorted(POLICIES)))
def test_total_and_deterministic(context, budget, table, history, name):
    state = lived(table, history)
    first = POLICIES[name](context, budget, table, state, SETTINGS)
    assert first == POLICIES[name](context, budget, table, state, SETTINGS)
    assert first.branch in {option.id for option in table}
    assert first.state.branch == first.branch
    assert first.reason


@given(contexts, budgets, tables, runs)
def test_keeps_the_budget_where_any_branch_does(context, budget, table, history):
    state = lived(table, history)
    context = dataclasses.replace(context, time_s=state.time_s + 1e6)  # every dwell is over
    chosen = policy.find(table, decide(context, budget, table, state, SETTINGS).branch)
    if any(policy.keeps(option, budget, state.slowdown) for option in table):
        assert policy.keeps(chosen, budget, state.slowdown)
    elif budget.min_accuracy is not None and any(o.accuracy >= budget.min_accuracy for o in table):
        assert chosen.accuracy >= budget.min_accuracy


@given(contexts, budgets, tables, runs)
def test_a_fresh_choice_is_the_most_accurate_that_fits(context, budget, table, history):
    state = dataclasses.replace(lived(table, history), branch=None)
    chosen = policy.find(table, decide(context, budget, table, state, SETTINGS).branch)
    fitting = [option for option in table if policy.keeps(option, budget, state.slowdown)]
    if fitting:
        best = max(option.accuracy for option in fitting)
        assert chosen.accuracy == best
        assert chosen.latency_ms == min(o.latency_ms for o in fitting if o.accuracy == best)


def fresh_accuracy(context, budget, table):
    return policy.find(table, decide(context, budget, table, State(), SETTINGS).branch).accuracy


@given(contexts, tables, cost, st.floats(1.0, 100.0), st.none() | st.floats(0.01, 1.0))
def test_more_time_never_lowers_the_accuracy(context, table, latency_ms, factor, min_accuracy):
    tight = Budget(latency_ms, None, None, min_accuracy)
    loose = Budget(latency_ms * factor, None, None, min_accuracy)
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
            decision = decide(Context(now), budget, table, state, SETTINGS)
            option = policy.find(table, decision.branch)
            # Stalls of 6 ms, as often per running time as the factor asks for; the median stays where it was.
            stalls = 6.0 if rng.random() < (factor - 1) * option.latency_ms / 6.0 else 0.0
            latency_ms = option.latency_ms * rng.uniform(0.97, 1.03) + stalls
            now += latency_ms / 1e3
            state = observe(decision.state, option, latency_ms, now, SETTINGS)
            seen.append((now, decision, latency_ms))
    return seen


def share(seen, branch, begin, end):
    chosen = [d.branch for t, d, _ in seen if begin <= t < end]
    return chosen.count(branch) / len(chosen)


@pytest.mark.parametrize("seed", range(3))
def test_load_moves_down_and_its_end_moves_up_again(seed):
    seen = simulate([(3, 1.0), (6, 2.6), (4, 1.0)], seed)
    assert share(seen, "full", 0.5, 3) == 1.0
    assert share(seen, "full", 4, 9) < 0.2
    assert share(seen, "full", 11, 13) > 0.95


@pytest.mark.parametrize("seed", range(3))
def test_the_slowdown_is_estimated_within_a_fifth(seed):
    seen = simulate([(20, 2.6)], seed)
    slowdowns = [d.state.slowdown for t, d, _ in seen if t > 1]
    assert sum(slowdowns) / len(slowdowns) == pytest.approx(2.6, rel=0.2)


def test_one_stall_of_a_short_run_changes_nothing():
    state = State()
    for step in range(300):
        state = observe(dataclasses.replace(state, branch="full"), TABLE[0], 1.0, step * 1e-3, SETTINGS)
    state = observe(state, TABLE[0], 9.0, 0.309, SETTINGS)
    assert decide(Context(0.31), BUDGET, TABLE, state, SETTINGS).branch == "full"


def test_upwards_waits_for_the_dwell_and_for_headroom():
    state = State(branch="half", since_s=10.0)
    assert decide(Context(10.1), BUDGET, TABLE, state, SETTINGS).branch == "half"
    assert decide(Context(10.1 + SETTINGS.dwell_s), BUDGET, TABLE, state, SETTINGS).branch == "full"
    tight = Budget(latency_ms=1.0 / (SETTINGS.headroom + 0.05))
    assert decide(Context(20.0), tight, TABLE, state, SETTINGS).branch == "half"


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
    if any(policy.keeps(option, budget, 1.0) for option in table):
        check_feasible(budget, table)
    else:
        with pytest.raises(BadInput, match=r"\.$"):
            check_feasible(budget, table)


def test_an_impossible_budget_is_told_what_there_is():
    with pytest.raises(BadInput, match=r"0\.1 ms"):
        check_feasible(Budget(latency_ms=0.05), TABLE)
    with pytest.raises(BadInput, match=r"0\.9"):
        check_feasible(Budget(min_accuracy=0.95), TABLE)
