"""Keys that prove to a phone who asks, and its dialog for those that it does not know."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from adascale_runtime.errors import AdaScaleError, BadInput
from android_harness import keys
from android_harness.adb import Address, PhoneGone, connect
from tests.fixtures.adbd import Access
from tests.fixtures.emulated_phone import emulated


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return keys.load(tmp_path_factory.mktemp("key") / "adbkey")[0]


def test_a_key_is_made_and_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_USER_HOME", str(tmp_path / "android"))
    first, made = keys.load()
    path = tmp_path / "android/adbkey"
    assert made and path.stat().st_mode & 0o777 == 0o600
    again, made_again = keys.load()
    assert not made_again and again.GetPublicKey() == first.GetPublicKey()
    Path(f"{path}.pub").unlink()
    assert keys.load()[0].GetPublicKey().split()[0] == first.GetPublicKey().split()[0]
    monkeypatch.delenv("ANDROID_USER_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert keys.default_path() == tmp_path / ".android/adbkey"


def _elliptic() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _rsa(bits: int, password: bytes | None = None) -> bytes:
    hidden: Any = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return rsa.generate_private_key(65537, bits).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden
    )


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff\xfe\0", _elliptic(), _rsa(2048, b"secret")],
    ids=["empty", "text", "bytes", "ec", "encrypted"],
)  # fmt: skip
@pytest.mark.parametrize("public", [None, b"anything"])
def test_what_is_no_rsa_key_is_refused_and_kept(tmp_path: Path, content: bytes, public: bytes | None) -> None:
    path = tmp_path / "adbkey"
    path.write_bytes(content)
    if public is not None:
        (tmp_path / "adbkey.pub").write_bytes(public)
    with pytest.raises(BadInput, match="is not an RSA private key"):
        keys.load(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("bits", [1024, 3072, 4096])
@pytest.mark.parametrize("public", [None, b"anything"])
def test_keys_of_other_sizes_are_refused_and_kept(tmp_path: Path, bits: int, public: bytes | None) -> None:
    path, content = tmp_path / "adbkey", _rsa(bits)
    path.write_bytes(content)
    if public is not None:
        (tmp_path / "adbkey.pub").write_bytes(public)
    with pytest.raises(
        BadInput, match=f"is an RSA key of {bits} bits, but phones accept 2048-bit keys only; give another"
    ):
        keys.load(path)
    assert path.read_bytes() == content and (tmp_path / "adbkey.pub").exists() == (public is not None)


def test_a_key_that_cannot_be_kept_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="cannot be used as adb's key"):
        keys.load(tmp_path / "file/adbkey")


def test_a_known_key_needs_no_dialog(tmp_path: Path, signer: Any) -> None:
    access = Access(keys=set())
    asked: list[int] = []
    with emulated(tmp_path, access=access) as (_, adbd):
        connect(Address(*adbd.address), signer, waiting=lambda: asked.append(1)).close()
        assert len(asked) == 1 and len(access.keys or ()) == 1
        access.dialog = "wait"
        with connect(Address(*adbd.address), signer, waiting=lambda: asked.append(2)) as adb:
            assert adb.shell("echo in") == (0, "in")
    assert asked == [1]


def test_an_unknown_key_that_nobody_allows_says_what_to_do(tmp_path: Path, signer: Any) -> None:
    with emulated(tmp_path, access=Access(keys=set(), dialog="wait")) as (_, adbd):
        asked: list[int] = []
        with pytest.raises(AdaScaleError, match="unlock the phone, allow this computer") as caught:
            connect(Address(*adbd.address), signer, dialog_s=0.5, waiting=lambda: asked.append(1))
        assert asked == [1] and not isinstance(caught.value, PhoneGone)


@pytest.mark.parametrize("dialog", ["close", "challenge"])
def test_a_refusal_that_the_phone_tells_is_told_at_once(tmp_path: Path, signer: Any, dialog: str) -> None:
    with emulated(tmp_path, access=Access(keys=set(), dialog=dialog, delay_s=0.2)) as (_, adbd):
        begun = time.monotonic()
        with pytest.raises(AdaScaleError, match=r"refused this computer: its .* dialog was refused\.") as caught:
            connect(Address(*adbd.address), signer, dialog_s=20)
        assert time.monotonic() - begun < 5 and not isinstance(caught.value, PhoneGone)


def test_silence_may_be_a_refusal(tmp_path: Path, signer: Any) -> None:
    """Android's own daemon says nothing when its dialog is refused."""
    with (
        emulated(tmp_path, access=Access(keys=set(), dialog="wait")) as (_, adbd),
        pytest.raises(AdaScaleError, match=r"waits for its .* dialog, or it was refused there"),
    ):
        connect(Address(*adbd.address), signer, dialog_s=0.3)


def test_adb_shell_stays_as_it_is_for_others() -> None:
    from adb_shell import adb_device, adb_message

    import android_harness.adb  # noqa: F401

    assert adb_device.time is time and adb_device.checksum is adb_message.checksum
    assert adb_message.checksum.__module__ == "adb_shell.adb_message"
