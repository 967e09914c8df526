"""Engines that execute branches on a phone: LiteRT's C library, or its Python package if installed.

:func:`install` puts openers into the registry of :mod:`adascale_runtime.engines.delegates`, so that a session on a
phone finds its delegates as one on a host does.
"""

from __future__ import annotations

import importlib
from functools import partial
from pathlib import Path
from typing import Any, Optional

from adascale_runtime.engines import delegates
from adascale_runtime.engines.plain import PlainBranch, open_plain
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.seams.manifest import Branch


def install(library: Optional[str]) -> str:
    """Register this phone's delegates; gives the name of what executes.

    ``library``: the path of ``libLiteRt.so``, or None for an installed Python package. Raises
    :class:`UnknownDelegate` if there is neither.
    """
    if library is not None:
        loaded = delegates.library(library)
        own = [name for name, record in delegates.DELEGATES.items() if record.litert and "agent" in record.runners]
        delegates.install({name: partial(open_plain, loaded, name) for name in own})
        return "libLiteRt.so"
    package = _package()
    resolvers = getattr(package, "OpResolverType", None)
    kernels = {"xnnpack": None} if resolvers is None else {"xnnpack": None, "reference": resolvers.BUILTIN_REF}
    records = [d for d in delegates.DELEGATES.values() if d.litert and d.hardware == "cpu" and d.kernels in kernels]
    delegates.install({d.name: partial(_open_interpreter, package, kernels[d.kernels]) for d in records})
    return str(package.__name__)


def _package() -> Any:
    for name in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise UnknownDelegate(
        "Nothing executes .tflite files here; give --litert PATH of libLiteRt.so, or install tflite-runtime."
    )


def _open_interpreter(
    package: Any, resolver: Any, path: Path, branch: Branch, threads: int, allow_fallback: bool
) -> PlainBranch:
    import numpy as np  # a dependency of either package

    chosen = {} if resolver is None else {"experimental_op_resolver_type": resolver}
    try:
        made = package.Interpreter(model_path=str(path), num_threads=threads, **chosen)
        call = made.get_signature_runner(branch.signature)
    except (ValueError, RuntimeError) as error:
        raise AdaScaleError("{} cannot be loaded ({}).".format(path, str(error).splitlines()[0])) from None
    source, target = branch.input, branch.output

    def run(stored: bytes) -> bytes:
        x = np.frombuffer(stored, source.dtype).reshape(source.shape)
        output: bytes = call(**{source.name: x})[target.name].tobytes()
        return output

    return PlainBranch(branch, run)
