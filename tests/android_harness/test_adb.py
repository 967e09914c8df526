"""The ADB client against an emulated adbd: addresses, commands, files, keys, and sentences for what is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adascale_runtime.errors import AdaScaleError, BadInput
from android_harness import keys, phone_facts, store
from android_harness.adb import PORT, Adb, Address, PhoneGone, connect, parse_address
from android_harness.transport import KEEPALIVE
from tests.fixtures.adbd import Adbd
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import SHAPES, Phone

KB, MB = 1 << 10, 1 << 20
FOLDER = "/data/local/tmp"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return keys.load(tmp_path_factory.mktemp("key") / "adbkey")[0]


@pytest.fixture(scope="module", params=["pixel", "android8"])
def connected(request: Any, signer: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Phone, Adb]]:
    """A phone of today, and an old one: CRLF at the end of lines, messages of 256 KiB."""
    with (
        emulated(tmp_path_factory.mktemp("phone"), request.param) as (phone, adbd),
        connect(Address(*adbd.address), signer) as adb,
    ):
        yield phone, adb


@pytest.fixture()
def pixel(signer: Any, tmp_path: Path) -> Iterator[tuple[Phone, Adbd, Adb]]:
    """A phone for one test alone, which may break it."""
    with emulated(tmp_path / "phone") as (phone, adbd), connect(Address(*adbd.address), signer) as adb:
        yield phone, adbd, adb


# --- addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.7", Address("10.0.0.7", PORT)),
        ("phone.lan:4444", Address("phone.lan", 4444)),
        ("[fe80::1]:5556", Address("fe80::1", 5556)),
        ("usb", Address(None)),
        ("usb:R5CT", Address(None, serial="R5CT")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected and parse_address(str(expected)) == expected


@pytest.mark.parametrize("text", ["", ":5555", "host:", "host:0", "host:65536", "host:12x", "a b", "fe80::1", "host\n"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is not a phone; write HOST:PORT, usb, or usb:SERIAL"):
        parse_address(text)


@given(st.one_of(st.text(), st.from_regex(r"[\[\]a-z0-9:.]{0,12}(:\d{0,6})?", fullmatch=True)))
def test_any_text_is_an_address_or_bad_input(text: str) -> None:
    try:
        found = parse_address(text)
    except BadInput:
        return
    assert isinstance(found, Address) and 0 < found.port < 65536
    assert parse_address(str(found)) == found


@pytest.mark.parametrize("host", ["a..b", "x" * 64])
def test_hosts_that_cannot_be_are_no_phone(host: str, signer: Any) -> None:
    with pytest.raises(PhoneGone, match="No phone answers"):
        connect(Address(host), signer)


# --- commands


@pytest.mark.parametrize(
    ("command", "code", "output"),
    [
        ("true", 0, ""),
        ("exit 7", 7, ""),
        ("echo one; echo two", 0, "one\ntwo"),
        ("printf 'no end'", 0, "no end"),
        ("printf 'a\\n\\n\\n'", 0, "a\n\n"),
        ("echo out; echo error >&2; exit 3", 3, "out\nerror"),
        ("printf '\\303\\244\\377'", 0, "ä\ufffd"),
        ("sh -c 'kill -9 $$' 2>/dev/null", 137, "Killed"),
        ("echo '@adascale-exit 9'", 0, "@adascale-exit 9"),
    ],
)
def test_shell_gives_code_and_output(connected: tuple[Phone, Adb], command: str, code: int, output: str) -> None:
    assert connected[1].shell(command) == (code, output)


def test_unknown_commands_give_127(connected: tuple[Phone, Adb]) -> None:
    code, output = connected[1].shell("no-such-command")
    assert code == 127 and "not found" in output


def test_long_output_comes_whole(connected: tuple[Phone, Adb]) -> None:
    code, output = connected[1].shell("seq 100000")
    assert code == 0 and output == "\n".join(str(n) for n in range(1, 100001))


def test_a_command_that_must_succeed_says_what_failed(connected: tuple[Phone, Adb]) -> None:
    assert connected[1].check("echo fine") == "fine"
    with pytest.raises(AdaScaleError, match=r"'cat /data/none' failed with code 1 \(.*No such file"):
        connected[1].check("cat /data/none")


def test_stream_gives_lines_as_they_come(connected: tuple[Phone, Adb]) -> None:
    phone, adb = connected
    go = phone.local(f"{FOLDER}/go")
    lines = adb.stream(f"echo first; until [ -e {FOLDER}/go ]; do sleep 0.01; done; echo second; printf rest", 10)
    assert next(lines) == "first" and not go.exists()
    go.touch()
    assert list(lines) == ["second", "rest"]
    go.unlink()


def test_a_command_that_hangs_ends_in_time(pixel: tuple[Phone, Adbd, Adb]) -> None:
    _, adbd, adb = pixel
    adbd.faults.hang = "getprop"
    begun = time.monotonic()
    with pytest.raises(PhoneGone, match="does not answer"):
        adb.shell("getprop", timeout_s=0.5)
    assert 0.4 < time.monotonic() - begun < 5


def test_a_command_that_talks_for_ever_ends_in_time(pixel: tuple[Phone, Adbd, Adb]) -> None:
    with pytest.raises(PhoneGone, match=r"did not finish .* within 1 s"):
        pixel[2].shell("while :; do echo x; sleep 0.05; done", timeout_s=1.0)


def test_a_cut_while_a_command_runs_is_a_phone_gone(pixel: tuple[Phone, Adbd, Adb]) -> None:
    _, adbd, adb = pixel
    lines = adb.stream("echo begun; sleep 30", 20)
    assert next(lines) == "begun"
    for connection in list(adbd.connections):
        connection.cut()
    with pytest.raises(PhoneGone, match=r"The connection to .* broke"):
        next(lines)


@pytest.mark.parametrize(
    "noise", [b"WARNING: linker: unused DT entry\n", b"I/log: no end of line ", b"@adascale-exit "]
)
def test_what_logs_put_into_the_output_does_no_harm(pixel: tuple[Phone, Adbd, Adb], noise: bytes) -> None:
    _, adbd, adb = pixel
    before = phone_facts.identity(phone_facts.read(adb))
    adbd.faults.noise = noise
    assert adb.shell("exit 5")[0] == 5
    assert phone_facts.identity(phone_facts.read(adb)) == before


# --- facts


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_facts_of_every_kind_of_phone(signer: Any, tmp_path: Path, shape: str) -> None:
    with emulated(tmp_path, shape) as (_, adbd), connect(Address(*adbd.address), signer) as adb:
        found = phone_facts.read(adb)
        props = SHAPES[shape].props
        assert found["name"] == (
            f"{props['ro.product.manufacturer']} {props['ro.product.model']} {props['ro.serialno']}"
        )
        assert found["os"] == f"Android {props['ro.build.version.release']}" and found["abi"] == found["arch"]
        assert found["cores"] >= 1 and found["memory_bytes"] > 1e8 and found["cpu"] == props["ro.soc.model"]
        assert found["battery"] == 0.8 and found["charging"] is False and 28 < found["temperature_c"] < 31
        assert found["thermal"] == ("none" if SHAPES[shape].thermalservice else None)
        assert not {"battery", "charging", "temperature_c", "thermal", "address"} & set(phone_facts.identity(found))


def test_facts_of_a_charging_phone(signer: Any, tmp_path: Path) -> None:
    with emulated(tmp_path, update_s=0.05) as (phone, adbd), connect(Address(*adbd.address), signer) as adb:
        phone.plug(True)
        deadline = time.monotonic() + 10
        while not (found := phone_facts.read(adb))["charging"] and time.monotonic() < deadline:
            pass
        assert found["charging"] is True


# --- files

BORDERS = [
    0, 1, 64 * KB - 9, 64 * KB - 8, 64 * KB - 1, 64 * KB, 64 * KB + 1, 128 * KB, 256 * KB - 8, 256 * KB, 256 * KB + 1,
    MB - 8, MB - 1, MB, MB + 1, 3 * MB + 12345,
]  # fmt: skip


@pytest.mark.parametrize("size", BORDERS)
def test_files_go_there_and_back(connected: tuple[Phone, Adb], size: int) -> None:
    phone, adb = connected
    data = random.Random(size).randbytes(size)
    sent: list[int] = []
    received: list[int] = []
    adb.push(data, f"{FOLDER}/x", 0o755, sent.append)
    there = phone.local(f"{FOLDER}/x")
    assert there.read_bytes() == data and there.stat().st_mode & 0o777 == 0o755
    assert adb.pull(f"{FOLDER}/x", received.append) == data
    assert sent == sorted(sent) and received == sorted(received)
    assert (sent[-1:], received[-1:]) == (([size], [size]) if size else ([], []))


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=300), repeat=st.integers(0, 700))
def test_any_bytes_go_there_and_back(connected: tuple[Phone, Adb], data: bytes, repeat: int) -> None:
    connected[1].push(data * repeat, f"{FOLDER}/any")
    assert connected[1].pull(f"{FOLDER}/any") == data * repeat


def test_a_file_of_the_host_goes_there(connected: tuple[Phone, Adb], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"of the host")
    connected[1].push(tmp_path / "file", f"{FOLDER}/with space/ä")
    assert connected[0].local(f"{FOLDER}/with space/ä").read_bytes() == b"of the host"
    assert connected[1].pull(f"{FOLDER}/with space/ä") == b"of the host"


@pytest.mark.parametrize("size", [10, 5 * MB])
@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("a-file/x", "(Not a directory|File exists)"),
        ("a-folder", "Is a directory"),
        ("../../../../outside", "Permission denied"),
    ],
)
def test_where_nothing_can_be_written_the_phone_says_why(
    connected: tuple[Phone, Adb], target: str, reason: str, size: int
) -> None:
    phone, adb = connected
    phone.local(f"{FOLDER}/a-file").touch()
    phone.local(f"{FOLDER}/a-folder").mkdir(exist_ok=True)
    with pytest.raises(AdaScaleError, match=f"rejected the file .*{target}: couldn't create file: {reason}.") as caught:
        adb.push(b"x" * size, f"{FOLDER}/{target}")
    assert not isinstance(caught.value, PhoneGone)
    assert adb.shell("echo still here") == (0, "still here")


def test_full_storage_is_told_before_all_is_sent(pixel: tuple[Phone, Adbd, Adb]) -> None:
    phone, adbd, adb = pixel
    adbd.faults.space = 2 * MB
    before = adbd.received
    with pytest.raises(AdaScaleError, match=r"rejected the file .*/x: write failed: No space left on device\."):
        adb.push(bytes(30 * MB), f"{FOLDER}/x")
    assert adbd.received - before < 10 * MB
    assert not phone.local(f"{FOLDER}/x").exists()
    assert adb.shell("echo still here") == (0, "still here")


@pytest.mark.parametrize(("name", "reason"), [("none", "No such file or directory"), ("", "Is a directory")])
def test_what_cannot_be_read_the_phone_says_why(connected: tuple[Phone, Adb], name: str, reason: str) -> None:
    with pytest.raises(AdaScaleError, match=f"did not give {FOLDER}/{name}: open failed: {reason}"):
        connected[1].pull(f"{FOLDER}/{name}")
    assert connected[1].shell("echo still here") == (0, "still here")


def test_a_cut_at_any_byte_of_a_transfer_is_a_phone_gone(signer: Any, tmp_path: Path) -> None:
    """And what is sent again afterwards is whole."""
    chance = random.Random(3)
    files = {f"folder/{n}": chance.randbytes(size) for n, size in enumerate((10, 70_000, 300_000, 1_200_000))}
    total = sum(map(len, files.values()))
    cuts = [1, 23, 24, 25, 1000, *(chance.randrange(total) for _ in range(40)), total, total + 500]
    seen = 0
    with emulated(tmp_path) as (phone, adbd):
        for cut in cuts:
            with connect(Address(*adbd.address), signer) as adb:
                store.remove(adb)
                adbd.faults.cut_after = cut
                with pytest.raises(PhoneGone):
                    store.bring(adb, files)
                    adb.shell("seq 100")  # in case the cut comes after the last file
                    adb.push(bytes(2000), f"{FOLDER}/more")
            with connect(Address(*adbd.address), signer) as adb:
                sent = store.bring(adb, files)
                seen += 0 < sent < total
                assert store.bring(adb, files) == 0
            for name, data in files.items():
                there = phone.local(f"{store.FOLDER}/{name}").read_bytes()
                assert hashlib.sha256(there).digest() == hashlib.sha256(data).digest(), (cut, name)
    assert seen > 10  # what had arrived whole was not sent again


def test_a_clock_that_is_set_breaks_no_transfer(
    pixel: tuple[Phone, Adbd, Adb], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = itertools.count(time.time(), 1e6)
    data = random.Random(1).randbytes(5 * MB)
    monkeypatch.setattr(time, "time", lambda: next(looks))
    for _ in range(5):
        pixel[2].push(data, f"{FOLDER}/x")
        assert pixel[2].pull(f"{FOLDER}/x") == data
        assert len(pixel[2].check("seq 300000").splitlines()) == 300000


# --- what is no phone


def test_the_system_looks_after_silent_connections(pixel: tuple[Phone, Adbd, Adb]) -> None:
    """A phone that leaves the network sends no word of it."""
    found = pixel[2]._device._io_manager._transport._socket
    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    asked = {name: found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in KEEPALIVE}
    assert asked == KEEPALIVE and asked["TCP_KEEPIDLE"] + asked["TCP_KEEPINTVL"] * asked["TCP_KEEPCNT"] <= 30


def test_nobody_there(signer: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(PhoneGone, match=f"No phone answers at 127.0.0.1:{port} .*refused.*adb tcpip {port}"):
        connect(Address("127.0.0.1", port), signer)


def _answering(answer: bytes) -> tuple[socket.socket, threading.Thread]:
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        accepted, _ = listening.accept()
        with accepted:
            if answer:
                accepted.sendall(answer)
            accepted.settimeout(10)
            with contextlib.suppress(ConnectionResetError):
                while accepted.recv(1 << 16):
                    pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listening, thread


STLS = b"STLS" + bytes.fromhex("00000001 00000000 00000000 00000000".replace(" ", "")) + bytes(255 - b for b in b"STLS")


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "is not a phone"),
        (STLS, "encrypted wireless debugging.*adb tcpip 5555"),
        (b"", "No phone answers"),
    ],
)
def test_what_answers_otherwise(answer: bytes, sentence: str, signer: Any) -> None:
    listening, thread = _answering(answer)
    with listening, pytest.raises(AdaScaleError, match=sentence):
        connect(Address(*listening.getsockname()), signer, timeout_s=0.5)
    thread.join(10)
    assert not thread.is_alive()


def test_a_line_without_an_end_is_not_waited_for(pixel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("android_harness.adb.LINE", 1 << 20)
    assert len(pixel[2].shell("head -c 1000000 /dev/zero | tr '\\0' x")[1]) == 1_000_000
    with pytest.raises(AdaScaleError, match="sends an endless line"):
        pixel[2].shell("cat /dev/zero | tr '\\0' x")


def test_output_without_an_end_is_not_waited_for(pixel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("android_harness.adb.OUTPUT", 1 << 20)
    assert len(pixel[2].shell("yes | head -c 1000000")[1]) == 999_999
    with pytest.raises(AdaScaleError, match=r"'yes' prints more than 1 MB"):
        pixel[2].shell("yes")
