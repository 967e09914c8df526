"""WAV files to log-mel frames in plain numpy, which can be reproduced on phones.

docs/preprocessing.md gives every step as a formula; the numbers in the formulas are the keys of a manifest's
``preprocessing``, so that an app can be written from these two alone.
"""

from __future__ import annotations

import io
import math
import wave
from functools import lru_cache
from typing import Any

import numpy as np

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from adascale_tf.data.images import Decoded

#: Sample rates in Hz that are taken for sound: below there is nothing to hear, above the header is damaged.
LOWEST_RATE, HIGHEST_RATE = 1000, 384_000
#: The length of a frame and the distance of their beginnings.
FRAME_MS, HOP_MS = 32, 16
#: ``window``, ``mel_scale`` and ``log`` name formulas of docs/preprocessing.md.
FORMULAS = {"window": "hann-symmetric", "mel_scale": "htk", "log": "natural"}


def derive(content: bytes, name: str, size: tuple[int, int] | None = None) -> dict[str, Any]:
    """The preprocessing for clips like this one; ``mean`` and ``scale`` are completed from the training set."""
    if size is not None:
        raise BadInput(f"{name} is a sound, and --input-size is for images; leave it out.")
    _, rate = read_wav(content, name)
    return {**complete({"kind": "log-mel", "sample_rate": rate}), "mean": 0.0, "scale": 1.0}


def complete(preprocessing: dict[str, Any]) -> dict[str, Any]:
    """All numbers of a preprocessing: what it leaves out is as manifests had it before they named every number."""
    given = dict(preprocessing)
    rate = given["sample_rate"]
    length, hop = (
        int(rate * given.pop(key, default) / 1000) for key, default in (("frame_ms", FRAME_MS), ("hop_ms", HOP_MS))
    )
    usual = {
        **FORMULAS, "frame_length": length, "hop_length": hop, "frames": 64, "mels": 40, "low_hz": 20.0,
        "high_hz": rate / 2, "mel_slope": 2595.0, "mel_corner_hz": 700.0, "floor": 1e-6,
    }  # fmt: skip
    usual = {**usual, **given}
    size = 1 << (usual["frame_length"] - 1).bit_length()
    return {"fft_size": size, "padding": math.log(usual["floor"]), **usual}


def bytes_of(preprocessing: dict[str, Any]) -> int:
    """The size of an example in memory."""
    return 4 * int(preprocessing["frames"] * preprocessing["mels"])


def decode(content: bytes, name: str, preprocessing: dict[str, Any]) -> Decoded:
    """One WAV file's content as float32 log-mel frames (frames, mels), before ``mean`` and ``scale``.

    ``preprocessing`` is a complete one.
    """
    how, wanted = preprocessing, int(preprocessing["sample_rate"])
    needed = (how["frame_length"] + how["hop_length"] * how["frames"]) / wanted
    signal, rate = read_wav(content, name, needed)
    if rate != wanted:  # linear interpolation: enough for speech, and easily repeated on a phone
        positions = np.arange(int(len(signal) * wanted / rate)) * (rate / wanted)
        signal = np.interp(positions, np.arange(len(signal)), signal)
    return Decoded(log_mel(signal, how), rate != wanted)


def read_wav(content: bytes, name: str, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """The mono signal in [-1, 1] and its sample rate in Hz; of a long clip ``seconds`` and a little more."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                raise BadInput(
                    f"{name} has a sample rate of {rate} Hz, but {LOWEST_RATE} to {HIGHEST_RATE} Hz are read; "
                    "resample it or remove it."
                )
            count = file.getnframes() if seconds is None else min(file.getnframes(), math.ceil(seconds * rate) + 2)
            raw = file.readframes(count)
    except BadInput:
        raise
    except Exception as error:  # besides wave.Error, a damaged header makes the module raise almost anything
        reason = excerpt(str(error)) or "it ends too early"
        raise BadInput(f"{name} is not a readable PCM WAV file ({reason}); remove it or convert it.") from None
    if width not in (1, 2, 3, 4):
        raise BadInput(f"{name} has {8 * width}-bit samples; convert it to 8, 16, 24 or 32 bits.")
    values = _samples(raw[: len(raw) // (width * channels) * width * channels], width)
    if not len(values):
        raise BadInput(f"{name} holds no sound; remove it or copy it again.")
    return values.reshape(-1, channels).mean(axis=1), rate


def _samples(raw: bytes, width: int) -> np.ndarray:
    """Little-endian samples of ``width`` bytes as float64 in [-1, 1]; those of one byte are unsigned."""
    if width == 1:
        return (np.frombuffer(raw, "u1").astype(np.float64) - 128) / 128
    if width == 3:  # as the upper bytes of 32 bits
        padded = np.zeros((len(raw) // 3, 4), np.uint8)
        padded[:, 1:] = np.frombuffer(raw, "u1").reshape(-1, 3)
        raw, width = padded.tobytes(), 4
    return np.frombuffer(raw, f"<i{width}").astype(np.float64) / 2.0 ** (8 * width - 1)


def log_mel(signal: np.ndarray, how: dict[str, Any]) -> np.ndarray:
    """The frames of a signal by a complete preprocessing: float32 (frames, mels)."""
    length, hop, size, count = (int(how[key]) for key in ("frame_length", "hop_length", "fft_size", "frames"))
    weights = filters(how)
    result = np.full((count, len(weights)), how["padding"], np.float32)
    padded = np.pad(signal, (0, max(0, length - len(signal))))
    starts = np.arange(0, len(padded) - length + 1, hop)[:count]
    frames = padded[starts[:, None] + np.arange(length)] * np.hanning(length)
    power = np.abs(np.fft.rfft(frames, size)) ** 2 / size
    result[: len(starts)] = np.log(np.maximum(power @ weights.T, how["floor"]))
    return result


def filters(how: dict[str, Any]) -> np.ndarray:
    """The mel filters (mels, fft_size // 2 + 1) of a complete preprocessing."""
    keys = ("sample_rate", "fft_size", "mels", "low_hz", "high_hz", "mel_slope", "mel_corner_hz")
    return _filters(*(how[key] for key in keys))


@lru_cache(maxsize=8)
def _filters(
    rate: int, size: int, count: int, low_hz: float, high_hz: float, slope: float, corner_hz: float
) -> np.ndarray:
    """Triangles that are equally spaced in mel(f) = slope log10(1 + f / corner)."""
    low, high = (slope * np.log10(1 + f / corner_hz) for f in (low_hz, high_hz))
    centres = corner_hz * (10 ** (np.linspace(low, high, count + 2) / slope) - 1)
    frequencies = np.arange(size // 2 + 1) * rate / size
    rising = (frequencies - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    falling = (centres[2:, None] - frequencies) / (centres[2:] - centres[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))
