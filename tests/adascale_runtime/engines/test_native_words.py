"""Native code's words on standard error: held back, told, and not lost with what is none of our errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adascale_runtime.engines.native_words import held_back, reason
from adascale_runtime.errors import AdaScaleError

DAWN = """Warning: vkCreateInstance: Found no drivers!
    at CheckVkSuccessImpl (third_party/dawn/src/dawn/native/vulkan/VulkanError.cpp:106)

ERROR: [delegate_webgpu.cc:359] Failed to initialize WebGPU environment: INTERNAL: No adapters found
WARNING: Logging before InitGoogle() is written to STDERR
E0000 00:00:1795283800.153357    1340 delegate_webgpu.cc:736] Failed to get or create delegate WebGPU environment
"""


def test_what_native_code_writes_is_held_back_and_told(capfd: pytest.CaptureFixture[str]) -> None:
    with held_back() as said:
        os.write(2, b"native\n")
        assert said() == "native\n"
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


def test_remarks_on_standard_output_are_held_back_and_pythons_own_words_are_not(tmp_path: Path) -> None:
    code = (
        "import os\n"
        "from adascale_runtime.engines.native_words import held_back\n"
        "print('before')\n"
        "with held_back() as said:\n"
        "    os.write(1, b'INFO: no OpenCL\\n')\n"
        "    print('meanwhile')\n"
        "    assert said() == 'INFO: no OpenCL\\n'\n"
        "print('after')\n"
    )
    out = tmp_path / "out"  # a file, which Python buffers
    with out.open("wb") as file:
        assert subprocess.run([sys.executable, "-c", code], stdout=file, check=False).returncode == 0
    assert out.read_text() == "before\nmeanwhile\nafter\n"


def test_an_error_of_ours_tells_all_that_is_needed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AdaScaleError), held_back():
        os.write(2, b"native\n")
        raise AdaScaleError("It failed.")
    assert capfd.readouterr().err == ""


def test_with_any_other_error_nothing_is_lost(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), held_back():
        os.write(2, b"native\n")
        raise ZeroDivisionError
    assert capfd.readouterr().err == "native\n"


def test_what_python_says_meanwhile_is_seen_and_debugging_holds_nothing_back() -> None:
    code = (
        "import os, sys, threading, warnings\n"
        "from adascale_runtime.engines.native_words import held_back\n"
        "with held_back():\n"
        "    os.write(2, b'native\\n')\n"
        "    print('printed', file=sys.stderr)\n"
        "    warnings.warn('warned')\n"
        "    thread = threading.Thread(target=lambda: 1 / 0)\n"
        "    thread.start()\n"
        "    thread.join()\n"
        "    with held_back() as inner:\n"
        "        os.write(2, b'inner\\n')\n"
        "        assert inner() == 'inner\\n'\n"
        "print('after', file=sys.stderr)\n"
    )
    for debug in ("", "1"):
        environment = {**os.environ, "ADASCALE_DEBUG": debug}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        if not debug:
            assert done.returncode == 0 and "native" not in done.stderr
        else:
            assert "native" in done.stderr
        for word in ("printed", "warned", "ZeroDivisionError"):
            assert word in done.stderr
        if not debug:
            assert done.stderr.endswith("after\n")


def test_without_a_standard_error_nothing_happens() -> None:
    code = (
        "import os, sys\n"
        "from adascale_runtime.engines.native_words import held_back\n"
        "os.close(2)\n"
        "with held_back() as said:\n"
        "    assert said() == ''\n"
        "sys.stderr = None\n"
        "with held_back() as said:\n"
        "    assert said() == ''\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (DAWN, ": Failed to initialize WebGPU environment: INTERNAL: No adapters found"),
        (DAWN.partition("ERROR")[0], ""),
        ("", ""),
        ("ERROR: [a.cc:1] \x1b[2Jx" + "y" * 500, None),
    ],
)
def test_the_first_error_is_the_reason(words: str, sentence: str | None) -> None:
    found = reason(words)
    assert found == sentence if sentence is not None else len(found) < 130 and found.isprintable()
