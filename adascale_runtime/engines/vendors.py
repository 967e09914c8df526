"""The libraries of NPUs' vendors on this machine: what compiles a graph for an NPU, and what runs it.

LiteRT gives an NPU's share of a graph to a compiler plugin, which selects operators and compiles them, and runs the
result with a dispatch library. On phones both lie beside ``libLiteRt.so``. On hosts the wheel of ai-edge-litert brings
Intel's, which stand on OpenVINO of one exact release. Where a host has no Intel NPU, OpenVINO's CPU device executes the
graph: operators are selected, partitioned and dispatched as for an NPU, and the times are those of a CPU. So is the
arithmetic: bfloat16 where the processor has it, whatever ``INFERENCE_PRECISION_HINT`` the options name, since the
dispatch library of LiteRT 2.3.0 imports the compiled graph without them.

Standard library only and Python 3.8 compatible.
"""

from __future__ import annotations

import ctypes
import os
import re
from ctypes import POINTER, byref, c_char_p, c_size_t, c_void_p
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Dict, List, Tuple

from adascale_runtime.engines import releases
from adascale_runtime.errors import UnknownDelegate

#: Intel's folder beside ``libLiteRt.so``, the libraries in it, and how the plugin numbers OpenVINO's devices.
_INTEL = "vendors/intel_openvino"
_COMPILER, _DISPATCH = "libLiteRtCompilerPlugin_IntelOpenvino.so", "libLiteRtDispatch_IntelOpenvino.so"
_BACKENDS = {"CPU": 0, "NPU": 2}
#: Intel's names for the chips with an NPU of an architecture, as LiteRT's compiler takes them.
_ARCHITECTURES = {"4000": "LNL", "5010": "PTL"}
#: More graphs than this no file is cut into; the plugin wants the device of each.
_MOST_GRAPHS = 4096
INSTALL = "pip install 'adascale-tf[npu]'"


@dataclass(frozen=True)
class Vendor:
    """The libraries of one vendor, ready to be loaded by LiteRT."""

    #: ``intel``.
    name: str
    #: What executes the graphs: ``CPU``, or the vendor's name for the chip, such as ``PTL``.
    chip: str
    #: The folders of the compiler plugin and of the dispatch library.
    compiler: str
    dispatch: str
    #: What executes, with its release: ``OpenVINO 2026.3.1``.
    release: str

    def options(self, operators: int) -> Tuple[bytes, str]:
        """The name and TOML of the options of a file with so many operators: the device of each graph it is cut into.

        A graph that is not named goes to the NPU, wherever the others go.
        """
        backend = _BACKENDS["CPU" if self.chip == "CPU" else "NPU"]
        graphs = range(max(1, min(operators, _MOST_GRAPHS)))
        return b"intel_openvino", "".join("graph.{}.graph_backend = {}\n".format(graph, backend) for graph in graphs)


def wheel_library() -> str:
    """The path of the wheel's ``libLiteRt.so``."""
    spec = find_spec("ai_edge_litert")
    if spec is None or spec.origin is None:
        raise UnknownDelegate("LiteRT is missing; install it with 'pip install ai-edge-litert'.")
    return str(Path(spec.origin).parent / "libLiteRt.so")


_FOUND: Dict[str, Vendor] = {}


def find(library: str) -> Vendor:
    """The vendor whose libraries are in folders beside ``library``, the path of ``libLiteRt.so``.

    What they stand on is loaded, once a process. Raises :class:`UnknownDelegate` with what to install if there are
    none, or if they cannot be loaded.
    """
    root = os.path.dirname(os.path.abspath(library))
    if root not in _FOUND:
        _FOUND[root] = _intel(Path(root))
    return _FOUND[root]


def beside(library: str) -> bool:
    """Whether vendors have folders of their own beside ``libLiteRt.so``, as in the wheel; on phones they have not."""
    return os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(library)), "vendors"))


def _intel(root: Path) -> Vendor:
    compiler, dispatch = root / _INTEL / "compiler", root / _INTEL / "dispatch"
    for file in (compiler / _COMPILER, dispatch / _DISPATCH):
        if not file.is_file():
            raise UnknownDelegate(
                "The delegate npu needs {}, which the wheel of ai-edge-litert has for Linux on x86-64 only.".format(
                    file
                )
            )
    release, folder = _openvino()
    wanted = _wanted(compiler / _COMPILER)
    for name in wanted:
        try:
            ctypes.CDLL(str(folder / name))  # the plugins then find it, wherever it lies
        except OSError as error:
            fitting = _release(name)
            raise UnknownDelegate(
                "The delegate npu cannot use OpenVINO {}: ai-edge-litert's plugin needs {} ({}); install it with 'pip "
                "install openvino=={}'.".format(release, name, error, fitting)
            ) from None
    return Vendor("intel", _chip(folder, wanted[0]), str(compiler), str(dispatch), "OpenVINO " + release)


def _openvino() -> Tuple[str, Path]:
    """OpenVINO's release and the folder of its libraries."""
    try:
        spec = find_spec("openvino")
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise UnknownDelegate(
            'The delegate npu needs OpenVINO on this machine, which is not installed; install it with "{}".'.format(
                INSTALL
            )
        )
    return releases.release("openvino") or "of an unknown release", Path(spec.origin).parent / "libs"


def _wanted(plugin: Path) -> List[str]:
    """The libraries of OpenVINO that a plugin is linked to, the one that the others stand on first."""
    found = set(re.findall(rb"(?<=\0)libopenvino\w*\.so\.\d+(?=\0)", plugin.read_bytes()))
    names = sorted((name.decode("ascii") for name in found), key=len)
    if not names:
        raise UnknownDelegate("{} is no plugin for OpenVINO; install ai-edge-litert again.".format(plugin))
    return names


def _release(name: str) -> str:
    """The release that a library's name belongs to: ``libopenvino.so.2631`` is of 2026.3.1."""
    number = name.rpartition(".")[2]
    return "20{}.{}.{}".format(number[:2], number[2], number[3:]) if re.fullmatch(r"\d{4,5}", number) else number


class _Devices(ctypes.Structure):
    _fields_ = [("names", POINTER(c_char_p)), ("count", c_size_t)]


def _chip(folder: Path, core_library: str) -> str:
    """The chip of this machine's Intel NPU, if OpenVINO can use it; else ``CPU``."""
    interface = core_library.replace("libopenvino", "libopenvino_c")
    try:
        c = ctypes.CDLL(str(folder / interface))
    except OSError:
        return "CPU"
    core, devices, value = c_void_p(), _Devices(), c_char_p()
    c.ov_core_free.argtypes = [c_void_p]
    c.ov_core_get_available_devices.argtypes = [c_void_p, c_void_p]
    c.ov_core_get_property.argtypes = [c_void_p, c_char_p, c_char_p, c_void_p]
    c.ov_available_devices_free.argtypes = [c_void_p]
    if c.ov_core_create(byref(core)):
        return "CPU"
    try:
        if c.ov_core_get_available_devices(core, byref(devices)):
            return "CPU"
        names = [(devices.names[index] or b"").decode("ascii", "replace") for index in range(devices.count)]
        c.ov_available_devices_free(byref(devices))
        if not any(name.split(".")[0] == "NPU" for name in names):
            return "CPU"
        if c.ov_core_get_property(core, b"NPU", b"DEVICE_ARCHITECTURE", byref(value)):
            return "CPU"
        architecture = (value.value or b"").decode("ascii", "replace")
        return _ARCHITECTURES.get(architecture, architecture or "CPU")
    finally:
        c.ov_core_free(core)
