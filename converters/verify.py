"""Verification of a .tflite against its Keras network on real inputs, and its accuracy, measured with LiteRT itself."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from adascale_runtime.seams.manifest import Accuracy, Branch, Verification
from converters import process

Predict = Callable[[np.ndarray], np.ndarray]


def compare(expected: np.ndarray, actual: np.ndarray) -> Verification:
    """Outputs (N, classes) of the Keras network and of the .tflite, on the same real inputs."""
    agreement = float(np.mean(expected.argmax(-1) == actual.argmax(-1)))
    difference = float(np.max(np.abs(expected - actual)))
    return Verification(len(expected), agreement, difference, float(np.ptp(expected)))


def outputs(run: Predict, x: np.ndarray, done: Callable[[int], None] = lambda n: None) -> np.ndarray:
    """The real-valued outputs (N, classes) of a batch-1 runner for inputs (N, ...); ``done(n)`` after each."""
    rows = []
    for number, example in enumerate(x, start=1):
        rows.append(run(example[np.newaxis])[0])
        done(number)
    return np.stack(rows)


def outputs_apart(path: Path, branch: Branch, inputs: Path) -> np.ndarray:
    """The outputs (N, classes) of a file that never ran before, computed in the converter's process.

    ``inputs``: a .npy file (N, ...). :class:`AdaScaleError` names the branch if LiteRT cannot load the file or dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "outputs.bin"
        try:
            process.start().begin("run", out, model=str(path), branch=codec.to_json(branch), inputs=str(inputs))()
        except (process.ConversionRefused, process.Died) as error:
            fault = (
                f"rejects its file: {error}"
                if isinstance(error, process.ConversionRefused)
                else f"crashes on its file ({error})"
            )
            raise AdaScaleError(
                f"Branch '{branch.recipe}' does not run: LiteRT {fault}; leave this recipe out."
            ) from None
        return np.fromfile(out, "<f4").reshape(-1, branch.output.shape[-1])


def accuracy(logits: np.ndarray, labels: np.ndarray, split: str) -> Accuracy:
    """Top-1 accuracy of outputs (N, classes) against labels (N,)."""
    return Accuracy("top-1", float(np.mean(logits.argmax(-1) == labels)), len(labels), split)
