"""The command line, ``adascale``. Here errors become one sentence and an exit code; nothing heavy is imported."""

from __future__ import annotations

import os
import sys

import click

from adascale_tf import __version__
from adascale_tf.cli import building, evolving, measuring, phones, running
from adascale_tf.errors import AdaScaleError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="adascale")
def cli() -> None:
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


for module in (building, evolving, measuring, phones, running):
    for command in module.COMMANDS:
        cli.add_command(command)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 the job failed, 2 bad input, 130 interrupted."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        code = cli.main(args=arguments, prog_name="adascale", standalone_mode=False)
    except click.exceptions.Exit as stop:
        code = stop.exit_code
    except click.ClickException as error:
        error.show()
        code = 2
    except AdaScaleError as error:
        click.echo(f"adascale: {error}", err=True)
        code = error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("adascale: interrupted; finished work is kept, the same command continues or starts anew.", err=True)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code if isinstance(code, int) else 0)
