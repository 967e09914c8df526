"""The records of delegates, and what they say of names that do not open here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.engines import accelerators, delegates, litert, registry
from adascale_runtime.engines.delegates import library, lookup, open_branch
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.policies import pressure
from adascale_runtime.seams.bundle import Bundle


def test_every_record_says_what_others_need() -> None:
    for name, record in delegates.DELEGATES.items():
        assert record.name == name and record.summary.endswith(".") and record.runners
        assert record.hardware in litert.HARDWARE and set(record.runners) <= set(registry.RUNNERS)
        assert record.preempted == (record.hardware == "cpu")
        assert (record.open is None) == ("host" not in record.runners)
    assert registry.names("benchmark_model") == ("builtin", "cpu", "gpu", "nnapi")
    assert registry.names("agent") == ("builtin", "cpu", "gpu", "npu")


def test_a_delegate_of_another_device_says_who_has_it() -> None:
    with pytest.raises(UnknownDelegate, match="does not open here: only the runner benchmark_model has it; choose amo"):
        delegates.check_delegate("nnapi")
    with pytest.raises(UnknownDelegate, match="There is no delegate 'tpu'; choose among builtin, cpu, "):
        lookup("tpu")


def test_builtin_is_on_hosts_what_it_is_on_phones(built: Bundle) -> None:
    branch = built.manifest.branch("full")
    opened = open_branch(built, branch, "builtin")
    compiled = litert.Compiled(library(), str(built.path(branch.file)), branch.signature, 1, 1, "builtin")
    x = np.random.default_rng(0).random(branch.input.shape, np.float32)
    assert opened.invoke(x).tobytes() == compiled.run(x.tobytes())
    plain = open_branch(built, branch, "reference")
    np.testing.assert_allclose(opened(x), plain(x), rtol=1e-4, atol=1e-4)


def test_the_c_library_does_not_pass_other_kernels_off_as_reference_ones(built: Bundle) -> None:
    branch = built.manifest.branch("full")
    where = str(built.path(branch.file)), branch.signature
    with pytest.raises(AdaScaleError, match="has no reference kernels; use builtin"):
        accelerators.open_compiled(library(), *where, "reference")
    assert accelerators.profile(library(), *where, "reference") == ()
    took, _ = accelerators.taken(library(), *where, "reference")
    assert took is not None and took.verdict == "not"


def test_a_process_with_openers_of_its_own_has_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, record in list(delegates.DELEGATES.items()):
        monkeypatch.setitem(delegates.DELEGATES, name, record)  # put back afterwards

    def mine(path: Path, branch: object, threads: int, allow_fallback: bool) -> None: ...

    delegates.install({"cpu": mine})
    assert delegates.available() == ("cpu",) and not registry.is_declared("cpu")
    with pytest.raises(UnknownDelegate, match="choose among cpu"):
        delegates.check_delegate("gpu")


def test_a_trace_may_name_delegates_that_this_machine_lacks() -> None:
    assert pressure.crowding(None, "of another machine") == pressure.crowding(None, "gpu") == 0
    assert pressure.crowding(None, "builtin") == pressure.crowding(None, "cpu") == pressure.UNKNOWN
