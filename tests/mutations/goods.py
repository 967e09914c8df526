"""One whole file of every format, made by the program itself, for :mod:`tests.mutations.formats` to damage."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import wave
import zipfile
from pathlib import Path

import numpy as np

from tests.mutations import worker
from tests.mutations.formats import BUDGET, UNFINISHED

ROOT = Path(__file__).parent.parent.parent
#: Of the bundle that is built where none is given.
RECIPES = "full,int8,width(0.5),width(0.5)+int8,exit(1)+int8"


def command(*arguments: object) -> None:
    """Run a command line in this process; it must succeed."""
    code, _, error = worker.run([str(argument) for argument in arguments], ROOT)
    if code != 0:
        raise RuntimeError(f"{arguments} ended with {code}: {error}")


def make(place: Path, bundle: Path | None = None) -> Path:
    """The goods in ``place``, around a bundle of digits or one that is built now, with its checkpoint."""
    home = place / "home"
    home.mkdir(parents=True)
    if bundle is None:
        command(
            "build", "--data", "digits", "--recipes", RECIPES, "--epochs", 1, "--out", place / "bundle",
            "--checkpoint", place / "checkpoint", "-q",
        )  # fmt: skip
    else:
        shutil.copytree(bundle, place / "bundle")
    found = place / "bundle"
    _data(place)
    four = ",".join(branch["id"] for branch in json.loads((found / "manifest.json").read_bytes())["branches"][:4])
    command("profile", found, "--runs", 4, "--branches", four, "--out", place / "measurements.jsonl", "-q")
    command("fit", place / "measurements.jsonl", "--out", place / "predictors.json", "-q")
    command(
        "run", found, "--data", place / "arrays.npz", "--budget", BUDGET, "--seconds", 0.2,
        "--trace-out", place / "events.jsonl", "-q",
    )  # fmt: skip
    lines = (place / "events.jsonl").read_text().splitlines(keepends=True)
    (place / "events.jsonl").write_text("".join(lines[:200]))
    _journal(place, home)
    _plan(place)
    with zipfile.ZipFile(place / "bundle.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(found.rglob("*")):
            archive.write(path, path.relative_to(found).as_posix())
    (place / "fleet.yaml").write_text(
        "scheduler: tcp://127.0.0.1:1\nshare: model\ncells_per_lease: 2\nhosts:\n"
        f"  lab-a:\n    phones: ['127.0.0.1:1', 'usb:0A1B']\n    key: {home}/.android/adbkey\n"
        "  lab-b: {phones: ['127.0.0.1:2']}\n"
    )
    return place


def _data(place: Path) -> None:
    """Digits as arrays, as pictures in a .zip, and sounds in a .zip."""
    from PIL import Image

    from adascale_tf import data

    digits = data.load("digits")
    first = [int(np.flatnonzero(digits.y_test == label)[0]) for label in range(10)]
    x, y = digits.x_test[first], digits.y_test[first]
    np.savez(place / "arrays.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    with zipfile.ZipFile(place / "photos.zip", "w") as archive:
        for split in ("train", "test"):
            for label, image in zip(y, x, strict=True):
                buffer = io.BytesIO()
                Image.fromarray(image[..., 0]).save(buffer, "PNG")
                archive.writestr(f"{split}/{label}/a.png", buffer.getvalue())
    with zipfile.ZipFile(place / "sounds.zip", "w") as archive:
        for split in ("train", "test"):
            for number, label in enumerate(("low", "high")):
                buffer = io.BytesIO()
                with wave.open(buffer, "wb") as file:
                    file.setnchannels(1)
                    file.setsampwidth(2)
                    file.setframerate(8000)
                    tone = np.sin(np.arange(4000) * (0.2 + 0.3 * number))
                    file.writeframes((8000 * tone).astype("<i2").tobytes())
                archive.writestr(f"{split}/{label}/a.wav", buffer.getvalue())


def _journal(place: Path, home: Path) -> None:
    """The journal of a profile that was killed in its middle."""
    out = place / "killed.jsonl"
    journal = Path(f"{out}.journal")
    child = subprocess.Popen(
        [sys.executable, "-m", "adascale_tf", "profile", str(place / "bundle"), *UNFINISHED, "--out", str(out), "-q"],
        env={**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and child.poll() is None:
        with contextlib.suppress(OSError):
            if journal.read_bytes().count(b"\n") > 5:
                break
        time.sleep(0.005)
    child.kill()
    child.wait()
    if not journal.is_file():
        raise RuntimeError("the profile ended before it could be killed; give UNFINISHED more runs")


def _plan(place: Path) -> None:
    """A plan of the agent for two branches, and what the agent says to it."""
    from adascale_runtime.files import codec
    from adascale_runtime.seams import bundle
    from android_harness import termux
    from android_harness.runner import Options
    from profiling import cells

    opened = bundle.load(place / "bundle")
    branches = [branch.id for branch in opened.manifest.branches[:2]]
    options = Options(runs=4, idle_s=0.01, batch_s=0.01, patience_s=2)
    files = termux.files(opened, cells.choose(opened, ["cpu"], [1], 4, branches), options, None)
    codec.write_bytes(place / "plan.json", files["plan.json"])
    for mode, name in ((["info"], "info.json"), (["bench", "plan.json"], "messages.log")):
        done = subprocess.run(
            [sys.executable, "-m", "android_harness.agent.main", *mode], cwd=place, text=True, capture_output=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"the agent ended with {done.returncode}: {done.stderr}")
        (place / name).write_text(done.stdout)
