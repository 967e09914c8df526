"""Memory accesses and cache hits of a branch, from its .tflite alone (AdaScale's Figure 4: memory access, cache rate).

M, in bytes: what every operator reads and writes, each tensor once an operator (a kernel's own blocking keeps what it
reads again within an operator in registers and the first cache; a regression's coefficients hold that cost).

eps, in [0, 1]: the share of M that a cache serves. A touch of a tensor hits if all that was touched since its last
touch fits into the cache with it: the cache is fully associative and forgets what was used longest ago (Mattson et al.,
1970: one pass gives the hits of every size). Inferences follow each other without end, so a network that fits a cache
as a whole always hits, and one that is larger streams its weights from the next level at every inference.

What the model leaves out: associativity, prefetching (which hides misses of long streams but not of short ones), other
processes in a shared cache, and the processor's own writing back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adascale_runtime.seams.bundle import Cost
from adascale_runtime.seams.predictors import hit_rate, missed_bytes, moved_bytes

MEMORY = "memory"


@dataclass(frozen=True)
class Level:
    """A cache, or ``memory`` behind the last: ``served_bytes`` of M come from it, ``size_bytes`` None for memory.

    ``hit_rate``: eps of a hierarchy that ends with it, in [0, 1]; 1 for memory.
    """

    name: str
    size_bytes: int | None
    served_bytes: float
    hit_rate: float


def data_caches(caches: Mapping[str, int]) -> dict[str, int]:
    """The caches that hold data, smallest first, in bytes."""
    return dict(sorted(((n, s) for n, s in caches.items() if not n.endswith("i")), key=lambda pair: pair[1]))


def levels(cost: Cost, caches: Mapping[str, int]) -> list[Level]:
    """Where the M bytes of one inference are served from, nearest first; the served bytes add up to M."""
    found: list[Level] = []
    left = moved_bytes(cost)
    for name, size in data_caches(caches).items():
        missed = missed_bytes(cost, size)
        found.append(Level(name, size, left - missed, hit_rate(cost, size)))
        left = missed
    return [*found, Level(MEMORY, None, left, 1.0)]


def curve(cost: Cost, smallest: int = 1 << 10, largest: int = 1 << 26) -> list[tuple[int, float]]:
    """eps against cache size in bytes, at every power of two: what a larger cache would bring. Never falls."""
    sizes = []
    size = smallest
    while size <= largest:
        sizes.append((size, hit_rate(cost, size)))
        size *= 2
    return sizes


def intensity(cost: Cost) -> float:
    """Multiply-accumulates for each byte of M (AdaSpring's arithmetic intensity); 0 for a branch that moves nothing."""
    moved = moved_bytes(cost)
    return cost.macs / moved if moved else 0.0
