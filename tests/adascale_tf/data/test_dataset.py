from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import BadInput
from adascale_tf import data
from adascale_tf.data import Dataset
from tests.adascale_tf.data.samples import folder, png, wav


def test_digits_are_real_and_always_the_same(digits: Dataset) -> None:
    assert digits.x_train.shape == (1437, 32, 32, 1) and digits.x_test.shape == (360, 32, 32, 1)
    assert digits.x_train.dtype == np.uint8 and set(digits.y_test) == set(range(10))
    np.testing.assert_array_equal(digits.x_test, data.load("digits").x_test)
    x = digits.inputs(digits.x_train)
    assert x.dtype == np.float32 and x.min() == 0 and 0.95 < x.max() <= 1


def test_a_folder_and_its_zip_are_the_same_data(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    archive = shutil.make_archive(str(tmp_path / "pets"), "zip", root)
    nested = shutil.make_archive(str(tmp_path / "nested"), "zip", tmp_path, "pets")
    seen: list[int] = []
    one = data.load(str(root), tick=lambda what, done, total, note: seen.append(done))
    assert one.labels == ("cat", "dog") and one.x_train.shape == (6, 10, 12, 3) and seen[-1] == 12
    assert list(one.y_train) == [0, 0, 0, 1, 1, 1]
    for other in (archive, nested):
        np.testing.assert_array_equal(data.load(other).x_train, one.x_train)
        np.testing.assert_array_equal(data.load(other).x_test, one.x_test)


def test_images_of_other_sizes_and_modes_are_fitted(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "test" / "cat" / "0.png").write_bytes(png((30, 40), "L"))
    assert data.load(str(root)).x_test.shape == (6, 10, 12, 3)
    gray = {"kind": "image", "height": 8, "width": 9, "channels": 1, "scale": 1 / 255}
    assert data.load(str(root), preprocessing=gray).x_test.shape == (6, 8, 9, 1)


def _drop(path: Path) -> None:
    shutil.rmtree(path)


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda r: _drop(r / "test"), r"has no test/<class>/"),
        (lambda r: _drop(r / "train"), r"has no train/<class>/"),
        (lambda r: (_drop(r / "train" / "dog"), _drop(r / "test" / "dog")), "only one class in train/ \\('cat'\\)"),
        (lambda r: _drop(r / "train" / "dog"), "only one class"),
        (lambda r: (r / "train" / "cat" / "1.png").write_bytes(b""), r"cat/1\.png is empty"),
        (lambda r: (r / "train" / "cat" / "1.png").write_bytes(png()[:60]), r"cat/1\.png is not a readable image"),
        (lambda r: (r / "train" / "cat" / "1.png").write_bytes(b"GIF89a nonsense"), "is not a readable image"),
        (lambda r: (r / "train" / "cat" / "x.wav").write_bytes(wav()), "mixes images and sounds"),
        (lambda r: (r / "train" / "dog").rename(r / "train" / "wolf"), "classes in test/ that train/ lacks: dog"),
    ],
)
def test_damaged_folders_are_refused_with_one_sentence(tmp_path: Path, damage: Any, sentence: str) -> None:
    root = folder(tmp_path)
    damage(root)
    with pytest.raises(BadInput, match=sentence) as caught:
        data.load(str(root))
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    (tmp_path / "a.txt").write_text("x")
    for name, sentence in (("b", "There is no data"), ("a.zip", "not a complete .zip"),
                           ("a.npz", "not a complete .zip"), ("a.txt", "neither a folder")):  # fmt: skip
        with pytest.raises(BadInput, match=sentence):
            data.load(str(tmp_path / name))
