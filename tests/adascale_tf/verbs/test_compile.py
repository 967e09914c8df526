"""``compile_npu``: files for NPUs in a bundle, and what the runtime makes of them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import adascale_tf as ada
from adascale_runtime.engines import served, vendors
from adascale_runtime.engines.delegates import open_branch
from adascale_runtime.errors import AdaScaleError, BadBundle, BadInput, UnknownDelegate
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle
from adascale_runtime.seams.bundle import Bundle, Compiled
from adascale_tf.cli import cli
from converters import ahead
from tests.fixtures import small_model

INTEL = ahead.Target("intel", "CPU")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    data = small_model.pack(small_model.tree())
    return small_model.write(tmp_path / "small", {"a": data, "b": data})


# --- what is refused


@pytest.mark.parametrize("text", ["TPU9", "intel:SM8750", "", "host:", "qualcomm:"])
def test_an_unknown_chip_lists_the_known_ones(small: Path, text: str) -> None:
    with pytest.raises(BadInput, match=r"choose 'host', or among intel: CPU, .*SM8750"):
        ada.compile_npu(small, text)


def test_chips_are_named_with_or_without_their_vendor() -> None:
    wanted = ahead.Target("qualcomm", "SM8750")
    assert {ahead.parse(text) for text in ("SM8750", "sm8750", "qualcomm:SM8750", " Qualcomm:sm8750 ")} == {wanted}
    assert ahead.parse("intel:cpu") == INTEL


@pytest.mark.parametrize("maker", [m for m in ahead.MAKERS if m.name != "intel"], ids=lambda m: m.name)
def test_a_compiler_that_is_missing_is_named(small: Path, maker: ahead.Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    if find_spec(maker.sdk) is not None:
        pytest.skip(f"{maker.sdk} is installed")
    monkeypatch.delenv("GOOGLE_TENSOR_COMPILER_LIB", raising=False)
    chip = next(target for target in ahead.known() if target.vendor == maker.name)
    before = sorted(p.name for p in small.rglob("*"))
    with pytest.raises(UnknownDelegate, match=f"compiler for {chip.chip} of {maker.name} is not installed"):
        ada.compile_npu(small, str(chip))
    assert sorted(p.name for p in small.rglob("*")) == before


def test_nothing_to_do_and_archives_are_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No chip is named"):
        ada.compile_npu(small, [])
    archive = Path(shutil.make_archive(str(tmp_path / "packed"), "zip", small))
    with pytest.raises(BadInput, match=r"packed.zip is a .zip; give a folder"):
        ada.compile_npu(archive, "SM8750")


# --- what a manifest may say


def written(root: Path, *compiled: Compiled) -> Path:
    """The bundle with compiled files of its first branch, which are copies of the portable one."""
    opened = bundle.load(root)
    for one in compiled:
        place = root / one.file
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            shutil.copyfile(opened.path(opened.manifest.branches[0].file), place)
    first = replace(opened.manifest.branches[0], compiled=compiled)
    manifest = replace(
        opened.manifest, branches=(first, *opened.manifest.branches[1:]), files=bundle.entries(root)
    )  # fmt: skip
    codec.write_text(root / bundle.MANIFEST, codec.dump(manifest))
    return root


def test_a_bundle_with_compiled_files_opens_and_its_digest_is_theirs(small: Path) -> None:
    before = bundle.load(small).digest
    one = Compiled("qualcomm", "SM8750", "compiled/qualcomm-SM8750/a.tflite", 3, 3, 1, "test")
    opened = bundle.load(written(small, one))
    assert opened.manifest.branches[0].compiled == (one,) and opened.manifest.branches[1].compiled == ()
    assert opened.digest != before
    assert served.compiled_for(opened.manifest.branches[0], "npu", "SM8750") == one


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"taken": 4}, "4 of 3 operators"), ({"taken": -1}, "-1 of 3"), ({"partitions": 5}, "in 5 parts"),
        ({"chip": " "}, "without a vendor or chip"), ({"vendor": ""}, "without a vendor or chip"),
        ({"file": "a.tflite"}, "that is its portable one"),
    ],
)  # fmt: skip
def test_impossible_compiled_files_are_refused(small: Path, changes: dict[str, object], said: str) -> None:
    one = replace(Compiled("intel", "CPU", "compiled/a.tflite", 3, 3, 1), **changes)
    with pytest.raises(BadBundle, match=said):
        bundle.load(written(small, one))


def test_two_files_for_one_chip_are_refused(small: Path) -> None:
    one = Compiled("intel", "CPU", "compiled/a.tflite", 3, 3, 1)
    with pytest.raises(BadBundle, match="or two for 'CPU'"):
        bundle.load(written(small, one, replace(one, file="compiled/b.tflite")))


def test_compiled_files_have_checksums(small: Path) -> None:
    written(small, Compiled("intel", "CPU", "compiled/a.tflite", 3, 3, 1))
    place = small / "compiled" / "a.tflite"
    place.write_bytes(b"cut off")
    with pytest.raises(BadBundle, match=r"a\.tflite has 7 bytes instead of"):
        bundle.load(small)
    text = (small / bundle.MANIFEST).read_text().replace('"file": "compiled/a.tflite"', '"file": "compiled/c.tflite"')
    (small / bundle.MANIFEST).write_text(text)
    with pytest.raises(BadBundle, match="no checksum for it"):
        bundle.load(small)


def test_a_compiled_file_of_another_border_is_refused(small: Path) -> None:
    def widen(model: object) -> None:
        model.subgraphs[0].tensors[0].shape = [1, 2 * small_model.WIDTH]  # type: ignore[attr-defined]

    place = small / "compiled" / "a.tflite"
    place.parent.mkdir()
    place.write_bytes(small_model.spoiled(widen))
    with pytest.raises(BadBundle, match=r"is not what its file compiled/a.tflite holds"):
        bundle.load(written(small, Compiled("intel", "CPU", "compiled/a.tflite", 3, 3, 1)))


# --- the real compiler


@pytest.mark.npu
def test_compiled_branches_are_in_the_bundle_and_run(copied: Path, npu: vendors.Vendor) -> None:
    before = bundle.load(copied)
    seen: list[str] = []
    done = ada.compile_npu(
        copied, ["host"], branches=["full", "exit2-int8"], tick=lambda what, n, total, note="": seen.append(note)
    )
    assert [one.branch for one in done.made] == ["full", "exit2-int8"] and not done.problems
    assert seen[0] == f"full for intel:{npu.chip}" and len(seen) == 3
    opened = bundle.load(copied)
    assert opened.manifest == done.bundle.manifest
    assert not [p for p in copied.parent.iterdir() if p.name.startswith(".")]
    for branch in opened.manifest.branches:
        assert replace(branch, compiled=()) == before.manifest.branch(branch.id)
        if branch.id not in ("full", "exit2-int8"):
            assert branch.compiled == ()
            continue
        (one,) = branch.compiled
        assert (one.vendor, one.chip, one.operators, one.taken) == ("intel", npu.chip, branch.cost.ops, branch.cost.ops)
        assert one.partitions == 1 and "OpenVINO" in one.compiler
        assert one.verification is not None and one.verification.agreement > 0.9
        assert served.served(branch, "npu").file == one.file and served.served(branch, "cpu").file == branch.file
        x = np.zeros(branch.input.shape, np.float32)
        gap = np.abs(open_branch(opened, branch, "npu")(x) - open_branch(opened, branch, "cpu")(x)).max()
        assert gap < 0.05 * one.verification.output_range


@pytest.mark.npu
def test_the_compiled_file_runs_and_not_the_portable_one(copied: Path, npu: vendors.Vendor) -> None:
    """Its operators are gone: LiteRT counts one, the part that was compiled."""
    from adascale_runtime.engines import accelerators
    from adascale_runtime.engines.delegates import library

    branch = ada.compile_npu(copied, "host", branches=["full"]).bundle.manifest.branch("full")
    compiled = accelerators.open_compiled(library(), str(copied / branch.compiled[0].file), branch.signature, "npu")
    assert compiled.nodes == 1 and compiled.accelerated()
    compiled.close()
    measured = ada.profile(copied, ["npu", "cpu"], branches=["full"], runs=4, precise=0)
    assert not measured.problems and {m.delegate for m in measured.measurements} == {"cpu", "npu"}
    for m in measured.measurements:
        assert m.outputs is not None and m.outputs.agreement == 1.0
        assert m.delegation is not None and (m.delegation.nodes, m.delegation.verdict) == (branch.cost.ops, "fully")
    assert any("on its CPU device" in note for note in measured.notes) == (npu.chip == "CPU")


@pytest.mark.npu
def test_damaged_code_is_one_sentence(copied: Path, npu: vendors.Vendor) -> None:
    opened = ada.compile_npu(copied, "host", branches=["full"]).bundle
    branch = opened.manifest.branch("full")
    place = copied / branch.compiled[0].file
    data = bytearray(place.read_bytes())
    data[-len(data) // 2 :] = bytes(len(data[-len(data) // 2 :]))
    place.write_bytes(bytes(data))
    with pytest.raises(BadBundle, match="wrong checksum"):
        bundle.load(copied)
    codec.write_text(
        copied / bundle.MANIFEST, codec.dump(replace(opened.manifest, files=bundle.entries(copied)))
    )  # fmt: skip
    with pytest.raises(AdaScaleError, match="full"):
        damaged = bundle.load(copied)
        open_branch(damaged, damaged.manifest.branch("full"), "npu")


@pytest.mark.npu
def test_a_session_runs_on_compiled_files(copied: Path, npu: vendors.Vendor) -> None:
    """Beside branches that have none, which LiteRT compiles as they are opened."""
    opened = ada.compile_npu(copied, "host", branches=["full", "int8"]).bundle
    with ada.Session(opened, ada.Budget(latency_ms=1000), delegates=("npu",), remember=False) as session:
        assert {option.id for option in session.table} == {branch.id for branch in opened.manifest.branches}
        session.predict(np.zeros(opened.manifest.branches[0].input.shape, np.float32))


@pytest.mark.npu
def test_the_command_tells_of_what_was_compiled(copied: Path, tmp_path: Path, npu: vendors.Vendor) -> None:
    out = tmp_path / "out"
    command = ["compile", str(copied), "--npu", "host", "--branches", "full", "--out", str(out), "--json", "--quiet"]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    (one,) = json.loads(done.stdout)
    assert one["branch"] == "full" and one["compiled"]["taken"] == one["compiled"]["operators"]
    assert (
        bundle.load(out).manifest.branch("full").compiled and not bundle.load(copied).manifest.branch("full").compiled
    )


@pytest.mark.npu
def test_what_the_compiler_takes_none_of_is_a_problem_and_no_bundle(small: Path, npu: vendors.Vendor) -> None:
    from tests.adascale_runtime.engines.test_npu import nothing

    shutil.rmtree(small)
    small_model.write(
        small, {"a": small_model.spoiled(nothing), "b": small_model.pack(small_model.tree())}
    )  # fmt: skip
    done = ada.compile_npu(small, "host")
    assert [one.branch for one in done.made] == ["b"] and len(done.problems) == 1
    assert done.problems[0].startswith("a: The compiler for intel:")
    before = (small / bundle.MANIFEST).read_bytes()
    with pytest.raises(AdaScaleError, match="a: The compiler for intel:"):
        ada.compile_npu(small, "host", branches=["a"])
    assert (small / bundle.MANIFEST).read_bytes() == before


def test_a_bundle_object_is_taken_as_well(small: Path) -> None:
    opened = bundle.load(small)
    assert isinstance(opened, Bundle)
    with pytest.raises(BadInput, match="No NPU"):
        ada.compile_npu(opened, "nothing")
