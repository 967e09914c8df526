"""The delegate npu: vendors' libraries, what they take, and which file of a branch they run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.engines import accelerators, served, vendors
from adascale_runtime.engines.delegates import library, open_branch, open_cpu
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.seams import bundle
from adascale_runtime.seams.bundle import Bundle, Compiled
from adascale_runtime.seams.records import Delegation
from tests.fixtures import small_model

PLUGIN = Path(vendors.wheel_library()).parent / "vendors/intel_openvino/compiler" / vendors._COMPILER


def refused(tmp_path: Path, program: str = "") -> str:
    """What a process says that looks for the libraries, after a program."""
    code = (
        f"import sys\n{program}\nfrom adascale_runtime.engines import vendors\n"
        "from adascale_runtime.errors import UnknownDelegate\n"
        "try:\n    print(vendors.find(vendors.wheel_library()))\n"
        "except UnknownDelegate as error:\n    print(error)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", ""), str(Path.cwd())])
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


# --- what is not there


@pytest.mark.skipif(not PLUGIN.exists(), reason="this wheel has no plugin for Intel's NPUs")
def test_without_openvino_one_sentence_says_what_to_install(tmp_path: Path) -> None:
    said = refused(tmp_path, "sys.modules['openvino'] = None")
    assert said.startswith("The delegate npu needs OpenVINO") and "adascale-tf[npu]" in said


@pytest.mark.skipif(not PLUGIN.exists(), reason="this wheel has no plugin for Intel's NPUs")
def test_another_release_of_openvino_is_named_with_the_right_one(tmp_path: Path) -> None:
    (tmp_path / "openvino" / "libs").mkdir(parents=True)
    (tmp_path / "openvino" / "__init__.py").touch()
    said = refused(tmp_path)
    wanted = re.search(r"libopenvino\.so\.(\d\d)(\d)(\d)", said)
    assert wanted is not None, said
    assert f"pip install openvino==20{wanted[1]}.{wanted[2]}.{wanted[3]}" in said


def test_folders_without_libraries_are_refused(tmp_path: Path) -> None:
    place = tmp_path / "libLiteRt.so"
    assert not vendors.beside(str(place))
    (tmp_path / "vendors").mkdir()
    assert vendors.beside(str(place))
    with pytest.raises(UnknownDelegate, match=r"npu needs .*CompilerPlugin.*Linux on x86-64"):
        vendors.find(str(place))


def test_a_plugin_for_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plugin.so").write_bytes(b"\0libother.so.1\0")
    with pytest.raises(UnknownDelegate, match="no plugin for OpenVINO"):
        vendors._wanted(tmp_path / "plugin.so")


def test_names_that_lie_side_by_side_are_all_found(tmp_path: Path) -> None:
    (tmp_path / "plugin.so").write_bytes(b"\0libopenvino_x_frontend.so.2631\0libopenvino.so.2631\0")
    assert vendors._wanted(tmp_path / "plugin.so") == ["libopenvino.so.2631", "libopenvino_x_frontend.so.2631"]
    assert vendors._release("libopenvino.so.2631") == "2026.3.1"
    assert vendors._release("libopenvino.so.26310") == "2026.3.10"


# --- options and counts


@given(st.integers(0, 10_000))
def test_every_graph_is_given_its_device(operators: int) -> None:
    for chip, number in (("CPU", 0), ("PTL", 2)):
        name, text = vendors.Vendor("intel", chip, "c", "d", "r").options(operators)
        lines = text.splitlines()
        assert name == b"intel_openvino" and len(lines) == max(1, min(operators, 4096))
        assert lines[-1] == f"graph.{len(lines) - 1}.graph_backend = {number}"


@given(st.lists(st.sampled_from(["DELEGATE", "ELU", "RELU6"]), max_size=20), st.integers(0, 30))
def test_rows_of_partitions_and_of_what_is_left_are_counted(kinds: list[str], nodes: int) -> None:
    rows = "\n".join(f"  {kind}  0.0  1.1  1.2  5.0%  5.0%  0.0  1  [Builtin]:{n}" for n, kind in enumerate(kinds))
    found = accelerators.count_dispatched(f"== Run Order ==\n{rows}\n== Top by ==\n{rows}", nodes)
    left = sum(kind != "DELEGATE" for kind in kinds)
    assert found == Delegation(nodes, max(0, nodes - left), kinds.count("DELEGATE"))


# --- which file


@pytest.mark.parametrize(
    ("compiled", "here", "fits"),
    [
        ("CPU", "CPU", True), ("SM8750", "SM8750", True), ("SM8750", "SM8650", False), ("Tensor_G5", "Tensor G5", True),
        ("E9965", "s5e9965", True), ("CPU", "", False), ("", "", False), ("PU", "CPU", False), ("SM8750", "CPU", False),
    ],
)  # fmt: skip
def test_chips_are_known_by_the_names_that_phones_give(compiled: str, here: str, fits: bool) -> None:
    assert served.same(compiled, here) is fits


def test_the_delegate_and_the_chip_choose_the_file(tmp_path: Path) -> None:
    opened = bundle.load(small_model.write(tmp_path / "b", {"a": small_model.pack(small_model.tree())}))
    files = [Compiled("intel", "CPU", "cpu", 3, 3, 1), Compiled("qualcomm", "SM8750", "sm", 3, 2, 1)]
    branch = replace(opened.manifest.branches[0], compiled=tuple(files))
    assert served.compiled_for(branch, "npu", "SM8750") == files[1]
    assert served.compiled_for(branch, "npu", "CPU") == files[0]
    assert served.compiled_for(branch, "npu", "MT6991") is None
    for other in ("cpu", "gpu", "nnapi", "builtin"):
        assert served.served(branch, other) is branch


# --- the real plugin


def partly(model: Any) -> None:
    """An operator in the middle that Intel's plugin does not select."""
    graph = model.subgraphs[0]
    model.operatorCodes.append(small_model.code(schema.BuiltinOperator.ELU))
    graph.operators[1] = small_model.operator(2, [3], [4])
    graph.operators[2] = small_model.operator(
        1, [4, 4], [5], schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    )  # fmt: skip


