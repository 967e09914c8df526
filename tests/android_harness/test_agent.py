from __future__ import annotations

import ctypes.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adascale_tf import codec
from adascale_tf.bundle import Bundle
from adascale_tf.errors import AdaScaleError, BadInput
from adascale_tf.runtime import events, loop
from adascale_tf.runtime.budget import Budget, parse
from adascale_tf.runtime.delegates import wheel_library
from adascale_tf.runtime.replay import replay
from adascale_tf.runtime.session import Session
from android_harness import package
from android_harness.agent import work
from android_harness.agent.bench import MARK

#: A Vulkan driver that needs no GPU, from Debian's chromium-common.
SOFTWARE_VULKAN = "/usr/lib/chromium/vk_swiftshader_icd.json"
BUDGET = "latency_ms=1000"


class Agent:
    """The agent as a phone runs it: no packages, no environment, an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "agent.pyz"
        package.write(self.path)

    def start(self, *arguments: object, litert: str | None = None, root: Path | str = "/", **environment: str) -> Any:
        command = [sys.executable, "-I", "-S", str(self.path), "--root", str(root)]
        command += ["--litert", litert or wheel_library()] if litert != "" else []
        with tempfile.TemporaryDirectory() as empty:
            done = subprocess.run(
                [*command, *map(str, arguments)],
                cwd=empty,
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert list(Path(empty).iterdir()) == []
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def bench(self, plan: dict[str, Any], folder: Path, **more: Any) -> list[dict[str, Any]]:
        """The messages of a bench run."""
        path = folder / "plan.json"
        path.write_text(json.dumps(plan))
        done = self.start("bench", path, **more)
        assert done.returncode == 0, done.stderr
        return messages(done.stdout)


def messages(text: str) -> list[dict[str, Any]]:
    return [json.loads(line[len(MARK) :]) for line in text.splitlines() if line.startswith(MARK)]


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Agent:
    return Agent(tmp_path_factory.mktemp("agent"))


def task(kind: str, branch: str = "full", delegate: str = "cpu", threads: int = 1, **more: Any) -> dict[str, Any]:
    cell = f"{branch}/{delegate}/{threads}"
    facts = {"kind": kind, "key": f"{cell}:{kind}", "cell": cell, "branch": branch, "delegate": delegate}
    return {**facts, "threads": threads, **more}


def plan(bundle: Bundle, *tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"bundle": str(bundle.root), "tasks": list(tasks), "patience_s": 60.0, **more}


# --- info


def test_info_tells_what_the_device_can_do(agent: Agent) -> None:
    done = agent.start("info")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["engine"] == "libLiteRt.so"
    assert found["delegates"] == ["cpu", "gpu", "npu", "reference"]
    assert found["cores"] == os.cpu_count() and found["machine"] == os.uname().machine
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["context"]["memory_free_mb"] > 0


def test_info_tells_why_nothing_executes(agent: Agent, tmp_path: Path) -> None:
    (tmp_path / "libLiteRt.so").write_text("Not Found")
    for library, why in (("", "give --litert PATH"), (str(tmp_path / "libLiteRt.so"), "cannot be loaded")):
        done = agent.start("info", litert=library)
        found = json.loads(done.stdout)
        assert done.returncode == 0 and (found["engine"], found["delegates"]) == (None, []) and why in found["reason"]


def test_info_of_a_device_that_tells_rubbish(agent: Agent, tmp_path: Path) -> None:
    frequency = tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq"
    frequency.parent.mkdir(parents=True)
    frequency.write_bytes(b"\xff<unsupported>")
    found = json.loads(agent.start("info", root=tmp_path).stdout)
    assert found["max_freq_mhz"] is None and found["context"]["memory_free_mb"] is None
    frequency.write_text("1800000\n")
    assert json.loads(agent.start("info", root=tmp_path).stdout)["max_freq_mhz"] == {"0": 1800.0}


# --- bench


def test_bench_tells_each_step_of_a_cell(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    kinds = ("process", "start", "block", "energy", "busy", "end")
    runs = {"block": 5, "busy": 50}
    said = agent.bench(plan(built, *(task(k, runs=runs.get(k, 0)) for k in kinds)), tmp_path, root=tmp_path)
    assert [m["say"] for m in said] == ["begin", "fact"] * len(kinds) + ["done"]
    assert [m["kind"] for m in said[:-1:2]] == list(kinds) == [m["kind"] for m in said[1:-1:2]]
    assert all(m["key"] == f"full/cpu/1:{m['kind']}" for m in said[:-1])
    facts = {m["kind"]: m["value"] for m in said if m["say"] == "fact"}
    assert facts["process"]["load_ms"] > 0 and 0 <= facts["process"]["memory_mb"] < 100
    ops = built.manifest.branch("full").cost.ops
    assert facts["start"]["delegation"] == {"nodes": ops, "delegated": ops, "partitions": 1}
    assert len(facts["start"]["warmup_ms"]) == work.WARMUP and facts["start"]["context"]["cores"] == os.cpu_count()
    assert len(facts["block"]["latency_ms"]) == 5 and min(facts["block"]["latency_ms"]) > 0
    assert facts["energy"] == {"value_mj": None, "reason": "the adb shell sees no battery on this device"}
    begun, ended = facts["busy"]["busy"]
    assert facts["busy"]["runs"] >= 1 and 0.05 <= ended - begun < 30
    assert facts["end"]["context"]["reasons"]["battery"] == "not told by this device (FileNotFoundError)"


def test_outputs_of_every_branch_are_those_of_the_bundle(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    branches = built.manifest.branches
    said = agent.bench(plan(built, *(task("start", branch.id) for branch in branches)), tmp_path)
    facts = [m["value"] for m in said if m["say"] == "fact"]
    assert len(facts) == len(branches)
    for branch, found in zip(branches, facts, strict=True):
        assert found["agreement"] == 1.0 and found["difference"] < 1e-3, branch.id
        assert found["delegation"]["delegated"] > 0 and found["delegation_reason"] is None


def test_a_bundle_that_expects_something_else_is_noticed(
    agent: Agent, built: Bundle, copied: Path, tmp_path: Path
) -> None:
    branch = built.manifest.branch("full")
    expected = np.fromfile(copied / branch.expected, "<f4").reshape(built.manifest.samples.count, -1)
    turned = np.roll(expected, 1, axis=1)
    turned[0] = expected[0]
    turned.astype("<f4").tofile(copied / branch.expected)
    said = agent.bench({"bundle": str(copied), "tasks": [task("start")]}, tmp_path)
    value = said[1]["value"]
    assert value["agreement"] == pytest.approx(1 / len(expected))
    assert value["difference"] == pytest.approx(float(np.abs(turned - expected).max()), rel=1e-3)


def test_blocks_have_all_their_runs_wherever_they_begin(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    tasks = [task("block", "width0.25-int8", runs=7, skip=skip, key=f"b{skip}") for skip in (0, 5, 1000)]
    said = agent.bench(plan(built, *tasks), tmp_path)
    assert [len(m["value"]["latency_ms"]) for m in said if m["say"] == "fact"] == [7, 7, 7]


def test_what_fails_is_named_and_the_others_go_on(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    tasks = [
        task("start", "absent"), task("block", "absent", runs=2), task("start", delegate="npu"), task("end", "absent"),
        task("start", delegate="tpu"), task("nonsense", "width0.5"), task("block", "float16", runs=2),
    ]  # fmt: skip
    said = agent.bench(plan(built, *tasks), tmp_path)
    failed = {m["key"]: m["reason"] for m in said if m["say"] == "failed"}
    assert set(failed) == {
        "absent/cpu/1:start", "full/npu/1:start", "full/tpu/1:start", "width0.5/cpu/1:nonsense",
    }  # fmt: skip
    assert "The bundle has no branch 'absent'" in failed["absent/cpu/1:start"]
    assert "npu takes nothing of full" in failed["full/npu/1:start"]
    assert "There is no delegate 'tpu'" in failed["full/tpu/1:start"]
    begun = [m["key"] for m in said if m["say"] == "begin"]
    assert begun == [*failed, "float16/cpu/1:block"]  # nothing else of a cell that failed
    assert said[-2]["say"] == "fact" and said[-1] == {"say": "done"}


def test_a_damaged_branch_is_a_result(agent: Agent, copied: Path, built: Bundle, tmp_path: Path) -> None:
    (copied / built.manifest.branch("full").file).write_bytes(b"cut off")
    said = agent.bench({"bundle": str(copied), "tasks": [task("start"), task("start", "width0.5")]}, tmp_path)
    assert [m["say"] for m in said] == ["begin", "failed", "begin", "fact", "done"]
    assert "LiteRT could not load" in said[1]["reason"] and said[1]["cell"] == "full/cpu/1"


def test_cores_that_are_no_cores_are_refused(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan(built, task("block", runs=2), affinity="zz")))
    done = agent.start("bench", tmp_path / "plan.json")
    assert done.returncode == 2 and "'zz' is no set of cores" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("text", "why"), [("{", "is not JSON"), ("[]", "should be an object"), ('{"bundle": "b"}', "has no 'tasks'")]
)
def test_a_bad_plan_is_one_sentence(agent: Agent, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "plan.json").write_text(text)
    done = agent.start("bench", tmp_path / "plan.json")
    assert done.returncode == 2 and why in done.stderr and done.stderr.count("\n") == 1


def test_a_hot_device_is_waited_for_but_not_for_ever(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu\n")
    (zone / "temp").write_text("81500\n")
    said = agent.bench(plan(built, task("end"), cooldown_c=45.0, patience_s=0.2), tmp_path, root=tmp_path)
    waits = [m["why"] for m in said if m["say"] == "wait"]
    assert waits and set(waits) == {"81.5 C, cooling to 45 C"}
    assert [m["say"] for m in said[len(waits) :]] == ["begin", "fact", "done"]
    assert said[-2]["value"]["context"]["temperature_c"] == 81.5
    (zone / "temp").write_text("44000\n")
    said = agent.bench(plan(built, task("end"), cooldown_c=45.0), tmp_path, root=tmp_path)
    assert [m["say"] for m in said] == ["begin", "fact", "done"]


def test_energy_needs_a_battery_that_moves_and_no_charger(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    battery, charger = (tmp_path / "sys/class/power_supply" / name for name in ("battery", "usb"))
    for folder, kind in ((battery, "Battery"), (charger, "USB")):
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n")
    (battery / "current_now").write_text("-420000\n")
    (battery / "voltage_now").write_text("3850000\n")
    (charger / "online").write_text("1\n")
    energy = plan(built, task("energy", "width0.5"), idle_s=0.2, batch_s=0.2)
    said = agent.bench({**energy, "patience_s": 0.3}, tmp_path, root=tmp_path)
    assert {m["why"] for m in said if m["say"] == "wait"} == {"the phone charges; unplug it"}
    (fact,) = [m["value"] for m in said if m["say"] == "fact"]
    assert fact["value_mj"] is None and "was charging" in fact["reason"]
    (charger / "online").write_text("0\n")
    (fact,) = [m["value"] for m in agent.bench(energy, tmp_path, root=tmp_path) if m["say"] == "fact"]
    assert fact["value_mj"] is None and "never changed" in fact["reason"]


# --- pieces of work that end badly


BAD_WORK = """
import ctypes, json, os, resource, signal, sys, time
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
from android_harness.agent import work
from android_harness.agent.bench import MARK, Plan, bench
from android_harness.agent.work import Task

