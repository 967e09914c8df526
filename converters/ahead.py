"""Branches compiled ahead of time for NPUs, by the vendors' compilers that ai-edge-litert drives.

A compiled file has LiteRT's operator DISPATCH_OP in the place of every part that was compiled, and the vendor's code
behind the flatbuffer. It holds one signature: what an NPU runs is compiled for it alone.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import io
import os
import re
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from adascale_runtime.engines import native_words, vendors
from adascale_runtime.errors import AdaScaleError, BadInput, UnknownDelegate
from adascale_runtime.files.disk import writing
from adascale_runtime.text import excerpt
from converters import flatbuffer
from converters.delegates.operator import read

#: What stands in a compiled file for a part that was compiled.
DISPATCH = "DISPATCH_OP"
#: "this machine": the chip that runs compiled files here.
HOST = "host"
#: OpenVINO's CPU device, which runs what Intel's compiler wrote for it on any x86 processor.
CPU = "CPU"


@dataclass(frozen=True)
class Maker:
    """A vendor of chips with NPUs, as ai-edge-litert names it."""

    name: str
    #: The package in ``ai_edge_litert.aot.vendors``; its modules are ``target`` and ``PACKAGE_backend``.
    package: str
    #: The Python package with the vendor's compiler, and where it comes from.
    sdk: str
    install: str


MAKERS = (
    Maker("intel", "intel_openvino", "ai_edge_litert_sdk_intel", "pip install ai-edge-litert-sdk-intel"),
    Maker("qualcomm", "qualcomm", "ai_edge_litert_sdk_qualcomm", "pip install ai-edge-litert-sdk-qualcomm"),
    Maker("mediatek", "mediatek", "ai_edge_litert_sdk_mediatek", "pip install ai-edge-litert-sdk-mediatek"),
    Maker(
        "google", "google_tensor", "ai_edge_litert_sdk_google_tensor",
        "get the Tensor SDK (developers.google.com/edge/litert/next/tensor-sdk) and name its compiler's library in "
        "GOOGLE_TENSOR_COMPILER_LIB",
    ),
    Maker(
        "samsung", "samsung", "ai_edge_litert_sdk_samsung",
        "get the Exynos AI SDK of Samsung (soc-developer.semiconductor.samsung.com) for LiteRT",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Target:
    """A chip to compile for."""

    vendor: str
    chip: str

    def __str__(self) -> str:
        return f"{self.vendor}:{self.chip}"


@dataclass(frozen=True)
class Ahead:
    """A signature that was compiled."""

    model: bytes
    """The file's content."""

    operators: int
    """Operators before, without those that only unpack weights."""

    taken: int
    """How many of them were compiled."""

    partitions: int
    """Into how many parts."""


def known() -> tuple[Target, ...]:
    """All chips that the installed ai-edge-litert names, and OpenVINO's CPU device."""
    found = [Target("intel", CPU)]
    for maker in MAKERS:
        try:
            models = importlib.import_module(f"ai_edge_litert.aot.vendors.{maker.package}.target").SocModel
        except ImportError:
            continue
        found += [Target(maker.name, str(model.value)) for model in models if model.value != "ALL"]
    return tuple(found)


def parse(text: str) -> Target:
    """The target that a text names: ``intel:CPU``, ``SM8750``, or ``host`` for what runs here.

    Raises:
        BadInput: No such chip is known; the sentence lists them.
        UnknownDelegate: ``host``, and nothing here runs compiled files; the sentence says what to install.
    """
    if text.strip().lower() == HOST:
        vendor = vendors.find(vendors.wheel_library())
        return Target(vendor.name, vendor.chip)
    vendor_name, _, chip = text.strip().rpartition(":")
    everything = known()
    for target in everything:
        if target.chip.lower() == chip.lower() and vendor_name.lower() in ("", target.vendor):
            return target
    listed = "; ".join(
        f"{maker.name}: {', '.join(t.chip for t in everything if t.vendor == maker.name)}" for maker in MAKERS
    )
    raise BadInput(f"No NPU '{excerpt(text)}' is known; choose '{HOST}', or among {listed}.")


