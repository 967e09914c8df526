"""A meter: the joules that were consumed since it was opened."""

from __future__ import annotations

import time

from adascale_runtime.device.meters import Counter, meter

#: A core that is busy, taken to need so much.
WATTS = 3.0


@meter("cputime")
def open_cputime(root: str = "/") -> Counter:
    """The time that this process has had a core, at three watts."""
    begun = time.process_time()
    return lambda: WATTS * (time.process_time() - begun)
