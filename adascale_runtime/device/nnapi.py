"""Android's neural networks API by the API level of a phone: what there is of it, and where it is deprecated.

Standard library only, Python 3.8. Source: developer.android.com/ndk/guides/neuralnetworks and its migration guide.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

#: The API level of Android that each version came with. Later feature levels (4 is 1.3; 5 and more are from Android 12
#: on) hand over the same operators of .tflite files as 1.3.
LEVELS = {"1.0": 27, "1.1": 28, "1.2": 29, "1.3": 30}
#: Android 15, from which on NNAPI is deprecated.
DEPRECATED = 35
#: What to use in its place.
INSTEAD = "use the delegates gpu and npu, LiteRT's accelerators through CompiledModel"


def api_level(facts: Mapping[str, Any]) -> Optional[int]:
    """The API level in the facts of a phone; None if they do not tell a possible one."""
    told = str(facts.get("sdk"))
    return int(told) if told.isascii() and told.isdecimal() and len(told) <= 3 else None


def version(level: Optional[int]) -> Optional[str]:
    """The version of NNAPI at an API level, at most "1.3"; None where there is none or the level is not known."""
    there = [name for name, least in LEVELS.items() if level is not None and least <= level]
    return there[-1] if there else None


def remark(facts: Mapping[str, Any]) -> str:
    """A sentence for a phone on which NNAPI is deprecated; empty for others."""
    level = api_level(facts)
    if level is None or level < DEPRECATED:
        return ""
    return "NNAPI is deprecated on {} (API level {}): {}.".format(facts.get("name") or "this phone", level, INSTEAD)
