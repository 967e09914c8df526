"""Who trains together: TF_CONFIG, devices, and replicas that compute what one device would alone."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadInput
from adascale_tf import training
from adascale_tf.data import Dataset
from adascale_tf.training import Schedule
from adascale_tf.training.workers import Role, alone, open_workers, parse_task

ADDRESSES = st.lists(st.from_regex(r"[a-z]{1,8}:[1-9][0-9]{3}", fullmatch=True), min_size=1, max_size=5, unique=True)


@given(ADDRESSES, st.booleans(), st.data())
def test_tf_config_names_each_worker_once(addresses: list[str], has_chief: bool, drawn: st.DataObject) -> None:
    chief, rest = (addresses[:1], addresses[1:]) if has_chief else ([], addresses)
    cluster = {**({"chief": chief} if chief else {}), "worker": rest}
    index = drawn.draw(st.integers(0, len(addresses) - 1))
    task = {"type": "chief", "index": 0} if has_chief and index == 0 else {"type": "worker", "index": index - has_chief}
    found = parse_task(json.dumps({"cluster": cluster, "task": task}))
    assert found == Role(index, tuple(addresses))


@pytest.mark.parametrize(
    "text",
    [
        None, "", "worker", "[]", "{}", '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": ["a:1"], "task": {"type": "worker", "index": 0}}',
    ],
)  # fmt: skip
def test_a_wrong_tf_config_is_a_sentence_with_an_example(text: str | None) -> None:
    with pytest.raises(BadInput, match=r"TF_CONFIG .*for two workers give the first one"):
        parse_task(text)
    with pytest.raises(BadInput, match="TF_CONFIG"):
        open_workers("multi-worker", environment={} if text is None else {"TF_CONFIG": text})


def test_unknown_strategies_and_replicas_without_use_are_refused() -> None:
    with pytest.raises(BadInput, match="Unknown strategy 'horovod'"):
        open_workers("horovod")
    with pytest.raises(BadInput, match="remove the number"):
        open_workers("none", replicas=2)


def test_who_is_alone_agrees_with_itself() -> None:
    cluster = alone()
    values = [np.array([1, 2]), np.ones((2, 3), np.float32)]
    assert cluster.alone and cluster.chief and cluster.replicas == 1 and list(cluster.places) == [0]
    assert all(a is b for a, b in zip(cluster.agree(values), values, strict=True))


def test_one_batch_a_step_is_all_that_adamw_can_use(digits: Dataset) -> None:
    from adascale_runtime.seams.recipe import parse
    from adascale_tf.bridge import backbones
    from adascale_tf.network.elastic import ElasticNetwork

    net = ElasticNetwork(backbones.build("resnet", (32, 32, 1), 10), [parse("full")])
    with pytest.raises(BadInput, match="needs the optimizer 'sgd'"):
        training.train(net, digits, Schedule(epochs=1), accumulate=2)


REPLICAS = """
import numpy as np, tf_keras
from adascale_tf.bridge import backbones
from adascale_tf import data
from adascale_tf.network.elastic import ElasticNetwork
from adascale_runtime.seams.recipe import parse_list
from adascale_tf.training import Schedule, open_workers, train
cluster = open_workers("mirrored", 2)
digits = data.load("digits")
x, y = digits.x_train[::4, ::2, ::2], digits.y_train[::4]
def trained(count, **phases):
    small = data.Dataset("small", digits.labels, digits.preprocessing, x[:count], y[:count], x[:64], y[:64])
    nets, efforts = [], []
    for options in ({"cluster": cluster}, {"accumulate": 2}):
        tf_keras.utils.set_random_seed(0)
        net = ElasticNetwork(backbones.build("resnet", (16, 16, 1), 10), parse_list("full,width(0.5),prune(0.5)"))
        schedule = Schedule(batch=32, learning_rate=0.005, optimizer="sgd", **phases)  # higher rates amplify rounding
        efforts.append(train(net, small, schedule, **options))
        nets.append(net)
    return nets, efforts
nets, efforts = trained(256, epochs=1, join=0, specialise=0)
print(all(np.allclose(a, b, rtol=1e-4, atol=1e-6) for a, b in zip(*[net.values.values() for net in nets])))
nets, efforts = trained(None, epochs=2)
print(efforts[0].steps == efforts[1].steps, efforts[0].steps, efforts[0].iterations, efforts[1].iterations)
for one, other in zip(*[net.trunks for net in nets]):
    a, b = (np.asarray(t.call(digits.inputs(x[:64]), training=False)[-1]) for t in (one, other))
    print(np.abs(a - b).max() < 0.05 * np.abs(b).max(), (a.argmax(-1) == b.argmax(-1)).mean())
"""


@pytest.mark.slow
def test_two_replicas_compute_what_two_batches_a_step_give_on_one() -> None:
    done = subprocess.run([sys.executable, "-c", REPLICAS], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-2000:]
    short, first, *trunks = done.stdout.splitlines()
    assert short == "True"  # every weight and statistic, after five steps
    same, steps, ours, theirs = first.split()
    assert same == "True" and float(ours) == pytest.approx(float(theirs), rel=1e-3)
    assert float(ours) >= 40 and 20 <= int(steps) <= 40  # 2 + 2/3 + 1 epochs of 11 batches, two at a step
    # Rounding, and masks that are chosen by it, grow over three phases; the progress above shows the same gains.
    assert len(trunks) == 3 and all(float(line.split()[1]) > 0.7 for line in trunks), done.stdout
