from __future__ import annotations

import _ctypes
import ctypes.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from hypothesis import given
from hypothesis import strategies as st

from adascale_runtime.engines import accelerators, litert, vendors
from adascale_runtime.engines.accelerators import count_taken, open_compiled, taken
from adascale_runtime.engines.delegates import LoadedBranch, library, open_branch, open_cpu, open_reference
from adascale_runtime.engines.litert import Compiled
from adascale_runtime.errors import AdaScaleError, UnknownDelegate
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.manifest import Branch
from adascale_runtime.seams.records import Delegation

RESOLVERS = {"cpu": "BUILTIN", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
#: A Vulkan driver that needs no GPU, from Debian's chromium-common.
SOFTWARE_VULKAN = "/usr/lib/chromium/vk_swiftshader_icd.json"


def inputs(bundle: Bundle) -> np.ndarray:
    shape = bundle.manifest.branches[0].input.shape
    return np.fromfile(bundle.path(bundle.manifest.samples.file), "<f4").reshape(-1, *shape)


def where(bundle: Bundle, branch: Branch) -> tuple[str, str]:
    return str(bundle.path(branch.file)), branch.signature


def operators(branch: Branch, counted: int) -> int:
    """The operators of a branch; halved weights are made whole by operators of their own, which the cost leaves out."""
    return max(counted, branch.cost.ops + 1) if branch.precision == "float16" else branch.cost.ops


@pytest.fixture
def full(built: Bundle) -> Iterator[Compiled]:
    compiled = open_compiled(library(), *where(built, built.manifest.branch("full")), "cpu")
    yield compiled
    compiled.close()


# --- running


@pytest.mark.parametrize("delegate", ["cpu", "builtin"])
def test_outputs_are_those_of_the_interpreter_bit_for_bit(built: Bundle, delegate: str) -> None:
    x = inputs(built)
    noise = np.random.default_rng(0).random(x.shape[1:], np.float32)
    for branch in built.manifest.branches:
        interpreter = Interpreter(
            str(built.path(branch.file)),
            num_threads=1,
            experimental_op_resolver_type=OpResolverType[RESOLVERS[delegate]],
        ).get_signature_runner(branch.signature)
        compiled = open_compiled(library(), *where(built, branch), delegate)
        for one in [*x[:2], noise]:
            stored = LoadedBranch(branch, lambda x: x).quantize(one)
            wanted = interpreter(**{branch.input.name: stored})[branch.output.name]
            assert compiled.run(stored.tobytes()) == wanted.tobytes(), branch.id
        compiled.close()


def test_the_plain_reference_kernels_differ_by_rounding_only(built: Bundle) -> None:
    for branch in built.manifest.branches:
        plain = open_reference(built.path(branch.file), branch, 1)
        compiled = open_compiled(library(), *where(built, branch), "builtin")
        for one in inputs(built)[:2]:
            stored = plain.quantize(one)
            output = np.frombuffer(compiled.run(stored.tobytes()), branch.output.dtype).reshape(branch.output.shape)
            gap = np.abs(plain.dequantize(output) - plain(one)).max()
            # One step of integers; dynamic ranges round each activation.
            assert gap <= (branch.output.scale or {"dynamic": 0.1}.get(branch.precision, 1e-5)) * 1.01, branch.id
        compiled.close()


def test_threads_and_profiling_change_no_output(built: Bundle) -> None:
    branch = built.manifest.branch("full")
    x = inputs(built)[0].tobytes()
    outputs = set()
    for threads, profiling in ((1, False), (2, False), (1, True)):
        compiled = Compiled(library(), *where(built, branch), litert.HARDWARE["cpu"], threads, profiling=profiling)
        outputs.add(compiled.run(x))
        compiled.close()
    assert len(outputs) == 1


def test_several_branches_of_one_file_live_side_by_side(built: Bundle) -> None:
    branches = [b for b in built.manifest.branches if b.file == built.manifest.branch("width0.25-int8").file]
    assert len(branches) > 1
    opened = [open_compiled(library(), *where(built, b), "cpu") for b in branches]
    for _ in range(2):  # each after the other has run
        for branch, compiled in zip(branches, opened, strict=True):
            interpreter = open_cpu(built.path(branch.file), branch, 1)
            stored = interpreter.quantize(inputs(built)[0])
            assert compiled.run(stored.tobytes()) == interpreter.invoke(stored).tobytes()
    for compiled in opened:
        compiled.close()


def test_sizes_and_operators_are_those_of_the_manifest(built: Bundle) -> None:
    for branch in built.manifest.branches:
        compiled = open_compiled(library(), *where(built, branch), "cpu")
        assert compiled.nodes == operators(branch, compiled.nodes)
        for size, spec in ((compiled.input_bytes, branch.input), (compiled.output_bytes, branch.output)):
            assert size == int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize
        compiled.close()


def test_an_input_of_another_size_is_refused_and_does_no_harm(built: Bundle, full: Compiled) -> None:
    x = inputs(built)[0].tobytes()
    wanted = full.run(x)
    for wrong in (b"", x[:-1], x + b"\0"):
        with pytest.raises(AdaScaleError, match=f"The input has {len(wrong)} bytes; the branch takes {len(x)}"):
            full.run(wrong)
    assert full.run(x) == wanted


def test_on_the_cpu_a_run_that_is_started_has_ended(built: Bundle, full: Compiled) -> None:
    first, second = inputs(built)[:2]
    wanted = [full.run(first.tobytes()), full.run(second.tobytes())]
    assert wanted[0] != wanted[1]
    for x, output in zip((first, second), wanted, strict=True):
        full.write(x.tobytes())
        assert full.enqueue() is False and full.read() == output
        assert full.run(x.tobytes()) == output
    assert not full.accelerated()


def test_close_frees_once_and_others_stay(built: Bundle, full: Compiled) -> None:
    x = inputs(built)[0].tobytes()
    wanted = full.run(x)
    other = open_compiled(library(), *where(built, built.manifest.branch("full")), "cpu")
    assert other.run(x) == wanted
    other.close()
    other.close()
    assert full.run(x) == wanted


def test_what_cannot_be_compiled_leaves_nothing_behind(built: Bundle) -> None:
    path = str(built.path(built.manifest.branch("full").file))
    program = (
        "import sys\n"
        "from adascale_runtime.errors import AdaScaleError\n"
        "from adascale_runtime.engines.delegates import library\n"
        "from adascale_runtime.engines.accelerators import open_compiled\n"
        "loaded, pages = library(), []\n"
        "for _ in range(2):\n"
        "    for _ in range(150):\n"
        "        try:\n"
        "            open_compiled(loaded, sys.argv[1], 'absent', 'cpu')\n"
        "        except AdaScaleError:\n"
        "            continue\n"
        "        raise SystemExit('it was opened')\n"
        "    pages.append(int(open('/proc/self/statm').read().split()[1]))\n"
        "print(4 * (pages[1] - pages[0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept_kb, size_kb = int(done.stdout), Path(path).stat().st_size / 1024
    assert kept_kb < 150 * size_kb / 4


# --- what is refused


def test_an_unknown_signature_is_one_sentence(built: Bundle) -> None:
    path, _ = where(built, built.manifest.branches[0])
    for name in ("absent", "", "Full"):
        with pytest.raises(AdaScaleError, match=f"has no signature '{name}'; build the bundle again"):
            open_compiled(library(), path, name, "cpu")


@pytest.mark.parametrize("content", [None, b"", b"no flatbuffer at all", b"\x1c\0\0\0TFL3" + bytes(40)])
def test_files_that_are_no_branches_are_one_sentence(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "m.tflite"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(
        AdaScaleError, match=r"LiteRT could not load .*m\.tflite \(status \d+\)|has no signature 'full'"
    ):
        open_compiled(library(), str(path), "full", "cpu")


def test_a_library_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnknownDelegate, match=r"libLiteRt\.so cannot be loaded .*give the libLiteRt\.so for this proc"):
        litert.Library(str(tmp_path / "libLiteRt.so"))


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    path = tmp_path / "libLiteRt.so"
    path.write_text("not found\n")
    with pytest.raises(UnknownDelegate, match=r"cannot be loaded"):
        litert.Library(str(path))


def test_a_library_that_is_no_litert() -> None:
    with pytest.raises(UnknownDelegate, match=r"is not LiteRT 2\.3 or later \(it has no LiteRtCreateModelFromFd\)"):
        litert.Library(_ctypes.__file__)


def test_an_npu_that_is_not_there_is_refused_with_a_sentence(built: Bundle, tmp_path: Path) -> None:
    """Neither with a vendor's folders, as in the wheel, nor without, as on a phone."""
    branch = built.manifest.branches[0]
    try:
        vendors.find(library().path)
    except UnknownDelegate:
        with pytest.raises(UnknownDelegate, match="The delegate npu needs"):
            open_compiled(library(), *where(built, branch), "npu")
        with pytest.raises(UnknownDelegate, match="The delegate npu needs"):
            open_branch(built, branch, "npu")
    alone = tmp_path / "libLiteRt.so"
    alone.write_bytes(Path(library().path).read_bytes())
    with pytest.raises(AdaScaleError, match=r"npu runs no operator of .* \(status \d+\).*is its accelerator library"):
        open_compiled(litert.Library(str(alone)), *where(built, branch), "npu")


def test_a_gpu_that_is_not_there_is_refused_with_a_sentence(built: Bundle) -> None:
    program = (
        "import sys\n"
        "from adascale_runtime.errors import AdaScaleError\n"
        "from adascale_runtime.engines.delegates import library\n"
        "from adascale_runtime.engines.accelerators import open_compiled\n"
        "try:\n"
        "    open_compiled(library(), sys.argv[1], 'full', 'gpu')\n"
        "except AdaScaleError as error:\n"
        "    print(error)\n"
    )
    environment = {**os.environ, "VK_DRIVER_FILES": "/nonexistent"}
    path = str(built.path(built.manifest.branch("full").file))
    done = subprocess.run([sys.executable, "-c", program, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("gpu runs no operator of full") and "is its accelerator library beside" in done.stdout


# --- what a delegate took


@pytest.mark.parametrize("delegate", ["cpu", "builtin"])
def test_what_is_taken_of_every_branch(built: Bundle, delegate: str) -> None:
    for branch in built.manifest.branches:
        found, reason = taken(library(), *where(built, branch), delegate)
        assert found is not None and reason is None and found.nodes == operators(branch, found.nodes)
        if delegate == "builtin":
            assert found == Delegation(found.nodes, 0, 0) and found.verdict == "not"
        else:
            assert 0 < found.delegated <= found.nodes and found.partitions >= 1
            assert found.verdict == ("fully" if found.delegated == found.nodes else "partly")
    ops = built.manifest.branch("full").cost.ops
    wanted = {"cpu": Delegation(ops, ops, 1), "builtin": Delegation(ops, 0, 0)}[delegate]
    assert taken(library(), *where(built, built.manifest.branch("full")), delegate)[0] == wanted


def test_profiles_name_every_operator_once(built: Bundle) -> None:
    branch = built.manifest.branch("full")
    compiled = Compiled(
        library(), *where(built, branch), litert.HARDWARE["cpu"], 1, "builtin", profiling=True
    )  # fmt: skip
    text = compiled.profile(bytes(compiled.input_bytes))
    compiled.close()
    assert count_taken(text, compiled.nodes) == Delegation(compiled.nodes, 0, 0)
    assert "Run Order" in text and "Top by" in text


Row = tuple[str, int]
ROWS = st.lists(st.tuples(st.sampled_from(["Builtin", "Delegate", "Other"]), st.integers(0, 30)), max_size=30)


def table(rows: list[Row], after: str = "") -> str:
    lines = [f"\t  CONV_2D\t 0.01\t 0.02\t{n}.0%\t name/{n}:[{origin}]:{n}" for n, (origin, _) in enumerate(rows)]
    lines = [line.rsplit(":", 1)[0] + f":{index}" for line, (_, index) in zip(lines, rows, strict=True)]
    return "=== Run Order ===\n" + "\n".join(lines) + f"\n=== Top by Computation Time ===\n{after}"


@given(ROWS, st.integers(1, 31))
def test_counting(rows: list[Row], nodes: int) -> None:
    """Each operator that LiteRT ran itself counts once; delegates' rows in a row are one partition."""
    repeated = "\n".join(f"x [{origin}]:{index}" for origin, index in rows)
    found = count_taken(table(rows, repeated), nodes)
    own = {index for origin, index in rows if origin == "Builtin" and index < nodes}
    assert (found.nodes, found.delegated) == (nodes, nodes - len(own)) and 0 <= found.delegated <= nodes
    known = "".join(origin[0] for origin, _ in rows if origin != "Other")
    assert found.partitions == sum(1 for piece in known.split("B") if piece)


@pytest.mark.parametrize(
    ("rows", "nodes", "wanted"),
    [
        ([("Delegate", 0), ("Delegate", 1)], 5, Delegation(5, 5, 1)),
        ([("Builtin", 0), ("Delegate", 0), ("Builtin", 4)], 5, Delegation(5, 3, 1)),
        ([("Delegate", 0), ("Builtin", 2), ("Delegate", 0)], 5, Delegation(5, 4, 2)),
        ([("Builtin", n) for n in range(5)], 5, Delegation(5, 0, 0)),
        ([("Delegate", 0), ("Builtin", 7)], 5, Delegation(5, 5, 1)),  # the delegate's node has the next free index
    ],
)
def test_counts_of_known_profiles(rows: list[Row], nodes: int, wanted: Delegation) -> None:
    assert count_taken(table(rows), nodes) == wanted


@given(st.text(), st.integers(0, 50))
def test_text_that_is_no_profile_is_no_crash(text: str, nodes: int) -> None:
    found = count_taken(text, nodes)
    assert found.nodes == nodes and 0 <= found.delegated <= nodes


# --- the GPU, as a process of its own: its driver is chosen by the environment


GPU = """
import json, statistics, sys, time
from pathlib import Path
import numpy as np
from adascale_runtime.seams import bundle
from adascale_runtime.engines import accelerators, litert
from adascale_runtime.engines.delegates import library, open_branch, open_cpu, open_gpu

built = bundle.load(sys.argv[1])
x = np.fromfile(built.path(built.manifest.samples.file), "<f4").reshape(-1, *built.manifest.branches[0].input.shape)

def timed(call):
    before = time.perf_counter()
    found = call()
    return 1e3 * (time.perf_counter() - before), found

def phases(branch, stored):
    compiled = accelerators.open_compiled(library(), str(built.path(branch.file)), branch.signature, "gpu")
    wanted = compiled.run(stored)
    found = {"enqueue": [], "read": [], "run": [], "goes_on": [], "same": []}
    for _ in range(9):
        compiled.write(stored)
        enqueue_ms, goes_on = timed(compiled.enqueue)
        read_ms, first = timed(compiled.read)
        run_ms, second = timed(lambda: compiled.run(stored))
        for key, value in (("enqueue", enqueue_ms), ("read", read_ms), ("run", run_ms), ("goes_on", goes_on),
                           ("same", first == wanted == second)):
            found[key].append(value)
    compiled.close()
    return {key: all(v) if key in ("goes_on", "same") else statistics.median(v) for key, v in found.items()}
"""


@pytest.fixture(scope="session")
def software_gpu() -> dict[str, str]:
    """The environment in which LiteRT finds a GPU."""
    driver = os.environ.get("VK_DRIVER_FILES", SOFTWARE_VULKAN)
    if not Path(driver).exists():
        pytest.skip(f"no software Vulkan ({driver}); install chromium-common")
    if ctypes.util.find_library("vulkan") is None:
        pytest.skip("no Vulkan loader; install libvulkan1")
    return {**os.environ, "VK_DRIVER_FILES": driver, "TF_CPP_MIN_LOG_LEVEL": "3"}


def on_gpu(environment: dict[str, str], program: str, *arguments: object) -> Any:
    command = [sys.executable, "-c", GPU + program, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.gpu
def test_on_a_gpu_outputs_are_the_cpus_and_all_is_taken(built: Bundle, software_gpu: dict[str, str]) -> None:
    program = """
result = {}
for branch in built.manifest.branches:
    path = built.path(branch.file)
    taken, reason = accelerators.taken(library(), str(path), branch.signature, "gpu")
    cpu, gpu = open_cpu(path, branch, 1), open_branch(built, branch, "gpu")
    gap = max(float(np.abs(cpu(one) - gpu(one)).max()) for one in x)
    result[branch.id] = [taken.verdict, taken.nodes, taken.delegated, reason, gap]
print(json.dumps(result))
"""
    found = on_gpu(software_gpu, program, built.root)
    floats = [b for b in built.manifest.branches if b.precision in ("float32", "float16")]
    assert len(floats) >= 3
    for branch in floats:
        verdict, nodes, delegated, reason, gap = found[branch.id]
        assert (verdict, reason) == ("fully", None) and nodes == delegated == operators(branch, nodes)
        assert gap < 1e-3, branch.id


@pytest.mark.gpu
def test_a_run_on_a_gpu_ends_when_the_output_was_read(built: Bundle, software_gpu: dict[str, str]) -> None:
    """To start a run is quick, to wait for its output is not: a latency without the wait would be a lie."""
    program = """
branch = built.manifest.branch("full")
print(json.dumps(phases(branch, x[0].tobytes())))
"""
    found = on_gpu(software_gpu, program, built.root)
    assert found["goes_on"] and found["same"]
    whole = found["enqueue"] + found["read"]
    assert found["enqueue"] < whole / 5 and found["enqueue"] < found["run"] / 5


@pytest.mark.gpu
def test_profiled_latencies_on_a_gpu_are_those_of_the_whole(
    built: Bundle, software_gpu: dict[str, str], tmp_path: Path
) -> None:
    program = """
from profiling import measure
branch = built.manifest.branch("full")
(m,) = measure.profile(built, ["gpu"], [1], runs=10, out=Path(sys.argv[2]), branches=["full"])
found = {**phases(branch, x[0].tobytes()), "latency": m.latency_quantile_ms(0.5), "least": min(m.latency_ms)}
print(json.dumps({**found, "delegation": m.delegation.verdict, "agreement": m.outputs.agreement}))
"""
    found = on_gpu(software_gpu, program, built.root, tmp_path / "m.jsonl")
    assert found["delegation"] == "fully" and found["agreement"] == 1.0
    assert found["least"] > 5 * found["enqueue"]
    assert found["latency"] > (found["enqueue"] + found["read"]) / 3


def test_operators_are_timed_in_the_order_of_execution(built: Bundle) -> None:
    branch = built.manifest.branch("full")
    path = str(built.path(branch.file))
    plain = accelerators.profile(library(), path, branch.signature, "builtin")
    assert len(plain) == branch.cost.ops and not any(time.delegated for time in plain)
    assert plain[0].kind == "CONV_2D" and sum(time.mean_ms for time in plain) > 0
    fast = accelerators.profile(library(), path, branch.signature, "cpu")
    assert fast and all(time.delegated for time in fast)
    assert accelerators.profile(library(), path, branch.signature, "npu") == ()
