"""A file by HTTP, within a time that holds for all of it: names, connections, headers and the last byte."""

from __future__ import annotations

import queue
import threading
from http.client import HTTPException
from typing import IO
from urllib import request
from urllib.error import HTTPError

from pytracer.signal_mask import signals_blocked

_PART = 1 << 20  # bytes
_Outcome = bool | Exception


def fetch(address: str, file: IO[bytes], *, seconds: float, limit: int) -> bool:
    """Download an http or https address to ``file``, all of it. Returns whether the server has it. At most
    ``limit`` bytes are accepted.

    Raises OSError if the download did not finish within ``seconds``, was cut off, or is no HTTP. After a
    timeout the thread ends once ``file`` is closed, and with the process at the latest.
    """
    outcome = queue.SimpleQueue[_Outcome]()
    arguments = (address, file, seconds, limit, outcome)
    with signals_blocked():
        threading.Thread(target=_report, args=arguments, daemon=True).start()
    try:
        result = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"not within {seconds:g} s") from None
    if isinstance(result, Exception):
        raise OSError(str(result)) from result
    return result


def _report(
    address: str, file: IO[bytes], seconds: float, limit: int, outcome: queue.SimpleQueue[_Outcome]
) -> None:
    try:
        outcome.put(_copy(address, file, seconds, limit))
    except HTTPError as error:  # it has no such file
        error.close()
        outcome.put(False)
    except (OSError, HTTPException, ValueError, OverflowError) as error:  # a port too large overflows
        outcome.put(error)


def _copy(address: str, file: IO[bytes], seconds: float, limit: int) -> bool:
    with _make_opener().open(address, timeout=seconds) as answer:
        content_length = answer.headers.get("Content-Length")
        if content_length is not None and int(content_length) > limit:
            return False
        size = 0
        while part := answer.read1(_PART):
            size += len(part)
            if size > limit:
                return False
            file.write(part)
    if content_length is not None and size != int(content_length):
        raise HTTPException(f"{size} bytes of {content_length}")
    return size > 0


def _make_opener() -> request.OpenerDirector:
    """Make an opener for HTTP alone, also after redirects: urllib's default follows them to ftp, too."""
    opener = request.OpenerDirector()
    proxies = {kind: url for kind, url in request.getproxies().items() if kind in ("http", "https")}
    for handler in (
        request.ProxyHandler(proxies),
        request.HTTPHandler(),
        request.HTTPSHandler(),
        request.HTTPRedirectHandler(),
        request.HTTPDefaultErrorHandler(),
        request.HTTPErrorProcessor(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
