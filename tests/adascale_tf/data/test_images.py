from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf import data
from adascale_tf.data import images
from tests.adascale_tf.data.samples import RNG, folder, png

GREY = {"kind": "image", "height": 10, "width": 12, "channels": 1, "scale": 1 / 255}
COLOUR = {**GREY, "channels": 3}


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_images_of_other_sizes_and_modes_are_fitted(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "test" / "cat" / "0.png").write_bytes(png((30, 40), "L"))
    loaded = data.load(str(root))
    assert loaded.x_test.shape == (6, 10, 12, 3)
    assert loaded.notes == (
        f"{root}: 1 of 12 files were converted to 12x10 pixels, like train/cat/0.png; --input-size chooses another.",
    )
    gray = {"kind": "image", "height": 8, "width": 9, "channels": 1, "scale": 1 / 255}
    assert data.load(str(root), preprocessing=gray).x_test.shape == (6, 8, 9, 1)


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = RNG.integers(0, 2**16, (10, 12), dtype=np.uint16)
    content = saved(Image.fromarray(deep), "PNG")
    assert images.derive(content, "a.png")["channels"] == 1
    np.testing.assert_array_equal(images.decode(content, "a.png", GREY).values[..., 0], deep >> 8)
    colour = images.decode(content, "a.png", COLOUR).values
    np.testing.assert_array_equal(colour, np.repeat((deep >> 8)[..., None], 3, 2))
    tiff = saved(Image.fromarray(deep), "TIFF")
    np.testing.assert_array_equal(images.decode(tiff, "a.tif", GREY).values[..., 0], deep >> 8)


def test_sixteen_bit_colour_is_scaled_to_eight() -> None:
    deep = RNG.integers(0, 2**16, (10, 12, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", 12, 10, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    ]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    np.testing.assert_array_equal(images.decode(content, "a.png", COLOUR).values, deep >> 8)


@pytest.mark.parametrize("kind", [("I", "TIFF"), ("F", "TIFF")])
def test_pixels_of_unknown_range_are_refused(kind: tuple[str, str]) -> None:
    content = saved(Image.new(kind[0], (12, 10), 7), kind[1])
    with pytest.raises(BadInput, match=r"^a\.tif has 32-bit pixels of an unknown range; convert it"):
        images.decode(content, "a.tif", GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation: int) -> None:
    """As ``np`` turns the picture that is stored for each orientation."""
    upright = np.zeros((10, 12, 3), np.uint8)
    upright[:3, :4] = 255
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.transpose(1, 0, 2),
        6: np.rot90(upright), 7: np.rot90(upright, 2).transpose(1, 0, 2), 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind in ("PNG", "WEBP"):
        content = saved(Image.fromarray(stored), kind, exif=exif, lossless=True)
        how = images.derive(content, "a")
        assert (how["height"], how["width"]) == (10, 12)
        np.testing.assert_array_equal(images.decode(content, "a", how).values, upright)
    photo = saved(Image.fromarray(stored), "JPEG", exif=exif, quality=95)
    assert images.decode(photo, "a", COLOUR).values[0, 0, 0] > 200


def test_a_damaged_exif_block_does_not_spoil_a_photo() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = saved(Image.new("RGB", (12, 10), "red"), "JPEG", exif=exif)
    damaged = content.replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\xff\xff")
    assert damaged != content
    assert images.decode(damaged, "a", COLOUR).values.shape == (10, 12, 3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "BMP", "TIFF"])
def test_other_common_formats_are_read(tmp_path: Path, kind: str) -> None:
    image = Image.fromarray(RNG.integers(0, 2, (10, 12), dtype=np.uint8) * 255)
    options = {"lossless": True} if kind == "WEBP" else {}
    suffix = {"TIFF": ".tif"}.get(kind, f".{kind.lower()}")
    root = folder(tmp_path, lambda: saved(image, kind, **options), suffix=suffix)
    loaded = data.load(str(root))
    assert loaded.notes == () and loaded.x_train.shape[1:3] == (10, 12)
    np.testing.assert_array_equal(loaded.x_train[0][..., 0], np.asarray(image))


def test_only_formats_of_images_are_opened() -> None:
    """Pillow would start Ghostscript for PostScript, whatever the file is called."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 12 10\n%%EndComments\n"
    with pytest.raises(
        BadInput, match=r"^a\.png is not a readable image \(jpeg, png, gif, webp, bmp, tiff\)"
    ) as caught:
        images.decode(script, "a.png", COLOUR)
    assert "BytesIO" not in str(caught.value)


def test_a_large_first_photo_does_not_decide_the_input(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "train" / "cat" / "0.png").write_bytes(saved(Image.new("RGB", (3000, 2000)), "PNG"))
    with pytest.raises(BadInput, match=r"train/cat/0\.png has 3000x2000 pixels, too many .* as --input-size 224\.$"):
        data.load(str(root))
    loaded = data.load(str(root), size=(24, 32))
    assert loaded.input_shape == (24, 32, 3) and loaded.notes == ()
    assert loaded.preprocessing["height"] == 24 and loaded.preprocessing["width"] == 32


@pytest.mark.parametrize("size", [(7, 32), (32, 0), (4097, 32)])
def test_odd_sizes_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(BadInput, match="pixels were requested; choose sides of 8 to 4096"):
        data.load("digits", size=size)


def test_sizes_are_for_images(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    y = np.array([0, 1])
    np.savez(path, x_train=np.zeros((2, 5, 4)), y_train=y, x_test=np.zeros((2, 5, 4)), y_test=y)
    with pytest.raises(BadInput, match=r"--input-size is for images, but a has examples \(5, 4\); leave it out"):
        data.load(str(path), size=(8, 8))
    assert data.load("digits", size=(16, 20)).input_shape == (16, 20, 1)


def bomb(width: int, height: int) -> bytes:
    """A PNG that declares so many pixels, in a few bytes."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"\0" * 999))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)])
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, width: int, height: int) -> None:
    root = folder(tmp_path)
    for place in ("test/cat", "train/cat"):
        (root / place / "0.png").write_bytes(bomb(width, height))
        with pytest.raises(BadInput, match=r"cat/0\.png has .* pixels"), warnings.catch_warnings():
            warnings.simplefilter("error")
            data.load(str(root))


