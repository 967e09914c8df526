"""The process that runs the TFLite converter, which aborts on some models: only this process dies of it.

Requests come as JSON lines on standard input, answers leave as JSON lines on standard output; models, calibration data
and results are files. It ends when its input ends. See :mod:`converters.process` for the other side.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    null = os.open(os.devnull, os.O_WRONLY)  # native code writes to both past Python's reach
    os.dup2(null, 1)
    os.dup2(null, 2)
    import tensorflow  # noqa: F401  (takes seconds, while nobody waits yet)

    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


def _answer(request: dict[str, Any]) -> dict[str, str]:
    """``{"disk": reason}`` if the result cannot be written, ``{"refused": reason}`` for what the converter says."""
    try:
        content = _convert(Path(request["model"]), request["inputs"], request["mode"], Path(request["calibration"]))
    except Exception as error:  # the converter raises its own and TensorFlow's kinds alike
        return {"refused": str(error).strip().split("\n")[0] or type(error).__name__}
    try:
        Path(request["out"]).write_bytes(content)
    except OSError as error:
        return {"disk": error.strerror or str(error)}
    return {}


def _convert(model: Path, inputs: dict[str, str], mode: str, calibration: Path) -> bytes:
    """A SavedModel as .tflite. ``inputs``: the input's name by signature; ``calibration``: examples (N, ...), .npy."""
    import numpy as np
    import tensorflow as tf

    from converters.precisions import PRECISIONS

    examples = np.load(calibration, allow_pickle=False)

    def representative() -> Iterator[Any]:
        for key, name in inputs.items():
            for example in examples:
                yield key, {name: example[np.newaxis]}

    converter = tf.lite.TFLiteConverter.from_saved_model(str(model), signature_keys=list(inputs))
    PRECISIONS[mode](converter, representative)
    return bytes(converter.convert())


if __name__ == "__main__":
    # Started by its path, so that the folder it was started in is not searched for modules.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    main()
