from __future__ import annotations

import ctypes.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from adascale_runtime.engines.delegates import wheel_library
from adascale_runtime.measuring import work as measuring
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.pace import KINDS
from tests.fixtures.agents import Agent, command, job, plan

#: A Vulkan driver that needs no GPU, from Debian's chromium-common.
SOFTWARE_VULKAN = "/usr/lib/chromium/vk_swiftshader_icd.json"


# --- info


def test_info_tells_what_the_device_can_do(agent: Agent) -> None:
    done = agent.start("info")
    found = json.loads(done.stdout)
    assert done.returncode == 0 and found["engine"] == "libLiteRt.so"
    assert found["delegates"] == ["builtin", "cpu", "gpu", "npu"]
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
    said = agent.bench(plan(built, *(job(k, runs=runs.get(k, 0)) for k in kinds)), tmp_path, root=tmp_path)
    assert [m["say"] for m in said] == ["begin", "fact"] * len(kinds) + ["done"]
    assert [m["kind"] for m in said[:-1:2]] == list(kinds) == [m["kind"] for m in said[1:-1:2]]
    assert all(m["key"] == f"full/cpu/1:{m['kind']}" for m in said[:-1])
    facts = {m["kind"]: m["value"] for m in said if m["say"] == "fact"}
    assert facts["process"]["load_ms"] > 0 and 0 <= facts["process"]["memory_mb"] < 100
    ops = built.manifest.branch("full").cost.ops
    assert facts["start"]["delegation"] == {"nodes": ops, "delegated": ops, "partitions": 1}
    assert len(facts["start"]["warmup_ms"]) == measuring.WARMUP and facts["start"]["context"]["cores"] == os.cpu_count()
    assert len(facts["block"]["latency_ms"]) == 5 and min(facts["block"]["latency_ms"]) > 0
    assert facts["energy"]["value_mj"] is None
    assert facts["energy"]["reason"] == "the adb shell sees no battery on this device"
    begun, ended = facts["busy"]["begun_s"], facts["busy"]["ended_s"]
    assert facts["busy"]["runs"] >= 1 and 0.05 <= ended - begun < 30
    assert facts["end"]["context"]["reasons"]["battery"] == "not reported by this device (FileNotFoundError)"


