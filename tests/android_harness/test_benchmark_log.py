# ruff: noqa: E501  (logs keep the lines of the tool)
from __future__ import annotations

import dataclasses
import math
import shlex
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_tf.errors import BadInput, UnknownDelegate
from adascale_tf.records import Delegation
from android_harness.benchmark_log import BenchmarkLog, OpProfile, command, parse, parse_op_csv

#: TensorFlow 1.13: another line of timings, no statement about memory.
OF_2019 = """STARTING!
Min num runs: [10]
Graph: [/data/local/tmp/m.tflite]
Use nnapi : [0]
Loaded model /data/local/tmp/m.tflite
resolved reporter
Initialized session in 9.933ms
Running benchmark for at least 4 iterations and at least 0.5 seconds
count=7 first=127425 curr=66709 min=66709 max=127425 avg=76605.9 std=20944

Running benchmark for at least 10 iterations and at least 1 seconds
count=15 first=66753 curr=66800 min=66699 max=66838 avg=66767.6 std=39

Average inference timings in us: Warmup: 76605.9, Init: 9933, no stats: 66767.6
"""

#: TensorFlow 2.3 with --enable_op_profiling=true.
OF_2020 = """STARTING!
Duplicate flags: num_threads
Log parameter values verbosely: [0]
Num threads: [4]
Graph: [/data/local/tmp/m.tflite]
Enable op profiling: [1]
#threads used for CPU inference: [4]
Loaded model /data/local/tmp/m.tflite
The input model file size (MB): 0.004448
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE to the actual memory.
Peak memory footprint (MB): init=0 overall=12.8672
Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t         AllocateTensors\t            0.000\t    0.085\t    0.085\t100.000%\t100.000%\t     0.000\t        1\tAllocateTensors/0

============================== Top by Computation Time ==============================
\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t         AllocateTensors\t            0.000\t    0.085\t    0.085\t100.000%\t100.000%\t     0.000\t        1\tAllocateTensors/0

Number of nodes executed: 1
============================== Summary by node type ==============================
\t             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]\t[times called]
\t         AllocateTensors\t        1\t     0.085\t   100.000%\t   100.000%\t     0.000\t        1

Timings (microseconds): count=1 curr=85
Memory (bytes): count=0
1 nodes observed

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t            0.011\t   20.100\t   20.250\t 61.000%\t 61.000%\t     0.000\t        1\t[net/conv/Relu;net/bias]:0
\t       DEPTHWISE_CONV_2D\t           20.262\t   12.800\t   12.948\t 39.000%\t100.000%\t    12.288\t        2\t[net/a, net/b]:1

============================== Top by Computation Time ==============================
\t             [node type]\t          [start]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                 CONV_2D\t            0.011\t   20.100\t   20.250\t 61.000%\t 61.000%\t     0.000\t        1\t[net/conv/Relu;net/bias]:0

Number of nodes executed: 2
============================== Summary by node type ==============================
\t             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]\t[times called]
\t                 CONV_2D\t        1\t    20.250\t    61.000%\t    61.000%\t     0.000\t        1

Timings (microseconds): count=50 first=32900 curr=33900 min=32600 max=34000 avg=33198 std=440
Memory (bytes): count=0
2 nodes observed
"""

#: TensorFlow 2.8 as an Android app: logcat, the GPU takes a part and XNNPACK most of the rest.
OF_2022 = "".join(
    f"05-31 10:38:42.569 22206 22206 I tflite  : {line}\n"
    for line in """Log parameter values verbosely: [0]
Graph: [/data/local/tmp/m.tflite]
Use gpu: [1]
Loaded model /data/local/tmp/m.tflite
Initialized TensorFlow Lite runtime.
Created TensorFlow Lite delegate for GPU.
GPU delegate created.
Replacing 294 out of 310 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 5 partitions for the whole graph.
Created 2 GPU delegate kernels.
Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 2 delegate kernels.
Created TensorFlow Lite XNNPACK delegate for CPU.
Replacing 12 out of 18 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 4 partitions for the whole graph.
The input model file size (MB): 16.5922
Initialized session in 1203.48ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=1 curr=1381510
Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=1381601 curr=1411853 min=1317870 max=1.43649e+06 avg=1.38217e+06 std=32500
Inference timings in us: Init: 1203481, First inference: 1381510, Warmup (avg): 1.38151e+06, Inference (avg): 1.38217e+06
Memory footprint delta from the start of the tool (MB): init=6.70312 overall=63.4023
Overall peak memory footprint (MB) via periodic monitoring: 81.25""".splitlines()
)

