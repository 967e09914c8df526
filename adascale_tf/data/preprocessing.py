"""Checks of the ``preprocessing`` of a manifest or checkpoint: the allowed ranges of each kind's numbers."""

from __future__ import annotations

from typing import Any

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from adascale_tf.data import audio

#: Kind -> the whole numbers that it needs, with the least and the most they may be.
_COUNTS: dict[str, dict[str, tuple[float, float]]] = {
    "image": {"height": (1, 16384), "width": (1, 16384), "channels": (1, 3)},
    "array": {},
    "log-mel": {
        "sample_rate": (audio.LOWEST_RATE, audio.HIGHEST_RATE), "frame_length": (1, 65536), "hop_length": (1, 65536),
        "fft_size": (2, 65536), "mels": (1, 512), "frames": (1, 65536),
    },
}  # fmt: skip
#: The same for real numbers; those of all kinds may be absent.
_REALS: dict[str, dict[str, tuple[float, float]]] = {
    "log-mel": {
        "low_hz": (0.0, audio.HIGHEST_RATE), "high_hz": (0.0, audio.HIGHEST_RATE), "mel_slope": (1e-3, 1e6),
        "mel_corner_hz": (1e-3, 1e6), "floor": (1e-30, 1.0), "padding": (-100.0, 100.0),
    },
}  # fmt: skip
_ALL = {"mean": (-1e6, 1e6), "scale": (1e-9, 1e6)}


def checked(how: dict[str, Any]) -> dict[str, Any]:
    """A preprocessing that can be followed, with all its numbers; :class:`BadInput` names what is wrong with it."""
    kind = how.get("kind")
    if not isinstance(kind, str) or kind not in _COUNTS:
        raise BadInput(
            f"The preprocessing has the kind '{excerpt(kind)}', but only {', '.join(_COUNTS)} are known here."
        )
    if kind == "log-mel":
        _check(how, "sample_rate", _COUNTS[kind]["sample_rate"], whole=True)
        for key in ("frame_ms", "hop_ms"):
            _check(how, key, (1, 1000), optional=True)
        for key in ("frame_length", "floor"):
            _check(how, key, (_COUNTS[kind] | _REALS[kind])[key], optional=True, whole=key == "frame_length")
        how = audio.complete(how)
    for key, limits in _COUNTS[kind].items():
        _check(how, key, limits, whole=True)
    for key, limits in _REALS.get(kind, {}).items():
        _check(how, key, limits)
    for key, limits in _ALL.items():
        _check(how, key, limits, optional=True)
    if kind != "image":
        _check(how, "channels", (1, 1), optional=True, whole=True)
    elif how["channels"] == 2:
        raise BadInput("The preprocessing asks for images of 2 channels; they have 1 or 3.")
    if kind == "log-mel":
        _check_formulas(how)
    return how


def _check(
    how: dict[str, Any], key: str, limits: tuple[float, float], optional: bool = False, whole: bool = False
) -> None:
    if optional and key not in how:
        return
    value: Any = how.get(key)
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not limits[0] <= value <= limits[1]:
        raise BadInput(
            f"The preprocessing should have '{key}' from {limits[0]} to {limits[1]}, but it is {excerpt(value)}; build "
            "the bundle again."
        )


def _check_formulas(how: dict[str, Any]) -> None:
    for key, name in audio.FORMULAS.items():
        if how[key] != name:
            raise BadInput(
                f"The preprocessing asks for the {key} '{excerpt(how[key])}', but only '{name}' is known here."
            )
    if how["fft_size"] < how["frame_length"] or not how["low_hz"] < how["high_hz"] <= how["sample_rate"] / 2:
        raise BadInput(
            "The preprocessing has frames longer than its FFT, or frequencies beyond half the sample rate; build the "
            "bundle again."
        )
