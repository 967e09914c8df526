"""What setup.cfg asks for is what the code imports, and the lowest versions are those of tests/lowest.txt."""

from __future__ import annotations

import ast
import configparser
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
OWN = {"adascale_runtime", "adascale_tf", "converters", "profiling", "android_harness"}
#: Imported by name where the distribution is called otherwise; those are on this machine only if they are installed.
CALLED = {"dask": "distributed", "yaml": "pyyaml", "PIL": "pillow", "sklearn": "scikit-learn", "google": "protobuf"}


def declared() -> dict[str, str]:
    """The lowest allowed version of every requirement, extras included; empty without a floor."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = [parser["options"]["install_requires"], *parser["options.extras_require"].values()]
    floors = {}
    for line in "\n".join(lines).splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)(.*)", line.strip()):
            floor = re.search(r"[>=]=([\d.]+)", match[2])
            floors[plain(match[1])] = floor[1] if floor else ""
    return floors


def plain(name: str) -> str:
    return name.lower().replace("_", "-")


def version(text: str) -> list[int]:
    numbers = [int(part) for part in text.split(".")]
    return numbers + [0] * (4 - len(numbers))


def test_every_import_is_declared() -> None:
    imported = set()
    for package in OWN:
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    imported.add(node.module.partition(".")[0])
    known = packages_distributions()
    missing = []
    for name in imported - OWN - set(sys.stdlib_module_names):
        offered = {plain(one) for one in [*known.get(name, [name]), CALLED.get(name, name)]}
        if not offered & set(declared()):
            missing.append(name)
    assert not missing, f"setup.cfg does not name {', '.join(sorted(missing))}"


def test_the_lowest_versions_are_the_floors() -> None:
    lines = (ROOT / "tests" / "lowest.txt").read_text().splitlines()
    pinned = dict(line.partition("#")[0].strip().split("==") for line in lines if not line.startswith("#"))
    floors = declared()
    tools = {"ruff", "mypy", "mkdocs-material", "mkdocstrings"}  # they judge or show the code and do not run it
    assert {plain(name) for name in pinned} == set(floors) - tools - {"adascale-runtime"}
    for name, text in pinned.items():
        assert version(text) == version(floors[plain(name)]), name


def test_the_pythons_of_the_versions_are_found_or_said_to_be_missing() -> None:
    done = subprocess.run([ROOT / ".ci" / "versions", "--list"], capture_output=True, text=True, check=True)
    lowest, newest = done.stdout.splitlines()
    assert re.fullmatch(r"lowest versions: (.*python3\.10|skipped, no Python 3\.10 .*)", lowest)
    assert re.fullmatch(r"newest versions: (.*python3\.12|skipped, no Python 3\.12 .*)", newest)