#: TensorFlow 2.16 and LiteRT: "INFO: " before lines, percentiles, tables without a start, the inside of XNNPACK.
OF_2024 = """INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Graph: [/data/local/tmp/m.tflite]
INFO: Signature to run: [serving_default]
INFO: Use xnnpack: [1]
INFO: Loaded model /data/local/tmp/m.tflite
INFO: Initialized TensorFlow Lite runtime.
INFO: XNNPACK delegate created.
VERBOSE: Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate.
INFO: The input model file size (MB): 4.27635
INFO: Initialized session in 12.53ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=124 first=5120 curr=4011 min=3980 max=5120 avg=4020.5 std=101 p5=3990 median=4010 p95=4100

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=250 first=4001 curr=4003 min=3970 max=4321 avg=4005.25 std=33 p5=3981 median=4002 p95=4050

INFO: Inference timings in us: Init: 12530, First inference: 5120, Warmup (avg): 4020.5, Inference (avg): 4005.25
INFO: Note: as the benchmark tool itself affects memory footprint, the following is only APPROXIMATE.
INFO: Memory footprint delta from the start of the tool (MB): init=-0.25 overall=12.1914
INFO: Overall peak memory footprint (MB) via periodic monitoring: 15.3281
INFO: Memory status at the end of exeution:
INFO: - VmRSS              : 15 MB
INFO: Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t   TfLiteXNNPackDelegate\t    4.000\t    3.990\t100.000%\t100.000%\t     0.000\t        1\t[StatefulPartitionedCall:0]:31

Number of nodes executed: 1
============================== Summary by node type ==============================
\t             [Node type]\t  [count]\t  [avg ms]\t    [avg %]\t    [cdf %]\t  [mem KB]\t[times called]
\t   TfLiteXNNPackDelegate\t        1\t     3.990\t   100.000%\t   100.000%\t     0.000\t        1

Timings (microseconds): count=250 first=4000 curr=4002 min=3969 max=4320 avg=3990 std=33
Memory (bytes): count=0
1 nodes observed
Delegate internal: 
============================== Run Order ==============================
\t             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t        DelegateOpInvoke\t    1.000\t    0.998\t 25.000%\t 25.000%\t     0.000\t        1\tDelegate/Convolution (NHWC, QC8) IGEMM:0
\t        DelegateOpInvoke\t    3.000\t    2.994\t 75.000%\t100.000%\t     0.000\t        1\tDelegate/Fully Connected (NC, QC8) GEMM:1

Timings (microseconds): count=250 first=4000 curr=4002 min=3969 max=4320 avg=3992 std=33
Memory (bytes): count=0
2 nodes observed

"""

LOGS = {"2019": OF_2019, "2020": OF_2020, "2022": OF_2022, "2024": OF_2024}

CSV = """Profiling Info for Benchmark Initialization:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
AllocateTensors, 0.085, 0.085, 100%, 100%, 0, 1, AllocateTensors/0

Operator-wise Profiling Info for Regular Benchmark Runs:
============================== Run Order ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
Convolution (NHWC, F32) IGEMM, 1.5, 1.25, 62.5%, 62.5%, 0, 1, Delegate/Convolution (NHWC, F32) IGEMM:0
SOFTMAX, 8e-05, 0.75, 37.5%, 100%, 4.096, 2, [net/a, net/b]:7

============================== Top by Computation Time ==============================
node type, first, avg_ms, %, cdf%, mem KB, times called, name
SOFTMAX, 8e-05, 0.75, 37.5%, 100%, 4.096, 2, [net/a, net/b]:7

Number of nodes executed: 2
============================== Summary by node type ==============================
node type, count, avg_ms, avg %, cdf %, mem KB, times called
SOFTMAX, 1, 0.75, 37.5%, 100%, 4.096, 2
"""


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
    log = parse(OF_2020, "reference")
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


