"""adascale-tf: one Keras model in, a bundle of TFLite branches out, switched on the phone in under a millisecond.

Every command of ``adascale`` is a function here, and nothing heavy is imported before one is called::

    import adascale_tf as ada

    network = ada.elastic(model)                        # a Keras model, or the path of one
    network.fit(data, epochs=10)                        # a path, (x, y) arrays, a tf.data.Dataset, an ada.Dataset
    bundle = network.export("bundle")
    measured = ada.profile(bundle, delegates=["cpu"])
    predictors = ada.fit(measured)
    with ada.Session(bundle, ada.Budget(latency_ms=5)) as session:
        session.predict(x)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from adascale_runtime import __version__ as __version__

#: Public name -> the module that defines it; after a colon, its name there if that differs.
_PUBLIC = {
    # From a model to a bundle.
    "elastic": "adascale_tf.verbs.elastic",
    "ElasticModel": "adascale_tf.verbs.elastic",
    "Training": "adascale_tf.verbs.training",
    "build": "adascale_tf.verbs.build",
    "Built": "adascale_tf.verbs.build",
    "compile_npu": "adascale_tf.verbs.compile",
    "evolve": "adascale_tf.verbs.evolve",
    "specialise": "adascale_tf.verbs.specialise",
    "search": "adascale_tf.verbs.search",
    "Dataset": "adascale_tf.data",
    "load_data": "adascale_tf.data:load",
    "Recipe": "adascale_runtime.seams.recipe",
    # What a bundle holds.
    "Bundle": "adascale_runtime.seams.bundle",
    "load": "adascale_runtime.seams.bundle",
    "inspect": "adascale_tf.verbs.inspect",
    "evaluate": "adascale_tf.verbs.evaluate",
    "list_operators": "adascale_tf.verbs.operators",
    # Measuring and predicting.
    "profile": "adascale_tf.verbs.profile",
    "fit": "adascale_tf.verbs.fit",
    "compare_delegates": "adascale_tf.verbs.compare_delegates",
    "report": "adascale_tf.verbs.report",
    "doctor": "adascale_tf.verbs.doctor",
    "demo": "adascale_tf.verbs.demo",
    # Where to measure.
    "host": "adascale_tf.verbs.places",
    "phone": "adascale_tf.verbs.places",
    "fleet": "adascale_tf.verbs.places",
    "devices": "adascale_tf.verbs.phones",
    "pair": "adascale_tf.verbs.phones",
    "agent": "adascale_tf.verbs.agent",
    "termux": "adascale_tf.verbs.agent",
    "pull": "adascale_tf.verbs.pull",
    # The adaptive loop.
    "Session": "adascale_runtime.session",
    "CascadeSession": "adascale_runtime.cascade_session",
    "Budget": "adascale_runtime.seams.budget",
    "run": "adascale_tf.verbs.run",
    "replay": "adascale_tf.verbs.replay",
    "compare_policies": "adascale_tf.verbs.replay",
    # What goes wrong.
    "AdaScaleError": "adascale_runtime.errors",
    "BadInput": "adascale_runtime.errors",
    "BadBundle": "adascale_runtime.errors",
    "UnknownDelegate": "adascale_runtime.errors",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from adascale_runtime.cascade_session import CascadeSession as CascadeSession
    from adascale_runtime.errors import AdaScaleError as AdaScaleError
    from adascale_runtime.errors import BadBundle as BadBundle
    from adascale_runtime.errors import BadInput as BadInput
    from adascale_runtime.errors import UnknownDelegate as UnknownDelegate
    from adascale_runtime.seams.budget import Budget as Budget
    from adascale_runtime.seams.bundle import Bundle as Bundle
    from adascale_runtime.seams.bundle import load as load
    from adascale_runtime.seams.recipe import Recipe as Recipe
    from adascale_runtime.session import Session as Session
    from adascale_tf.data import Dataset as Dataset
    from adascale_tf.data import load as load_data  # noqa: F401
    from adascale_tf.verbs.agent import agent as agent
    from adascale_tf.verbs.agent import termux as termux
    from adascale_tf.verbs.build import Built as Built
    from adascale_tf.verbs.build import build as build
    from adascale_tf.verbs.compare_delegates import compare_delegates as compare_delegates
    from adascale_tf.verbs.compile import compile_npu as compile_npu
    from adascale_tf.verbs.demo import demo as demo
    from adascale_tf.verbs.doctor import doctor as doctor
    from adascale_tf.verbs.elastic import ElasticModel as ElasticModel
    from adascale_tf.verbs.elastic import elastic as elastic
    from adascale_tf.verbs.evaluate import evaluate as evaluate
    from adascale_tf.verbs.evolve import evolve as evolve
    from adascale_tf.verbs.fit import fit as fit
    from adascale_tf.verbs.inspect import inspect as inspect
    from adascale_tf.verbs.operators import list_operators as list_operators
    from adascale_tf.verbs.phones import devices as devices
    from adascale_tf.verbs.phones import pair as pair
    from adascale_tf.verbs.places import fleet as fleet
    from adascale_tf.verbs.places import host as host
    from adascale_tf.verbs.places import phone as phone
    from adascale_tf.verbs.profile import profile as profile
    from adascale_tf.verbs.pull import pull as pull
    from adascale_tf.verbs.replay import compare_policies as compare_policies
    from adascale_tf.verbs.replay import replay as replay
    from adascale_tf.verbs.report import report as report
    from adascale_tf.verbs.run import run as run
    from adascale_tf.verbs.search import search as search
    from adascale_tf.verbs.specialise import specialise as specialise
    from adascale_tf.verbs.training import Training as Training


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first asked for (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    module, _, attribute = _PUBLIC[name].partition(":")
    value = getattr(import_module(module), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
