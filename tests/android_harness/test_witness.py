"""Google's own adb client against the emulated phone: what it does to a phone, it can do here."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from android_harness import keys
from android_harness.adb import Address, connect
from tests.fixtures.adb_client import Client
from tests.fixtures.adbd import Access, Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import SHAPES, Phone

pytestmark = pytest.mark.skipif(Client.missing() is not None, reason=str(Client.missing()))
SIZE = 20_000_000


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    found = Client(tmp_path_factory.mktemp("home"))
    started = found("start-server")
    assert started.returncode == 0, started.stderr
    yield found
    found("kill-server")


Adb = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture(scope="module", params=["pixel", "android8"])
def phone(request: Any, client: Client, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Phone, Adb]]:
    with emulated(tmp_path_factory.mktemp("phone"), request.param) as (made, adbd):
        name = _name(adbd)
        assert f"connected to {name}".encode() in client("connect", name).stdout
        yield made, lambda *words, **more: client("-s", name, *words, **more)
        client("disconnect", name)


def _name(adbd: Adbd) -> str:
    return "{}:{}".format(*adbd.address)


def test_it_lists_the_phone_with_its_model(client: Client, phone: tuple[Phone, Adb]) -> None:
    listed = client("devices", "-l").stdout.decode()
    model = phone[0].props["ro.product.model"].replace(" ", "_")
    assert any("device " in line and f"model:{model}" in line for line in listed.splitlines())
    assert phone[1]("get-state").stdout.strip() == b"device"


def test_shell_keeps_code_output_and_errors_apart(phone: tuple[Phone, Adb]) -> None:
    done = phone[1]("shell", "echo out; echo error >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"out\n", b"error\n")


def test_unknown_commands_give_127(phone: tuple[Phone, Adb]) -> None:
    done = phone[1]("shell", "no-such-command")
    assert done.returncode == 127 and b"not found" in done.stderr and not done.stdout


def test_shell_reads_what_is_typed(phone: tuple[Phone, Adb]) -> None:
    done = phone[1]("exec-out", "getprop ro.product.manufacturer")
    assert done.stdout.decode().strip() == phone[0].props["ro.product.manufacturer"]
    assert phone[1]("shell", "read a; echo got $a", stdin=b"words\n").stdout.split() == [b"got", b"words"]


def test_20_megabytes_go_there_and_back(phone: tuple[Phone, Adb], tmp_path: Path) -> None:
    data = random.Random(5).randbytes(SIZE)
    (tmp_path / "there").write_bytes(data)
    pushed = phone[1]("push", str(tmp_path / "there"), "/data/local/tmp/big")
    assert pushed.returncode == 0, pushed.stderr
    assert phone[0].local("/data/local/tmp/big").read_bytes() == data
    pulled = phone[1]("pull", "/data/local/tmp/big", str(tmp_path / "back"))
    assert pulled.returncode == 0 and (tmp_path / "back").read_bytes() == data


def test_folders_and_modes(phone: tuple[Phone, Adb], tmp_path: Path) -> None:
    (tmp_path / "tree/inner").mkdir(parents=True)
    (tmp_path / "tree/inner/run").write_bytes(b"#!/bin/sh\necho it runs\n")
    (tmp_path / "tree/inner/run").chmod(0o755)
    (tmp_path / "tree/empty").touch()
    assert phone[1]("push", str(tmp_path / "tree"), "/data/local/tmp/").returncode == 0
    assert phone[1]("shell", "/data/local/tmp/tree/inner/run").stdout.strip() == b"it runs"
    listed = phone[1]("shell", "ls /data/local/tmp/tree").stdout.split()
    assert listed == [b"empty", b"inner"]
    assert phone[1]("pull", "/data/local/tmp/tree", str(tmp_path / "back")).returncode == 0
    assert (tmp_path / "back/inner/run").read_bytes() == (tmp_path / "tree/inner/run").read_bytes()


def test_where_nothing_can_be_written_it_says_why(phone: tuple[Phone, Adb], tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    phone[0].local("/data/local/tmp/file").touch()
    done = phone[1]("push", str(tmp_path / "big"), "/data/local/tmp/file/x")
    assert done.returncode == 1 and b"couldn't create file" in done.stdout + done.stderr
    assert phone[1]("pull", "/data/none", str(tmp_path / "none")).returncode == 1
    assert phone[1]("shell", "echo still here").stdout.split() == [b"still", b"here"]


def test_full_storage_is_told(client: Client, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(5_000_000))
    with emulated(tmp_path / "phone") as (_, adbd):
        client("connect", _name(adbd))
        adbd.faults.space = 100_000
        done = client("-s", _name(adbd), "push", str(tmp_path / "big"), "/data/local/tmp/big")
        assert done.returncode == 1 and b"No space left on device" in done.stdout + done.stderr
        client("disconnect", _name(adbd))


def test_it_comes_back_after_it_went(client: Client, tmp_path: Path) -> None:
    with emulated(tmp_path) as (_, adbd):
        name = _name(adbd)
        for _ in range(2):
            assert b"connected to" in client("connect", name).stdout
            assert client("-s", name, "shell", "echo here").stdout.strip() == b"here"
            assert client("disconnect", name).returncode == 0
            assert client("-s", name, "shell", "echo here").returncode == 1


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_its_key_is_learnt_and_opens_the_phone_to_us(client: Client, tmp_path: Path, shape: str) -> None:
    access = Access(keys=set())
    with emulated(tmp_path, shape, access=access) as (_, adbd):
        name = _name(adbd)
        client("connect", name)
        assert client("-s", name, "wait-for-device", "shell", "echo in").stdout.strip() == b"in"
        assert access.keys is not None and len(access.keys) == 1
        client("disconnect", name)
        access.dialog = "wait"  # from now on only a known key comes in
        client("connect", name)
        assert client("-s", name, "wait-for-device", "shell", "echo in").stdout.strip() == b"in"
        client("disconnect", name)
        signer, made = keys.load(client.home / ".android/adbkey")
        assert not made
        with connect(Address(*adbd.address), signer, dialog_s=1) as adb:
            assert adb.shell("echo ours too") == (0, "ours too")