XNNPACK = "Replacing 31 out of 31 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions.\n"


@pytest.mark.parametrize(
    ("asked", "text", "delegation", "name", "verdict", "failed"),
    [
        (  # the GPU takes all, then cannot be prepared; the tool gives up
            "gpu",
            "Replacing 31 out of 31 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions.\n"
            "ERROR: TfLiteGpuDelegate Init: MUL: Expected a 3D tensor\n"
            "ERROR: Restored original execution plan after delegate application failure.\n"
            "ERROR: Failed to apply GPU delegate.\nERROR: Benchmarking failed.\n",
            Delegation(31, 0, 0),
            "TfLiteGpuDelegateV2",
            "not",
            True,
        ),
        (
            "gpu",
            "GPU acceleration is unsupported on this platform.\n" + XNNPACK,
            Delegation(31, 0, 0),
            "GPU",
            "not",
            True,
        ),
        ("gpu", "Failed to apply GPU delegate.", None, "GPU", "not", True),
        (
            "cpu",
            "Failed to apply GPU delegate.\n" + XNNPACK,
            Delegation(31, 31, 1),
            "TfLiteXNNPackDelegate",
            "fully",
            False,
        ),
        (  # nothing but XNNPACK speaks
            "gpu",
            XNNPACK,
            Delegation(31, 0, 0),
            None,
            "not",
            False,
        ),
        (None, XNNPACK, Delegation(31, 31, 1), "TfLiteXNNPackDelegate", "fully", False),
        ("reference", XNNPACK, Delegation(31, 31, 1), "TfLiteXNNPackDelegate", "fully", False),
        (
            "nnapi",
            "Though NNAPI delegate is explicitly applied, the model graph will not be executed by the delegate.\n",
            None,
            "NNAPI",
            "not",
            False,
        ),
        (  # the delegate's lines are not printed on some builds: its kernels prove that it took a part
            "gpu",
            "Explicitly applied GPU delegate, and the model graph will be partially executed by the delegate w/ 3 "
            "delegate kernels.\nReplacing 9 out of 20 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 4 "
            "partitions.\n",
            None,
            "GPU",
            "partly",
            False,
        ),
        (
            "npu",
            "INFO: TfLiteQnnDelegate delegate: 0 nodes delegated out of 31 nodes with 0 partitions.\n"
            "INFO: Though EXTERNAL delegate is explicitly applied, the model graph will not be executed by the delegate.\n"
            + XNNPACK,
            Delegation(31, 0, 0),
            "TfLiteQnnDelegate",
            "not",
            False,
        ),
        (  # the same fact twice is one
            "npu",
            "TfLiteQnnDelegate delegate: 17 nodes delegated out of 21 nodes with 4 partitions.\n"
            "Replacing 17 out of 21 node(s) with delegate (TfLiteQnnDelegate) node, yielding 9 partitions for subgraph 0.\n"
            "Explicitly applied EXTERNAL delegate, and the model graph will be partially executed by the delegate w/ 4 "
            "delegate kernels.\n",
            Delegation(21, 17, 4),
            "TfLiteQnnDelegate",
            "partly",
            False,
        ),
        (  # two signatures; the second is applied anew after a resize
            "gpu",
            "Replacing 8 out of 8 node(s) with delegate (LITERT_CL) node, yielding 1 partitions for subgraph 0.\n"
            "Replacing 5 out of 9 node(s) with delegate (LITERT_CL) node, yielding 3 partitions for subgraph 1.\n"
            "Replacing 6 out of 9 node(s) with delegate (LITERT_CL) node, yielding 2 partitions for subgraph 1.\n"
            "Explicitly applied GPU delegate, and the model graph will be completely executed by the delegate.\n",
            Delegation(17, 14, 3),
            "LITERT_CL",
            "partly",
            False,
        ),
        (  # 2020 printed no total
            "gpu",
            "INFO: Replacing 64 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 1 partitions.\n"
            "Applied GPU delegate, and the model graph will be completely executed w/ the delegate.\n",
            Delegation(64, 64, 1),
            "TfLiteGpuDelegateV2",
            "fully",
            False,
        ),
        (
            "gpu",
            "INFO: Replacing 60 node(s) with delegate (TfLiteGpuDelegateV2) node, yielding 3 partitions.\n",
            None,
            "TfLiteGpuDelegateV2",
            None,
            False,
        ),
        ("gpu", "", None, None, None, False),
    ],
)
def test_what_the_delegate_took(
    asked: str | None, text: str, delegation: Delegation | None, name: str | None, verdict: str | None, failed: bool
) -> None:
    log = parse(text, asked)
    assert (log.delegation, log.delegate, log.verdict, log.failed_delegate) == (delegation, name, verdict, failed)
    assert log.latency_ms is None


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
    assert parse_op_csv(CSV) == (
        OpProfile(
            "Delegate/Convolution (NHWC, F32) IGEMM:0", "Convolution (NHWC, F32) IGEMM", None, 1.25, 0.625, 0.0, 1
        ),
        OpProfile("[net/a, net/b]:7", "SOFTMAX", None, 0.75, 0.375, 4.096, 2),
    )
    old = "node type, start, first, avg_ms, %, cdf%, mem KB, times called, name\nADD, 3, 0.5, 0.25, -nan%, 9%, 0, 1, \n"
    assert parse_op_csv(old) == (OpProfile("", "ADD", 3.0, 0.25, None, 0.0, 1),)
    assert parse_op_csv(old.replace("0.25", "nan")) == ()
    assert parse(CSV).ops == parse_op_csv(CSV)
    for end in range(len(CSV)):
        assert len(parse_op_csv(CSV[:end])) <= 2


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


