"""Delegates: what executes a branch. A registry of openers, each returns a warm :class:`LoadedBranch`.

``cpu`` is LiteRT with XNNPACK; ``reference`` is LiteRT's plain reference kernels, the yardstick for outputs; ``gpu``
and ``npu`` are LiteRT's accelerators, through its C library. A runner takes and gives real (float32) numbers; integer
branches are quantized and dequantized inside, at the border.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterable, List, Optional

from adascale_runtime.engines import accelerators, litert, trial
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.seams.bundle import Branch, Bundle
from adascale_runtime.text import excerpt

if TYPE_CHECKING:
    import numpy as np

#: From an input to an output, both arrays of the branch's shapes in its own dtypes.
Call = Callable[["np.ndarray"], "np.ndarray"]


class LoadedBranch:
    """A branch, allocated on a delegate, ready to run. Not thread-safe: one caller at a time."""

    def __init__(self, branch: Branch, call: Call) -> None:
        self.branch = branch
        self._call = call

    def __call__(self, x: "np.ndarray") -> "np.ndarray":
        """Run one input of the branch's shape (batch 1, float32); the output has been read when this returns."""
        return self.dequantize(self.invoke(self.quantize(x)))

    def invoke(self, stored: "np.ndarray") -> "np.ndarray":
        """Run an input that is already in the branch's own dtype; gives the output in its own dtype."""
        return self._call(stored)

    def zeros(self) -> "np.ndarray":
        """A real-valued input of zeros."""
        import numpy as np

        return np.zeros(self.branch.input.shape, np.float32)

    def warm(self) -> None:
        """Run once on zeros, so that the first real input finds everything allocated."""
        self(self.zeros())

    def quantize(self, x: "np.ndarray") -> "np.ndarray":
        """Real numbers to the branch's input dtype."""
        import numpy as np

        spec = self.branch.input
        if spec.scale is None or spec.zero_point is None:
            return np.asarray(x, dtype=spec.dtype)
        limits = np.iinfo(spec.dtype)
        stored = np.rint(np.asarray(x, np.float32) / spec.scale) + spec.zero_point
        return np.clip(stored, limits.min, limits.max).astype(spec.dtype)

    def dequantize(self, stored: "np.ndarray") -> "np.ndarray":
        """The branch's output dtype to real numbers (float32)."""
        import numpy as np

        spec = self.branch.output
        if spec.scale is None or spec.zero_point is None:
            return np.asarray(stored, np.float32)
        return (stored.astype(np.float32) - spec.zero_point) * np.float32(spec.scale)


#: ``open(path, branch, threads, allow_fallback) -> LoadedBranch``
Opener = Callable[[Path, Branch, int, bool], Any]
DELEGATES: Dict[str, Opener] = {}
#: The openers of this module: only what they run can be tried in a process that knows no others.
_OWN: List[Opener] = []


def delegate(name: str) -> Callable[[Opener], Opener]:
    """Register an opener under a delegate's name."""

    def register(opener: Opener) -> Opener:
        DELEGATES[name] = opener
        return opener

    return register


def check_delegate(name: str) -> None:
    """Refuse a name that is not registered, before long work."""
    if name not in DELEGATES:
        raise UnknownDelegate(
            "There is no delegate '{}' on this machine; choose among {}.".format(name, ", ".join(sorted(DELEGATES)))
        )


def open_branch(
    bundle: Bundle, branch: Branch, name: str = "cpu", threads: int = 1, allow_fallback: bool = False
) -> Any:
    """Open a branch on a delegate with a fixed number of threads, allocate it and run it once on zeros.

    Gives a :class:`LoadedBranch`, or what another opener in the registry gives (a phone without numpy has its own). A
    file that this machine has not run yet is tried in a child process first. Raises :class:`AdaScaleError` if it
    crashes there, or if the delegate does not take all of the branch, unless ``allow_fallback``.
    """
    check_delegate(name)
    if DELEGATES[name] in _OWN:
        trial.check(bundle, branch, name, threads, allow_fallback)
    return open_untried(bundle, branch, name, threads, allow_fallback)


def open_untried(
    bundle: Bundle, branch: Branch, name: str = "cpu", threads: int = 1, allow_fallback: bool = False
) -> Any:
    """As :func:`open_branch`, in this very process: for processes that may crash."""
    check_delegate(name)
    runner = DELEGATES[name](bundle.path(branch.file), branch, threads, allow_fallback)
    runner.warm()
    return runner


def examine(
    bundle: Bundle, branches: Iterable[Branch], name: str = "cpu", threads: int = 1, allow_fallback: bool = False
) -> Dict[str, str]:
    """Try all branches in one child process; gives the sentence for each id that crashes. :func:`open_branch` then
    finds them tried."""
    check_delegate(name)
    return trial.examine(bundle, branches, name, threads, allow_fallback) if DELEGATES[name] in _OWN else {}


def _open_litert(path: Path, branch: Branch, threads: int, resolver: str) -> LoadedBranch:
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


@delegate("cpu")
def open_cpu(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> LoadedBranch:
    """LiteRT's CPU kernels with XNNPACK, its default."""
    return _open_litert(path, branch, threads, "BUILTIN")


@delegate("reference")
def open_reference(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> LoadedBranch:
    """LiteRT's reference kernels: slow, plain, no delegate."""
    return _open_litert(path, branch, threads, "BUILTIN_REF")


def _open_accelerator(name: str, path: Path, branch: Branch, threads: int, allow_fallback: bool) -> LoadedBranch:
    import numpy as np

    compiled = accelerators.open_compiled(library(), str(path), branch.signature, name, threads, allow_fallback)
    shape, dtype = branch.output.shape, np.dtype(branch.output.dtype)
    return LoadedBranch(branch, lambda stored: np.frombuffer(compiled.run(stored.tobytes()), dtype).reshape(shape))


@delegate("gpu")
def open_gpu(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> LoadedBranch:
    """LiteRT's GPU accelerator (WebGPU on hosts, OpenCL or OpenGL on phones)."""
    return _open_accelerator("gpu", path, branch, threads, allow_fallback)


@delegate("npu")
def open_npu(path: Path, branch: Branch, threads: int, allow_fallback: bool = False) -> LoadedBranch:
    """LiteRT's NPU accelerators, for files compiled for the device's chip."""
    return _open_accelerator("npu", path, branch, threads, allow_fallback)


_OWN += DELEGATES.values()
_LIBRARY: Dict[str, litert.Library] = {}


def library(path: Optional[str] = None) -> litert.Library:
    """LiteRT's C library, loaded once a process: from ``path``, else from the wheel of ai-edge-litert."""
    if path is None:
        path = wheel_library()
    if path not in _LIBRARY:
        _LIBRARY[path] = litert.Library(path)
    return _LIBRARY[path]


def wheel_library() -> str:
    """The path of the wheel's ``libLiteRt.so``."""
    from importlib.util import find_spec

    spec = find_spec("ai_edge_litert")
    if spec is None or spec.origin is None:
        raise UnknownDelegate("LiteRT is missing; install it with 'pip install ai-edge-litert'.")
    return str(Path(spec.origin).parent / "libLiteRt.so")
