"""Files of measurements: added to at the end, whatever a kill left there."""

from __future__ import annotations

import dataclasses
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Measurement
from profiling import cells, measure


@pytest.fixture(scope="module")
def one(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return measure.profile(
        built, ["cpu"], [1], runs=2, out=tmp_path_factory.mktemp("m") / "m.jsonl", branches=["full"]
    )[0]


def named(one: Measurement, number: int) -> Measurement:
    return dataclasses.replace(one, branch=f"b{number}")


@given(st.lists(st.integers(0, 150_000), max_size=4), st.integers(0, 150_000))
def test_a_part_of_a_line_is_cut_off_and_whole_ones_stay(one: Measurement, lengths: list[int], torn: int) -> None:
    """Lines of any length, so that the last whole one ends in any of the pieces in which it is looked for."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "m.jsonl"
        before = b"".join(b"x" * length + b"\n" for length in lengths)
        out.write_bytes(before + b"y" * torn)
        cells.append(out, [one])
        assert out.read_bytes() == before + codec.dump_line(one).encode()


def test_those_who_add_at_the_same_time_lose_nothing(one: Measurement, tmp_path: Path) -> None:
    out = tmp_path / "new" / "m.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: cells.append(out, [named(one, 2 * n), named(one, 2 * n + 1)]), range(40)))
    found = [m.branch for m in records.read([out])]
    assert sorted(found) == sorted(f"b{n}" for n in range(80))
    assert all(found.index(f"b{2 * n}") + 1 == found.index(f"b{2 * n + 1}") for n in range(40))


def test_what_cannot_be_written_is_a_sentence(one: Measurement, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"cannot be written .*choose another --out"):
        cells.append(tmp_path, [one])