def nothing(model: Any) -> None:
    """Only an operator that Intel's plugin does not select."""
    graph = model.subgraphs[0]
    model.operatorCodes.append(small_model.code(schema.BuiltinOperator.ELU))
    graph.operators = [small_model.operator(2, [0], [5])]


@pytest.fixture
def small(tmp_path: Path) -> Bundle:
    spoils = {"whole": lambda model: None, "partly": partly, "nothing": nothing}
    return bundle.load(small_model.write(tmp_path / "b", {k: small_model.spoiled(v) for k, v in spoils.items()}))


def inputs(built: Bundle) -> np.ndarray:
    return np.fromfile(built.path(built.manifest.samples.file), "<f4").reshape(
        -1, *built.manifest.branches[0].input.shape
    )


@pytest.mark.npu
def test_every_branch_runs_and_all_of_it_is_taken(built: Bundle, npu: vendors.Vendor) -> None:
    """Those that share a file, too. OpenVINO rounds floats to bfloat16 where the processor can."""
    for branch in built.manifest.branches:
        path = built.path(branch.file)
        opened, cpu = open_branch(built, branch, "npu"), open_cpu(path, branch, 1)
        pairs = [(opened(x), cpu(x)) for x in inputs(built)]
        reach = max(float(np.ptp(wanted)) for _, wanted in pairs)
        assert max(float(np.abs(a - b).max()) for a, b in pairs) < 0.05 * reach, branch.id
        taken, reason = accelerators.taken(library(), str(path), branch.signature, "npu")
        assert taken is not None and reason is None and taken.verdict == "fully" and taken.partitions >= 1


@pytest.mark.npu
def test_without_bfloat16_outputs_are_the_cpus(built: Bundle, npu: vendors.Vendor) -> None:
    program = """
import json, sys
import numpy as np
from adascale_runtime.seams import bundle
from adascale_runtime.engines.delegates import open_branch, open_cpu
built = bundle.load(sys.argv[1])
x = np.fromfile(built.path(built.manifest.samples.file), "<f4").reshape(-1, *built.manifest.branches[0].input.shape)
gaps = {}
for branch in built.manifest.branches:
    cpu, npu = open_cpu(built.path(branch.file), branch, 1), open_branch(built, branch, "npu")
    gaps[branch.id] = max(float(np.abs(cpu(one) - npu(one)).max()) for one in x)
print(json.dumps(gaps))
"""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(built.root)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-2000:]
    gaps = json.loads(done.stdout.splitlines()[-1])
    floats = [b.id for b in built.manifest.branches if b.precision in ("float32", "float16")]
    assert len(floats) >= 3 and all(gaps[key] < 1e-4 for key in floats), gaps


@pytest.mark.npu
def test_what_is_taken_in_part_is_refused_with_counts(small: Bundle, npu: vendors.Vendor) -> None:
    part, none = small.manifest.branch("partly"), small.manifest.branch("nothing")
    with pytest.raises(AdaScaleError, match=r"npu takes 2 of the 3 operators of 'main'.*--allow-fallback"):
        open_branch(small, part, "npu")
    path = str(small.path(part.file))
    assert accelerators.taken(library(), path, "main", "npu") == (Delegation(3, 2, 2), None)
    x = np.array([[1.0, -2.0, 0.5, 3.0]], np.float32)
    wanted = open_cpu(small.path(part.file), part, 1)(x)
    assert np.allclose(open_branch(small, part, "npu", allow_fallback=True)(x), wanted, atol=0.05)
    with pytest.raises(AdaScaleError, match=r"npu cannot run nothing.tflite here.*choose another delegate"):
        open_branch(small, none, "npu")
    assert accelerators.taken(library(), str(small.path(none.file)), "main", "npu")[0] == Delegation(1, 0, 0)


@pytest.mark.npu
def test_the_table_says_what_the_plugin_does(small: Bundle, built: Bundle, npu: vendors.Vendor) -> None:
    from converters.delegates import support

    for there in (small, built):
        for branch in there.manifest.branches:
            path = there.path(branch.file)
            known = support.support(path.read_bytes(), branch.signature, "npu:openvino")
            taken, _ = accelerators.taken(library(), str(path), branch.signature, "npu")
            assert taken is not None and known.whole == (taken.verdict == "fully"), branch.id
            if branch.precision != "float16":  # which counts what unpacks its weights
                assert (known.operators, known.taken, known.partitions) == (
                    taken.nodes, taken.delegated, taken.partitions,
                ), branch.id  # fmt: skip
