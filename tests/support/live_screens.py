"""Record pictures of live screens in real runs. Textual draws them without a terminal, and exports SVG."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from pytracer.cli import tracer_parser
from pytracer.features.kernel_facts import RunningKernel
from pytracer.model import Item
from pytracer.record import replace
from pytracer.screen.app import LiveApp
from pytracer.spec import registry
from pytracer.trace.event_loop import EventLoop
from pytracer.trace.loop import TraceLoop
from pytracer.view import View, make_view

Until = Callable[[View], bool]
LIMIT = 60.0  # seconds


def picture(
    file: Path,
    words: Sequence[str],
    until: Until,
    keys: Sequence[str] = (),
    size: tuple[int, int] = (118, 24),
) -> None:
    """Run a command line, and export its screen as soon as ``until`` holds of the view, with these keys
    typed."""
    tracer = registry.get(words[0])
    request, options = tracer_parser.parse(tracer, words[1:])
    if not any(output.does.startswith("shows each") for output in tracer.outputs):
        request = replace(request, interval=request.interval or 1.0)
    quiet = os.open(os.devnull, os.O_WRONLY)
    events = EventLoop()
    try:
        with TraceLoop(request, RunningKernel, events=events, output=(quiet, quiet)) as trace:
            view = make_view(trace.schema)
            app = LiveApp(view, tracer, list(words), wide=getattr(options, "wide", False))
            reader = threading.Thread(target=_read, args=(trace, view))
            reader.start()
            try:
                asyncio.run(_draw(app, file, until, keys, size))
            finally:
                trace.stop()
                reader.join()
    finally:
        events.close()
        os.close(quiet)


def _read(trace: TraceLoop, view: View) -> None:
    item: Item
    for item in trace:
        view.add(item)


async def _draw(app: LiveApp, file: Path, until: Until, keys: Sequence[str], size: tuple[int, int]) -> None:
    async with app.run_test(size=size) as pilot:
        for _ in range(int(LIMIT / 0.5)):
            await asyncio.sleep(0.5)
            app.draw()
            if until(app.view):
                break
        else:
            raise SystemExit(f"{app.view.schema.tracer} has shown nothing")
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        await asyncio.sleep(0.5)
        file.write_text(app.export_screenshot())
