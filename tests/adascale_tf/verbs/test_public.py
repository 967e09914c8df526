"""What ``import adascale_tf`` offers: names that are there, documented, easy to call, and free until used."""

from __future__ import annotations

import inspect
import pkgutil
import subprocess
import sys
from typing import Any

import pytest

import adascale_tf as ada

NAMES = [name for name in ada.__all__ if name != "__version__"]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_resolves_and_is_documented(name: str) -> None:
    value = getattr(ada, name)
    assert value is getattr(ada, name)
    assert len(inspect.getdoc(value) or "") > 10
    assert name in dir(ada)


def _callables(value: Any) -> list[Any]:
    if not inspect.isclass(value):
        return [value]
    methods = [member for key, member in vars(value).items() if not key.startswith("_") and inspect.isfunction(member)]
    return methods if hasattr(value, "__dataclass_fields__") else [value.__init__, *methods]


@pytest.mark.parametrize("name", NAMES)
def test_a_public_function_has_few_positional_parameters(name: str) -> None:
    for function in _callables(getattr(ada, name)):
        kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
        named = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY
        assert sum(kind in named for kind in kinds) <= 6, function


def test_no_public_name_hides_a_package() -> None:
    assert not set(NAMES) & {module.name for module in pkgutil.iter_modules(ada.__path__)}


def test_what_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'adascale_tf' has no attribute 'nothing'"):
        getattr(ada, "nothing")  # noqa: B009


def test_the_import_is_light() -> None:
    code = (
        "import sys, adascale_tf as ada\n"
        "dir(ada)\n"
        "heavy = {'tensorflow', 'tf_keras', 'keras', 'numpy', 'sklearn', 'click', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
