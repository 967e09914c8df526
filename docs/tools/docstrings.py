"""What the API pages take from the sources besides docstrings: ``#:`` comments, and names in Sphinx' notation."""

from __future__ import annotations

import ast
import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?!?([^`]+)`")


def comment(lines: list[str], line: int) -> str:
    """The ``#:`` comment of the assignment on a line (from 1): behind it, or on the lines above it."""
    behind = lines[line - 1].partition("#: ")[2].strip()
    above: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.lstrip().startswith("#:"):
            break
        above.insert(0, text.lstrip()[2:].strip())
    return behind or " ".join(above)


class Docstrings(griffe.Extension):
    """Give attributes the docs that stand beside them; show names as code."""

    def on_attribute_instance(self, *, node: ast.AST | griffe.ObjectNode, attr: griffe.Attribute, **_: Any) -> None:
        """An attribute without a docstring gets its comment."""
        if attr.docstring is None and attr.lineno is not None and not isinstance(attr.filepath, list):
            text = comment(attr.lines_collection[attr.filepath], attr.lineno)
            if text:
                attr.docstring = griffe.Docstring(text, lineno=attr.lineno, parent=attr)

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Sphinx' roles become code, and its ``::`` a colon."""
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            text = re.sub(r"^( *)Example::$", r"\1For example:", text, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"(?<=\S)::$", ":", text, flags=re.MULTILINE)
