"""TensorFlow's Analyzer on the files of the matrix, and what was recorded of it.

Run as a program it records. The last TensorFlow whose Analyzer judges is 2.17.1; only its wrapper is needed::

    pip download tensorflow-cpu==2.17.1 --no-deps --python-version 3.11 --only-binary=:all:
    unzip tensorflow_cpu-*.whl 'tensorflow/lite/python/analyzer_wrapper/*'
    python -m tests.converters.delegates.analyzer tensorflow/lite/python/analyzer_wrapper/_pywrap_analyzer_wrapper.so
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from converters.delegates.operator import read
from tests.fixtures.operator_matrix import SIGNATURE, Case, cases

RECORDED = Path(__file__).parent / "analyzer.json"
_WARNING = "GPU COMPATIBILITY WARNING: "
_VERSION = re.compile(r"TFLite runtime version (\S+)")


def warnings(report: str) -> list[str]:
    """Why the Analyzer thinks that operators of a file do not run on GPUs."""
    said = [line.partition(_WARNING)[2] for line in report.splitlines() if _WARNING in line]
    return [line for line in said if not line.startswith("Subgraph#")]


def digest(files: Sequence[Case]) -> str:
    """A digest of what the files hold, whatever their bytes are: libraries pack flatbuffers differently."""
    seen = hashlib.sha256()
    for case in files:
        for one in read(case.model, SIGNATURE).operators:
            tensors = [
                (t.shape, t.dtype, t.constant, t.stored, t.quantization, t.numbers() if t.dtype == "int32" else None)
                if t is not None
                else None
                for t in (*one.inputs, *one.outputs)
            ]
            options = sorted((key, _plain(value)) for key, value in one.options.items() if _plain(value))
            seen.update(repr((case.name, one.kind, one.version, tensors, options)).encode())
    return seen.hexdigest()


def _plain(value: Any) -> Any:
    return [int(n) for n in value] if hasattr(value, "__len__") and not isinstance(value, (str, bytes)) else value


def _record(analyze: Callable[[bytes, bool, bool], str]) -> dict[str, Any]:
    files = cases()
    reports = {case.name: analyze(case.model, False, True) for case in files}
    refused: dict[str, list[str]] = {}
    for name, report in reports.items():
        for reason in warnings(report):
            refused.setdefault(reason, []).append(name)
    found = _VERSION.search(next(iter(reports.values())))
    assert found is not None and refused
    return {"tensorflow": found.group(1).rstrip("."), "files": len(files), "digest": digest(files), "refused": refused}


if __name__ == "__main__":
    spec = importlib.util.spec_from_file_location("_pywrap_analyzer_wrapper", sys.argv[1])
    assert spec is not None and spec.loader is not None
    wrapper = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(wrapper)
    RECORDED.write_text(json.dumps(_record(wrapper.ModelAnalyzer), indent=1) + "\n")
