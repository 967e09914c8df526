"""Accuracy that branches lost to precision, structure or training, and the warnings about it.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

from typing import List, Optional

from adascale_runtime.seams.manifest import Branch, Manifest

#: Points of accuracy: a branch that loses more as a file is left out; a structure is said to have collapsed so far
#: below the full branch.
LEFT_OUT, COLLAPSED = 20.0, 15.0


def refused_loss(branch: Branch, max_loss: float) -> Optional[str]:
    """Why a branch does not belong into a bundle; None if it does."""
    limit = max(LEFT_OUT, max_loss)
    if branch.loss <= limit + 1e-9:
        return None
    return (
        f"its file loses {branch.loss:.1f} points of accuracy against its own float network "
        f"({branch.float_accuracy or 0:.1%} -> {branch.accuracy.value:.1%}), more than {limit:g}"
    )


def remarks(manifest: Manifest) -> List[str]:
    """What a person should know about a bundle before using it, a sentence each; empty if nothing is wrong."""
    sentences = [
        f"Branch '{b.recipe}' loses {b.loss:.1f} points of accuracy as a file ({b.float_accuracy or 0:.1%} -> "
        f"{b.accuracy.value:.1%}); try another precision, such as int16x8 or dynamic."
        for b in manifest.branches
        if manifest.lossy(b)
    ]
    sentences += [f"Branch '{recipe}' is left out: {reason}." for recipe, reason in manifest.left_out.items()]
    return sentences + _collapsed(manifest) + _given(manifest)


def _collapsed(manifest: Manifest) -> List[str]:
    full = next((b.float_accuracy for b in manifest.branches if b.recipe == "full"), None)
    low = [
        (b.recipe, b.float_accuracy)
        for b in manifest.branches
        if full is not None and b.float_accuracy is not None and 100 * (full - b.float_accuracy) > COLLAPSED
    ]
    if not low:
        return []
    named = ", ".join(f"{recipe} ({value:.1%})" for recipe, value in low)
    return [
        f"Already as float networks these stand more than {COLLAPSED:.0f} points below full ({full:.1%}): {named}; "
        "train longer, or choose milder steps."
    ]


def _given(manifest: Manifest) -> List[str]:
    full = next((b.accuracy.value for b in manifest.branches if b.recipe == "full"), None)
    if manifest.given is None or full is None or full >= manifest.given.value:
        return []
    return [
        f"The branch 'full' is {100 * (manifest.given.value - full):.1f} points worse than the model as it was given "
        f"({manifest.given.value:.1%} -> {full:.1%}); train with more data or for another number of epochs."
    ]
