from __future__ import annotations

import dataclasses
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.seams.records import Delegation
from android_harness.benchmark_log import BenchmarkLog, OpProfile, parse
from tests.fixtures.benchmark_logs import CSV, LOGS, OF_2019, OF_2020, OF_2022, OF_2024


def close(*values: float | None) -> object:
    """Equal to within the rounding of microseconds to milliseconds."""
    return pytest.approx(values)


def test_a_log_of_2019() -> None:
    log = parse(OF_2019)
    assert (log.load_ms, log.warmup_ms, log.latency_ms, log.count) == close(9.933, 76.6059, 66.7676, 15)
    assert log.first_ms == pytest.approx(127.425)  # from the warm-up: this version's timings do not name it
    assert (log.min_ms, log.max_ms, log.std_ms) == close(66.699, 66.838, 0.039)
    assert log.model_mb is None and log.median_ms is None and log.memory_overall_mb is None
    assert (log.delegation, log.delegate, log.verdict, log.failed_delegate) == (None, None, None, False)


def test_a_log_of_2020_with_operators() -> None:
    log = parse(OF_2020, "builtin")
    assert (log.load_ms, log.first_ms, log.warmup_ms, log.latency_ms) == close(0.855, 49.06, 34.8251, 33.2094)
    assert (log.count, log.min_ms, log.max_ms, log.std_ms) == close(
        50, 32.641, 34.005, 0.45
    )  # not the profiler's own lines
    assert (log.model_mb, log.memory_init_mb, log.memory_overall_mb, log.peak_memory_mb) == close(
        0.004448, 0, 12.8672, None
    )
    assert log.verdict is None and log.delegate_ops == ()
    assert log.ops == (
        OpProfile("[net/conv/Relu;net/bias]:0", "CONV_2D", 0.011, 20.25, 0.61, 0.0, 1),
        OpProfile("[net/a, net/b]:1", "DEPTHWISE_CONV_2D", 20.262, 12.948, 0.39, 12.288, 2),
    )


def test_a_log_of_2022_from_logcat() -> None:
    log = parse(OF_2022, "gpu")
    assert (log.load_ms, log.first_ms, log.latency_ms) == close(1203.481, 1381.51, 1382.17)
    assert (log.warmup_ms, log.count, log.max_ms) == close(1381.51, 50, 1436.49)
    assert (log.model_mb, log.memory_overall_mb, log.peak_memory_mb) == close(16.5922, 63.4023, 81.25)
    assert log.delegation == Delegation(310, 294, 2)  # kernels of the delegate, not the five stretches of the graph
    assert (log.delegate, log.verdict, log.failed_delegate) == ("TfLiteGpuDelegateV2", "partly", False)
    assert parse(OF_2022) == log
    cpu = parse(OF_2022, "cpu")
    assert (cpu.delegate, cpu.delegation, cpu.verdict) == ("TfLiteXNNPackDelegate", Delegation(18, 12, 4), "partly")


def test_a_log_of_2024() -> None:
    log = parse(OF_2024, "cpu")
    assert (log.load_ms, log.first_ms, log.warmup_ms, log.latency_ms) == close(12.53, 5.12, 4.0205, 4.00525)
    assert (log.count, log.p5_ms, log.median_ms, log.p95_ms) == close(250, 3.981, 4.002, 4.05)
    assert (log.memory_init_mb, log.memory_overall_mb, log.peak_memory_mb) == close(-0.25, 12.1914, 15.3281)
    assert (log.delegation, log.verdict) == (Delegation(31, 31, 1), "fully")
    assert log.ops == (OpProfile("[StatefulPartitionedCall:0]:31", "TfLiteXNNPackDelegate", None, 3.99, 1.0, 0.0, 1),)
    assert [op.name for op in log.delegate_ops] == [
        "Delegate/Convolution (NHWC, QC8) IGEMM:0",
        "Delegate/Fully Connected (NC, QC8) GEMM:1",
    ]
    assert sum(op.mean_ms for op in log.delegate_ops) == pytest.approx(log.ops[0].mean_ms, abs=0.01)


def test_equal_runs_and_no_runs() -> None:
    same = OF_2024.replace(
        "count=250 first=4001 curr=4003 min=3970 max=4321 avg=4005.25 std=33 p5=3981 median=4002 p95=4050",
        "count=3 curr=71(all same) p5=71 median=71 p95=71",
    )
    log = parse(same)
    assert (log.count, log.min_ms, log.max_ms, log.std_ms, log.median_ms) == close(3, 0.071, 0.071, 0.0, 0.071)
    dry = (
        "count=0 p5=0 median=0 p95=0\n" * 2 + "Inference timings in us: Init: 8, First inference: 0, Warmup (avg): 0, "
    )
    log = parse(dry + "Inference (avg): 0\n")
    assert (log.load_ms, log.first_ms, log.warmup_ms, log.latency_ms, log.count) == close(0.008, None, None, None, 0)
    assert log.median_ms is None


