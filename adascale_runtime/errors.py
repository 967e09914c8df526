"""The errors that users meet. Each message is one sentence: what is wrong, where, and what to do.

Errors are raised at the door (where input enters) and caught once, in the command line, which prints the sentence and
exits with :attr:`AdaScaleError.exit_code`.
"""

from __future__ import annotations


class AdaScaleError(Exception):
    """The job failed for a reason that one sentence explains."""

    exit_code = 1


class BadInput(AdaScaleError):
    """What the user gave cannot be used: a recipe, a budget, a file, a folder."""

    exit_code = 2


class BadBundle(BadInput):
    """The bundle is damaged, foreign, or of a version that this program does not read."""


class UnknownDelegate(BadInput):
    """A delegate that is not in the registry, or that this machine cannot run."""
