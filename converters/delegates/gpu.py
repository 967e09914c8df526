"""What GPUs take: LiteRT's accelerator ("gpu") and TensorFlow's classic delegate ("gpu:classic")."""

from __future__ import annotations

from converters.delegates.operator import Operator
from converters.delegates.table import Table, declare, rows

_SOURCE = "tensorflow/lite/tools/versioning/gpu_compatibility.cc"


def _rank(operator: Operator) -> str:
    ranks = [t.rank for t in (*operator.inputs, *operator.outputs) if t is not None]
    return f"rank {max(ranks)}" if max(ranks) > 4 else ""


_KINDS = "ADD SUB MUL DIV CONV_2D DEPTHWISE_CONV_2D FULLY_CONNECTED MEAN AVERAGE_POOL_2D MAX_POOL_2D RESHAPE SOFTMAX"
CLASSIC = declare(
    Table("gpu:classic", "TensorFlow Lite's GPU delegate.", "TensorFlow 2.21", rows(_KINDS, _rank, _SOURCE), pieces=1)
)
TABLE = declare(Table("gpu", "LiteRT's GPU accelerator.", "LiteRT 2.3.0", rows(_KINDS, _rank, _SOURCE)))
