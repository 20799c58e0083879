"""Make the command line for the current view."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence

from pytracer.spec import Filter, Tracer
from pytracer.text import harmless
from pytracer.view import View
from pytracer.view.closer import typed

LIVE = "--live"
_COUNTED = ("--top", "--sort")  # options of what is shown


def of_screen(words: Sequence[str], tracer: Tracer, view: View) -> list[str]:
    """Return the command line that prints the current view: the user's words, without the screen, with the
    order, and with those conditions of the filter that the kernel can test."""
    own, command = _cut(words)
    own = [word for word in own if word != LIVE]
    sortable = any("--sort" in output.takes for output in tracer.outputs)
    if view.sort and sortable and view.sort in [column.name for column in view.schema.columns]:
        if "--sort" in own:
            at = own.index("--sort")
            del own[at : at + 2]
        own += ["--sort", view.sort]
    for which, name in ((Filter.PID, "pid"), (Filter.TID, "tid"), (Filter.COMM, "comm")):
        option = f"--{which.value}"
        if which in tracer.filters and option not in own and not command:
            own += [word for value in view.filter.equal(name) for word in (option, typed(value))]
    return [*own, *command]


def shown(words: Iterable[str]) -> str:
    """Return a command line as a user types it, without characters that a terminal interprets."""
    return harmless(shlex.join(["pytracer", *words]))


def _cut(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of pytracer, and those of the command, which begin with ``--``."""
    at = words.index("--") if "--" in words else len(words)
    return list(words[:at]), list(words[at:])
