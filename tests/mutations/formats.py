"""Formats that come from outside, each with a way to damage a file of it and the commands that read it.

A format is a function of a :class:`Case` that lays damaged files into ``case.place`` and gives the command lines that
read them; the driver takes one of these. Adding a format is a function here and a file in :mod:`tests.mutations.goods`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.mutations import damage

BUDGET = "latency_ms=5"
#: Of the unfinished work: a profile that was killed.
UNFINISHED = ("--branches", "full", "--runs", "12")
#: A command line: arguments of ``adascale``, or of the agent where the first is ``agent:``.
Command = list[str]


class Phone:
    """An emulated phone whose answers are files below ``told``; made when a case first asks."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._stack = contextlib.ExitStack()
        self._address: str | None = None

    @property
    def root(self) -> Path:
        return self._place / "phone"

    @property
    def address(self) -> str:
        from tests.fixtures.adbd import Adbd
        from tests.fixtures.phones import Phone as Tree

        if self._address is None:
            tree = Tree(self.root)
            bin_ = tree.root / "system/bin"
            for name in ("getprop", "dumpsys"):
                (bin_ / f"{name}.real").write_text((bin_ / name).read_text())
                self._script(name, f'f="$ADASCALE_ROOT/told/{name}-$1"; [ -e "$f" ] && exec cat "$f"; '
                             f'exec sh "$ADASCALE_ROOT/system/bin/{name}.real" "$@"')  # fmt: skip
            python = (bin_ / "python3").read_text().splitlines()[-1]
            self._script("python3", 'for a in "$@"; do case "$a" in info|bench) f="$ADASCALE_ROOT/told/$a"; '
                         f'[ -e "$f" ] && exec cat "$f";; esac; done\n{python}')  # fmt: skip
            adbd = self._stack.enter_context(Adbd(tree, tree.banner))
            self._address = f"127.0.0.1:{adbd.address[1]}"
        return self._address

    def _script(self, name: str, text: str) -> None:
        (self.root / "system/bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.root / "system/bin" / name).chmod(0o755)

    def tells(self, answers: dict[str, bytes]) -> None:
        """What it answers from now on, instead of what is true."""
        assert self.address
        shutil.rmtree(self.root / "told", ignore_errors=True)
        for name, content in answers.items():
            path = self.root / ("told" if "/" not in name else ".") / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


@dataclass
class Case:
    """``goods``: whole files; ``place``: an empty folder; ``whole``: leave the files whole, to see that all is well."""

    goods: Path
    place: Path
    rng: random.Random
    phone: Phone
    whole: bool = False
    changed: list[str] = field(default_factory=list)

    def file(self, name: str, how: Callable[..., bytes], *more: Any) -> Path:
        """A file of the goods, damaged."""
        path = self.place / Path(name).name
        path.write_bytes(self.data((self.goods / name).read_bytes(), how, *more))
        return path

    def data(self, content: bytes, how: Callable[..., bytes], *more: Any) -> bytes:
        return content if self.whole else how(content, self.rng, *more)

    def bundle(self) -> Path:
        """A copy of the bundle; unchanged files are links."""
        return Path(shutil.copytree(self.goods / "bundle", self.place / "bundle", copy_function=os.link))

    @property
    def arrays(self) -> str:
        return str(self.goods / "arrays.npz")

    @property
    def whole_bundle(self) -> str:
        return str(self.goods / "bundle")


FORMATS: dict[str, Callable[[Case], list[Command]]] = {}
#: Shares of all cases, and those formats that need TensorFlow or a phone (not in the fast sample).
WEIGHTS: dict[str, int] = {}
SLOW: set[str] = set()


def reads(name: str, weight: int, slow: bool = False) -> Callable[[Callable[[Case], list[Command]]], Any]:
    """Register a format; ``weight`` is its share of the cases."""

    def add(function: Callable[[Case], list[Command]]) -> Any:
        FORMATS[name], WEIGHTS[name] = function, weight
        if slow:
            SLOW.add(name)
        return function

    return add


def replaced(path: Path, content: bytes) -> None:
    """Write a file that may be a link to one of the goods."""
    path.unlink()
    path.write_bytes(content)


def resealed(bundle: Path, changed: Path) -> None:
    """Put size and checksum of a changed file into the manifest, so that what reads the file itself is reached."""
    from adascale_runtime.seams.bundle import sha256

    manifest = json.loads((bundle / "manifest.json").read_bytes())
    for entry in manifest["files"]:
        if bundle / entry["path"] == changed:
            entry.update(sha256=sha256(changed), size_bytes=changed.stat().st_size)
    replaced(bundle / "manifest.json", json.dumps(manifest).encode())


def runs_of(case: Case, bundle: Path) -> Iterator[Command]:
    """The commands that run a bundle's branches."""
    out = str(case.place / "o.jsonl")
    yield ["evaluate", str(bundle), "--data", case.arrays, "--json"]
    yield ["evaluate", str(bundle), "--data", case.arrays]
    yield ["run", str(bundle), "--data", case.arrays, "--budget", BUDGET, "--seconds", "0.1", "--trace-out", out]
    yield ["run", str(bundle), "--data", case.arrays, "--budget", BUDGET, "--seconds", "0.1", "--cascade"]


def profiles_of(case: Case, bundle: Path, branch: str = "full") -> Command:
    """One branch is enough: each takes a process of its own."""
    return ["profile", str(bundle), "--branches", branch, "--runs", "2", "--out", str(case.place / "m.jsonl")]


def traces_of(case: Case, bundle: str, trace: Path) -> Iterator[Command]:
    """The commands that read a trace."""
    yield ["replay", bundle, "--trace", str(trace), "--budget", BUDGET]
    yield ["replay", bundle, "--trace", str(trace), "--budget", BUDGET, "--json", "--policy", "threshold"]
    yield ["compare-policies", bundle, "--trace", str(trace), "--budget", BUDGET]
    yield ["report", str(trace), bundle, "--out", str(case.place / "r.html")]


@reads("manifest", 20)
def manifest(case: Case) -> list[Command]:
    bundle = case.bundle()
    good = json.loads((case.goods / "bundle/manifest.json").read_bytes())

    def mended(tree: Any) -> Any:
        if isinstance(tree, dict) and case.rng.random() < 0.9:  # else most damage would only hit checksums
            tree["files"] = good["files"]
        return tree

    replaced(bundle / "manifest.json", case.data((bundle / "manifest.json").read_bytes(), damage.json_file, mended))
    return [
        ["inspect", str(bundle)],
        ["inspect", str(bundle), "--json"],
        *runs_of(case, bundle),
        *runs_of(case, bundle),
        *traces_of(case, str(bundle), case.goods / "events.jsonl"),
        ["report", str(bundle), str(case.goods / "measurements.jsonl"), "--out", str(case.place / "r.html")],
        ["search", str(bundle), "--predictors", str(case.goods / "predictors.json"), "--branches", "2"],
        profiles_of(case, bundle),
        ["agent:", "loop", str(bundle), "--budget", BUDGET, "--seconds", "0.1"],
    ]


@reads("tflite", 14)
def tflite(case: Case) -> list[Command]:
    bundle = case.bundle()
    path = case.rng.choice(sorted(bundle.rglob("*.tflite")))
    replaced(path, case.data(path.read_bytes(), damage.binary))
    resealed(bundle, path)
    branches = json.loads((bundle / "manifest.json").read_bytes())["branches"]
    branch = next(branch["id"] for branch in branches if branch["file"] == path.name)
    return [*runs_of(case, bundle), *runs_of(case, bundle), ["inspect", str(bundle)], profiles_of(case, bundle, branch)]


@reads("samples", 2)
def samples(case: Case) -> list[Command]:
    bundle = case.bundle()
    path = case.rng.choice(sorted(bundle.rglob("*.bin")))
    replaced(path, case.data(path.read_bytes(), damage.binary))
    resealed(bundle, path)
    return [["inspect", str(bundle)], profiles_of(case, bundle), *runs_of(case, bundle)]


@reads("measurements", 9)
def measurements(case: Case) -> list[Command]:
    path = case.file("measurements.jsonl", damage.json_lines)
    return [
        ["fit", str(path), "--out", str(case.place / "p.json")],
        ["fit", str(path), "--out", str(case.place / "p.json"), "--json", "--share", "model"],
        ["report", str(path), "--out", str(case.place / "r.html")],
        ["report", str(path), case.whole_bundle, "--out", str(case.place / "r.html")],
        ["profile", case.whole_bundle, "--runs", "4", "--branches", "full", "--out", str(path)],
    ]


@reads("events", 8)
def events(case: Case) -> list[Command]:
    return list(traces_of(case, case.whole_bundle, case.file("events.jsonl", damage.json_lines)))


@reads("predictors", 8)
def predictors(case: Case) -> list[Command]:
    path = str(case.file("predictors.json", damage.json_file))
    run = ["run", case.whole_bundle, "--data", case.arrays, "--seconds", "0.1", "--predictors", path]
    return [
        [*run, "--budget", "latency_ms=5,energy_mj=100,memory_mb=1000"],
        ["search", case.whole_bundle, "--predictors", path, "--branches", "3"],
        [
            "report",
            path,
            str(case.goods / "measurements.jsonl"),
            case.whole_bundle,
            "--out",
            str(case.place / "r.html"),
        ],
    ]


@reads("journal", 5)
def journal(case: Case) -> list[Command]:
    path = case.file("killed.jsonl.journal", damage.json_lines)
    return [["profile", case.whole_bundle, *UNFINISHED, "--out", str(path.with_suffix(""))]]


@reads("plan", 4)
def plan(case: Case) -> list[Command]:
    path = case.file("plan.json", damage.json_file, bounded)
    return [["agent:", "bench", str(path)]]


def bounded(plan: Any) -> Any:
    """A plan that asks for no more than a few seconds of work: to do what is asked is no hang."""
    if isinstance(plan, dict):
        if isinstance(plan.get("jobs"), list):
            plan["jobs"] = plan["jobs"][:20]
        for name in ("idle_s", "batch_s", "patience_s"):
            if isinstance(plan.get(name), (int, float)) and plan[name] > 0.5:
                plan[name] = 0.5
    return plan


@reads("fleet.yaml", 6)
def fleet(case: Case) -> list[Command]:
    how = case.rng.choice((damage.text, as_yaml, as_yaml, bombed))
    path = str(case.file("fleet.yaml", lambda data, rng: scheduled(how(data, rng))))
    if case.whole:  # there is no scheduler
        return []
    out = str(case.place / "m.jsonl")
    return [["devices", "--fleet", path], ["profile", case.whole_bundle, "--fleet", path, "--runs", "2", "--out", out]]


def scheduled(data: bytes) -> bytes:
    """A fleet that names a scheduler: without one, processes start on this machine, and phones are waited for."""
    found = re.sub(rb"(?m)^scheduler:\s*$", b"scheduler: tcp://127.0.0.1:1", data)
    return found if b"scheduler" in found else b"scheduler: tcp://127.0.0.1:1\n" + found


def as_yaml(data: bytes, rng: random.Random) -> bytes:
    """The values of a YAML file changed; JSON is YAML too."""
    import yaml

    found = damage.tree(yaml.safe_load(data), rng)
    if isinstance(found, dict) and found.get("scheduler") is None:
        found["scheduler"] = "tcp://127.0.0.1:1"
    return damage.written(found)


def bombed(data: bytes, rng: random.Random) -> bytes:
    """Things that only YAML has: aliases of aliases, tags, odd keys, dates."""
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    more = rng.choice((
        bomb, "&x [*x]: 1\n", "x: !!python/object:os.system {}\n", "? [a, b]\n: 1\n", "hosts: 2020-01-01\n",
        "hosts: 0x" + "f" * 5000 + "\n", "? {a: 1}\n: 1\n", "hosts: 1:30\n", "[" * 2000, "%YAML 9.9\n---\n",
        "--- 1\n--- 2\n", "hosts: .inf\n", "hosts: 9999-99-99\n", "hosts: !!binary x\n", "<<: 1\n",
        "hosts: {lab: &a {phones: *a}}\n", "hosts: &h {a: *h}\n", "hosts: !!set {a, b}\n",
    ))  # fmt: skip
    return more.encode() + data if rng.random() < 0.5 else more.encode()


@reads("npz", 6)
def npz(case: Case) -> list[Command]:
    path = str(case.file("arrays.npz", damage.archive, lambda name, data, rng: damage.array(data, rng)))
    return [
        ["evaluate", case.whole_bundle, "--data", path, "--branch", "full"],
        ["run", case.whole_bundle, "--data", path, "--budget", BUDGET, "--seconds", "0.1"],
    ]


@reads("zip", 4)
def zipped(case: Case) -> list[Command]:
    path = str(case.file("photos.zip", damage.archive, lambda name, data, rng: damage.binary(data, rng)))
    return [["evaluate", case.whole_bundle, "--data", path, "--branch", "full"]]


@reads("png", 4)
def png(case: Case) -> list[Command]:
    path = str(case.file("photos.zip", pictures))
    return [["evaluate", case.whole_bundle, "--data", path, "--branch", "full"]]


def pictures(data: bytes, rng: random.Random) -> bytes:
    """Pictures in an archive: one of them damaged."""
    return inside(data, rng, damage.picture)


def inside(data: bytes, rng: random.Random, how: Callable[[bytes, random.Random], bytes]) -> bytes:
    """One member of an archive changed, the archive whole."""
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(data)) as old:
        members = [(info.filename, old.read(info)) for info in old.infolist()]
    number = rng.randrange(len(members))
    members[number] = (members[number][0], how(members[number][1], rng))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as new:
        for name, content in members:
            new.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