def test_timed_runs_are_told_from_the_warm_up_when_a_line_is_lost() -> None:
    whole = parse(OF_2020)
    lines = OF_2020.splitlines(keepends=True)
    for lost in (line for line in lines if "Running benchmark" in line or line.startswith("count=15")):
        log = parse("".join(line for line in lines if line is not lost))
        assert (log.count, log.min_ms, log.latency_ms) == (whole.count, whole.min_ms, whole.latency_ms)
    log = parse("".join(line for line in lines if not line.startswith("count=50")))
    assert (log.count, log.min_ms, log.latency_ms) == close(None, None, 33.2094)  # the warm-up's are not taken for it
    log = parse("".join(line for line in lines if "timings in us" not in line))
    assert (log.load_ms, log.first_ms, log.warmup_ms, log.latency_ms) == close(0.855, 49.06, 34.8251, 33.2094)


@pytest.mark.parametrize("text", LOGS.values(), ids=LOGS)
def test_line_ends_colours_and_foreign_lines_change_nothing(text: str) -> None:
    plain = parse(text)
    assert parse(text.replace("\n", "\r\n")) == parse(text.replace("\n", "\r\r\n")) == plain
    assert parse("".join(f"\x1b[0;32m{line}\x1b[0m\n" for line in text.splitlines())) == plain
    assert parse("".join(f"{line}\nW/Adreno ( 812): 7% of 3% \u0000 count:=9\n" for line in text.splitlines())) == plain


@pytest.mark.parametrize("bad", ["nan", "-nan", "inf", "-33209.4", "1e999", "x", ""])
def test_figures_that_are_none(bad: str) -> None:
    log = parse(OF_2020.replace("33209.4", bad).replace("0.004448", bad))
    assert log.latency_ms is None and log.model_mb is None
    assert log.warmup_ms == pytest.approx(34.8251) and log.count == 50


@pytest.mark.parametrize("text", [*LOGS.values(), OF_2022.replace("\n", "\r\n")], ids=[*LOGS, "crlf"])
def test_a_cut_log_gives_no_figure_that_the_whole_does_not(text: str) -> None:
    whole = dataclasses.asdict(parse(text, "gpu"))
    figures = [name for name, value in whole.items() if name.endswith(("_ms", "_mb")) or name == "count"]
    for end in range(len(text)):
        log = parse(text[:end], "gpu")
        for name in figures:
            # A session's time is first printed with six digits, then with all.
            value = getattr(log, name)
            assert value is None or value == pytest.approx(whole[name], rel=1e-5), (text[:end][-80:], name)


def test_the_csv_of_operators() -> None:
    assert parse(CSV).ops == (
        OpProfile(
            "Delegate/Convolution (NHWC, F32) IGEMM:0", "Convolution (NHWC, F32) IGEMM", None, 1.25, 0.625, 0.0, 1
        ),
        OpProfile("[net/a, net/b]:7", "SOFTMAX", None, 0.75, 0.375, 4.096, 2),
    )
    old = "===== Run Order =====\n"
    old += (
        "node type, start, first, avg_ms, %, cdf%, mem KB, times called, name\nADD, 3, 0.5, 0.25, -nan%, 9%, 0, 1, \n"
    )
    assert parse(old).ops == (OpProfile("", "ADD", 3.0, 0.25, None, 0.0, 1),)
    assert parse(old.replace("0.25", "nan")).ops == ()
    for end in range(len(CSV)):
        assert len(parse(CSV[:end]).ops) <= 2


def sound(log: BenchmarkLog) -> None:
    for field in dataclasses.fields(log):
        value = getattr(log, field.name)
        if isinstance(value, float):
            assert math.isfinite(value)
            assert value >= 0 or field.name in ("memory_init_mb", "memory_overall_mb")
    assert log.verdict in (None, "fully", "partly", "not")
    assert log.latency_ms is None or log.latency_ms > 0
    if log.delegation is not None:
        assert log.verdict is not None
    for op in (*log.ops, *log.delegate_ops):
        assert math.isfinite(op.mean_ms) and op.calls >= 0


ASKED = st.sampled_from([None, "cpu", "builtin", "gpu", "nnapi", "npu", "?"])


@given(st.text(), ASKED)
def test_no_text_makes_it_raise(text: str, asked: str | None) -> None:
    sound(parse(text, asked))
    assert parse(text, asked).latency_ms is None or "Inference" in text or "avg" in text


PIECES = sorted({word for text in (*LOGS.values(), CSV) for word in text.replace("=", "= ").split(" ")})


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*PIECES, "\n", " ", "nan", "-1", "1e999", "9" * 5000]), max_size=40).map(" ".join), ASKED
)
def test_no_shuffled_log_makes_it_raise(text: str, asked: str | None) -> None:
    sound(parse(text, asked))


@settings(max_examples=150)
@given(st.sampled_from(list(LOGS.values())), st.data(), ASKED)
def test_no_damaged_log_makes_it_raise(text: str, data: st.DataObject, asked: str | None) -> None:
    for _ in range(data.draw(st.integers(1, 5))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        text = text[:start] + data.draw(st.text(max_size=10)) + text[end:]
    sound(parse(text, asked))


@pytest.mark.parametrize("char", ["9", "=", "%", "a", "1% ", "emory footprint (MB): ", "count=1 ", "\n", "TfLite"])
def test_long_garbage_takes_no_long_time(char: str) -> None:
    begun = time.process_time()
    parse("===== Run Order =====\n" + char * (200_000 // len(char)))
    assert time.process_time() - begun < 2
