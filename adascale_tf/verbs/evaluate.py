"""``evaluate``: the accuracy of the .tflite files themselves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Accuracy
from adascale_tf.verbs.given import bundle_of
from adascale_tf.verbs.saying import Say, unsaid


@dataclass(frozen=True)
class Evaluation:
    """How well one branch answers."""

    #: The branch's id.
    branch: str
    #: The branch's recipe.
    recipe: str
    #: Measured now, on the test split.
    accuracy: Accuracy
    #: As the manifest has it.
    manifest: Accuracy


def evaluate(
    path: str | Path | Bundle, data: Any, *, branch: str | None = None, tick: Tick = silent, say: Say = unsaid
) -> tuple[Evaluation, ...]:
    """Measure the accuracy of a bundle's branches on the test split, on this machine's CPU.

    Args:
        path: the bundle's folder or .zip, or an opened one.
        data: a SPEC or examples in memory, of the bundle's classes.
        branch: only the branch of this id; by default all.
        tick: called with "evaluate" as examples are done.
        say: takes a sentence for what was left out of the data.

    Raises:
        BadInput: the data has other classes or shapes than the bundle, or there is no such branch.
        BadBundle: the bundle is damaged.
    """
    from adascale_runtime.engines.delegates import examine, open_branch
    from adascale_tf.verbs import inputs
    from converters import verify

    opened = bundle_of(path)
    manifest = opened.manifest
    branches = manifest.branches if branch is None else (manifest.branch(branch),)
    dataset = inputs.load_for_bundle(opened, data, tick=tick, say=say)
    x = dataset.inputs(dataset.x_test)
    examine(opened, branches)
    evaluations = []
    for number, one in enumerate(branches):

        def done(count: int, before: int = number * len(x)) -> None:
            tick("evaluate", before + count, len(branches) * len(x), "")

        logits = verify.outputs(open_branch(opened, one), x, done)
        evaluations.append(
            Evaluation(one.id, one.recipe, verify.accuracy(logits, dataset.y_test, "test"), one.accuracy)
        )
    return tuple(evaluations)
