"""What executes branches on a phone: LiteRT's C library, or a Python package of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.seams.bundle import Bundle

ROOT = Path(__file__).parents[2]
CODE = """
import json, sys
from adascale_runtime.engines import delegates
from android_harness.agent import engines, work
engine = engines.install(sys.argv[2] or None)
bundle = work.open_bundle(sys.argv[1])
branch, x = bundle.manifest.branch("full"), work.samples(bundle)[0]
outputs = {name: list(delegates.open_untried(bundle, branch, name)(x).values) for name in sys.argv[3:]}
print(json.dumps([engine, delegates.available(), outputs]))
"""


def told(bundle: Bundle, library: str, *names: str) -> tuple[str, list[str], dict[str, list[float]]]:
    """What installs in a process of its own, and the outputs of delegates for a sample."""
    command = [sys.executable, "-c", CODE, str(bundle.root), library, *names]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    engine, available, outputs = json.loads(done.stdout.splitlines()[-1])
    return engine, available, outputs


def test_the_c_library_has_its_own_plain_kernels_and_a_package_the_reference_ones(built: Bundle) -> None:
    engine, available, outputs = told(built, wheel_library(), "cpu", "builtin")
    assert engine == "libLiteRt.so" and available == ["builtin", "cpu", "gpu", "npu"]
    package, there, others = told(built, "", "cpu", "reference")
    assert package == "ai_edge_litert.interpreter" and there == ["cpu", "reference"]
    for values in (outputs["builtin"], others["cpu"], others["reference"]):
        assert all(abs(a - b) < 1e-3 for a, b in zip(values, outputs["cpu"], strict=True))
