"""One training run for all branches.

First the full trunk trains alone, and its channels are sorted: branches learn faster from weights that know something
(Cai et al., Once-for-All, ICLR 2020). Then each step trains it on the labels, and the smallest trunk and others (the
sandwich rule) on the full trunk's answers (in-place distillation; Yu & Huang, Universally Slimmable Networks, ICCV
2019). Afterwards every trunk's BatchNorm statistics are measured anew under the final weights.

Training progress is measured in scale-invariant iterations (Johnson et al., AdaScale SGD, ICML 2020): an epoch is as
many as there are batches in the data, however many steps they take.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork, Trunk
from adascale_tf.training.feed import shares
from adascale_tf.training.schedule import Effort, Schedule
from adascale_tf.training.statistics import recalibrate
from adascale_tf.training.stepper import Stepper
from adascale_tf.training.workers import Workers, alone

if TYPE_CHECKING:
    from adascale_tf.training.checkpoint import Checkpoint


def train(
    network: ElasticNetwork,
    data: Dataset,
    schedule: Schedule,
    tick: Tick = silent,
    checkpoint: Checkpoint | None = None,
    *,
    cluster: Workers | None = None,
    accumulate: int = 1,
) -> Effort:
    """Train all branches of a network in place on the training split.

    Args:
        network: the network to train.
        data: the examples.
        schedule: how long and how strongly.
        tick: called with "train" at every step.
        checkpoint: where the state is saved after every epoch; a training that stands there already is taken up, at
            whatever scale it was begun.
        cluster: the replicas; by default this process alone.
        accumulate: batches that every replica contributes to a step.

    Returns:
        What the epochs of this call took, in all replicas.

    Raises:
        BadInput: more than one batch makes a step of an optimizer that cannot use it.
        AdaScaleError: another worker goes away, or the loss or the weights are not finite.
    """
    cluster = cluster or alone()
    if schedule.optimizer != "sgd" and cluster.replicas * accumulate > 1:
        raise BadInput(
            f"A step of {cluster.replicas * accumulate} batches needs the optimizer 'sgd', which adapts to them."
        )
    with checkpoint.held() if checkpoint and cluster.chief else nullcontext():
        if cluster.alone:
            effort, stepper = _train(network, data, schedule, tick, checkpoint, cluster, accumulate)
        else:
            with cluster.strategy.scope():
                copied = network.copied()
            kept = checkpoint and checkpoint.at(copied, cluster)
            with cluster.watched():
                effort, stepper = _train(copied, data, schedule, tick, kept, cluster, accumulate)
                network.take(copied.values)
        network.choose(1.0)
        if cluster.chief and not (checkpoint and checkpoint.finished):
            recalibrate(network.trunks, data, schedule.seed, tick)
            _check_finite(network)
            if checkpoint:
                checkpoint.save(schedule.epochs + 1, stepper.state)
    return effort


def _train(
    network: ElasticNetwork, data: Dataset, schedule: Schedule, tick: Tick, checkpoint: Checkpoint | None,
    cluster: Workers, accumulate: int,
) -> tuple[Effort, Stepper]:  # fmt: skip
    """All epochs that the checkpoint lacks."""
    macs, seconds = {True: 0.0, False: 0.0}, {True: 0.0, False: 0.0}
    scale, total, length = (
        cluster.replicas * accumulate, schedule.steps(len(data.x_train)), schedule.epoch_steps(len(data.x_train))
    )  # fmt: skip
    mine = [turn * cluster.replicas + place for turn in range(accumulate) for place in cluster.places]
    with cluster.strategy.scope():
        stepper = Stepper(network, schedule, total, cluster, accumulate)
    done = checkpoint.begin(stepper.state) if checkpoint else 0
    smallest, others = _sandwich(network)
    warm = int(schedule.warm * schedule.epochs)
    steps, first = 0, stepper.progress
    progress = first
    for epoch in range(done, schedule.epochs):
        rng = np.random.default_rng((schedule.seed, epoch))  # of the epoch, so that a resumed run sees the same
        batches = shares(data, schedule, epoch, scale, mine)
        alone = epoch < warm
        begun = time.perf_counter()
        if epoch == warm > 0:
            stepper.permute(network.sort())  # the branches keep what the full trunk found important
        if epoch == max(warm, done):
            stepper.prepare(data.inputs(data.x_train[: schedule.batch]), tick)
        network.choose(min(1.0, 1.5 * epoch / schedule.epochs))
        seconds[True] += time.perf_counter() - begun
        begun = time.perf_counter()
        while progress < (epoch + 1) * length:
            chosen = [] if alone else smallest + _sample(others, schedule.sampled, rng)
            taken = next(batches)
            loss = stepper.step(taken, chosen)
            if not np.isfinite(loss):
                raise AdaScaleError(f"The loss is not finite after {steps + 1} steps (epoch {epoch + 1}); {_ADVICE}")
            steps, before, progress = steps + 1, progress, stepper.progress
            forward = network.trunks[0].macs + sum(trunk.macs for trunk in chosen)
            macs[alone] += 3.0 * scale * len(taken[0][0]) * forward
            note = f"epoch {epoch + 1}/{schedule.epochs}, loss {loss:.3f}"
            if scale > 1:
                note += f", gain {progress - before:.2f} of {scale}"
            tick("train", min(total, int(progress)), total, note)
        seconds[alone] += time.perf_counter() - begun
        if checkpoint:
            _check_finite(network)
            checkpoint.save(epoch + 1, stepper.state)
    spent = (sum(macs.values()), sum(seconds.values()), macs[False], seconds[False])
    return Effort(*spent, steps, progress - first), stepper


#: What to do about a training that left the numbers.
_ADVICE = "check the data for extreme values, and --input-range; existing files were not replaced."


def _check_finite(network: ElasticNetwork) -> None:
    """Refuse a network with NaN or infinite weights or statistics before it replaces a good one."""
    for name, values in network.values.items():
        if not np.isfinite(values).all():
            raise AdaScaleError(f"The training produced values in '{name}' that are not finite; {_ADVICE}")


def _sandwich(network: ElasticNetwork) -> tuple[list[Trunk], list[Trunk]]:
    """The trunk with the fewest MACs (none if there is only the full one), and those between them."""
    rest = sorted(network.trunks[1:], key=lambda trunk: trunk.macs)
    return rest[:1], rest[1:]


def _sample(trunks: list[Trunk], count: int, rng: np.random.Generator) -> list[Trunk]:
    return [trunks[i] for i in rng.permutation(len(trunks))[:count]]
