"""The report: sorting of inputs, sections, escaping, the Pareto front, thinning."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import events, records
from adascale_runtime.seams import predictors as predicting
from adascale_runtime.seams.bundle import FORMAT as BUNDLE_FORMAT
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.events import Event, Header
from adascale_runtime.seams.manifest import (
    Accuracy,
    Branch,
    Cost,
    FileEntry,
    Manifest,
    Samples,
    TensorSpec,
    Verification,
)
from adascale_runtime.seams.predictors import Predictor, Predictors
from adascale_runtime.seams.recipe import parse
from adascale_runtime.seams.records import Agreement, Context, Delegation, Energy, Measurement
from profiling import plots, report
from tests.fixtures.plain_bundle import write_bundle

RECIPES = (
    ("full", 3, "float32", 8.4e6, 0.984), ("float16", 3, "float16", 8.4e6, 0.983),
    ("dynamic", 3, "dynamic", 8.4e6, 0.981), ("int8", 3, "int8", 8.4e6, 0.979),
    ("width(0.5)", 3, "float32", 2.3e6, 0.968), ("width(0.5)+int8", 3, "int8", 2.3e6, 0.962),
    ("depth(2)+exit(2)", 2, "float32", 4.1e6, 0.955), ("exit(2)+int8", 2, "int8", 4.6e6, 0.957),
    ("exit(1)+dynamic", 1, "dynamic", 1.6e6, 0.902), ("width(0.25)+exit(1)+int8", 1, "int8", 0.24e6, 0.871),
)  # fmt: skip
SPEED = {"float32": 1.0, "float16": 1.02, "dynamic": 0.62, "int8": 0.41}
DEVICE = {"name": "Pixel 7", "soc": "Tensor G2", "cores": 8, "abi": "arm64-v8a", "android": "14"}


def make_manifest(extra: tuple[str, ...] = ()) -> Manifest:
    spec = TensorSpec("x", (1, 28, 28, 1), "float32")
    rows = (*RECIPES, *((r, 3, "float32", 8.4e6, 0.984) for r in extra))
    branches = tuple(
        Branch(
            id=f"b{i}" if r in extra else parse(r).id, recipe=r, exit=e,
            precision=p, file="m.tflite", signature=f"s{i}", size_bytes=int(macs / 40 * (1 if p == "int8" else 4)),
            input=spec, output=TensorSpec("y", (1, 10), "float32"), cost=make_cost(macs),
            accuracy=Accuracy("top-1", acc, 360, "test"),
            verification=Verification(64, 1.0 if p == "float32" else 0.984, 0.031, 24.2), expected="e.bin",
        )
        for i, (r, e, p, macs, acc) in enumerate(rows)
    )  # fmt: skip
    files = tuple(FileEntry(n, n[0] * 64, 10) for n in ("m.tflite", "e.bin", "samples.bin"))
    return Manifest(
        BUNDLE_FORMAT, "digits-resnet", "image", "resnet", tuple("0123456789"), {}, branches, files,
        Samples("samples.bin", 8, (1,) * 8), "2025-03-01T10:00:00Z", {"tensorflow": "2.19.0", "python": "3.11.2"},
    )  # fmt: skip


def make_cost(macs: float) -> Cost:
    return Cost(int(macs), int(macs / 40), int(macs / 10), int(macs / 12), int(macs / 30), 24)


def idle_ms(branch: Branch) -> float:
    return 0.12 + branch.cost.macs / 1e6 * 0.9 * SPEED[branch.precision]


def make_measurements(manifest: Manifest, runs: int = 60) -> list[Measurement]:
    rng = np.random.default_rng(7)
    made = []
    for branch in manifest.branches:
        for delegate in ("cpu", "gpu"):
            gpu = delegate == "gpu"
            base = idle_ms(branch) * (0.45 if gpu else 1) + (0.9 if gpu else 0)
            samples = base * np.exp(rng.normal(0, 0.05, runs)) + rng.exponential(0.02 * base, runs)
            samples[:: runs // 4 + 1] *= 2.5
            made.append(Measurement(
                records.FORMAT, Bundle(Path(), manifest).digest, branch.id, branch.recipe, branch.precision, delegate,
                1, DEVICE, branch.cost, (base * 3, base * 1.2), tuple(map(float, samples)), 5, 11.8,
                None if gpu else 3.4 + branch.size_bytes / 1e6,
                "the GPU's memory is not a process's own" if gpu else None,
                Energy(*((None, "none", "this device has no meter") if gpu else (base * 2.1, "estimated:model"))),
                Delegation(24, 20, 2) if gpu else None, None if gpu else "XNNPACK does not report it",
                Agreement(8, 1.0, 0.004),
                Context(1.0, 0.04, 1, 8, 1803.0, 3120.0, 0.82, False, 31.0),
                Context(3.0, 0.07, 2, 8, 1803.0, 3101.0, 0.82, False, 33.0),
                "2025-03-02T09:00:00Z", {"litert": "2.1.0"},
            ))  # fmt: skip
    return made


def make_trace(manifest: Manifest, count: int = 3000, budget: float = 6.0) -> tuple[Header, list[Event]]:
    rng = np.random.default_rng(3)
    digest = Bundle(Path(), manifest).digest
    header = Header(events.FORMAT, digest, {"latency_ms": budget}, "cpu", 1, "2025-03-02T10:00:00Z")
    base = {b.id: idle_ms(b) for b in manifest.branches}
    log, time, last, slowdown = [], 0.0, "", 1.0
    for i in range(count):
        phase = ("idle", "loaded", "idle again")[3 * i // count]
        busy, rare = phase == "loaded", rng.random() < 0.01
        true = (2.6 if busy else 1.0) * float(np.exp(rng.normal(0, 0.08))) * (3 if rare else 1)
        fitting = [b for b in manifest.branches if base[b.id] * slowdown < 0.85 * budget]
        best = max(fitting or manifest.branches[-1:], key=lambda b: b.accuracy.value)
        latency = base[best.id] * true
        load = 0.75 + 0.1 * rng.random() if busy else 0.05 * rng.random()
        event = Event(
            time_s=time, ended_s=time + latency / 1e3, branch=best.id, reason="most accurate that fits",
            switched=best.id != last, decide_ms=0.01, switch_ms=0.02, latency_ms=latency, base_ms=base[best.id],
            slowdown=slowdown, kept=latency <= budget, correct=bool(rng.random() < best.accuracy.value), phase=phase,
            context=Context(time, load) if i % 10 == 0 else None,
        )  # fmt: skip
        log.append(event)
        slowdown += 0.1 * (true - slowdown)
        last, time = best.id, time + 0.005
    return header, log


def make_predictors(error: float | None = 0.083) -> Predictors:
    def one(quantity: str, delegate: str, how: str, error: float | None) -> Predictor:
        weights = {"one": 0.13, "macs_float_m": 0.93, "macs_hybrid_m": 0.55, "macs_integer_m": 0.35}
        return Predictor(quantity, "Pixel 7", delegate, 1, how, weights, {}, 10, error)

    made = one("latency_ms", "cpu", "fitted", error), one("energy_mj", "cpu", "estimated:power", None)
    return Predictors(predicting.FORMAT, made, "2025-03-02T11:00:00Z", {"scikit-learn": "1.5.0"})


def page(tmp_path: Path, *args: Any, title: str = "A report") -> str:
    report.write(*(tmp_path / "r.html", *args, title))
    return (tmp_path / "r.html").read_text(encoding="utf-8")


def whole_page(tmp_path: Path) -> str:
    manifest = make_manifest()
    return page(tmp_path, manifest, make_measurements(manifest), [make_trace(manifest)], make_predictors())


def sections(html: str) -> list[str]:
    return re.findall(r'<section id="([a-z]+)"', html)


def test_all_inputs_give_all_sections_and_figures(tmp_path: Path) -> None:
    html = whole_page(tmp_path)
    expected = ["branches", "tradeoff", "latencies", "measurements", "delegates", "timelines", "predictions"]
    assert sections(html) == [*expected, "provenance"]
    figures = ["tradeoff-0", "latencies-0", "delegates-0", "timeline-0", "predictions-0"]
    assert re.findall(r'<figure id="([a-z0-9-]+)"', html) == figures
    assert html.count("<figcaption>") == html.count('role="img" aria-label="') == html.count("<svg ") == 5
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_what_is_absent_is_left_out(tmp_path: Path) -> None:
    manifest = make_manifest()
    assert sections(page(tmp_path, None, [], [], None)) == ["provenance"]
    assert sections(page(tmp_path, manifest, [], [], None)) == ["branches", "provenance"]
    measured = make_measurements(manifest)
    assert sections(page(tmp_path, None, measured, [], None)) == [
        "latencies", "measurements", "delegates", "provenance",
    ]  # fmt: skip
    empty = [dataclasses.replace(measured[0], latency_ms=())]
    assert sections(page(tmp_path, manifest, empty, [], None)) == ["branches", "measurements", "provenance"]
    silent: tuple[Header, list[Event]] = make_trace(manifest)[0], []
    assert sections(page(tmp_path, None, [], [silent], make_predictors())) == ["predictions", "provenance"]


def test_absent_values_say_why_and_estimates_are_named(tmp_path: Path) -> None:
    html = whole_page(tmp_path)
    assert 'title="this device has no meter"' in html
    assert 'title="the GPU&#39;s memory is not a process&#39;s own"' in html
    assert 'title="XNNPACK does not report it"' in html
    assert "estimate (model)" in html and "≈ " in html
    assert '<span class="est">estimate</span>' in html
    assert "nothing was held out" in html and "8.3 %" in html
    assert "partly" in html and "20/24 nodes, 2&nbsp;parts" in html


def test_losses_stand_out(tmp_path: Path) -> None:
    manifest = make_manifest()
    bad = dataclasses.replace(manifest.branches[3], training={"keras_accuracy": 0.999, "samples": 9})
    given = Accuracy("top-1", 0.991, 360, "test")
    assert 'class="warn"' not in page(tmp_path, manifest, [], [], None)
    manifest = dataclasses.replace(
        manifest, branches=(*manifest.branches[:3], bad), given=given, max_loss=1.0, left_out={"qat": "it fell <far>"}
    )
    html = page(tmp_path, manifest, [], [], None)
    assert '<small class="est">2.0 points lost as a file</small>' in html
    assert "Branch &#39;int8&#39; loses 2.0 points of accuracy as a file" in html
    assert "Branch &#39;qat&#39; is left out: it fell &lt;far&gt;." in html
    assert "0.7 points worse than the model as it was given" in html
    assert "Model as given" in html and "99.1 %" in html


def test_headline_numbers(tmp_path: Path) -> None:
    manifest = make_manifest()
    measured = [m for m in make_measurements(manifest) if m.delegate == "cpu"]
    fixed = [dataclasses.replace(m, latency_ms=(8.0,) if m.recipe == "full" else (2.0,)) for m in measured]
    header, log = make_trace(manifest)
    half = [dataclasses.replace(e, kept=i % 2 == 0, phase="idle") for i, e in enumerate(log)]
    html = page(tmp_path, manifest, fixed, [(header, half)], None)
    cards = re.findall(r'<div class="card"><h2>([^<]+)</h2><p>([^<]+)</p>', html)
    assert cards == [
        ("Branches", "10"), ("Fastest against full", "4.0×"), ("Best accuracy", "98.4 %"),
        ("Smallest", "6.0 kB"), ("Budget kept", "50 %"),
    ]  # fmt: skip
    without = [m for m in fixed if m.recipe != "full"]
    assert "the branch &#39;full&#39; was not measured" in page(tmp_path, manifest, without, [], None)


def test_measurements_of_another_bundle_are_not_mixed_with_this_one(tmp_path: Path) -> None:
    manifest = make_manifest()
    foreign = [dataclasses.replace(m, bundle="0" * 12) for m in make_measurements(manifest)]
    html = page(tmp_path, manifest, foreign, [], None)
    assert "tradeoff" not in sections(html)
    assert "20 of 20 measurements are of another bundle" in html


def test_names_are_escaped_everywhere(tmp_path: Path) -> None:
    evil = "<script>alert('$x_1$')</script>"
    manifest = make_manifest((evil,))
    header, log = make_trace(manifest, 50)
    log = [dataclasses.replace(e, branch=evil, phase=evil) for e in log]
    measured = [dataclasses.replace(m, device={**DEVICE, "name": evil}) for m in make_measurements(manifest)]
    html = page(tmp_path, manifest, measured, [(header, log)], make_predictors(), title=evil)
    assert "<script" not in html
    assert html.count("&lt;script&gt;") > 6
    assert "$x_1$" in html


def test_the_page_needs_no_network_and_stays_small(tmp_path: Path) -> None:
    manifest = make_manifest()
    measured = make_measurements(manifest, runs=2000)
    html = page(tmp_path, manifest, measured, [make_trace(manifest, 20_000)] * 3, make_predictors())
    assert not re.search(r"""(?:src|href|url)\s*[=(]\s*["']?\s*(?:https?:)?//""", html)
    assert "@import" not in html
    assert len(html.encode()) < 3_000_000


def test_figures_take_their_ink_from_the_page(tmp_path: Path) -> None:
    html = whole_page(tmp_path)
    assert not any(stand_in in html for stand_in in plots.CSS)
    assert "currentColor" in html and "var(--line)" in html


def test_single_values_can_be_drawn(tmp_path: Path) -> None:
    manifest = make_manifest()
    one = [dataclasses.replace(make_measurements(manifest)[0], latency_ms=(1.5,))]
    header, log = make_trace(manifest, 1)
    html = page(tmp_path, manifest, one, [(dataclasses.replace(header, budget={}), log)], make_predictors(None))
    assert html.count("<figure ") == 4


def test_gather_sorts_by_content(tmp_path: Path) -> None:
    manifest = make_manifest()
    measured, (header, log), fitted = make_measurements(manifest), make_trace(manifest, 20), make_predictors()
    paths = [tmp_path / n for n in ("a.jsonl", "b.jsonl", "c.json", "d.jsonl")]
    codec.write_text(paths[0], "".join(map(codec.dump_line, measured[:2])))
    codec.write_text(paths[1], "".join(map(codec.dump_line, [header, *log])))
    codec.write_text(paths[2], codec.dump(fitted))
    codec.write_text(paths[3], "".join(map(codec.dump_line, measured[1:])))
    inputs = report.gather(paths)
    assert inputs == report.Inputs(None, measured, [(header, log)], fitted)


@pytest.mark.parametrize("zipped", [False, True])
def test_gather_opens_a_bundle(tmp_path: Path, zipped: bool) -> None:
    import shutil

    made = write_bundle(tmp_path / "bundle")
    root, manifest = made.root, made.manifest
    path = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", root)) if zipped else root
    assert report.gather([path]).manifest == manifest
    assert report.gather([root / "manifest.json"]).manifest == manifest
    with pytest.raises(BadInput, match="one bundle, but 2 bundles"):
        report.gather([root, path])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.json", b'{"format": "else/1"}'), ("x.json", b"[1, 2]"), ("x.jsonl", b""), ("x.txt", b"hello\n"),
        ("x.png", b"\x89PNG\r\n\x1a\n\xff\xfe"), ("x.jsonl", b'{"format": "adascale-measurement/1"}\n'),
    ],
)  # fmt: skip
def test_gather_refuses_anything_else_in_one_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as caught:
        report.gather([tmp_path / name])
    message = str(caught.value)
    assert name in message and message.endswith(".") and "\n" not in message


