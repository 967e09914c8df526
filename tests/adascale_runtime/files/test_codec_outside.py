"""What codec does with JSON that nobody of this project wrote: one sentence, never a traceback, never a long wait."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives, codec


@dataclass(frozen=True)
class Thing:
    count: int
    share: float
    name: str
    sizes: dict[str, float] = field(default_factory=dict)
    anything: Any = None


GOOD = {"count": 1, "share": 0.5, "name": "a"}


def read(text: str | bytes, tmp_path: Path) -> Thing:
    path = tmp_path / "x.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return codec.from_json(Thing, codec.read_json(path), "x")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"count": 1' + "0" * 400 + ', "share": 1, "name": "a"}', "64 bits"),
        ('{"count": 1' + "0" * 9000 + ', "share": 1, "name": "a"}', "not JSON"),
        ('{"count": 1, "share": 1' + "0" * 400 + ', "name": "a"}', "64 bits"),
        ('{"count": 1, "share": 1e400, "name": "a"}', "finite"),
        ('{"count": 1, "share": NaN, "name": "a"}', "NaN"),
        ('{"count": 1, "share": -Infinity, "name": "a"}', "Infinity"),
        ('{"count": 1, "share": 1, "name": "\\ud800"}', "unpaired surrogate"),
        ('{"count": 1, "share": 1, "name": "a", "sizes": {"\\udfff": 1}}', "unpaired surrogate"),
        ('{"count": 1, "share": 1, "name": "a", "anything": ["\\ud800"]}', "unpaired surrogate"),
        ('{"count": 1, "count": 2, "share": 1, "name": "a"}', "twice"),
        ('{"count": 1, "share": 1, "name": "a", "anything": ' + "[" * 800 + "]" * 800 + "}", "nested"),
        ('{"count": 1, "share": 1, "name": "a", "anything": ' + "[" * 99999 + "]" * 99999 + "}", "nested"),
        ('{"count": 1, "share": 1, "name": "a", "more": ' + '{"a":' * 100 + "1" + "}" * 100 + "}", "nested"),
        ('{"count": "' + "a" * 300_000 + '", "share": 1, "name": "a"}', "whole number"),
        ('{"count": 1, "share": 1, "name": ' + json.dumps(list(range(100_000))) + "}", "string"),
        (b'{"count": 1, "share": 1, "name": "\xff"}', "UTF-8"),
        (json.dumps(GOOD).encode("utf-16"), "UTF-8"),
        (b"\0" * 100, "not JSON"),
        (b"", "not JSON"),
        ('{"count": true, "share": 1, "name": "a"}', "whole number"),
    ],
)
def test_odd_json_is_a_short_sentence(text: str | bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=words) as caught:
        read(text, tmp_path)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


def test_a_long_name_of_a_key_is_cut_in_the_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        read(json.dumps({**GOOD, "sizes": {"k" * 300_000: "x"}}), tmp_path)
    assert len(str(caught.value)) < 400


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert read("\ufeff" + json.dumps(GOOD), tmp_path) == Thing(1, 0.5, "a")


@pytest.mark.parametrize("depth", [500, 900, 2000])
def test_lines_nested_deep_are_sentences(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text("[" * depth + "]" * depth + "\n")
    with pytest.raises(BadInput, match=r"line 1.* nested"):
        list(codec.read_lines(path))


def test_what_was_not_parsed_here_is_checked_too() -> None:
    deep: Any = 1
    for _ in range(5000):
        deep = [deep]
    for wrong in ({"share": float("nan")}, {"count": 1 << 70}, {"name": "\ud800"}, {"anything": deep}):
        with pytest.raises(BadInput):
            codec.from_json(Thing, {**GOOD, **wrong}, "x")
    for wrong in ({"count": deep}, {"count": {1: 2}}, {"anything": {1: 2}}, {"name": b"x"}):
        with pytest.raises(BadInput):
            codec.from_json(Thing, {**GOOD, **wrong}, "x")


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(10 << 30)
    begun = time.monotonic()
    with pytest.raises(BadInput, match="--max-gb"):
        codec.read_json(path)
    with pytest.raises(BadInput, match="--max-gb"):
        next(codec.read_lines(path))
    assert time.monotonic() - begun < 1


def test_a_file_without_end_is_refused() -> None:
    with archives.limit(1 << 20), pytest.raises(BadInput, match="--max-gb"):
        codec.read_json(Path("/dev/zero"))


@pytest.mark.parametrize("name", ["folder", "a\0b", "x" * 300, "missing"])
def test_what_is_no_readable_file_is_a_sentence(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="cannot be read"):
        codec.read_json(tmp_path / name)


def test_text_with_half_characters_can_be_written(tmp_path: Path) -> None:
    codec.write_text(tmp_path / "x.html", "a\ud800b")
    assert (tmp_path / "x.html").read_text() == "a\\ud800b"
    assert codec.dump({"\ud800": "\x1b[1m"}).isascii()
