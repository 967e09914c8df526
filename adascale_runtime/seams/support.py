"""What a delegate will take of a branch, known from the file alone: as it stands in manifests.

``converters.delegates`` works it out. Standard library only and Python 3.8 compatible: a phone reads manifests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Refusal:
    """Operators of one kind that a delegate does not take, for one reason."""

    #: The operator, such as "RESIZE_BILINEAR".
    kind: str
    #: Why, as part of a sentence: "half_pixel_centers".
    reason: str
    #: How many operators of the branch it is true of.
    count: int = 1


@dataclass(frozen=True)
class Support:
    """What one delegate takes of one branch."""

    #: The delegate, or a variant of it: "gpu", "gpu:classic", "nnapi:1.2", "npu".
    delegate: str
    #: Operators of the branch.
    operators: int
    #: How many of them the delegate takes.
    taken: int
    #: In how many pieces.
    partitions: int
    #: Why the others are left to the CPU, in the file's order.
    refusals: Tuple[Refusal, ...] = ()
    #: What is wrong though all operators are taken, such as outputs that an implementation computes wrongly.
    warnings: Tuple[str, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether the delegate takes all of the branch."""
        return self.taken == self.operators

    @property
    def sound(self) -> bool:
        """Whether the delegate takes all of the branch, and nothing is known to be wrong with that."""
        return self.whole and not self.warnings

    @property
    def words(self) -> str:
        """For tables: "all 23", "17 of 23 in 3 parts: RESIZE_BILINEAR with half_pixel_centers (1)", "none: int8"."""
        if self.whole:
            text = "all {}".format(self.operators)
            return text if self.partitions <= 1 else "{} in {} parts".format(text, self.partitions)
        if not self.taken:
            reasons = {refusal.reason for refusal in self.refusals}
            if len(reasons) == 1:
                return "none: {}".format(reasons.pop())
            text = "none"
        else:
            parts = "1 part" if self.partitions == 1 else "{} parts".format(self.partitions)
            text = "{} of {} in {}".format(self.taken, self.operators, parts)
        return ": ".join((text, ", ".join("{} with {} ({})".format(r.kind, r.reason, r.count) for r in self.refusals)))
