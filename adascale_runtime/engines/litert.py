"""LiteRT's C library through ctypes, for devices without its Python wheel, and for GPUs and NPUs.

``libLiteRt.so`` is in the wheel for hosts and in the Android package for phones, so the standard library is enough to
run a .tflite file. A call returns when the output has been read on the CPU: GPU-like accelerators only enqueue when
they "run", and the wait is in the lock of the output.

The declarations follow litert/c/*.h of LiteRT 2.3; libraries that lack one of :data:`NEEDED` are refused.
"""

from __future__ import annotations

import ctypes
import os
import sys
from ctypes import byref, c_bool, c_char_p, c_int, c_int64, c_size_t, c_void_p
from typing import Any, Dict, List, Optional, Tuple

from adascale_runtime.engines import vendors
from adascale_runtime.errors import AdaScaleError, UnknownDelegate

#: ``LiteRtHwAccelerators``: a bit for each kind of hardware.
HARDWARE = {"cpu": 1, "gpu": 2, "npu": 4}
#: The kernels that the library has for CPUs. What it calls "reference" in version 2.3 are the built-in ones, too.
KERNELS = ("xnnpack", "builtin")
NEEDED = ("LiteRtCreateModelFromFd", "LiteRtGetProfileSummary", "LiteRtCompiledModelIsNonCpuFullyAccelerated")
_STRING, _INT = 8, 2  # LiteRtAnyType
_PLUGIN, _DISPATCH, _RUNTIME, _SEVERITY = 0, 1, 22, 25  # LiteRtEnvOptionTag
_ERRORS_ONLY = 3  # LiteRtLogSeverity
_READ, _WRITE = 0, 1  # LiteRtTensorBufferLockMode


class _Value(ctypes.Union):
    _fields_ = [("text", c_char_p), ("number", c_int64)]


class _Any(ctypes.Structure):
    _fields_ = [("type", c_int), ("value", _Value)]


class _Option(ctypes.Structure):
    _fields_ = [("tag", c_int), ("value", _Any)]


_DELETER = ctypes.CFUNCTYPE(None, c_void_p)


def _nothing(payload: Any) -> None:
    """Payloads belong to Python, which frees them with the object that holds them."""


_keep = _DELETER(_nothing)


