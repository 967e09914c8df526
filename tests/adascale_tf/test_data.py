from __future__ import annotations

import io
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adascale_tf import data
from adascale_tf.data import Dataset, audio
from adascale_tf.errors import BadInput

RNG = np.random.default_rng(0)


def png(size: tuple[int, int] = (12, 10), mode: str = "RGB") -> bytes:
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, shape, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def wav(frequency: float = 440.0, seconds: float = 0.5, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    t = np.arange(int(seconds * rate)) / rate
    signal = 0.5 * np.sin(2 * np.pi * frequency * t)
    values = {1: (signal * 127 + 128).astype("u1"), 2: (signal * 32767).astype("<i2"), 4: (signal * 2e9).astype("<i4")}
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.repeat(values[width], channels).tobytes())
    return buffer.getvalue()


def folder(root: Path, make: Any = png, classes: tuple[str, ...] = ("cat", "dog"), count: int = 3) -> Path:
    suffix = ".wav" if make is wav else ".png"
    for split in ("train", "test"):
        for label in classes:
            (root / split / label).mkdir(parents=True)
            for n in range(count):
                (root / split / label / f"{n}{suffix}").write_bytes(make())
    return root


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


def test_arrays_come_from_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x, y = RNG.normal(size=(6, 5, 4)), np.array([7, 3, 7, 3, 9, 9])
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    loaded = data.load(str(path))
    assert loaded.labels == ("3", "7", "9") and list(loaded.y_train) == [1, 0, 1, 0, 2, 2]
    assert loaded.x_train.dtype == np.float32 and loaded.input_shape == (5, 4)


def test_sounds_become_normalised_log_mel_frames(tmp_path: Path) -> None:
    loaded = data.load(str(folder(tmp_path, wav)))
    assert loaded.input_shape == (64, 40) and loaded.preprocessing["kind"] == "log-mel"
    x = loaded.inputs(loaded.x_train)
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_peaks_in_its_mel_band(frequency: float) -> None:
    how = audio.derive(wav(), "a.wav")
    frames = audio.decode(wav(frequency), "a.wav", how)
    bands = audio.mel_filters(8000, 256, 40)
    nearest = bands[:, round(frequency / 8000 * 256)].argmax()
    assert abs(int(frames[5].argmax()) - int(nearest)) <= 1
    assert frames[-1].max() == pytest.approx(np.log(how["floor"]))


def test_sounds_of_other_formats_sound_the_same() -> None:
    how = audio.derive(wav(), "a.wav")
    plain = audio.decode(wav(), "a.wav", how)
    for other in (wav(channels=2), wav(width=4), wav(rate=16000)):
        assert np.abs(audio.decode(other, "a.wav", how)[:20] - plain[:20]).max(axis=0)[4:12].max() < 0.2


def test_filters_cover_the_band_without_gaps() -> None:
    bands = audio.mel_filters(16000, 512, 40)
    assert bands.shape == (40, 257) and bands.min() >= 0 and bands.max() <= 1
    assert (bands.sum(0)[3:250] > 0.2).all()


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


@pytest.mark.parametrize("content", [b"", b"RIFF", wav()[:30], wav(seconds=0)])
def test_damaged_sounds_are_refused(tmp_path: Path, content: bytes) -> None:
    root = folder(tmp_path, wav)
    (root / "train" / "cat" / "1.wav").write_bytes(content)
    with pytest.raises(BadInput, match=r"cat/1\.wav"):
        data.load(str(root))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_test": None}, "has no x_test"),
        ({"y_train": np.zeros(4, int)}, "do not pair up"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(6, int)}, "at least two classes"),
        ({"x_train": np.full((6, 5, 4), np.nan)}, "without NaN"),
        ({"x_test": np.zeros((6, 5, 3))}, "differ in shape"),
        ({"y_test": np.full(6, 9)}, "none that y_train lacks"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    y = np.array([0, 1, 0, 1, 0, 1])
    arrays = {"x_train": np.zeros((6, 5, 4)), "y_train": y, "x_test": np.zeros((6, 5, 4)), "y_test": y, **change}
    path = tmp_path / "a.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(BadInput, match=sentence):
        data.load(str(path))


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK nonsense")
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    (tmp_path / "a.txt").write_text("x")
    for name, sentence in (("b", "There is no data"), ("a.zip", "not a whole .zip"), ("a.npz", "not a readable"),
                           ("a.txt", "neither a folder")):  # fmt: skip
        with pytest.raises(BadInput, match=sentence):
            data.load(str(tmp_path / name))
