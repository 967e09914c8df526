"""Delegates side by side: verdicts, what is never recommended, crossovers, and promises against measurements."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.seams import records
from adascale_runtime.seams.manifest import Branch, Cost, Manifest
from adascale_runtime.seams.records import Agreement, Context, Delegation, Energy, Measurement
from adascale_runtime.seams.support import Refusal, Support
from profiling import promises
from profiling.comparison import Compared, Comparison, Entry, compare, judged, together
from tests.fixtures.plain_bundle import write_bundle

RIGHT = Agreement(8, 1.0, 0.001)
WRONG = Agreement(8, 0.25, 7.5)


def measured(
    delegate: str, base_ms: float, *, branch: str = "full", macs: float = 8e6, rounds: int = 10, **changes: Any
) -> Measurement:
    """A measurement in ten blocks of a device that drifts by a tenth, with three percent of noise in each block."""
    drift = np.exp(np.random.default_rng(1).normal(0, 0.1, rounds))
    random = np.random.default_rng([len(delegate), len(branch), int(1e6 * base_ms)])
    latency = tuple(float(base_ms * d * np.exp(random.normal(0, 0.03))) for d in drift for _ in range(5))
    whole = Measurement(
        records.FORMAT, "b" * 12, branch, branch, "float32", delegate, 1, {"name": "Phone 1", "sdk": "34"},
        Cost(int(macs), 10, 10, 10, 10, 5), (2 * base_ms,), latency, rounds, 3.0, 2.0, None, Energy(1.5, "measured:x"),
        Delegation(5, 5, 1), None, RIGHT, Context(10.0), Context(20.0), "2026-01-01T00:00:00+00:00",
    )  # fmt: skip
    return replace(whole, **changes)


def entry(found: Comparison, delegate: str, branch: str = "full") -> Entry:
    (one,) = [e for b in found.branches if b.branch == branch for e in b.entries if e.delegate == delegate]
    return one


def only(found: Comparison) -> Compared:
    (one,) = found.branches
    return one


def test_each_delegate_gets_a_verdict_with_an_interval_and_the_fastest_is_best() -> None:
    cells = [measured("cpu", 2.0), measured("gpu", 1.0), measured("builtin", 4.0), measured("npu", 2.001)]
    found = compare(cells)
    verdicts = {e.delegate: e.verdict for e in only(found).entries}
    assert verdicts == {"cpu": "baseline", "gpu": "faster", "builtin": "slower", "npu": "same"}
    gpu = entry(found, "gpu").speedup
    assert gpu is not None and gpu.paired and gpu.rounds == 10 and gpu.low < 2.0 < gpu.high and gpu.high / gpu.low < 1.1
    best = only(found).best
    assert best is not None and best.delegate == "gpu" and (best.load_ms, best.first_ms, best.memory_mb) == (3, 2, 2)
    assert found == compare(list(reversed(cells))) or {b.best.delegate for b in found.branches if b.best} == {"gpu"}


def test_what_is_not_faster_by_its_whole_interval_does_not_replace_the_cpu() -> None:
    best = only(compare([measured("cpu", 2.0), measured("npu", 1.999)])).best
    assert best is not None and best.delegate == "cpu"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["cpu", "gpu", "npu", "builtin", "nnapi"]), st.floats(0.1, 10.0),
            st.sampled_from([RIGHT, WRONG, None, Agreement(8, 0.0, 0.0), Agreement(8, 0.98, 1e9)]),
        ),
        min_size=1, max_size=5, unique_by=lambda cell: cell[0],
    )
)  # fmt: skip
def test_wrong_and_unchecked_outputs_are_never_recommended(cells: list[tuple[str, float, Agreement | None]]) -> None:
    found = compare([measured(name, ms, outputs=outputs) for name, ms, outputs in cells])
    best = only(found).best
    right = {name for name, _, outputs in cells if outputs is RIGHT}
    assert (best is None) == (not right) and (best is None or best.delegate in right)
    for name, _, outputs in cells:
        one = entry(found, name)
        assert one.right == (None if outputs is None else outputs is RIGHT)
        assert (one.verdict == "wrong outputs") == (outputs not in (None, RIGHT))
        assert bool(one.outputs) == (one.right is not True)


def test_wrong_outputs_say_how_wrong() -> None:
    one = entry(compare([measured("cpu", 2.0), measured("gpu", 0.1, outputs=WRONG)]), "gpu")
    assert one.verdict == "wrong outputs" and one.reason == "the expected class in 25% of 8 samples, off by up to 7.5"


def test_outputs_that_were_not_compared_are_named_in_a_note() -> None:
    found = compare([measured("cpu", 2.0), measured("nnapi", 1.0, outputs=None)])
    assert entry(found, "nnapi").verdict == "faster" and only(found).best == entry(found, "cpu")
    assert any("outputs of nnapi were not compared" in note for note in found.notes)


def test_the_range_of_outputs_tells_near_ties_from_wrong_ones(tmp_path: Path) -> None:
    (branch,) = write_bundle(tmp_path / "b").manifest.branches
    branch = replace(branch, verification=replace(branch.verification, output_range=20.0))
    integer = replace(branch, output=replace(branch.output, dtype="int8", scale=0.1, zero_point=0))

    def told(seen: Agreement, of: Branch | None) -> tuple[bool | None, str]:
        return judged(measured("gpu", 1.0, outputs=seen), of)

    tie, far = Agreement(8, 0.875, 0.15), Agreement(8, 1.0, 5.0)
    assert told(tie, None)[0] is False and told(tie, branch)[0] is False
    assert told(tie, integer) == (True, "near ties, which rounding decides")
    assert told(replace(tie, max_abs_difference=0.01), branch)[0] is True
    assert told(far, None)[0] is True and told(far, branch) == (False, "off by up to 5, of a range of 20")


def test_without_the_cpu_nothing_is_faster_and_a_note_says_so() -> None:
    found = compare([measured("gpu", 1.0), measured("npu", 2.0)])
    assert {e.verdict for e in only(found).entries} == {
        "no comparison"
    } and "nothing was measured on cpu" in found.notes[0]
    assert only(found).best == entry(found, "gpu")  # by the medians, the only thing there is


def test_a_delegate_that_lacks_a_branch_is_shown_with_what_is_known(tmp_path: Path) -> None:
    cells = [measured("cpu", 2.0), measured("cpu", 1.0, branch="small"), measured("gpu", 1.0)]
    missing = entry(compare(cells), "gpu", "small")
    assert missing.verdict == "not measured" and missing.median_ms is None and "no measurement" in missing.reason
    manifest = promising(tmp_path, "small", Support("gpu", 5, 0, 0, (Refusal("CONV_2D", "int8", 5),)))
    assert "none: int8" in entry(compare(cells, {"b" * 12: manifest}), "gpu", "small").reason


def test_the_fastest_number_of_threads_is_the_baseline() -> None:
    found = only(compare([measured("cpu", 4.0), measured("cpu", 2.0, threads=4), measured("gpu", 3.0)]))
    assert [(e.name, e.verdict) for e in found.entries] == [
        ("cpu x4", "baseline"),
        ("cpu", "slower"),
        ("gpu", "slower"),
    ]


def test_measurements_of_different_times_are_not_pairs() -> None:
    later = measured("gpu", 1.0, started="2026-01-01T01:00:00+00:00")
    assert together(measured("cpu", 2.0), measured("gpu", 1.0)) and not together(measured("cpu", 2.0), later)
    one = entry(compare([measured("cpu", 2.0), later]), "gpu")
    assert one.speedup is not None and not one.speedup.paired and "not measured in the same rounds" in one.reason
    assert not together(measured("cpu", 2.0), measured("gpu", 1.0, started="yesterday"))
    assert not together(measured("cpu", 2.0), measured("gpu", 1.0, context_after=Context(1e300)))


def test_devices_and_cores_are_compared_for_themselves_and_load_is_left_out() -> None:
    cells = [measured("cpu", 2.0), measured("gpu", 1.0)]
    cells += [replace(m, device={"name": "Phone 2"}) for m in (measured("cpu", 1.0), measured("gpu", 2.0))]
    cells += [measured("gpu", 0.1, settings={"context": "load50"}), measured("gpu", 0.1, settings={"kernel": "conv"})]
    found = compare(cells)
    assert {one.device: one.best.delegate for one in found.branches if one.best} == {"Phone 1": "gpu", "Phone 2": "cpu"}


# --- crossovers


def crossover(*speeds: tuple[float, float]) -> Any:
    """The crossover of a gpu that is so many times as fast at so many MACs."""
    cells = []
    for number, (macs, times) in enumerate(speeds):
        name = f"b{number}"
        cells += [measured("cpu", 2.0, branch=name, macs=macs), measured("gpu", 2.0 / times, branch=name, macs=macs)]
    (found,) = compare(cells).crossovers
    return found


def test_the_crossover_lies_between_two_named_branches() -> None:
    found = crossover((1e6, 0.3), (9e6, 1.6), (3e6, 0.8), (5e6, 1.0), (20e6, 3.0))
    assert (found.below, found.below_macs, found.above, found.above_macs) == ("b2", 3_000_000, "b1", 9_000_000)
    assert found.ahead_above and found.words == "behind up to b2 (3 MMACs), ahead from b1 (9 MMACs) on"


def test_a_delegate_may_be_ahead_below() -> None:
    found = crossover((1e6, 2.0), (3e6, 0.5))
    assert (found.below, found.above, found.ahead_above) == ("b0", "b1", False)
    assert found.words == "ahead up to b0 (1 MMACs), behind from b1 (3 MMACs) on"


@pytest.mark.parametrize(
    ("speeds", "words"),
    [
        (((1e6, 2.0), (2e6, 3.0)), "none: ahead on 2 and behind on none of 2 branches"),
        (((1e6, 0.2), (2e6, 0.3)), "none: ahead on none and behind on 2 of 2 branches"),
        (((1e6, 2.0), (2e6, 0.5), (3e6, 2.0)), "none: ahead on 2 and behind on 1 of 3 branches, whatever their MACs"),
        (((2e6, 2.0), (2e6, 0.5)), "none: ahead on 1 and behind on 1 of 2 branches, whatever their MACs"),
    ],
)
def test_there_may_be_no_crossover(speeds: tuple[tuple[float, float], ...], words: str) -> None:
    found = crossover(*speeds)
    assert found.below is None and found.above is None and found.words == words


def test_each_arithmetic_has_a_crossover_of_its_own_and_wrong_outputs_are_on_no_side() -> None:
    cells = []
    for macs, precision, times in (
        (1e6, "float32", 0.5),
        (9e6, "float16", 2.0),
        (1e6, "int8", 2.0),
        (9e6, "int8", 0.5),
    ):
        name = f"{precision}-{macs:g}"
        wrong = {"outputs": WRONG} if precision == "int8" and macs > 5e6 else {}
        for delegate, ms in (("cpu", 2.0), ("gpu", 2.0 / times)):
            more = wrong if delegate == "gpu" else {}
            cells.append(measured(delegate, ms, branch=name, macs=macs, precision=precision, **more))
    found = {one.arithmetic: one for one in compare(cells).crossovers}
    assert found["float"].above == "float16-9e+06" and found["integer"].above is None


# --- what was promised


def promising(folder: Path, branch: str, *support: Support) -> Manifest:
    """A manifest whose only branch has that support table."""
    manifest = write_bundle(folder / "promising").manifest
    return replace(manifest, branches=(replace(manifest.branches[0], id=branch, support=support),))


WHOLE, PART = Support("gpu", 5, 5, 1), Support("gpu", 5, 3, 2, (Refusal("SOFTMAX", "axis", 2),))


@pytest.mark.parametrize(
    ("promised", "taken", "kept"),
    [
        (WHOLE, Delegation(5, 5, 1), True),
        (PART, Delegation(5, 3, 2), True),
        (WHOLE, Delegation(5, 4, 2), False),
        (WHOLE, Delegation(5, 0, 0), False),
        (PART, Delegation(5, 5, 1), False),
        (PART, Delegation(5, 3, 1), False),
        (PART, Delegation(6, 3, 2), False),
        (WHOLE, Delegation(9, 9, 1), True),
        (PART, Delegation(9, 7, 2), True),
        (PART, None, None),
    ],
)
def test_promises_are_held_against_what_was_taken(
    tmp_path: Path, promised: Support, taken: Delegation | None, kept: bool | None
) -> None:
    cells = [measured("cpu", 2.0), measured("gpu", 1.0, delegation=taken)]
    found = compare(cells, {"b" * 12: promising(tmp_path, "full", promised)})
    one = entry(found, "gpu").promise
    assert one.support == promised and one.kept is kept
    contradictions = [sentence for sentence in found.contradictions if "full on gpu" in sentence]
    assert bool(contradictions) == (kept is False)
    if kept is False and taken is not None:
        assert promised.words in contradictions[0] and f"{taken.delegated} of {taken.nodes}" in contradictions[0]


def test_without_a_table_a_promise_is_not_known(tmp_path: Path) -> None:
    cells = [measured("cpu", 2.0), measured("gpu", 1.0)]
    assert entry(compare(cells), "gpu").promise.words == "not known without the bundle"
    found = compare(cells, {"b" * 12: promising(tmp_path, "full")})
    assert entry(found, "gpu").promise == promises.Promise(None, None, "not known: the bundle says nothing of gpu")
    assert not found.contradictions and any("is not known" in note for note in found.notes)


@pytest.mark.parametrize("newest", ["nnapi", "nnapi:1.3"])
def test_nnapi_is_held_against_the_feature_level_of_the_phone(tmp_path: Path, newest: str) -> None:
    """Manifests hold the newest level as "nnapi", which stands for phones of an unknown level, too."""
    levels = [Support(name, 5, n + 1, 1) for n, name in enumerate(("nnapi:1.0", "nnapi:1.1", "nnapi:1.2", newest))]
    manifest = promising(tmp_path, "full", *levels)
    wanted = {"26": None, "27": 0, "28": 1, "29": 2, "30": 3, "31": 3, "36": 3, "": None, "x": None, "9" * 50: None}
    for sdk, level in wanted.items():
        cells = [measured(d, 1.0, device={"name": "P", "sdk": sdk}) for d in ("cpu", "nnapi")]
        promise = entry(compare(cells, {"b" * 12: manifest}), "nnapi").promise
        unknown = levels[3] if newest == "nnapi" else None
        assert promise.support == (unknown if level is None else levels[level]), sdk


@given(st.permutations([("cpu", 1), ("gpu", 1), ("cpu", 4), ("npu", 1)]), st.integers(0, 3))
def test_the_order_of_measurements_does_not_matter(order: list[tuple[str, int]], seed: int) -> None:
    cells = {key: measured(key[0], 1.0 + n, threads=key[1]) for n, key in enumerate(sorted(order))}
    found, sorted_ = (
        compare([cells[key] for key in order], seed=seed),
        compare([cells[k] for k in sorted(cells)], seed=seed),
    )
    assert found == sorted_ and len(set(itertools.chain(e.name for e in only(found).entries))) == 4
