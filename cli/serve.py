"""``pytracer serve``: a page in a browser that shows, starts and stops runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from pytracer.cli.arguments import Parser
from pytracer.cli.output import one_line
from pytracer.kernel.policy import require_proc

_ABOUT = """\
Serves a page for a browser. The page shows runs live, with heat maps and flame graphs, starts and stops
tracers, and explains them. The server listens at a loopback address only, and the page needs the token that
is printed with its address."""
_MORE = """\
examples:
  pytracer serve --web 127.0.0.1:8080
      open the printed address, with the token behind the #, in a browser of this machine
  pytracer serve syscalls biolatency
      start with two runs, at any free port
  ssh -L 8080:127.0.0.1:8080 HOST
      forward the page of another machine; the port has to be the same

notes:
  Whoever has the token can run every tracer and see its output, with the rights of the user that serves.
  Without --allow-commands the page starts no commands, and no tracer that changes what it traces.
  docs/page.md describes the protection."""
_USAGE = "pytracer serve [TRACER...] --web ADDRESS:PORT [--allow-commands]"


def run(words: Sequence[str]) -> int:
    """Serve until Ctrl-C."""
    parser = Parser(prog="pytracer serve", description=_ABOUT, epilog=_MORE, usage=_USAGE)
    parser.add_argument("tracers", nargs="*", metavar="TRACER", help="start a run of it")
    parser.add_argument(
        "--web", metavar="ADDRESS:PORT", default="127.0.0.1:0", help="default: 127.0.0.1:0, any port"
    )
    parser.add_argument(
        "--allow-commands", action="store_true", help="let the page start commands and inject faults"
    )
    options = parser.parse_args(list(words))
    require_proc()

    import asyncio

    from pytracer.web.guard import Guard, parse_address
    from pytracer.web.runs import Runs
    from pytracer.web.server import Server
    from pytracer.web.start import make_request

    address = parse_address(options.web)
    runs = Runs()

    def say(line: str) -> None:
        print(f"pytracer: {one_line(line)}", file=sys.stderr)

    def started(guard: Guard) -> None:
        print(f"{guard.url}#token={guard.token}", flush=True)
        for request, line in requests:
            runs.start(request, line)
        say("open this address in a browser of this machine; Ctrl-C ends")

    requests = [
        make_request({"tracer": name}, allow_commands=options.allow_commands) for name in options.tracers
    ]
    server = Server(address, runs, allow_commands=options.allow_commands, log=say)
    try:
        asyncio.run(server.serve(started))
    finally:
        runs.close(say)
    return 0
