from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.engines import accelerators, litert
from adascale_runtime.engines.delegates import library
from adascale_runtime.errors import BadInput
from converters import flatbuffer
from profiling import micro_kernels
from profiling.micro_kernels import Kernel

KERNELS = [
    Kernel("conv", "float", 8, 6, 10, 3, 1), Kernel("conv", "hybrid", 8, 24, 16, 3, 2),
    Kernel("conv", "integer", 7, 12, 12, 1, 1, repeat=3), Kernel("depthwise", "float", 8, 12, window=3, repeat=2),
    Kernel("depthwise", "hybrid", 8, 12, window=3), Kernel("depthwise", "integer", 9, 12, window=5, stride=2),
    Kernel("dense", "float", 1, 32, 10), Kernel("dense", "hybrid", 1, 96, 96, repeat=2),
    Kernel("dense", "integer", 1, 32, 10), Kernel("add", "integer", 4, 8, repeat=4), Kernel("mul", "float", 4, 8),
    Kernel("sub", "float", 4, 8), Kernel("concat", "integer", 4, 8), Kernel("split", "float", 4, 8, repeat=2),
    Kernel("averagepool", "integer", 8, 8, window=2, stride=2), Kernel("maxpool", "float", 8, 8, window=2, stride=2),
    Kernel("mean", "integer", 8, 8), Kernel("logistic", "integer", 4, 8, repeat=2), Kernel("tanh", "float", 4, 8),
    Kernel("separable", "hybrid", 6, 16, window=3, repeat=2), Kernel("gru", "float", 1, 8, repeat=3),
    Kernel("gru", "integer", 1, 8, repeat=2),
]  # fmt: skip


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.id)
def test_litert_runs_it_and_takes_what_the_file_says(kernel: Kernel, tmp_path: Path) -> None:
    model = micro_kernels.write(kernel)
    path = tmp_path / "kernel.tflite"
    path.write_bytes(model)
    compiled = litert.Compiled(library(), str(path), micro_kernels.SIGNATURE, litert.HARDWARE["cpu"], profiling=True)
    try:
        output = compiled.run(np.ones(compiled.input_bytes // 4 + 1, np.float32).tobytes()[: compiled.input_bytes])
        taken = accelerators.count_taken(compiled.profile(bytes(compiled.input_bytes)), compiled.nodes)
    finally:
        compiled.close()
    own = flatbuffer.operators(model, micro_kernels.SIGNATURE)
    assert len(output) > 0 and taken.delegated == sum(o.delegated for o in own)


def test_the_cost_is_what_was_asked_for() -> None:
    cost = flatbuffer.cost(micro_kernels.write(Kernel("conv", "integer", 9, 5, 17, 3, 2)), micro_kernels.SIGNATURE)
    sums = cost.kernels["conv-integer"]
    assert cost.macs == sums["macs"] == 5 * 5 * 17 * 9 * 5
    # 25 positions fill 4 rows of tiles of 7, 17 filters fill 2 columns of 16, 5 inputs fill 8.
    assert sums["macs_7x16"] == 28 * 32 * 9 * 8 and sums["tiles_7x16"] == 4 * 2 * 9
    few = flatbuffer.cost(micro_kernels.write(Kernel("conv", "float", 8, 16, 16, 3)), micro_kernels.SIGNATURE).kernels[
        "conv-float"
    ]
    assert few["macs_7x32"] == 70 * 16 * 9 * 16  # tiles of 32 columns have a half for up to 16 filters


def test_a_recurrent_step_is_taken_whole() -> None:
    found = flatbuffer.cost(
        micro_kernels.write(Kernel("gru", "float", 1, 16, repeat=4)), micro_kernels.SIGNATURE
    ).kernels
    assert "builtin-float" not in found and found["partition"] == {"count": 1, "operators": 60}
    assert found["dense-float"]["count"] == 8 and found["curve-float"]["count"] == 12


@pytest.mark.parametrize(("arithmetic", "mode"), [("float", "float32"), ("hybrid", "dynamic"), ("integer", "int8")])
def test_a_recurrent_step_is_what_the_converter_writes(arithmetic: str, mode: str) -> None:
    import tf_keras

    from converters import convert

    steps, units = 6, 32  # of fewer, the converter leaves the weights in float32 in "dynamic"
    tf_keras.utils.set_random_seed(0)
    sequence = tf_keras.Input((steps, units), name="sequence")
    cells = tf_keras.layers.GRU(units, unroll=True, bias_initializer=tf_keras.initializers.RandomNormal(0, 0.1))
    model = tf_keras.Model(sequence, tf_keras.layers.Dense(3)(cells(sequence)))
    x = np.random.default_rng(0).normal(size=(40, steps, units)).astype(np.float32)
    branch = flatbuffer.operators(convert.convert({"net": model}, mode, x)["net"].model, "net")
    step = flatbuffer.operators(micro_kernels.write(Kernel("gru", arithmetic, 1, units)), micro_kernels.SIGNATURE)
    found, wanted = ([(o.kind, o.kernel, o.delegated) for o in each] for each in (branch, step))
    times = sum(found[start : start + len(wanted)] == wanted for start in range(len(found)))
    assert times >= steps - 3  # of the first and the last, constants and what nothing reads are folded
    assert all(taken for kind, _, taken in found if kind != "UNPACK")


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadInput, match="no micro-kernel 'fft'"):
        micro_kernels.write(Kernel("fft", "float", 4, 4))
    with pytest.raises(BadInput, match="no micro-kernel 'conv' in 'wide'"):
        micro_kernels.write(Kernel("conv", "wide", 4, 4, 4))
    with pytest.raises(BadInput, match="changes the shape cannot be repeated"):
        micro_kernels.write(Kernel("concat", "float", 4, 4, repeat=2))
