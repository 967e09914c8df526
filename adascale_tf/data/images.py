"""Images to uint8 arrays of one size; docs/preprocessing.md says how, step by step."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_runtime.text import excerpt

#: What Pillow may decode here: no format that starts another program (EPS) or that hardly anybody tests.
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF")
#: The longest side, in pixels, of an image that decides the network's input by itself.
LONGEST = 512
#: The most pixels of an image that is decoded: Pillow's own limit for decompression bombs.
MOST_PIXELS = 89_478_485
_GREY = ("1", "L", "LA", "La", "I")
_ORIENTATION = 0x0112
#: The turn that each value of the EXIF orientation asks for.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


class Decoded(NamedTuple):
    """An example, and whether it had another size (or sample rate) than asked for."""

    values: np.ndarray
    changed: bool


def derive(content: bytes, name: str, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """The preprocessing for images like this one: its size or ``size`` (height, width), 1 or 3 channels, pixels to
    [0, 1].

    Raises:
        BadInput: the image is unreadable, or too large to decide the network's input.
    """
    image = _opened(content, name)
    height, width = size or (image.height, image.width)
    if size is None and max(height, width) > LONGEST:
        raise BadInput(
            f"{name} has {width}x{height} pixels, too many for a network's input; choose the size that all images are "
            "resized to, such as --input-size 224."
        )
    channels = 1 if image.mode in _GREY or image.mode.startswith("I;16") else 3
    return {"kind": "image", "height": height, "width": width, "channels": channels, "scale": 1 / 255}


def bytes_of(preprocessing: dict[str, Any]) -> int:
    """The size of an example in memory."""
    return int(preprocessing["height"] * preprocessing["width"] * preprocessing["channels"])


def decode(content: bytes, name: str, preprocessing: dict[str, Any]) -> Decoded:
    """One file's content as uint8 (height, width, channels), resized (bilinear) and converted where it differs."""
    image = _opened(content, name)
    size = (int(preprocessing["width"]), int(preprocessing["height"]))
    converted = _eight_bit(image, name).convert("L" if preprocessing["channels"] == 1 else "RGB")
    changed = converted.size != size
    if changed:
        converted = converted.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(converted)
    return Decoded(pixels[..., None] if pixels.ndim == 2 else pixels, changed)


def resize(x: np.ndarray, preprocessing: dict[str, Any]) -> np.ndarray:
    """Images (N, H, W, C) as uint8 of the given height, width and channels (bilinear; grey from or to colour)."""
    height, width, channels = (int(preprocessing[key]) for key in ("height", "width", "channels"))
    if x.shape[1:] == (height, width, channels):
        return x
    mode = "L" if channels == 1 else "RGB"
    rows = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert(mode) for image in x)
    resized = np.stack([np.asarray(row.resize((width, height), Image.Resampling.BILINEAR)) for row in rows])
    return resized.reshape(len(x), height, width, channels)


def _opened(content: bytes, name: str) -> Image.Image:
    """The decoded image, upright."""
    if not content:
        raise BadInput(f"{name} is empty; remove it or copy it again.")
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _check_pixels(image, name)
        image.load()
        return _upright(image)
    except BadInput:
        raise
    except Image.DecompressionBombError:
        raise BadInput(f"{name} has more than {2 * MOST_PIXELS:,} pixels; make it smaller or remove it.") from None
    except UnidentifiedImageError:
        known = ", ".join(name.lower() for name in FORMATS)
        raise BadInput(f"{name} is not a readable image ({known}); remove it or convert it.") from None
    except Exception as error:  # a decoder raises almost anything for a damaged file
        raise BadInput(f"{name} is not a readable image ({excerpt(str(error))}); remove it or copy it again.") from None


def _check_pixels(image: Image.Image, name: str) -> None:
    """Refuse an image by what its header declares, before it is decoded."""
    pixels = image.width * image.height
    if pixels > MOST_PIXELS:
        raise BadInput(
            f"{name} has {image.width}x{image.height} pixels, more than the {MOST_PIXELS:,} that are read; make it "
            "smaller."
        )
    archives.check_size(3 * pixels, name)


def _upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF orientation asks to show it."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged EXIF block does not spoil the pixels
        turn = None
    return image if turn is None else image.transpose(turn)


def _eight_bit(image: Image.Image, name: str) -> Image.Image:
    """16-bit grey by its upper byte, which is how Pillow reads 16-bit colour; ``convert`` alone would saturate it."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise BadInput(f"{name} has 32-bit pixels of an unknown range; convert it to 8 or 16 bits.")
    return image
