"""``build``: train a network on data, from a given model or a built-in backbone, and write a bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle, losses
from adascale_runtime.seams.recipe import Recipe, parse, parse_list
from adascale_tf.verbs import inputs
from adascale_tf.verbs.elastic import ElasticModel, elastic, fresh
from adascale_tf.verbs.saying import Say, unsaid
from adascale_tf.verbs.training import Training

#: What whoever starts one of several workers should know: TensorFlow's server has no option for an address.
LISTENING = (
    "TensorFlow will listen on all network interfaces, without a password; see "
    "'Who can reach a worker' in docs/scale.md."
)


@dataclass(frozen=True)
class Built:
    """What a verb that writes a bundle gives."""

    #: The bundle; None if none was asked for, or on a worker that is not the chief, which trains and writes nothing.
    written: bundle.Bundle | None
    #: The folder that keeps the trained network; None if nothing was kept.
    checkpoint: Path | None = None

    @property
    def bundle(self) -> bundle.Bundle:
        """The bundle.

        Raises:
            AdaScaleError: none was asked for, or this worker is not the chief.
        """
        if self.written is None:
            raise AdaScaleError("No bundle was written: none was asked for, or this worker is not the chief.")
        return self.written

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a person should know before using the bundle, such as which branches lost much; a sentence each."""
        return () if self.written is None else tuple(losses.remarks(self.written.manifest))


def build(
    data: Any,
    out: str | Path,
    *,
    model: Any = None,
    backbone: str | None = None,
    recipes: str | Sequence[str | Recipe] | None = None,
    input_size: Sequence[int] = (),
    input_range: str | None = None,
    training: Training | None = None,
    seed: int = 0,
    max_loss: float = bundle.MAX_LOSS,
    targets: str | Sequence[str] = (),
    tick: Tick = silent,
    say: Say = unsaid,
) -> Built:
    """Train one elastic network, convert and verify its branches, and write a bundle.

    With a ``model`` this is :func:`elastic`, :meth:`ElasticModel.fit` and :meth:`ElasticModel.export` in one call. A
    build that was killed goes on at its last whole epoch when it is called again with the same checkpoint.

    Args:
        data: a SPEC or examples in memory, as for :meth:`ElasticModel.fit`.
        out: the bundle's folder: new, empty, or a bundle, which is replaced.
        model: a Keras model with its weights, or the path of one; by default a new built-in backbone.
        backbone: the built-in one, "resnet" or "resnet-wide" (images), or "gru" (sequences); by default chosen to suit
            the data.
        recipes: the branches, as text or a list; by default about ten.
        input_size: the size that all images are resized to; required if the input size of a ``model`` is
            variable. (height, width), or one number for both.
        input_range: what ``model`` expects of pixels: "0,255", "0,1" or "-1,1".
        training: how it is trained; several replicas or machines, and a checkpoint, are named here.
        seed: of all chance: new weights, shuffling, augmentation.
        max_loss: points of accuracy, as for :meth:`ElasticModel.export`.
        targets: the delegates that the branches are for, as for :func:`elastic`.
        tick: called at every step of the work.
        say: takes a sentence for whatever a person should know meanwhile.

    Returns:
        The bundle, and where the trained network is kept.

    Raises:
        BadInput: the data, the model or the options do not suit each other.
        AdaScaleError: the training diverges, or no branch can be written.
    """
    out, training = Path(out), training or Training()
    bundle.check_target(out)
    wanted = None if recipes is None else parsed(recipes)
    if model is not None and backbone is not None:
        raise BadInput("--model brings its own network and --backbone names another one; give one of them.")
    if model is None:  # a wrong SPEC should not wait for TensorFlow
        data = inputs.load(data, size=input_size, seed=seed, tick=tick, say=say)
    trained = _trained(
        lambda: fresh(data, backbone, wanted, seed=seed, targets=targets)
        if model is None
        else elastic(model, wanted, input_size, seed=seed, targets=targets),
        data, input_range, training, tick, say,
    )  # fmt: skip
    if not trained.chief:
        from converters import process

        process.stop()
        return Built(None, training.checkpoint)
    return Built(trained.export(out, max_loss=max_loss, tick=tick), training.checkpoint)


def begun(checkpoint: str | Path) -> bool:
    """Whether a folder keeps a training that has an epoch to go on from."""
    try:
        state = codec.read_json(Path(checkpoint) / "checkpoint.json")
    except BadInput:
        return False
    return isinstance(state, dict) and bool(state.get("epochs_done"))


def parsed(recipes: str | Sequence[str | Recipe]) -> list[Recipe]:
    """Recipes as data, refused before any work where one cannot be read."""
    if isinstance(recipes, str):
        return parse_list(recipes)
    return [parse(recipe) if isinstance(recipe, str) else recipe for recipe in recipes]


def _trained(
    make: Callable[[], ElasticModel], data: Any, input_range: str | None, training: Training, tick: Tick, say: Say
) -> ElasticModel:
    """The network that ``make`` makes, trained by this worker and the others."""
    from adascale_tf.bridge.quietly import import_tensorflow
    from converters import process

    process.start()  # it imports TensorFlow while this process does the same and trains
    import_tensorflow()
    from adascale_tf.training import open_workers

    workers = open_workers(training.strategy, training.replicas, tick=tick)  # before TensorFlow is used
    return make().fit(data, training=training, input_range=input_range, workers=workers, tick=tick, say=say)
