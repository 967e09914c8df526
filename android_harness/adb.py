"""One phone over ADB, by adb-shell: shell commands with exit codes and time limits, files there and back.

No adb server is needed: the phone's adbd is spoken to directly, over TCP or USB. Whatever goes wrong with the
connection is a :class:`PhoneGone`, which a caller may answer by connecting again.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adb_shell import exceptions
from adb_shell.adb_device import AdbDevice

from adascale_runtime.errors import AdaScaleError, BadInput
from android_harness.sync import Pace, Sync
from android_harness.transport import NO_LIMIT, KeyRefused, TcpTransport, improved

PORT = 5555
_DONE = "@adascale-exit "
_DATA = 64 * 1024  # the largest DATA of SYNC.TXT
#: Bytes of a line that a phone says, and of all that a command prints; an agent's longest lines have some 100,000.
LINE, OUTPUT = 16 << 20, 64 << 20


class PhoneGone(AdaScaleError):
    """The connection to the phone broke, or it does not answer."""


class Silent(PhoneGone):
    """The connection stands, as far as can be told, but what was asked for does not come."""


@dataclass(frozen=True)
class Address:
    """``HOST:PORT`` of a phone on the network, or ``usb`` with the serial number of one on a cable (None: the only)."""

    host: str | None
    port: int = PORT
    serial: str | None = None

    def __str__(self) -> str:
        if self.host is None:
            return "usb" + (f":{self.serial}" if self.serial else "")
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read HOST, HOST:PORT, usb or usb:SERIAL; :class:`BadInput` says what is wrong."""
    if text == "usb" or text.startswith("usb:"):
        return Address(None, serial=text[4:] or None)
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", text)
    if match is None or not 0 < int(match.group(2) or PORT) < 65536:
        raise BadInput(f"'{text}' is not a phone; write HOST:PORT, usb, or usb:SERIAL.")
    return Address(match.group(1).strip("[]"), int(match.group(2) or PORT))


class Adb:
    """A connected phone. Not thread-safe: one user at a time."""

    def __init__(self, address: Address, device: AdbDevice) -> None:
        self.address = address
        self._device = device
        self._pace = Pace(device._maxdata)

    def __enter__(self) -> Adb:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(Exception):
            self._device.close()

    def shell(self, command: str, timeout_s: float = 30.0) -> tuple[int, str]:
        """Run a command; its exit code and its output (standard error included)."""
        lines: list[str] = []
        size = 0
        for line in self.stream(f"({command}) 2>&1; code=$?; echo; echo {_DONE}$code", timeout_s, timeout_s):
            lines.append(line)
            size += len(line) + 1
            if size > OUTPUT:
                raise AdaScaleError(f"{self.address}: '{command[:60]}' prints more than {OUTPUT >> 20} MB.")
        output, _, after = "\n".join(lines).rpartition(_DONE)
        code = re.match(r"[0-9]{1,9}", after)
        if code is None:
            raise PhoneGone(f"{self.address} ended '{command[:60]}' without an exit code.")
        return int(code.group()), output.removesuffix("\n").removesuffix("\n")

    def check(self, command: str, timeout_s: float = 30.0) -> str:
        """The output of a command that must succeed."""
        code, output = self.shell(command, timeout_s)
        if code:
            last = (output.strip().splitlines() or ["no message"])[-1]
            raise AdaScaleError(f"{self.address}: '{command[:60]}' failed with code {code} ({last[:200]}).")
        return output

    def stream(self, command: str, silence_s: float, timeout_s: float | None = None) -> Iterator[str]:
        """The lines of a command's output as they come; at most ``silence_s`` seconds may pass between two."""
        rest = b""
        with self._guarded(command[:60]):
            received = self._device.streaming_shell(
                command, transport_timeout_s=silence_s, read_timeout_s=NO_LIMIT, decode=False
            )
            begun = time.monotonic()
            for data in received:
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > LINE:
                    raise AdaScaleError(
                        f"{self.address} sends an endless line in reply to '{command[:60]}'; restart the phone."
                    )
                for line in lines:
                    yield line.rstrip(b"\r").decode(errors="replace")
                if timeout_s is not None and time.monotonic() - begun > timeout_s:
                    raise Silent(f"{self.address} did not finish '{command[:60]}' within {timeout_s:.0f} s.")
        if rest:
            yield rest.rstrip(b"\r").decode(errors="replace")

    def push(
        self, source: Path | bytes, target: str, mode: int = 0o644, tell: Callable[[int], None] = lambda done: None
    ) -> None:
        """Write a file on the phone; ``tell`` gets the bytes sent so far."""
        data = source if isinstance(source, bytes) else source.read_bytes()
        with self._sync(target) as sync:
            name = f"{target},{0o100000 | mode}".encode()
            sync.write(b"SEND" + struct.pack("<I", len(name)) + name)
            for start in range(0, len(data), _DATA):
                piece = data[start : start + _DATA]
                sync.write(b"DATA" + struct.pack("<I", len(piece)) + piece)
                if sync.answered:  # it fails, and says so before it has all
                    break
                tell(start + len(piece))
            else:
                sync.write(b"DONE" + struct.pack("<I", int(time.time())))
                sync.flush()
            kind, size = sync.head()
            if kind != b"OKAY":
                raise AdaScaleError(
                    f"{self.address} rejected the file {target}: {sync.read(size).decode(errors='replace')}."
                )

    def pull(self, source: str, tell: Callable[[int], None] = lambda done: None) -> bytes:
        """Read a file of the phone; ``tell`` gets the bytes received so far."""
        received: list[bytes] = []
        done = 0
        with self._sync(source) as sync:
            name = source.encode()
            sync.write(b"RECV" + struct.pack("<I", len(name)) + name)
            sync.flush()
            while True:
                kind, size = sync.head()
                if kind == b"DONE":
                    return b"".join(received)
                data = sync.read(size)
                if kind != b"DATA":
                    raise AdaScaleError(f"{self.address} did not give {source}: {data.decode(errors='replace')}.")
                received.append(data)
                done += size
                tell(done)

    @contextlib.contextmanager
    def _sync(self, name: str) -> Iterator[Sync]:
        with self._guarded(name):
            sync = Sync(self._device, self._pace)
            try:
                yield sync
            except AdaScaleError:
                sync.close()
                raise
            sync.close()

    @contextlib.contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        try:
            yield
        except (exceptions.TcpTimeoutException, exceptions.UsbReadFailedError, exceptions.AdbTimeoutError):
            raise Silent(f"{self.address} does not answer ({what}).") from None
        except (OSError, struct.error, exceptions.AdbConnectionError, exceptions.InvalidCommandError) as error:
            raise PhoneGone(f"The connection to {self.address} broke ({what}: {error}).") from None
        except (
            exceptions.InvalidResponseError,
            exceptions.InvalidChecksumError,
            exceptions.AdbCommandFailureException,
        ):
            raise PhoneGone(f"{self.address} violates the ADB protocol ({what}).") from None


