"""The report's table of what delegates take, from the manifest's support and from measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from adascale_runtime.seams.bundle import Bundle
from adascale_runtime.seams.records import Delegation, Measurement
from adascale_runtime.seams.support import Refusal, Support
from profiling import report, report_support
from tests.fixtures.plain_bundle import write_bundle
from tests.profiling.test_fit import synthetic

WRONG = "It computes this wrongly."
TOLD = (
    Support("cpu", 9, 9, 1), Support("gpu", 9, 9, 1, (), (WRONG,)),
    Support("npu:openvino", 9, 7, 2, (Refusal("ELU", "no <kernel>", 2),)),
)  # fmt: skip


def bundle_of(folder: Path, support: tuple[Support, ...] = TOLD) -> Bundle:
    made = write_bundle(folder / "bundle")
    (branch,) = made.manifest.branches
    return Bundle(made.root, replace(made.manifest, branches=(replace(branch, support=support),)))


def measured(made: Bundle, delegate: str, taken: Delegation | None, reason: str | None = None) -> Measurement:
    (branch,) = made.manifest.branches
    return replace(
        synthetic(1)[0], bundle=made.digest, branch=branch.id, recipe=branch.recipe, delegate=delegate,
        device={"name": "bench", "kind": "host"}, delegation=taken, delegation_reason=reason,
    )  # fmt: skip


def test_what_was_promised_stands_beside_what_was_measured(tmp_path: Path) -> None:
    made = bundle_of(tmp_path)
    seen = [
        measured(made, "cpu", Delegation(9, 9, 1)), measured(made, "npu", Delegation(9, 6, 3)),
        measured(made, "gpu", None, "gpu does not tell"),
    ]  # fmt: skip
    found = report_support.table(made.manifest, made.digest, seen)
    assert found is not None and found.delegates == ("cpu", "gpu", "npu:openvino")
    (row,) = found.rows
    assert [cell.text for cell in row.cells] == ["all 9", "all 9 *", "7 of 9 in 2 parts: ELU with no <kernel> (2)"]
    assert [cell.note for cell in row.cells] == [
        "as measured", "gpu does not tell", "measured otherwise: 6 of 9 in 3 parts",
    ]  # fmt: skip
    assert found.warnings == (f"* gpu, {row.branch}: {WRONG}",)


def test_without_measurements_or_of_other_bundles_nothing_was_measured(tmp_path: Path) -> None:
    made = bundle_of(tmp_path)
    other = replace(measured(made, "cpu", Delegation(9, 9, 1)), bundle="other")
    for seen in ([], [other]):
        found = report_support.table(made.manifest, made.digest, seen)
        assert found is not None and {cell.note for cell in found.rows[0].cells} == {"not measured"}
    assert report_support.table(None, "", []) is None
    assert report_support.table(bundle_of(tmp_path / "bare", ()).manifest, "", []) is None


def test_the_page_has_the_table_and_escapes_it(tmp_path: Path) -> None:
    made = bundle_of(tmp_path)
    for name, manifest in (("with", made.manifest), ("without", bundle_of(tmp_path / "bare", ()).manifest)):
        report.write(tmp_path / f"{name}.html", manifest, [measured(made, "cpu", Delegation(9, 9, 1))], [], None, "T")
    page = (tmp_path / "with.html").read_text()
    assert 'id="support"' in page and 'href="#support"' in page and "no &lt;kernel&gt;" in page and WRONG in page
    assert 'id="support"' not in (tmp_path / "without.html").read_text()
