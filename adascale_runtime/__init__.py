"""The runtime that executes branches: bundles, budgets, sessions, policies, traces. Standard library, Python 3.8+.

.. code-block:: python

    import adascale_runtime as ada

    bundle = ada.load("bundle")
    with ada.Session(bundle, ada.Budget(latency_ms=50)) as session:
        for x, label in ada.samples(bundle):
            output = session.predict(x)
            print(output.argmax(), label, session.last.branch, session.last.latency_ms)

The names of :data:`__all__` are looked up when they are first used, so ``import adascale_runtime`` loads nothing else.
Branches are executed by LiteRT (``pip install ai-edge-litert``), which a session loads when it opens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from adascale_runtime import errors as errors
    from adascale_runtime import loop as loop
    from adascale_runtime import policies as policies
    from adascale_runtime.cascade_session import CascadeSession as CascadeSession
    from adascale_runtime.device.monitor import Monitor as Monitor
    from adascale_runtime.errors import AdaScaleError as AdaScaleError
    from adascale_runtime.errors import BadBundle as BadBundle
    from adascale_runtime.errors import BadInput as BadInput
    from adascale_runtime.errors import UnknownDelegate as UnknownDelegate
    from adascale_runtime.loop import samples as samples
    from adascale_runtime.loop import summary as summary
    from adascale_runtime.policies.limits import Option as Option
    from adascale_runtime.policies.limits import Settings as Settings
    from adascale_runtime.policies.policy import POLICIES as POLICIES
    from adascale_runtime.policies.policy import Decision as Decision
    from adascale_runtime.policies.policy import policy as policy
    from adascale_runtime.policies.replay import replay as replay
    from adascale_runtime.policies.replay import unknown_limits as unknown_limits
    from adascale_runtime.policies.state import State as State
    from adascale_runtime.seams.budget import Budget as Budget
    from adascale_runtime.seams.bundle import Bundle as Bundle
    from adascale_runtime.seams.bundle import load as load
    from adascale_runtime.seams.events import Event as Event
    from adascale_runtime.seams.events import read as read_trace  # noqa: F401
    from adascale_runtime.seams.predictors import Predictors as Predictors
    from adascale_runtime.seams.records import Context as Context
    from adascale_runtime.session import Session as Session

__version__ = "0.1.0"

#: The module and the name in it behind each public name; an empty name is the module itself.
_PUBLIC: Dict[str, str] = {
    "AdaScaleError": "errors:AdaScaleError",
    "BadBundle": "errors:BadBundle",
    "BadInput": "errors:BadInput",
    "Budget": "seams.budget:Budget",
    "Bundle": "seams.bundle:Bundle",
    "CascadeSession": "cascade_session:CascadeSession",
    "Context": "seams.records:Context",
    "Decision": "policies.policy:Decision",
    "Event": "seams.events:Event",
    "Monitor": "device.monitor:Monitor",
    "Option": "policies.limits:Option",
    "POLICIES": "policies.policy:POLICIES",
    "Predictors": "seams.predictors:Predictors",
    "Session": "session:Session",
    "Settings": "policies.limits:Settings",
    "State": "policies.state:State",
    "UnknownDelegate": "errors:UnknownDelegate",
    "errors": "errors:",
    "load": "seams.bundle:load",
    "loop": "loop:",
    "policies": "policies:",
    "policy": "policies.policy:policy",
    "read_trace": "seams.events:read",
    "replay": "policies.replay:replay",
    "samples": "loop:samples",
    "summary": "loop:summary",
    "unknown_limits": "policies.replay:unknown_limits",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError("module 'adascale_runtime' has no attribute '{}'".format(name))
    from importlib import import_module

    module, _, attribute = _PUBLIC[name].partition(":")
    loaded = import_module("adascale_runtime." + module)
    value = getattr(loaded, attribute) if attribute else loaded
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *_PUBLIC})
