"""The command lines that start benchmark_model."""

from __future__ import annotations

import shlex

import pytest

from adascale_runtime.errors import BadInput, UnknownDelegate
from android_harness.benchmark_log import command


def flags(line: str) -> list[str]:
    return shlex.split(line)


@pytest.mark.parametrize(
    ("delegate", "flag"),
    [
        ("cpu", "--use_xnnpack=true"),
        ("builtin", "--use_xnnpack=false"),
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
    more = {"mask": "0xF0", "external_delegate": "/l/lib Q.so", "signature": "w0.5"}
    line = command("b", "$(reboot)", "npu", 1, 5, 1, op_profile=True, **more)
    assert "'--graph=$(reboot)'" in line
    assert flags(line)[:3] == ["taskset", "f0", "b"]
    assert flags(line)[-4:] == [
        "--external_delegate_path=/l/lib Q.so",
        "--signature_to_run_for=w0.5",
        "--enable_op_profiling=true",
        "--report_peak_memory_footprint=true",
    ]


def test_commands_that_cannot_be() -> None:
    with pytest.raises(UnknownDelegate, match="use cpu, builtin, gpu, nnapi or npu"):
        command("b", "m", "tpu", 1, 5, 1)
    with pytest.raises(BadInput, match="external delegate"):
        command("b", "m", "npu", 1, 5, 1)
    for mask in ("", "0", "0x", "-1", "f0;reboot", "1_0"):
        with pytest.raises(BadInput, match="mask of cores"):
            command("b", "m", "cpu", 1, 5, 1, mask=mask)
