"""The finished parts of a long benchmark on disk, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adascale_runtime.files import codec

Facts = dict[str, Any]


class Parts:
    """A folder with a JSON file of facts a part, and files of arrays.

    Args:
        folder: where they are kept; parts of other settings in it are removed.
        settings: what the parts depend on, as JSON: the options, the data, a digest of the code.
    """

    def __init__(self, folder: Path, settings: Facts) -> None:
        self.folder = folder
        place, told = folder / "settings.json", codec.dump(settings)
        if folder.exists() and not (place.exists() and place.read_text() == told):
            self.remove()
        folder.mkdir(parents=True, exist_ok=True)
        codec.write_text(place, told)
        #: Wall time that the parts taken so far took, in whichever process.
        self.seconds = 0.0

    def take(self, name: str, make: Callable[[], Facts]) -> Facts:
        """A part's facts: those on disk, or made now and kept."""
        place = self.folder / f"{name}.json"
        if not place.exists():
            begun = time.perf_counter()
            made = make()
            codec.write_text(place, codec.dump({"seconds": time.perf_counter() - begun, "facts": made}))
        kept = json.loads(place.read_text())
        self.seconds += kept["seconds"]
        facts: Facts = kept["facts"]
        return facts

    def arrays(self, name: str) -> dict[str, np.ndarray] | None:
        """Arrays that were kept under a name, or None."""
        place = self.folder / f"{name}.npz"
        if not place.exists():
            return None
        with np.load(place) as kept:
            return dict(kept)

    def keep(self, name: str, arrays: Mapping[str, Any]) -> None:
        """Keep arrays under a name."""
        half = self.folder / f"{name}.half.npz"
        np.savez(half, **arrays)
        half.replace(self.folder / f"{name}.npz")

    def remove(self) -> None:
        """Remove all parts: the benchmark is done."""
        shutil.rmtree(self.folder)
