"""Zip archives from outside: opened only if their declared contents are within limits.

Standard library only and Python 3.8 compatible. Everything that unpacks (data, bundles, Keras files, LiteRT packages,
``.npz``) opens its archives here, so that no reader can be made to fill the memory or the disk.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Iterator, Union

from adascale_runtime.errors import BadInput

try:
    from lzma import LZMAError
except ImportError:  # a phone's Python may lack it; zipfile then refuses what needs it

    class LZMAError(Exception):  # type: ignore[no-redef]
        """Never raised here."""


#: Most bytes that an archive may declare, unpacked; see :func:`limit`.
DEFAULT_LIMIT = 4 << 30
_limits = [DEFAULT_LIMIT]  # of the whole process: phones are served by threads of their own
#: Compressions that Python reads without help.
_KNOWN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


@contextmanager
def limit(most_bytes: int) -> Iterator[None]:
    """Allow archives of up to ``most_bytes`` unpacked bytes inside the block."""
    _limits.append(most_bytes)
    try:
        yield
    finally:
        _limits.pop()


def most_bytes() -> int:
    """How many unpacked bytes an archive may declare now."""
    return _limits[-1]


def check_size(size: int, what: str) -> None:
    """Refuse ``size`` bytes, the declared size of ``what``, if it is above the limit."""
    if size > most_bytes():
        raise BadInput(
            "{} unpacks to {:.1f} GB, above the limit of {:.1f} GB; if you trust it, allow more with "
            "'adascale --max-gb N ...'.".format(what, size / 1e9, most_bytes() / 1e9)
        )


@contextmanager
def opened(path: Path, content: Union[IO[bytes], None] = None) -> Iterator[zipfile.ZipFile]:
    """A .zip whose members are safe to read: declared sizes within the limit, plain names, known compression.

    Args:
        path: the archive, or its name for messages where ``content`` is given.
        content: an open file to read in its place.

    Raises:
        BadInput: it is no whole .zip, encrypted, too large, or has members outside itself or of the same name; also
            for a member that proves damaged when it is read inside the block. No member gives more bytes than it
            declares: ``zipfile`` stops there.
    """
    try:
        archive = zipfile.ZipFile(content or path)
    except OSError as error:
        raise BadInput("{} cannot be read ({}).".format(path, error.strerror or error)) from None
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, struct.error) as error:
        raise BadInput("{} is not a complete .zip file ({}); copy it again.".format(path, error)) from None
    with archive:
        _check(archive, path)
        try:
            yield archive
        except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error, LZMAError, struct.error) as error:
            raise BadInput("{} is damaged ({}); copy it again.".format(path, error)) from None
        except OSError as error:
            if error.errno is not None:  # of the block's own work; bz2 raises a bare one
                raise
            raise BadInput("{} is damaged ({}); copy it again.".format(path, error)) from None


def _check(archive: zipfile.ZipFile, path: Path) -> None:
    infos = archive.infolist()
    check_size(sum(info.file_size for info in infos), str(path))
    seen = set()
    for info in infos:
        name = info.filename
        if info.flag_bits & 0x1:
            raise BadInput("{} is encrypted ({}); unpack it yourself and give the folder.".format(path, name))
        if info.compress_type not in _KNOWN:
            raise BadInput(
                "{} compresses {} with a method that Python cannot read ({}); pack it again as an ordinary "
                ".zip.".format(path, name, info.compress_type)
            )
        if name.startswith("/") or "\\" in name or ".." in name.split("/"):
            raise BadInput("{} names '{}', which lies outside it; do not use it.".format(path, name))
        if name in seen:
            raise BadInput("{} holds '{}' twice; pack it again.".format(path, name))
        seen.add(name)
