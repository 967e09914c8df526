"""WAV files to log-mel frames in plain numpy, so that a phone can do the same.

For a mono signal x at ``sample_rate``: frames of ``frame_ms`` every ``hop_ms`` are multiplied by a Hann window, padded
to the next power of two and transformed; the power spectrum |X|^2 / n_fft is weighted by ``mels`` triangular filters,
equally spaced on the HTK mel scale, mel(f) = 2595 log10(1 + f / 700), from 20 Hz to half the sample rate; the frame is
ln(max(energy, ``floor``)). ``frames`` frames are kept: shorter clips are padded with ln(``floor``), longer ones cut.
The result is (value - ``mean``) * ``scale``, with both measured on the training set.
"""

from __future__ import annotations

import io
import wave
from functools import lru_cache
from typing import Any

import numpy as np

from adascale_tf.errors import BadInput

_PEAK = {1: 128.0, 2: 32768.0, 4: 2147483648.0}
_TYPE = {1: "u1", 2: "<i2", 4: "<i4"}


def derive(content: bytes, name: str) -> dict[str, Any]:
    """The preprocessing for clips like this one; ``mean`` and ``scale`` are completed from the training set."""
    _, rate = read_wav(content, name)
    return {
        "kind": "log-mel", "sample_rate": rate, "frame_ms": 32, "hop_ms": 16, "mels": 40, "frames": 64,
        "floor": 1e-6, "mean": 0.0, "scale": 1.0,
    }  # fmt: skip


def decode(content: bytes, name: str, preprocessing: dict[str, Any]) -> np.ndarray:
    """One WAV file's content as float32 log-mel frames (frames, mels), before ``mean`` and ``scale``."""
    signal, rate = read_wav(content, name)
    wanted = int(preprocessing["sample_rate"])
    if rate != wanted:  # linear interpolation: enough for speech, and easily repeated on a phone
        positions = np.arange(int(len(signal) * wanted / rate)) * (rate / wanted)
        signal = np.interp(positions, np.arange(len(signal)), signal)
    return log_mel(signal, preprocessing)


def read_wav(content: bytes, name: str) -> tuple[np.ndarray, int]:
    """The mono signal in [-1, 1] and its sample rate in Hz."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise BadInput(f"{name} is not a readable PCM WAV file ({error}); remove it or convert it.") from None
    if width not in _TYPE:
        raise BadInput(f"{name} has {8 * width}-bit samples; convert it to 8, 16 or 32 bits.")
    values = np.frombuffer(raw[: len(raw) // (width * channels) * width * channels], _TYPE[width]).astype(np.float64)
    if not len(values):
        raise BadInput(f"{name} holds no sound; remove it or copy it again.")
    values = (values - 128 if width == 1 else values) / _PEAK[width]
    return values.reshape(-1, channels).mean(axis=1), rate


def log_mel(signal: np.ndarray, preprocessing: dict[str, Any]) -> np.ndarray:
    """The frames of a signal, as the module's description says: float32 (frames, mels)."""
    rate = int(preprocessing["sample_rate"])
    length, hop = (int(rate * preprocessing[key] / 1000) for key in ("frame_ms", "hop_ms"))
    count, floor = int(preprocessing["frames"]), float(preprocessing["floor"])
    result = np.full((count, int(preprocessing["mels"])), np.log(floor), np.float32)
    padded = np.pad(signal, (0, max(0, length - len(signal))))
    starts = np.arange(0, len(padded) - length + 1, hop)[:count]
    frames = padded[starts[:, None] + np.arange(length)] * np.hanning(length)
    size = 1 << (length - 1).bit_length()
    power = np.abs(np.fft.rfft(frames, size)) ** 2 / size
    result[: len(starts)] = np.log(np.maximum(power @ mel_filters(rate, size, result.shape[1]).T, floor))
    return result


@lru_cache(maxsize=8)
def mel_filters(rate: int, size: int, count: int) -> np.ndarray:
    """Triangular filters (count, size // 2 + 1), equally spaced on the HTK mel scale from 20 Hz to ``rate / 2``."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (20.0, rate / 2))
    centres = 700 * (10 ** (np.linspace(low, high, count + 2) / 2595) - 1)
    frequencies = np.arange(size // 2 + 1) * rate / size
    rising = (frequencies - centres[:-2, None]) / (centres[1:-1] - centres[:-2])[:, None]
    falling = (centres[2:, None] - frequencies) / (centres[2:] - centres[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))
