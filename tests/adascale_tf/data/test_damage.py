"""Seeded damage to files of every kind of example: it is read, or refused with one short sentence."""

from __future__ import annotations

import io
import os
import random
import warnings

import numpy as np
import pytest
from PIL import Image

from adascale_runtime.errors import BadInput
from adascale_tf.data import audio, images
from tests.adascale_tf.data.samples import wav
from tests.mutations import damage

#: More of them: DAMAGED_FILES=2000 pytest tests/adascale_tf/data/test_damage.py
CASES = int(os.environ.get("DAMAGED_FILES", "60"))
HOW = {"kind": "image", "height": 10, "width": 12, "channels": 3, "scale": 1 / 255}
KINDS = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")


def saved(kind: str, rng: np.random.Generator) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    options = {"exif": exif} if kind in ("PNG", "JPEG", "WEBP") else {}
    Image.fromarray(rng.integers(0, 255, (10, 12, 3), dtype=np.uint8)).save(buffer, kind, **options)
    return buffer.getvalue()


def refused_or(error: BadInput | None) -> None:
    if error is not None:
        text = str(error)
        assert text.startswith("x ") and text.endswith(".") and "\n" not in text and len(text) < 300
        assert text.isprintable() and " at 0x" not in text


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_images_are_read_or_refused(kind: str) -> None:
    whole, rng = saved(kind, np.random.default_rng(0)), random.Random(f"1 {kind}")
    for _ in range(CASES):
        content, error = damage.binary(whole, rng), None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                how = images.derive(content, "x")
                assert images.decode(content, "x", {**HOW, **how}).values.dtype == np.uint8
            except BadInput as refused:
                error = refused
        refused_or(error)


def test_damaged_sounds_are_read_or_refused() -> None:
    rng = random.Random(2)
    how = audio.derive(wav(), "x")
    for _ in range(CASES):
        # Mostly the header, where a changed byte means something.
        whole = wav(width=rng.choice((1, 2, 3, 4)))
        content = damage.binary(whole, rng) if rng.random() < 0.3 else damage.binary(whole[:44], rng) + whole[44:]
        error = None
        try:
            assert np.isfinite(audio.decode(content, "x", how).values).all()
            audio.derive(content, "x")
        except BadInput as refused:
            error = refused
        refused_or(error)
