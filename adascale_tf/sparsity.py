"""Masks of pruned layers, chosen by TF-MOT while the shared weights train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.sparsity import keras as tfmot


class _Ramp(tfmot.PruningSchedule):  # type: ignore[misc]
    """A TF-MOT schedule whose sparsity is set from outside, once per epoch."""

    def __init__(self, sparsity: float) -> None:
        self.final = sparsity
        self.share = tf.Variable(0.0, trainable=False)

    def __call__(self, step: Any) -> tuple[Any, Any]:
        return tf.constant(True), self.share * self.final

    def get_config(self) -> dict[str, Any]:
        return {"class_name": "Ramp", "config": {"sparsity": self.final}}


class Masks:
    """The 0/1 masks of a trunk's kernels, by layer name.

    TF-MOT's ``prune_low_magnitude`` wrappers hold a copy of each kernel and decide which weights fall. The shared
    weights themselves stay dense; a pruned trunk sees them through the masks, and other trunks see them whole.
    """

    def __init__(self, model: tf_keras.Model, sparsity: Mapping[str, float]) -> None:
        self._sources = {name: model.get_layer(name) for name in sparsity}
        self._wrappers = {}
        for name, layer in self._sources.items():
            twin = type(layer).from_config(layer.get_config())
            wrapper = tfmot.prune_low_magnitude(twin, pruning_schedule=_Ramp(sparsity[name]))
            wrapper.build(layer.input_shape)
            self._wrappers[name] = wrapper

    def __contains__(self, layer: str) -> bool:
        return layer in self._wrappers

    def __getitem__(self, layer: str) -> tf.Tensor:
        _, mask, _ = self._wrappers[layer].pruning_vars[0]
        return tf.convert_to_tensor(mask)

    def update(self, share: float) -> None:
        """Choose the masks anew from the trunk's settled kernels; ``share`` in [0, 1] of the final sparsity."""
        for name, wrapper in self._wrappers.items():
            wrapper.pruning_vars[0][0].assign(self._sources[name].kernel)
            wrapper.pruning_obj._pruning_schedule.share.assign(share)
            wrapper.pruning_obj.conditional_mask_update()
