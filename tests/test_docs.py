"""Every command in the guides for testers runs, against emulated phones."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

import adascale_runtime
import adascale_tf
from adascale_runtime import plugins
from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.seams.bundle import Bundle
from adascale_tf.cli import cli
from android_harness import keys
from android_harness.adb import Address, connect
from tests.fixtures.adbd import Access
from tests.fixtures.benchmark_model import write as write_tool
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.shelf import shelf

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"), *ROOT.glob("examples/*/README.md")]
PACKAGES = "adascale_tf|adascale_runtime|converters|profiling|android_harness|benchmarks|tests|docs|examples"


def blocks(guide: str, language: str = "") -> list[list[str]]:
    """The lines of each of a guide's fenced blocks of a language."""
    fenced: list[list[str]] = []
    inside = None
    for line in (DOCS / guide).read_text().splitlines():
        if line.startswith("```"):
            inside = None if inside is not None else line[3:]
            fenced += [[]] if inside == language else []
        elif inside == language and line.strip():
            fenced[-1].append(line)
    return fenced


def commands(guide: str, language: str = "") -> list[str]:
    """The lines of all of a guide's fenced blocks of a language."""
    return [line for block in blocks(guide, language) for line in block]


def test_the_page_of_commands_names_every_command_and_no_option_that_is_not_there() -> None:
    named = set()
    for line in commands("commands.md"):
        program, name, *words = shlex.split(line)
        assert program == "adascale" and name in cli.commands, line
        named.add(name)
        options = {option for parameter in cli.commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, line
    assert named == set(cli.commands)


@pytest.mark.parametrize("package", [adascale_tf, adascale_runtime])
def test_the_reference_has_every_public_name(package: ModuleType) -> None:
    name = package.__name__
    page = (DOCS / "reference" / {"adascale_tf": "adascale_tf.md", "adascale_runtime": "runtime.md"}[name]).read_text()
    shown = set(re.findall(rf"^::: {name}\.(\w+)$", page, re.MULTILINE)) | set(re.findall(r"`ada\.(\w+)", page))
    assert shown == set(package.__all__) - {"__version__"}


@pytest.mark.parametrize("page", sorted(str(path.relative_to(ROOT)) for path in PAGES))
def test_the_files_and_modules_that_a_page_names_exist(page: str) -> None:
    for name in re.findall(r"`([^`\s]+)`", (ROOT / page).read_text()):
        if re.fullmatch(rf"({PACKAGES})/[\w./-]+", name):
            assert (ROOT / name).exists(), name
        elif re.fullmatch(rf"({PACKAGES})(\.\w+)+", name) and name != plugins.GROUP:
            path, *inside = ROOT / name.partition(".")[0], *name.split(".")[1:]
            while inside and ((path / inside[0]).is_dir() or (path / f"{inside[0]}.py").exists()):
                path = path / inside.pop(0)
            source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
            assert not inside or re.search(rf"\b{inside[0]}\b", source.read_text()), name


def run(line: str, folder: Path, phones: dict[str, int]) -> None:
    for named, port in phones.items():
        line = line.replace(named, f"127.0.0.1:{port}")
    words = shlex.split(line)
    assert words[0] == "adascale", line
    home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "PYTHONPATH": str(DOCS.parent)}
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", *words[1:]], cwd=folder, env={**os.environ, **home},
        capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, f"{line}\n{done.stderr[-2000:]}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_profiling_over_adb(built: Bundle, tmp_path: Path) -> None:
    lines = commands("profiling-over-adb.md")
    assert len(lines) >= 8
    (tmp_path / "bundle").symlink_to(built.root)
    write_tool(tmp_path)
    asking = Access(keys=set(), dialog="allow")
    with (
        emulated(tmp_path / "a", "pixel", access=asking) as (_, first),
        emulated(tmp_path / "b", "xiaomi") as (_, second),
    ):
        phones = {"192.168.1.20:5555": first.address[1], "192.168.1.21:5555": second.address[1]}
        for line in lines:
            run(line, tmp_path, phones)
    assert (tmp_path / "phone.html").stat().st_size > 50_000


def test_termux(built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(built.root)
    with zipfile.ZipFile(tmp_path / "litert.aar", "w") as archive:  # as Google's package is laid out
        archive.write(wheel_library(), "jni/arm64-v8a/libLiteRt.so")
    prepare, pull = commands("termux.md")
    install, *rest = commands("termux.md", "termux")
    assert install.startswith("pkg install -y python")
    with emulated(tmp_path / "phone") as (phone, adbd):
        phones = {"192.168.1.20:5555": adbd.address[1]}
        run(prepare, tmp_path, phones)
        shutil.copy(phone.root / "system/bin/python3", phone.root / "system/bin/python")
        with connect(Address(*adbd.address), keys.load(tmp_path / ".android/adbkey")[0]) as adb:
            home = "export HOME=/data/local/tmp/home; cd ~/adascale 2>/dev/null; "
            adb.check("mkdir -p /data/local/tmp/home")
            outputs = [adb.check(home + line, timeout_s=120) for line in rest]
        run(pull, tmp_path, phones)
    assert '"count"' in outputs[2] and '"engine": "libLiteRt.so"' in outputs[3]
    measured = (tmp_path / "termux.jsonl").read_text().splitlines()
    assert len(measured) == len(built.manifest.branches)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_fleets(built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bundle").symlink_to(built.root)
    fleet, certificates = blocks("fleets.md", "yaml")
    assert certificates[0] == "distributed:"
    on_one, on_many, (report,) = blocks("fleets.md")
    (scheduler,), workers = blocks("fleets.md", "dask")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = []

    def start(line: str) -> None:
        line = line.replace("--host lab", "--host 127.0.0.1").replace("lab:8786", f"127.0.0.1:{port}")
        words = shlex.split(line.replace("8786", str(port)))
        assert words[0] == "dask"
        home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / words[-1]), "PYTHONPATH": str(DOCS.parent)}
        command = [sys.executable, "-m", f"distributed.cli.dask_{words[1]}", *words[2:]]
        command += ["--host", "127.0.0.1"] if words[1] == "worker" else []
        started.append(subprocess.Popen(command, cwd=tmp_path, env={**os.environ, **home}, stderr=subprocess.DEVNULL))

    with shelf(tmp_path, {"A1": "pixel", "A2": "xiaomi", "B1": "pixel"}) as units:
        named = ["192.168.1.20:5555", "192.168.1.21:5555", "192.168.1.30:5555"]
        text = "\n".join(fleet) + "\n"
        for name, unit in zip(named, units.values(), strict=True):
            assert name in text
            text = text.replace(name, unit.address)
        text = text.replace("~", str(tmp_path))
        (tmp_path / "fleet.yaml").write_text(text)
        for line in on_one:
            run(line, tmp_path, {})
        try:
            for line in (scheduler, *workers):
                start(line)
            (tmp_path / "fleet.yaml").write_text(f"scheduler: tcp://127.0.0.1:{port}\n" + text)
            for line in on_many:
                run(line, tmp_path, {})
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)
    assert len((tmp_path / "m.jsonl").read_text().splitlines()) == 4  # two branches, two models
    assert len((tmp_path / "lab.jsonl").read_text().splitlines()) == 8
    run(report, tmp_path, {})
    assert (tmp_path / "shelf.html").stat().st_size > 50_000
