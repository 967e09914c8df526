"""Which modules of a standard library a program can import, at once or later. Pure: sources in, names out."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping, Set

# cp437: names in zip files; idna: addresses of sockets; _strptime: time.strptime
_ALWAYS = (
    "codecs io abc os site stat runpy zipimport importlib encodings encodings.aliases encodings.utf_8 encodings.ascii "
    "encodings.latin_1 encodings.cp437 encodings.idna _strptime _weakrefset"
)
_CUT = (
    "_aix_support _bootsubprocess _bz2 _compat_pickle _compression _hashlib _lzma _osx_support _pydatetime _pydecimal "
    "_pyio _ssl asyncio bdb bz2 cmd code codeop curses decimal difflib doctest email encodings.mbcs encodings.oem "
    "fractions getopt html http idlelib importlib.metadata importlib.resources lib2to3 lzma mimetypes multiprocessing "
    "nturl2path optparse pdb pickle plistlib pprint py_compile pydoc pydoc_data pyexpat quopri readline rlcompleter "
    "sitecustomize ssl statistics sysconfig tarfile tkinter tracemalloc tty unittest urllib.request usercustomize "
    "webbrowser winreg xml"
)
#: What the interpreter itself imports, or C code does by name.
ALWAYS = frozenset(_ALWAYS.split())
#: What the standard library imports only for its own tools, tests, other systems, or formats that no phone meets.
CUT = frozenset(_CUT.split())


def reachable(programs: Iterable[str], library: Mapping[str, str | None]) -> list[str]:
    """The names of the modules in ``library`` that programs can import, directly or through others, sorted.

    Args:
        programs: Sources.
        library: Sources of modules by their dotted names, a package's under its own; None for compiled modules.
    """
    wanted = set(ALWAYS)
    for source in programs:
        wanted |= set(_imported(source, ""))
    found: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name in found or name not in library or _cut(name, CUT):
            continue
        found.add(name)
        text = library[name] or ""
        package = name if any(other.startswith(f"{name}.") for other in library) else name.rpartition(".")[0]
        wanted |= {name.rpartition(".")[0]} | set(_imported(text, package))
    return sorted(found)


def _cut(name: str, cut: Set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[: end + 1]) in cut for end in range(len(parts)))


def _imported(source: str, package: str) -> Iterator[str]:
    """The names that a source imports anywhere, but for type checkers and when it is run as a program."""
    nodes: list[ast.AST] = [ast.parse(source)]
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.If) and any(word in ast.dump(node.test) for word in ("TYPE_CHECKING", "__main__")):
            nodes += node.orelse
            continue
        nodes += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
