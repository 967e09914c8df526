"""Masks of pruned layers, chosen by TF-MOT while the shared weights train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow_model_optimization.sparsity import keras as tfmot

from adascale_tf.functional import layer_slots


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
    """The 0/1 masks of a trunk's pruned weights, by (layer name, weight).

    TF-MOT's ``prune_low_magnitude`` wrappers hold copies of the weights and decide which of them fall. The shared
    weights themselves stay dense; a pruned trunk sees them through the masks, and other trunks see them whole.
    """

    def __init__(self, model: tf_keras.Model, sparsity: Mapping[str, float]) -> None:
        self._wrappers = []
        self._copies: list[tuple[tf.Variable, tf.Variable]] = []
        self._masks: dict[tuple[str, str], tf.Variable] = {}
        for name, share in sparsity.items():
            layer = model.get_layer(name)
            twin = type(layer).from_config(layer.get_config())
            wrapper = tfmot.prune_low_magnitude(twin, pruning_schedule=_Ramp(share))
            wrapper.build(layer.input_shape)
            self._wrappers.append(wrapper)
            names = {id(slot.variable): weight for weight, slot in layer_slots(twin).items()}
            for copy, mask, _ in wrapper.pruning_vars:
                weight = names[id(copy)]
                self._masks[name, weight] = mask
                self._copies.append((copy, layer_slots(layer)[weight].variable))

    def __contains__(self, key: tuple[str, str]) -> bool:
        return key in self._masks

    def __getitem__(self, key: tuple[str, str]) -> tf.Tensor:
        return tf.convert_to_tensor(self._masks[key])

    def update(self, share: float) -> None:
        """Choose the masks anew from the trunk's settled weights; ``share`` in [0, 1] of the final sparsity."""
        for copy, source in self._copies:
            copy.assign(source)
        for wrapper in self._wrappers:
            wrapper.pruning_obj._pruning_schedule.share.assign(share)
            wrapper.pruning_obj.conditional_mask_update()
