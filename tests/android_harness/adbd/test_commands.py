"""What users do with a phone, through AOSP's own adbd, with Google's own client as a witness."""

from __future__ import annotations

import json
import random
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from android_harness import keys, store, termux
from android_harness.adb import Adb, Address, connect, quote
from tests.adascale_tf.cli.test_commands import run
from tests.fixtures.adb_client import Client
from tests.fixtures.native_phone import SHELL, NativePhone
from tests.fixtures.profiles import FULL, SMALL

pytestmark = pytest.mark.adbd
TMP = "/data/local/tmp"


def where(phone: NativePhone) -> str:
    return "{}:{}".format(*phone.address)


# --- commands


def test_profile_measures_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], phone: NativePhone, built: Bundle, key: Path, tmp_path: Path
) -> None:
    out = tmp_path / "m.jsonl"
    code, _, err = run(
        capsys, "profile", built.root, "--device", where(phone), "--branches", f"{FULL},{SMALL}", "--runs", 8,
        "--energy", "--batch", 1, "--out", out, "--key", key,
    )  # fmt: skip
    assert code == 0, err
    measured = {m.branch: m for m in records.read([out])}
    assert set(measured) == {FULL, SMALL}
    for m in measured.values():
        assert m.outputs is not None and m.outputs.agreement == 1.0
        assert m.delegation is not None and m.delegation.delegated > 0
        assert m.energy.how == "measured:battery", m.energy
        assert len(m.latency_ms) >= 8 and m.memory_mb
        assert m.device["serial"] == phone.props["ro.serialno"] and m.device["android"] == "14"
    assert not phone.local(store.FOLDER).exists() and not phone.left() and not phone.connections()


def test_devices_and_doctor_say_what_the_phone_is(
    capsys: pytest.CaptureFixture[str], phone: NativePhone, key: Path
) -> None:
    code, shown, err = run(capsys, "devices", where(phone), "--json", "--key", key)
    assert code == 0, err
    (found,) = json.loads(shown)
    assert found["state"] == "ready" and found["facts"]["serial"] == phone.props["ro.serialno"]
    assert found["facts"]["battery"] == pytest.approx(phone.charge_ah / 4.0, abs=0.02)
    code, shown, err = run(capsys, "doctor", "--device", where(phone), "--json", "--key", key)
    assert code == 0 and phone.props["ro.product.model"] in shown, err
    assert not phone.left()


def test_a_phone_that_two_addresses_lead_to_is_measured_once(
    capsys: pytest.CaptureFixture[str], remote: Any, built: Bundle, key: Path, tmp_path: Path
) -> None:
    out, there = tmp_path / "m.jsonl", "{}:{}".format(*remote.address)
    words = ("profile", built.root, "--branches", SMALL, "--runs", 2, "--out", out, "--key", key)
    code, _, err = run(capsys, *words, "--device", where(remote.phone), "--device", there)
    assert code == 0 and len(records.runs([out])) == 1 and f"{there} is the same phone as" in err


def test_pull_fetches_what_the_lines_for_termux_measured(
    capsys: pytest.CaptureFixture[str], phone: NativePhone, adb: Adb, built: Bundle, key: Path, tmp_path: Path
) -> None:
    from adascale_runtime.engines.delegates import wheel_library

    more = ("--device", where(phone), "--key", key)
    code, shown, err = run(capsys, "agent", built.root, "--termux", "--runs", 4, "--litert", wheel_library(), *more)
    assert code == 0, err
    install, *lines = shown.strip().splitlines()
    assert install.startswith("pkg install")
    home = f"{TMP}/home"
    adb.check(f"mkdir -p {home}")
    for line in lines:
        adb.check(f"export HOME={home}; cd {home}; [ ! -d adascale ] || cd adascale; ".replace("python ", "") + line
                  .replace("python ", "python3 "), timeout_s=120)  # fmt: skip
    out = tmp_path / "m.jsonl"
    code, _, err = run(capsys, "pull", built.root, "--out", out, "--clean", *more)
    assert code == 0, err
    assert {m.branch for m in records.read([out])} == {branch.id for branch in built.manifest.branches}
    assert not phone.local(termux.SHARED).exists()


# --- files, and what the adb client says of them


@pytest.fixture()
def adb(phone: NativePhone, key: Path) -> Iterator[Adb]:
    with connect(Address(*phone.address), keys.load(key)[0]) as found:
        yield found


@pytest.fixture()
def witness(phone: NativePhone, client: Client) -> Any:
    assert f"connected to {where(phone)}" in client("connect", where(phone)).stdout.decode()
    return lambda *words, **more: client("-s", where(phone), *words, **more)


NAMES = ["plain", "with space", 'quote\'d "twice"', "電話", "$HOME;`id`", "x" * 250, "a\\b"]


def test_files_are_what_the_adb_client_sees(adb: Adb, witness: Any, phone: NativePhone, tmp_path: Path) -> None:
    chance = random.Random(1)
    sizes = [0, 1, 65_536, 65_537, 1_048_576, 3_000_001, 17]
    files = {name: chance.randbytes(size) for name, size in zip(NAMES, sizes, strict=True)}
    for name, data in files.items():
        adb.push(data, f"{TMP}/{name}", mode=0o755)
        assert phone.local(f"{TMP}/{name}").read_bytes() == data and adb.pull(f"{TMP}/{name}") == data
        fetched = tmp_path / "fetched"
        assert witness("pull", f"{TMP}/{name}", str(fetched)).returncode == 0 and fetched.read_bytes() == data
        fetched.write_bytes(data[::-1])
        assert witness("push", str(fetched), f"{TMP}/{name}").returncode == 0
        assert adb.pull(f"{TMP}/{name}") == data[::-1]
    command = f"cd {TMP}; for name in *; do stat -c '%u %a %s %n' \"$name\"; done; sha256sum *"
    listed = witness("shell", command).stdout.decode()
    code, ours = adb.shell(command)
    assert (code, ours.splitlines()) == (0, listed.splitlines()) and len(ours.splitlines()) == 2 * len(NAMES)
    assert {line.split()[0] for line in ours.splitlines()[: len(NAMES)]} == {str(SHELL)}


def test_commands_end_as_the_adb_client_says(adb: Adb, witness: Any) -> None:
    for command in ("exit 7", "no-such-command", "echo a; echo b >&2; false", "printf 'no newline'"):
        theirs = witness("shell", f"({command}) 2>&1")
        code, ours = adb.shell(command)
        assert (code, ours) == (theirs.returncode, theirs.stdout.decode().rstrip("\n")), command
    assert adb.check("echo $((6 * 7))") == "42"
    assert adb.shell(f"printf {shlex.quote('%s')} {quote(NAMES[2])}") == (0, NAMES[2])
    large = "seq 1 300000"
    assert adb.check(large) == witness("shell", large).stdout.decode().rstrip("\n").replace("\r", "")


def test_what_cannot_be_written_or_read_is_said_and_harms_nothing(adb: Adb, witness: Any) -> None:
    for act in (
        lambda: adb.push(bytes(3_000_000), "/system/x"),
        lambda: adb.push(b"x" * 100, "/usr/x"),
        lambda: adb.pull(f"{TMP}/none"),
        lambda: adb.pull("/opt"),
    ):
        with pytest.raises(AdaScaleError, match=r"rejected the file|did not give") as caught:
            act()
        assert type(caught.value) is AdaScaleError, "the connection stands"
    assert adb.check("echo on") == "on" and witness("shell", "echo on").stdout.split() == [b"on"]
