"""The command line, ``adascale``: it turns errors into one sentence and an exit code, and imports nothing heavy."""

from __future__ import annotations

import os
import sys

import click

from adascale_runtime import plugins
from adascale_runtime.files import archives
from adascale_tf import __version__
from adascale_tf.cli import (
    building,
    compiling,
    console,
    demonstration,
    ending,
    evolving,
    examining,
    measuring,
    phones,
    running,
    searching,
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="adascale")
@click.option(
    "--max-gb",
    type=console.Number(0.001, 1e6),
    default=round(archives.DEFAULT_LIMIT / 1e9, 1),
    show_default=True,
    help="Maximum size of an archive (unpacked) or file, in GB.",
)
@click.pass_context
def cli(context: click.Context, max_gb: float) -> None:
    """One Keras model in, many TFLite branches out: measured on this device, switched as its load changes.

    \b
    Start here:
      adascale demo
      adascale build --data photos/ --out bundle
      adascale profile bundle --out measurements.jsonl
      adascale run bundle --data photos/ --budget latency_ms=5

    \b
    Tab completion (bash):
      eval "$(_ADASCALE_COMPLETE=bash_source adascale)"
    """
    context.with_resource(archives.limit(round(max_gb * 1e9)))
    context.call_on_close(_say_what_was_left_out)


def _say_what_was_left_out() -> None:
    """Name the plug-ins that the command looked for and could not import; it imports the kinds that it needs."""
    for sentence in plugins.problems():
        console.warn(sentence)


for module in (building, compiling, demonstration, examining, evolving, measuring, phones, running, searching):
    for command in module.COMMANDS:
        cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; :mod:`adascale_tf.cli.ending` says with which codes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.exit(ending.run(lambda: cli.main(args=arguments, prog_name="adascale", standalone_mode=False)))
