"""Google's benchmark_model behind the harness, on an emulated phone: the tool runs real branches, or breaks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.seams import records
from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.facts import Process
from adascale_runtime.seams.jobs import Begin, Done, Finished, Job, Wait
from android_harness import keys, store
from android_harness.adb import Address
from android_harness.benchmark_log import parse
from android_harness.benchmark_runner import BenchmarkRunner, _process
from android_harness.harness import Harness, Outcome
from android_harness.runner import Options
from tests.fixtures import benchmark_model
from tests.fixtures.emulated_phone import emulated
from tests.fixtures.phones import Phone

BRANCH = "width0.5"


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return keys.load(tmp_path_factory.mktemp("key") / "adbkey")[0]


@pytest.fixture()
def phone(tmp_path: Path) -> Iterator[tuple[Phone, Address]]:
    with emulated(tmp_path / "phone") as (made, adbd):
        yield made, Address(*adbd.address)


@pytest.fixture()
def profile(built: Bundle, phone: tuple[Phone, Address], tmp_path: Path, signer: Any) -> Any:
    """A profile of a few branches on the phone, each into a file of its own."""
    outs = itertools.count()

    def run(
        binary: Path | None, delegate: str = "cpu", branches: tuple[str, ...] = (BRANCH,), **changes: Any
    ) -> Outcome:
        wanted = {"runs": 2, "rounds": 1, "patience_s": 20.0, "runner": "benchmark_model", **changes}
        harness = Harness(
            built, phone[1], Options(binary=binary, **wanted), tmp_path / f"{next(outs)}.jsonl", signer=signer
        )
        return harness.profile([delegate], [1], branches)

    return run


def shared(bundle: Bundle) -> str:
    """A branch that is not the first of a file with several."""
    files: dict[str, str] = {}
    for branch in bundle.manifest.branches:
        if branch.file in files:
            return branch.id
        files[branch.file] = branch.id
    raise AssertionError("every branch has a file of its own")


def test_branches_are_measured(built: Bundle, profile: Any, tmp_path: Path, phone: tuple[Phone, Address]) -> None:
    branches = ("full", shared(built))
    outcome = profile(benchmark_model.write(tmp_path), branches=branches, runs=4, rounds=2, affinity="big", energy=True)
    assert outcome.failed == {} and [m.branch for m in outcome.measurements] == list(branches)
    assert records.read([tmp_path / "0.jsonl"]) == outcome.measurements
    for m in outcome.measurements:
        assert len(m.latency_ms) == m.rounds == 2 and 0 < min(m.latency_ms) < 50
        assert m.load_ms is not None and m.load_ms > 0 and len(m.warmup_ms) == 1 and m.warmup_ms[0] > 0
        assert m.memory_mb is not None and 0 <= m.memory_mb < 100 and m.memory_reason is None
        assert m.outputs is None and m.versions == {"engine": "benchmark_model"}
        assert m.energy.how == "estimated:model" and "benchmark_model measures no energy" in str(m.energy.reason)
        assert m.settings["runner"] == "benchmark_model" and m.settings["affinity"] == "big"
        for context in (m.context_before, m.context_after):
            assert context.cores == outcome.device["cores"] and context.cpu_freq_mhz in (900, 1150, 1400)
            assert context.cpu_load is not None and 0 <= context.cpu_load <= 1 and context.runnable is not None
            assert context.memory_free_mb is not None and context.battery == 0.8 and context.charging is False
            assert context.temperature_c is not None and 20 < context.temperature_c < 60 and context.reasons is None
    full = outcome.measurements[0].delegation
    assert full is not None and full.verdict == "fully" and full.nodes == built.manifest.branch("full").cost.ops
    assert not (phone[0].root / store.FOLDER.lstrip("/")).exists()


def test_plain_kernels_take_nothing(profile: Any, tmp_path: Path) -> None:
    (found,) = profile(benchmark_model.write(tmp_path), "builtin").measurements
    assert found.delegation is not None and found.delegation.verdict == "not" and found.delegation_reason is None


@pytest.mark.parametrize(
    ("gpu", "sentence"), [("unsupported", "gpu left all operators to the CPU"), ("fails", "could not apply gpu")]
)
def test_a_gpu_that_is_not_there_is_a_failure(profile: Any, tmp_path: Path, gpu: str, sentence: str) -> None:
    outcome = profile(benchmark_model.write(tmp_path, gpu), "gpu")
    assert outcome.measurements == [] and list(outcome.failed) == [f"{BRANCH}/gpux1"]
    (reason,) = outcome.failed.values()
    assert sentence in reason and reason.endswith(".")


def test_a_fallback_is_measured_where_allowed_and_told(profile: Any, tmp_path: Path) -> None:
    outcome = profile(benchmark_model.write(tmp_path), "gpu", allow_fallback=True)
    (found,) = outcome.measurements
    assert outcome.failed == {} and found.latency_ms[0] > 0
    assert found.delegation is not None and found.delegation.verdict == "not"
    assert "gpu took none" in str(found.delegation_reason)


def test_an_old_tool_never_measures_another_branch_of_the_file(built: Bundle, profile: Any, tmp_path: Path) -> None:
    """It does not know the flag, warns, and runs the first branch."""
    branch = shared(built)
    outcome = profile(benchmark_model.write(tmp_path, without="signature_to_run_for"), branches=(branch,))
    assert "too old to choose among the branches" in outcome.failed[f"{branch}/cpux1"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("#!/bin/sh\necho INFO: STARTING!\nkill -SEGV $$\n", "was killed by SIGSEGV"),
        ("#!/bin/sh\necho ERROR: Failed to load model; exit 1\n", "ended with code 1; its last output was: ERROR:"),
        ("#!/bin/sh\nhead -c 5000 /dev/urandom\n", "printed no inference time"),
        ("#!/bin/sh\n", "printed no inference time; its last output was: none."),
        (
            "#!/bin/sh\necho 'INFO: Inference timings in us: Init: 1, Inference (avg): nan'\n",
            "printed no inference time",
        ),
    ],
)
def test_a_broken_tool_is_a_failed_cell(profile: Any, tmp_path: Path, text: str, sentence: str) -> None:
    outcome = profile(benchmark_model.script(tmp_path, text), branches=("full", BRANCH))
    assert outcome.measurements == [] and set(outcome.failed) == {"full/cpux1", f"{BRANCH}/cpux1"}
    for reason in outcome.failed.values():
        assert sentence in reason and reason.isprintable() and reason.endswith(".")


def test_a_tool_that_hangs_is_given_up(profile: Any, tmp_path: Path) -> None:
    hangs = benchmark_model.script(tmp_path, "#!/bin/sh\n[ $1 = --help ] || sleep 60\n")
    (reason,) = profile(hangs, patience_s=1.0).failed.values()
    assert "does not answer" in reason and "while it did 'process', 2 times" in reason


def test_what_cannot_be_asked_is_refused(profile: Any, tmp_path: Path) -> None:
    good = benchmark_model.write(tmp_path)
    with pytest.raises(BadInput, match=r"--runner benchmark_model needs --binary PATH"):
        profile(None)
    with pytest.raises(BadInput, match=r"needs --binary PATH.*absent is not a file\."):
        profile(tmp_path / "absent")
    with pytest.raises(
        BadInput, match=r"has no delegate npu; it has builtin, cpu, gpu, nnapi .npu: use '--runner agent'"
    ):
        profile(good, "npu")
    with pytest.raises(BadInput, match="'fast' is not a set of cores"):
        profile(good, affinity="fast")
    with pytest.raises(AdaScaleError, match="names cores that this device lacks"):
        profile(good, affinity="f0000000")
    with pytest.raises(BadInput, match="There is no runner 'guess'"):
        profile(good, runner="guess")
    (tmp_path / "alien").mkdir()
    alien = benchmark_model.script(tmp_path / "alien", "#!/no/such/loader\n")
    with pytest.raises(BadInput, match=r"does not start on .* it must be built for"):
        profile(alien)


def test_a_warm_phone_is_waited_for(built: Bundle, phone: tuple[Phone, Address], signer: Any) -> None:
    from android_harness.adb import connect

    runner = BenchmarkRunner(Options(runner="benchmark_model", cooldown_c=45.0, patience_s=1.0), built)
    phone[0].heat(70.0)
    with connect(phone[1], signer) as adb:
        for _ in range(100):
            if runner._context(adb).temperature_c > 45:
                break
        said = list(runner.run(adb, [Job("energy", "k", "k", BRANCH, "cpu", 1)]))
    assert isinstance(said[0], Wait) and said[0].why.endswith("cooling to 45 C")
    assert [type(m) for m in said if not isinstance(m, Wait)] == [Begin, Finished, Done]


def test_memory_that_the_tool_does_not_tell_has_a_reason() -> None:
    line = "Memory footprint delta from the start of the tool (MB): init=0.5 overall={}\n"
    assert _process(parse(line.format(2.5))) == Process(None, 2.5, None)
    for text, reason in (("", "printed no memory footprint"), (line.format(-1.5), "shrank by 1.5 MB")):
        told = _process(parse(text))
        assert told.memory_mb is None and reason in str(told.reason)


def test_what_a_delegate_took_is_told_no_better_than_known(built: Bundle) -> None:
    """Counts of a file with several branches are none of one branch."""
    runner = BenchmarkRunner(Options(runner="benchmark_model"), built)
    several = shared(built)
    alone = next(b.id for b in built.manifest.branches if runner._sharing(b) == 1)
    partly = "Replacing 3 out of 5 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 2 partitions.\n"
    fully = "Explicitly applied XNNPACK delegate, and the model graph will be completely executed by the delegate.\n"

    def taken(branch: str, text: str) -> Any:
        return runner._taken(parse(text, "cpu"), Job("start", "k", "k", branch, "cpu", 1))

    assert taken(alone, partly) == (records.Delegation(5, 3, 2), None)
    assert taken(several, partly)[0] is None and "3 of 5 operators for the" in taken(several, partly)[1]
    ops = built.manifest.branch(several).cost.ops
    assert taken(several, fully) == (records.Delegation(ops, ops, 1), None)
    assert taken(alone, "") == (None, "benchmark_model does not report how many operators cpu took")
