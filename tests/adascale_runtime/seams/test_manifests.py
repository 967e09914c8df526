"""Bundles whose manifest lies, and bundles as .zip files: one sentence, and never another bundle's files."""

from __future__ import annotations

import json
import os
import shutil
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adascale_runtime.errors import BadBundle, BadInput
from adascale_runtime.files import archives, disk
from adascale_runtime.seams import bundle
from tests.fixtures.plain_bundle import write_bundle

Change = Callable[[dict[str, Any]], object]


def branch(**values: Any) -> Change:
    return lambda m: m["branches"][0].update(values)


def inside(name: str, **values: Any) -> Change:
    return lambda m: m["branches"][0][name].update(values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (branch(precision="float8"), "precision 'float8'"),
        (branch(precision="[/x]\x1b" * 1000), r"precision '\[/x\]\\x1b"),
        (branch(exit=0), "exit below 1"),
        (branch(size_bytes=-1), "negative size"),
        (branch(id=" "), "without a name"),
        (lambda m: m["branches"].append(m["branches"][0]), "twice"),
        (inside("accuracy", value=1.5), "not between 0 and 1"),
        (inside("accuracy", value=10**400), "64 bits"),
        (inside("verification", agreement=-0.1), "not between 0 and 1"),
        (inside("input", shape=[]), "shape"),
        (inside("input", shape=[1, 0]), "shape"),
        (inside("input", shape=[1, -4]), "shape"),
        (inside("input", shape=[2, 24, 24, 1]), "shape"),
        (inside("input", shape=[1, 1 << 62, 1 << 62]), "shape"),
        (inside("input", shape=[1] * 100_000), "shape"),
        (inside("input", shape=[1, 25]), "bytes"),
        (inside("input", dtype="float3"), "type 'float3'"),
        (inside("input", dtype="object"), "type 'object'"),
        (inside("input", dtype="int8", scale=0.0, zero_point=0), "scale"),
        (inside("input", dtype="int8", scale=0.5), "zero point None"),
        (inside("input", dtype="int8", scale=0.5, zero_point=300), "zero point 300"),
        (inside("cost", macs=-1), "negative cost"),
        (inside("cost", kernels={"reuse": {"x": 1.0}}), "distance of reuse"),
        (inside("cost", kernels={"reuse": {"0": 1.0}}), "distance of reuse"),
        (lambda m: m["samples"].update(count=0), "samples"),
        (lambda m: m["samples"].update(count=1 << 60), "samples"),
        (lambda m: m["samples"].update(labels=[7]), "classes"),
        (lambda m: m["samples"].update(labels=[-1]), "classes"),
        (lambda m: m["samples"].update(labels=[]), "labels"),
        (lambda m: m.update(labels=[]), "classes"),
        (lambda m: m["samples"].update(file="expected.bin"), "bytes"),
        (lambda m: m["files"].append(m["files"][0]), "twice"),
        (lambda m: m["files"].append({"path": "a\0b", "sha256": "", "size_bytes": 1}), "outside"),
        (lambda m: m["files"].append({"path": "x" * 5000, "sha256": "", "size_bytes": 1}), "cannot be read"),
        (lambda m: m["files"].append({"path": "C:\\x", "sha256": "", "size_bytes": 1}), "outside"),
        (lambda m: m.update(format="\x1b" * 300_000), "format"),
        (lambda m: m.update(preprocessing=[]), "an object"),
    ],
)
def test_a_manifest_that_lies_is_one_sentence(change: Change, words: str, tmp_path: Path) -> None:
    root = write_bundle(tmp_path / "b").root
    assert bundle.load(root).manifest.branches
    data = json.loads((root / "manifest.json").read_text())
    change(data)
    (root / "manifest.json").write_text(json.dumps(data))
    with pytest.raises(BadBundle, match=words) as caught:
        bundle.load(root)
    assert len(str(caught.value)) < 1000


