"""The versions of installed packages. Standard library only and Python 3.8 compatible."""

from __future__ import annotations


def release(package: str) -> str:
    """The version of an installed distribution, such as ``ai-edge-litert``.

    Returns:
        The version; empty if it is not installed as a package, or if its metadata are damaged or cannot be read here.
    """
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # a phone's Python may lack it
        return ""
    try:
        return version(package) or ""  # None where the metadata lack it
    except (PackageNotFoundError, KeyError, OSError):  # newer Pythons say KeyError then, backports an OSError
        return ""
