"""Do delegates take what ``build --for`` promises? Known networks, built for a GPU and for an NPU, and run on them.

Each network is trained for a few seconds on made-up examples, and built once for each target, as ``adascale build
--model M.keras --for gpu`` does. Then a process of its own runs every branch on the target, and holds what the target
took against the manifest, and the outputs against the CPU's. Writes ``benchmarks/results/targets.json``. A killed run
goes on where it was.

A network of fresh weights would tell little of outputs: of MobileNetV2's 8-bit branches, one step in one of a thousand
inputs moves them by 7 to 17 % of their range.

The GPU is the one that LiteRT finds; a software one does where ``VK_DRIVER_FILES`` names its driver. The NPU needs
OpenVINO (pip install 'adascale-tf[npu]'), and is its CPU device where there is none, in float32: in bfloat16, its
default where the processor has it, float branches are off by up to a tenth. What is not there is not measured.

    python benchmarks/targets.py
    python benchmarks/targets.py --models gru,mobilenet-v2 --targets gpu --out found.json
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import console
import evidence
import numpy as np
from parts import Parts

from adascale_runtime.engines import accelerators, delegates
from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.seams import bundle
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch

#: What its figures are of; a change of it makes them stale.
MEASURES = (
    "converters/delegates",
    "converters/convert.py",
    "converters/lowering.py",
    "converters/slices.py",
    "adascale_tf/verbs/rehearse.py",
    "adascale_tf/verbs/targets.py",
    "adascale_runtime/engines/accelerators.py",
)
RESULTS = Path(__file__).parent / "results" / "targets.json"
PARTS = evidence.ROOT / "build" / "targets"
TARGETS = ("gpu", "npu")
#: The networks; the last is a smoke run's.
MODELS = ("gru", "mobilenet-v2", "mobilenet-v3-small", "efficientnet-b0", "resnet50", "small")
CLASSES, EXAMPLES, SIDE, STEPS = 4, 40, 64, 16
#: Examples and epochs of the training before.
TRAINED, EPOCHS = 160, 4
#: How far outputs may be from the CPU's, as a share of their range. GPUs compute in 16-bit floats (11 bits of
#: mantissa), and what rounds adds up over a hundred operators.
TOLERANCE = {"gpu": 0.02, "npu": 0.02}
#: Where a branch's own rounding to 8 bits takes it further from the float network: how many times as far. Two results
#: that are each this far from the exact one are up to twice as far from each other.
AMPLIFIED = 2.0
#: Leaves OpenVINO's CPU device no bfloat16. LiteRT's options do not: its dispatch library imports what the plugin
#: compiled without them.
IN_FLOAT32 = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI"}
#: Seconds for all branches of a bundle on a target; a software GPU compiles each operator.
LIMIT_S = 900.0


@dataclass(frozen=True)
class Found:
    """What became of one branch on its target."""

    branch: str
    precision: str
    #: What the manifest says, and whether that is all of it with nothing known to be wrong.
    promised: str
    sound: bool
    #: ``fully``, ``partly``, ``not``, or ``failed``.
    verdict: str
    #: Why it is not fully, or what went wrong.
    reason: str
    #: The largest difference of an output from the CPU's, as a share of the range of the CPU's; None if it did not run.
    gap: float | None
    #: The same between the CPU and the float network: what the branch's own rounding amounts to.
    own_gap: float
    #: The share of samples with the class that is the CPU's.
    agreement: float | None

    def right(self, target: str) -> bool:
        """Whether its outputs are the CPU's, as far as rounding allows."""
        return self.gap is not None and self.gap <= max(TOLERANCE[target], AMPLIFIED * self.own_gap)


def model(name: str) -> Any:
    """A Keras model of fresh weights."""
    import keras

    if name == "gru":
        inputs = keras.Input((STEPS, 12))
        return keras.Model(inputs, keras.layers.Dense(CLASSES)(keras.layers.GRU(32)(inputs)), name="gru")
    if name == "small":
        inputs = keras.Input((16, 16, 3))
        x = keras.layers.Conv2D(8, 3, activation="relu")(inputs)
        x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(8, 1, strides=2, activation="relu")(x))
        return keras.Model(inputs, keras.layers.Dense(CLASSES)(x), name="small")
    made = {
        "mobilenet-v2": keras.applications.MobileNetV2, "mobilenet-v3-small": keras.applications.MobileNetV3Small,
        "efficientnet-b0": keras.applications.EfficientNetB0, "resnet50": keras.applications.ResNet50,
    }[name]  # fmt: skip
    return made(weights=None, input_shape=(SIDE, SIDE, 3), classes=CLASSES)


