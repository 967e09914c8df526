"""Plug-ins as they are found: real metadata of distributions on the path, in a process that starts anew."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POLICY = """
from adascale_runtime.policies.policy import policy
print("imported")
@policy({name!r})
def mine(context, budget, table, state, settings):
    "One's own."
"""


def distribution(folder: Path, name: str, lines: dict[str, str], **modules: str) -> None:
    """What pip would leave in ``folder`` of a distribution with these entry points."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").touch()
    for module, code in modules.items():
        (folder / name / f"{module}.py").write_text(code)
    told = folder / f"{name}-1.0.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    listed = "".join(f"{kind} = {target}\n" for kind, target in lines.items())
    (told / "entry_points.txt").write_text(f"[adascale_tf.plugins]\n{listed}")


def run(folder: Path, code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": f"{ROOT}:{folder}"}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_plug_in_is_imported_when_a_name_is_unknown_and_once(tmp_path: Path) -> None:
    distribution(tmp_path, "mine", {"policies": "mine.policies"}, policies=POLICY.format(name="own"))
    code = (
        "from adascale_runtime.policies.policy import POLICIES, check_policy, names\n"
        "check_policy('adaptive'); print('own' in POLICIES)\n"
        "check_policy('own'); check_policy('own'); print('own' in names())\n"
        "from adascale_runtime import plugins; print(plugins.load(), plugins.installed()[0].distribution)"
    )
    assert run(tmp_path, code) == ["False", "imported", "True", "() mine"]


def test_only_what_a_command_needs_is_imported(tmp_path: Path) -> None:
    lines = {"policies": "mine.policies", "operators": "mine.operators"}
    distribution(tmp_path, "mine", lines, policies="print('policies')", operators="print('operators')")
    assert run(tmp_path, "from adascale_runtime import plugins; plugins.load('operators')") == ["operators"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nowhere_at_all", "ModuleNotFoundError: No module named 'nowhere_at_all'."),
        ("1/0", "ZeroDivisionError: division by zero."),
        ("raise SystemExit(3)", "SystemExit: 3."),
        ("def broken(", "SyntaxError: "),
        (POLICY.format(name="second") + "raise ValueError('late')", "ValueError: late."),
        (
            POLICY.format(name="adaptive"),
            "mine.policies.mine declares 'adaptive' among the policies, but that name is taken by "
            "adascale_runtime.policies.policy.decide; choose another name.",
        ),
    ],
)
def test_one_that_fails_is_left_out_with_a_sentence_and_the_rest_stays(tmp_path: Path, code: str, reason: str) -> None:
    distribution(tmp_path, "mine", {"policies": "mine.policies"}, policies=code)
    distribution(tmp_path, "other", {"policies": "other.policies"}, policies=POLICY.format(name="good"))
    ask = (
        "from adascale_runtime import plugins\n"
        "from adascale_runtime.policies.policy import check_policy, names\n"
        "print(*names())\n"
        "print(*plugins.problems('policies'))\n"
        "try: check_policy('bad')\n"
        "except Exception as error: print(error)"
    )
    known, problem, refusal = run(tmp_path, ask)[-3:]
    assert "good" in known.split() and "adaptive" in known.split() and "second" not in known.split()
    assert problem.startswith(f"Plug-in mine (mine.policies) is left out: {reason}")
    assert refusal.startswith("There is no policy 'bad'; choose among adaptive, ") and refusal.endswith(problem)


def test_a_kind_that_is_none_is_said(tmp_path: Path) -> None:
    distribution(tmp_path, "mine", {"tasks": "mine.tasks"}, tasks="print('imported')")
    (said,) = run(tmp_path, "from adascale_runtime import plugins; print(*plugins.load())")
    assert said.startswith(
        "Plug-in mine (mine.tasks) is left out: it provides 'tasks', but a plug-in can only provide "
    )


def test_two_plug_ins_that_want_one_name(tmp_path: Path) -> None:
    for name in ("first", "second"):
        distribution(tmp_path, name, {"policies": f"{name}.policies"}, policies=POLICY.format(name="own"))
    said = run(tmp_path, "from adascale_runtime import plugins; print(*plugins.load('policies'))")[-1]
    assert "second.policies.mine declares 'own' among the policies" in said and "taken by first.policies.mine" in said


def test_a_precision_brings_its_step(tmp_path: Path) -> None:
    code = (
        "from converters.precisions import precision\n"
        "@precision('int4', arithmetic='hybrid', mac_pj=0.1)\n"
        "def int4(converter, calibration):\n    'Weights in int4.'\n"
    )
    distribution(tmp_path, "mine", {"precisions": "mine.precisions"}, precisions=code)
    ask = (
        "from adascale_runtime.seams.recipe import Step\n"
        "from adascale_tf.operators import lookup\n"
        "print(lookup(Step('int4', None, None)).summary)\n"
        "import sys; print('tensorflow' in sys.modules)"
    )
    assert run(tmp_path, ask) == ["Weights in int4.", "False"]


def test_without_metadata_nothing_happens(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['importlib.metadata'] = None\n"
        "from adascale_runtime.engines import delegates; print(*delegates.names())"
    )
    assert run(tmp_path, code) == ["builtin cpu gpu nnapi npu reference"]


def test_the_command_line_says_what_was_left_out(tmp_path: Path) -> None:
    distribution(tmp_path, "mine", {"operators": "mine.operators"}, operators="import nowhere_at_all")
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", "operators"], env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0 and "width" in done.stdout
    assert "Plug-in mine (mine.operators) is left out: ModuleNotFoundError" in " ".join(done.stderr.split())
