"""Files on the phone: what is there is told by sha256, so only what changed is sent."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from adascale_tf.bundle import MANIFEST, Bundle, sha256
from adascale_tf.errors import BadInput
from adascale_tf.progress import Tick, silent
from android_harness import package
from android_harness.adb import Adb, quote

#: Where the adb shell may write and execute.
FOLDER = "/data/local/tmp/adascale"
AGENT, LIBRARIES = "agent.pyz", "lib"

Content = Path | bytes


def bundle_files(bundle: Bundle) -> dict[str, Content]:
    """The files of a bundle by their place below :data:`FOLDER`."""
    names = [MANIFEST, *(entry.path for entry in bundle.manifest.files)]
    return {f"bundle/{name}": bundle.path(name) for name in names}


def agent_files(library: Path | None, abi: str, accelerators: bool) -> dict[str, Content]:
    """The agent and LiteRT's libraries, those of accelerators only where asked, by their place below :data:`FOLDER`."""
    files: dict[str, Content] = {AGENT: package.agent()}
    found = {} if library is None else libraries(library, abi)
    return files | {f"{LIBRARIES}/{n}": data for n, data in found.items() if accelerators or "Accelerator" not in n}


def libraries(path: Path, abi: str) -> dict[str, Content]:
    """LiteRT's shared libraries for a processor: a ``libLiteRt.so`` with its neighbours, an .aar or a wheel.

    ``abi``: as Android names it (arm64-v8a, x86_64). Raises :class:`BadInput` if there is none for it.
    """
    if path.suffix == ".so":
        if not path.is_file():
            raise BadInput(f"{path} is not there; give --litert the libLiteRt.so of LiteRT's Android package.")
        return {"libLiteRt.so": path, **{p.name: p for p in accelerators_of(path)}}
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is no libLiteRt.so, .aar or wheel; give --litert one of these.")
    with zipfile.ZipFile(path) as archive:
        inside = [
            name for name in archive.namelist() if Path(name).name.startswith("libLiteRt") and name.endswith(".so")
        ]
        fitting = [name for name in inside if f"/{abi}/" in name or name.startswith("ai_edge_litert/")]
        found: dict[str, Content] = {Path(name).name: archive.read(name) for name in fitting}
    if "libLiteRt.so" not in found:
        raise BadInput(f"{path} holds no libLiteRt.so for {abi}; get LiteRT's package for that processor.")
    return found


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
    found = {}
    for line in output.splitlines():
        value, _, name = line.strip().partition("  ")
        if len(value) == 64 and name:
            found[name] = value
    return found


def bring(adb: Adb, files: Mapping[str, Content], tick: Tick = silent) -> int:
    """Send the files that the phone lacks or has otherwise; gives the bytes sent."""
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

        executable = name == AGENT or name.startswith(LIBRARIES)
        adb.push(content, f"{FOLDER}/{name}", 0o755 if executable else 0o644, tell)
        sent += sizes[name]
    return sent


def remove(adb: Adb) -> None:
    """Delete everything that was brought."""
    adb.shell(f"rm -rf {FOLDER}", timeout_s=60)
