"""The builder's pure parts, on small made-up packages."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.errors import BadInput
from android_harness.portable import deb, elf, fetch, imports, installed, recipe, wheel
from android_harness.portable.targets import TARGETS
from tests.fixtures import portable

ARM = TARGETS["arm64-v8a"]
HOME = "usr/lib/python3.11"
LIBS = f"lib/{ARM.triple}"
LITERT = recipe.LiteRt("2.3.0", portable.elf(needed=["libc.so.6"], more=b"litert"), b"Apache")


@pytest.fixture()
def packages(tmp_path: Path) -> list[deb.Package]:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    doc = "usr/share/doc"
    made = [
        portable.deb(tmp_path, "python3.11-minimal", {
            "usr/bin/python3.11": portable.elf(needed=["libc.so.6"]), f"{doc}/python3.11-minimal/copyright": b"PSF",
        }),
        portable.deb(tmp_path, "libpython3.11-stdlib", {
            f"{HOME}/os.py": b"import stat", f"{HOME}/stat.py": b"", f"{HOME}/turtle.py": b"",
            f"{HOME}/json/__init__.py": b"from .decoder import D\nfrom . import tool\n",
            f"{HOME}/json/decoder.py": b"import _json", f"{HOME}/json/tool.py": b"import pdb", f"{HOME}/pdb.py": b"",
            f"{HOME}/lib-dynload/_json.cpython-311-aarch64-linux-gnu.so": portable.elf(needed=["libffi.so.8"]),
            f"{HOME}/lib-dynload/_ssl.cpython-311-aarch64-linux-gnu.so": portable.elf(needed=["libssl.so.3"]),
        }, {f"{doc}/libpython3.11-stdlib": "python3.11-minimal"}),
        portable.deb(tmp_path, "libc6", {
            f"{LIBS}/{ARM.loader}": portable.elf(), f"{LIBS}/libc.so.6": portable.elf(needed=[ARM.loader]),
            f"{LIBS}/libffi.so.8.1": portable.elf(alignment=0x4000),
            f"{doc}/libc6/copyright": b"see /usr/share/common-licenses/LGPL-2.1.",
            "usr/share/common-licenses/LGPL-2.1": b"the text", "usr/share/common-licenses/GPL-1": b"not referred to",
        }, {f"{LIBS}/libffi.so.8": "libffi.so.8.1"}),
    ]  # fmt: skip
    return [deb.look(path) for path in made]


def test_a_payload_holds_what_the_agent_can_import_and_no_more(packages: list[deb.Package]) -> None:
    files = recipe.assemble(ARM, packages, deb.unpacked(packages), LITERT, ["def f():\n    import json\n"])
    names = {name.removeprefix("payload/") for name in files if name.startswith("payload/")}
    dynload = "lib/python3.11/lib-dynload/_json.cpython-311-aarch64-linux-gnu.so"
    libraries = {f"libs/{name}" for name in (ARM.loader, "libc.so.6", "libffi.so.8")}
    assert names == {"python", "python3", "libLiteRt.so", "lib/python311.zip", dynload, *libraries}
    with zipfile.ZipFile(io.BytesIO(files["payload/lib/python311.zip"])) as archive:
        inside = archive.namelist()
    assert inside == ["json/__init__.py", "json/decoder.py", "json/tool.py", "os.py", "stat.py"]
    licences = {name.removeprefix("licences/"): data for name, data in files.items() if name.startswith("licences/")}
    assert licences.pop("NOTICE").startswith(b"This package holds")
    assert licences == {
        "python3.11-minimal": b"PSF", "libpython3.11-stdlib": b"PSF", "LGPL-2.1": b"the text",
        "libc6": b"see /usr/share/common-licenses/LGPL-2.1.", "ai-edge-litert": b"Apache",
    }  # fmt: skip


def test_a_wheel_is_the_same_for_the_same_files_and_is_found(
    packages: list[deb.Package], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = set()
    for order in (packages, packages[::-1]):
        files = recipe.assemble(ARM, sorted(order, key=lambda p: p.name), deb.unpacked(order), LITERT, ["import json"])
        written.add(wheel.write(ARM.distribution, "1", ARM.module, files, summary="s", licence="l"))
    (data,) = written
    path = tmp_path / wheel.file_name(ARM.distribution, "1")
    path.write_bytes(data)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target"]
    done = subprocess.run([*command, str(tmp_path / "site"), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    found = installed.find("arm64-v8a")
    assert found is not None and found.library.read_bytes() == LITERT.library
    assert (found.manifest.python, found.manifest.litert, found.manifest.alignment) == ("3.11.2", "2.3.0", 0x4000)
    assert {part.source for part in found.manifest.parts if part.name == "libc6"} == {"libc6-source 3.11.2-6+x1"}
    assert installed.find("armeabi-v7a") is None
    ok = [check for check in installed.checks() if check.name == "portable arm64-v8a"]
    assert ok[0].status == "ok" and "Python 3.11.2 and LiteRT 2.3.0" in ok[0].detail


def test_what_packages_lack_is_named(packages: list[deb.Package]) -> None:
    tree = deb.unpacked(packages)
    with pytest.raises(BadInput, match=r"needs libz.so.1, which none of the fetched packages"):
        needy = recipe.LiteRt("2", portable.elf(needed=["libz.so.1"]), b"")
        recipe.assemble(ARM, packages, tree, needy, [])
    with pytest.raises(BadInput, match=r"libLiteRt.so is for x86_64, not for aarch64"):
        recipe.assemble(ARM, packages, tree, recipe.LiteRt("2", portable.elf(machine=62), b""), [])
    with pytest.raises(BadInput, match="hold no Python"):
        recipe.assemble(ARM, packages, deb.unpacked(packages[2:]), LITERT, [])


def test_links_lead_where_they_would_on_a_disk(tmp_path: Path, packages: list[deb.Package]) -> None:
    links = {"a/one": "../b/two", "b/two": "/c/three", "e": "c", "loop": "loop"}
    tree = deb.unpacked([deb.look(portable.deb(tmp_path, "linked", {"c/three": b"3"}, links))])
    assert tree.find("a/one") == tree.find("e/three") == b"3" and tree.names() == ["c/three"]
    assert tree.find("loop") is None and tree.find("a/none") is None


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import a.b", {"a", "a.b", "d"}),
        ("from a import b", {"a", "a.b", "d"}),
        ("def f():\n    from a import c", {"a", "a.c"}),
        ("if TYPE_CHECKING:\n    import d", set()),
        ("if __name__ == '__main__':\n    import d\nelse:\n    import e", {"e"}),
        ("import pdb, none", set()),
    ],
)  # fmt: skip
def test_imports_are_followed(program: str, found: set[str]) -> None:
    library = {"a": "", "a.b": "from ..d import x\nfrom .. import d", "a.c": None, "d": "", "e": "", "pdb": "import e"}
    library["a.b"] = "import d"
    assert set(imports.reachable([program], library)) == found


def test_names_that_a_package_depends_on() -> None:
    text = "a\n  PreDepends: libc6\n |Depends: b1\n  Depends: <virtual>\n    real\n  Suggests: c\n  Depends: d\n"
    assert fetch.depends_of(text) == ["libc6", "b1", "d"]


def test_an_elf_file_tells_its_processor_needs_and_alignment() -> None:
    read = elf.read(portable.elf(62, ["libm.so.6", "libc.so.6"], 0x1000), "x")
    assert read == elf.Elf("x86_64", 0x1000, ("libm.so.6", "libc.so.6")) and read.of_glibc
    assert not elf.read(portable.elf(needed=["libc.so", "liblog.so"]), "x").of_glibc
    own = elf.read(Path(wheel_library()).read_bytes(), "x")
    assert own.of_glibc and "libm.so.6" in own.needed and own.alignment >= 4096
    spec = importlib.util.find_spec("_ctypes")
    assert spec is not None and spec.origin is not None
    assert "libc.so.6" in elf.read(Path(spec.origin).read_bytes(), "x").needed


WHOLE = portable.elf(needed=["libc.so.6", "libm.so.6"])


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(WHOLE)))
def test_a_damaged_elf_file_is_refused_or_read(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    for damaged in (bytes(data), WHOLE[:length]):
        try:
            read = elf.read(damaged, "x")
        except BadInput as error:
            assert str(error).startswith("x is ")
        else:
            assert all(isinstance(name, str) for name in read.needed)
