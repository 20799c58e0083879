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
    own_words, command = _cut(words)
    own_words = [word for word in own_words if word != LIVE]
    sortable = any("--sort" in output.takes for output in tracer.outputs)
    if view.sort and sortable and view.sort in [column.name for column in view.schema.columns]:
        if "--sort" in own_words:
            index = own_words.index("--sort")
            del own_words[index : index + 2]
        own_words += ["--sort", view.sort]
    for key, name in ((Filter.PID, "pid"), (Filter.TID, "tid"), (Filter.COMM, "comm")):
        option = f"--{key.value}"
        if key in tracer.filters and option not in own_words and not command:
            own_words += [word for value in view.filter.equal(name) for word in (option, typed(value))]
    return [*own_words, *command]


def shown(words: Iterable[str]) -> str:
    """Return a command line as a user types it, without characters that a terminal interprets."""
    return harmless(shlex.join(["pytracer", *words]))


def _cut(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of pytracer, and those of the command, which begin with ``--``."""
    index = words.index("--") if "--" in words else len(words)
    return list(words[:index]), list(words[index:])
