"""Vectors of the seams for the Kotlin runtime: what the Python runtime reads, refuses and computes.

    python -m tests.vectors.seams OUT

writes a folder ``OUT/seams``: two bundles, and JSON files of cases (numbers and texts, JSON, budgets, recipes,
manifests, predictors, traces), each with what Python made of it or the sentence that it was refused with. Values are
drawn by :mod:`random` from fixed seeds.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from adascale_runtime import text
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import budget, bundle, events, losses, predictors, recipe, support
from adascale_runtime.seams.manifest import Accuracy, Branch, Compiled, Cost, Manifest, Verification
from adascale_runtime.seams.pace import KINDS
from adascale_runtime.seams.predictors import Predictor, Predictors
from adascale_runtime.seams.records import Context
from profiling import calibration
from profiling.micro_kernels import Kernel
from tests.fixtures import plain_bundle
from tests.vectors import damage

#: The name of every file in sentences.
WHERE = "FILE"
_KERNELS = (
    Kernel("conv", "float", 12, 8, 16, 3), Kernel("conv", "integer", 12, 8, 16, 3),
    Kernel("depthwise", "float", 12, 8, 0, 3), Kernel("depthwise", "integer", 24, 16, 0, 3),
    Kernel("dense", "float", 1, 64, 32), Kernel("dense", "hybrid", 1, 64, 32),
    Kernel("dense", "integer", 1, 64, 32), Kernel("add", "float", 12, 8), Kernel("mean", "float", 12, 8),
    Kernel("averagepool", "integer", 12, 8, 0, 2), Kernel("separable", "float", 12, 8, 0, 3),
    Kernel("gru", "float", 1, 32),
)  # fmt: skip


def write(target: Path) -> Path:
    """Write all cases into ``target/seams``, which this gives."""
    folder = target / "seams"
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as place:
        plain = plain_bundle.write_bundle(Path(place) / "plain")
        (Path(place) / "kernels").mkdir()
        kernels = calibration.write(_KERNELS, Path(place) / "kernels")
        for name, made in (("plain", plain), ("kernels", kernels)):
            for path in sorted(made.root.rglob("*")):
                if path.is_file():
                    codec.write_bytes(folder / name / path.relative_to(made.root), path.read_bytes())
    cases: dict[str, Any] = {
        "bundles": [_bundle(folder, name) for name in ("plain", "kernels")],
        "numbers": _numbers(Random(1)),
        "texts": _texts(Random(2)),
        "json": _json(Random(3)),
        "budgets": [_told({"text": one}, lambda one=one: budget.parse(one).limits()) for one in _BUDGETS],
        "recipes": [_told({"text": one}, lambda one=one: _recipe(one)) for one in _RECIPES],
        "manifests": _manifests(_rich(plain.manifest), Random(4)),
        **_predictors(kernels.manifest, Random(5)),
        "traces": _traces(Random(6)),
    }
    for name, found in cases.items():
        codec.write_text(folder / f"{name}.json", codec.dump(found))
    return folder


def _told(case: dict[str, Any], compute: Callable[[], Any]) -> dict[str, Any]:
    """A case with its ``result``, or with the ``error`` that refuses it."""
    try:
        return {**case, "result": compute()}
    except BadInput as error:
        return {**case, "error": str(error)}


def _read(content: bytes, compute: Callable[[Path], Any]) -> dict[str, Any]:
    """The case of a file with that content; its name in sentences becomes :data:`WHERE`."""
    with TemporaryDirectory() as place:
        path = Path(place) / "f"
        path.write_bytes(content)
        told = _told({"content": base64.b64encode(content).decode("ascii")}, lambda: compute(path))
        if "error" in told:
            told["error"] = told["error"].replace(str(path), WHERE)
        return told


def _rich(plain: Manifest) -> Manifest:
    """A manifest that has every field."""
    full = plain.branches[0]
    told = (
        support.Support("gpu", 1, 1, 1),
        support.Support("npu", 3, 1, 1, (support.Refusal("GELU", "float32", 2),), ("x",)),
    )
    compiled = (Compiled("intel", "CPU", "samples.bin", 1, 1, 1, "o", Verification(1, 1.0, 0.0, 0.5)),)
    branch = replace(
        full, training={"keras_accuracy": 0.5625, "epochs": 3}, support=told, min_runtime="2.1.0", compiled=compiled
    )
    spec = replace(full.input, dtype="int8", scale=0.05, zero_point=-3)
    second = replace(
        branch, id="width0.5-int8", recipe="width(0.5)+int8", exit=2, precision="int8", input=spec, compiled=()
    )
    return replace(
        plain, branches=(branch, second), given=Accuracy("top-1", 0.75, 64, "test"), max_loss=2.5,
        left_out={"exit(1)": "it loses \u00e9 points"}, targets=("cpu", "gpu"), versions={"tensorflow": "2.19.0"},
    )  # fmt: skip


def _bundle(folder: Path, name: str) -> dict[str, Any]:
    opened = bundle.load(folder / name)
    words = [one.words for branch in opened.manifest.branches for one in branch.support]
    intervals = [branch.accuracy.interval for branch in opened.manifest.branches]
    return {"folder": name, "digest": opened.digest, "words": words, "intervals": intervals}


def _numbers(rng: Random) -> list[dict[str, Any]]:
    values = [0.0, -0.0, 1.0, 0.1, 1e15, 1e16, 123456.5, 999999.5, 1e-4, 1e-5, 5e-324, 2.0**-44, 2.0**63, 1e22, 1e23]
    values += [math.nextafter(2.0**power, side) for power in range(-60, 60, 7) for side in (0.0, math.inf)]
    values += [float(f"{rng.uniform(0, 10):.{rng.randrange(17)}f}e{rng.randrange(-20, 20)}") for _ in range(500)]
    while len(values) < 2000:
        value = struct.unpack("<d", rng.randbytes(8))[0]
        if math.isfinite(value):
            values.append(value)
    bits = [struct.unpack("<q", struct.pack("<d", value))[0] for value in values]
    return [{"bits": str(b), "repr": repr(v), "general": f"{v:g}"} for b, v in zip(bits, values, strict=True)]


def _texts(rng: Random) -> list[dict[str, Any]]:
    letters = "ab \t\n\r'\"\\\x00\x1b\x7f\u0085\u00a0\u00e9\u200b\u202e\u2028\ue000\U0001f600\u4e2d"
    found: list[Any] = ["".join(rng.choices(letters, k=rng.choice((1, 5, 30, 80, 300)))) for _ in range(150)]
    found += [None, True, 3, -0.5, 1e20, [], [1, 24], [1] * 30, {}, {"a": [None, "it's", "both ' and \""]}]
    return [{"value": one, "excerpt": text.excerpt(one)} for one in found]


def _json(rng: Random) -> list[dict[str, Any]]:
    base = {"a": [1, -2.5, 1e3, True, None], "b": {"c": "d\u00e9\U0001f600\n\\", "e": {}}, "f": [], "": [[{"g": 0}]]}
    contents = [json.dumps(base).encode(), json.dumps(base, ensure_ascii=False, indent=2).encode()]
    contents += [b"", b" ", b"\xef\xbb\xbf1", b"-0", b"-0.0", b"01", b"1.", b"+1", b'"\\x"', b'{"a":1,"a":2}', b"[1,]"]
    contents += [b"[" * level + b"]" * level for level in (1, 63, 64, 65, 200)]
    contents += list(damage.texts(contents[0], rng, 400)) + list(damage.texts(contents[1], rng, 400))
    return [_read(one, lambda path: codec.dump_line(codec.read_json(path))) for one in contents]


_BUDGETS = (
    "latency_ms=5", " latency_ms = 5 , min_accuracy=0.9", "memory_mb=1e2,power_mw=.5,lifetime_h=2.,temperature_c=+40",
    "energy_mj=1_000", "energy_mj=1__0", "energy_mj=_1", "latency_ms=\u0665", "latency_ms=5f", "latency_ms=0x10",
    "latency_ms=5d", "latency_ms=1e", "latency_ms=1e5", "latency_ms=1E+05", "latency_ms=nan", "latency_ms=inf",
    "latency_ms=-inf", "latency_ms=++inf", "latency_ms=1e999", "latency_ms=-5", "latency_ms=0", "latency_ms=-0.0",
    "latency_ms=", "latency_ms", "", ",",
    "latency_ms=5,", "latency_ms=5,latency_ms=6", "min_accuracy=90", "min_accuracy=1", "a=1",
    "min_accuracy=1.00001", "latency_ms=5=6", "\u00a0latency_ms\u2003=\u00855", "Latency_ms=5", "latency_ms=1e-400",
    "latency_ms=1e-320", "min_accuracy=123456789",
)  # fmt: skip
_RECIPES = (
    "full", " fu ll ", "width(0.50)+int8", "width(.5)", "width(5.)", "width(00.0)", "width(1.2.3)+exit(2)@block_1",
    "a@b", "a(x:y)", "a(\u0665)", "a()", "", "+", "a+", "a(1)(2)", "A", "1a", "a-b_c9(0.10)@Z.9-_", "a@1", "full+int8",
    "width(0.5) + exit(2) + int8", "a(b", "a)b", "a(1e3)", "a(\n1)",
)  # fmt: skip


def _recipe(written: str) -> dict[str, Any]:
    parsed = recipe.parse(written)
    return {"text": str(parsed), "id": parsed.id, "steps": codec.to_json(parsed)["steps"]}


def _manifests(manifest: Manifest, rng: Random) -> list[dict[str, Any]]:
    data = codec.to_json(manifest)
    contents = [codec.dump(manifest).encode()]
    contents += [damage.written(one) for one in damage.changed(data, rng, 1200)]
    contents += damage.texts(contents[0], rng, 400)
    return [_read(one, _manifest) for one in contents]


def _manifest(path: Path) -> dict[str, Any]:
    read = bundle.read_manifest(path)
    return {"dump": codec.dump(read), "remarks": losses.remarks(read), "lossy": [read.lossy(b) for b in read.branches]}


def _predictors(manifest: Manifest, rng: Random) -> dict[str, list[Any]]:
    branches = [replace(branch, support=_support(rng)) for branch in manifest.branches]
    branches += [replace(branches[0], id="old", precision="qat", cost=Cost(10**6, 9, 4 * 10**4, 2 * 10**5, 10**4, 9))]
    names = sorted({name for b in branches for name in predictors.features(b.cost, b.precision, {"L2": 1}, 1.0)})
    devices = ("Pixel 8, 4 cores 1A2B", "Pixel 8 Pro xyz", "Bench")
    fitted = [
        _predictor(rng, names, (quantity, device, delegate, threads))
        for device in devices for quantity in ("latency_ms", "memory_mb", "energy_mj")
        for delegate in ("cpu", "gpu") for threads in (1, 4)
    ]  # fmt: skip
    file = Predictors(predictors.FORMAT, tuple(fitted), "2026-01-01T00:00:00Z", {"adascale": "0.1"})
    data = codec.to_json(replace(file, predictors=(fitted[0], fitted[-1])))
    contents = [codec.dump(file).encode()]
    contents += [damage.written(one) for one in damage.changed(data, rng, 500)]
    contents += damage.texts(codec.dump(data).encode(), rng, 200)
    return {
        "predictors": [_read(one, lambda path: codec.dump(predictors.load(path))) for one in contents],
        "predictions": [{"branches": branches}, *(_prediction(rng, fitted, branches) for _ in range(1500))],
        "devices": [_choice(file, *wanted) for wanted in _DEVICES],
    }


def _support(rng: Random) -> tuple[support.Support, ...]:
    names = rng.sample(("gpu", "gpu:classic", "npu"), rng.randrange(4))
    return tuple(support.Support(name, 9, 4, rng.randrange(1, 4)) for name in names)


def _predictor(rng: Random, names: list[str], cell: tuple[str, str, str, int]) -> Predictor:
    quantity, device, delegate, threads = cell
    drawn = lambda count: {name: rng.expovariate(1.0) for name in rng.sample(names, count)}  # noqa: E731
    about = {
        "serial": "S-" + device[:3],
        "model": " ".join(device.split(" ")[:2]),
        "soc": "Tensor G3",
        "board": device[-3:],
    }
    return Predictor(
        quantity, device, delegate, threads, "fitted", drawn(12),
        {name: (0.0, rng.choice((0.0, 0.5, 5.0))) for name in rng.sample(names, 9)}, 30, rng.choice((None, 0.1)),
        rng.choice(((), (0.9, 1.25))), rng.choice(({}, {"L1i": 1 << 15, "L1d": 1 << 12, "L2": 1 << 16})),
        drawn(5) if quantity == "energy_mj" else {}, {"load": 0.2, "waiting": 0.9, "clock": 0.7, "memory": 0.1},
        rng.choice(((), (0.8, 1.5))),
        rng.choice(({}, {"cpu_load": 0.125, "cpu_freq_mhz": 2000.0, "memory_free_mb": 900.0})), about,
        {kind: rng.uniform(0.01, 1.0) for kind in KINDS}, rng.choice(((), ("gpu:classic", "gpu"))),
    )  # fmt: skip


def _context(rng: Random) -> Context:
    def maybe(value: Any) -> Any:
        return rng.choice((None, value, value))

    return Context(
        rng.uniform(0, 1e4), maybe(rng.random()), maybe(rng.randrange(20)), maybe(rng.choice((2, 8))),
        maybe(rng.uniform(300, 3000)), maybe(rng.uniform(0, 2000)), maybe(rng.random()), maybe(rng.random() < 0.5),
        maybe(rng.uniform(20, 90)), rng.choice((None, {"battery": "no \u00e9"})), maybe(rng.uniform(300, 3000)),
    )  # fmt: skip


def _prediction(rng: Random, fitted: list[Predictor], branches: list[Branch]) -> dict[str, Any]:
    number, which = rng.randrange(len(fitted)), rng.randrange(len(branches))
    one, branch = fitted[number], branches[which]
    context = rng.choice((None, _context(rng), _context(rng)))
    latency_ms, speed = rng.choice((None, None, rng.uniform(0.1, 9))), rng.choice((1.0, rng.uniform(0.2, 2), 0.0))
    case = {"predictor": number, "branch": which, "context": context, "latency_ms": latency_ms, "speed": speed}
    pieces = one.partitions(branch.support)

    def compute() -> dict[str, Any]:
        given = (branch.cost, branch.precision, context, latency_ms)
        return {
            "partitions": pieces,
            "value": one.predict(*given, speed=speed, partitions=pieces),
            "interval": one.interval(*given, speed=speed, partitions=pieces),
            "features": one.features(branch.cost, branch.precision, pieces),
            "outside": one.outside(branch.cost, branch.precision, pieces),
            "hit_rate": predictors.hit_rate(branch.cost, 1 << 14),
        }

    return _told(case, compute)


_DEVICES: tuple[tuple[str | None, dict[str, str]], ...] = (
    ("bench", {}), ("Pixel 8", {}), ("pixel 8 pro", {}), ("1a2b", {}), ("S-BEN", {}), ("Tensor G3", {}), ("", {}),
    ("x", {}), ("Pixel", {}), (None, {}), (None, {"name": "Bench"}), (None, {"serial": "xyz", "soc": "Tensor G3"}),
    (None, {"model": "8 Pro", "manufacturer": "Pixel"}), (None, {"model": "Pixel 8"}), (None, {"soc": "Tensor G3"}),
    (None, {"board": "2B", "cpu": ""}), (None, {"model": "", "cpu": "nch"}), (None, {"board": "nch"}),
)  # fmt: skip


def _choice(file: Predictors, wanted: str | None, facts: dict[str, str]) -> dict[str, Any]:
    return _told(
        {"wanted": wanted, "facts": facts},
        lambda: list((file.here(facts) if wanted is None else file.of(wanted)).devices),
    )


def _traces(rng: Random) -> list[dict[str, Any]]:
    header = events.Header(
        events.FORMAT, "0123456789ab", {"latency_ms": 5.0, "min_accuracy": 0.9}, "cpu+gpu", 4, "2026-01-01T00:00:00Z",
        {"full": {"id": "full", "accuracy": 0.9}}, {"misses": 0.05, "learning": {"window_s": 10}},
        {"cpu x 4 @ 0": [1.5, 2]}, {"cpu x 4": [1.25, 0.5]},
    )  # fmt: skip
    lines = [codec.dump_line(header)] + [codec.dump_line(_event(rng)) for _ in range(200)]
    contents = [
        "".join(lines).encode(),
        "".join(lines)[:-5].encode(),
        b"",
        b"\n\n",
        (lines[0] + "\n \n" + lines[1]).encode(),
    ]
    for _ in range(400):
        place = rng.choice((0, 1, 2))
        chosen = [lines[0], *rng.sample(lines[1:], 2)]
        chosen[place] = json.dumps(next(damage.changed(json.loads(chosen[place]), rng, 1))) + "\n"
        contents.append("".join(chosen).encode())
    contents += damage.texts("".join(lines[:3]).encode(), rng, 300)
    return [_read(one, _trace) for one in contents]


def _trace(path: Path) -> list[str]:
    header, found = events.read(path)
    return [codec.dump_line(header), *map(codec.dump_line, found)]


def _event(rng: Random) -> events.Event:
    audit = rng.choice((None, events.Audit(rng.choice((None, 300.5)), {"cpu x 4": rng.uniform(0.5, 2)})))
    return events.Event(
        rng.uniform(0, 100), rng.uniform(0, 100), rng.choice(("full", "width0.5")), "it's \u201ccalm\u201d",
        rng.random() < 0.5, rng.expovariate(1e3), rng.expovariate(1e2), rng.expovariate(0.1), rng.expovariate(0.1),
        rng.uniform(1, 3), rng.random() < 0.5, rng.choice((None, True, False)), rng.choice(((), ("a", "b"))),
        rng.choice((None, "idle")),
        rng.choice((None, _context(rng))), rng.choice(((), ("c",))), rng.choice(({}, {"latency_ms": 0.5})), audit,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="a folder, which is made")
    print(write(parser.parse_args().out))


if __name__ == "__main__":
    main()
