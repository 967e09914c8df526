"""Images to uint8 arrays of one size."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from adascale_tf.errors import BadInput


def derive(content: bytes, name: str) -> dict[str, Any]:
    """The preprocessing that the first training image suggests: its size, 1 or 3 channels, pixels scaled to [0, 1]."""
    with _open(content, name) as image:
        channels = 1 if image.mode in ("1", "L", "I", "I;16") else 3
        return {
            "kind": "image", "height": image.height, "width": image.width, "channels": channels, "scale": 1 / 255,
        }  # fmt: skip


def decode(content: bytes, name: str, preprocessing: dict[str, Any]) -> np.ndarray:
    """One file's content as uint8 (height, width, channels), resized (bilinear) and converted where it differs."""
    with _open(content, name) as image:
        converted = image.convert("L" if preprocessing["channels"] == 1 else "RGB")
        size = (preprocessing["width"], preprocessing["height"])
        if converted.size != size:
            converted = converted.resize(size, Image.Resampling.BILINEAR)
        pixels = np.asarray(converted)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def resize(x: np.ndarray, preprocessing: dict[str, Any]) -> np.ndarray:
    """Images (N, H, W, C) as uint8 of the given height, width and channels (bilinear; grey from or to colour)."""
    height, width, channels = (int(preprocessing[key]) for key in ("height", "width", "channels"))
    if x.shape[1:] == (height, width, channels):
        return x
    mode = "L" if channels == 1 else "RGB"
    rows = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).convert(mode) for image in x)
    found = np.stack([np.asarray(row.resize((width, height), Image.Resampling.BILINEAR)) for row in rows])
    return found.reshape(len(x), height, width, channels)


def _open(content: bytes, name: str) -> Image.Image:
    if not content:
        raise BadInput(f"{name} is empty; remove it or copy it again.")
    try:
        image = Image.open(io.BytesIO(content))
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"{name} is not a readable image ({error}); remove it or copy it again.") from None
    return image
