from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.text import ended, excerpt, printable


def test_escape_sequences_are_seen_and_not_obeyed() -> None:
    assert printable("a\x1b[31mred\x07\r") == "a\\x1b[31mred\\x07\\x0d"
    assert printable("right\u202eleft") == "right\\u202eleft"
    assert printable("\ud800") == "\\ud800"
    assert printable("Pixel 8 – 東京\n") == "Pixel 8 – 東京\n"


def test_long_values_are_cut() -> None:
    assert printable("x" * 300_000).endswith(" ...") and len(printable("x" * 300_000)) == 2000
    assert excerpt({"a": "x" * 300_000}, 20) == "{'a': 'xxxxxxxxx ..."


def test_values_that_cannot_be_written_out_are_named() -> None:
    deep: object = 1
    for _ in range(5000):
        deep = [deep]
    wide: list[object] = ["x"]
    for _ in range(60):  # 2 to the 60th, if it were written out
        wide = [wide, wide]
    for value in (deep, wide, {"a": wide}):
        assert excerpt(value).startswith(("[[", "{'a': [["))
    assert excerpt(10**5000) == "a int"


@given(st.text())
def test_what_is_shown_can_be_encoded_and_printed(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert all(c.isprintable() or c in "\n\t" for c in shown)


def test_how_a_process_ended_has_words() -> None:
    assert [ended(code) for code in (-11, 3, -40)] == ["SIGSEGV", "exit code 3", "signal 40"]
