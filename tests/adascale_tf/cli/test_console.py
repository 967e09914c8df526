"""Text from outside in the terminal: shown as it is, never obeyed. And how commands end that are stopped."""

from __future__ import annotations

import ast
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adascale_runtime.errors import BadInput
from adascale_runtime.files import archives
from adascale_tf import cli
from adascale_tf.cli import console, ending

PACKAGE = Path(cli.__file__).parent
#: What a hostile phone or model may be called.
NAMES = ("[/x]", "[link=http://x]y[/link]", "\x1b[2J\x1b[31m", "a\rb", "\ud800", "‮gnp", "\x9b31m", ":smile:", "a\nb")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def obeyed(text: str) -> list[str]:
    """Characters that a terminal would obey, without those that rich itself may write."""
    return [c for c in text if not c.isprintable() and c not in "\n\x1b"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_not_obeyed(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.table(name, ("a", name), [(name, 1), ("x", name)])
    console.say(name)
    console.say(name, err=True)
    with console.progress(False) as tick:
        tick(name, 1, 2, name)
    out, err = capsys.readouterr()
    assert not obeyed(out + err) and "\x1b" not in out + err
    assert out.count(console.cell(name)) >= 4, out


@pytest.mark.parametrize("name", NAMES)
def test_bars_and_live_views_show_names_as_they_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress(False) as tick:
        tick(name, 1, 2, name)
    with console.drawing() as show:
        assert show is not None
        show(name)
    text = stream.getvalue()
    assert console.cell(name) in text
    assert "\x1b[2J" not in text and not [c for c in obeyed(text) if c != "\r"] and "a\rb" not in text


@pytest.mark.parametrize("name", NAMES)
def test_json_is_ascii_and_whole(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console.emit({name: name})
    out = capsys.readouterr().out
    assert out.isascii() and not obeyed(out) and json.loads(out) == {name: name}


def test_long_messages_are_cut(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("x" * 300_000 + "\ny" * 10_000)
    out = capsys.readouterr().out
    assert len(out) < 5000 and "9802 lines more" in out


def test_only_the_console_prints() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.name == "console.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            named += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [n for n in named if n.split(".")[0] == "rich"], path
            if isinstance(node, ast.Call):
                call = ast.unparse(node.func)
                assert call not in ("print", "click.echo", "click.secho", "sys.stdout.write", "sys.stderr.write"), path


def refuse(error: BaseException) -> Callable[[], Any]:
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BadInput("a\x1b[31m[/x] b"), 2, "a\\x1b[31m[/x] b"),
        (OSError(28, "No space left on device", "/x/y"), 1, "The disk is full (/x/y)"),
        (OSError(5, "Input/output error", "/x/\x1by"), 1, "(/x/\\x1by): Input/output error"),
        (MemoryError(), 1, "memory"),
        (RecursionError("maximum"), 1, "nested"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (ending.Terminated(), 143, "terminated"),
    ],
)
def test_endings_are_a_sentence(
    error: BaseException, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ending.run(refuse(error)) == code
    err = capsys.readouterr().err
    assert words in err and err.startswith("adascale: ") and err.count("\n") == 1


def test_defects_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (ValueError("x"), KeyError("x"), EOFError()):
        with pytest.raises(type(error)):
            ending.run(refuse(error))
    monkeypatch.setenv("ADASCALE_DEBUG", "1")
    for failure in (OSError(28, "No space left on device", "/x/y"), MemoryError()):
        with pytest.raises(type(failure)):
            ending.run(refuse(failure))


def start(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    def default() -> None:  # a shell's background processes ignore SIGINT
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    return subprocess.Popen(
        [sys.executable, *(["-c", code] if code else ["-m", "adascale_tf"]), *arguments],
        stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=default, **options,
    )  # fmt: skip


def test_sigterm_is_a_sentence() -> None:
    code = (
        "import time\n"
        "from adascale_tf import cli\n"
        "@cli.cli.command()\n"
        "def wait():\n"
        "    print('here', flush=True)\n"
        "    time.sleep(30)\n"
        "cli.main(['wait'])"
    )
    for number, expected in ((signal.SIGTERM, "terminated"), (signal.SIGINT, "interrupted")):
        child = start(code)
        assert child.stdout is not None and child.stdout.readline() == "here\n"
        child.send_signal(number)
        _, err = child.communicate(timeout=20)
        assert child.returncode == 128 + number
        assert err.strip().startswith(f"adascale: {expected}") and "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_start_is_no_traceback(number: signal.Signals) -> None:
    """From the first line of the program on; before it the interpreter itself starts."""
    code = (
        "import os, signal, sys\n"
        "class Hook:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == sys.argv[1]:\n"
        "            os.kill(os.getpid(), int(sys.argv[2]))\n"
        "sys.meta_path.insert(0, Hook())\n"
        "sys.argv[3:] = ['operators']\n"
        "from adascale_tf.__main__ import main\n"
        "main()"
    )
    for module in ("adascale_tf.cli", "click", "adascale_runtime.seams.manifest", "adascale_tf.cli.running"):
        child = start(code, module, str(int(number)))
        out, err = child.communicate(timeout=20)
        assert child.returncode == 128 + number, err
        assert out == "" and err.startswith("adascale: interrupted") and err.count("\n") == 1, module


def test_a_full_disk_behind_the_output_is_a_sentence() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    for arguments in (["operators"], ["operators", "--json"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "adascale_tf", *arguments], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert done.returncode == 1 and "disk is full" in done.stderr and "Traceback" not in done.stderr


def test_a_closed_pipe_is_silent() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "adascale_tf", "operators"], stdout=writer, stderr=subprocess.PIPE, text=True
    )
    os.close(writer)
    assert done.returncode == 1 and done.stderr.strip() == ""


@pytest.mark.parametrize("arguments", [["inspect", "ü世"], ["operators"]])
def test_output_without_utf8_is_no_traceback(arguments: list[str]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-m", "adascale_tf", *arguments], capture_output=True, env=environment)
    assert done.returncode in (0, 2) and b"Traceback" not in done.stderr


def test_the_limit_of_sizes_is_an_option_of_every_command(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text("{}\n" * 10_000)
    before, begun = archives.most_bytes(), time.monotonic()
    for gb, words in (("0.001", "is not a measurement"), ("nan", "finite"), ("0", "range")):
        code, err = console_run("--max-gb", gb, "fit", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "p"))
        assert code == 2 and words in err
    (tmp_path / "m.jsonl").write_text("{}\n" * 100_000)
    code, err = console_run("--max-gb", "0.001", "fit", str(tmp_path / "m.jsonl"), "--out", str(tmp_path / "p"))
    assert code == 2 and "--max-gb 1 ..." in err
    assert archives.most_bytes() == before and time.monotonic() - begun < 10


def console_run(*arguments: str) -> tuple[int, str]:
    stream, before = io.StringIO(), sys.stderr
    sys.stderr = stream
    try:
        with pytest.raises(SystemExit) as stop:
            cli.main(list(arguments))
    finally:
        sys.stderr = before
    return int(stop.value.code or 0), stream.getvalue()