@reads("wav", 3, slow=True)
def wav(case: Case) -> list[Command]:
    path = str(case.file("sounds.zip", inside, damage.binary))
    if case.whole:  # a build takes too long; but what it imports does, too
        importlib.import_module("adascale_tf.network.create")
        return []
    # The data is read first; the name of the network is refused then.
    return [["build", "--data", path, "--backbone", "none", "--out", str(case.place / "b")]]


@reads("bundle.zip", 4)
def bundle_zip(case: Case) -> list[Command]:
    path = case.file("bundle.zip", damage.archive, lambda name, data, rng: damage.binary(data, rng))
    return [["inspect", str(path)], ["report", str(path), "--out", str(case.place / "r.html")]]


@reads("checkpoint", 4, slow=True)
def checkpoint(case: Case) -> list[Command]:
    folder = Path(shutil.copytree(case.goods / "checkpoint", case.place / "checkpoint", copy_function=os.link))
    path = case.rng.choice([folder / "checkpoint.json", *sorted(folder.iterdir())])
    how = damage.json_file if path.suffix == ".json" else as_archive
    replaced(path, case.data(path.read_bytes(), how))
    photos = str(case.goods / "photos.zip")
    recipes = ("--recipes", "width(0.5)+int8", "--out", str(case.place / "b"))
    fitted = ("--predictors", str(case.goods / "predictors.json"), "--trials", "0", "--branches", "1")
    return [
        ["evolve", str(folder), "--data", photos, *recipes],
        ["search", str(folder), "--data", photos, *fitted],
    ]


