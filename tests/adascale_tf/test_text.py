from hypothesis import given
from hypothesis import strategies as st

from adascale_tf.text import excerpt, printable


def test_escape_sequences_are_seen_and_not_obeyed() -> None:
    assert printable("a\x1b[31mred\x07\r") == "a\\x1b[31mred\\x07\\x0d"
    assert printable("right\u202eleft") == "right\\u202eleft"
    assert printable("\ud800") == "\\ud800"
    assert printable("Pixel 8 – 東京\n") == "Pixel 8 – 東京\n"


def test_long_values_are_cut() -> None:
    assert printable("x" * 300_000).endswith(" ...") and len(printable("x" * 300_000)) == 2000
    assert excerpt({"a": "x" * 300_000}, 20) == "{'a': 'xxxxxxxxx ..."


@given(st.text())
def test_what_is_shown_can_be_encoded_and_printed(text: str) -> None:
    shown = printable(text)
    shown.encode("utf-8")
    assert all(c.isprintable() or c in "\n\t" for c in shown)
