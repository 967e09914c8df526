"""Profiling in Termux, where the adb shell has no Python: files for the phone's storage, and what comes back.

The agent does the same tasks there, and what it says goes to a file. That file becomes measurements here.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adascale_tf import codec
from adascale_tf.bundle import Bundle
from adascale_tf.errors import BadInput
from adascale_tf.records import Measurement
from android_harness import package, store
from android_harness.adb import Adb
from android_harness.agent.bench import Plan
from android_harness.harness import NOT_ASKED, tasks_of
from android_harness.runner import Options, parse_line
from profiling import cells as table
from profiling.cells import Cell

#: Where files of a computer and of Termux meet.
SHARED = "/sdcard/Download/adascale"
RESULTS = "results.log"
LINES = (
    "pkg install -y python && termux-setup-storage",
    f"mkdir -p ~/adascale && cd ~/adascale && cp {SHARED}/* . && python -m zipfile -e bundle.zip bundle",
    f"python agent.pyz {{litert}}bench plan.json | tee {SHARED}/{RESULTS}",
)


def commands(with_library: bool) -> list[str]:
    """The three lines to paste into Termux."""
    return [line.format(litert="--litert ./libLiteRt.so " if with_library else "") for line in LINES]


def files(bundle: Bundle, cells: Sequence[Cell], options: Options, library: Path | None) -> dict[str, bytes]:
    """What Termux needs: the agent, the bundle as a .zip, the plan, and LiteRT's library for arm64 if it is given."""
    plan = Plan(
        "bundle", tuple(tasks_of(cells, options)), options.affinity, options.allow_fallback, options.cooldown_c,
        options.idle_s, options.batch_s, options.patience_s, options.op_profile,
    )  # fmt: skip
    text = {**codec.to_json(plan), "digest": bundle.digest, "settings": {**options.settings(), "where": "termux"}}
    found = {"agent.pyz": package.agent(), "plan.json": codec.dump(text).encode(), "bundle.zip": _zipped(bundle)}
    if library is not None:
        for name, content in store.libraries(library, "arm64-v8a").items():
            found[name] = content if isinstance(content, bytes) else content.read_bytes()
    return found


def _zipped(bundle: Bundle) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in store.bundle_files(bundle).items():
            assert isinstance(content, Path)
            archive.write(content, name.partition("/")[2])
    return buffer.getvalue()


def pull(adb: Adb, device: dict[str, Any], bundle: Bundle) -> tuple[list[Measurement], list[str]]:
    """The measurements in the results on the phone, and the cells that are not done or failed, with the reason.

    Raises :class:`BadInput` if the plan there is another bundle's.
    """
    plan = json.loads(adb.pull(f"{SHARED}/plan.json"))
    if plan.get("digest") != bundle.digest:
        raise BadInput(f"The plan on {adb.address} is of another bundle; give that one, or 'adascale agent' anew.")
    text = adb.pull(f"{SHARED}/{RESULTS}").decode(errors="replace")
    return collect(text, plan, bundle, device)


def collect(
    text: str, plan: dict[str, Any], bundle: Bundle, device: dict[str, Any]
) -> tuple[list[Measurement], list[str]]:
    """Measurements from what the agent said; pure."""
    known: dict[tuple[str, str], Any] = {}
    failed: dict[str, str] = {}
    for message in filter(None, map(parse_line, text.splitlines())):
        if message["say"] == "fact":
            known[str(message["kind"]), str(message["key"])] = message["value"]
        elif message["say"] == "failed":
            failed[str(message["cell"])] = str(message["reason"])
    facts = Facts(known)
    measured, missing = [], []
    for cell in _cells(plan, bundle):
        wanted = [(task["kind"], task["key"]) for task in plan["tasks"] if task["cell"] == cell.key]
        if cell.key in failed or not all(item in known for item in wanted):
            missing.append(f"{cell.key}: {failed.get(cell.key, 'not finished')}")
            continue
        known.setdefault(("energy", cell.key), {"value_mj": None, "reason": NOT_ASKED})
        known["start", cell.key].setdefault("started", "")
        measured.append(table.measurement(bundle, cell, facts, device, {}, plan["settings"]))
    return measured, missing


def _cells(plan: dict[str, Any], bundle: Bundle) -> list[Cell]:
    found: dict[str, Cell] = {}
    for task in plan["tasks"]:
        found[task["cell"]] = Cell(bundle.manifest.branch(task["branch"]), task["delegate"], task["threads"])
    return list(found.values())


class Facts:
    """Facts by kind and key that are known already, as a journal gives them."""

    def __init__(self, known: dict[tuple[str, str], Any]) -> None:
        self._known = known

    def get(self, kind: str, key: str) -> Any:
        return self._known[kind, key]

    def all(self, kind: str, prefix: str) -> list[Any]:
        return [value for (k, key), value in self._known.items() if k == kind and key.startswith(prefix)]
