"""The table of operators in the documentation, written from the registry: ``python -m adascale_tf.operators.page``."""

from __future__ import annotations

import sys
from pathlib import Path

from adascale_tf.operators import OPERATORS, Operator

PAGE = Path("docs") / "operators.md"
BEGIN, END = "<!-- operators:begin -->\n", "<!-- operators:end -->"


def table() -> str:
    """A row for each operator: an example, what it does, the formula, what a search tries, its papers."""
    rows = [("step", "what it does", "formula", "a search tries", "source"), ("---",) * 5]
    for one in OPERATORS.values():
        summary = one.summary.replace("``", "`")
        rows.append((f"`{one.example}`", summary, one.formula or "–", _tried(one), _sources(one)))
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def _tried(one: Operator) -> str:
    if callable(one.strengths):
        return (one.strengths.__doc__ or "").split("\n")[0].rstrip(".")
    strengths = ", ".join(strength or one.name for strength in one.strengths)
    return f"{strengths}; by block" if strengths and one.at_blocks else strengths or "nothing"


def _sources(one: Operator) -> str:
    return "; ".join(paper.rstrip(".") for paper in one.references)


def written(page: str) -> str:
    """A page with the table between its marks."""
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def main(root: Path = Path()) -> int:
    """Write the table into the page."""
    path = root / PAGE
    path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
