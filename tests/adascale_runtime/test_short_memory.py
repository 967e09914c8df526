"""Sessions in a control group whose memory is limited, while another process of the group takes more and more of it."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adascale_runtime.files import codec
from adascale_runtime.seams import bundle as bundles
from adascale_runtime.seams.bundle import Bundle
from tests.adascale_runtime.conftest import SIZE, write_bundle
from tests.fixtures import groups

TRIALS = 100
#: Megabytes of weights of each branch; LiteRT packs them into memory of its own.
WEIGHTS_MB = (6, 12, 18, 24, 30)
#: Megabytes that sessions leave alone.
RESERVE_MB = 32

#: Takes so many megabytes, and holds them until its standard input closes.
HOLD = """
import sys, time
held = []
for _ in range(int(sys.argv[1])):
    held.append(bytearray(b"x" * 1000000))
    time.sleep(0.01)
sys.stdin.read()
"""
#: Opens a session again and again; beside each, a process takes memory in steps of a megabyte. On a busy machine it
#: takes longer than inferences come, so part of it falls to a session that answers nothing.
SESSIONS = """
import json, random, subprocess, sys, time
from pathlib import Path
import numpy as np
from adascale_runtime.device import memory
from adascale_runtime.device.monitor import Monitor, here
from adascale_runtime.engines.warm import trim
from adascale_runtime.policies import policy
from adascale_runtime.policies.limits import Settings
from adascale_runtime.seams.budget import Budget
from adascale_runtime.session import Session
from dataclasses import replace

root, limit, trials, reserve_mb, told = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:6])

@policy.policy("rotate")
def rotate(context, budget, table, state, settings):
    return policy.settle(table[int(context.time_s * 20) % len(table)], "its turn", state, context)

class Untold:  # as before: nobody knows the memory
    def __init__(self, sampler):
        self._sampler = sampler
    def sample(self, time_s):
        return replace(self._sampler.sample(time_s), memory_free_mb=None)

def monitor():
    found = here()
    return found if told else Monitor(sampler=Untold(found._sampler))

x = np.random.default_rng(0).random((24, 24, 1), np.float32)
rng = random.Random(trials)
with Session(root, Budget(latency_ms=1000.0), monitor=monitor(), remember=False, anchors=False) as warm:
    warm.predict(x)  # what LiteRT takes for good
del warm
for number in range(trials):
    room_mb = rng.uniform(90.0, 220.0)
    limit.write_text("1000000000")
    trim()
    base_mb = 1000.0 - memory.room_mb("/")
    limit.write_text(str(int(1e6 * (base_mb + room_mb))))
    taken = int(rng.uniform(0.6, 1.0) * (room_mb - 2 * 6 - 15 - reserve_mb))  # 15: the process that takes it
    settings = Settings(reserve_mb=float(reserve_mb))
    with Session(
        root, Budget(latency_ms=1000.0), policy="rotate", settings=settings, monitor=monitor(), remember=False,
        anchors=False,
    ) as session:
        command = [sys.executable, "-c", sys.argv[6], str(taken)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        begun, served, absent = time.monotonic(), 0, 0
        while time.monotonic() - begun < 0.01 * taken + 0.3:
            session.predict(x)
            served += 1
            absent += bool(session.last.absent)
        ended = holder.poll()
        held = session.ready.held_mb()
        holder.communicate()
        told_mb = memory.room_mb("/")
    print(json.dumps({"served": served, "absent": absent, "out": len(session.broken), "holder": ended, "room": room_mb,
                      "taken": taken, "held": held, "left": told_mb}), flush=True)
"""


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Branches of several megabytes each; the more a branch holds, the more accurate it is said to be."""
    import tensorflow as tf

    def convert(size_mb: int) -> bytes:
        width = size_mb * 1_000_000 // (4 * SIZE * SIZE)
        kernel = tf.constant(np.random.default_rng(0).normal(0, 0.01, (SIZE * SIZE, width)), tf.float32)

        @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 1), tf.float32, name="x")])
        def network(x: tf.Tensor) -> dict[str, tf.Tensor]:
            mean = tf.reshape(tf.reduce_mean(tf.matmul(tf.reshape(x, (1, SIZE * SIZE)), kernel)), (1, 1))
            return {"y": tf.concat([mean, -mean], axis=1)}

        module = tf.Module()
        module.network = network
        function = network.get_concrete_function()
        return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function], module).convert())

    names = {f"of{size}": size for size in WEIGHTS_MB}
    accuracies = {name: 0.5 + size / 100 for name, size in names.items()}
    models = {name: convert(size) for name, size in names.items()}
    made = write_bundle(tmp_path_factory.mktemp("heavy") / "b", models, accuracies)
    branches = tuple(
        dataclasses.replace(b, cost=dataclasses.replace(b.cost, weight_bytes=names[b.id] * 1_000_000))
        for b in made.manifest.branches
    )
    manifest = dataclasses.replace(made.manifest, branches=branches)
    codec.write_text(made.root / bundles.MANIFEST, codec.dump(manifest))
    return bundles.load(made.root)


def sessions(heavy: Bundle, group: groups.Group, trials: int, told: bool) -> Iterator[dict[str, Any]]:
    """What the sessions in a group say, until they end or are ended."""
    group.limit(1_000_000_000)
    numbers = [str(number) for number in (trials, RESERVE_MB, int(told))]
    command = [sys.executable, "-c", SESSIONS, str(heavy.root), str(group.limit_file), *numbers, HOLD]
    with group.popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield from map(json.loads, process.stdout)


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)  # a busy machine took 250 s
@pytest.mark.skipif(groups.refusal() is not None, reason=str(groups.refusal()))
def test_no_session_is_ended_for_want_of_memory(heavy: Bundle) -> None:
    with groups.group(1_000_000_000) as group:
        done = list(sessions(heavy, group, TRIALS, told=True))
        kills = group.kills()
    print(f"\n{len(done)} sessions, {kills} processes ended; of them with options that did not fit: "
          f"{sum(one['absent'] > 0 or one['out'] > 0 for one in done)}")  # fmt: skip
    assert kills == 0 and len(done) == TRIALS
    assert all(one["served"] > 5 and one["holder"] is None for one in done)
    assert sum(one["absent"] > 0 or one["out"] > 0 for one in done) > TRIALS / 4


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.skipif(groups.refusal() is not None, reason=str(groups.refusal()))
def test_the_same_sessions_are_ended_where_nobody_tells_the_memory(heavy: Bundle) -> None:
    with groups.group(1_000_000_000) as group:
        done = list(sessions(heavy, group, 10, told=False))
        assert group.kills() > 0 or len(done) < 10
