"""From data to a bundle: train, convert, verify, write. The one place where training and converters meet."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adascale_tf import bundle, codec
from adascale_tf.bundle import Branch, Manifest, Samples
from adascale_tf.data import Dataset
from adascale_tf.errors import AdaScaleError
from adascale_tf.progress import Tick, silent
from adascale_tf.recipe import Recipe
from adascale_tf.runtime import trial

if TYPE_CHECKING:
    from adascale_tf.network import ElasticNetwork
    from adascale_tf.training import Schedule

SAMPLES = 8
CALIBRATION = 100
_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy", "adascale-tf")


def write_bundle(
    network: ElasticNetwork, data: Dataset, schedule: Schedule, out: Path, tick: Tick = silent
) -> bundle.Bundle:
    """Convert, verify and write every branch of a trained network; all of the bundle appears, or nothing.

    A float32 branch that disagrees with its Keras network is an error; one of fewer bits carries both accuracies in the
    manifest, so that what was lost can be read.
    """
    with bundle.whole_folder(out) as folder:
        positions = np.linspace(0, len(data.x_test) - 1, min(SAMPLES, len(data.x_test))).astype(int)
        samples = data.inputs(data.x_test[positions])
        _write_tensor(folder / "samples" / "inputs.bin", samples)
        branches = []
        for branch, expected in _branches(network, data, schedule, folder, positions, tick):
            _write_tensor(folder / branch.expected, expected)
            branches.append(branch)
        manifest = Manifest(
            format=bundle.FORMAT,
            name=f"{network.backbone.name} on {data.name}",
            task="classification",
            backbone=network.backbone.name,
            labels=data.labels,
            preprocessing=data.preprocessing,
            branches=tuple(sorted(branches, key=lambda b: [str(r) for r in network.recipes].index(b.recipe))),
            files=bundle.entries(folder),
            samples=Samples("samples/inputs.bin", len(samples), tuple(int(y) for y in data.y_test[positions])),
            created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            versions=versions(),
        )
        codec.write_text(folder / bundle.MANIFEST, codec.dump(manifest))
    opened = bundle.load(out)
    trial.remember(opened)  # verifying has run every branch
    return opened


def rehearse(network: ElasticNetwork, data: Dataset, tick: Tick = silent) -> None:
    """Convert one branch of each precision before training, so that a layer that cannot be converted is known at once.

    :class:`BadInput` or :class:`AdaScaleError` names it.
    """
    from adascale_tf.quantization import wrap
    from converters import convert

    by_precision = {network.plan(recipe).precision: recipe for recipe in network.recipes}
    for number, (precision, recipe) in enumerate(by_precision.items(), start=1):
        model = network.trunk(recipe).network(recipe)
        convert.convert({recipe.id: wrap(model) if precision == "qat" else model}, precision, _calibration(data)[:2])
        tick("rehearse conversion", number, len(by_precision), str(recipe))


def versions() -> dict[str, str]:
    """The versions of the tools that a bundle depends on."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _branches(
    network: ElasticNetwork, data: Dataset, schedule: Schedule, folder: Path, positions: np.ndarray, tick: Tick
) -> Iterator[tuple[Branch, np.ndarray]]:
    from adascale_tf.quantization import train_quantized
    from adascale_tf.runtime.delegates import DELEGATES
    from converters import convert, flatbuffer, verify

    groups: dict[tuple[Recipe, str], list[Recipe]] = {}
    for recipe in network.recipes:
        groups.setdefault((network.trunk(recipe).recipe, network.plan(recipe).precision), []).append(recipe)
    x_test = data.inputs(data.x_test)
    calibration = _calibration(data)
    done = 0
    for (structure, precision), recipes in groups.items():
        models = {recipe.id: network.trunk(recipe).network(recipe) for recipe in recipes}
        if precision == "qat":
            tick("train quantized", 0, len(recipes), str(recipes[0]))
            models = {key: train_quantized(model, data, schedule) for key, model in models.items()}
        converted = convert.convert(models, precision, calibration)
        for recipe in recipes:
            tick("convert and verify", done, len(network.recipes), str(recipe))
            one = converted[recipe.id]
            shared = len(recipes) > 1 and one.size_bytes != len(one.model)
            file = f"{structure.id}-{precision}.tflite" if shared else f"{recipe.id}.tflite"
            (folder / file).write_bytes(one.model)
            keras = models[recipe.id].predict(x_test, batch_size=256, verbose=0)
            branch = Branch(
                id=recipe.id,
                recipe=str(recipe),
                exit=network.plan(recipe).exit,
                precision=precision,
                file=file,
                signature=one.signature,
                size_bytes=one.size_bytes,
                input=one.input,
                output=one.output,
                cost=flatbuffer.cost(one.model, one.signature),
                accuracy=verify.accuracy(keras, data.y_test, "test"),
                verification=verify.compare(keras, keras),
                expected=f"samples/{recipe.id}.bin",
                training={
                    "keras_accuracy": verify.accuracy(keras, data.y_test, "test").value,
                    "samples": len(data.x_train),
                    "schedule": asdict(schedule),
                },
            )
            actual = verify.outputs(DELEGATES["cpu"](folder / file, branch, 1, False), x_test)
            branch = replace(
                branch,
                accuracy=verify.accuracy(actual, data.y_test, "test"),
                verification=verify.compare(keras, actual),
            )
            _check(branch)
            done += 1
            tick("convert and verify", done, len(network.recipes), str(recipe))
            yield branch, actual[positions]


#: Largest difference of any output that rounding explains in float32, as a share of the outputs' range.
_ROUNDING = 1e-3


def _check(branch: Branch) -> None:
    facts = branch.verification
    if branch.precision != "float32" or facts.agreement >= 0.99:
        return
    # A network that hardly knows its classes has near ties, which rounding decides: then the outputs say more.
    if facts.max_abs_difference > _ROUNDING * facts.output_range:
        raise AdaScaleError(
            f"Branch '{branch.recipe}' does not compute what its Keras network computes (top-1 agrees on "
            f"{facts.agreement:.1%} of {facts.samples} inputs, outputs differ by {facts.max_abs_difference:.3g}), so "
            "no bundle is written."
        )


def _calibration(data: Dataset) -> np.ndarray:
    """Real training inputs for the int8 ranges, spread over the set."""
    index = np.linspace(0, len(data.x_train) - 1, min(CALIBRATION, len(data.x_train))).astype(int)
    return data.inputs(data.x_train[index])


def _write_tensor(path: Path, values: np.ndarray) -> None:
    codec.write_bytes(path, np.ascontiguousarray(values, "<f4").tobytes())