def test_gather_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        report.gather([tmp_path / "no.jsonl"])
    with pytest.raises(BadBundle, match="not a bundle"):
        report.gather([tmp_path])


def dominates(p: tuple[float, float], q: tuple[float, float]) -> bool:
    return p[0] <= q[0] and p[1] >= q[1] and p != q


coordinates = st.one_of(st.integers(0, 6).map(float), st.floats(0, 10))


@given(st.lists(st.tuples(coordinates, coordinates)))
def test_pareto_front_is_exactly_the_points_that_none_dominates(points: list[tuple[float, float]]) -> None:
    front = plots.pareto_front(points)
    assert set(front) == {i for i, q in enumerate(points) if not any(dominates(p, q) for p in points)}
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_pareto_front_leaves_unknown_values_out() -> None:
    assert plots.pareto_front([(float("nan"), 1.0), (1.0, 0.5), (2.0, float("nan"))]) == [1]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(2, 50))
def test_thinning_keeps_order_and_extremes(values: list[float], limit: int) -> None:
    kept = plots.thin(values, limit)
    assert len(kept) <= limit and kept == sorted(set(kept))
    assert {min(values), max(values)} <= {values[i] for i in kept}


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.integers(1, 100))
def test_rolling_mean_stays_between_the_extremes(values: list[float], window: int) -> None:
    mean = plots.rolling_mean(values, window)
    assert len(mean) == len(values)
    assert min(values) - 1e-9 <= mean.min() and mean.max() <= max(values) + 1e-9
