"""Answer requests of the page, by path. Every response below ``/api/`` needs the token."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from importlib import resources
from typing import Any

from pytracer.errors import PytracerError
from pytracer.record import replace
from pytracer.view.tables import WHOLE_RUN
from pytracer.web.described import describe_row, describe_run
from pytracer.web.documents import HTML, PREFIX, SVG, Documents
from pytracer.web.guard import Guard
from pytracer.web.http import HttpError, HttpRequest, Response, json_response
from pytracer.web.runs import Run, Runs
from pytracer.web.start import describe, make_request

STATIC = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/rows.js": ("rows.js", "text/javascript; charset=utf-8"),
    "/forms.js": ("forms.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", SVG),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
"""The files of the page: there are no others."""
_PERIOD = 0.5  # seconds between two looks at a run
_ALIVE = 10.0  # seconds after which something is sent in any case: a client that has gone is noticed
_EXPLAIN_SECONDS = 1.0
_SIZES = re.compile(r'<svg [^>]*width="(\d+)" height="(\d+)"')
Handler = Callable[[HttpRequest], Awaitable[Response]]


class Routes:
    """Answers requests. ``allow_commands``: the page may start commands, and what changes programs."""

    def __init__(self, guard: Guard, runs: Runs, *, allow_commands: bool) -> None:
        self._guard, self._runs, self._allow_commands = guard, runs, allow_commands
        self._documents = Documents()
        self._drawing = asyncio.Semaphore(1)  # pictures take long: one at a time
        self._explaining = asyncio.Lock()
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/api/tracers"): self._tracers,
            ("POST", "/api/start"): self._start,
            ("POST", "/api/stop"): self._stop,
            ("POST", "/api/remove"): self._remove,
            ("POST", "/api/row"): self._row,
            ("POST", "/api/picture"): self._picture,
            ("POST", "/api/explain"): self._explain,
        }

    async def answer(self, request: HttpRequest) -> Response:
        """Return the answer to a request. Raises HttpError and PytracerError."""
        self._guard.check_source(request)
        if request.path.startswith("/api/"):
            self._guard.check_token(request)
            handler = self._routes.get((request.method, request.path))
            if handler is None:
                raise HttpError(404, "there is no such thing")
            return await handler(request)
        if request.method != "GET":
            raise HttpError(405, "this can only be read")
        if request.path.startswith(PREFIX):
            return self._documents.take(request.path)
        if request.path not in STATIC:
            raise HttpError(404, "there is no such thing")
        name, kind = STATIC[request.path]
        return Response((resources.files("pytracer.web") / "static" / name).read_bytes(), kind)

    def is_stream(self, request: HttpRequest) -> bool:
        """Return True if the response is streamed: then it is :meth:`stream`."""
        return (request.method, request.path) == ("GET", "/api/stream")

    async def stream(
        self, request: HttpRequest, closed: asyncio.Future[bytes]
    ) -> AsyncGenerator[bytes, None]:
        """Yield the list of runs, and the rows of the chosen one, whenever they are others, until the client
        is ``closed``. What it does not read is not made."""
        self._guard.check_source(request)
        self._guard.check_token(request)
        number, index = _number(request.query.get("run", "0")), _place(request.query.get("at", ""))
        before: object = None
        last_sent: object = None
        idle = 0.0
        while not closed.done():
            run = self._runs.find(number)
            summaries = [active_run.summary() for active_run in self._runs]
            now = [{**active_run, "seconds": 0} for active_run in summaries], run.revision if run else None
            if (
                now != before
                or idle >= _ALIVE
                or any(active_run["state"] == "running" for active_run in summaries)
            ):
                changed = now != before
                last_shown = None
                if run is not None and changed:
                    last_shown = await asyncio.to_thread(describe_run, run, index)
                    last_shown, last_sent = None if last_shown == last_sent else last_shown, last_shown
                yield (
                    b"data: " + json.dumps({"runs": summaries, "shown": last_shown}).encode("ascii") + b"\n\n"
                )
                before, idle = now, 0.0
            await asyncio.wait((closed,), timeout=_PERIOD)
            idle += _PERIOD

    async def _tracers(self, _request: HttpRequest) -> Response:
        tracers = await asyncio.to_thread(describe, allow_commands=self._allow_commands)
        return json_response({"tracers": tracers, "commands": self._allow_commands})

    async def _start(self, request: HttpRequest) -> Response:
        new_request, words = await self._made(request)
        return json_response({"run": self._runs.start(new_request, words).number})

    async def _made(self, request: HttpRequest) -> tuple[Any, tuple[str, ...]]:
        return await asyncio.to_thread(make_request, request.document(), allow_commands=self._allow_commands)

    async def _stop(self, request: HttpRequest) -> Response:
        self._run(request).stop()
        return json_response({})

    async def _remove(self, request: HttpRequest) -> Response:
        self._runs.remove(self._run(request))
        return json_response({})

    async def _row(self, request: HttpRequest) -> Response:
        document = request.document()
        run, index = self._run(request), _place(document.get("at", ""))
        number, keys = _number(document.get("row", 0)), document.get("keys")
        return json_response(await asyncio.to_thread(describe_row, run, index, number, keys))

    async def _picture(self, request: HttpRequest) -> Response:
        picture = self._run(request).picture
        if picture is None:
            raise HttpError(404, "the run has no picture")
        async with self._drawing:
            text = await asyncio.to_thread(picture.draw)
        sizes = _SIZES.search(text)
        width, height = map(int, sizes.groups()) if sizes else (1200, 600)
        path = self._documents.add(text, SVG)
        return json_response({"path": path, "name": picture.name, "width": width, "height": height})

    async def _explain(self, request: HttpRequest) -> Response:
        new_request, words = await self._made(request)
        if self._explaining.locked():
            raise HttpError(409, "a tracer is being explained already")
        async with self._explaining:
            text = await asyncio.to_thread(_explained, new_request, words)
        return json_response({"path": self._documents.add(text, HTML), "name": "explain"})

    def _run(self, request: HttpRequest) -> Run:
        run = self._runs.find(_number(request.document().get("run", 0)))
        if run is None:
            raise HttpError(404, "there is no such run")
        return run


def _place(value: Any) -> int | None:
    """Return a place in time: None is the newest."""
    return None if value in ("", None) else WHOLE_RUN if value == "all" else _number(value)


def _number(value: Any) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise HttpError(400, "a run has a number")
    return int(text)


def _explained(request: Any, words: tuple[str, ...]) -> str:
    from pytracer.explain import stages
    from pytracer.explain.html import render
    from pytracer.explain.watch import observe
    from pytracer.features.kernel_facts import RunningKernel
    from pytracer.trace.event_loop import EventLoop

    request = replace(request, duration=_EXPLAIN_SECONDS, interval=None)
    loop = EventLoop()
    try:
        return render(
            stages.page_of(observe(request, RunningKernel, warn=lambda _: None, event_loop=loop), words)
        )
    finally:
        loop.close()


def refused(error: PytracerError | HttpError) -> Response:
    """Return the answer for an error, with its hint."""
    status = error.status if isinstance(error, HttpError) else 400
    return json_response({"error": error.message, "hint": error.hint}, status)