def as_archive(data: bytes, rng: random.Random) -> bytes:
    """A file that may be an archive (``.npz``, ``.keras``)."""
    if not data.startswith(b"PK"):
        return damage.binary(data, rng)

    def member(name: str, content: bytes, rng: random.Random) -> bytes:
        how = damage.array if name.endswith(".npy") else damage.json_file if name.endswith(".json") else damage.binary
        return how(content, rng)

    return damage.archive(data, rng, member)


# --- what phones say


def asks(case: Case) -> list[Command]:
    """The commands that ask a phone what it is."""
    return [["devices", case.phone.address, "--json"], ["devices", case.phone.address]]


@reads("dumpsys", 3, slow=True)
def dumpsys(case: Case) -> list[Command]:
    assert case.phone.address
    name = case.rng.choice(("battery", "battery", "thermalservice"))
    case.phone.tells({f"dumpsys-{name}": case.data((case.phone.root / "dumpsys" / name).read_bytes(), damage.text)})
    return asks(case)


@reads("getprop", 3, slow=True)
def getprop(case: Case) -> list[Command]:
    assert case.phone.address
    props = dict(
        line.split("=", 1) for line in (case.phone.root / "system/build.prop").read_text().splitlines() if "=" in line
    )
    chosen = case.rng.sample(sorted(props), 3)
    case.phone.tells({f"getprop-{name}": case.data(props[name].encode(), damage.text) for name in chosen})
    return asks(case)


