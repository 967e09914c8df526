"""``compile_npu``: files for NPUs, compiled ahead of time, beside the portable ones of a bundle."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from adascale_runtime.errors import AdaScaleError, BadInput
from adascale_runtime.progress import Tick, silent
from adascale_tf.verbs import given

if TYPE_CHECKING:
    from adascale_runtime.seams.bundle import Bundle
    from adascale_runtime.seams.manifest import Branch, Compiled, Verification
    from converters.ahead import Target

#: The folder of compiled files in a bundle.
FOLDER = "compiled"


@dataclass(frozen=True)
class Made:
    """A file that was compiled."""

    branch: str
    """The branch's id."""

    compiled: Compiled
    """What the manifest says of the file."""

    size_bytes: int


@dataclass(frozen=True)
class CompiledBundle:
    """What came of compiling."""

    bundle: Bundle
    """The bundle, as it was read back."""

    made: tuple[Made, ...]

    problems: tuple[str, ...] = ()
    """A sentence for each branch that could not be compiled for a chip."""


def compile_npu(
    path: Bundle | str | Path,
    npu: str | Sequence[str],
    *,
    branches: Sequence[str] | None = None,
    out: str | Path | None = None,
    tick: Tick = silent,
) -> CompiledBundle:
    """Compile branches of a bundle ahead of time for chips with NPUs.

    The files stand in the bundle beside the portable ones, which stay as they are. The delegate ``npu`` runs the one
    for its own chip, and the portable file where there is none. A file for a chip of this machine is run on the
    bundle's samples, and its outputs are compared with those of the portable file.

    Args:
        path: The bundle, a folder, which is replaced when all is done; or a .zip, with ``out``.
        npu: Chips: ``host`` for what runs here, ``intel:CPU``, ``SM8750``, and so on; several as a sequence.
        branches: Ids of branches. Default: all.
        out: The folder of the new bundle. Default: the bundle itself.
        tick: Told ``("compile", ...)`` for each branch and chip.

    Returns:
        The bundle, and what was compiled. The digest of a bundle is that of its files, so measurements that were taken
        before belong to the bundle without compiled files.

    Raises:
        BadInput: No such bundle, branch or chip; or a .zip without ``out``.
        UnknownDelegate: A compiler is not installed; the sentence says what to install.
        AdaScaleError: No branch can be compiled. The bundle then stays as it was.
    """
    from adascale_runtime.files import codec
    from adascale_runtime.seams import bundle as bundles
    from converters import ahead

    source = given.bundle_of(path)
    if out is None and not isinstance(path, bundles.Bundle) and Path(path).is_file():
        raise BadInput(f"{path} is a .zip; give a folder for the bundle with compiled files (--out).")
    target_folder = source.root if out is None else Path(out)
    bundles.check_target(target_folder)
    targets = tuple(dict.fromkeys(map(ahead.parse, [npu] if isinstance(npu, str) else npu)))
    if not targets:
        raise BadInput(f"No chip is named; give one, such as '{ahead.HOST}'.")
    for target in targets:
        ahead.check(target)
    manifest = source.manifest
    chosen = manifest.branches if branches is None else [manifest.branch(i) for i in dict.fromkeys(branches)]
    if not chosen:
        raise BadInput(f"No branch is named; choose among {', '.join(b.id for b in manifest.branches)}.")
    made: list[Made] = []
    problems: list[str] = []
    with bundles.whole_folder(target_folder) as folder:
        _copy(source, folder)
        entries = {branch.id: branch for branch in manifest.branches}
        work = [(branch, target) for target in targets for branch in chosen]
        for done, (branch, target) in enumerate(work):
            tick("compile", done, len(work), f"{branch.id} for {target}")
            try:
                one = _compile(source, folder, entries[branch.id], target)
            except AdaScaleError as error:
                problems.append(f"{branch.id}: {error}")
                continue
            made.append(Made(branch.id, one, (folder / one.file).stat().st_size))
            entries[branch.id] = _with(entries[branch.id], one)
        tick("compile", len(work), len(work), "")
        if not made:
            raise AdaScaleError(" ".join(problems))
        whole = replace(manifest, branches=tuple(entries.values()), files=bundles.entries(folder))
        codec.write_text(folder / bundles.MANIFEST, codec.dump(whole))
        read = bundles.load(folder)  # what cannot be read back must not replace what could
    return CompiledBundle(bundles.Bundle(target_folder, read.manifest), tuple(made), tuple(problems))


def _copy(source: Bundle, folder: Path) -> None:
    for entry in source.manifest.files:
        place = folder / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.path(entry.path), place)


def _with(branch: Branch, one: Compiled) -> Branch:
    """The branch with a compiled file, in the place of an earlier one for the same chip."""
    others = tuple(c for c in branch.compiled if (c.vendor, c.chip) != (one.vendor, one.chip))
    return replace(branch, compiled=(*others, one))


def _compile(source: Bundle, folder: Path, branch: Branch, target: Target) -> Compiled:
    from adascale_runtime.files import codec
    from adascale_runtime.seams.manifest import Compiled
    from converters import ahead

    compiled = ahead.compile_signature(source.path(branch.file).read_bytes(), branch.signature, target)
    name = branch.id if re.fullmatch(r"[\w.+-]{1,100}", branch.id) else _other_name(source, branch)
    file = f"{FOLDER}/{target.vendor}-{target.chip}/{name}.tflite"
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    codec.write_bytes(folder / file, compiled.model)
    one = Compiled(
        target.vendor, target.chip, file, compiled.operators, compiled.taken, compiled.partitions,
        ahead.compiler(target),
    )  # fmt: skip
    try:
        return replace(one, verification=_verify(source, folder, branch, one))
    except AdaScaleError:
        (folder / file).unlink()
        raise


def _other_name(source: Bundle, branch: Branch) -> str:
    """A file's name for a branch whose id cannot be one; no id that can has the sign in it."""
    return f"branch@{[b.id for b in source.manifest.branches].index(branch.id)}"


def _verify(source: Bundle, folder: Path, branch: Branch, one: Compiled) -> Verification | None:
    """How the file's outputs compare with the portable one's on the bundle's samples; None if nothing here runs it."""
    import numpy as np

    from adascale_runtime.engines import delegates, served
    from adascale_runtime.seams import bundle as bundles
    from converters import verify
    from profiling.host import samples

    if not served.same(one.chip, served.chip()) or not source.manifest.samples.count:
        return None
    branch = replace(branch, compiled=(one,))
    entry = bundles.FileEntry(one.file, bundles.sha256(folder / one.file), (folder / one.file).stat().st_size)
    there = bundles.Bundle(folder, replace(source.manifest, files=(*source.manifest.files, entry)))
    runner = delegates.open_branch(there, branch, "npu", allow_fallback=one.taken < one.operators)
    actual = np.concatenate([runner(x[np.newaxis]) for x in samples(source)])
    if not np.isfinite(actual).all():
        raise AdaScaleError(
            f"The file for {one.vendor}:{one.chip} gives outputs that are not finite numbers; leave it out."
        )
    expected = np.fromfile(source.path(branch.expected), "<f4").reshape(actual.shape)
    return verify.compare(expected, actual)
