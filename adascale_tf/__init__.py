"""adascale-tf: one Keras model in, a bundle of TFLite branches out, switched on the phone in under a millisecond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adascale_runtime.seams.recipe import Recipe
    from adascale_tf.network.elastic import ElasticNetwork

__version__ = "0.1.0"


def elastic(
    model: Any, recipes: Sequence[str | Recipe] | None = None, input_size: Sequence[int] = ()
) -> ElasticNetwork:
    """The elastic network of a Keras model or file, see :func:`adascale_tf.network.create.elastic`; TensorFlow loads
    only now."""
    from adascale_tf.network import create

    return create.elastic(model, recipes, input_size)
