"""The benchmark of other networks: it compares like with like, and chooses by the validation split."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.seams.recipe import parse
from adascale_tf import operators
from adascale_tf.bridge import backbones
from adascale_tf.bridge.functional import read_graph
from adascale_tf.data import Dataset
from adascale_tf.graph import shapes
from adascale_tf.operators import Plan

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import networks


def facts(**changed: Any) -> dict[str, Any]:
    files = {
        "full": {"accuracy": 0.7, "latency_ms": 6.0, "energy_mj": 9.0},
        "int8": {"accuracy": 0.69, "latency_ms": 1.5, "energy_mj": 1.0},
        "width(0.5)+int8": {"accuracy": 0.65, "latency_ms": 0.5, "energy_mj": 1.2},
    }
    heard = {
        "branches": {"full": {"test": 0.9}, **{recipe: {"test": 0.85} for *_, recipe in networks.RECURRENT.values()}},
        "by_hand": {"full": {"test": 0.91}, **{name: {"test": 0.80} for name in networks.RECURRENT}},
    }
    given = {
        "accuracy": 0.5,
        "before": {"full": {"test": 0.5}, "width(0.5)": {"test": 0.2}},
        "after": {"full": {"test": 0.5}, "width(0.5)": {"test": 0.4}},
    }
    return {"seed": 0, "wider": {"files": files}, "recurrent": heard, "given": given, **changed}


def test_the_lines_of_the_table() -> None:
    rows = {row.quantity: row for row in networks.rows([facts(), facts()])}
    reached = [round(row.reached, 6) for row in rows.values()]
    assert reached == [12.0, 5.0, 9.0, 0.0, 20.0, -1.0, 5.0]
    assert [row.met for row in rows.values()] == [True, False, True, True, True, False, True]
    assert all(len(row.values) == 2 for row in rows.values())


def test_without_sounds_there_is_no_line_of_the_recurrent_network() -> None:
    assert len(networks.rows([facts(recurrent=None)])) == 5


@pytest.mark.parametrize("name", networks.RECURRENT)
def test_recurrent_networks_made_by_hand_cost_what_the_branches_cost(name: str) -> None:
    units, layers, recipe = networks.RECURRENT[name]
    whole = Plan(read_graph(backbones.build("gru", (64, 40), 10)), {})
    branch = operators.apply(whole, parse(recipe))
    assert shapes.macs(read_graph(networks.gru((64, 40), 10, units, layers))) == shapes.macs(branch.graph)


def test_few_classes_keep_their_examples_and_a_validation_split(digits: Dataset) -> None:
    some = networks._some(digits, 500, classes=3)
    assert some.labels == ("0", "1", "2") and set(some.y_test) == {0, 1, 2}
    assert len(some.x_train) + len(some.x_val) == min(500, int(np.sum(digits.y_train < 3))) and len(some.x_val) > 0


def test_examples_that_do_not_train_test(digits: Dataset) -> None:
    hard = networks._hard(digits, 400)
    assert len(hard.x_train) + len(hard.x_val) == 400
    assert len(hard.x_test) == len(digits.x_test) + len(digits.x_train) - 400 == len(hard.y_test)
