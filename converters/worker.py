"""The main loop of the child process that converts and first runs models: native code that may abort.

The TFLite converter aborts on some models, LiteRT on some files that the converter wrote; then only this process dies.
Requests come as JSON lines on standard input, answers leave as JSON lines on standard output; models, inputs and
results are files. It ends when its input ends. See :mod:`converters.process` for the other side.
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
    """``{"disk": reason}`` if the result cannot be written, ``{"refused": reason}`` for what the native code says."""
    try:
        content = _WORK[request["do"]](request)
    except Exception as error:  # the converter raises its own and TensorFlow's kinds alike
        return {"refused": str(error).strip().split("\n")[0] or type(error).__name__}
    try:
        Path(request["out"]).write_bytes(content)
    except OSError as error:
        return {"disk": error.strerror or str(error)}
    return {}


def _convert(request: dict[str, Any]) -> bytes:
    """``model``, a SavedModel, as .tflite in ``mode``.

    ``inputs``: the input's name by signature; ``calibration``: a .npy file of examples (N, ...).
    """
    import numpy as np
    import tensorflow as tf

    from converters import precisions
    from converters.slices import slice_splits

    examples = np.load(request["calibration"], allow_pickle=False)

    def representative() -> Iterator[Any]:
        for key, name in request["inputs"].items():
            for example in examples:
                yield key, {name: example[np.newaxis]}

    converter = tf.lite.TFLiteConverter.from_saved_model(request["model"], signature_keys=list(request["inputs"]))
    precisions.lookup(request["mode"]).configure(converter, representative)
    return slice_splits(bytes(converter.convert()))


def _run(request: dict[str, Any]) -> bytes:
    """The outputs (N, classes) of a branch for the inputs (N, ...) of a .npy file, as raw float32.

    ``model``: the .tflite; ``branch``: the manifest's entry of it.
    """
    import numpy as np

    from adascale_runtime.engines.delegates import opener
    from adascale_runtime.files import codec
    from adascale_runtime.seams.manifest import Branch
    from converters import verify

    branch = codec.from_json(Branch, request["branch"], "branch")
    x = np.load(request["inputs"], mmap_mode="r", allow_pickle=False)
    run = opener("cpu")(Path(request["model"]), branch, 1, False)
    return np.ascontiguousarray(verify.outputs(run, x), "<f4").tobytes()


_WORK = {"convert": _convert, "run": _run}


if __name__ == "__main__":
    # Started by its path, so that the folder it was started in is not searched for modules.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    main()
