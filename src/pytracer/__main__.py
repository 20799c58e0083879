"""Run the command line as a process: ``python -m pytracer``, and the script ``pytracer``."""

from pytracer import startup


def command() -> int:
    """Run the command line. Returns the exit status, which one more Ctrl-C does not change any more."""
    startup.begin()
    try:
        from pytracer.cli.main import main  # most of a start
    except KeyboardInterrupt:
        return 130

    status = main()
    startup.leave(status)
    return status


if __name__ == "__main__":
    raise SystemExit(command())
