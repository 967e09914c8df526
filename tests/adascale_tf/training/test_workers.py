"""Worker processes on this machine that train one network together; one dies, and all go on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.seams import bundle
from adascale_tf.training import checkpoint

RECIPES = "full,int8,width(0.5)+int8,width(0.25)+exit(2)+int8"
EPOCHS = 6


def ports(count: int) -> list[int]:
    """Free ports of this machine."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [server.getsockname()[1] for server in taken]
    for server in taken:
        server.close()
    return found


def start(folder: Path, name: str, options: Sequence[str], config: dict[str, Any] | None = None) -> Any:
    """``adascale build`` of digits in a process of its own; what it says goes to a file."""
    command = [sys.executable, "-m", "adascale_tf", "build", "--data", "digits", "--recipes", RECIPES]
    environment = {**os.environ, **({"TF_CONFIG": json.dumps(config)} if config else {})}
    with (folder / f"{name}.log").open("w") as log:
        return subprocess.Popen(
            [*command, "--out", folder / name, *options], env=environment, stderr=log, stdout=subprocess.DEVNULL
        )


def pair(folder: Path, second: Sequence[str] = (), epochs: int = EPOCHS) -> list[Any]:
    """Two workers of one training; ``second``: options of the other one alone."""
    addresses = [f"127.0.0.1:{port}" for port in ports(2)]
    options = ["--strategy", "multi-worker", "--epochs", str(epochs)]
    return [
        start(folder, f"worker{index}", [*options, *(second if index else ())], {
            "cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}
        })
        for index in range(2)
    ]  # fmt: skip


def accuracies(path: Path) -> dict[str, float]:
    return {branch.recipe: branch.accuracy.value for branch in bundle.load(path).manifest.branches}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_workers_train_like_one_and_go_on_after_a_death(tmp_path: Path) -> None:
    kept = tmp_path / "worker0.checkpoint"
    chief, other = pair(tmp_path)
    while not (kept / "epoch-3.npz").exists():
        assert chief.poll() is None and other.poll() is None, (tmp_path / "worker0.log").read_text()[-2000:]
        time.sleep(0.2)
    other.kill()
    assert chief.wait(timeout=120) == 1 and other.wait() != 0
    said = (tmp_path / "worker0.log").read_text().splitlines()[-1]
    assert said.startswith("adascale: Another worker of this training is gone; start all workers again")
    done = checkpoint.read_state(kept).epochs_done
    assert 3 <= done < EPOCHS and not (tmp_path / "worker0").exists()

    chief, other = pair(tmp_path)
    assert other.wait(timeout=400) == 0 and chief.wait(timeout=200) == 0, (tmp_path / "worker0.log").read_text()[-2000:]
    said = (tmp_path / "worker0.log").read_text()
    assert "Resuming the training" in said
    assert f"pretrain, epoch {done + 1}/{EPOCHS}" in said and "pretrain, epoch 1/" not in said
    assert "This worker is done" in (tmp_path / "worker1.log").read_text()
    assert not (tmp_path / "worker1").exists() and not (tmp_path / "worker1.checkpoint").exists()

    assert start(tmp_path, "alone", ["--optimizer", "sgd", "--epochs", str(EPOCHS)]).wait(timeout=400) == 0
    together, alone = accuracies(tmp_path / "worker0"), accuracies(tmp_path / "alone")
    assert list(together) == list(alone) == RECIPES.split(",")
    assert together["full"] >= alone["full"] - 0.01
    assert sum(together.values()) / 4 >= sum(alone.values()) / 4 - 0.01


@pytest.mark.slow
def test_workers_with_other_settings_are_refused(tmp_path: Path) -> None:
    chief, other = pair(tmp_path, ["--seed", "7"], epochs=2)
    assert other.wait(timeout=120) == 2 and chief.wait(timeout=120) == 1
    said = (tmp_path / "worker1.log").read_text().splitlines()[-1]
    assert said.startswith("adascale: This worker was given other data or settings than the chief; run the same")
    assert not (tmp_path / "worker0").exists()


@pytest.mark.slow
def test_a_worker_that_waits_for_others_can_be_interrupted(tmp_path: Path) -> None:
    config = {"cluster": {"worker": [f"127.0.0.1:{port}" for port in ports(2)]}, "task": {"type": "worker", "index": 0}}
    waiting = start(tmp_path, "lonely", ["--strategy", "multi-worker"], config)
    while "wait for workers" not in (tmp_path / "lonely.log").read_text():
        assert waiting.poll() is None
        time.sleep(0.2)
    time.sleep(2.0)  # it says so just before TensorFlow begins to wait
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(timeout=20) == -signal.SIGINT
    assert not (tmp_path / "lonely").exists()
