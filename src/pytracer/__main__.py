"""Run the command line as a process: ``python -m pytracer``, and the script ``pytracer``."""

import signal

from pytracer.cli.main import main


def command() -> int:
    """Run the command line. Returns the exit status, which one more Ctrl-C does not change any more."""
    status = main()
    # Until the interpreter has ended, which takes a tenth of a second, it would turn into a death by SIGINT.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return status


if __name__ == "__main__":
    raise SystemExit(command())