def check(target: Target) -> None:
    """Refuse a target whose compiler is not installed; :class:`UnknownDelegate` says what to install."""
    maker = next(maker for maker in MAKERS if maker.name == target.vendor)
    if target.vendor == "intel":
        vendors.find(vendors.wheel_library())
    if target.chip == CPU or find_spec(maker.sdk) is not None:
        return
    if target.vendor == "google" and os.environ.get("GOOGLE_TENSOR_COMPILER_LIB"):
        return
    raise UnknownDelegate(
        f"The compiler for {target.chip} of {target.vendor} is not installed; {maker.install}, in the release for "
        f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}."
    )


def compiler(target: Target) -> str:
    """What compiles for a target, with its version."""
    words = [f"ai-edge-litert {importlib.metadata.version('ai-edge-litert')}"]
    if target.vendor == "intel":
        words.append(vendors.find(vendors.wheel_library()).release)
    return ", ".join(words)


def compile_signature(model: bytes, signature: str, target: Target) -> Ahead:
    """Compile one signature of a .tflite for a chip.

    Raises:
        AdaScaleError: The compiler refuses it, or takes none of its operators.
    """
    alone = flatbuffer.extract(model, signature)
    before = read(alone, signature).operators
    with tempfile.TemporaryDirectory(prefix="adascale-npu-") as holder:
        folder = Path(holder)
        with writing(folder, "free some space or set TMPDIR"):
            (folder / "branch.tflite").write_bytes(alone)
        written = _run(folder, target)
        compiled = written.read_bytes()
    after = read(compiled, signature).operators
    partitions = sum(one.custom == DISPATCH for one in after)
    left = len(after) - partitions
    if not partitions:
        raise AdaScaleError(
            f"The compiler for {target} takes none of the {len(before)} operators of '{signature}'; run it on another "
            "delegate."
        )
    return Ahead(compiled, len(before), max(0, len(before) - left), partitions)


def _run(folder: Path, target: Target) -> Path:
    """The file that the compiler writes for ``branch.tflite`` in a folder."""
    maker = next(maker for maker in MAKERS if maker.name == target.vendor)
    base = f"ai_edge_litert.aot.vendors.{maker.package}"
    try:
        aot = importlib.import_module("ai_edge_litert.aot.aot_compile")
        types: Any = importlib.import_module("ai_edge_litert.aot.core.aot_types")
        importlib.import_module(f"{base}.{maker.package}_backend")  # registers itself
        chips = importlib.import_module(f"{base}.target")
    except ImportError as error:
        raise UnknownDelegate(
            f"The compilers of ai-edge-litert cannot be used ({error}); install it again with 'pip install "
            "ai-edge-litert'."
        ) from None
    options: dict[str, str] = {}
    models = [model for model in chips.SocModel if model.value != "ALL"]
    if target.chip == CPU:  # the chip does not matter then; the plugin wants one
        options, model = {"intel_openvino_graph_backends": "cpu"}, models[-1]
    else:
        model = next(model for model in models if model.value == target.chip)
    config = [types.CompilationConfig(target=chips.Target(model), **options)]
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            done = aot.aot_compile(
                str(folder / "branch.tflite"), output_dir=folder / "out", config=config, keep_going=False
            )
    except (ValueError, OSError, AssertionError) as error:
        raise AdaScaleError(f"The compiler for {target} fails{_said(str(error))}.") from None
    return Path(done.models[0].path)


def _said(message: str) -> str:
    """The first error in the log that ai-edge-litert keeps of a compiler that failed, which is removed; else its own
    words."""
    log = re.search(r"See (\S+\.error) for details", message)
    if log is None:
        return f" ({excerpt(message, 200)})"
    path = Path(log.group(1))
    try:
        words = path.read_text(encoding="utf-8", errors="replace")
        path.unlink()
    except OSError:
        return ""
    return native_words.reason(words)