def packed(root: Path, archive: Path) -> Path:
    made = shutil.make_archive(str(archive.with_name("packing")), "zip", root)
    Path(made).replace(archive)
    return archive


def test_another_zip_of_the_same_name_is_unpacked_anew(tmp_path: Path) -> None:
    """Whatever its time: ``cp -p`` brings an older one."""
    archive = tmp_path / "b.zip"
    for name in ("first", "second", "first"):
        root = write_bundle(tmp_path / name / "b", name=name).root if not (tmp_path / name).exists() else None
        packed(root or tmp_path / name / "b", archive)
        os.utime(archive, (1e9, 1e9))
        assert bundle.load(archive).manifest.name == name


def test_a_zip_is_unpacked_once(tmp_path: Path) -> None:
    archive = packed(write_bundle(tmp_path / "b").root, tmp_path / "b.zip")
    opened = bundle.load(archive)
    (opened.root / "mark").write_text("x")
    assert bundle.load(archive) == opened and (opened.root / "mark").exists()
    archive.touch()
    assert bundle.load(archive) == opened and (opened.root / "mark").exists()


def test_an_unpacked_folder_that_was_damaged_is_unpacked_anew(tmp_path: Path) -> None:
    archive = packed(write_bundle(tmp_path / "b").root, tmp_path / "b.zip")
    opened = bundle.load(archive)
    for damage in (lambda p: p.unlink(), lambda p: p.write_bytes(b"x")):
        damage(opened.root / "samples.bin")
        assert bundle.load(archive) == opened
    (opened.root / "manifest.json").unlink()  # then it may be anybody's
    with pytest.raises(BadInput, match="holds other files"):
        bundle.load(archive)


def test_a_failed_zip_blocks_nothing(tmp_path: Path) -> None:
    archive = tmp_path / "b.zip"
    root = write_bundle(tmp_path / "b").root
    whole = packed(root, tmp_path / "whole.zip").read_bytes()
    for broken in ("no manifest", "cut", "other checksum", "foreign"):
        other = Path(shutil.copytree(root, tmp_path / broken))
        if broken == "no manifest":
            (other / "manifest.json").unlink()
        elif broken == "other checksum":
            (other / "samples.bin").write_bytes(b"x")
        packed(other, archive)
        if broken == "cut":
            archive.write_bytes(whole[: len(whole) // 2] + whole[len(whole) // 2 + 100 :])
        if broken == "foreign":
            archive.write_text("no zip at all")
        for _ in range(2):
            with pytest.raises(BadInput):
                bundle.load(archive)
        archive.write_bytes(whole)
        assert bundle.load(archive).manifest.name == "plain"
    assert not [p.name for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    archive = tmp_path / "b.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", "{}")
        file.writestr("x", bytes(50_000_000))
    with archives.limit(1_000_000), pytest.raises(BadInput, match="--max-gb"):
        bundle.load(archive)
    assert [p.name for p in tmp_path.iterdir()] == ["b.zip"]


def test_a_zip_that_leads_outside_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "in" / "b.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("manifest.json", "{}")
        file.writestr("../../escaped", "x")
    with pytest.raises(BadInput, match="outside"):
        bundle.load(archive)
    assert not (tmp_path / "escaped").exists()


def test_two_commands_on_one_new_zip(tmp_path: Path) -> None:
    """Both open it, or the later one says who is at it."""
    archive = packed(write_bundle(tmp_path / "b").root, tmp_path / "b.zip")
    found: list[Any] = []

    def open_it() -> None:
        try:
            found.append(bundle.load(archive).manifest.name)
        except disk.Busy as error:
            found.append(str(error))

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(text == "plain" or "is being unpacked by process" in text for text in found) and "plain" in found
    assert bundle.load(archive).manifest.name == "plain"


def test_samples_without_a_file_behind_them_are_not_run(tmp_path: Path) -> None:
    from profiling import measure

    opened = write_bundle(tmp_path / "b")
    assert measure.samples(opened).shape == (1, *np.array(opened.manifest.branches[0].input.shape[1:]))
