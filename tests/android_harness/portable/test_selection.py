"""Which Python runs the agent, on the emulated phone; a made-up portable one is this machine's."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from adascale_runtime.errors import BadInput
from android_harness import discovery, keys, store
from android_harness.adb import Address
from android_harness.portable import __main__ as builder
from android_harness.portable import installed
from android_harness.portable.targets import TARGETS
from tests.fixtures import portable
from tests.fixtures.adbd import Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import ABI, Phone
from tests.fixtures.profiles import FULL, Profile

TARGET = TARGETS[ABI]


def say(phone: Phone, name: str, text: str) -> None:
    phone._script(name, text)


@pytest.fixture()
def stock(tmp_path: Path) -> Iterator[tuple[Phone, Adbd]]:
    """A phone without Python."""
    with emulated(tmp_path / "stock", update_s=0.15) as (phone, adbd):
        say(phone, "python3", "echo 'sh: python3: inaccessible or not found' >&2; exit 127")
        yield phone, adbd


@pytest.fixture()
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_phone_without_python_is_measured_with_the_portable_one(
    stock: tuple[Phone, Adbd], site: Path, profile: Profile
) -> None:
    phone, adbd = stock
    place = portable.made_up(site, TARGET)
    outcome = profile(adbd, branches=[FULL], keep=True)
    assert profile.whole(outcome) and outcome.measurements[0].versions["python"] == "3.11.99 portable"
    kept = phone.local(store.FOLDER)
    (folder,) = kept.glob("portable-*")
    assert (folder / "python3").read_bytes() == (place / "payload/python3").read_bytes()
    before = (folder / "python3").stat()
    profile.out.unlink()
    assert not profile(adbd, branches=[FULL], keep=True).failed
    assert (folder / "python3").stat().st_mtime_ns == before.st_mtime_ns  # it was not sent again
    (folder / "python3").write_text("exit 1")
    profile.out.unlink()
    assert not profile(adbd, branches=[FULL], keep=True).failed  # another content is
    (folder / "older").touch()
    profile.out.unlink()
    assert not profile(adbd, branches=[FULL], clean=True).failed and not kept.exists()


@pytest.mark.slow
def test_the_phones_own_python_is_preferred(pixel: tuple[Phone, Adbd], site: Path, profile: Profile) -> None:
    portable.made_up(site, TARGET)
    outcome = profile(pixel[1], branches=[FULL])
    assert "portable" not in outcome.measurements[0].versions["python"]
    profile.out.unlink()
    asked = profile(pixel[1], branches=[FULL], python="portable")
    assert asked.measurements[0].versions["python"] == "3.11.99 portable"


@pytest.mark.slow
def test_a_python_of_the_phone_that_cannot_run_branches_is_passed_over(
    pixel: tuple[Phone, Adbd], site: Path, profile: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("android_harness.runner.host_library", lambda abi: None)  # a phone with another libc
    say(pixel[0], "python3", f'exec {sys.executable} -S "$@"')  # without the packages of this machine
    with pytest.raises(BadInput, match="cannot run branches"):
        profile(pixel[1], branches=[FULL])
    portable.made_up(site, TARGET)
    with pytest.raises(BadInput, match=r"cannot run branches .* give --litert"):  # which could help, for drivers
        profile(pixel[1], branches=[FULL], delegates=["gpu"])
    assert profile(pixel[1], branches=[FULL]).measurements[0].versions["python"] == "3.11.99 portable"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"python": "python3"}, r"no python3 of version 3.8 or later.*no portable one is installed.*'make portable'"),
        ({"python": "portable"}, "No portable Python is installed for .*'make portable'"),
        ({"python": "/data/python"}, "has no /data/python of version 3.8 or later"),
    ],
)
def test_what_to_do_without_either(
    stock: tuple[Phone, Adbd], profile: Profile, changes: dict[str, str], sentence: str
) -> None:
    with pytest.raises(BadInput, match=sentence):
        profile(stock[1], branches=[FULL], **changes)
    assert not stock[0].local(store.FOLDER).exists()


@pytest.mark.parametrize(
    ("delegate", "sentence"),
    [("gpu", "cannot load Android's drivers, so it has no gpu; use '--runner benchmark_model'"),
     ("nnapi", "no delegate nnapi; .*use '--runner benchmark_model'"),
     ("npu", "cannot load Android's drivers, so it has no npu; use '--python PATH")],
)  # fmt: skip
def test_drivers_are_refused_at_once(
    stock: tuple[Phone, Adbd], site: Path, profile: Profile, delegate: str, sentence: str
) -> None:
    portable.made_up(site, TARGET)
    with pytest.raises(BadInput, match=sentence):
        profile(stock[1], branches=[FULL], delegates=[delegate])


def test_libraries_and_pages_that_cannot_be_loaded_are_refused(
    stock: tuple[Phone, Adbd], site: Path, profile: Profile, tmp_path: Path
) -> None:
    machine = {"x86_64": 62, "aarch64": 183}[TARGET.machine]
    portable.made_up(site, TARGET)
    android, other = tmp_path / "libAndroid.so", tmp_path / "libOther.so"
    android.write_bytes(portable.elf(machine, ["libc.so", "liblog.so"]))
    other.write_bytes(portable.elf(40 if machine == 62 else 62, ["libc.so.6"]))
    with pytest.raises(BadInput, match="built for Android's own libc"):
        profile(stock[1], branches=[FULL], litert=android)
    with pytest.raises(BadInput, match=r"--litert is for (arm|x86_64), but the phone is"):
        profile(stock[1], branches=[FULL], litert=other)
    say(stock[0], "getconf", "echo 131072")
    with pytest.raises(BadInput, match=r"has pages of 128 kB, .* up to (4|64) kB"):
        profile(stock[1], branches=[FULL])
    say(stock[0], "getconf", "exit 127")
    (stock[0].root / "proc/self").mkdir()
    (stock[0].root / "proc/self/smaps").write_text("Size: 4 kB\nKernelPageSize:      256 kB\nKernelPageSize: 4 kB\n")
    with pytest.raises(BadInput, match="has pages of 256 kB"):
        profile(stock[1], branches=[FULL])


def test_listings_say_which_python_would_be_used(
    stock: tuple[Phone, Adbd], pixel: tuple[Phone, Adbd], site: Path, key: Path
) -> None:
    def python(adbd: Adbd) -> object:
        (found,) = discovery.look([Address(*adbd.address)], keys.load(key)[0])
        return found.facts["python"]

    assert python(stock[1]) is None
    portable.made_up(site, TARGET)
    assert python(stock[1]) == "portable 3.11.99"
    own = python(pixel[1])
    assert isinstance(own, str) and own.startswith("3.")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adascale": "0.0.1"}, "was made by adascale-tf 0.0.1"),
        ({"format": "x"}, "was made by"),
        ({"files": {"../x": "0" * 64}}, "outside of its folder"),
        ({"files": {"python3": "0" * 64}}, "python3 is not what was installed"),
        ({"files": {}}, "lacks python3 or libLiteRt.so"),
        ({"alignment": "4"}, "alignment"),
    ],
)
def test_a_damaged_installation_is_refused(site: Path, changes: dict[str, object], sentence: str) -> None:
    portable.made_up(site, TARGET, **changes)
    with pytest.raises(BadInput, match=sentence):
        installed.find(ABI)
    (check,) = [check for check in installed.checks() if check.name == f"portable {ABI}"]
    assert check.status == "limited" and check.remedy == "make portable"


def test_the_builder_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert builder.main(["--abi", "mips", "--out", str(tmp_path)]) == 2
    assert "no portable Python for mips; choose among arm64-v8a, x86_64" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_debians_python_runs_the_agent_with_nothing_of_this_machine(
    stock: tuple[Phone, Adbd], site: Path, profile: Profile
) -> None:
    portable.unpacked(portable.real(ABI), site)
    manifest = json.loads((site / TARGET.module / installed.MANIFEST).read_text())
    outcome = profile(stock[1], energy=True)
    assert not outcome.failed
    for measured in outcome.measurements:
        assert measured.versions["python"] == f"{manifest['python']} portable"
        assert measured.outputs is not None and measured.outputs.agreement == 1.0
    payload = site / TARGET.module / installed.PAYLOAD
    for name in ("python", f"libs/{TARGET.loader}"):
        (payload / name).chmod(0o755)  # as it is brought to phones
    program = "import sys, tempfile; print(sys.executable, sys.path, tempfile.gettempdir())"
    done = subprocess.run(["sh", str(payload / "python3"), "-c", program], env={}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for word in done.stdout.replace("[", "").replace("]", "").replace("'", "").replace(",", "").split():
        assert word.startswith(str(payload.parent)), word
