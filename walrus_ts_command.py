"""Where the command `walrus-ts` begins, before anything of walrus_ts is imported.

Reading pandas and Arrow takes half a second, in which Python would answer Ctrl-C with a traceback, or with another
error that the interrupted module makes of it. This module is no part of the package because importing one of the
package's own begins with all of them.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


def main() -> None:
    """Run the command line (`walrus_ts.cli`)."""
    with _ended_by_interrupts():
        from walrus_ts.cli import command

        run = command()
    run()


@contextmanager
def _ended_by_interrupts() -> Iterator[None]:
    """Let the system end the process at Ctrl-C, as it ends any program that knows nothing of signals."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # and not ignored, as behind nohup
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, handler)


if __name__ == "__main__":
    main()
