"""The headline benchmark's lines, from facts of known values; and its parts, which a killed run finds again."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import chart
import headline_rows
import headline_tables
from parts import Parts

IMAGES = 100
#: Three branches stand for the thirty: the full network, another structure, and an early exit of it. The unit is 180.
MACS = {"full": 100, "width(0.5)": 50, "width(0.5)+exit(1)": 30}


def effort(macs: float, seconds: float) -> dict[str, float]:
    return {"macs": macs * IMAGES, "seconds": seconds, "tracing_s": 0.0, "loading_s": seconds / 50}


def branch(macs: int, validation: float, test: float) -> dict[str, float]:
    return {"macs": macs, "validation": validation, "test": test}


def variant(recipes: tuple[str, ...], join: bool, macs: float, **branches: Any) -> dict[str, Any]:
    return {
        "name": "one", "recipes": recipes, "join": join, "length": 0.25,
        "effort": {"specialise": effort(macs, 10)}, "branches": branches["branches"],
    }  # fmt: skip


@pytest.fixture()
def one() -> Any:
    hand_made = {
        name: {
            "macs": macs, "effective_macs": thin, "accuracy": accuracy, "train_macs": 3e2 * IMAGES,
            "seconds": 52.0, "tracing_s": 2.0,
        }
        for name, macs, thin, accuracy in (
            ("full, alone", 100, 100, 0.62), ("width", 50, 50, 0.5), ("TF-MOT pruning", 100, 30, 0.55)
        )
    }  # fmt: skip
    file = {"accuracy": 0.6, "latency_ms": 6.0, "energy_mj": 4.0, "macs": 100}
    return {
        "seed": 0, "images": IMAGES, "hand_made": hand_made,
        "pretrain": {"effort": {"pretrain": effort(54, 30)}, "branches": {"full": branch(100, 0.6, 0.6)}},
        "join": {
            "effort": {"join": effort(27, 5)},
            "branches": {"width(0.5)": branch(50, 0.4, 0.4), "width(0.5)+exit(1)": branch(30, 0.3, 0.35)},
        },
        "alone": {"macs": MACS, "last": ["full", "width(0.5)"], "seconds": {"full": 100.0, "width(0.5)": 60.0}},
        "variants": [
            variant(("width(0.5)",), False, 27, branches={"width(0.5)": branch(50, 0.55, 0.53)}),
            variant(tuple(MACS), True, 108, branches={
                "width(0.5)": branch(50, 0.52, 0.56), "width(0.5)+exit(1)": branch(30, 0.45, 0.44)}),
        ],
        "rivals": {
            "five": {
                "macs": {"width": 50, "TF-MOT pruning": 100},
                "accuracy": {"0.25": {"width": 0.4, "TF-MOT pruning": 0.5}},
            },
            "sample": {
                "macs": {"width(0.5)": 50, "width(0.5)+exit(1)": 30},
                "accuracy": {"0.125": {"width(0.5)": 0.3, "width(0.5)+exit(1)": 0.2},
                             "0.5": {"width(0.5)": 0.5, "width(0.5)+exit(1)": 0.4}},
            },
        },
        "evolved": {"branches": {"a": {"test": 0.5, "between": 0.51}, "b": {"test": 0.5, "between": 0.4}}},
        "deployed": {
            "branches": {
                "full": file, "near": {**file, "accuracy": 0.57, "latency_ms": 2.0, "energy_mj": 0.5},
                "far": {**file, "accuracy": 0.5, "latency_ms": 0.1},
            },
            "runnable_s": 2.0, "switch_ms": 0.03,
        },
    }  # fmt: skip


def test_costs_count_from_the_first_step(one: Any) -> None:
    few, many = one["variants"]
    assert headline_rows.pretrain_cost(one) == pytest.approx(0.1)  # 54 of 3 x 180
    assert headline_rows.cost(one, few) == pytest.approx(0.15)
    assert headline_rows.cost(one, many) == pytest.approx(0.35)  # with the join
    assert headline_rows.seconds(one, few) == 40 and headline_rows.seconds(one, many) == 45


def test_a_branch_that_was_not_timed_is_on_the_line(one: Any) -> None:
    assert headline_rows.alone_seconds(one, MACS) == pytest.approx(100 + 60 + 44)


def test_pairs_are_chosen_on_the_validation_split(one: Any) -> None:
    width, pruned = headline_rows.pairs(one, one["variants"][0])
    assert (width["branch"], width["points"]) == ("width(0.5)", pytest.approx(3))
    assert (pruned["branch"], pruned["points"]) == ("full", pytest.approx(5))
    one["join"]["branches"]["width(0.5)+exit(1)"] = branch(30, 0.9, 0.1)  # best there, worst on the test split
    assert headline_rows.pairs(one, one["variants"][0])[0]["branch"] == "width(0.5)"  # no join, no joined branches
    one["variants"][1]["branches"].pop("width(0.5)+exit(1)")
    assert headline_rows.pairs(one, one["variants"][1])[0]["branch_accuracy"] == 0.1


def test_pruning_is_judged_by_its_non_zero_macs_too(one: Any) -> None:
    found = headline_rows.thinnest(one, one["variants"][1])
    assert found["macs"] == 30 and found["branch"] == "width(0.5)+exit(1)" and found["points"] == pytest.approx(-11)


def test_a_budget_takes_the_best_variant_that_fits(one: Any) -> None:
    few, many = one["variants"]
    assert headline_rows.within(one, 0.25) is few and headline_rows.within(one, 0.1) is few  # dearer, but the cheapest
    many["branches"]["width(0.5)"]["validation"] = 0.7
    assert headline_rows.within(one, 0.5) is many and headline_rows.thirty(one) is many


def test_equal_compute_counts_what_ships(one: Any) -> None:
    found = headline_rows.compared(one)
    # Of 0.35, 0.1 went into the teacher; the rest trains 50 MACs at 3 and the teacher's pass of 100 at 1.
    assert found[10].length == pytest.approx(0.25 * 540 / 250)
    assert found[10].ours == pytest.approx((0.6 + 0.56) / 2)
    assert found[30].length == pytest.approx(0.25 * 540 / 340)
    assert found[30].ours == pytest.approx((0.6 + 0.56 + 0.44) / 3)
    assert found[5].rival == pytest.approx(0.45) and found[5].ours == pytest.approx((0.53 + 0.6) / 2)


def test_the_lines_of_the_table(one: Any) -> None:
    worse = copy.deepcopy(one)
    worse["pretrain"]["branches"]["full"]["test"] = 0.5
    rows = {row.quantity: row for row in headline_rows.rows([one, one, worse])}
    full = rows["full against full alone"]
    assert full.reached == pytest.approx(-2) and full.worst == pytest.approx(-12) and not full.met
    assert rows["latency on one thread, fastest branch within 4 points of full"].reached == pytest.approx(3)
    assert rows["energy (modelled), best branch within 4 points of full"].reached == pytest.approx(8)
    assert rows["unseen recipe after 30 steps, worst loss against trained"].reached == pytest.approx(1)
    assert rows["seconds of training for ten shipped, of ten alone"].reached == pytest.approx(100 * 45 / 160)
    assert rows["loading and augmentation, share of a step"].reached == pytest.approx(2)
    assert rows["elastic step against Keras fit, MACs trained/s"].reached == pytest.approx(0.9)
    one["evolved"]["trained"] = {"a": 0.45, "b": 0.55}
    rows = {row.quantity: row for row in headline_rows.rows([one])}
    assert rows["unseen recipe after 30 steps, worst loss against trained"].reached == pytest.approx(5)


def test_tables_and_the_drawing_hold_every_way_to_train(one: Any) -> None:
    result = {"runs": [one, one], "test_images": 5000}
    for found in headline_tables.tables(result):
        assert found.rows and {len(row) for row in found.rows} == {len(found.columns)}
    root = ElementTree.fromstring(headline_tables.curves(result))
    texts = [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"5 shipped, ours", "30 shipped, shared teacher"} <= set(texts)
    assert "1.0 points" in headline_tables.uncertainty(result)


def test_a_chart_places_its_points() -> None:
    text = chart.draw([chart.Line("a < b", [(8, 40), (16, 60)], "#000000")], "x", "y")
    assert f'points="{chart.LEFT}.0,{chart.BOTTOM}.0 {chart.RIGHT}.0,{chart.TOP}.0"' in text and "a &lt; b" in text


def test_parts_are_made_once(tmp_path: Path) -> None:
    folder, made = tmp_path / "x.partial", []

    def make() -> dict[str, Any]:
        made.append(1)
        return {"value": 1.5}

    parts = Parts(folder, {"epochs": 3})
    assert parts.take("a", make) == parts.take("a", make) == {"value": 1.5} and len(made) == 1
    parts.keep("weights", {"layer/kernel": np.arange(3)})
    again = Parts(folder, {"epochs": 3})
    assert again.take("a", make) == {"value": 1.5} and len(made) == 1
    assert (kept := again.arrays("weights")) is not None and kept["layer/kernel"].tolist() == [0, 1, 2]
    other = Parts(folder, {"epochs": 4})
    assert other.arrays("weights") is None and other.take("a", make) and len(made) == 2
    other.remove()
    assert not folder.exists()


def test_a_part_that_fails_is_not_kept(tmp_path: Path) -> None:
    parts = Parts(tmp_path / "x", {})
    with pytest.raises(KeyError):
        parts.take("a", lambda: {}["missing"])
    assert parts.take("a", dict) == {}