def hang(place, task):
    with open(sys.argv[1], "w") as file:
        file.write(str(os.getpid()))
    time.sleep(300)

def interrupted(place, task):
    raise KeyboardInterrupt

work.WORK.update(
    segv=lambda place, task: {"text": repr(ctypes.string_at(0))},
    abort=lambda place, task: os.abort(),
    leave=lambda place, task: os._exit(3),
    wrong=lambda place, task: 1 // 0,
    odd=lambda place, task: {"a set": {1}},
    large=lambda place, task: {"text": "x" * 1000000},
    where=lambda place, task: {"cores": sorted(os.sched_getaffinity(0))},
    hang=hang, interrupted=interrupted,
)

def run(patience_s, *kinds, affinity=None):
    tasks = tuple(Task(kind, kind, kind, "", "", 1) for kind in kinds)
    plan = Plan("", tasks, affinity, patience_s=patience_s)
    bench(plan, None, "/", lambda message: print(MARK + json.dumps(message), flush=True))

"""


def command(agent: Agent, program: str, *arguments: object) -> dict[str, Any]:
    return {
        "args": [sys.executable, "-c", BAD_WORK + program, *map(str, arguments)],
        "env": {"PYTHONPATH": str(agent.path)},
        "text": True,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
    }


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def test_a_child_that_dies_is_a_result_with_its_reason(agent: Agent) -> None:
    kinds = ("segv", "abort", "leave", "wrong", "odd", "interrupted", "large")
    done = subprocess.run(timeout=60, **command(agent, f"run(60.0, *{kinds!r})"))
    assert done.returncode == 0, done.stderr
    said = messages(done.stdout)
    assert [m["say"] for m in said] == ["begin", "failed"] * 6 + ["begin", "fact", "done"]
    reasons = {m["kind"]: m["reason"] for m in said if m["say"] == "failed"}
    assert reasons == {
        "segv": "its process was killed by SIGSEGV",
        "abort": "its process was killed by SIGABRT",
        "leave": "its process ended with code 3",
        "wrong": "ZeroDivisionError: integer division or modulo by zero",
        "odd": "its process ended with code 0",
        "interrupted": "its process ended with code 0",
    }
    assert len(said[-2]["value"]["text"]) == 1_000_000


def test_a_child_that_hangs_is_killed(agent: Agent, tmp_path: Path) -> None:
    done = subprocess.run(timeout=60, **command(agent, "run(2.0, 'hang', 'large')", tmp_path / "pid"))
    said = messages(done.stdout)
    assert [m["say"] for m in said] == ["begin", "failed", "begin", "fact", "done"]
    assert said[1]["reason"] == "it did not end within 2 s"
    assert gone(int((tmp_path / "pid").read_text()))


def test_work_keeps_to_the_cores_of_the_plan(agent: Agent) -> None:
    for core in sorted(os.sched_getaffinity(0))[:2]:
        done = subprocess.run(timeout=60, **command(agent, f"run(60.0, 'where', affinity='{1 << core:x}')"))
        assert [m["value"] for m in messages(done.stdout) if m["say"] == "fact"] == [{"cores": [core]}]
    done = subprocess.run(timeout=60, **command(agent, "run(60.0, 'where')"))
    assert messages(done.stdout)[1]["value"] == {"cores": sorted(os.sched_getaffinity(0))}


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_no_child_outlives_the_agent(agent: Agent, tmp_path: Path, signal_name: str) -> None:
    path = tmp_path / "pid"
    process = subprocess.Popen(**command(agent, "run(300.0, 'hang')", path))
    deadline = time.monotonic() + 30
    while not (path.exists() and path.read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    child = int(path.read_text())
    assert not gone(child)
    process.send_signal(getattr(signal, signal_name))
    process.communicate(timeout=20)
    while not gone(child) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.returncode != 0 and gone(child)


# --- cores


def tree(root: Path, *khz: int) -> str:
    for core, value in enumerate(khz):
        path = root / f"sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq"
        path.parent.mkdir(parents=True)
        path.write_text(f"{value}\n")
    return str(root)


def test_big_and_little_cores(tmp_path: Path) -> None:
    root = tree(tmp_path / "three", 1_800_000, 1_800_000, 2_400_000, 2_900_000)
    assert work.cores_of("big", root, 4) == (3,) and work.cores_of("little", root, 4) == (0, 1)
    same = tree(tmp_path / "same", 2_000_000, 2_000_000)
    assert work.cores_of("big", same, 2) == work.cores_of("little", same, 2) == (0, 1)
    with pytest.raises(AdaScaleError, match=r"does not tell its cores' frequencies; give a mask"):
        work.cores_of("big", str(tmp_path), 4)


@given(st.sets(st.integers(0, 63), min_size=1), st.booleans(), st.integers(1, 64))
def test_masks_name_cores(cores: set[int], prefixed: bool, count: int) -> None:
    mask = format(sum(1 << core for core in cores), "#x" if prefixed else "x")
    assert work.cores_of(mask, "/", None) == tuple(sorted(cores))
    if max(cores) < count:
        assert work.cores_of(mask, "/", count) == tuple(sorted(cores))
    else:
        with pytest.raises(AdaScaleError, match=f"names cores that this device lacks; it has {count}"):
            work.cores_of(mask, "/", count)


@given(st.text().filter(lambda text: text not in ("big", "little")))
def test_other_text_is_refused_or_a_mask(text: str) -> None:
    try:
        assert work.cores_of(text, "/", None) and int(text, 16) > 0
    except AdaScaleError as error:
        assert "no set of cores" in str(error) or int(text, 16) == 0


@pytest.mark.parametrize("text", ["", "-1", "f 0", "0xg", "BIG", "1_0", "+1", "٣"])
def test_what_is_no_mask(text: str) -> None:
    with pytest.raises(BadInput, match="is no set of cores"):
        work.cores_of(text, "/", 8)
    assert work.cores_of(None, "/", 8) == ()


# --- loop and replay


@pytest.fixture(scope="module")
def recorded(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of the loop on this host, with a budget that makes it choose."""
    path = tmp_path_factory.mktemp("trace") / "trace.jsonl"
    x = np.fromfile(built.path(built.manifest.samples.file), "<f4")
    images = x.reshape(-1, *built.manifest.branches[0].input.shape)
    labelled = [(image, label) for image, label in zip(images, built.manifest.samples.labels, strict=True)] * 1000
    with Session(built, parse("latency_ms=3")) as session, loop.writer(path) as write:
        loop.run(session, labelled, 1.0, write, lambda t: "early" if t < 0.5 else "late")
    return path


