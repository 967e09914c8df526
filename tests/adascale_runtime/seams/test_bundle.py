from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle
from adascale_runtime.seams.bundle import Bundle


def test_a_bundle_says_what_its_branches_are(built: Bundle) -> None:
    branches = {b.recipe: b for b in built.manifest.branches}
    assert len(branches) == 8
    full, small = branches["full"], branches["width(0.25)+exit(1)+int8"]
    assert small.cost.macs < full.cost.macs / 10 and small.size_bytes < full.size_bytes / 10
    assert (full.exit, small.exit) == (3, 1)
    assert full.verification.agreement == 1.0 and full.verification.samples == 360
    assert full.verification.max_abs_difference < 1e-3 < full.verification.output_range
    assert small.input.dtype == "int8" and small.input.scale == pytest.approx(1 / 255, rel=0.01)
    assert built.manifest.preprocessing["kind"] == "image"


def test_branches_that_share_weights_share_a_file(built: Bundle) -> None:
    by_id = {b.id: b for b in built.manifest.branches}
    whole, early = by_id["width0.25-int8"], by_id["width0.25-exit1-int8"]
    assert whole.file == early.file and whole.signature != early.signature
    assert built.path(whole.file).stat().st_size < whole.size_bytes + early.size_bytes


def test_expected_outputs_are_what_litert_computes(built: Bundle) -> None:
    from adascale_runtime.engines.delegates import open_branch
    from profiling.measure import samples

    inputs = samples(built)
    assert len(inputs) == built.manifest.samples.count == len(built.manifest.samples.labels)
    for branch in built.manifest.branches:
        run = open_branch(built, branch)
        expected = np.fromfile(built.path(branch.expected), "<f4").reshape(len(inputs), -1)
        actual = np.concatenate([run(x[None]) for x in inputs])
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_the_manifest_survives_a_round_trip(built: Bundle) -> None:
    data = json.loads(codec.dump(built.manifest))
    assert codec.from_json(bundle.Manifest, data, "m") == built.manifest


def test_a_zip_opens_like_a_folder(built: Bundle, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "b"), "zip", built.root)
    assert bundle.load(archive).manifest == built.manifest
    assert bundle.load(archive).digest == built.digest


def _tflite(root: Path) -> Path:
    return next(root.glob("*.tflite"))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda r: _tflite(r).write_bytes(_tflite(r).read_bytes()[:1000]), "has 1000 bytes instead of"),
        (lambda r: _flip(_tflite(r)), "wrong checksum"),
        (lambda r: _tflite(r).unlink(), "is missing"),
        (lambda r: _edit(r, lambda m: m.update(format="other/1")), "has format 'other/1'"),
        (lambda r: _edit(r, lambda m: m["files"][0].update(sha256="0" * 64)), "wrong checksum"),
        (lambda r: _edit(r, lambda m: m["files"][0].update(path="../x")), "outside the bundle"),
        (lambda r: _edit(r, lambda m: m["branches"][0].pop("cost")), "has no 'cost'"),
        (lambda r: _edit(r, lambda m: m["branches"].clear()), "lists no branch"),
        (lambda r: _edit(r, lambda m: m["branches"][0].update(file="gone.tflite")), "no checksum"),
        (lambda r: (r / "manifest.json").write_text("{"), "is not JSON"),
        (lambda r: (r / "manifest.json").unlink(), "has no manifest.json"),
    ],
)
def test_damage_is_refused_with_one_sentence(copied: Path, damage: object, sentence: str) -> None:
    damage(copied)  # type: ignore[operator]
    with pytest.raises(BadBundle, match=sentence) as caught:
        bundle.load(copied)
    assert "\n" not in str(caught.value)


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _edit(root: Path, change: object) -> None:
    data = json.loads((root / "manifest.json").read_text())
    change(data)  # type: ignore[operator]
    (root / "manifest.json").write_text(json.dumps(data))


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", Path(__file__)):
        with pytest.raises(BadBundle, match="is not a bundle"):
            bundle.load(path)


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "b"
    with pytest.raises(KeyboardInterrupt), bundle.whole_folder(target) as folder:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with bundle.whole_folder(target) as folder:
        (folder / "manifest.json").write_text("{}")
    assert [p.name for p in target.iterdir()] == ["manifest.json"]


def test_other_folders_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    with pytest.raises(BadInput, match="holds other files"), bundle.whole_folder(tmp_path):
        pass
    with pytest.raises(BadInput, match="is a file"):
        bundle.check_target(tmp_path / "precious")
    assert (tmp_path / "precious").read_text() == "x"


def test_an_unknown_branch_lists_the_known_ones(built: Bundle) -> None:
    with pytest.raises(BadInput, match=r"no branch 'x'; it has full, float16"):
        built.manifest.branch("x")
