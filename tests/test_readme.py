"""What the README tells people to paste works."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tf_keras

from adascale_runtime.seams.bundle import load
from adascale_tf.cli import cli
from adascale_tf.data import Dataset

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.slow
def test_the_python_example_runs_as_written(digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = blocks("python")
    layers = tf_keras.layers
    model = tf_keras.Sequential([
        layers.Input((32, 32, 1)), layers.Conv2D(8, 3, 2, activation="relu"),
        layers.Conv2D(16, 3, 2, activation="relu"), layers.GlobalAveragePooling2D(), layers.Dense(10),
    ])  # fmt: skip
    data = (digits.x_train[:200], digits.y_train[:200]), (digits.x_test[:50], digits.y_test[:50])
    x = digits.inputs(digits.x_test[:1])
    variables: dict[str, Any] = {"model": model, "data": data, "x": x}
    monkeypatch.chdir(tmp_path)
    exec(code, variables)
    assert variables["session"].last.branch in {branch.id for branch in variables["bundle"].manifest.branches}
    assert load(tmp_path / "bundle").digest == variables["bundle"].digest


def test_every_command_it_names_exists() -> None:
    named = set(re.findall(r"^adascale ([a-z]+)", README, re.MULTILINE))
    assert {"build", "profile", "fit", "run"} <= named <= set(cli.commands)


def test_the_first_screen_names_the_two_commands() -> None:
    first = "\n".join(README.splitlines()[:20])
    assert "make demo" in first and "make test" in first


def test_it_is_short_and_its_links_lead_somewhere() -> None:
    assert len(README.splitlines()) <= 120
    for target in re.findall(r"\]\(([^)#]+)", README):
        assert (ROOT / target).exists(), target
