"""The built-in delegates: LiteRT's CPU kernels and its accelerators.

The plain ``reference`` kernels are the yardstick for outputs. The ``builtin`` kernels run what XNNPACK does not take.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, Optional

from adascale_runtime.engines import accelerators, litert
from adascale_runtime.engines.loaded import LoadedBranch
from adascale_runtime.engines.plain import open_plain
from adascale_runtime.engines.registry import delegate, elsewhere
from adascale_runtime.engines.vendors import wheel_library
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.text import excerpt

if TYPE_CHECKING:
    import numpy as np


def _numpy() -> bool:
    """Whether numpy is there; without it LiteRT's C library runs branches, on tensors of the standard library."""
    return find_spec("numpy") is not None


def _open_interpreter(path: Path, branch: Branch, threads: int, resolver: str) -> LoadedBranch:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise UnknownDelegate("LiteRT is missing; install it with 'pip install ai-edge-litert'.") from None
    try:
        interpreter = Interpreter(
            model_path=str(path),
            num_threads=threads,
            experimental_op_resolver_type=OpResolverType[resolver],
        )
        signature = interpreter.get_signature_runner(branch.signature)
    except (ValueError, RuntimeError) as error:
        raise AdaScaleError("LiteRT cannot load {} ({}).".format(path, str(error).splitlines()[0])) from None
    source, target = branch.input.name, branch.output.name

    def call(stored: "np.ndarray") -> "np.ndarray":
        try:
            return signature(**{source: stored})[target]  # type: ignore[no-any-return]
        except (ValueError, RuntimeError) as error:  # an operator that refuses its tensors
            raise AdaScaleError("LiteRT cannot run {} ({}).".format(path, excerpt(str(error), 200))) from None

    return LoadedBranch(branch, call)


_EVERYWHERE = ("host", "agent", "benchmark_model")


@delegate("cpu", kernels="xnnpack", counts_operators=True, runners=_EVERYWHERE, litert=True)
def open_cpu(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> Any:
    """LiteRT's CPU kernels with XNNPACK, its default."""
    if not _numpy():
        return open_plain(library(), "cpu", path, branch, threads, allow_fallback)
    return _open_interpreter(path, branch, threads, "BUILTIN")


@delegate("reference", kernels="reference", counts_operators=True, litert=True)
def open_reference(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> Any:
    """LiteRT's reference kernels: slow, plain, no delegate."""
    if not _numpy():
        return open_plain(library(), "reference", path, branch, threads, allow_fallback)
    return _open_interpreter(path, branch, threads, "BUILTIN_REF")


def _open_compiled(name: str, path: Path, branch: Branch, threads: int, allow_fallback: bool) -> Any:
    if not _numpy():
        return open_plain(library(), name, path, branch, threads, allow_fallback)
    import numpy as np

    compiled = accelerators.open_compiled(library(), str(path), branch.signature, name, threads, allow_fallback)
    shape, dtype = branch.output.shape, np.dtype(branch.output.dtype)
    return LoadedBranch(branch, lambda stored: np.frombuffer(compiled.run(stored.tobytes()), dtype).reshape(shape))


@delegate("builtin", kernels="builtin", counts_operators=True, runners=_EVERYWHERE, litert=True)
def open_builtin(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> Any:
    """LiteRT's optimized CPU kernels without XNNPACK."""
    return _open_compiled("builtin", path, branch, threads, allow_fallback)


@delegate("gpu", hardware="gpu", runners=_EVERYWHERE, litert=True)
def open_gpu(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> Any:
    """LiteRT's GPU accelerator (WebGPU on hosts, OpenCL or OpenGL on phones)."""
    return _open_compiled("gpu", path, branch, threads, allow_fallback)


@delegate("npu", hardware="npu", runners=("host", "agent"), litert=True)
def open_npu(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> Any:
    """LiteRT's NPU accelerators; on hosts Intel's, with OpenVINO (its CPU device where there is no NPU)."""
    return _open_compiled("npu", path, branch, threads, allow_fallback)


elsewhere(
    "nnapi", "Android's neural networks API, deprecated since Android 15.", hardware="npu", runners=("benchmark_model",)
)

_LIBRARY: Dict[str, litert.Library] = {}


def library(path: Optional[str] = None) -> litert.Library:
    """LiteRT's C library, loaded once a process: from ``path``, else from the wheel of ai-edge-litert."""
    if path is None:
        path = wheel_library()
    if path not in _LIBRARY:
        _LIBRARY[path] = litert.Library(path)
    return _LIBRARY[path]
