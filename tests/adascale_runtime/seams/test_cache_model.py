"""Memory accesses and the share of them that a cache serves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Cost
from adascale_runtime.seams.predictors import hit_rate, missed_bytes, moved_bytes

DISTANCES = st.dictionaries(
    st.integers(4, 28).map(lambda power: str(1 << power)), st.floats(1.0, 1e8), min_size=1, max_size=8
)


def cost(distances: dict[str, float]) -> Cost:
    return Cost(10**6, 10**4, 4 * 10**4, 10**5, 10**4, 9, {"reuse": distances})


@given(DISTANCES)
def test_a_larger_cache_never_misses_more(distances: dict[str, float]) -> None:
    rates = [hit_rate(cost(distances), 1 << power) for power in range(3, 31)]
    assert rates == sorted(rates) and rates[0] >= 0 and rates[-1] == 1.0
    assert all(0 <= missed_bytes(cost(distances), 1 << power) <= moved_bytes(cost(distances)) for power in range(3, 31))


def test_without_distances_a_network_that_fits_hits() -> None:
    """Manifests of before have no distances."""
    old = Cost(10**6, 10**4, 4 * 10**4, 10**5, 10**4, 9)
    assert moved_bytes(old) == 14 * 10**4
    assert hit_rate(old, 1 << 20) == 1.0
    assert missed_bytes(old, 4.5e4) == old.weight_bytes
    assert missed_bytes(old, 5e3) == old.weight_bytes + old.activation_bytes / 2
    assert hit_rate(Cost(0, 0, 0, 0, 0, 0), 1.0) == 1.0


def test_real_branches_need_less_memory_the_larger_the_cache(built: Bundle) -> None:
    by_id = {branch.id: branch.cost for branch in built.manifest.branches}
    full, small = by_id["full"], by_id["width0.25-int8"]
    assert moved_bytes(full) > moved_bytes(small) > 0
    assert hit_rate(full, 1 << 17) < hit_rate(small, 1 << 17) <= 1.0
    assert missed_bytes(full, 32 << 20) == 0.0
    # float16 is stored in halves and computed in whole floats, so it moves what float32 does.
    assert moved_bytes(by_id["float16"]) == moved_bytes(full)