def replayed(bundle: Bundle, trace: Path, budget: Budget, policy: str = "adaptive") -> list[str]:
    header, recorded = events.read(trace)
    return [codec.dump_line(event).rstrip("\n") for event in replay(bundle, header, recorded, budget, policy)]


@pytest.mark.parametrize(
    ("budget", "policy"),
    [
        ("latency_ms=3", "adaptive"), ("latency_ms=1", "adaptive"), ("latency_ms=50", "threshold"),
        ("latency_ms=3,min_accuracy=0.05", "adaptive"),
    ],
)  # fmt: skip
def test_a_trace_is_replayed_as_on_the_host(
    agent: Agent, built: Bundle, recorded: Path, budget: str, policy: str
) -> None:
    done = agent.start(
        "replay", built.root, "--trace", recorded, "--budget", budget, "--policy", policy, litert=""
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = replayed(built, recorded, parse(budget), policy)
    assert len(wanted) > 20 and done.stdout.splitlines() == wanted


def test_the_agents_own_trace_replays_to_what_happened(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "trace.jsonl"
    done = agent.start("loop", built.root, "--budget", BUDGET, "--seconds", "0.6", "--fps", "50", "--out", out)
    assert done.returncode == 0, done.stderr
    summary, (header, happened) = json.loads(done.stdout), events.read(out)
    assert header.bundle == built.digest and set(header.table) == {b.id for b in built.manifest.branches}
    assert summary["count"] == len(happened) > 5 and sum(summary["branches"].values()) == pytest.approx(1)
    assert {event.branch for event in happened} == set(summary["branches"])
    lines = [codec.dump_line(event).rstrip("\n") for event in happened]
    assert replayed(built, out, parse(BUDGET)) == lines
    done = agent.start("replay", built.root, "--trace", out, "--budget", BUDGET, litert="")
    assert done.stdout.splitlines() == lines


def test_the_loop_answers_as_the_host_does(agent: Agent, built: Bundle) -> None:
    best = max(built.manifest.branches, key=lambda branch: branch.accuracy.value)
    budget = f"{BUDGET},min_accuracy={best.accuracy.value}"
    done = agent.start("loop", built.root, "--budget", budget, "--seconds", "0.3")
    summary = json.loads(done.stdout)
    expected = np.fromfile(built.path(best.expected), "<f4").reshape(built.manifest.samples.count, -1)
    right = expected.argmax(1) == np.array(built.manifest.samples.labels)
    # The samples come round and round, so the share is that of the samples but for the last, cut round.
    assert abs(summary["accuracy"] - right.mean()) <= len(right) / summary["count"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("loop", "{bundle}", "--budget", "speed=5"), 2, "is not a budget"),
        (("loop", "{bundle}", "--budget", "latency_ms=1e-9"), 2, "latency_ms"),
        (("loop", "/nowhere", "--budget", BUDGET), 2, "manifest.json cannot be read"),
        (("loop", "{bundle}", "--budget", BUDGET, "--delegate", "tpu"), 2, "There is no delegate 'tpu'"),
        (("loop", "{bundle}", "--budget", BUDGET, "--delegate", "npu"), 1, "npu takes nothing of"),
        (("serve", "{bundle}", "--budget", BUDGET, "--listen", "65536"), 2, "is no port"),
        (("replay", "{bundle}", "--budget", BUDGET, "--trace", "/nowhere"), 2, "cannot be read"),
        (("replay", "{bundle}", "--budget", BUDGET, "--trace", "{trace}", "--policy", "x"), 2, "is no policy 'x'"),
        (("bench", "/nowhere"), 2, "cannot be read"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    agent: Agent, built: Bundle, recorded: Path, arguments: tuple[str, ...], code: int, why: str
) -> None:
    done = agent.start(*(a.format(bundle=built.root, trace=recorded) for a in arguments))
    assert done.returncode == code and done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("agent: ")]
    assert why in line


def test_a_trace_of_another_bundle_is_refused(agent: Agent, built: Bundle, recorded: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.jsonl"
    other.write_text(recorded.read_text().replace(built.digest, "0" * 12, 1))
    done = agent.start("replay", built.root, "--trace", other, "--budget", BUDGET)
    assert done.returncode == 2 and "was recorded with another bundle" in done.stderr


# --- the GPU


@pytest.mark.gpu
def test_latencies_on_a_gpu_end_when_the_output_was_read(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    driver = os.environ.get("VK_DRIVER_FILES", SOFTWARE_VULKAN)
    if not Path(driver).exists():
        pytest.skip(f"no software Vulkan ({driver}); install chromium-common")
    if ctypes.util.find_library("vulkan") is None:
        pytest.skip("no Vulkan loader; install libvulkan1")
    tasks = [task("start", delegate="gpu"), task("block", delegate="gpu", runs=9)]
    said = agent.bench(plan(built, *tasks), tmp_path, VK_DRIVER_FILES=driver)
    start, block = (m["value"] for m in said if m["say"] == "fact")
    ops = built.manifest.branch("full").cost.ops
    assert start["delegation"] == {"nodes": ops, "delegated": ops, "partitions": 1}
    assert start["agreement"] == 1.0 and start["difference"] < 1e-3
    program = """
import statistics
from adascale_tf.runtime import accelerators, delegates
bundle = work.open_bundle(sys.argv[1])
branch = bundle.manifest.branch("full")
path = str(bundle.path(branch.file))
compiled = accelerators.open_branch(delegates.library(sys.argv[2]), path, branch.signature, "gpu")
stored, spent = work.samples(bundle)[0].quantize(branch.input), []
compiled.run(stored)
for _ in range(9):
    compiled.write(stored)
    before = time.perf_counter()
    goes_on = compiled.enqueue()
    enqueued = time.perf_counter()
    compiled.read()
    spent.append((1e3 * (enqueued - before), 1e3 * (time.perf_counter() - before)))
print(json.dumps([goes_on, *map(statistics.median, zip(*spent))]))
"""
    run = command(agent, program, built.root, wheel_library())
    run["env"]["VK_DRIVER_FILES"] = driver
    done = subprocess.run(timeout=60, **run)
    assert done.returncode == 0, done.stderr
    goes_on, enqueue_ms, whole_ms = json.loads(done.stdout.splitlines()[-1])
    assert goes_on and enqueue_ms < whole_ms / 5
    assert min(block["latency_ms"]) > 5 * enqueue_ms and float(np.median(block["latency_ms"])) > whole_ms / 3
