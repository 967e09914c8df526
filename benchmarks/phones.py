"""An emulated phone in a process of its own, so that its work does not mix with what is timed."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from android_harness.adb import Address

ROOT = Path(__file__).parent.parent


@contextlib.contextmanager
def phone(tree: Path) -> Iterator[tuple[subprocess.Popen[str], Address]]:
    """The process and where it listens; ``tree``: the phone's files."""
    command = [sys.executable, "-m", "tests.fixtures.emulated_phone", "--port", "0", "--tree", str(tree)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        port = int(re.search(r":(\d+);", process.stdout.readline()).group(1))  # type: ignore[union-attr]
        yield process, Address("127.0.0.1", port)
    finally:
        process.terminate()
        process.wait()
