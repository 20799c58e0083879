"""Save the current view to a new file, in the format of its name."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pytracer.errors import UsageError
from pytracer.sinks import make_sink
from pytracer.view import View

FORMATS = {".csv": "csv", ".json": "json", ".md": "markdown", ".yaml": "yaml", ".txt": "table"}


def suggested(view: View) -> str:
    """Return a name for a new file."""
    return f"{view.schema.tracer}-{time.strftime('%Y%m%d-%H%M%S')}.csv"


def save(view: View, name: str) -> int:
    """Write the rows that pass the filter, in their order, and the losses. Returns the number of rows.

    Raises UsageError if the file exists, or the format is not known.
    """
    form = FORMATS.get(Path(name).suffix)
    if form is None:
        raise UsageError(f"{name!r} says no format", hint="a name that ends with " + ", ".join(FORMATS))
    item = view.shown()
    if item is None:
        raise UsageError("there is nothing to save yet")
    try:
        # Never another file's: what is there stays, and a link in a folder of somebody else leads nowhere.
        file = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write {name!r}: {error.strerror}", hint="another name") from error
    try:
        with os.fdopen(file, "w", encoding="utf-8", errors="backslashreplace") as stream:
            sink = make_sink(form, stream, timestamps=True, terminal=False, wide=True)
            sink.open(view.schema)
            sink.emit(item)
            for loss in view.lost.values():
                sink.emit(loss)
            sink.close()
    except OSError as error:
        raise UsageError(f"cannot write {name!r}: {error.strerror}") from error
    return len(item)