def connect(
    address: Address, signer: Any, timeout_s: float = 10.0, dialog_s: float = 30.0,
    waiting: Callable[[], None] = lambda: None,
) -> Adb:  # fmt: skip
    """Connect and prove who we are. ``waiting`` is called when the phone shows its "Allow" dialog, for ``dialog_s``.

    Raises :class:`PhoneGone` if nothing answers, :class:`AdaScaleError` if the phone does not let us in.
    """
    device = _device(address)
    asked: list[bool] = []

    def ask(_: Any) -> None:
        asked.append(True)
        waiting()

    try:
        device.connect(
            rsa_keys=[signer], transport_timeout_s=timeout_s, read_timeout_s=NO_LIMIT, auth_timeout_s=dialog_s,
            auth_callback=ask,
        )  # fmt: skip
    except (
        OSError,
        UnicodeError,  # of a host's name that cannot be one
        exceptions.TcpTimeoutException,
        exceptions.UsbReadFailedError,
        exceptions.AdbTimeoutError,
    ) as error:
        device.close()
        if asked and isinstance(error, ConnectionResetError):  # closed while the dialog was shown
            raise _refused(address) from None
        if asked:
            raise AdaScaleError(
                f"{address} waits for its 'Allow USB debugging?' dialog, or it was refused there, of which most phones "
                "say nothing; unlock the phone, allow this computer, and run the command again."
            ) from None
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise PhoneGone(
            f"No phone answers at {address} ({reason}); is it on, in this network, and was 'adb tcpip {address.port}' "
            "given over a cable?"
        ) from None
    except exceptions.InvalidCommandError as error:
        device.close()
        if "STLS" in str(error):
            raise AdaScaleError(
                f"{address} is the port of Android's encrypted wireless debugging, which adb-shell does not speak; "
                "connect once with adb, give 'adb tcpip 5555', and use port 5555."
            ) from None
        raise PhoneGone(f"The device at {address} is not a phone ({error}).") from None
    except KeyRefused:
        device.close()
        raise _refused(address) from None
    except (exceptions.DeviceAuthError, exceptions.InvalidResponseError, exceptions.InvalidChecksumError) as error:
        device.close()
        raise AdaScaleError(f"{address} refuses this computer ({error}); allow it on the phone.") from None
    return Adb(address, device)


def _refused(address: Address) -> AdaScaleError:
    return AdaScaleError(
        f"{address} refused this computer: its 'Allow USB debugging?' dialog was refused. Run the command again, and "
        "allow this computer on the phone."
    )


def _device(address: Address) -> AdbDevice:
    if address.host is not None:
        return improved(AdbDevice(TcpTransport(address.host, address.port)))
    try:
        from adb_shell.adb_device import AdbDeviceUsb

        return improved(AdbDeviceUsb(serial=address.serial))
    except ImportError:
        raise BadInput("Phones on a cable need libusb; give 'pip install adb-shell[usb]'.") from None
    except exceptions.UsbDeviceNotFoundError:
        raise PhoneGone(f"There is no phone at {address}; plug it in and switch USB debugging on.") from None
    except (OSError, exceptions.InvalidTransportError) as error:
        raise BadInput(
            f"USB cannot be used here ({error}); give 'pip install adb-shell[usb]', and end an adb server that holds "
            "the phone with 'adb kill-server'."
        ) from None


def quote(text: str) -> str:
    """A word that the phone's shell takes as it is."""
    return shlex.quote(text)
