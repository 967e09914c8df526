"""``names``: the registered names of each kind that plug-ins can extend."""

from __future__ import annotations

from collections.abc import Callable

from adascale_runtime import plugins
from adascale_runtime.errors import BadInput


def names(kind: str) -> tuple[str, ...]:
    """The names of all things of a kind, those of plug-ins included.

    Args:
        kind: operators, policies, delegates, precisions, meters, backbones or runners.

    Returns:
        The names, as recipes, options and measurements call them.

    Raises:
        BadInput: There is no such kind.
    """
    if kind not in plugins.KINDS:
        raise BadInput(f"There is no kind '{kind}'; choose among {', '.join(plugins.KINDS)}.")
    return _NAMES[kind]()


def _operators() -> tuple[str, ...]:
    from adascale_tf.verbs.operators import list_operators

    return tuple(operator.name for operator in list_operators())


def _policies() -> tuple[str, ...]:
    from adascale_runtime.policies import policy
    from adascale_runtime.policies import rivals as rivals  # declares more of them

    return policy.names()


def _delegates() -> tuple[str, ...]:
    from adascale_runtime.engines import registry

    return registry.names()


def _precisions() -> tuple[str, ...]:
    from converters import precisions

    plugins.load("precisions")
    return tuple(precisions.PRECISIONS)


def _meters() -> tuple[str, ...]:
    from adascale_runtime.device import meters

    plugins.load("meters")
    return tuple(meters.METERS)


def _backbones() -> tuple[str, ...]:
    from adascale_tf.bridge import backbones

    return backbones.names()


def _runners() -> tuple[str, ...]:
    """Those for phones: this machine has one way to measure, unless a program names another."""
    from android_harness import benchmark_runner as benchmark_runner  # declares one
    from android_harness import runner as runner  # declares the other
    from profiling.runners import runner_names

    return runner_names("phone")


_NAMES: dict[str, Callable[[], tuple[str, ...]]] = {
    "operators": _operators, "policies": _policies, "delegates": _delegates, "precisions": _precisions,
    "meters": _meters, "backbones": _backbones, "runners": _runners,
}  # fmt: skip