class Library:
    """A loaded ``libLiteRt.so`` with an environment; accelerators are looked for in its own folder.

    NPUs get an environment of their own where vendors' libraries lie in other folders (:mod:`.vendors`), made when it
    is first asked for: those libraries are large.

    Raises :class:`UnknownDelegate` if the file is no LiteRT library of version 2.3 or later for this processor.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            self.c = ctypes.CDLL(self.path)
        except OSError as error:
            raise UnknownDelegate(
                "{} cannot be loaded ({}); give the libLiteRt.so for this processor.".format(path, error)
            ) from None
        missing = [name for name in NEEDED if not hasattr(self.c, name)]
        if missing:
            raise UnknownDelegate(
                "{} is not LiteRT 2.3 or later (it has no {}); get a newer libLiteRt.so.".format(path, missing[0])
            )
        self._declare()
        self._for_npus: Optional[c_void_p] = None
        self.environment = self._start({_DISPATCH: os.path.dirname(self.path)})

    def _start(self, folders: Dict[int, str]) -> c_void_p:
        """An environment that finds vendors' libraries in these folders, by the tag of the option."""
        named = {_RUNTIME: os.path.dirname(self.path), **folders}
        options = [_Option(tag, _Any(_STRING, _Value(text=folder.encode()))) for tag, folder in named.items()]
        options.append(_Option(_SEVERITY, _Any(_INT, _Value(number=_ERRORS_ONLY))))
        made = c_void_p()
        array = (_Option * len(options))(*options)
        self.check(self.c.LiteRtCreateEnvironment(len(options), array, byref(made)), "start LiteRT")
        return made

    def vendor(self, hardware: int) -> Optional[vendors.Vendor]:
        """Whose libraries run on hardware (a sum of :data:`HARDWARE`); None where LiteRT finds them by itself.

        Raises :class:`UnknownDelegate` with what to install for an NPU.
        """
        if not hardware & HARDWARE["npu"] or not vendors.beside(self.path):
            return None
        return vendors.find(self.path)

    def environment_for(self, hardware: int) -> c_void_p:
        """The environment in which hardware (a sum of :data:`HARDWARE`) is found."""
        vendor = self.vendor(hardware)
        if vendor is None:
            return self.environment
        if self._for_npus is None:
            self._for_npus = self._start({_PLUGIN: vendor.compiler, _DISPATCH: vendor.dispatch})
        return self._for_npus

    def _declare(self) -> None:
        p, size = c_void_p, c_size_t
        arguments: Dict[str, List[Any]] = {
            "LiteRtCreateModelFromFile": [p, c_char_p, p],
            "LiteRtGetNumModelSignatures": [p, p],
            "LiteRtGetModelSignature": [p, size, p],
            "LiteRtGetSignatureKey": [p, p],
            "LiteRtGetSignatureSubgraph": [p, p],
            "LiteRtGetNumSubgraphOps": [p, p],
            "LiteRtGetNumModelSubgraphs": [p, p],
            "LiteRtGetModelSubgraph": [p, size, p],
            "LiteRtSetOptionsHardwareAccelerators": [p, c_int],
            "LiteRtCreateOpaqueOptions": [c_char_p, p, _DELETER, p],
            "LiteRtAddOpaqueOptions": [p, p],
            "LiteRtCreateCompiledModel": [p, p, p, p],
            "LiteRtGetSignatureInputTensorByIndex": [p, size, p],
            "LiteRtGetSignatureOutputTensorByIndex": [p, size, p],
            "LiteRtGetRankedTensorType": [p, p],
            "LiteRtGetCompiledModelInputBufferRequirements": [p, size, size, p],
            "LiteRtGetCompiledModelOutputBufferRequirements": [p, size, size, p],
            "LiteRtCreateManagedTensorBufferFromRequirements": [p, p, p, p],
            "LiteRtGetTensorBufferPackedSize": [p, p],
            "LiteRtLockTensorBuffer": [p, p, c_int],
            "LiteRtUnlockTensorBuffer": [p],
            "LiteRtHasTensorBufferEvent": [p, p],
            "LiteRtClearTensorBufferEvent": [p],
            "LiteRtRunCompiledModel": [p, size, size, p, size, p],
            "LiteRtRunCompiledModelAsync": [p, size, size, p, size, p, p],
            "LiteRtCompiledModelIsFullyAccelerated": [p, p],
            "LiteRtCompiledModelIsNonCpuFullyAccelerated": [p, p],
            "LiteRtCompiledModelGetProfiler": [p, p],
            "LiteRtStartProfiler": [p],
            "LiteRtGetProfileSummary": [p, p, p],
        }
        for name, types in arguments.items():
            getattr(self.c, name).argtypes = types
        for name in ("Environment", "Model", "CompiledModel", "TensorBuffer", "Options"):
            getattr(self.c, "LiteRtDestroy" + name).argtypes = [p]

    def check(self, status: int, what: str) -> None:
        """Turn a status that is not 0 into an error."""
        if status:
            raise AdaScaleError("LiteRT could not {} (status {}).".format(what, status))

    def get(self, function: str, *arguments: Any) -> c_void_p:
        """A handle from a function whose last argument is where it puts it."""
        handle = c_void_p()
        self.check(getattr(self.c, function)(*(arguments + (byref(handle),))), function[6:])
        return handle


