"""Wheels of data files, the same bytes for the same files. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping

from android_harness.portable.recipe import packed

_METADATA = """\
Metadata-Version: 2.1
Name: {name}
Version: {version}
Summary: {summary}
License: {licence}
"""
_WHEEL = """\
Wheel-Version: 1.0
Generator: adascale-tf
Root-Is-Purelib: true
Tag: py3-none-any
"""


def file_name(distribution: str, version: str) -> str:
    """The name of a wheel's file."""
    return f"{distribution.replace('-', '_')}-{version}-py3-none-any.whl"


def write(
    distribution: str, version: str, module: str, files: Mapping[str, bytes], *, summary: str, licence: str
) -> bytes:
    """A wheel whose package ``module`` holds files by their paths in it."""
    info = f"{distribution.replace('-', '_')}-{version}.dist-info"
    metadata = _METADATA.format(name=distribution, version=version, summary=summary, licence=licence)
    content = {f"{module}/{name}": data for name, data in files.items()}
    content |= {f"{info}/METADATA": metadata.encode(), f"{info}/WHEEL": _WHEEL.encode()}
    lines = [f"{name},sha256={_sum(data)},{len(data)}" for name, data in sorted(content.items())]
    record = f"{info}/RECORD"
    return packed(content | {record: "\n".join([*lines, f"{record},,"]).encode() + b"\n"})


def _sum(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
