"""The parts of the headline benchmark: what is trained and measured for a seed, and how much of it."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import networks
import numpy as np
import ours
import rivals
from baselines import BASELINES, Trained, Training, accuracy
from compute import spread
from ours import FOUR, TEN, Variant, exits
from parts import Parts

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.progress import Tick
from adascale_runtime.seams.recipe import parse
from adascale_tf.data import Dataset
from adascale_tf.network.elastic import ElasticNetwork
from adascale_tf.training import Schedule

BATCH = 128
Facts = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much of everything a run takes."""

    #: Training images, and others for the validation split.
    images: int
    validation: int
    epochs: int
    seeds: tuple[int, ...]
    #: The structures whose branches all ship, and those that the five sizes get beside.
    ten: tuple[str, ...]
    four: tuple[str, ...]
    #: How the four and how the thirty branches are trained: join or not, and for which share of the epochs then.
    fours: tuple[tuple[bool, float], ...]
    thirties: tuple[tuple[bool, float], ...]
    #: Lengths of the five rivals, and of those of a sample of so many last exits and as many early ones.
    five: tuple[float, ...]
    sample: tuple[float, ...]
    sampled: int
    #: Whether the evolved recipes are trained too, to compare with; otherwise their neighbours stand for that.
    trains_evolved: bool

    @property
    def structures(self) -> tuple[str, ...]:
        """All that is joined."""
        return tuple(dict.fromkeys((*self.ten, *self.four)))

    def variants(self, count: int) -> list[Variant]:
        """The ways to train what ships, over a backbone of ``count`` exits."""
        few = [Variant(self.four, join, length) for join, length in self.fours]
        return few + [Variant(exits(self.ten, count), join, length) for join, length in self.thirties]


#: The lengths of the rivals lie where our total compute leaves them: about 0.56 of the epochs for five networks, 0.12
#: and 0.23 for thirty and ten.
SHORT = Size(
    12_000, 5_000, 3, (0,), TEN, FOUR, fours=((False, 1 / 2), (True, 1 / 2)), thirties=((True, 1 / 6),),
    five=(0.56,), sample=(0.115, 0.235), sampled=2, trains_evolved=False,
)  # fmt: skip
FULL = replace(
    SHORT, images=45_000, epochs=30, seeds=(0, 1, 2), sampled=3, trains_evolved=True,
    fours=((False, 1 / 2), (False, 1.0), (True, 1 / 6), (True, 1 / 2)),
    thirties=((True, 1 / 6), (True, 1 / 2), (False, 1 / 3)),
    five=(0.25, 0.56, 1.0), sample=(0.115, 0.235, 0.5, 1.0),
)  # fmt: skip
SMOKE = replace(
    SHORT, images=512, validation=128, epochs=2, ten=("full", "width(0.75)", "width(0.25)"), four=("width(0.5)",),
    fours=((True, 1 / 2),), five=(1 / 2,), sample=(1 / 2,), sampled=1,
)  # fmt: skip


