"""The runs that the page shows: each has a thread that iterates over its trace, as a program would."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pytracer.errors import PytracerError
from pytracer.features.kernel_facts import RunningKernel
from pytracer.request import Request
from pytracer.text import harmless
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop
from pytracer.view import EventsView, View, make_view
from pytracer.web.pictures import LivePicture, make_picture

RUNNING_MAX, KEPT_MAX = 8, 16
"""Runs that go on at a time; with those that have ended, whose results can still be seen."""
_EVENTS = 8 << 20  # bytes of events that a run keeps
_LINES = 50  # messages that it keeps
_NAP = 0.1  # seconds between two readings of a ring, which has room for more: the page changes no sooner
_JOIN = 10.0  # seconds until a run that is stopped is given up


class Run:
    """A tracer that runs, or has run. ``revision`` is another one when there is something else to show."""

    def __init__(self, number: int, request: Request, words: tuple[str, ...]) -> None:
        """Run ``request``, which the command line writes as ``words``."""
        self.number, self.request, self.words = number, request, words
        self.state = "starting"
        self.view: View | None = None
        self.picture: LivePicture | None = None
        self.messages: deque[str] = deque(maxlen=_LINES)
        self.begun, self.ended = time.time(), 0.0
        self.changes = 0
        self._loop = EventLoop()
        self._thread = threading.Thread(target=self._work, name=f"run {number}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """True once nothing is attached any more."""
        return self.state in ("ended", "failed")

    @property
    def revision(self) -> tuple[int, int]:
        """A value that changes whenever there is something new to show."""
        return self.changes, self.view.revision if self.view is not None else 0

    def stop(self) -> None:
        """End the run soon; it still shows the remaining events."""
        if not self.is_over:
            self._become("stopping")
            self._loop.stop()

    def join(self) -> bool:
        """Wait for the end of the run. Returns False on a timeout."""
        self._thread.join(_JOIN)
        return not self._thread.is_alive()

    def _become(self, state: str) -> None:
        self.state = state
        self.changes += 1

    def _say(self, line: str) -> None:
        self.messages.append(harmless(line))
        self.changes += 1

    def _warn(self, line: str) -> None:
        self._say(f"warning: {line}")

    def _work(self) -> None:
        try:
            with (
                Path(os.devnull).open("wb") as discarded_output,  # for what a command prints
                TraceLoop(
                    self.request,
                    RunningKernel,
                    events=self._loop,
                    warn=self._warn,
                    output=(discarded_output.fileno(), discarded_output.fileno()),
                    poll_pause=_NAP,
                ) as trace,
            ):
                schema = trace.schema
                self.view = EventsView(schema, _EVENTS) if schema.is_stream else make_view(schema)
                self.picture = make_picture(schema)
                if self.state == "starting":
                    self._become("running")
                for item in trace:
                    self.view.add(item)
                    if self.picture is not None:
                        self.picture.add(item)
        except PytracerError as error:
            self._fail(error.message, error.hint)
        except KeyboardInterrupt:  # it was stopped while its C was compiled
            pass
        except Exception as error:  # a defect must end this run, not the page, and be seen
            self._fail(f"{type(error).__name__}: {error}", "this is a defect of pytracer")
        finally:
            self._loop.close()
            self.ended = time.time()
            if self.state != "failed":
                self._become("ended")

    def _fail(self, message: str, hint: str) -> None:
        self._say(f"error: {message}")
        if hint:
            self._say(f"hint: {hint}")
        self._become("failed")

    def summary(self) -> dict[str, Any]:
        """Return the run as an entry of the list of runs."""
        view = self.view
        return {
            "run": self.number,
            "tracer": self.request.tracer.name,
            "words": list(self.words),
            "state": self.state,
            "seconds": round((self.ended or time.time()) - self.begun, 1),
            "seen": 0 if view is None else view.seen,
            "unit": "events" if isinstance(view, EventsView) else "rows",
            "lost": 0 if view is None else sum(loss.lost for loss in view.lost.values()),
            "picture": "" if self.picture is None else self.picture.name,
        }


class Runs:
    """All runs of the page."""

    def __init__(self) -> None:
        self._runs: dict[int, Run] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()

    def start(self, request: Request, words: tuple[str, ...]) -> Run:
        """Start a run. Raises PytracerError if there are too many."""
        with self._lock:
            if sum(not run.is_over for run in self._runs.values()) >= RUNNING_MAX:
                raise PytracerError(f"{RUNNING_MAX} tracers run already", hint="stop one of them")
            for run in list(self._runs.values()):
                if len(self._runs) >= KEPT_MAX and run.is_over:
                    del self._runs[run.number]
            new_run = Run(next(self._numbers), request, words)
            self._runs[new_run.number] = new_run
        new_run.start()
        return new_run

    def find(self, number: int) -> Run | None:
        """Return a run by its number."""
        return self._runs.get(number)

    def remove(self, run: Run) -> None:
        """Remove a run that is over."""
        with self._lock:
            if run.is_over:
                self._runs.pop(run.number, None)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    def close(self, warn: Callable[[str], None]) -> None:
        """Stop all, and wait until nothing is attached."""
        for run in self:
            run.stop()
        for run in self:
            if not run.join():
                warn(f"{run.request.tracer.name} has not ended: its programs go with this process")
