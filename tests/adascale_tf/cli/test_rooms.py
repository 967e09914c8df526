"""The command line turns options into the request of a verb and its result into a table; nothing else happens there."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adascale_tf import cli

PACKAGE = Path(cli.__file__).parent
#: Modules whose commands the group takes.
COMMANDS = sorted(path.stem for path in PACKAGE.glob("*.py") if "\nCOMMANDS = " in path.read_text())
#: What commands may use besides click, the standard library and verbs: rooms that they share, and errors.
SHARED = {"console", "ending", "live", "options", "speeds", "support", "tables"}
BELOW = {"adascale_runtime.errors"}
#: What shared rooms may use besides: texts, progress, files as JSON, and the registries and records that help names.
BELOW_SHARED = {
    *BELOW, "adascale_runtime.files.archives", "adascale_runtime.files.codec", "adascale_runtime.plugins",
    "adascale_runtime.policies.policy", "adascale_runtime.policies.rivals", "adascale_runtime.engines.registry",
    "adascale_runtime.progress", "adascale_runtime.seams.manifest", "adascale_runtime.seams.losses",
    "adascale_runtime.seams.events", "adascale_runtime.seams.speed", "adascale_runtime.text", "adascale_tf.verbs.kinds",
}  # fmt: skip


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker sees."""
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from nodes(child)


def imported(path: Path) -> set[str]:
    """The modules that a file imports, at its top or in a function."""
    modules: set[str] = set()
    for node in nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = ("adascale_tf.cli", "adascale_tf.verbs", "adascale_tf", "adascale_runtime")
            parents += ("adascale_runtime.seams", "adascale_runtime.files", "adascale_runtime.engines")
            parents += ("adascale_runtime.policies",)
            whole = node.module in parents
            modules |= {f"{node.module}.{alias.name}" if whole else str(node.module) for alias in node.names}
    return modules - {"adascale_tf.__version__"}


def is_outside(module: str) -> bool:
    """Whether a module is of the standard library, or one of the two that draw."""
    return module.partition(".")[0] in {*sys.stdlib_module_names, "click", "rich"}


def test_there_are_commands_and_shared_rooms() -> None:
    assert len(COMMANDS) >= 6
    assert {path.stem for path in PACKAGE.glob("*.py")} == {*COMMANDS, *SHARED, "__init__"}


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_import_verbs_options_and_tables_alone(name: str) -> None:
    rooms = {f"adascale_tf.cli.{room}" for room in SHARED} | BELOW
    modules = imported(PACKAGE / f"{name}.py")
    assert not {m for m in modules if not is_outside(m) and m not in rooms and not m.startswith("adascale_tf.verbs.")}
    assert "rich" not in {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("name", sorted(SHARED))
def test_shared_rooms_know_no_verb_and_no_work(name: str) -> None:
    rooms = {f"adascale_tf.cli.{room}" for room in SHARED} | BELOW_SHARED
    assert not {m for m in imported(PACKAGE / f"{name}.py") if not is_outside(m) and m not in rooms}
