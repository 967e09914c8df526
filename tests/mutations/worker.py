"""A process that runs cases one after another: their numbers on standard input, what came of them on a pipe.

``python -m tests.mutations.worker GOODS PIPE``, with the pipe as a file descriptor. A command that kills this process
is seen by the driver, which then starts another.
"""

from __future__ import annotations

import io
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from tests.mutations.formats import FORMATS, Case, Command, Phone

#: Bytes of address space and of one file: absurd sizes should fail here, not on the machine.
MEMORY, FILE = 24 << 30, 2 << 30
#: Longest standard error of a refusal, in characters.
LONGEST = 4000
_ROOT = Path(__file__).parent.parent.parent
_SENTENCE = re.compile(r"^(adascale|agent): \S|^Error: ", re.MULTILINE)


def run(command: Command, goods: Path) -> tuple[int | None, str, str]:
    """Exit code (None for a traceback), standard output and standard error of a command."""
    return _agent(command[1:], goods) if command[0] == "agent:" else _adascale(command)


def _adascale(command: Command) -> tuple[int | None, str, str]:
    from adascale_tf import cli

    kept, threads = (sys.stdout, sys.stderr), []
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in kept]
    sys.stdout, sys.stderr = streams
    hook, threading.excepthook = threading.excepthook, lambda what: threads.append(what)
    error = ""
    code: int | None = 0
    try:
        cli.main(command)
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except BaseException:
        code, error = None, traceback.format_exc()
    finally:
        sys.stdout, sys.stderr = kept
        threading.excepthook = hook
    texts = []
    for stream in streams:
        stream.flush()
        texts.append(stream.detach().getvalue().decode("utf-8", "backslashreplace"))  # type: ignore[attr-defined]
    for what in threads:
        code, error = None, error + "".join(traceback.format_exception(what.exc_value))
    return code, texts[0], error or texts[1]


def _agent(command: Command, goods: Path) -> tuple[int | None, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "android_harness.agent.main", *command], cwd=goods, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )  # fmt: skip
    error = done.stderr.decode("utf-8", "backslashreplace")
    died = done.returncode < 0 or "Traceback" in error
    return None if died else done.returncode, done.stdout.decode("utf-8", "backslashreplace"), error


def judged(code: int | None, out: str, error: str) -> tuple[str, str]:
    """``worked``, ``refused``, or what is wrong, with its details."""
    if code is None or "Traceback" in error:
        return "traceback", error[-3000:] or f"ended by {code}"
    odd = [c for c in out + error if not c.isprintable() and c not in "\n\t"]
    if odd:
        return "control characters", f"{odd[:5]!r} in {(out + error)[:500]!r}"
    if code == 0:
        return "worked", ""
    if code not in (1, 2) or not _SENTENCE.search(error):
        return "no sentence", f"exit code {code}: {error[-500:]!r}"
    return ("too long", f"{len(error)} characters: {error[:300]!r}") if len(error) > LONGEST else ("refused", error)


def case(goods: Path, name: str, number: int, seed: int, phone: Phone, keep: Path | None = None) -> dict[str, Any]:
    """Run one case: the command, the verdict, its details and seconds."""
    rng = random.Random(f"{seed} {name} {number}")
    place = keep or Path(tempfile.mkdtemp(prefix="mutation."))
    try:
        commands = FORMATS[name](Case(goods, place, rng, phone))
        command = rng.choice(commands)
        begun = time.monotonic()
        verdict, details = judged(*run(command, goods))
        seconds = time.monotonic() - begun
    finally:
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)
    return {"command": command, "verdict": verdict, "details": details, "seconds": round(seconds, 2)}


def whole(goods: Path, name: str, phone: Phone) -> list[str]:
    """Run all commands of a format on undamaged files: what did not work. It also imports what they need."""
    place = Path(tempfile.mkdtemp(prefix="mutation."))
    wrong = []
    try:
        for command in FORMATS[name](Case(goods, place, random.Random(0), phone, whole=True)):
            code, _, error = run(command, goods)
            if code != 0:
                wrong.append(f"{name}: {' '.join(command)} ended with {code}: {error[-2000:]}")
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return wrong


def main() -> None:
    """Serve cases until standard input ends."""
    goods, pipe = Path(sys.argv[1]), os.fdopen(int(sys.argv[2]), "w")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE, FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["HOME"] = str(goods / "home")
    quiet = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):  # native code writes there; the commands' own words are caught
        os.dup2(quiet, number)
    phone = Phone(Path(tempfile.mkdtemp(prefix="mutation.phone.")))
    try:
        for line in sys.stdin:
            asked = json.loads(line)
            if asked["number"] is None:
                answer: Any = {"wrong": whole(goods, asked["format"], phone)}
            else:
                answer = case(goods, asked["format"], asked["number"], asked["seed"], phone)
            pipe.write(json.dumps(answer) + "\n")
            pipe.flush()
    finally:
        shutil.rmtree(phone.root.parent, ignore_errors=True)


if __name__ == "__main__":
    main()
