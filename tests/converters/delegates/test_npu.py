"""The table of what Intel's plugin takes, against the plugin itself, on files of one operator each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_runtime.engines import vendors
from converters.delegates import support
from tests.fixtures import operator_matrix

#: Runs the files from a number on; a line of JSON each, so that a crash costs one file.
RUNS = """
import json, sys
from pathlib import Path
from adascale_runtime.engines import accelerators, litert
from adascale_runtime.engines.delegates import library
from adascale_runtime.errors import AdaScaleError
from tests.fixtures import operator_matrix

place = Path(sys.argv[1]) / "one.tflite"
for number, case in list(enumerate(operator_matrix.cases()))[int(sys.argv[2]):]:
    print(json.dumps([number, None]), flush=True)
    place.write_bytes(case.model)
    try:
        compiled = accelerators._accelerated(library(), str(place), operator_matrix.SIGNATURE, litert.HARDWARE["npu"])
        whole = compiled.accelerated()
        compiled.close()
    except AdaScaleError:
        whole = False
    print(json.dumps([number, whole]), flush=True)
"""
#: Files on which the two differ, with the reason.
EXCEPTIONS: dict[str, str] = {}


@pytest.mark.npu
@pytest.mark.timeout(900)
def test_the_table_agrees_with_the_plugin(tmp_path: Path, npu: vendors.Vendor) -> None:
    cases = operator_matrix.cases()
    found: dict[int, bool] = {}
    start = 0
    while start < len(cases):
        command = [sys.executable, "-c", RUNS, str(tmp_path), str(start)]
        done = subprocess.run(command, env=dict(os.environ), cwd=Path.cwd(), capture_output=True, text=True)
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        assert told, done.stderr[-2000:]
        found.update({number: whole is True for number, whole in told})
        start = told[-1][0] + 1
    known = {
        n: support.support(case.model, operator_matrix.SIGNATURE, "npu:openvino").whole for n, case in enumerate(cases)
    }
    differ = {cases[n].name: (known[n], found[n]) for n in found if known[n] != found[n]}
    print(f"{len(cases) - len(differ)} of {len(cases)} files agree; others: {differ}")
    assert sum(found.values()) > len(cases) / 2 and len(found) == len(cases)
    assert len(differ) <= len(cases) / 100 and set(differ) <= set(EXCEPTIONS), differ