ASKED = st.sampled_from([None, "cpu", "reference", "gpu", "nnapi", "npu", "?"])


@given(st.text(), ASKED)
def test_no_text_makes_it_raise(text: str, asked: str | None) -> None:
    sound(parse(text, asked))
    assert parse(text, asked).latency_ms is None or "Inference" in text or "avg" in text
    parse_op_csv(text)


PIECES = sorted({word for text in (*LOGS.values(), CSV) for word in text.replace("=", "= ").split(" ")})


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*PIECES, "\n", " ", "nan", "-1", "1e999", "9" * 5000]), max_size=40).map(" ".join), ASKED
)
def test_no_shuffled_log_makes_it_raise(text: str, asked: str | None) -> None:
    sound(parse(text, asked))
    parse_op_csv(text)


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


def flags(line: str) -> list[str]:
    return shlex.split(line)


@pytest.mark.parametrize(
    ("delegate", "flag"),
    [
        ("cpu", "--use_xnnpack=true"),
        ("reference", "--use_xnnpack=false"),
        ("gpu", "--use_gpu=true"),
        ("nnapi", "--use_nnapi=true"),
    ],
)
def test_the_command(delegate: str, flag: str) -> None:
    line = command("/data/local/tmp/benchmark_model", "/data/a b/it's.tflite", delegate, 4, 50, 3)
    assert flags(line) == [
        "/data/local/tmp/benchmark_model",
        "--graph=/data/a b/it's.tflite",
        "--num_threads=4",
        "--num_runs=50",
        "--warmup_runs=3",
        flag,
    ]


def test_the_command_for_an_npu_with_all_options() -> None:
    line = command("b", "$(reboot)", "npu", 1, 5, 1, True, "0xF0", external_delegate="/l/lib Q.so", signature="w0.5")
    assert "'--graph=$(reboot)'" in line
    assert flags(line)[:3] == ["taskset", "f0", "b"]
    assert flags(line)[-4:] == [
        "--external_delegate_path=/l/lib Q.so",
        "--signature_to_run_for=w0.5",
        "--enable_op_profiling=true",
        "--report_peak_memory_footprint=true",
    ]


def test_commands_that_cannot_be() -> None:
    with pytest.raises(UnknownDelegate, match="use cpu, reference, gpu, nnapi or npu"):
        command("b", "m", "tpu", 1, 5, 1)
    with pytest.raises(BadInput, match="external delegate"):
        command("b", "m", "npu", 1, 5, 1)
    for mask in ("", "0", "0x", "-1", "f0;reboot", "1_0"):
        with pytest.raises(BadInput, match="mask of cores"):
            command("b", "m", "cpu", 1, 5, 1, mask=mask)
