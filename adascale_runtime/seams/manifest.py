"""What a manifest says: a bundle's branches with their costs and accuracy, its files and samples.

Standard library only and Python 3.8 compatible: a phone reads manifests with this file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Dict, Optional, Tuple

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.support import Support

#: Points of accuracy that a branch's file may lose against its Keras network without being marked.
MAX_LOSS = 5.0


@dataclass(frozen=True)
class TensorSpec:
    """A tensor at the border of a branch. ``real = (stored - zero_point) * scale`` where ``dtype`` is an integer."""

    name: str
    shape: Tuple[int, ...]
    dtype: str
    scale: Optional[float] = None
    zero_point: Optional[int] = None


@dataclass(frozen=True)
class Accuracy:
    """How well a branch answers, measured with the .tflite itself."""

    #: What is counted, such as "top-1".
    metric: str
    #: In [0, 1].
    value: float
    #: How many examples were answered.
    samples: int
    #: The part of the data that they are from.
    split: str

    @property
    def interval(self) -> Tuple[float, float]:
        """The 95 % confidence interval of the value in [0, 1], by the examples alone (Wilson, JASA 22, 1927)."""
        if not self.samples:
            return 0.0, 1.0
        z2 = 1.96**2 / self.samples
        middle = self.value + z2 / 2
        half = math.sqrt(z2 * (self.value * (1.0 - self.value) + z2 / 4))
        return max(0.0, (middle - half) / (1.0 + z2)), min(1.0, (middle + half) / (1.0 + z2))


@dataclass(frozen=True)
class Verification:
    """How a .tflite compares with its Keras network on real inputs."""

    samples: int
    #: The share of equal top-1 classes, in [0, 1].
    agreement: float
    #: The largest difference of any output value, in the outputs' unit.
    max_abs_difference: float
    #: Largest minus smallest output of the Keras network, to judge the difference by.
    output_range: float


@dataclass(frozen=True)
class Cost:
    """What a branch costs on any device, counted from its flatbuffer."""

    #: Multiply-accumulates of one inference.
    macs: int
    #: Stored weights.
    params: int
    #: Bytes of constants that one inference reads.
    weight_bytes: int
    #: Bytes of activations that one inference writes and reads.
    activation_bytes: int
    #: The largest sum of bytes of activations that are alive at once.
    peak_bytes: int
    #: Operators.
    ops: int
    #: By class of kernels that run the operators, such as ``conv-integer``: sums over them that their time is linear in
    #: (``converters/kernel_classes.py``). Empty in manifests that were written before it.
    kernels: Dict[str, Dict[str, float]] = field(default_factory=dict)
    #: How multiplications are computed, one of :data:`adascale_runtime.seams.precisions.ARITHMETICS`; empty where the
    #: branch's precision says it.
    arithmetic: str = ""


@dataclass(frozen=True)
class Compiled:
    """A branch compiled ahead of time for one chip with an NPU, whose vendor's libraries run the file."""

    #: Whose chip: "intel", "qualcomm", "mediatek", "google", "samsung".
    vendor: str
    #: The chip as its vendor calls it, such as "SM8750"; "CPU" is Intel's compiler for OpenVINO's CPU device.
    chip: str
    file: str
    #: Operators of the branch, how many of them were compiled, and into how many pieces.
    operators: int
    taken: int
    partitions: int
    #: What compiled it, such as "ai-edge-litert 2.3.0, OpenVINO 2026.3.1".
    compiler: str = ""
    #: How its outputs compare with those of the portable file on the bundle's samples; None where nothing here runs it.
    verification: Optional[Verification] = None


@dataclass(frozen=True)
class Branch:
    """One branch: what it is, which signature of which file runs it, what it costs and how well it answers."""

    id: str
    recipe: str
    #: Where it ends: counts from 1, the last is the full depth.
    exit: int
    precision: str
    file: str
    signature: str
    #: The size of the branch as a file of its own; branches that share a file take less together.
    size_bytes: int
    input: TensorSpec
    output: TensorSpec
    cost: Cost
    accuracy: Accuracy
    verification: Verification
    #: The file of its outputs for the bundle's samples (float32).
    expected: str
    #: How it was trained; ``keras_accuracy`` is that of the network that it was converted from.
    training: Dict[str, Any] = field(default_factory=dict)
    #: What delegates will take of it, known from its file. Empty in manifests that were written before it.
    support: Tuple[Support, ...] = ()
    #: The first version of the runtime that has all of its operators, such as "2.3.0"; empty where that is not known.
    min_runtime: str = ""
    #: Its files for NPUs, beside the portable one. Empty in manifests that were written before it.
    compiled: Tuple[Compiled, ...] = ()

    @property
    def float_accuracy(self) -> Optional[float]:
        """The accuracy of the Keras network that the branch was converted from, in [0, 1]; None if it is not known."""
        value = self.training.get("keras_accuracy")
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None

    @property
    def loss(self) -> float:
        """Points of accuracy (1 point is 0.01) that the file has lost against its Keras network; 0 if not known."""
        before = self.float_accuracy
        return 0.0 if before is None else 100.0 * (before - self.accuracy.value)


@dataclass(frozen=True)
class FileEntry:
    """A file of the bundle, with what proves that it is whole."""

    path: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Samples:
    """A few real inputs."""

    #: Tensors of the input's shape, one after the other (float32, before quantization).
    file: str
    count: int
    #: The class of each.
    labels: Tuple[int, ...]


@dataclass(frozen=True)
class Manifest:
    """Everything about a bundle."""

    format: str
    name: str
    task: str
    backbone: str
    labels: Tuple[str, ...]
    #: How raw data becomes the input; docs/preprocessing.md describes it.
    preprocessing: Dict[str, Any]
    branches: Tuple[Branch, ...]
    files: Tuple[FileEntry, ...]
    samples: Samples
    created: str
    versions: Dict[str, str]
    #: The accuracy of the model that the bundle was built from, before its training; None if there was none.
    given: Optional[Accuracy] = None
    #: Points of accuracy that a branch's file may lose against its Keras network without being marked.
    max_loss: float = MAX_LOSS
    #: Why, by recipe, for branches that were built but lost too much.
    left_out: Dict[str, str] = field(default_factory=dict)
    #: The delegates that the branches were made for, if any were named.
    targets: Tuple[str, ...] = ()

    def lossy(self, branch: Branch) -> bool:
        """Whether a branch's file lost more than the bundle's mark."""
        return branch.loss > self.max_loss + 1e-9  # what is exactly at the mark should not fall to rounding

    def branch(self, branch_id: str) -> Branch:
        """The branch of that id; :class:`BadInput` lists the known ones."""
        for branch in self.branches:
            if branch.id == branch_id:
                return branch
        known = ", ".join(b.id for b in self.branches)
        raise BadInput("The bundle has no branch '{}'; it has {}.".format(branch_id, known))