def examples(shape: Sequence[int], count: int = EXAMPLES) -> tuple[np.ndarray, np.ndarray]:
    """Examples of a shape: noise around a pattern for each class."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % CLASSES
    x = rng.normal(size=(CLASSES, *shape))[labels] + 0.5 * rng.normal(size=(count, *shape))
    if len(shape) == 3:
        return np.clip(128 + 50 * x, 0, 255).astype(np.uint8), labels
    return x.astype(np.float32), labels


def trained(network: Any) -> Any:
    """A network after a short training, whose normalisations then have the statistics of these examples.

    A few steps leave their moving averages half way, where activations shrink from layer to layer.
    """
    import keras

    x, labels = examples(network.input_shape[1:], TRAINED)
    x = x.astype(np.float32)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=network.layers[-1].activation.__name__ != "softmax")
    network.compile(keras.optimizers.Adam(1e-3), loss)
    network.fit(x, labels, batch_size=16, epochs=EPOCHS, verbose=0)
    layers = [layer for layer in network.layers if hasattr(layer, "moving_variance")]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    if layers:
        network(x[:EXAMPLES], training=True)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum
    return network


def built(name: str, target: str, place: Path) -> dict[str, Any]:
    """Train a network, and build it for a target: its recipes, what was said meanwhile, and why it is refused, else "".

    Raises:
        AdaScaleError: no branch can be written.
    """
    import keras

    from adascale_tf.verbs.build import build
    from adascale_tf.verbs.training import Training
    from converters import process

    said: list[str] = []
    keras.utils.set_random_seed(0)
    network = trained(model(name))
    data = examples(network.input_shape[1:])
    training = Training(epochs=1, pretrain=0, join=0, specialise=0)
    try:
        with console.progress(False) as tick:
            made = build(
                data, place, model=network, training=training, targets=target, tick=tick,
                say=said.append,
            )  # fmt: skip
    except BadInput as error:  # the target takes all of no branch
        return {"recipes": [], "said": said, "refused": str(error)}
    finally:
        process.stop()
    return {"recipes": [branch.recipe for branch in made.bundle.manifest.branches], "said": said, "refused": ""}


def look(opened: Bundle, target: str) -> list[Found]:
    """Run every branch of a bundle on a target, and on the CPU."""
    count = opened.manifest.samples.count
    samples = np.fromfile(opened.path(opened.manifest.samples.file), "<f4")
    inputs = samples.reshape(count, *opened.manifest.branches[0].input.shape)
    delegates.check_delegate(target)
    return [_look(opened, branch, target, inputs) for branch in opened.manifest.branches]


def _look(opened: Bundle, branch: Branch, target: str, inputs: np.ndarray) -> Found:
    known = next(one for one in branch.support if one.delegate == target)
    checked = branch.verification
    promise = (branch.recipe, branch.precision, "; ".join((known.words, *known.warnings)), known.sound)
    own_gap = checked.max_abs_difference / checked.output_range if checked.output_range else 0.0
    try:
        there = delegates.open_branch(opened, branch, target, 1, allow_fallback=True)
        path = str(opened.path(branch.file))
        taken, reason = accelerators.taken(delegates.library(), path, branch.signature, target)
        found = np.concatenate([there(x) for x in inputs])
    except AdaScaleError as error:
        return Found(*promise, "failed", str(error), None, own_gap, None)
    cpu = delegates.open_branch(opened, branch, "cpu")
    wanted = np.concatenate([cpu(x) for x in inputs])
    gap = _apart(found, wanted)
    agreement = float(np.mean(found.argmax(-1) == wanted.argmax(-1)))
    if not np.isfinite(gap):
        return Found(*promise, "failed", "outputs are not finite numbers", None, own_gap, agreement)
    verdict = "partly" if taken is None else taken.verdict
    return Found(*promise, verdict, reason or "", gap, own_gap, agreement)


def _apart(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(found - wanted).max() / (np.ptp(wanted) or 1.0))


def looked(place: Path, target: str) -> list[dict[str, Any]]:
    """:func:`look` in a process of its own, which drivers may end."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, __file__, "--look", str(place), "--targets", target, "--out", str(out)]
        around = {**os.environ, **(IN_FLOAT32 if target == "npu" else {})}
        done = subprocess.run(command, env=around, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        if not out.exists():
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise AdaScaleError(f"{target} ended with code {done.returncode}: {last}")
        found: list[dict[str, Any]] = json.loads(out.read_text())
    return found


def row(parts: Parts, name: str, target: str) -> dict[str, Any]:
    """A line of the table: one network on one target."""
    place = parts.folder / f"{name}-{target}"
    made = parts.take(f"{name}-{target}-built", lambda: built(name, target, place))
    none: dict[str, Any] = {"branches": []}
    seen = (
        none if made["refused"] else parts.take(f"{name}-{target}-looked", lambda: {"branches": looked(place, target)})
    )
    branches = seen["branches"]
    return {"model": name, "target": target, **made, "branches": branches, **summary(branches, target)}


def summary(branches: Sequence[dict[str, Any]], target: str) -> dict[str, Any]:
    """What branches amount to: how many were promised whole, and were taken whole, and were right."""
    found = [Found(**branch) for branch in branches]
    promised = [one for one in found if one.sound]
    taken = [one for one in promised if one.verdict == "fully"]
    gaps = [one.gap for one in taken if one.gap is not None]
    return {
        "count": len(found), "promised": len(promised), "taken": len(taken),
        "right": sum(one.right(target) for one in taken), "worst_gap": max(gaps, default=None),
        "unpromised_taken": sum(one.verdict == "fully" for one in found if not one.sound),
        "contrary": [f"{one.branch}: {one.verdict}, {one.reason}".rstrip(", ") for one in promised
                     if one.verdict != "fully"]
        + [f"{one.branch}: off by {one.gap:.1%} of the range" for one in taken if not one.right(target)],
    }  # fmt: skip


def missing(target: str) -> str:
    """Why a target cannot be measured here; empty if it can. Tried with a file of one operator, in a process."""
    command = [sys.executable, __file__, "--probe", "--targets", target]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
    return last.removeprefix("targets: ")


def probe(target: str) -> None:
    """Run one operator on a target; :class:`AdaScaleError` if there is no such processor."""
    import tensorflow as tf

    delegates.check_delegate(target)
    relu = tf.function(tf.nn.relu, input_signature=[tf.TensorSpec((1, 4), tf.float32)])
    module = tf.Module()
    module.relu = relu
    made = tf.lite.TFLiteConverter.from_concrete_functions([relu.get_concrete_function()], module).convert()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "relu.tflite"
        place.write_bytes(made)
        compiled = accelerators.open_compiled(delegates.library(), str(place), "serving_default", target)
        compiled.run(bytes(compiled.input_bytes))


def main() -> int:
    """Build, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS[:-1]), help="(default: %(default)s)")
    parser.add_argument("--targets", default=",".join(TARGETS), help="(default: %(default)s)")
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    evidence.add_options(parser, RESULTS)
    options = parser.parse_args()
    targets = options.targets.split(",")
    try:
        if options.probe:
            probe(options.targets)
            os._exit(0)
        if options.look:
            found = look(bundle.load(options.look), options.targets)
            options.out.write_text(json.dumps([asdict(one) for one in found]))
            os._exit(0)  # drivers may be gone before LiteRT is
        return _measure(options, ["small"] if options.smoke else options.models.split(","), targets)
    except AdaScaleError as error:
        print(f"targets: {error}", file=sys.stderr)
        return error.exit_code


def _measure(options: argparse.Namespace, models: Sequence[str], targets: Sequence[str]) -> int:
    for names, known in ((models, MODELS), (targets, TARGETS)):
        for name in names:
            if name not in known:
                raise BadInput(f"'{name}' is unknown; choose among {', '.join(known)}.")
    absent = {target: reason for target in targets if (reason := missing(target))}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        settings = {
            "digest": evidence.digest(Path(__file__)),
            "side": SIDE,
            "examples": EXAMPLES,
            "trained": [TRAINED, EPOCHS],
        }
        parts = Parts(Path(folder) / "parts" if options.smoke else PARTS, settings)
        for name in models:
            for target in targets:
                if target not in absent:
                    rows.append(row(parts, name, target))
                    print(f"{name} for {target}: {rows[-1]['contrary'] or 'as promised'}", file=sys.stderr, flush=True)
        evidence.write(
            options, __file__,
            {"side": SIDE, "steps": STEPS, "tolerance": TOLERANCE, "absent": absent, "seconds": parts.seconds,
             "rows": rows},
        )  # fmt: skip
    for target, reason in absent.items():
        print(f"{target} is not measured: {reason}")
    columns = ("network", "for", "branches", "promised", "taken", "right", "worst gap")
    console.table(
        "Built for targets", columns,
        [
            (r["model"], r["target"], r["count"], r["promised"], r["taken"], r["right"],
             "-" if r["worst_gap"] is None else f"{r['worst_gap']:.2%}")
            for r in rows
        ],
    )  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
