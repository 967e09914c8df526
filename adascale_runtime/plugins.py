"""Plug-ins: third-party distributions that add delegates, policies, operators and so on.

A plug-in is a module that declares what it brings with the same decorators as the built-in kinds. Its distribution
names the module in the group ``adascale_tf.plugins``, a line for each kind, so that a command imports only what it
needs::

    [project.entry-points."adascale_tf.plugins"]
    operators = "mypackage.operators"
    delegates = "mypackage.delegates"

Registries call :func:`claim` to register a name and :func:`load` before they look for one that they do not know. A
plug-in that fails to import is left out, and :func:`problems` says why. Standard library only, Python 3.8; on a phone
there are no entry points, and nothing happens.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any, Callable, Dict, Iterable, List, MutableMapping, NamedTuple, Optional, Set, Tuple, TypeVar

from adascale_runtime.errors import BadInput
from adascale_runtime.text import excerpt

GROUP = "adascale_tf.plugins"
#: What an entry point may bring.
KINDS = ("operators", "policies", "delegates", "precisions", "meters", "backbones", "runners")

_STRANGE = "Plug-in {2} ({1}) is left out: it provides '{0}', but a plug-in can only provide {3}."

T = TypeVar("T")


class Entry(NamedTuple):
    """One line of a distribution's entry points."""

    kind: str
    module: str
    distribution: str


_LOCK = threading.RLock()
_DONE: Set[str] = set()
_PROBLEMS: List[Tuple[str, str]] = []
#: Who declared a name of a kind, and the registry entries in the order in which they were made.
_MAKERS: Dict[Tuple[str, str], str] = {}
_CLAIMS: List[Tuple[str, MutableMapping[str, Any], str]] = []


def claim(kind: str, registry: MutableMapping[str, T], name: str, value: T, maker: Callable[..., Any]) -> None:
    """Enter ``value`` under ``name`` into a registry.

    Args:
        kind: One of :data:`KINDS`.
        maker: The function or class that was declared; the same one may be declared again (its module was reloaded).

    Raises:
        BadInput: Another function or class has the name; the sentence names both.
    """
    by = "{}.{}".format(maker.__module__, maker.__qualname__)
    other = _MAKERS.get((kind, name))
    if name in registry and other != by:
        raise BadInput(
            "{} declares '{}' among the {}, but that name is taken by {}; choose another name.".format(
                by, excerpt(name), kind, other or "another one"
            )
        )
    registry[name] = value
    _MAKERS[kind, name] = by
    _CLAIMS.append((kind, registry, name))


def load(*kinds: str) -> Tuple[str, ...]:
    """Import the plug-ins of these kinds (of all without an argument) that are not imported yet.

    Returns:
        A sentence for each plug-in of these kinds that was left out, now or earlier.
    """
    with _LOCK:
        wanted = kinds or KINDS
        left = [kind for kind in wanted if kind not in _DONE]
        if left:
            entries = _entries()
            if not _DONE:
                strange = (entry for entry in entries if entry.kind not in KINDS)
                _PROBLEMS.extend(("", _STRANGE.format(*entry, ", ".join(KINDS))) for entry in strange)
            _DONE.update(left)
            for entry in entries:
                if entry.kind in left:
                    _import(entry)
    return problems(*kinds)


def problems(*kinds: str) -> Tuple[str, ...]:
    """A sentence for each plug-in of these kinds (of all without an argument) that was left out so far."""
    return tuple(sentence for kind, sentence in _PROBLEMS if not kinds or kind in kinds)


def unknown(kind: str, what: str, name: str, known: Iterable[str]) -> str:
    """The sentence that refuses a name: what there is, and which plug-ins were left out."""
    sentence = "There is no {} '{}'; choose among {}.".format(what, excerpt(name), ", ".join(sorted(known)))
    return " ".join((sentence, *problems(kind)))


def _entries() -> List[Entry]:
    """The group's entry points, each once, in the order of distributions and lines."""
    try:
        from importlib import metadata
    except ImportError:  # a phone's Python may lack it
        return []
    try:
        groups: Any = metadata.entry_points()
        lines = groups.select(group=GROUP) if hasattr(groups, "select") else groups.get(GROUP, ())  # Python 3.8, 3.9
    except Exception as error:  # one damaged distribution must not end every command
        _PROBLEMS.append(
            ("", "Plug-ins cannot be listed ({}); reinstall or remove the package.".format(_reason(error)))
        )
        return []
    entries = (Entry(line.name, line.value.strip(), _distribution(line)) for line in lines)
    return list(dict.fromkeys(sorted(entries)))


def _distribution(line: Any) -> str:
    return str(getattr(getattr(line, "dist", None), "name", "") or line.value.split(".")[0])


def _import(entry: Entry) -> None:
    """Import a plug-in; of one that fails nothing stays registered."""
    before = len(_CLAIMS)
    try:
        importlib.import_module(entry.module.split(":")[0])
    except (Exception, SystemExit) as error:
        for kind, registry, name in _CLAIMS[before:]:
            registry.pop(name, None)
            _MAKERS.pop((kind, name), None)
        del _CLAIMS[before:]
        _PROBLEMS.append(
            (entry.kind, "Plug-in {} ({}) is left out: {}".format(entry.distribution, entry.module, _reason(error)))
        )


def _reason(error: BaseException) -> str:
    if isinstance(error, BadInput):
        return str(error)
    return excerpt("{}: {}".format(type(error).__name__, error), 300).rstrip(".") + "."


def installed() -> Tuple[Entry, ...]:
    """The plug-ins that are installed, whether they are imported or not."""
    return tuple(entry for entry in _entries() if entry.kind in KINDS)


def brought(kind: str, name: str) -> Optional[str]:
    """What declared a name of a kind, as ``module.function``; None if nothing did."""
    return _MAKERS.get((kind, name))
