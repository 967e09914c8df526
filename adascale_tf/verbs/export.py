"""Exporting a trained network as a bundle: convert, verify, write."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from adascale_runtime.engines import releases, trial
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams import bundle, losses
from adascale_runtime.seams.manifest import Accuracy, Branch, Manifest, Samples, Verification
from adascale_runtime.seams.recipe import Recipe, parse
from adascale_tf.data import Dataset
from adascale_tf.verbs.checks import check_finite

if TYPE_CHECKING:
    from adascale_tf.network.elastic import ElasticNetwork
    from adascale_tf.network.trunk import Trunk
    from adascale_tf.training import Schedule
    from converters.convert import Converted

SAMPLES = 8
CALIBRATION = 100
_PACKAGES = ("tensorflow", "tf-keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy", "adascale-tf")


def write_bundle(
    network: ElasticNetwork, data: Dataset, schedule: Schedule, out: Path, tick: Tick = silent, *,
    given: Accuracy | None = None, max_loss: float = bundle.MAX_LOSS,
    facts: Mapping[Recipe, Mapping[str, Any]] = MappingProxyType({}), targets: Sequence[str] = (),
) -> bundle.Bundle:  # fmt: skip
    """Convert, verify and write every branch of a trained network; all of the bundle appears, or nothing.

    Args:
        network: the trained network; its recipes become branches.
        data: what is verified on (the test split) and calibrated on (some training examples).
        schedule: how the network was trained; it is kept in the manifest, and quantization-aware training follows it.
        out: the bundle's folder, new, empty or a bundle, which is replaced.
        tick: called with "convert and verify" for each branch.
        given: the accuracy of the model that the network was made from.
        max_loss: points of accuracy; a branch whose file loses more than 20, or than this if it is more, is left out,
            with the reason in the manifest.
        facts: more of how some branches were trained, for the manifest.
        targets: the delegates that the branches were chosen for, for the manifest.

    Returns:
        The bundle, as it was read back.

    Raises:
        AdaScaleError: no branch is left, a float32 branch does not compute what its Keras network computes, or a
            weight or an output is not finite.
    """
    check_finite(network)
    with bundle.whole_folder(out) as folder, tempfile.TemporaryDirectory() as scratch:
        positions = np.linspace(0, len(data.x_test) - 1, min(SAMPLES, len(data.x_test))).astype(int)
        samples = data.inputs(data.x_test[positions])
        _write_tensor(folder / "samples" / "inputs.bin", samples)
        branches, left_out = [], {}
        for branch, outputs in _branches(network, data, schedule, folder, Path(scratch), tick):
            reason = losses.refused_loss(branch, max_loss)
            if reason is not None:
                left_out[branch.recipe] = reason
                continue
            _write_tensor(folder / branch.expected, outputs[positions])
            more = facts.get(parse(branch.recipe), {})
            branches.append(replace(branch, training={**branch.training, **more}))
        if not branches:
            named = "; ".join(f"{recipe}: {reason}" for recipe, reason in left_out.items())
            raise AdaScaleError(f"No branch is left to write: {named}. Choose other precisions, such as float16.")
        for file in {p.name for p in folder.glob("*.tflite")} - {b.file for b in branches}:
            (folder / file).unlink()
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
            given=given,
            max_loss=max_loss,
            left_out=left_out,
            targets=tuple(targets),
        )
        codec.write_text(folder / bundle.MANIFEST, codec.dump(manifest))
        read = bundle.load(folder)  # what cannot be read back must not replace what could
    opened = bundle.Bundle(out, read.manifest)
    trial.remember(opened)  # verifying has run every branch
    return opened


def versions() -> dict[str, str]:
    """The versions of the tools that a bundle depends on."""
    found = ((package, releases.release(package)) for package in _PACKAGES)
    return {package: number for package, number in found if number}


def _branches(
    network: ElasticNetwork, data: Dataset, schedule: Schedule, folder: Path, scratch: Path, tick: Tick
) -> Iterator[tuple[Branch, np.ndarray]]:
    """Every branch, its file written into ``folder``, with the file's outputs (N, classes) for the test split."""
    from adascale_tf.training.quantization import train_quantized
    from converters import convert, precisions, verify
    from converters.delegates import support

    groups: dict[tuple[Trunk, str], list[Recipe]] = {}
    for recipe in network.recipes:
        groups.setdefault((network.trunk(recipe), network.plan(recipe).precision), []).append(recipe)
    x_test = data.inputs(data.x_test)
    np.save(scratch / "inputs.npy", x_test)
    examples = calibration(data)
    names = {recipe.id: str(recipe) for recipe in network.recipes}
    done = 0
    for (trunk, precision), recipes in groups.items():
        models = {recipe.id: trunk.network(recipe) for recipe in recipes}
        if precisions.lookup(precision).trained:
            tick("train quantized", 0, len(recipes), str(recipes[0]))
            models = {key: train_quantized(model, data, schedule) for key, model in models.items()}
        converted = convert.begin(models, precision, examples, names)  # while Keras gives its own answers
        expected = {key: model.predict(x_test, batch_size=256, verbose=0) for key, model in models.items()}
        for recipe, one in zip(recipes, converted().values(), strict=True):
            tick("convert and verify", done, len(network.recipes), str(recipe))
            shared = len(recipes) > 1 and one.size_bytes != len(one.model)
            file = f"{(recipes[0] if shared else recipe).id}.tflite"
            (folder / file).write_bytes(one.model)
            branch, keras = entry(network, recipe, one, file, support.names()), expected[recipe.id]
            actual = verify.outputs_apart(folder / file, branch, scratch / "inputs.npy")
            _check_outputs(branch, keras, actual)
            branch = replace(
                branch,
                accuracy=verify.accuracy(actual, data.y_test, "test"),
                verification=verify.compare(keras, actual),
                training={
                    "keras_accuracy": verify.accuracy(keras, data.y_test, "test").value,
                    "samples": len(data.x_train),
                    "schedule": asdict(schedule),
                },
            )
            _check(branch)
            done += 1
            tick("convert and verify", done, len(network.recipes), str(recipe))
            yield branch, actual


