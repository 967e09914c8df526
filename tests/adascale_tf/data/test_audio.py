from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import BadInput
from adascale_tf import data
from adascale_tf.data import audio
from tests.adascale_tf.data.samples import RNG, folder, wav

DOCS = Path(__file__).parents[3] / "docs"


def test_sounds_become_normalised_log_mel_frames(tmp_path: Path) -> None:
    loaded = data.load(str(folder(tmp_path, wav)))
    assert loaded.input_shape == (64, 40) and loaded.preprocessing["kind"] == "log-mel"
    x = loaded.inputs(loaded.x_train)
    assert abs(x.mean()) < 0.01 and abs(x.std() - 1) < 0.01


@pytest.mark.parametrize("frequency", [300.0, 1000.0, 3000.0])
def test_a_tone_peaks_in_its_mel_band(frequency: float) -> None:
    how = audio.derive(wav(), "a.wav")
    frames, _ = audio.decode(wav(frequency), "a.wav", how)
    bands = audio.filters(how)
    nearest = bands[:, round(frequency / 8000 * 256)].argmax()
    assert abs(int(frames[5].argmax()) - int(nearest)) <= 1
    assert frames[-1].max() == pytest.approx(np.log(how["floor"]))


def test_sounds_of_other_formats_sound_the_same() -> None:
    how = audio.derive(wav(), "a.wav")
    plain, changed = audio.decode(wav(), "a.wav", how)
    assert not changed
    for other in (wav(channels=2), wav(width=3), wav(width=4), wav(rate=16000)):
        frames, changed = audio.decode(other, "a.wav", how)
        assert np.abs(frames[:20] - plain[:20]).max(axis=0)[4:12].max() < 0.2
        assert changed == (other == wav(rate=16000))


def test_filters_cover_the_band_without_gaps() -> None:
    bands = audio.filters(audio.complete({"kind": "log-mel", "sample_rate": 16000}))
    assert bands.shape == (40, 257) and bands.min() >= 0 and bands.max() <= 1
    assert (bands.sum(0)[3:250] > 0.2).all()


@pytest.mark.parametrize(("rate", "seconds"), [(8000, 1.5), (11025, 0.4), (16000, 0.01), (44100, 3.0)])
def test_the_documented_formulas_give_the_same_values(tmp_path: Path, rate: int, seconds: float) -> None:
    root = folder(tmp_path, lambda: wav(float(RNG.uniform(100, rate / 2)), seconds, rate), suffix=".wav")
    loaded = data.load(str(root))
    how = json.loads(json.dumps(loaded.preprocessing))  # as it stands in the manifest
    page = (DOCS / "preprocessing.md").read_text()
    known: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], known)
    content = (root / "train" / "cat" / "0.wav").read_bytes()
    signal = np.frombuffer(content[44:], "<i2") / 2**15
    np.testing.assert_allclose(known["log_mel"](signal, how), loaded.inputs(loaded.x_train)[0], rtol=0, atol=2e-5)
    assert all(f"`{key}`" in page for key in how)


def test_older_manifests_mean_what_they_meant(tmp_path: Path) -> None:
    root = folder(tmp_path, wav)
    now = data.load(str(root))
    older = {
        "kind": "log-mel", "sample_rate": 8000, "frame_ms": 32, "hop_ms": 16, "mels": 40, "frames": 64, "floor": 1e-6,
        "mean": now.preprocessing["mean"], "scale": now.preprocessing["scale"],
    }  # fmt: skip
    loaded = data.load(str(root), older)
    assert loaded.preprocessing == now.preprocessing
    np.testing.assert_array_equal(loaded.x_test, now.x_test)


def test_of_a_long_clip_only_the_part_that_is_used_is_read() -> None:
    how = audio.derive(wav(), "a.wav")
    long = wav(seconds=400, rate=16000)
    short = wav(seconds=3, rate=16000)
    np.testing.assert_array_equal(audio.decode(long, "a", how).values, audio.decode(short, "a", how).values)
    assert len(audio.read_wav(long, "a", 1.0)[0]) < 16100


def header(rate: int = 8000, channels: int = 1, bits: int = 16, kind: int = 1, align: int = 2) -> bytes:
    """A WAV file of 1,000 bytes with a header that says so."""
    chunk = struct.pack("<HHIIHH", kind, channels, rate, rate * align % 2**32, align, bits)
    body = b"WAVEfmt " + struct.pack("<I", len(chunk)) + chunk + b"data" + struct.pack("<I", 1000) + b"\1" * 1000
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it ends too early"),
        (b"RIFF", "not a readable PCM WAV"),
        (wav()[:30], "not a readable PCM WAV"),
        (wav(seconds=0), "holds no sound"),
        (header(rate=50), "sample rate of 50 Hz, but 1000 to 384000 Hz are read"),
        (header(rate=0), "sample rate of 0 Hz"),
        (header(rate=4_000_000_000), "sample rate of 4000000000 Hz"),
        (header(channels=0), "not a readable PCM WAV"),
        (header(bits=0), "not a readable PCM WAV"),
        (header(bits=64), "64-bit samples"),
        (header(channels=65535), "holds no sound"),
        (header(kind=3, bits=32), "not a readable PCM WAV file \\(unknown format: 3\\)"),
    ],
)
def test_odd_sounds_are_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    root = folder(tmp_path, wav)
    for place in ("test/cat", "train/cat"):  # decoded, and what the preprocessing is derived from
        (root / place / "0.wav").write_bytes(content)
        with pytest.raises(BadInput, match=rf"cat/0\.wav.*{sentence}") as caught:
            data.load(str(root))
        assert "\n" not in str(caught.value)
