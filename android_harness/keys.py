"""The RSA key that identifies this computer to phones: adb's own, created if missing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from adascale_runtime.errors import BadInput

#: The only size of keys that ADB's format of public keys holds.
BITS = 2048


def default_path() -> Path:
    """Where ``adb`` keeps its key: ``$ANDROID_USER_HOME/adbkey`` or ``~/.android/adbkey``."""
    home = os.environ.get("ANDROID_USER_HOME")
    return Path(home) / "adbkey" if home else Path.home() / ".android" / "adbkey"


def load(path: Path | None = None) -> tuple[Any, bool]:
    """The signer for adb-shell, and whether its key was made just now.

    Raises :class:`BadInput` if the file is no private key or cannot be written.
    """
    from adb_shell.auth import keygen
    from adb_shell.auth.sign_cryptography import CryptographySigner

    path = path or default_path()
    made = not path.exists()
    try:
        if made:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".key.", dir=path.parent) as folder:  # a full disk leaves no half
                new = Path(folder) / path.name
                keygen.keygen(str(new))
                new.chmod(0o600)
                Path(f"{new}.pub").replace(f"{path}.pub")
                new.replace(path)
        _check(path)
        if not Path(f"{path}.pub").exists():
            keygen.write_public_keyfile(str(path), f"{path}.pub")
        return CryptographySigner(str(path)), made
    except OSError as error:
        raise BadInput(f"{path} cannot be used as adb's key ({error.strerror}); give another --key.") from None
    except (ValueError, TypeError):  # the last from an encrypted key
        raise BadInput(f"{path} is not an RSA private key; delete it, or give another --key.") from None


def _check(path: Path) -> None:
    """See that a file is a private key as phones know them; ValueError or TypeError if it is none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if not isinstance(key, RSAPrivateKey):
        raise TypeError("not RSA")
    if (bits := key.key_size) != BITS:
        raise BadInput(
            f"{path} is an RSA key of {bits} bits, but phones accept {BITS}-bit keys only; give another --key."
        )
