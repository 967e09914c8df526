"""``python -m adascale_tf``, and the console script ``adascale``."""

import os
import signal
import sys
from typing import Any


def _stop(number: int, frame: Any) -> None:
    """End at once: while modules are imported there is nothing to keep, and a traceback would help nobody."""
    os.write(2, b"adascale: interrupted before it began; give the command again.\n")
    os._exit(128 + number)


def main() -> None:
    """The command line; a signal during its imports is one sentence too."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    from adascale_tf import cli

    cli.main(sys.argv[1:])


if __name__ == "__main__":
    main()
