"""Journals that hold something else than a profile wrote are left as they are, or refused with a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from profiling.journal import settle


@pytest.mark.parametrize("cells", [None, 1, "full", [["full"]], [{}], [None], {"full": 1}])
def test_odd_lists_of_cells_stay(cells: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl.journal"
    text = json.dumps({"settings": {"bundle": "b", "cells": cells}}) + "\n"
    path.write_text(text)
    settle(path, {"bundle": "b"}, ["full"])
    assert path.read_text() == text