def entry(network: ElasticNetwork, recipe: Recipe, one: Converted, file: str, delegates: Iterable[str] = ()) -> Branch:
    """The manifest's entry of a branch before anything is measured of it, with the support of some delegates."""
    from converters.delegates import support

    plan = network.plan(recipe)
    return Branch(
        id=recipe.id,
        recipe=str(recipe),
        exit=plan.exit,
        precision=plan.precision,
        file=file,
        signature=one.signature,
        size_bytes=one.size_bytes,
        input=one.input,
        output=one.output,
        cost=one.cost(),
        accuracy=Accuracy("top-1", 0.0, 0, "test"),
        verification=Verification(0, 0.0, 0.0, 0.0),
        expected=f"samples/{recipe.id}.bin",
        support=support.several(one.model, one.signature, delegates),
        min_runtime=support.min_runtime(one.model),
    )


def _check_outputs(branch: Branch, keras: np.ndarray, actual: np.ndarray) -> None:
    for outputs, whose in ((keras, "Keras network"), (actual, "file")):
        if not np.isfinite(outputs).all():
            raise AdaScaleError(
                f"Branch '{branch.recipe}' gives outputs that are not finite (its {whose}, on the test split), so no "
                "bundle is written; leave this recipe out, or look for extreme values in the data."
            )


#: Largest difference of any output that rounding explains in float32, as a share of the outputs' range.
_ROUNDING = 1e-3


def _check(branch: Branch) -> None:
    from converters import precisions

    facts = branch.verification
    if not precisions.lookup(branch.precision).exact or facts.agreement >= 0.99:
        return
    # A network that hardly knows its classes has near ties, which rounding decides: then the outputs say more.
    if not facts.max_abs_difference <= _ROUNDING * facts.output_range:
        raise AdaScaleError(
            f"Branch '{branch.recipe}' does not compute what its Keras network computes (top-1 agrees on "
            f"{facts.agreement:.1%} of {facts.samples} inputs, outputs differ by {facts.max_abs_difference:.3g}), so "
            "no bundle is written."
        )


def calibration(data: Dataset) -> np.ndarray:
    """Real training inputs for the int8 ranges, spread over the set."""
    index = np.linspace(0, len(data.x_train) - 1, min(CALIBRATION, len(data.x_train))).astype(int)
    return data.inputs(data.x_train[index])


def _write_tensor(path: Path, values: np.ndarray) -> None:
    codec.write_bytes(path, np.ascontiguousarray(values, "<f4").tobytes())
