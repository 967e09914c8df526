"""A file that holds together, but whose operators refuse their tensors when LiteRT prepares them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.engines import delegates
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.manifest import TensorSpec
from tests.fixtures import plain_bundle, small_model


def three_to_add(model: Any) -> None:
    model.subgraphs[0].operators[2].inputs = [3, 4, 3]


@pytest.mark.parametrize("name", ["cpu", "reference"])
def test_an_operator_that_refuses_is_a_sentence(name: str, tmp_path: Path) -> None:
    opened = plain_bundle.write_bundle(tmp_path / "b")
    (opened.root / "full.tflite").write_bytes(small_model.spoiled(three_to_add))
    shape = (1, small_model.WIDTH)
    branch = replace(
        opened.manifest.branches[0],
        signature="main",
        input=TensorSpec("x", shape, "float32"),
        output=TensorSpec("y", shape, "float32"),
    )
    with pytest.raises(AdaScaleError, match=r"LiteRT cannot run .*full\.tflite \(") as caught:
        delegates.open_untried(opened, branch, name)
    assert "\n" not in str(caught.value)
