"""``compare_delegates`` and its command on real measurements of this machine, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import adascale_tf as ada
from adascale_runtime.errors import BadInput
from adascale_runtime.files import codec
from adascale_runtime.seams import bundle, records
from adascale_tf.cli import main
from converters.delegates import support
from tests.fixtures.plain_bundle import write_bundle

DELEGATES = ("cpu", "builtin", "reference")


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> tuple[bundle.Bundle, Path]:
    """A bundle and its measurements on three delegates of this machine."""
    folder = tmp_path_factory.mktemp("delegates")
    made = write_bundle(folder / "bundle")
    ada.profile(made, DELEGATES, runs=20, out=folder / "m.jsonl", precise=0)
    return made, folder / "m.jsonl"


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    told = capfd.readouterr()
    return int(stop.value.code or 0), told.out, told.err


def test_real_measurements_are_pairs_of_rounds(goods: tuple[bundle.Bundle, Path]) -> None:
    made, out = goods
    found = ada.compare_delegates(out, bundle=made)
    (one,) = found.branches
    assert {e.delegate for e in one.entries} == set(DELEGATES) and one.best is not None and one.best.right
    assert all(e.right and e.load_ms and e.first_ms and e.memory_mb is not None and e.energy for e in one.entries)
    by_name = {m.delegate: m for m in records.read([out])}
    for entry in one.entries[1:]:
        assert entry.speedup is not None and entry.speedup.paired
        assert entry.speedup.rounds == min(by_name[entry.delegate].rounds, by_name["cpu"].rounds)
        as_seen = one.entries[0].median_ms / entry.median_ms  # type: ignore[operator]
        assert 0.5 < entry.speedup.value / as_seen < 2
    assert {(c.delegate, c.arithmetic) for c in found.crossovers} == {("builtin", "float"), ("reference", "float")}
    assert ada.compare_delegates([out, out]) == ada.compare_delegates(records.runs([out]))


def test_what_the_support_table_says_of_a_real_file_is_what_was_measured(goods: tuple[bundle.Bundle, Path]) -> None:
    made, out = goods
    (branch,) = made.manifest.branches
    told = support.support(made.path(branch.file).read_bytes(), branch.signature, "cpu")
    promising = replace(made.manifest, branches=(replace(branch, support=(told,)),))
    found = ada.compare_delegates(out, bundle=bundle.Bundle(made.root, promising))
    kept = {e.delegate: e.promise.kept for one in found.branches for e in one.entries}
    assert kept == {"cpu": True, "builtin": None, "reference": None} and not found.contradictions
    broken = replace(promising, branches=(replace(branch, support=(replace(told, taken=0, partitions=0),)),))
    (sentence,) = ada.compare_delegates(out, bundle=bundle.Bundle(made.root, broken)).contradictions
    assert "full on cpu: the support table says none" in sentence and "measured: 1 of 1 in 1 part." in sentence


def test_outputs_that_are_wrong_are_shown_and_not_recommended(
    capfd: pytest.CaptureFixture[str], goods: tuple[bundle.Bundle, Path], tmp_path: Path
) -> None:
    lines = []
    for line in goods[1].read_text().splitlines():
        data = json.loads(line)
        if data["delegate"] == "builtin":
            data["latency_ms"] = [ms / 100 for ms in data["latency_ms"]]
            data["outputs"] = {"samples": 8, "agreement": 0.5, "max_abs_difference": 3.0}
        lines.append(json.dumps(data))
    (tmp_path / "m.jsonl").write_text("\n".join(lines) + "\n")
    code, out, _ = run(capfd, "compare-delegates", tmp_path / "m.jsonl")
    assert code == 0 and "builtin*" not in out and out.count("* ") >= 2 and "wrong outputs" in out
    code, out, _ = run(capfd, "compare-delegates", tmp_path / "m.jsonl", "--json")
    (one,) = json.loads(out)["branches"]
    verdicts = {e["delegate"]: e["verdict"] for e in one["entries"]}
    assert code == 0 and one["best"]["delegate"] != "builtin" and verdicts["builtin"] == "wrong outputs"


def test_the_command_names_one_device(capfd: pytest.CaptureFixture[str], goods: tuple[bundle.Bundle, Path]) -> None:
    made, path = goods
    name = records.read([path])[0].device["name"]
    code, out, err = run(capfd, "compare-delegates", path, "--bundle", made.root, "--device", name.upper())
    assert code == 0 and "Delegates on" in out and "Crossover of builtin, float: " in out
    assert "what delegates were known to take is not known" in err
    code, out, err = run(capfd, "compare-delegates", path, "--device", "Pixel 99")
    assert code == 2 and out == "" and f"Nothing was measured on 'Pixel 99'; the measurements are of {name}." in err


def test_the_report_has_a_section_with_a_figure(goods: tuple[bundle.Bundle, Path], tmp_path: Path) -> None:
    made, path = goods
    text = ada.report([path, made.root], tmp_path / "r.html").out.read_text()
    section = text.partition('<section id="delegates">')[2].partition("</section>")[0]
    assert "<svg" in section and "times the CPU" in section and section.count("<tr>") == 1 + len(DELEGATES)
    assert section.count("<small>best</small>") == 1 and "Crossover of builtin" in section
    alone = [m for m in records.read([path]) if m.delegate == "cpu"]
    assert '<section id="delegates">' not in ada.report(alone, tmp_path / "r.html").out.read_text()


def test_a_bundle_that_was_not_measured_is_refused(goods: tuple[bundle.Bundle, Path]) -> None:
    others = [replace(m, bundle="0" * 12) for m in records.read([goods[1]])]
    with pytest.raises(BadInput, match=rf"are of the bundle 000000000000, not of .*bundle \({goods[0].digest}\)"):
        ada.compare_delegates(others, bundle=goods[0])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "There are no timed runs of branches to compare"),
        ("{}\n", "line 1 is not a measurement"),
        ('{"format": "adascale-events/1"}\n', "line 1 is not a measurement"),
        ("\x00\xff\n", "line 1"),
        ('{"format": "adascale-measurement/1"}\n', "line 1"),
    ],
)
def test_foreign_files_are_refused_with_a_sentence(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    code, out, err = run(capfd, "compare-delegates", path)
    assert code == 2 and out == "" and sentence in err and err.count("\n") == 1
    assert run(capfd, "compare-delegates", tmp_path / "absent.jsonl")[0] == 2


def test_a_damaged_measurement_is_refused(goods: tuple[bundle.Bundle, Path], tmp_path: Path) -> None:
    (measured, *_) = records.runs([goods[1]])
    line = codec.to_json(measured)
    for field, value in (("latency_ms", [-1.0]), ("outputs", {"samples": 1, "agreement": 7, "max_abs_difference": 0})):
        (tmp_path / "m.jsonl").write_text(json.dumps({**line, field: value}) + "\n")
        with pytest.raises(BadInput, match="line 1"):
            ada.compare_delegates(tmp_path / "m.jsonl")
