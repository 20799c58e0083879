"""The server of the page: a bounded number of clients, each of which gets one answer within a time."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable

from pytracer.errors import PytracerError
from pytracer.web.guard import Guard
from pytracer.web.http import HEAD_MAX, HttpError, HttpRequest, Response, read_request
from pytracer.web.routes import Routes, refused
from pytracer.web.runs import Runs

CLIENTS_MAX, STREAMS_MAX = 32, 8
"""Connections at a time, and those of them whose answers go on."""
WRITE_MAX = 10.0
"""Seconds that a client may take to read what was sent, before it is dropped."""
_BUFFER = 1 << 16  # bytes for a client beyond which it is waited for
_PIECE = 1 << 18


class Server:
    """Serves the page until it is stopped."""

    def __init__(
        self, address: tuple[str, int], runs: Runs, *, allow_commands: bool, log: Callable[[str], None]
    ) -> None:
        """Serve the page; ``log`` gets a line for the user once it is there."""
        self._address, self._runs, self._allow_commands, self._log = address, runs, allow_commands, log
        self._clients = self._streams = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: Routes | None = None

    async def serve(self, on_start: Callable[[Guard], None] = lambda _: None) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP. Raises PytracerError if the address cannot be had."""
        loop, has_stopped = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, has_stopped.set)
        try:
            server = await asyncio.start_server(self._accept, *self._address, limit=HEAD_MAX, backlog=64)
        except OSError as error:
            raise PytracerError(
                f"cannot serve at {self._address[0]}:{self._address[1]}: {error.strerror}"
            ) from error
        async with server:
            guard = Guard(*server.sockets[0].getsockname()[:2])
            self._routes = Routes(guard, self._runs, allow_commands=self._allow_commands)
            on_start(guard)
            await has_stopped.wait()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._clients += 1
        try:
            writer.transport.set_write_buffer_limits(high=_BUFFER)
            # The kernel would keep megabytes for a client that does not read.
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
            if self._clients > CLIENTS_MAX:
                await self._send(writer, refused(HttpError(503, "too many clients")))
            else:
                await self._answer(reader, writer)
        except (OSError, asyncio.TimeoutError):
            pass  # the client has gone, or does not read
        finally:
            self._clients -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert self._routes is not None
        try:
            request = await read_request(reader)
            if request is None:
                return
            if self._routes.is_stream(request):
                await self._send_stream(request, reader, writer)
                return
            response = await self._routes.answer(request)
        except (HttpError, PytracerError) as error:
            response = refused(error)
        except OSError:
            raise
        except Exception as error:  # a defect ends this answer, not the page
            self._log(f"warning: {type(error).__name__}: {error}")
            response = refused(HttpError(500, "this is a defect of pytracer"))
        await self._send(writer, response)

    async def _send(self, writer: asyncio.StreamWriter, response: Response) -> None:
        writer.write(response.head(len(response.body)))
        for first in range(0, len(response.body), _PIECE):
            writer.write(response.body[first : first + _PIECE])
            await asyncio.wait_for(writer.drain(), WRITE_MAX)
        await asyncio.wait_for(self._flush(writer), WRITE_MAX)

    async def _flush(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the client has all of it."""
        writer.transport.set_write_buffer_limits(high=0)
        await writer.drain()

    async def _send_stream(
        self, request: HttpRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        assert self._routes is not None
        if self._streams >= STREAMS_MAX:
            raise HttpError(503, "too many pages are open")
        self._streams += 1
        closed = asyncio.ensure_future(reader.read(1))  # a client has nothing more to say, but that it goes
        closed.add_done_callback(lambda future: future.cancelled() or future.exception())  # however it goes
        try:
            async with contextlib.aclosing(self._routes.stream(request, closed)) as stream:
                head = Response(b"", "text/event-stream").head()
                async for piece in stream:  # before the first one, a refusal is still an answer
                    writer.write(head + piece)
                    head = b""
                    await asyncio.wait_for(writer.drain(), WRITE_MAX)
        finally:
            self._streams -= 1
            closed.cancel()
