"""Delegates: what executes a branch. A registry of openers, each returns a warm :class:`Runner`.

``cpu`` is LiteRT with XNNPACK; ``reference`` is LiteRT's plain reference kernels, the yardstick for outputs. A runner
takes and gives real (float32) numbers; integer branches are quantized and dequantized inside, at the border.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from adascale_tf.bundle import Branch, Bundle
from adascale_tf.errors import AdaScaleError, UnknownDelegate
from adascale_tf.records import Delegation

if TYPE_CHECKING:
    import numpy as np


class Runner:
    """A branch, allocated on a delegate, ready to run. Not thread-safe: one caller at a time."""

    def __init__(self, interpreter: Any, branch: Branch) -> None:
        self.branch = branch
        self._interpreter = interpreter
        self._call = interpreter.get_signature_runner(branch.signature)
        self._dtype = branch.input.dtype

    def __call__(self, x: "np.ndarray") -> "np.ndarray":
        """Run one input of the branch's shape (batch 1, float32); the output has been read when this returns."""
        return self.dequantize(self.invoke(self.quantize(x)))

    def invoke(self, stored: "np.ndarray") -> "np.ndarray":
        """Run an input that is already in the branch's own dtype; gives the output in its own dtype."""
        output: "np.ndarray" = self._call(**{self.branch.input.name: stored})[self.branch.output.name]
        return output

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


#: ``open(path, branch, threads) -> Runner``
Opener = Callable[[Path, Branch, int], Runner]
DELEGATES: Dict[str, Opener] = {}


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


def open_runner(bundle: Bundle, branch: Branch, name: str = "cpu", threads: int = 1) -> Runner:
    """Open a branch on a delegate with a fixed number of threads, allocate it and run it once on zeros."""
    import numpy as np

    check_delegate(name)
    runner = DELEGATES[name](bundle.path(branch.file), branch, threads)
    runner.invoke(np.zeros(branch.input.shape, branch.input.dtype))
    return runner


def _open_litert(path: Path, threads: int, resolver: str) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError:
        raise UnknownDelegate("LiteRT is missing; install it with 'pip install ai-edge-litert'.") from None
    try:
        return Interpreter(
            model_path=str(path),
            num_threads=threads,
            experimental_op_resolver_type=OpResolverType[resolver],
        )
    except (ValueError, RuntimeError) as error:
        raise AdaScaleError("LiteRT cannot load {} ({}).".format(path, str(error).splitlines()[0])) from None


@delegate("cpu")
def open_cpu(path: Path, branch: Branch, threads: int) -> Runner:
    """LiteRT's CPU kernels with XNNPACK, its default."""
    return Runner(_open_litert(path, threads, "BUILTIN"), branch)


@delegate("reference")
def open_reference(path: Path, branch: Branch, threads: int) -> Runner:
    """LiteRT's reference kernels: slow, plain, no delegate."""
    return Runner(_open_litert(path, threads, "BUILTIN_REF"), branch)


def delegation(model: bytes, name: str) -> Optional[Delegation]:
    """What a delegate takes of a .tflite whose first subgraph is the branch (see ``converters.flatbuffer.extract``).

    LiteRT adds one DELEGATE node per partition and keeps the replaced nodes in its list; a node was taken if it can be
    reached backwards from a partition's outputs without passing the partition's inputs.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {"cpu": "BUILTIN", "reference": "BUILTIN_REF"}.get(name)
    if resolver is None:
        return None
    interpreter = Interpreter(
        model_content=model, num_threads=1, experimental_op_resolver_type=OpResolverType[resolver]
    )
    interpreter.allocate_tensors()
    return count_delegated(interpreter._get_ops_details())


def count_delegated(ops: Any) -> Delegation:
    """Pure part of :func:`delegation`; ``ops`` have ``op_name`` and the tensor indices ``inputs`` and ``outputs``."""
    partitions = [op for op in ops if op["op_name"] == "DELEGATE"]
    plain = [op for op in ops if op["op_name"] != "DELEGATE"]
    producer = {int(tensor): index for index, op in enumerate(plain) for tensor in op["outputs"]}
    taken = set()
    for partition in partitions:
        border = {int(t) for t in partition["inputs"]}
        stack = [int(t) for t in partition["outputs"]]
        while stack:
            tensor = stack.pop()
            index = producer.get(tensor)
            if tensor in border or index is None or index in taken:
                continue
            taken.add(index)
            stack.extend(int(t) for t in plain[index]["inputs"])
    return Delegation(len(plain), len(taken), len(partitions))
