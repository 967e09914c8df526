"""One phase of a training: its steps, epoch by epoch, from where it stands."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.progress import Tick
from adascale_tf.data import Dataset
from adascale_tf.network.trunk import Trunk
from adascale_tf.training.feed import shares
from adascale_tf.training.finite import ADVICE
from adascale_tf.training.schedule import Phase, PhaseEffort, Schedule
from adascale_tf.training.stepper import Stepper, Student
from adascale_tf.training.workers import Workers

#: How often in a phase masks, clusters and bases are chosen anew; all of the sparsity is there after two thirds of it.
_CHOICES = 8


class Place(Protocol):
    """Where the state is kept after every epoch."""

    def save(self, epochs_done: int, optimizer: list[tf.Variable]) -> None:
        """Write the state after so many epochs of the whole training."""


@dataclass(frozen=True)
class Run:
    """What all phases of a training have in common."""

    data: Dataset
    schedule: Schedule
    tick: Tick
    cluster: Workers
    #: Batches that every replica contributes to a step.
    accumulate: int

    @property
    def scale(self) -> int:
        """Batches of a step."""
        return self.cluster.replicas * self.accumulate

    @property
    def mine(self) -> list[int]:
        """The numbers, among a step's batches, of those that this worker computes."""
        replicas = self.cluster.replicas
        return [turn * replicas + place for turn in range(self.accumulate) for place in self.cluster.places]


@dataclass(frozen=True)
class Course:
    """Who trains in a phase, and who teaches."""

    phase: Phase
    students: Sequence[Student]
    #: Whose answers they learn; None for the labels.
    teacher: Trunk | None = None
    #: How many train at a step beside the smallest; None for all of them.
    sampled: int | None = None

    def chosen(self, rng: np.random.Generator) -> list[Trunk]:
        """The trunks of a step: the one with the fewest MACs and some others, or all."""
        trunks = [student.trunk for student in self.students]
        if self.sampled is None:
            return trunks
        smallest, *others = sorted(trunks, key=lambda trunk: trunk.macs)
        return [smallest, *(others[i] for i in rng.permutation(len(others))[: self.sampled])]


def open_stepper(course: Course, run: Run) -> Stepper:
    """The steps of a course, in the scope of the workers' strategy."""
    length = run.schedule.steps(course.phase, len(run.data.x_train))
    with run.cluster.strategy.scope():
        return Stepper(
            course.students, course.teacher, run.schedule, length, run.cluster,
            phase=course.phase.name, accumulate=run.accumulate,
        )  # fmt: skip


def run_phase(
    course: Course,
    run: Run,
    checkpoint: Place | None = None,
    going: tuple[Stepper, int] | None = None,
) -> PhaseEffort:
    """Train until the phase is over.

    Args:
        course: who trains.
        run: on what, and how strongly.
        checkpoint: where the state is saved after every epoch.
        going: the stepper of a phase that stands in the middle, and how many epochs the whole training has done.

    Returns:
        What this call took, in all replicas.

    Raises:
        AdaScaleError: a loss is not finite.
    """
    phase, schedule, data = course.phase, run.schedule, run.data
    begun = time.perf_counter()
    stepper, done = going or (open_stepper(course, run), phase.first)
    length, epoch_steps = schedule.steps(phase, len(data.x_train)), schedule.epoch_steps(len(data.x_train))
    since = time.perf_counter()
    stepper.prepare(data.inputs(data.x_train[: schedule.batch]), run.tick)
    tracing = time.perf_counter() - since
    taught = 0 if course.teacher is None else course.teacher.macs
    macs, loading, steps = 0.0, 0.0, 0
    first = progress = stepper.progress
    chosen_at = -1
    for epoch in range(done, phase.end):
        rng = np.random.default_rng((schedule.seed, epoch))  # of the epoch, so that a resumed run sees the same
        batches = shares(data, schedule, epoch, run.scale, run.mine)
        end = min(length, (epoch - phase.first + 1) * epoch_steps)
        chosen_at = -1
        while progress < end:
            if chosen_at < (now := int(_CHOICES * progress / length)):
                chosen_at = now
                for student in course.students:
                    student.trunk.choose(min(1.0, 1.5 * progress / length))
            chosen, since = course.chosen(rng), time.perf_counter()
            taken = next(batches)
            loading += time.perf_counter() - since
            loss = stepper.step(taken, chosen)
            steps, before, progress = steps + 1, progress, stepper.progress
            macs += run.scale * len(taken[0][0]) * (3.0 * sum(trunk.macs for trunk in chosen) + taught)
            note = f"{phase.name}, epoch {epoch - phase.first + 1}/{phase.end - phase.first}, loss {loss:.3f}"
            if not np.isfinite(loss):
                raise AdaScaleError(f"The loss is not finite ({note}, after {steps} steps); {ADVICE}")
            if run.scale > 1:
                note += f", gain {progress - before:.2f} of {run.scale}"
            run.tick("train", min(length, int(progress)), length, note)
        if epoch + 1 == phase.end:
            for student in course.students:
                student.trunk.choose(1.0)
        if checkpoint:
            checkpoint.save(epoch + 1, stepper.state)
    return PhaseEffort(phase.name, macs, time.perf_counter() - begun, tracing, loading, steps, progress - first)
