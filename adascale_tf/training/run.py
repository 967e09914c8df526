"""A whole training, in three phases.

*Pretrain*: the full trunk alone, on the labels. Its early exits train heads on what it computes, and do not change it.
Its weights are not touched again, and it teaches the others.
*Join*: the compressed trunks over a fork of its sorted weights, the smallest and some others a step (the sandwich rule;
Yu & Huang, Universally Slimmable Networks, ICCV 2019), on the full trunk's answers. Branches learn faster from weights
that know something (Cai et al., Once-for-All, ICLR 2020).
*Specialise*: each trunk that ships, with weights of its own, on the full trunk's answers.

Afterwards every trunk's BatchNorm statistics are measured anew under the final weights. Progress is measured in
scale-invariant iterations (Johnson et al., AdaScale SGD, ICML 2020): an epoch is as many as there are batches in the
data, however many steps they take.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.recipe import Recipe
from adascale_tf import operators
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import finite
from adascale_tf.training.phase import Course, Run, open_stepper, run_phase
from adascale_tf.training.schedule import PHASES, Effort, Phase, Schedule
from adascale_tf.training.statistics import recalibrate
from adascale_tf.training.stepper import Stepper, Student
from adascale_tf.training.workers import Workers, alone

if TYPE_CHECKING:
    from adascale_tf.training.checkpoint import Checkpoint
    from adascale_tf.training.specialisation import Specialisation


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
    run = Run(data, schedule, tick, cluster, accumulate)
    with checkpoint.held() if checkpoint and cluster.chief else nullcontext():
        if cluster.alone:
            effort = _train(network, network, run, checkpoint)
        else:
            with cluster.strategy.scope():
                copied = network.copied()
            kept = checkpoint and checkpoint.at(copied, cluster)
            with cluster.watched():
                effort = _train(copied, network, run, kept)
                for structure, exits in copied.own_exits.items():
                    network.detach(structure, exits)
                network.take(copied.values)
        network.choose(1.0)
        if cluster.chief and not (checkpoint and checkpoint.finished):
            trained = network.trunks if schedule.length("pretrain") > 0 else network.trunks[1:]
            recalibrate(trained, data, schedule.seed, tick)
            finite.check(network.values)
            if checkpoint:
                checkpoint.save(schedule.total + 1, [])
    return effort


def specialise(
    network: ElasticNetwork,
    recipes: Iterable[Recipe],
    data: Dataset,
    schedule: Schedule,
    tick: Tick = silent,
    *,
    epochs: float | None = None,
    steps: int | None = None,
    kernels: bool = True,
    checkpoint: Specialisation | None = None,
) -> Effort:
    """Give the structures of some recipes weights of their own, in place, and train each on the full trunk's answers.

    All of them see the same batches, so that the full trunk answers once a batch. Their statistics are measured
    afterwards.

    Args:
        network: a trained network; its other weights stay as they are.
        recipes: whose structures; ``full`` itself is left out.
        data: the examples.
        schedule: strength, batch and seed; its ``specialise`` epochs unless others are given.
        tick: called with "train" at every step.
        epochs: passes over the data.
        steps: batches, in the place of epochs.
        kernels: whether kernels train too. Without them, a branch's kernels stay what the fork makes of them.
        checkpoint: where the state is saved after every epoch; what stands there of the same recipes is taken up.

    Returns:
        What the epochs of this call took.
    """
    if steps is not None:
        epochs = steps / schedule.epoch_steps(len(data.x_train))
    phase = Phase("specialise", schedule.length("specialise") if epochs is None else epochs, schedule.total)
    run = Run(data, schedule, tick, alone(), 1)
    students = _detached(network, recipes, kernels)
    if not students or phase.epochs <= 0:
        return Effort()
    course, going = Course(phase, students, network.trunks[0]), None
    if checkpoint and checkpoint.begun:
        going = open_stepper(course, run), phase.first + checkpoint.begun
        checkpoint.read(going[0].state)
    effort = run_phase(course, run, checkpoint, going)
    recalibrate([student.trunk for student in students], data, schedule.seed, tick)
    finite.check(network.values)
    if checkpoint:
        checkpoint.save(phase.end + 1, [])
    return Effort((effort,))


def own_exits(network: ElasticNetwork, recipes: Iterable[Recipe]) -> dict[Recipe, set[int]]:
    """The structures of some recipes that have weights of their own, or should have, with the exits that train.

    All but the whole network's last exit: in the first phase its early exits trained their heads only.
    """
    exits: dict[Recipe, set[int]] = {}
    for recipe in recipes:
        structure, number = operators.trunk(recipe), network.exit(recipe)
        if structure.steps or number < network.trunks[0].exits:
            exits.setdefault(structure, set()).add(number)
    return exits


def _train(network: ElasticNetwork, plain: ElasticNetwork, run: Run, checkpoint: Checkpoint | None) -> Effort:
    """All epochs that the checkpoint lacks; ``plain``: the network outside of the workers' strategy."""
    schedule = run.schedule
    done = checkpoint.begin() if checkpoint else 0
    going = _restore(network, run, checkpoint, done) if checkpoint and done else None
    efforts = []
    for phase in schedule.phases:
        if done >= phase.end:
            continue
        if going is None:
            _begin(network, plain, phase, run)
        with run.cluster.strategy.scope():
            course = _course(network, phase, schedule)
        if course.students:
            efforts.append(run_phase(course, run, checkpoint, going))
        going = None
    return Effort(tuple(efforts))


def _restore(network: ElasticNetwork, run: Run, checkpoint: Checkpoint, done: int) -> tuple[Stepper, int] | None:
    """Read the state after ``done`` epochs; gives the stepper of the phase that stands in the middle."""
    stepper = None
    for phase in run.schedule.phases:
        if phase.first < done:
            with run.cluster.strategy.scope():
                course = _course(network, phase, run.schedule)
            stepper = open_stepper(course, run) if course.students and done < phase.end else None
    checkpoint.read(done, stepper.state if stepper else [])
    return (stepper, done) if stepper else None


def _begin(network: ElasticNetwork, plain: ElasticNetwork, phase: Phase, run: Run) -> None:
    """What happens once between two phases."""
    lengths = {name: run.schedule.length(name) for name in PHASES}
    if phase.name == "pretrain" or (phase.name == "specialise" and lengths["join"] > 0):
        return
    if lengths["pretrain"] > 0:  # a teacher whose moving averages lag behind its weights teaches nonsense
        if plain is not network:
            plain.take_full(network)
        recalibrate(plain.trunks[:1], run.data, run.schedule.seed, run.tick)
        if plain is not network:
            network.take_full(plain)
    with run.cluster.strategy.scope():
        network.fork()
    network.choose(0.0)


def _course(network: ElasticNetwork, phase: Phase, schedule: Schedule) -> Course:
    """Who trains in a phase."""
    full, joined = network.trunks[0], network.joined
    if phase.name == "pretrain":
        return Course(phase, [Student(full, range(1, full.exits))])
    if phase.name == "join":
        return Course(phase, [Student(trunk, range(1, trunk.exits)) for trunk in joined], full, schedule.sampled)
    return Course(phase, _detached(network, network.recipes), full)


def _detached(network: ElasticNetwork, recipes: Iterable[Recipe], kernels: bool = True) -> list[Student]:
    """The trunks of some recipes with weights of their own."""
    return [
        Student(network.detach(structure, numbers), sorted(numbers), kernels)
        for structure, numbers in own_exits(network, recipes).items()
    ]
