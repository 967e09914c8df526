"""Files on the phone, identified by sha256, so that only changed ones are sent.

Folders are named by what they hold, so commands do not overwrite each other's files. A folder ``run-TOKEN`` for each
command says which folders it uses; when a command ends, what no other uses is removed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from adascale_runtime.errors import BadInput
from adascale_runtime.progress import Tick, silent
from adascale_runtime.seams.bundle import MANIFEST, Bundle, sha256
from android_harness import package
from android_harness.adb import Adb, quote
from android_harness.agent.alone import LOCK, Owner, Taken, sentence

#: Where the adb shell may write and execute.
FOLDER = "/data/local/tmp/adascale"
AGENT, LITERT = "agent.pyz", "libLiteRt.so"

Content = Path | bytes


def owner(out: Path) -> Owner:
    """The command that measures into ``out`` on this computer."""
    machine = ""
    with contextlib.suppress(OSError):
        machine = Path("/etc/machine-id").read_text()
    name = platform.node() or "a computer"
    text = "\n".join((machine, name, str(out.resolve())))
    return Owner(hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12], f"process {os.getpid()} on {name}")


def run_folder(owner: Owner) -> str:
    """What a command keeps for itself, below :data:`FOLDER`."""
    return f"run-{owner.token}"


def bundle_folder(bundle: Bundle) -> str:
    """Where a bundle's files are, below :data:`FOLDER`."""
    return f"bundle-{bundle.digest}"


def bundle_files(bundle: Bundle) -> dict[str, Content]:
    """The files of a bundle by their place below :data:`FOLDER`."""
    names = [MANIFEST, *(entry.path for entry in bundle.manifest.files)]
    return {f"{bundle_folder(bundle)}/{name}": bundle.path(name) for name in names}


def agent_files(library: Path | None, abi: str, accelerators: bool) -> dict[str, Content]:
    """The agent and LiteRT's libraries, those of accelerators only where asked, by their place below :data:`FOLDER`."""
    there = {} if library is None else libraries(library, abi)
    chosen = {name: data for name, data in there.items() if accelerators or "Accelerator" not in name}
    return _named("agent", {AGENT: package.agent()}) | _named("litert", chosen)


def portable_files(files: Mapping[str, Path]) -> dict[str, Content]:
    """A portable Python's files by their place below :data:`FOLDER`."""
    return _named("portable", files)


def tool_files(name: str, binary: Path) -> dict[str, Content]:
    """A program by its place below :data:`FOLDER`."""
    return _named("tool", {name: binary})


def _named(kind: str, files: Mapping[str, Path] | Mapping[str, bytes] | Mapping[str, Content]) -> dict[str, Content]:
    """The files in a folder whose name follows from all of them."""
    text = "\n".join(f"{name} {digest(content)}" for name, content in sorted(files.items()))
    folder = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    return {f"{folder}/{name}": content for name, content in files.items()}


def libraries(path: Path, abi: str) -> dict[str, Content]:
    """LiteRT's shared libraries for a processor: a ``libLiteRt.so`` with its neighbours, an .aar or a wheel.

    ``abi``: as Android names it (arm64-v8a, x86_64). Raises :class:`BadInput` if there is none for it.
    """
    if path.suffix == ".so":
        if not path.is_file():
            raise BadInput(f"{path} does not exist; give --litert the libLiteRt.so of LiteRT's Android package.")
        return {LITERT: path, **{p.name: p for p in accelerators_of(path)}}
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is not a libLiteRt.so, .aar or wheel; give --litert one of these.")
    with zipfile.ZipFile(path) as archive:
        inside = [
            name for name in archive.namelist() if Path(name).name.startswith("libLiteRt") and name.endswith(".so")
        ]
        fitting = [name for name in inside if f"/{abi}/" in name or name.startswith("ai_edge_litert/")]
        packed: dict[str, Content] = {Path(name).name: archive.read(name) for name in fitting}
    if LITERT not in packed:
        raise BadInput(f"{path} holds no libLiteRt.so for {abi}; get LiteRT's package for that processor.")
    return packed


def accelerators_of(library: Path) -> list[Path]:
    """The accelerators that lie beside a ``libLiteRt.so``."""
    return sorted(library.parent.glob("libLiteRt*Accelerator.so"))


def digest(content: Content) -> str:
    """The sha256 of a file or of bytes."""
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256(content)