def test_outputs_of_every_branch_are_those_of_the_bundle(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    branches = built.manifest.branches
    said = agent.bench(plan(built, *(job("start", branch.id) for branch in branches)), tmp_path)
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
    said = agent.bench({"bundle": str(copied), "jobs": [job("start")]}, tmp_path)
    value = said[1]["value"]
    assert value["agreement"] == pytest.approx(1 / len(expected))
    assert value["difference"] == pytest.approx(float(np.abs(turned - expected).max()), rel=1e-3)


def test_blocks_have_all_their_runs_wherever_they_begin(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    jobs = [job("block", "width0.25-int8", runs=7, skip=skip, key=f"b{skip}") for skip in (0, 5, 1000)]
    said = agent.bench(plan(built, *jobs), tmp_path)
    assert [len(m["value"]["latency_ms"]) for m in said if m["say"] == "fact"] == [7, 7, 7]


def test_anchors_stand_beside_a_block_on_every_delegate_of_the_cpu(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    jobs = [job("block", runs=6), job("block", "int8", "builtin", runs=6)]
    said = agent.bench(plan(built, *jobs), tmp_path)
    for block in (m["value"] for m in said if m["say"] == "fact"):
        assert block["paces"][0]["run"] == 0 and block["paces"][-1]["run"] == 6
        assert all(0 < p[f"{kind}_ms"] < 100 for p in block["paces"] for kind in KINDS)
    said = agent.bench({**plan(built, *jobs), "anchors": False}, tmp_path)
    assert [m["value"]["paces"] for m in said if m["say"] == "fact"] == [[], []]


def test_what_fails_is_named_and_the_others_go_on(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    jobs = [
        job("start", "absent"), job("block", "absent", runs=2), job("start", delegate="npu"), job("end", "absent"),
        job("start", delegate="tpu"), job("nonsense", "width0.5"), job("block", "float16", runs=2),
    ]  # fmt: skip
    said = agent.bench(plan(built, *jobs), tmp_path)
    failed = {m["key"]: m["reason"] for m in said if m["say"] == "failed"}
    assert set(failed) == {
        "absent/cpu/1:start", "full/npu/1:start", "full/tpu/1:start", "width0.5/cpu/1:nonsense",
    }  # fmt: skip
    assert "The bundle has no branch 'absent'" in failed["absent/cpu/1:start"]
    assert "npu" in failed["full/npu/1:start"]
    assert "There is no delegate 'tpu'" in failed["full/tpu/1:start"]
    begun = [m["key"] for m in said if m["say"] == "begin"]
    assert begun == [*failed, "float16/cpu/1:block"]  # nothing else of a cell that failed
    assert said[-2]["say"] == "fact" and said[-1] == {"say": "done"}


def test_a_damaged_branch_is_a_result(agent: Agent, copied: Path, built: Bundle, tmp_path: Path) -> None:
    (copied / built.manifest.branch("full").file).write_bytes(b"cut off")
    said = agent.bench({"bundle": str(copied), "jobs": [job("start"), job("start", "width0.5")]}, tmp_path)
    assert [m["say"] for m in said] == ["begin", "failed", "begin", "fact", "done"]
    assert "LiteRT could not load" in said[1]["reason"] and said[1]["cell"] == "full/cpu/1"


def test_cores_that_are_no_cores_are_refused(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text(json.dumps(plan(built, job("block", runs=2), affinity="zz")))
    done = agent.start("bench", tmp_path / "plan.json")
    assert done.returncode == 2 and "'zz' is not a set of cores" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(
    ("text", "why"), [("{", "is not JSON"), ("[]", "should be an object"), ('{"bundle": "b"}', "has no 'jobs'")]
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
    said = agent.bench(plan(built, job("end"), cooldown_c=45.0, patience_s=0.2), tmp_path, root=tmp_path)
    waits = [m["why"] for m in said if m["say"] == "wait"]
    assert waits and set(waits) == {"81.5 C, cooling to 45 C"}
    assert [m["say"] for m in said[len(waits) :]] == ["begin", "fact", "done"]
    assert said[-2]["value"]["context"]["temperature_c"] == 81.5
    (zone / "temp").write_text("44000\n")
    said = agent.bench(plan(built, job("end"), cooldown_c=45.0), tmp_path, root=tmp_path)
    assert [m["say"] for m in said] == ["begin", "fact", "done"]


def test_energy_needs_a_battery_that_moves_and_no_charger(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    battery, charger = (tmp_path / "sys/class/power_supply" / name for name in ("battery", "usb"))
    for folder, kind in ((battery, "Battery"), (charger, "USB")):
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"{kind}\n")
    (battery / "current_now").write_text("-420000\n")
    (battery / "voltage_now").write_text("3850000\n")
    (charger / "online").write_text("1\n")
    energy = plan(built, job("energy", "width0.5"), idle_s=0.2, batch_s=0.2)
    said = agent.bench({**energy, "patience_s": 0.3}, tmp_path, root=tmp_path)
    assert {m["why"] for m in said if m["say"] == "wait"} == {"the phone charges; unplug it"}
    (fact,) = [m["value"] for m in said if m["say"] == "fact"]
    assert fact["value_mj"] is None and "was charging" in fact["reason"]
    (charger / "online").write_text("0\n")
    (fact,) = [m["value"] for m in agent.bench(energy, tmp_path, root=tmp_path) if m["say"] == "fact"]
    assert fact["value_mj"] is None and "never changed" in fact["reason"]


# --- the GPU


@pytest.mark.gpu
def test_latencies_on_a_gpu_end_when_the_output_was_read(agent: Agent, built: Bundle, tmp_path: Path) -> None:
    driver = os.environ.get("VK_DRIVER_FILES", SOFTWARE_VULKAN)
    if not Path(driver).exists():
        pytest.skip(f"no software Vulkan ({driver}); install chromium-common")
    if ctypes.util.find_library("vulkan") is None:
        pytest.skip("no Vulkan loader; install libvulkan1")
    jobs = [job("start", delegate="gpu"), job("block", delegate="gpu", runs=9)]
    said = agent.bench(plan(built, *jobs), tmp_path, VK_DRIVER_FILES=driver)
    start, block = (m["value"] for m in said if m["say"] == "fact")
    ops = built.manifest.branch("full").cost.ops
    assert start["delegation"] == {"nodes": ops, "delegated": ops, "partitions": 1}
    assert start["agreement"] == 1.0 and start["difference"] < 1e-3
    program = """
import json, statistics
from adascale_runtime.engines import accelerators, delegates
bundle = work.open_bundle(sys.argv[1])
branch = bundle.manifest.branch("full")
path = str(bundle.path(branch.file))
compiled = accelerators.open_compiled(delegates.library(sys.argv[2]), path, branch.signature, "gpu")
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
