"""What the guide on scale shows works: its Python runs as it stands, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from adascale_tf.cli import cli

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "scale.md").read_text()


@pytest.mark.slow
def test_the_optimizer_trains_the_example() -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    gain, accuracy = done.stdout.splitlines()[-2:]
    assert 1.0 < float(gain.split()[0]) < 4.0
    assert float(accuracy.strip("[]").split(", ")[1]) > 0.8


def test_the_options_of_the_commands_exist() -> None:
    lines = re.findall(r"^(?:TF_CONFIG='.*' )?adascale (\w+)(.*)$", GUIDE, re.MULTILINE)
    assert len(lines) >= 5
    for command, rest in lines:
        told = CliRunner().invoke(cli, [command, "--help"]).output
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest):
            assert option in told, f"{command} {option}"
