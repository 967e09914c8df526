"""What ``--data`` and ``--input-size`` lead to, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adascale_tf.cli import main
from tests.adascale_tf.data.samples import folder, png


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[str, str]:
    """The sentence of a call that is refused with exit code 2, and what else was said on standard error."""
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    told = capsys.readouterr()
    lines = told.err.splitlines()
    assert stop.value.code == 2 and told.out == "" and "Traceback" not in told.err
    assert [line.startswith("adascale: ") for line in lines].count(True) == 1
    return lines[-1], told.err


def test_what_is_left_out_of_the_data_is_said(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    (root / "train" / "cat" / "a.heic").write_bytes(b"x")
    sentence, told = refused(capsys, "build", "--data", root, "--backbone", "gru", "--out", tmp_path / "b")
    assert "'gru' does not take" in sentence
    assert f"note: {root}: ignored 1 file of kinds that are not read (1 .heic), as train/cat/a.heic.\n" in told


def test_the_size_of_images_can_be_chosen(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", lambda: png((600, 20)))
    build = ("build", "--data", root, "--out", tmp_path / "b", "--backbone", "gru")
    assert "has 600x20 pixels, too many" in refused(capsys, *build)[0]
    assert "examples of the shape (24, 32, 3)" in refused(capsys, *build, "--input-size", "24x32")[0]
    assert "examples of the shape (24, 24, 3)" in refused(capsys, *build, "--input-size", "24")[0]
    assert "'x' is not a size" in refused(capsys, *build, "--input-size", "x")[0]
    assert "choose sides of 8 to 4096" in refused(capsys, *build, "--input-size", "4")[0]


def test_vectors_are_refused_with_what_can_be_done(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    y = np.array([0, 1])
    np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 4)), y_train=y, x_test=np.zeros((2, 4)), y_test=y)
    sentence, _ = refused(capsys, "build", "--data", tmp_path / "a.npz", "--out", tmp_path / "b")
    assert "takes vectors of the shape (4,)" in sentence and "--model" in sentence


def test_data_that_a_bundle_does_not_take_is_refused(
    capsys: pytest.CaptureFixture[str], copied: Path, tmp_path: Path
) -> None:
    root = folder(tmp_path / "pets")
    budget = ("--budget", "latency_ms=50", "--seconds", "0.1")
    for words in (("evaluate", copied), ("run", copied, *budget)):
        assert (
            "has the classes cat, dog, but the bundle was trained for 0, 1"
            in refused(capsys, *words, "--data", root)[0]
        )
    path = copied / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["preprocessing"]["height"] = 16
    path.write_text(json.dumps(manifest))
    for words in (("evaluate", copied), ("run", copied, *budget)):
        assert (
            "shape (16, 32, 1), but the branch 'full' takes (32, 32, 1)"
            in refused(capsys, *words, "--data", "digits")[0]
        )
