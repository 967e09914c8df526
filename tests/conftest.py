"""Real parts for all tests: digits, a trained elastic network, its bundle. Made once per session."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
from hypothesis import settings

from adascale_runtime.engines import vendors
from adascale_runtime.errors import UnknownDelegate
from adascale_runtime.seams import bundle
from adascale_tf import data
from adascale_tf.data import Dataset

# Half of hypothesis' own number of examples keeps the default suite short; HYPOTHESIS_EXAMPLES asks for more.
settings.register_profile("short", max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "40")), deadline=None)
settings.load_profile("short")

RECIPES = "full,float16,int8,exit(2)+int8,prune(0.5)+dynamic,width(0.5),width(0.25)+int8,width(0.25)+exit(1)+int8"


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return data.load("digits")


@pytest.fixture(scope="session")
def built(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> bundle.Bundle:
    """A small real bundle, trained for a few epochs; tests must not write into it (copy it).

    Parallel processes of one test run share it: the first builds, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "built"
    shared.mkdir(exist_ok=True)
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "bundle").exists():
            from adascale_tf.verbs.build import build
            from adascale_tf.verbs.training import Training

            return build(digits, shared / "bundle", recipes=RECIPES, training=Training(epochs=3)).bundle
    return bundle.load(shared / "bundle")


@pytest.fixture(scope="session")
def npu() -> vendors.Vendor:
    """What the delegate npu runs on here; tests skip where there is nothing."""
    try:
        return vendors.find(vendors.wheel_library())
    except UnknownDelegate as error:
        pytest.skip(str(error))


@pytest.fixture()
def copied(built: bundle.Bundle, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    import shutil

    return Path(shutil.copytree(built.root, tmp_path / "copy"))
