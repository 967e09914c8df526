from __future__ import annotations

from collections import OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.engines import accelerators
from adascale_runtime.engines.delegates import library
from adascale_runtime.seams.bundle import Bundle
from converters import flatbuffer, kernel_classes


def missed_by_simulation(keys: list[int], sizes: dict[int, float], capacity: float) -> float:
    """Bytes missed in the second of two equal passes by a cache that evicts what was used longest ago."""
    held: OrderedDict[int, float] = OrderedDict()
    missed = 0.0
    for number, key in enumerate(keys * 2):
        if key not in held and number >= len(keys):
            missed += sizes[key]
        held[key] = sizes[key]
        held.move_to_end(key)
        while sum(held.values()) > capacity:
            held.popitem(last=False)
    return missed


@settings(max_examples=60, deadline=None)
@given(keys=st.lists(st.integers(0, 7), min_size=1, max_size=30), power=st.integers(0, 9))
def test_reuse_says_what_a_least_recently_used_cache_misses(keys: list[int], power: int) -> None:
    sizes = {key: float(1 << (key % 4)) for key in range(8)}
    found = kernel_classes.reuse([(key, sizes[key]) for key in keys])
    assert sum(found.values()) == pytest.approx(sum(sizes[key] for key in keys))
    capacity = 1 << power
    beyond = sum(size for bound, size in found.items() if int(bound) > capacity)
    assert beyond == pytest.approx(missed_by_simulation(keys, sizes, capacity))


def test_a_chain_is_one_piece_and_every_gap_begins_another() -> None:
    edges = [({n}, {n + 1}) for n in range(6)]
    assert kernel_classes.partitions(edges, [True] * 6) == 1
    assert kernel_classes.partitions(edges, [False] * 6) == 0
    assert kernel_classes.partitions(edges, [True, False, True, False, True, True]) == 3
    assert (
        kernel_classes.partitions([({1}, {0}), ({0}, {1})], [True, True]) == 0
    )  # a cycle that nothing can run ends, too


def test_independent_operators_join_one_piece() -> None:
    """Two arms, each with a gap, still make two pieces: both arms' first halves can run before either gap."""
    edges = [({0}, {1}), ({1}, {2}), ({2}, {3}), ({0}, {4}), ({4}, {5}), ({5}, {6})]
    assert kernel_classes.partitions(edges, [True, False, True] * 2) == 2


def test_what_xnnpack_takes_is_known_from_the_file(built: Bundle) -> None:
    for branch in built.manifest.branches:
        path = str(built.path(branch.file))
        taken, _ = accelerators.taken(library(), path, branch.signature, "cpu")
        assert taken is not None
        left = taken.nodes - taken.delegated
        own = flatbuffer.operators(built.path(branch.file).read_bytes(), branch.signature)
        assert left == sum(not o.delegated for o in own), branch.id


def test_the_sums_add_up_to_the_whole(built: Bundle) -> None:
    for branch in built.manifest.branches:
        cost = branch.cost
        named = {n: s for n, s in cost.kernels.items() if "-" in n}
        assert sum(s["count"] for s in named.values()) == cost.ops
        products = {n: s for n, s in named.items() if "weight_bytes" in s}
        assert sum(s["macs"] for s in products.values()) == cost.macs
        for sums in products.values():
            assert all(value >= sums["macs"] for key, value in sums.items() if key.startswith("macs_"))
        assert cost.kernels["partition"]["operators"] <= cost.ops
        assert cost.kernels["file"]["bytes"] == built.path(branch.file).stat().st_size


def test_operators_say_the_same_as_the_cost(built: Bundle) -> None:
    for branch in built.manifest.branches[:3]:
        found = flatbuffer.operators(built.path(branch.file).read_bytes(), branch.signature)
        assert sum(o.macs for o in found) == branch.cost.macs and len(found) == branch.cost.ops
        assert max(o.alive_bytes for o in found) == branch.cost.peak_bytes
        assert int(sum(o.weight_bytes for o in found)) == branch.cost.weight_bytes
