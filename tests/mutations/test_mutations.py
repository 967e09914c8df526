"""A sample of the damaged files, and what the driver says of commands that die, hang or fail without a sentence.

All formats, thousands of cases: ``python -m tests.mutations``, which ``.ci/run`` starts.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from adascale_runtime.seams.bundle import Bundle
from tests.mutations import damage, driver, formats, goods, worker

SAMPLE, SEED = 100, 7


@pytest.fixture(scope="module")
def made(built: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return goods.make(tmp_path_factory.mktemp("goods") / "goods", built.root)


def test_a_sample_of_damaged_files_is_refused_or_works(made: Path) -> None:
    result = driver.run(made, driver.choose(SAMPLE, SEED, driver.fast()), SEED, workers=1, warm=False)
    assert not result.findings, result.findings
    assert sum(result.counts.values()) == SAMPLE and result.counts["refused"] > SAMPLE / 3


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("pass", "worked"),
        ("from adascale_runtime.errors import BadInput\nraise BadInput('no')", "refused"),
        ("raise ValueError", "traceback"),
        ("import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()", "traceback"),
        ("raise SystemExit(7)", "no sentence"),
        ("import click\nclick.echo('\\x07')", "control characters"),
        ("from adascale_runtime.errors import BadInput\nraise BadInput('\\n'.join(['x' * 99] * 99))", "too long"),
        ("import os\nos.abort()", "death"),
        ("import time\ntime.sleep(60)", "hang"),
    ],
)
def test_what_goes_wrong_is_seen(code: str, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does it, in a real worker."""
    place = tmp_path / "tests/mutations/formats.py"
    place.parent.mkdir(parents=True)
    place.write_text(
        "from adascale_tf.cli import cli\n"
        "from pathlib import Path\n"
        "Command = list\n"
        "Case = lambda *arguments, **more: None\n"
        "class Phone:\n"
        "    def __init__(self, place):\n"
        "        self.root = place / 'phone'\n"
        "@cli.command('spoiled')\n"
        "def spoiled():\n"
        f"    exec({code!r})\n"
        "FORMATS = {'events': lambda case: [['spoiled']]}\n"
    )
    monkeypatch.setattr(driver, "LIMIT_S", 3.0)
    monkeypatch.setattr(driver, "PATHS", [str(tmp_path), *driver.PATHS])
    (tmp_path / "home").mkdir()
    result = driver.run(tmp_path, [driver.Asked("events", 0)], 0, workers=1, warm=False)
    assert dict(result.counts) == {verdict: 1}, result.findings
    assert len(result.findings) == (verdict not in ("worked", "refused"))


@pytest.mark.parametrize("name", sorted(driver.fast()))
def test_cases_repeat(name: str, made: Path, tmp_path: Path) -> None:
    """The same seed and number damage the same bytes in the same way."""
    found = []
    for again in ("a", "b"):
        place = tmp_path / again
        place.mkdir()
        case = formats.Case(made, place, random.Random(f"1 {name} 3"), formats.Phone(tmp_path))
        formats.FORMATS[name](case)
        found.append({p.relative_to(place): p.read_bytes() for p in sorted(place.rglob("*")) if p.is_file()})
    assert found[0] == found[1] and found[0]


@pytest.mark.parametrize(
    "how", [damage.binary, damage.text, damage.json_file, damage.json_lines, lambda d, r: damage.written(json.loads(d))]
)
def test_damage_takes_whatever_it_is_given(how: Callable[[bytes, random.Random], bytes]) -> None:
    good = json.dumps({"a": [1, {"b": "x"}], "c": None}).encode() + b"\n"
    found = {how(good, random.Random(number)) for number in range(200)}
    assert len(found) > 50 or found == {good.strip()}


def test_all_of_a_command_is_caught(made: Path) -> None:
    code, out, error = worker.run(["inspect", str(made / "bundle"), "--json"], made)
    assert code == 0 and json.loads(out)["branches"] and not error