class Seed:
    """Everything for one seed. Each method is a part of the result."""

    def __init__(self, dataset: Dataset, size: Size, seed: int, parts: Parts, tick: Tick) -> None:
        self._dataset, self._size, self._number, self._parts, self._tick = dataset, size, seed, parts, tick
        classes, count = len(dataset.labels), min(BATCH, len(dataset.x_train))
        self._training = Training(
            dataset.x_train, dataset.y_train, classes, size.epochs, count, seed=seed, tick=self._said("")
        )
        self._schedule = Schedule(epochs=size.epochs, batch=count, flip=True, sampled=2, seed=seed)
        self._networks: dict[str, ElasticNetwork] = {}

    def run(self, options: argparse.Namespace) -> Facts:
        """All parts; those on disk are read."""
        facts: Facts = {
            "seed": self._number,
            "images": self._size.epochs * self._schedule.epoch_steps(len(self._dataset.x_train)) * self._schedule.batch,
            "hand_made": {name: self._take(name, partial(self._hand_made, name)) for name in BASELINES},
            "pretrain": self._take("pretrain", self._pretrain),
            "join": self._take("join", self._join),
        }
        facts["alone"] = self._take("alone", self._alone)
        variants = enumerate(self._size.variants(self._full.trunks[0].exits))
        facts["variants"] = [self._take(f"variant-{n}", partial(self._variant, v, facts)) for n, v in variants]
        facts["deployed"] = facts["variants"][len(self._size.fours)].pop("deployed")
        facts["rivals"] = {
            "five": self._take("rivals-five", self._five),
            "sample": self._take("rivals-sample", partial(self._sample, facts["alone"])),
        }
        facts["evolved"] = self._take("evolved", partial(self._evolved, facts["join"]["branches"]))
        facts["networks"] = self._take("networks", partial(self._others, options))
        return facts

    def _take(self, name: str, make: Any) -> Facts:
        return self._parts.take(f"{self._number}-" + re.sub(r"\W+", "-", name), make)

    def _said(self, who: str) -> Tick:
        return lambda what, *rest: self._tick(f"seed {self._number}, {who}{what}", *rest)

    def _hand_made(self, name: str) -> Facts:
        return self._facts(BASELINES[name](self._training))

    def _facts(self, one: Trained) -> Facts:
        facts = {key: value for key, value in vars(one).items() if key not in ("name", "model")}
        return {**facts, "accuracy": accuracy(one.model, self._dataset.x_test, self._dataset.y_test)}

    def _pretrain(self) -> Facts:
        network, effort = ours.pretrained(self._dataset, self._schedule, self._said("full: "))
        self._parts.keep(f"{self._number}-pretrain", network.values)
        self._networks["full"] = network
        known = ours.measured(network, exits(("full",), network.trunks[0].exits), self._dataset)
        return {"effort": ours.efforts(effort), "branches": known}

    @property
    def _full(self) -> ElasticNetwork:
        """The trained full network."""
        return self._kept("full", "pretrain", lambda: ours.untrained(self._dataset))

    @property
    def _joined(self) -> ElasticNetwork:
        """The structures after their join."""
        return self._kept("joined", "join", lambda: ours.compressed(self._full, self._size.structures))

    def _kept(self, name: str, part: str, build: Any) -> ElasticNetwork:
        if name not in self._networks:
            values = self._parts.arrays(f"{self._number}-{part}")
            if values is None:
                raise AdaScaleError(
                    f"The part '{part}' of a killed run lacks its weights; remove {self._parts.folder}."
                )
            self._networks[name] = build()
            self._networks[name].take(values)
            self._networks[name].choose(1.0)
        return self._networks[name]

    def _join(self) -> Facts:
        network, effort = ours.joined(
            self._full, self._size.structures, self._dataset, self._schedule, self._said("join: ")
        )
        self._parts.keep(f"{self._number}-join", network.values)
        self._networks["joined"] = network
        structures = (structure for structure in self._size.structures if structure != "full")
        known = ours.measured(network, exits(structures, network.trunks[0].exits), self._dataset)
        return {"effort": ours.efforts(effort), "branches": known}

    def _alone(self) -> Facts:
        """The MACs of the branches that ship, and the seconds of those that end at the last exit."""
        network = self._joined
        macs = {
            recipe: ours.macs(network, recipe) for recipe in exits(self._size.ten, network.trunks[0].exits)
        }  # fmt: skip
        timed = ours.alone_seconds(network, self._size.ten, self._dataset, self._schedule)
        return {"macs": macs, "last": list(self._size.ten), "seconds": timed}

    def _variant(self, variant: Variant, facts: Facts) -> Facts:
        """The branches of a variant, trained; of the first one in which thirty ship, also the files."""
        size = self._size
        start = self._joined if variant.join else ours.compressed(self._full, size.structures)
        tick = self._said(f"{variant.name}: ")
        network, effort = ours.specialised(
            start, variant.recipes, variant.length, self._dataset, self._schedule, tick
        )  # fmt: skip
        trained = [recipe for recipe in variant.recipes if not ours.of_full(recipe)]
        made = {
            **asdict(variant),
            "name": variant.name,
            "effort": ours.efforts(effort),
            "branches": ours.measured(network, trained, self._dataset),
        }
        if variant == size.variants(network.trunks[0].exits)[len(size.fours)]:
            known = {**facts["pretrain"]["branches"], **made["branches"]}
            made["deployed"] = ours.deployed(network, known, self._dataset, self._schedule, tick)
        return made

    def _five(self) -> Facts:
        return self._rivals(self._size.five, rivals.hand_made)

    def _sample(self, alone: Facts) -> Facts:
        macs, last = alone["macs"], alone["last"]
        strata = ([r for r in macs if (r in last) is kind and r != "full"] for kind in (True, False))
        chosen = [r for stratum in strata for r in spread({r: macs[r] for r in stratum}, self._size.sampled)]
        ours_alike = {r: self._joined.trunk(parse(r)).network(parse(r)) for r in chosen}
        return self._rivals(self._size.sample, lambda t, teacher, epochs: rivals.afresh(ours_alike, t.seed))

    def _rivals(self, lengths: Sequence[float], begin: Any) -> Facts:
        """Networks trained from the same start at several lengths, with the full network as their teacher."""
        teacher = self._full.trunks[0].network(parse("full"))
        t = replace(self._training, tick=self._said("rivals "))
        facts: Facts = {"accuracy": {}, "macs": {}, "effective_macs": {}, "effort": {}}
        for length in lengths:
            epochs = length * self._size.epochs
            made, effort = rivals.distil(begin(t, teacher, epochs), teacher, t, epochs)
            told = {name: self._facts(one) for name, one in made.items()}
            facts["accuracy"][str(length)] = {name: one["accuracy"] for name, one in told.items()}
            facts["effort"][str(length)] = asdict(effort)
            for key in ("macs", "effective_macs"):
                facts[key] = {name: one[key] for name, one in told.items()}
        return facts

    def _evolved(self, known: Facts) -> Facts:
        facts = ours.evolved(self._joined, known, self._dataset, self._schedule, self._said("evolved: "))
        if self._size.trains_evolved:
            structures = dict.fromkeys((*self._size.structures, *ours.EVOLVED))
            tick = self._said("evolved, trained: ")
            network, _ = ours.joined(self._full, structures, self._dataset, self._schedule, tick)
            trained = ours.measured(network, facts["branches"], self._dataset)
            facts["trained"] = {recipe: one["test"] for recipe, one in trained.items()}
        return facts

    def _others(self, options: argparse.Namespace) -> Facts:
        """Other networks; each takes a part of the training images, and a validation split of that."""
        none = self._dataset.x_val[:0], self._dataset.y_val[:0]
        images = replace(self._dataset, x_val=none[0], y_val=none[1])
        return networks.run(
            self._said(""), options.short, self._number, options.smoke, images=images, sounds=options.sounds
        )


def split(dataset: Dataset, size: Size) -> Dataset:
    """The data with at most so many training images, and others of them as its validation split, drawn at random."""
    order = np.random.default_rng(0).permutation(len(dataset.x_train))
    train, held = (np.sort(part) for part in (order[: size.images], order[size.images :][: size.validation]))
    x, y = dataset.x_train, dataset.y_train
    return replace(dataset, x_train=x[train], y_train=y[train], x_val=x[held], y_val=y[held])
