"""The command that compiles branches ahead of time for NPUs: compile."""

from __future__ import annotations

from pathlib import Path

import click

from adascale_tf.cli import console, ending, options


@click.command(
    "compile",
    epilog="Example: adascale compile bundle --npu host; adascale compile bundle --npu SM8750 --branches int8",
)
@options.bundle_argument
@click.option(
    "--npu", required=True, metavar="CHIPS",
    help="Chips, comma-separated: 'host' for what runs here, intel:CPU, SM8750, MT6991, Tensor_G5, and so on.",
)  # fmt: skip
@click.option("--branches", default=None, help="Ids of branches, comma-separated. Default: all.")
@click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), default=None, metavar="FOLDER",
    help="Write another bundle. Default: BUNDLE itself is replaced when all is done.",
)  # fmt: skip
@console.output_options
def compile_command(
    *, path: Path, npu: str, branches: str | None, out: Path | None, quiet: bool, as_json: bool
) -> None:
    """Compile branches ahead of time for chips with NPUs, with the vendors' own compilers.

    The files stand in the bundle beside the portable ones. The delegate npu runs the one for its own chip.
    """
    from adascale_tf.verbs.compile import compile_npu

    with console.progress(quiet) as tick:
        done = compile_npu(
            path, options.names(npu), branches=None if branches is None else options.names(branches), out=out, tick=tick
        )
    if as_json:
        console.emit(done.made)
    elif not quiet:
        rows = []
        for one in done.made:
            c, facts = one.compiled, one.compiled.verification
            right = ("-", "-") if facts is None else (f"{facts.agreement:.0%}", f"{facts.max_abs_difference:.3g}")
            taken, size = f"{c.taken}/{c.operators}", console.size(one.size_bytes)
            rows.append((one.branch, f"{c.vendor}:{c.chip}", taken, c.partitions, size, *right))
        columns = ("branch", "chip", "operators", "parts", "size", "classes as portable", "max diff")
        console.table(f"Compiled in {done.bundle.root}", columns, rows)
    ending.incomplete(done.problems, "compiled")


COMMANDS = (compile_command,)
