"""Builds the wheels of a portable Python: fetches its parts by apt-get and pip, puts them together, installs them."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from adascale_runtime import __version__
from adascale_runtime.errors import AdaScaleError
from adascale_runtime.files import codec
from android_harness import package
from android_harness.portable import deb, fetch, recipe, wheel
from android_harness.portable.targets import TARGETS, Target, target_of

_EPILOG = "Example: python -m android_harness.portable --abi arm64-v8a --out build/portable --install"
_LICENCE = "PSF-2.0, LGPL-2.1-or-later, GPL-3.0-or-later WITH GCC-exception-3.1, Apache-2.0 and others (licences/)"


def build(target: Target, out: Path) -> Path:
    """Build the wheel of a target in a folder; gives its path.

    Raises:
        BadInput: This machine cannot build it.
        AdaScaleError: Something cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="adascale-portable-") as folder:
        packages = fetch.packages(target, Path(folder))
        with zipfile.ZipFile(fetch.litert(target, Path(folder))) as archive:
            litert = recipe.litert_of(archive)
        files = recipe.assemble(target, packages, deb.unpacked(packages), litert, package.sources())
    summary = f"Python and LiteRT for {target.abi} phones that have neither, for adascale-tf"
    data = wheel.write(
        target.distribution, __version__, target.module, files, summary=summary, licence=_LICENCE
    )  # fmt: skip
    path = out / wheel.file_name(target.distribution, __version__)
    codec.write_bytes(path, data)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Build; gives the exit code: 0 done, 1 something cannot be fetched, 2 bad input."""
    parser = argparse.ArgumentParser("python -m android_harness.portable", description=__doc__, epilog=_EPILOG)
    parser.add_argument("--abi", action="append", metavar="ABI", help=f"{', '.join(TARGETS)}; can be repeated; all")
    parser.add_argument("--out", type=Path, default=Path("build/portable"), metavar="FOLDER", help="where wheels go")
    parser.add_argument("--install", action="store_true", help="install the wheels into this Python's environment")
    options = parser.parse_args(arguments)
    try:
        wheels = []
        for target in [target_of(abi) for abi in options.abi or TARGETS]:
            print(f"{target.abi}: fetching Debian's Python and LiteRT", file=sys.stderr)
            wheels.append(build(target, options.out))
            print(f"{wheels[-1]} ({wheels[-1].stat().st_size / 1e6:.1f} MB)")
        if options.install:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
            subprocess.run([*pip, "--no-deps", "--force-reinstall", *map(str, wheels)], check=True)
    except AdaScaleError as error:
        print(f"portable: {error}", file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError:  # pip has said why
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
