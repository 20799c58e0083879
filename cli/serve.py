"""``pytracer serve``: a page in a browser that shows, starts and stops runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytracer.cli.arguments import Parser
from pytracer.cli.output import one_line
from pytracer.kernel.policy import require_proc

_ABOUT = """\
Serves a page that shows what tracers see, live, with heat maps and flame graphs, explains them, and starts
and stops them. It is for this machine alone: the address has to be a loopback address, and the page needs the
token that is printed with it."""
_MORE = """\
examples:
  pytracer serve --web 127.0.0.1:8080
      a page; the browser gets the address that is printed, with the token behind the #
  pytracer serve syscalls biolatency --web 127.0.0.1:0
      with two tracers that run from the start, at any free port
  ssh -L 8080:127.0.0.1:8080 HOST
      brings the page of another machine to this one

notes:
  Whoever has the token may run every tracer with all that it shows, as the user that serves.
  The page starts no commands, and nothing that changes what is traced, without --allow-commands.
  docs/page.md describes what protects it."""
_USAGE = "pytracer serve [TRACER...] --web ADDRESS:PORT [--allow-commands]"


def run(words: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    parser = Parser(prog="pytracer serve", description=_ABOUT, epilog=_MORE, usage=_USAGE)
    parser.add_argument("tracers", nargs="*", metavar="TRACER", help="runs from the start")
    parser.add_argument(
        "--web", metavar="ADDRESS:PORT", default="127.0.0.1:0", help="default: 127.0.0.1:0, any port"
    )
    parser.add_argument(
        "--allow-commands", action="store_true", help="the page may start commands, and inject faults"
    )
    given = parser.parse_args(list(words))
    require_proc()

    import asyncio

    from pytracer.web.guard import Guard, parse_address
    from pytracer.web.runs import Runs
    from pytracer.web.server import Server
    from pytracer.web.start import make_request

    address = parse_address(given.web)
    runs = Runs()

    def say(line: str) -> None:
        print(f"pytracer: {one_line(line)}", file=sys.stderr)

    def started(guard: Guard) -> None:
        print(f"{guard.url}#token={guard.token}", flush=True)
        for request, line in requests:
            runs.start(request, line)
        say("open this address in a browser of this machine; Ctrl-C ends")

    requests = [make_request({"tracer": name}, allow_commands=given.allow_commands) for name in given.tracers]
    server = Server(address, runs, allow_commands=given.allow_commands, say=say)
    try:
        asyncio.run(server.serve(started))
    finally:
        runs.close(say)
    return 0
