"""Jobs, the units of measuring work that a kill can lose, and the messages of the runners that do them.

A runner says :class:`Begin`, then :class:`Finished` or :class:`Failed` for each job, :class:`Wait` while it waits, and
:class:`Done` when it has no more to do. Between a phone and its harness a message is a line of JSON after :data:`MARK`,
so that whatever else a phone prints does no harm. Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Dict, Optional, Type, Union

from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import facts
from adascale_runtime.text import excerpt

MARK = "@adascale "
#: Characters of a reason that are kept.
REASON = 400


@dataclass(frozen=True)
class Job:
    """One piece of measuring work on a cell (branch x delegate x threads)."""

    #: A key of :data:`adascale_runtime.seams.facts.KINDS`: what the job tells.
    kind: str
    #: Together with ``kind`` the job's name: the cell's key, with the number of the round for a block.
    key: str
    #: The key of the cell.
    cell: str
    branch: str
    delegate: str
    threads: int
    #: How many timed runs a block has; more, until they have taken so many ms together.
    runs: int = 0
    lasting_ms: float = 0.0
    #: Timed runs done in earlier rounds, so that every sample has its turn.
    skip: int = 0


@dataclass(frozen=True)
class Begin:
    """The job of this kind and key begins."""

    kind: str
    key: str


@dataclass(frozen=True)
class Finished:
    """A job is done, and this is what it tells."""

    kind: str
    key: str
    value: facts.Fact


@dataclass(frozen=True)
class Failed:
    """A job cannot be done. Without a kind it is the one that was begun last."""

    kind: str = ""
    key: str = ""
    cell: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Wait:
    """Nothing is done for now: the device is hot, or charges."""

    why: str = ""
    waited_s: float = 0.0


@dataclass(frozen=True)
class Done:
    """All jobs were tried."""


Message = Union[Begin, Finished, Failed, Wait, Done]
#: Messages by the word that stands for them in a line.
WORDS: Dict[str, Type[Any]] = {"begin": Begin, "fact": Finished, "failed": Failed, "wait": Wait, "done": Done}
_WORD_OF = {kind: word for word, kind in WORDS.items()}


def line(message: Message) -> str:
    """A message as a line of a runner's output."""
    return MARK + codec.dump_line({"say": _WORD_OF[type(message)], **codec.to_json(message)})


def parse(text: str) -> Optional[Message]:
    """The message in a line of output; None for whatever else is printed, and for words of other versions.

    A message that cannot be used is a :class:`Failed`: of its job where it names one, else of the job that is being
    done. The values of a fact have the right types, but may still be impossible
    (:func:`adascale_runtime.seams.facts.verify`).
    """
    start = text.find(MARK)
    if start < 0:
        return None
    try:
        told = json.loads(text[start + len(MARK) :])
    except (ValueError, RecursionError):
        return None
    word = told.get("say") if isinstance(told, dict) else None
    if not isinstance(word, str) or word not in WORDS:
        return None
    try:
        about: Any = codec.from_json(Begin if word == "fact" else WORDS[word], told, "the message")
    except BadInput as error:
        return Failed(reason="the runner's message cannot be used: {}".format(excerpt(str(error), REASON)))
    if word != "fact":
        return about
    try:
        return Finished(about.kind, about.key, facts.decode(about.kind, told.get("value"), about.kind))
    except BadInput as error:
        return Failed(about.kind, about.key, reason=unusable(error))


def unusable(error: BadInput) -> str:
    """The reason why a job failed whose fact cannot be used."""
    return "the runner's fact cannot be used: {}".format(excerpt(str(error), REASON))
