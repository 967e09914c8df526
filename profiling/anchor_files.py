"""The files of the anchors (:mod:`adascale_runtime.measuring.anchors`), as micro-kernels write them.

``python -m profiling.anchor_files`` writes them anew. Times of other kernels cannot be compared with those that
measurements hold already, so they stay as they are.
"""

from __future__ import annotations

from pathlib import Path

from adascale_runtime.measuring import anchors
from profiling.micro_kernels import Kernel, write

#: 1.3 and 5.3 million multiplications, each 20 to 60 us on a host; and 0.66 MB that are copied in and added up. What
#: comes out of that is small: for a large output each run would allocate, so that the time would be the allocator's.
KERNELS = {
    "float": Kernel("conv", "float", 24, 16, 16, window=3),
    "integer": Kernel("conv", "integer", 24, 32, 32, window=3),
    "memory": Kernel("mean", "float", 64, 40),
}


def main() -> None:
    """Write the files into the package."""
    for kind, kernel in KERNELS.items():
        Path(anchors.__file__).with_name(f"anchor-{kind}.tflite").write_bytes(write(kernel))


if __name__ == "__main__":
    main()
