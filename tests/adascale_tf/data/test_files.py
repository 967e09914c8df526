from __future__ import annotations

import os
import shutil
import struct
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf import data
from tests.adascale_tf.data.samples import folder, png, wav


def zipped(root: Path) -> Path:
    return Path(shutil.make_archive(str(root), "zip", root))


def both(root: Path) -> list[str]:
    """A folder and its .zip."""
    return [str(root), str(zipped(root))]


def test_what_is_not_used_is_said(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    for name in ("a.heic", "b.HEIC", "c.txt"):
        (root / "train" / "cat" / name).write_bytes(b"x")
    (root / "train" / "cat" / "deeper").mkdir()
    (root / "train" / "cat" / "deeper" / "1.png").write_bytes(png())
    (root / "README.md").write_text("x")
    for name in (".DS_Store", "Thumbs.db"):
        (root / "train" / "cat" / name).write_bytes(b"x")
    for spec in both(root):
        loaded = data.load(spec)
        assert len(loaded.x_train) == 6
        assert loaded.notes == (
            f"{spec}: ignored 3 files of kinds that are not read (2 .heic, 1 .txt), as train/cat/a.heic.",
            f"{spec}: ignored 2 files outside train/<class>/ and test/<class>/, as README.md.",
        )


def test_empty_classes_are_said(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets")
    (root / "train" / "wolf").mkdir()
    (root / "test" / "wolf").mkdir()
    shutil.copytree(root / "train" / "cat", root / "train" / "lynx")
    for spec in both(root):
        loaded = data.load(spec)
        assert loaded.labels == ("cat", "dog", "lynx")
        assert loaded.notes == (
            f"{spec}: test/wolf/ holds no example that can be read.",
            f"{spec}: train/wolf/ holds no example that can be read.",
            f"{spec}: test/ has no example of 'lynx', so nothing measures that class.",
        )


def test_why_there_are_no_examples_is_said(tmp_path: Path) -> None:
    root = folder(tmp_path, suffix=".heic")
    with pytest.raises(
        BadInput, match=r"has no train/<class>/ .*ignored 12 files of kinds that are not read \(12 .heic"
    ):
        data.load(str(root))


def test_suffixes_are_known_in_capitals(tmp_path: Path) -> None:
    root = folder(tmp_path / "pets", suffix=".PNG")
    archive = zipped(root).rename(tmp_path / "PETS.ZIP")
    assert len(data.load(str(archive)).x_train) == 6


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path)
    (root / "train" / "cat" / "9.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(BadInput, match=r"train/cat/9\.png cannot be read \(No such file or directory\); "):
        data.load(str(root))
    with pytest.raises(BadInput, match=r"cannot be read \(File name too long\)"):
        data.load("x" * 5000)
    with pytest.raises(BadInput, match="There is no data at"):
        data.load(str(root / "train" / "cat" / "0.png" / "x"))
    with pytest.raises(BadInput, match="There is no data at"):
        data.load("a\0b")


@pytest.fixture()
def nobody() -> Iterator[Path]:
    """A folder, and no rights of an administrator during the test."""
    with tempfile.TemporaryDirectory() as name:
        if os.getuid() != 0:
            yield Path(name)
            return
        os.chown(name, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_a_file_without_permission_is_named(nobody: Path) -> None:
    root = folder(nobody / "data")
    (root / "train" / "cat" / "0.png").chmod(0)
    (root / "test" / "dog").chmod(0)
    with pytest.raises(BadInput, match=r"/test/dog cannot be read \(Permission denied\); correct its permissions"):
        data.load(str(root))
    (root / "test" / "dog").chmod(0o755)
    with pytest.raises(BadInput, match=r": train/cat/0\.png cannot be read \(Permission denied\); correct"):
        data.load(str(root))


def written(path: Path, names: dict[str, bytes], **options: Any) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", **options) as archive:
        warnings.simplefilter("ignore")  # of duplicates
        for name, content in names.items():
            archive.writestr(name.rstrip("?"), content)
    return path


def examples(**more: bytes) -> dict[str, bytes]:
    names = [f"{split}/{label}/{n}.png" for split in ("train", "test") for label in ("cat", "dog") for n in range(2)]
    return {**{name: png() for name in names}, **more}


def encrypted(content: bytes) -> bytes:
    """All members said to be encrypted."""
    for mark, place in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        parts = content.split(mark)
        content = parts[0] + b"".join(mark + p[: place - 4] + b"\1" + p[place - 3 :] for p in parts[1:])
    return content


def packed_by(content: bytes, method: int) -> bytes:
    """All members said to be packed in that way."""
    for mark, place in ((b"PK\x01\x02", 10), (b"PK\x03\x04", 8)):
        parts = content.split(mark)
        packed = struct.pack("<H", method)
        content = parts[0] + b"".join(mark + p[: place - 4] + packed + p[place - 2 :] for p in parts[1:])
    return content


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: encrypted(c), r"is encrypted \(train/cat/0\.png\)"),
        (lambda c: packed_by(c, 9), r"compresses train/cat/0\.png with a method that Python cannot read \(method 9\)"),
        (lambda c: packed_by(c, 12), "is damaged"),
        (lambda c: c[:-30], "is not a complete .zip"),
        (lambda c: c.replace(b"IHDR", b"IHDX"), "is damaged"),
    ],
)
def test_odd_archives_are_refused(tmp_path: Path, change: Any, sentence: str) -> None:
    path = written(tmp_path / "a.zip", examples())
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BadInput, match=sentence) as caught:
        data.load(str(path))
    assert "\n" not in str(caught.value)


def test_names_outside_and_names_twice_are_refused(tmp_path: Path) -> None:
    outside = written(tmp_path / "a.zip", {**examples(), "train/../e.png": png()})
    with pytest.raises(BadInput, match=r"names 'train/\.\./e\.png', which lies outside it"):
        data.load(str(outside))
    twice = written(tmp_path / "b.zip", {**examples(), "train/cat/0.png?": png()})
    with pytest.raises(BadInput, match=r"holds 'train/cat/0\.png' twice"):
        data.load(str(twice))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.zip", {**examples(), "x": bytes(1_000_000)}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 20_000
    with archives.limit(1_000_000), pytest.raises(BadInput, match=r"unpacks to .*--max-gb"):
        data.load(str(path))
    root = folder(tmp_path / "sounds", wav)
    with archives.limit(8_000), pytest.raises(BadInput, match=r"train/cat/0\.wav unpacks to .*--max-gb"):
        data.load(str(root))
