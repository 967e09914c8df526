import io
import struct
import zipfile
from pathlib import Path

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives


def packed(path: Path, files: "list[tuple[str, bytes]]", method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return path


def refused(path: Path) -> str:
    with pytest.raises(BadInput) as caught, archives.opened(path) as archive:
        for name in archive.namelist():
            archive.read(name)
    return str(caught.value)


def test_an_ordinary_archive_is_read(tmp_path: Path) -> None:
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2):
        with archives.opened(packed(tmp_path / "a.zip", [("x/a.txt", b"hello")], method)) as archive:
            assert archive.read("x/a.txt") == b"hello"


def test_declared_sizes_are_added_up_before_anything_is_unpacked(tmp_path: Path) -> None:
    bomb = packed(tmp_path / "bomb.zip", [(f"{i}", bytes(1 << 20)) for i in range(8)])
    with archives.limit(4 << 20):
        assert "above the limit" in refused(bomb)
    with archives.limit(8 << 20), archives.opened(bomb) as archive:
        assert len(archive.read("7")) == 1 << 20


def test_a_member_gives_no_more_than_it_declares(tmp_path: Path) -> None:
    data = bytearray(packed(tmp_path / "a.zip", [("a", bytes(1 << 20))]).read_bytes())
    for offset in (data.rindex(b"PK\x01\x02") + 24, data.index(b"PK\x03\x04") + 22):
        data[offset : offset + 4] = struct.pack("<I", 10)
    (tmp_path / "lies.zip").write_bytes(data)
    assert "damaged" in refused(tmp_path / "lies.zip")


@pytest.mark.parametrize("name", ["../up", "/etc/x", "train/../../x", "train\\..\\x"])
def test_names_outside_are_refused(tmp_path: Path, name: str) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        archive.writestr(info, b"x")
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    assert "outside" in refused(tmp_path / "a.zip")


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning):
        packed(tmp_path / "a.zip", [("a", b"1"), ("a", b"2")])
    assert "twice" in refused(tmp_path / "a.zip")


def test_encrypted_and_unknown_compression_are_told(tmp_path: Path) -> None:
    whole = packed(tmp_path / "a.zip", [("a", b"1")]).read_bytes()
    central = whole.index(b"PK\x01\x02")
    for name, offset, value, word in (("e", 8, 1, "encrypted"), ("d", 10, 9, "method 9")):
        data = bytearray(whole)
        data[central + offset : central + offset + 2] = struct.pack("<H", value)
        (tmp_path / f"{name}.zip").write_bytes(data)
        assert word in refused(tmp_path / f"{name}.zip")


@pytest.mark.parametrize("cut", [1, 30, 60])
def test_what_is_cut_off_is_told(tmp_path: Path, cut: int) -> None:
    path = packed(tmp_path / "a.zip", [("a", bytes(range(256)))])
    path.write_bytes(path.read_bytes()[:-cut])
    assert "not a complete .zip" in refused(path)
    assert "cannot be read" in refused(tmp_path / "none.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_member_is_said_whatever_packed_it(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "a.zip", [("a", bytes(range(256)) * 99)], method)
    data = bytearray(path.read_bytes())
    data[31:60] = bytes(29)
    path.write_bytes(data)
    assert "damaged" in refused(path)


def test_a_failure_of_the_blocks_own_work_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), archives.opened(packed(tmp_path / "a.zip", [("a", b"x")])):
        (tmp_path / "gone").read_bytes()