class Compiled:
    """One signature of a .tflite file, compiled for an accelerator. Not thread-safe: one caller at a time.

    ``hardware`` is a sum of :data:`HARDWARE`; ``kernels`` is one of :data:`KERNELS`. ``nodes``: operators of the
    signature. Raises :class:`AdaScaleError` with LiteRT's status if the file or the accelerator cannot be used.
    """

    def __init__(
        self, library: Library, path: str, signature: str, hardware: int, threads: int = 1,
        kernels: str = "xnnpack", *, profiling: bool = False,
    ) -> None:  # fmt: skip
        self._library = library
        self._handles: List[Tuple[str, c_void_p]] = []
        try:
            self._compile(path, signature, hardware, threads, kernels, profiling)
        except BaseException:
            self.close()
            raise

    def _compile(self, path: str, signature: str, hardware: int, threads: int, kernels: str, profiling: bool) -> None:
        library, c = self._library, self._library.c
        self._environment = library.environment_for(hardware)
        self._model = c_void_p()
        status = c.LiteRtCreateModelFromFile(self._environment, path.encode(), byref(self._model))
        library.check(status, "load {}".format(path))
        self._own("Model", self._model)
        self._index, self._signature = self._find(signature, path)
        self.nodes = self._operators(library.get("LiteRtGetSignatureSubgraph", self._signature))
        self._payloads: List[Any] = []
        options = self._own("Options", library.get("LiteRtCreateOptions"))
        library.check(c.LiteRtSetOptionsHardwareAccelerators(options, hardware), "set the accelerator")
        self._add(options, b"xnnpack", 'kernel_mode = "{}"\nnum_threads = {}\n'.format(kernels, threads))
        vendor = library.vendor(hardware)
        if vendor is not None:
            self._add(options, *vendor.options(self._all_operators()))
        if profiling:
            self._add(options, b"runtime_options_string", "enable_profiling = true\n")
        self.model = self._own(
            "CompiledModel", library.get("LiteRtCreateCompiledModel", self._environment, self._model, options)
        )
        self._input, self.input_bytes = self._buffer("Input")
        self._output, self.output_bytes = self._buffer("Output")
        self._arguments = (
            self.model, self._index, 1, (c_void_p * 1)(self._input), 1, (c_void_p * 1)(self._output)
        )  # fmt: skip
        self._enqueued = False
        self._memory = c_void_p()
        self._where = byref(self._memory)
        self._lock, self._unlock, self._run = (
            c.LiteRtLockTensorBuffer,
            c.LiteRtUnlockTensorBuffer,
            c.LiteRtRunCompiledModel,
        )

    def _operators(self, graph: c_void_p) -> int:
        count = c_size_t()
        self._library.check(self._library.c.LiteRtGetNumSubgraphOps(graph, byref(count)), "count the operators")
        return int(count.value)

    def _all_operators(self) -> int:
        """Operators of all signatures: an NPU's compiler takes the file as a whole."""
        count = c_size_t()
        self._library.check(self._library.c.LiteRtGetNumModelSubgraphs(self._model, byref(count)), "count the graphs")
        get = self._library.get
        return sum(self._operators(get("LiteRtGetModelSubgraph", self._model, index)) for index in range(count.value))

    def _own(self, kind: str, handle: c_void_p) -> c_void_p:
        self._handles.append((kind, handle))
        return handle

    def _find(self, signature: str, path: str) -> Tuple[int, c_void_p]:
        count = c_size_t()
        self._library.check(self._library.c.LiteRtGetNumModelSignatures(self._model, byref(count)), "read signatures")
        for index in range(count.value):
            handle = self._library.get("LiteRtGetModelSignature", self._model, index)
            key = c_char_p()
            self._library.check(self._library.c.LiteRtGetSignatureKey(handle, byref(key)), "read a signature")
            if (key.value or b"").decode() == signature:
                return index, handle
        raise AdaScaleError("{} has no signature '{}'; build the bundle again.".format(path, signature))

    def _add(self, options: c_void_p, kind: bytes, text: str) -> None:
        payload = ctypes.create_string_buffer(text.encode())
        self._payloads.append(payload)
        made = self._library.get("LiteRtCreateOpaqueOptions", kind, ctypes.cast(payload, c_void_p), _keep)
        self._library.check(self._library.c.LiteRtAddOpaqueOptions(options, made), "set options")

    def _buffer(self, kind: str) -> Tuple[c_void_p, int]:
        get, c = self._library.get, self._library.c
        tensor = get("LiteRtGetSignature{}TensorByIndex".format(kind), self._signature, 0)
        described = ctypes.create_string_buffer(512)  # a LiteRtRankedTensorType, which is smaller
        self._library.check(c.LiteRtGetRankedTensorType(tensor, described), "read a tensor's type")
        needs = get("LiteRtGetCompiledModel{}BufferRequirements".format(kind), self.model, self._index, 0)
        made = get("LiteRtCreateManagedTensorBufferFromRequirements", self._environment, described, needs)
        self._own("TensorBuffer", made)
        size = c_size_t()
        self._library.check(c.LiteRtGetTensorBufferPackedSize(made, byref(size)), "size a buffer")
        return made, int(size.value)

    def run(self, stored: bytes) -> bytes:
        """The output's bytes for an input's bytes, in the tensors' own types; the output has been read."""
        self.write(stored)
        if self._run(*self._arguments):
            raise AdaScaleError("LiteRT failed to run the branch.")
        return self.read()

    def write(self, stored: bytes) -> None:
        """Put the input where the accelerator reads it."""
        if len(stored) != self.input_bytes:
            raise AdaScaleError("The input has {} bytes; the branch takes {}.".format(len(stored), self.input_bytes))
        if self._lock(self._input, self._where, _WRITE):
            raise AdaScaleError("LiteRT could not write the input.")
        ctypes.memmove(self._memory, stored, self.input_bytes)
        self._unlock(self._input)

    def enqueue(self) -> bool:
        """Start a run and do not wait; whether it goes on by itself. :meth:`read` waits for the output."""
        self._enqueued, goes_on = True, c_bool()
        arguments = self._arguments + (byref(goes_on),)
        self._library.check(self._library.c.LiteRtRunCompiledModelAsync(*arguments), "start a run")
        return bool(goes_on.value)

    def read(self) -> bytes:
        """The output's bytes, once they are there."""
        if self._lock(self._output, self._where, _READ):
            raise AdaScaleError("LiteRT could not read the output.")
        output = ctypes.string_at(self._memory, self.output_bytes)
        self._unlock(self._output)
        if self._enqueued:
            self._detach()
        return output

    def _detach(self) -> None:
        """Take away the event of the run that ended: LiteRT accepts no other run while it is there."""
        self._enqueued, there = False, c_bool()
        self._library.check(self._library.c.LiteRtHasTensorBufferEvent(self._output, byref(there)), "end a run")
        if there.value:
            self._library.check(self._library.c.LiteRtClearTensorBufferEvent(self._output), "end a run")

    def accelerated(self) -> bool:
        """Whether hardware other than the CPU took every operator."""
        whole = c_bool()
        call = self._library.c.LiteRtCompiledModelIsNonCpuFullyAccelerated
        self._library.check(call(self.model, byref(whole)), "say what the accelerator took")
        return bool(whole.value)

    def profile(self, stored: bytes) -> str:
        """LiteRT's table of the operators of one run; the branch must have been compiled for profiling."""
        profiler = self._library.get("LiteRtCompiledModelGetProfiler", self.model)
        self._library.check(self._library.c.LiteRtStartProfiler(profiler), "profile")
        self.run(stored)
        text = c_char_p()
        self._library.check(self._library.c.LiteRtGetProfileSummary(profiler, self.model, byref(text)), "profile")
        return (text.value or b"").decode(errors="replace")

    def __del__(self) -> None:
        if not sys.is_finalizing():  # drivers may be gone by then, and the process takes everything with it
            self.close()

    def close(self) -> None:
        """Free everything; the object must not be used afterwards."""
        while self._handles:
            kind, handle = self._handles.pop()
            getattr(self._library.c, "LiteRtDestroy" + kind)(handle)