@reads("messages", 4, slow=True)
def messages(case: Case) -> list[Command]:
    """What the agent says, over adb while it measures and afterwards from Termux."""
    manifest = json.loads((case.goods / "bundle/manifest.json").read_bytes())
    branches = ",".join(branch["id"] for branch in manifest["branches"][:2])
    names = {"info": "info.json", "bench": "messages.log"}
    told = {name: (case.goods / file).read_bytes() for name, file in names.items()}
    chosen = case.rng.choice(("info", "bench", "bench", "bench"))
    told[chosen] = case.data(told[chosen], said)
    folder = "sdcard/Download/adascale"
    how = damage.json_file if case.rng.random() < 0.3 else lambda data, rng: data
    plan = case.data((case.goods / "plan.json").read_bytes(), how)
    case.phone.tells({**told, f"{folder}/plan.json": plan, f"{folder}/results.log": told["bench"]})
    out, phone = str(case.place / "m.jsonl"), case.phone.address
    return [
        ["profile", case.whole_bundle, "--device", phone, "--branches", branches, "--runs", "4", "--patience", "1",
         "--precise", "0", "--out", out, "--keep"],  # a phone that repeats what it said knows no further rounds
        ["pull", case.whole_bundle, "--device", phone, "--out", out],
    ]  # fmt: skip


def said(data: bytes, rng: random.Random) -> bytes:
    """Messages of the agent: values in one or two of its lines changed, or lines as text."""
    if rng.random() < 0.2:
        return damage.text(data, rng)
    lines = data.split(b"\n")
    for _ in range(rng.choice((1, 1, 2))):
        place = rng.randrange(max(1, len(lines) - 1))
        mark, brace, rest = lines[place].partition(b"{")
        try:
            lines[place] = mark + damage.json_file(brace + rest, rng)
        except (ValueError, RecursionError):  # no JSON, or damaged before
            lines[place] = damage.binary(lines[place], rng)
    return b"\n".join(lines)