def test_images_that_do_not_fit_into_memory_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    root = folder(tmp_path)
    with archives.limit(12 * 10 * 12 * 3), pytest.raises(BadInput, match=r"\(12 examples\) unpacks to .*--max-gb"):
        data.load(str(root), size=(10, 13))
    with archives.limit(12 * 10 * 12 * 3):
        assert len(data.load(str(root)).x_train) == 6
    with archives.limit(3 * 10 * 12 - 1), pytest.raises(BadInput, match=r"train/cat/0\.png.* unpacks to"):
        data.load(str(root))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"kind": "smell"}, "kind 'smell', but only image, array, log-mel"),
        ({"kind": ["image"]}, "kind "),
        ({"height": None}, "'height' from 1 to 16384, but it is None"),
        ({"width": 1e9}, "'width' from 1"),
        ({"height": True}, "'height'"),
        ({"channels": 2}, "2 channels"),
        ({"scale": "1"}, "'scale'"),
        ({"mean": float("nan")}, "'mean'"),
        ({"height": 10**400}, "'height'"),
        ({"kind": "log-mel"}, "'sample_rate'"),
    ],
)
def test_a_preprocessing_that_cannot_be_followed_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput, match=sentence) as caught:
        data.load("digits", {**GREY, **change})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "change",
    [
        {"sample_rate": 10}, {"frame_length": 0}, {"frame_length": 4.0}, {"fft_size": 16}, {"mels": -1},
        {"hop_length": 0}, {"frames": 10**9}, {"low_hz": 9000.0}, {"high_hz": 4001.0}, {"floor": 0.0}, {"floor": "x"},
        {"window": "kaiser"}, {"mel_scale": 3}, {"log": None}, {"frame_ms": 0}, {"hop_ms": "x"}, {"mel_slope": 0},
        {"padding": 1e9},
    ],
)  # fmt: skip
def test_a_log_mel_that_cannot_be_followed_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="preprocessing"):
        data.load("digits", {"kind": "log-mel", "sample_rate": 8000, **change})