def present(adb: Adb, names: Iterable[str]) -> dict[str, str]:
    """The sha256 of files below :data:`FOLDER` on the phone; nothing where it has no ``sha256sum``."""
    listed = " ".join(quote(name) for name in names)
    _, output = adb.shell(f"cd {FOLDER} && sha256sum {listed}", timeout_s=120)
    digests = {}
    for line in output.splitlines():
        value, _, name = line.strip().partition("  ")
        if len(value) == 64 and name:
            digests[name] = value
    return digests


def bring(adb: Adb, files: Mapping[str, Content], tick: Tick = silent, owner: Owner | None = None) -> int:
    """Send the files that the phone lacks or has otherwise, for a command; gives the bytes sent."""
    if owner is not None:  # first, so that nobody removes what is found to be there
        run = f"{FOLDER}/{run_folder(owner)}"
        marks = " ".join(sorted({f"{run}/uses-{name.partition('/')[0]}" for name in files}))
        adb.check(f"mkdir -p {run} && touch {run} {marks}")
    wanted = {name: digest(content) for name, content in files.items()}
    there = present(adb, wanted)
    missing = {name: files[name] for name, value in wanted.items() if there.get(name) != value}
    sizes = {name: len(c) if isinstance(c, bytes) else c.stat().st_size for name, c in missing.items()}
    total, sent = sum(sizes.values()), 0
    adb.check("mkdir -p " + " ".join(sorted({quote(str(Path(FOLDER, name).parent)) for name in files})))
    for name, content in missing.items():
        before = sent

        def tell(done: int, before: int = before, name: str = name) -> None:
            tick(f"push to {adb.address}", before + done, total, name)

        adb.push(content, f"{FOLDER}/{name}", 0o644 if name.startswith("bundle-") else 0o755, tell)
        sent += sizes[name]
    return sent


_TAKEN = "@adascale-taken"
#: Sets ``busy`` where somebody but the owner of a token measures; phones before Android 8 have no ``flock``.
_BUSY = f"""cd {FOLDER} 2>/dev/null || exit 0
busy=
if [ -s {LOCK} ] && command -v flock >/dev/null 2>&1; then
  {{ flock -s -n 9 || grep -q '"owner": "%s"' {LOCK} || busy=1; }} 9<{LOCK}
fi
"""
#: What no command uses goes. A command that was killed for good leaves its folder: its claim ends after a day.
_SWEEP = f"""[ -z "$busy" ] || exit 0
for run in run-*; do
  [ -z "$(find "$run" -maxdepth 0 -mtime +0 2>/dev/null)" ] || rm -rf "$run"
done
for place in *; do
  case "$place" in run-*|{LOCK}|"*") continue;; esac
  for mark in run-*/uses-"$place"; do [ ! -e "$mark" ] || continue 2; done
  mv "$place" gone-$$ && rm -rf gone-$$
done
for run in run-*; do [ ! -e "$run" ] || exit 0; done
rm -f {LOCK}
rmdir {FOLDER}"""


def refuse_others(adb: Adb, owner: Owner) -> None:
    """Raise :class:`Taken` if another command measures on the phone now, where the phone can tell."""
    told = adb.shell(_BUSY % owner.token + f'[ -z "$busy" ] || {{ echo {_TAKEN}; cat {LOCK}; }}')[1]
    _, busy, lock = told.partition(_TAKEN)  # what logs put into the output may stand before and behind
    if busy:
        try:
            holder, _ = json.JSONDecoder().raw_decode(lock.lstrip())
        except (ValueError, RecursionError):
            holder = {}
        raise Taken(f"{adb.address}: {sentence(holder if isinstance(holder, dict) else {})}")


def release(adb: Adb, owner: Owner) -> None:
    """Say that a command uses nothing any more, and leave the files."""
    adb.shell(f"rm -rf {FOLDER}/{run_folder(owner)}")


def remove(adb: Adb, owner: Owner | None = None) -> None:
    """Delete what a command brought, unless others use it, and what nobody uses. Nothing goes while others measure."""
    mine = "" if owner is None else f"rm -rf {FOLDER}/{run_folder(owner)}\n"
    adb.shell(mine + _BUSY % (owner.token if owner else "") + _SWEEP, timeout_s=60)


def clear(adb: Adb, owner: Owner | None = None) -> None:
    """Delete everything, whoever left it, unless another command measures now."""
    adb.shell(_BUSY % (owner.token if owner else "") + f'[ -n "$busy" ] || rm -rf {FOLDER}', timeout_s=60)
