"""``elastic``: a Keras model made elastic, trained, and exported as a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle
from adascale_tf.verbs.saying import Say, unsaid
from adascale_tf.verbs.training import Training

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.manifest import Accuracy
    from adascale_runtime.seams.recipe import Recipe
    from adascale_tf.data import Dataset
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.training import Effort, Schedule, Workers


def elastic(
    model: Any, recipes: str | Sequence[str | Recipe] | None = None, input_size: Sequence[int] = (), *, seed: int = 0,
    targets: str | Sequence[str] = (),
) -> ElasticModel:  # fmt: skip
    """Make a classifier elastic: one network, one branch for each recipe.

    Early exits are added where one node carries everything. The network's last exit gives the model's own logits, with
    the model's weights. TensorFlow is imported now.

    Args:
        model: a Keras 3 or ``tf_keras`` model, or the path of a saved one (.keras, .h5 or a SavedModel of Keras 2).
        recipes: the branches, such as ``["full", "int8", "width(0.5)+int8"]``; by default about a dozen that the
            model's graph allows. :func:`adascale_tf.list_operators` lists the steps that recipes are made of.
        input_size: what the model leaves open of its input: (height, width), or one number for both.
        seed: of all chance: new weights, shuffling, augmentation. Sets the global seeds of Python, numpy, TensorFlow.
        targets: the delegates that the branches are for, such as ``["gpu", "npu"]``: precisions and files are chosen so
            that each takes all of at least half of the branches (``recipes`` that are given stay as they are). What a
            target does not take is said before the training.

    Returns:
        The elastic model, to be trained by :meth:`ElasticModel.fit`.

    Raises:
        BadInput: names a layer that cannot be converted to Keras 2, a recipe that the model does not allow, or a target
            of which nothing is known.

    Example::

        network = ada.elastic(model, ["full", "int8", "width(0.5)+int8"])
        network.fit((x, y), epochs=10)
        bundle = network.export("bundle")
    """
    from adascale_tf.bridge.quietly import import_tensorflow

    import_tensorflow()
    import tf_keras

    from adascale_tf.network import create
    from adascale_tf.verbs.targets import named

    wanted = named(targets)
    tf_keras.utils.set_random_seed(seed)
    name = str(model) if isinstance(model, (str, Path)) else f"Model '{getattr(model, 'name', model)}'"
    network = create.elastic(model, recipes, input_size)
    return ElasticModel(network, name, seed=seed, targets=wanted, chosen=bool(recipes))


def fresh(
    data: Dataset, backbone: str | None = None, recipes: Sequence[Recipe] | None = None, *, seed: int = 0,
    targets: str | Sequence[str] = (),
) -> ElasticModel:  # fmt: skip
    """A built-in backbone of fresh weights, made elastic.

    Args:
        data: what it will be trained on; its examples' shape and its classes decide the backbone's.
        backbone: "resnet" or "resnet-wide" (images), or "gru" (sequences); by default chosen to suit the data.
        recipes: the branches; by default about ten.
        seed, targets: as for :func:`elastic`.

    Raises:
        BadInput: the backbone is unknown or does not take such examples, or nothing is known of a target.
    """
    from adascale_tf.bridge.quietly import import_tensorflow

    import_tensorflow()
    import tf_keras

    from adascale_tf.bridge import backbones
    from adascale_tf.network import create
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.verbs.targets import named

    wanted = named(targets)
    tf_keras.utils.set_random_seed(seed)
    name = backbone or backbones.default_for(data.input_shape)
    model = backbones.build(name, data.input_shape, len(data.labels))
    network = ElasticNetwork(model, recipes or create.default_recipes(model, name))
    return ElasticModel(network, name, seed=seed, trained=False, targets=wanted, chosen=bool(recipes))


class ElasticModel:
    """A Keras model made elastic, from its training to its bundle. :func:`elastic` makes it.

    Args:
        network: the elastic network to train.
        name: what the model is called in messages: its path or name.
        seed: of shuffling and augmentation.
        trained: whether the model came with weights: then their accuracy is measured before the training, one branch of
            each precision is converted on trial, and the weights stay as they are if they know something.
        targets: the delegates that its branches are for.
        chosen: whether the network's recipes are the user's, which targets do not change.
    """

    def __init__(
        self, network: ElasticNetwork, name: str, *, seed: int = 0, trained: bool = True, targets: Sequence[str] = (),
        chosen: bool = True,
    ) -> None:  # fmt: skip
        #: The network: its recipes, trunks, weights.
        self.network = network
        self.name = name
        self.seed = seed
        #: The delegates that its branches are for.
        self.targets = tuple(targets)
        #: The examples of the last :meth:`fit`, as the network takes them.
        self.data: Dataset | None = None
        #: How the last :meth:`fit` trained.
        self.schedule: Schedule | None = None
        #: What the last :meth:`fit` took.
        self.effort: Effort | None = None
        #: The accuracy of the model as it was given, on the test split; None for a network of fresh weights.
        self.given: Accuracy | None = None
        self._trained, self._chosen, self._suited = trained, chosen, False
        self._chief = True

    @property
    def chief(self) -> bool:
        """Whether this process writes the files of the last training: of several workers only the first does."""
        return self._chief

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """The recipes of its branches."""
        return self.network.recipes

    def fit(
        self,
        data: Any,
        epochs: int | None = None,
        *,
        training: Training | None = None,
        input_range: str | None = None,
        workers: Workers | None = None,
        tick: Tick = silent,
        say: Say = unsaid,
    ) -> ElasticModel:
        """Train all branches on the training split.

        First the whole network alone (a model that knows something stays as it is), then its compressed branches
        together, then each on its own; docs/training.md explains the three phases.

        Args:
            data: ``digits``, a folder, .zip or .npz as for ``adascale build``; arrays ``(x, y)`` or ``((x_train,
                y_train), (x_test, y_test))``; a ``tf.data.Dataset`` of ``(x, y)``; or an :class:`adascale_tf.Dataset`.
                ``x`` is (N, ...) of uint8 or floats, ``y`` (N,). Without a test split a fifth of each class is held
                out for testing.
            epochs: passes over the data; takes precedence over ``training``.
            training: all options of the training.
            input_range: what a user's model expects of pixels: "0,255", "0,1" or "-1,1".
            workers: the replicas, where they were opened already; by default those that ``training`` names.
            tick: called with "train" at every step, and for the work before and after it.
            say: takes a sentence for what was left out of the data, and for steps of recipes that do nothing.

        Returns:
            Itself.

        Raises:
            BadInput: the data does not suit the model, or the options do not suit each other.
            AdaScaleError: a branch cannot be converted, or the training diverges.
        """
        from adascale_tf.data.validation import hold_out
        from adascale_tf.network import create
        from adascale_tf.training import open_workers, train
        from adascale_tf.training.checkpoint import Checkpoint
        from adascale_tf.verbs import checks
        from converters import process

        process.start()  # it imports TensorFlow while this process reads data and trains
        training = training or Training()
        if epochs is not None:
            training = replace(training, epochs=epochs)
        workers = workers or open_workers(training.strategy, training.replicas, tick=tick)
        dataset = hold_out(self._read(data, input_range, tick, say))
        checks.check_data(dataset)
        self._suit(dataset, tick, say)
        trained = self._trained
        if trained:
            checks.check_finite(self.network)
            self._prepare(dataset, tick)
            if self.data is None:
                create.fit_heads(self.network, dataset)
            trained = checks.knows_something(self.network, dataset)
            if not trained and training.pretrain is None:
                say(f"{self.name} does no better than chance on this data, so it is trained first.")
        for sentence in checks.idle_steps(self.network):
            say(sentence)
        schedule = training.schedule(len(dataset.x_train), self.seed, trained)
        folder = training.checkpoint
        kept = Checkpoint(Path(folder), self.network, dataset, schedule, self.given) if folder else None
        self.effort = train(
            self.network, dataset, schedule, tick, kept, cluster=workers, accumulate=training.accumulate
        )
        if self.effort.iterations > self.effort.steps:
            steps = self.effort.steps
            tick("steps", steps, steps, f"worth {self.effort.iterations:.0f} steps of one batch")
        self.data, self.schedule, self._chief = dataset, schedule, workers.chief
        return self

    def _read(self, data: Any, input_range: str | None, tick: Tick, say: Say) -> Dataset:
        from adascale_tf.verbs import inputs

        if not self._trained:
            return inputs.load(data, seed=self.seed, tick=tick, say=say)
        return inputs.load_for_network(
            self.network, self.name, data, input_range=input_range, seed=self.seed, tick=tick, say=say
        )

    def _suit(self, dataset: Dataset, tick: Tick, say: Say) -> None:
        """Take the recipes that suit the targets, once, before anything is trained."""
        from adascale_tf.network.elastic import ElasticNetwork
        from adascale_tf.verbs import targets

        if not self.targets or self._suited:
            return
        recipes = targets.suit(self.network, dataset, self.targets, chosen=self._chosen, tick=tick, say=say)
        if recipes != self.network.recipes:
            self.network = ElasticNetwork(self.network.backbone, recipes)
        self._suited = True

    def _prepare(self, dataset: Dataset, tick: Tick) -> None:
        """What must be known before a model that came with weights is trained."""
        from adascale_tf.verbs import checks
        from adascale_tf.verbs.rehearse import rehearse

        rehearse(self.network, dataset, tick)
        if self.given is None:
            self.given = checks.given_accuracy(self.network, dataset)

    def export(self, out: str | Path, *, max_loss: float = bundle.MAX_LOSS, tick: Tick = silent) -> Bundle:
        """Convert and verify every branch, and write the bundle.

        Args:
            out: the bundle's folder: new, empty, or a bundle, which is replaced.
            max_loss: points of accuracy that a branch's file may lose against its own float network; a branch that
                loses more is marked, one that loses more than 20 (or than this, if it is more) is left out.
            tick: called with "convert and verify" for each branch.

        Returns:
            The bundle, for :func:`adascale_tf.profile` and :class:`adascale_tf.Session`.

        Raises:
            BadInput: the network was not trained yet, or the folder cannot be written.
            AdaScaleError: no branch is left, or a branch does not compute what its Keras network computes.
        """
        from adascale_tf.verbs.export import write_bundle

        bundle.check_target(Path(out))
        if self.data is None or self.schedule is None:
            raise BadInput("The network has no training data to verify a bundle on; call fit() first.")
        if not self._chief:
            raise AdaScaleError("This worker is not the chief; the chief converts the branches and writes the bundle.")
        return write_bundle(
            self.network, self.data, self.schedule, Path(out), tick, given=self.given, max_loss=max_loss,
            targets=self.targets,
        )  # fmt: skip
