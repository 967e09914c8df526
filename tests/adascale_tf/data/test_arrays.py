from __future__ import annotations

import io
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf import data
from tests.adascale_tf.data.samples import RNG


def test_arrays_come_from_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    x, y = RNG.normal(size=(6, 5, 4)), np.array([7, 3, 7, 3, 9, 9])
    np.savez(path, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    loaded = data.load(str(path))
    assert loaded.labels == ("3", "7", "9") and list(loaded.y_train) == [1, 0, 1, 0, 2, 2]
    assert loaded.x_train.dtype == np.float32 and loaded.input_shape == (5, 4)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"x_test": None}, "has no x_test"),
        ({"y_train": np.zeros(4, int)}, "do not match"),
        ({"y_train": np.zeros(6, int), "y_test": np.zeros(6, int)}, "at least two classes"),
        ({"x_train": np.full((6, 5, 4), np.nan)}, "without NaN"),
        ({"x_test": np.full((6, 5, 4), 1e300)}, "x_test should be .* infinity in float32"),
        ({"x_train": np.zeros((6, 5, 4), np.int32)}, "x_train should be uint8"),
        ({"x_train": np.zeros((6, 5, 4), complex)}, "x_train should be uint8"),
        (
            {"x_train": np.zeros((6, 5, 4), np.uint8)},
            "x_train is uint8 and x_test float64; save both with the same type",
        ),
        ({"x_train": np.zeros((6, 0, 4)), "x_test": np.zeros((6, 0, 4))}, "no empty arrays"),
        ({"x_train": np.zeros((0, 5, 4)), "y_train": np.zeros(0, int)}, "no empty arrays"),
        ({"x_train": np.zeros(6), "x_test": np.zeros(6)}, "do not match"),
        ({"x_train": np.float64(3.0)}, "do not match"),
        ({"y_train": np.zeros((6, 2), int)}, "do not match"),
        ({"y_test": np.full(6, np.nan)}, "y_test should be whole numbers or names, not float64"),
        ({"y_test": np.array(["0", "1"] * 3)}, "must have every class of y_test"),
        ({"y_train": np.array([{}, 1, 2, 3, 4, 5], object)}, "y_train should be whole numbers or names, not object"),
        ({"x_train": np.zeros(6, [("a", "f4"), ("b", "i2")])}, "x_train should be uint8"),
        ({"x_test": np.zeros((6, 5, 3))}, "differ in shape"),
        ({"y_test": np.full(6, 9)}, "must have every class of y_test"),
    ],
)
def test_damaged_arrays_are_refused(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    y = np.array([0, 1, 0, 1, 0, 1])
    arrays = {"x_train": np.zeros((6, 5, 4)), "y_train": y, "x_test": np.zeros((6, 5, 4)), "y_test": y, **change}
    path = tmp_path / "a.npz"
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(BadInput, match=sentence):
        data.load(str(path))


def arrays() -> dict[str, np.ndarray]:
    y = np.array([0, 1, 0, 1, 0, 1])
    return {"x_train": np.zeros((6, 5, 4)), "y_train": y, "x_test": np.zeros((6, 5, 4)), "y_test": y}


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def with_x_train(path: Path, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A .npz whose x_train.npy has this content."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, values in arrays().items():
            archive.writestr(f"{name}.npy", content if name == "x_train" else npy(values))
    return path


def header(text: str, version: bytes = b"\1\0") -> bytes:
    return (
        b"\x93NUMPY" + version + len(text).to_bytes(2 if version[0] == 1 else 4, "little") + text.encode() + bytes(960)
    )


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nonsense" * 99,
        npy(np.zeros((6, 5, 4)))[:-1],
        npy(np.zeros((6, 5, 4))) + b"x",
        npy(np.zeros((6, 5, 4)))[:40],
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000, 5, 4), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (-6, -5, 4), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (6, 5, 4, 1180591620717411303424), }"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (6.0, 5, 4), }"),
        header("{'descr': '<f8', 'fortran_order': 3, 'shape': (6, 5, 4), }"),
        header("{'descr': 'f999999999', 'fortran_order': False, 'shape': (6, 5, 4), }"),
        header("{'descr': ('<f8', (1000, 1000)), 'fortran_order': False, 'shape': (6, 5, 4), }"),
        header("(" * 5000),
        header("__import__('os').system('false')"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (6, 5, 4), }", b"\3\0"),
        header("{'descr': '<f8', 'fortran_order': False, 'shape': (6, 5, 4), }", b"\7\0"),
    ],
)
def test_damaged_and_lying_headers_are_refused(tmp_path: Path, content: bytes) -> None:
    path = with_x_train(tmp_path / "a.npz", content)
    tracemalloc.start()
    try:
        with pytest.raises(BadInput, match=r"a\.npz.*(x_train|limit)") as caught:
            data.load(str(path))
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_damaged_bytes_are_refused(tmp_path: Path) -> None:
    path = with_x_train(tmp_path / "a.npz", npy(RNG.normal(size=(6, 5, 4))))
    content = bytearray(path.read_bytes())
    content[200:240] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged"):
        data.load(str(path))


def test_arrays_that_unpack_to_too_much_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, **{**arrays(), "other": np.zeros(1 << 20)})
    assert path.stat().st_size < 20_000
    with archives.limit(8 << 20), pytest.raises(BadInput, match="--max-gb"):
        data.load(str(path))


def test_arrays_of_all_layouts_are_read(tmp_path: Path) -> None:
    x = RNG.normal(size=(6, 5, 4))
    for number, changed in enumerate([x.astype(">f4"), np.asfortranarray(x), x.astype(np.float16)]):
        path = tmp_path / f"{number}.npz"
        np.savez_compressed(path, **{**arrays(), "x_train": changed, "y_test": arrays()["y_test"].astype(np.uint8)})
        np.testing.assert_allclose(data.load(str(path)).x_train, x, atol=0.01)


def test_labels_may_be_names(tmp_path: Path) -> None:
    y = np.array(["cat", "dog"] * 3)
    np.savez(tmp_path / "a.NPZ.npz", **{**arrays(), "y_train": y, "y_test": y})
    assert data.load(str(tmp_path / "a.NPZ.npz")).labels == ("cat", "dog")


def test_arrays_that_a_bundle_does_not_take_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **{name: v.astype(np.uint8) for name, v in arrays().items()})
    image = {"kind": "image", "height": 8, "width": 8, "channels": 1}
    with pytest.raises(BadInput, match=r"has inputs \(5, 4\), but images \(uint8\) are needed"):
        data.load(str(path), image)
    with pytest.raises(BadInput, match=r"has inputs \(5, 4\), but log-mel frames of \(64, 40\) are needed"):
        data.load(str(path), {"kind": "log-mel", "sample_rate": 8000})
