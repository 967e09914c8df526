"""What the README tells people to paste works."""

from __future__ import annotations

import re
from pathlib import Path

from adascale_runtime.seams.bundle import Bundle
from adascale_tf.cli import cli

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_example_runs(built: Bundle, capsys: object) -> None:
    (code,) = blocks("python")
    assert "build/demo/bundle" in code
    variables: dict[str, object] = {}
    exec(code.replace("build/demo/bundle", str(built.root)).replace("latency_ms=1.0", "latency_ms=50.0"), variables)
    assert variables["logits"].shape == (1, 10)  # type: ignore[attr-defined]


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"^adascale ([a-z]+)", README, re.MULTILINE))
    assert {"build", "profile", "fit", "run", "replay", "report", "doctor"} <= named <= set(cli.commands)


def test_the_first_screen_names_the_two_commands() -> None:
    first = "\n".join(README.splitlines()[:20])
    assert "make demo" in first and "make test" in first
