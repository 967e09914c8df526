"""Tables of what delegates take: a row for each kind of operator, with its rule and where the rule comes from.

A module for each delegate declares its table with :func:`declare`. A rule looks at an operator's types, shapes and
options, and says as part of a sentence why the delegate does not take it ("rank 5", "int8"), or "" if it does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt
from converters.delegates.operator import DAMAGED, File, Operator

#: A rule for operators: "" if they pass.
Check = Callable[[Operator], str]
#: A rule for whole files: "" if they pass.
FileCheck = Callable[[File], str]
#: What is said of an operator that a table has no row for.
NO_KERNEL = "no kernel"


@dataclass(frozen=True)
class Row:
    """One kind of operator."""

    kind: str
    #: The least and the greatest version of the kind that the delegate takes.
    versions: tuple[int, int]
    check: Check
    #: Where the rule comes from: a file of the delegate's sources, a document, or "measured: LiteRT 2.3.0".
    source: str

    def reason(self, operator: Operator) -> str:
        """Why the delegate does not take an operator of this kind; "" if it does."""
        least, most = self.versions
        if not least <= operator.version <= most:
            return f"version {operator.version}"
        return self.check(operator)


@dataclass(frozen=True)
class FileRow:
    """A rule for whole files: what it says of a file is said of all its operators, or, as a warning, beside them."""

    check: FileCheck
    source: str

    def reason(self, file: File) -> str:
        """Why the delegate does not take a file; "" if it does.

        Raises:
            BadInput: The file lacks what the kinds of its operators need.
        """
        try:
            return self.check(file)
        except DAMAGED as error:
            raise BadInput(f"The .tflite is damaged ({type(error).__name__}); convert the model again.") from None


@dataclass(frozen=True)
class Table:
    """What one delegate takes."""

    #: The delegate, or a variant of it: "gpu", "gpu:classic".
    delegate: str
    #: One line for help and documentation.
    summary: str
    #: The version of the software that the rules hold for, such as "LiteRT 2.3.0".
    version: str
    rows: Mapping[str, Row]
    #: Rules for whole files; the first that refuses a file refuses all its operators.
    files: tuple[FileRow, ...] = ()
    #: What is wrong though operators are taken.
    warnings: tuple[FileRow, ...] = ()
    #: A rule for operators of every kind, after that of the kind.
    tensors: Row | None = None
    #: How many pieces the delegate takes, the largest first; 0 for all.
    pieces: int = 0
    #: A piece of fewer operators is left to the CPU.
    least_piece: int = 1
    #: What is said of operators of kinds without a row.
    absent: str = NO_KERNEL

    def judge(self, operator: Operator) -> tuple[str, str]:
        """Why the delegate does not take an operator ("" if it does), and the source of that.

        Raises:
            BadInput: The operator lacks what its kind needs.
        """
        row = self.rows.get(operator.kind)
        if row is None:
            return self.absent, self.version
        try:
            reason = row.reason(operator)
            if not reason and self.tensors is not None:
                return self.tensors.check(operator), self.tensors.source
            return reason, row.source
        except DAMAGED as error:
            raise BadInput(
                f"Operator {operator.index} ({operator.kind}) of the .tflite is damaged ({type(error).__name__}); "
                "convert the model again."
            ) from None


def warned(words: str, kinds: str, wrong: Callable[[Operator], bool], source: str) -> FileRow:
    """A warning of files with an operator of certain kinds, given with spaces between them, that is ``wrong``."""
    among = frozenset(kinds.split())

    def check(file: File) -> str:
        return words if any(one.kind in among and wrong(one) for one in file.operators) else ""

    return FileRow(check, source)


#: The tables by delegate, and the delegates' other names.
TABLES: dict[str, Table] = {}
ALIASES: dict[str, str] = {}


def declare(table: Table, *aliases: str) -> Table:
    """Enter a table, with other names that it is looked up by; :class:`BadInput` if one of them has a table."""
    for name in (table.delegate, *aliases):
        if known(name):
            raise BadInput(f"There are two tables for the delegate '{name}'; give one another name.")
    TABLES[table.delegate] = table
    ALIASES.update(dict.fromkeys(aliases, table.delegate))
    return table


def known(delegate: str) -> bool:
    """Whether there is a table for a delegate."""
    return delegate in TABLES or delegate in ALIASES


def rows(kinds: str, check: Check, source: str, versions: tuple[int, int] = (1, 99)) -> dict[str, Row]:
    """The same row for several kinds, given with spaces between them."""
    return {kind: Row(kind, versions, check, source) for kind in kinds.split()}


def merged(parts: Iterable[Mapping[str, Row]]) -> dict[str, Row]:
    """The rows of several parts of a table; :class:`BadInput` if two parts have the same kind."""
    together: dict[str, Row] = {}
    for part in parts:
        for kind, row in part.items():
            if kind in together:
                raise BadInput(f"A table has two rows for {kind}; join them.")
            together[kind] = row
    return together


def lookup(delegate: str) -> Table:
    """The table of a delegate, under the name that it is looked up by; :class:`BadInput` lists those that there are."""
    if not known(delegate):
        names = ", ".join(sorted({*TABLES, *ALIASES}))
        raise BadInput(f"Nothing is known of what delegate '{excerpt(delegate)}' takes; choose among {names}.")
    return TABLES[delegate] if delegate in TABLES else replace(TABLES[ALIASES[delegate]], delegate=delegate)


def first(*reasons: str) -> str:
    """The first reason that is not empty, for rules that are made of several."""
    return next((reason for reason in reasons if reason), "")


def taken(operator: Operator) -> str:
    """The rule of kinds that a delegate takes in every form."""
    return ""
