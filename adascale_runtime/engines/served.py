"""Which of a branch's files a delegate runs on this machine: the one compiled for its NPU, or the portable one.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import List, Optional

from adascale_runtime.device import identity
from adascale_runtime.engines import vendors
from adascale_runtime.engines.registry import lookup
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams.manifest import Branch, Compiled

_CHIP: List[str] = []


def chip() -> str:
    """The chip whose compiled files run here: of a phone its own, of a host what Intel's libraries execute on.

    Empty where there is none, or where it does not say what it is.
    """
    if not _CHIP:
        try:
            _CHIP.append(identity.facts().get("soc") or vendors.find(vendors.wheel_library()).chip)
        except AdaScaleError:
            _CHIP.append("")
    return _CHIP[0]


def same(compiled: str, here: str) -> bool:
    """Whether a phone's name for its chip is the compiler's: "Tensor G5" is Tensor_G5, "s5e9965" is E9965."""
    one, other = (re.sub("[^a-z0-9]", "", name.lower()) for name in (compiled, here))
    return bool(one) and (one == other or (len(one) > 3 and other.endswith(one)))


def compiled_for(branch: Branch, delegate: str, here: Optional[str] = None) -> Optional[Compiled]:
    """The compiled file that a delegate runs on a chip, by default this machine's; None for the portable file."""
    record = lookup(delegate)
    if record.hardware != "npu" or not record.litert:
        return None
    for one in branch.compiled:
        if same(one.chip, chip() if here is None else here):
            return one
    return None


def served(branch: Branch, delegate: str) -> Branch:
    """The branch with the file that a delegate runs here in the place of its portable one."""
    one = compiled_for(branch, delegate)
    return branch if one is None else replace(branch, file=one.file)
