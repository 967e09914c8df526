from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec


@dataclass(frozen=True)
class Inner:
    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    count: int
    inner: Inner
    maybe: float | None
    table: dict[str, int]
    anything: Any = None
    flag: bool = False


finite = st.floats(allow_nan=False, allow_infinity=False)
whole = st.integers(-(1 << 63), (1 << 63) - 1)
outers = st.builds(
    Outer,
    whole,
    st.builds(Inner, st.text(), st.lists(finite).map(tuple)),
    st.none() | finite,
    st.dictionaries(st.text(), whole),
)


@given(outers)
def test_what_is_written_is_read_back(value: Outer) -> None:
    import json

    assert codec.from_json(Outer, json.loads(codec.dump(value)), "x") == value


def test_numbers_that_json_lacks_become_null_and_numpy_becomes_plain() -> None:
    assert codec.to_json([math.nan, math.inf, np.float32(0.5), np.int64(3), np.bool_(True)]) == [
        None,
        None,
        0.5,
        3,
        True,
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"count": "3"}, r"m\.count should be a whole number, but is \"3\""),
        ({"count": True}, r"m\.count should be a whole number"),
        ({"inner": {"name": "a", "values": [1, "b"]}}, r"m\.inner\.values\[1\] should be a number"),
        ({"inner": {"name": "a"}}, r"m\.inner has no 'values'"),
        ({"table": []}, r"m\.table should be an object"),
    ],
)
def test_errors_say_where(change: dict[str, Any], sentence: str) -> None:
    good = {"count": 1, "inner": {"name": "a", "values": []}, "maybe": None, "table": {}}
    assert codec.from_json(Outer, {**good, "unknown": 1}, "m").count == 1
    with pytest.raises(BadInput, match=sentence):
        codec.from_json(Outer, {**good, **change}, "m")


def test_lines_cut_off_by_a_kill_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a":1}\n{"a":2}\n{"a":')
    assert list(codec.read_lines(path)) == [{"a": 1}, {"a": 2}]
    path.write_text('{"a":1}\nnonsense\n')
    with pytest.raises(BadInput, match="line 2 is not JSON"):
        list(codec.read_lines(path))


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    codec.write_text(path, "one")
    codec.write_text(path, "two")
    assert path.read_text() == "two"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]
    with pytest.raises(BadInput, match="cannot be written"):
        codec.write_text(path / "below-a-file", "x")
