"""What a delegate takes of a branch, as tables and manifests tell it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadBundle
from adascale_runtime.files import codec
from adascale_runtime.seams import manifests
from adascale_runtime.seams.manifest import Manifest
from adascale_runtime.seams.support import Refusal, Support
from tests.fixtures.plain_bundle import write_bundle


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return write_bundle(tmp_path_factory.mktemp("plain") / "bundle").manifest


RESIZE = Refusal("RESIZE_BILINEAR", "half_pixel_centers")


@pytest.mark.parametrize(
    ("support", "words"),
    [
        (Support("gpu", 23, 23, 1), "all 23"),
        (Support("gpu", 23, 23, 2), "all 23 in 2 parts"),
        (Support("gpu", 23, 17, 3, (RESIZE,)), "17 of 23 in 3 parts: RESIZE_BILINEAR with half_pixel_centers (1)"),
        (Support("gpu", 2, 1, 1, (RESIZE,)), "1 of 2 in 1 part: RESIZE_BILINEAR with half_pixel_centers (1)"),
        (Support("gpu", 2, 0, 0, (Refusal("ADD", "int8"), Refusal("MUL", "int8"))), "none: int8"),
        (
            Support("gpu", 2, 0, 0, (Refusal("ADD", "int8"), Refusal("MUL", "rank 5"))),
            "none: ADD with int8 (1), MUL with rank 5 (1)",
        ),
    ],
)
def test_words(support: Support, words: str) -> None:
    assert support.words == words


def test_what_is_computed_wrongly_is_whole_but_not_sound() -> None:
    right = Support("gpu", 3, 3, 1)
    wrong = replace(right, warnings=("int8 is computed wrongly",))
    assert right.whole and right.sound and wrong.whole and not wrong.sound
    assert not Support("gpu", 3, 2, 1, (RESIZE,)).sound


@given(st.integers(-3, 9), st.integers(-3, 9), st.integers(-3, 9))
def test_a_manifest_with_impossible_numbers_is_refused(
    plain: Manifest, operators: int, taken: int, partitions: int
) -> None:
    support = Support("gpu", operators, taken, partitions)
    changed = replace(plain, branches=tuple(replace(b, support=(support,)) for b in plain.branches))
    if 0 <= taken <= operators and 0 <= partitions <= max(1, taken):
        manifests.check(changed, "manifest.json")
        assert codec.from_json(Manifest, codec.parse(codec.dump(changed), "it"), "it") == changed
        return
    with pytest.raises(BadBundle, match=f"says that 'gpu' takes {taken} of {operators} operators in {partitions}"):
        manifests.check(changed, "manifest.json")
