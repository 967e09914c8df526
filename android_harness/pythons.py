"""Which Python runs the agent on a phone: its own, or the portable one of an installed wheel."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from adascale_runtime.engines.delegates import DELEGATES
from adascale_runtime.errors import BadInput
from adascale_runtime.seams.jobs import MARK
from adascale_runtime.text import excerpt
from android_harness import phone_facts, store
from android_harness.adb import Adb, quote
from android_harness.benchmark_log import SWITCHES
from android_harness.portable import elf
from android_harness.portable.installed import MAKE, START, Portable, find

#: What ``--python`` takes beside a path: the phone's own with the portable one in reserve, and the portable one.
DEFAULT, PORTABLE = "python3", "portable"


def version(adb: Adb, python: str) -> str | None:
    """The version of a Python on the phone; None where it does not start, or is older than 3.8."""
    code, told = adb.shell(
        f"{quote(python)} -c 'import sys; print(\"{MARK}\" + sys.version.split()[0]); 1/(sys.version_info>=(3,8))'"
    )
    return None if code else excerpt("".join(re.findall(f"{MARK}(.*)", told)))


def described(adb: Adb, facts: Mapping[str, Any]) -> str | None:
    """What would run the agent on a phone: a version, ``portable`` and a version, or None."""
    own = version(adb, DEFAULT)
    if own is not None:
        return own
    try:
        portable = find(facts.get("abi"))
    except BadInput:
        return None
    return None if portable is None else f"{PORTABLE} {portable.manifest.python}"


def absent(adb: Adb, python: str, abi: object) -> BadInput:
    """The sentence on a phone without a Python that could be used."""
    other = "profile in Termux ('adascale agent --termux'), or use '--runner benchmark_model'"
    if python == PORTABLE:
        return BadInput(f"No portable Python is installed for {abi}; give {MAKE}, {other}.")
    own = f"{adb.address} has no {python} of version 3.8 or later for its adb shell"
    if python != DEFAULT:
        return BadInput(f"{own}; name one with --python, {other}.")
    return BadInput(f"{own}, and no portable one is installed for {abi}; give {MAKE}, name one with --python, {other}.")


def files_of(portable: Portable) -> dict[str, store.Content]:
    """What is brought of a portable Python, by its place below :data:`android_harness.store.FOLDER`."""
    return store.portable_files(portable.files)


def command(files: Mapping[str, Any]) -> str:
    """What starts the portable Python in the phone's shell, from its files' places."""
    start = next(name for name in files if name.endswith(f"/{START}"))
    return f"sh {store.FOLDER}/{start}"


def refuse_drivers(adb: Adb, delegates: Sequence[str]) -> None:
    """Raise :class:`BadInput` for a delegate that needs Android's drivers, which glibc's loader cannot load."""
    for name in delegates:
        record = DELEGATES.get(name)
        if record is not None and record.hardware != "cpu":
            other = (
                "--runner benchmark_model" if name in SWITCHES else "--python PATH of one that was built for Android"
            )
            raise BadInput(
                f"The portable Python on {adb.address} cannot load Android's drivers, so it has no {name}; "
                f"use '{other}'."
            )


def refuse_library(content: store.Content, portable: Portable) -> int:
    """The alignment of LiteRT's library, in bytes; :class:`BadInput` if the portable Python cannot load it."""
    data = content if isinstance(content, bytes) else content.read_bytes()
    library = elf.read(data, "--litert")
    if library.machine != portable.target.machine:
        raise BadInput(f"--litert is for {library.machine}, but the phone is {portable.target.machine}; leave it out.")
    if not library.of_glibc:
        raise BadInput(
            "--litert was built for Android's own libc, which the portable Python cannot load; leave --litert out, "
            "or name a Python of the phone with --python."
        )
    return library.alignment


def refuse_pages(adb: Adb, alignment: int) -> None:
    """Raise :class:`BadInput` on a phone whose pages of memory are larger than what files are aligned to, in bytes."""
    told = adb.shell("getconf PAGESIZE 2>/dev/null || grep -m 1 KernelPageSize /proc/self/smaps 2>/dev/null")[1]
    size = phone_facts.count(told)
    if size is None:
        return
    size *= 1024 if "kB" in told else 1
    if size > alignment:
        raise BadInput(
            f"{adb.address} has pages of {size // 1024} kB, and the portable Python can be loaded with pages of up to "
            f"{alignment // 1024} kB; use '--runner benchmark_model'."
        )
