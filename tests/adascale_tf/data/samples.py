"""Small images, sounds and folders of classes for the tests of data."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def png(size: tuple[int, int] = (12, 10), mode: str = "RGB") -> bytes:
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    buffer = io.BytesIO()
    Image.fromarray(RNG.integers(0, 255, shape, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def wav(frequency: float = 440.0, seconds: float = 0.5, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    t = np.arange(int(seconds * rate)) / rate
    signal = 0.5 * np.sin(2 * np.pi * frequency * t)
    raw = {1: (signal * 127 + 128).astype("u1"), 2: (signal * 32767).astype("<i2"), 4: (signal * 2e9).astype("<i4")}
    values = raw[width] if width != 3 else raw[4].view("u1").reshape(-1, 4)[:, 1:].copy().view("V3")[:, 0]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(np.repeat(values, channels).tobytes())
    return buffer.getvalue()


def folder(
    root: Path, make: Any = png, classes: tuple[str, ...] = ("cat", "dog"), count: int = 3, suffix: str = ""
) -> Path:
    suffix = suffix or (".wav" if make is wav else ".png")
    for split in ("train", "test"):
        for label in classes:
            (root / split / label).mkdir(parents=True)
            for n in range(count):
                (root / split / label / f"{n}{suffix}").write_bytes(make())
    return root
