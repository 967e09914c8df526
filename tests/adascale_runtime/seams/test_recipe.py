from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_runtime.seams.recipe import Recipe, Step, parse, parse_list

names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda n: n != "full")
strengths = st.none() | st.sampled_from(["0.5", "0.25", "2", "2:4", "16", "block"])
blocks = st.none() | st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,8}", fullmatch=True)
recipes = st.lists(st.builds(Step, names, strengths, blocks), max_size=4).map(lambda steps: Recipe(tuple(steps)))


@given(recipes)
def test_text_of_a_recipe_parses_back(recipe: Recipe) -> None:
    assert parse(str(recipe)) == recipe


@given(recipes)
def test_id_is_safe_in_file_names(recipe: Recipe) -> None:
    assert recipe.id and not set(recipe.id) & set('+()@:/\\ "')


@given(st.text(max_size=30))
def test_any_text_parses_or_is_refused_with_a_sentence(text: str) -> None:
    try:
        recipe = parse(text)
    except BadInput as error:
        assert str(error).endswith(".")
    else:
        assert parse(str(recipe)) == recipe


@pytest.mark.parametrize("text", ["width(0.50)", "width( .5 )", " width(0.5) "])
def test_equal_strengths_are_one_branch(text: str) -> None:
    assert str(parse(text)) == "width(0.5)"


def test_id_reads_like_the_recipe() -> None:
    assert parse("width(0.5)+exit(2)+int8").id == "width0.5-exit2-int8"
    assert parse("full").id == "full"


@pytest.mark.parametrize("text", ["", "width(", "width)0.5(", "+int8", "width(0.5)++int8", "Width(0.5)", "width(0,5)"])
def test_what_is_no_recipe_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a step"):
        parse(text)


def test_lists_keep_order_and_refuse_doubles() -> None:
    assert [str(r) for r in parse_list("int8, full,width(0.5)")] == ["int8", "full", "width(0.5)"]
    with pytest.raises(BadInput, match="listed twice"):
        parse_list("width(0.5),width(0.50)")
    with pytest.raises(BadInput, match="empty"):
        parse_list(" , ")
