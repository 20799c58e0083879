"""Drive a headless Chromium through its debugging pipe."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LIMIT = 60.0


class Browser:
    """A tab. Messages are JSON that ends with a NUL, from its descriptor 4 and to 3."""

    def __init__(self, read: int, write: int) -> None:
        self._read, self._write = read, write
        self._numbers = itertools.count(1)
        self._waiting = b""
        self._session = ""
        self.events: list[dict[str, Any]] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._ask(f"{domain}.enable")

    def _ask(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + LIMIT
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._read], [], [], max(end - time.monotonic(), 0))
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, "the browser has gone"
            self._waiting += part
        first, _, self._waiting = self._waiting.partition(b"\0")
        return json.loads(first)

    def open(self, url: str) -> None:
        """Open an address."""
        self._ask("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression; promises are awaited."""
        answer = self._ask(
            "Runtime.evaluate",
            expression=script,
            returnByValue=True,
            awaitPromise=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, script: str) -> Any:
        """Wait until an expression is true; return its value."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            # What a page that still loads does not have yet is an error.
            if value := self.evaluate(f"(() => {{ try {{ return {script}; }} catch {{ return null; }} }})()"):
                return value
            time.sleep(0.1)
        raise AssertionError(f"{script} did not become true")

    def resize(self, width: int, height: int, scheme: str = "light") -> None:
        """Set the size of the window, and whether the user prefers light or dark colours."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._ask("Emulation.setEmulatedMedia", features=features)

    def press(self, key: str) -> None:
        """Press a key that types a character."""
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=key)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, file: Path) -> None:
        """Write a screenshot (PNG) of the window."""
        file.write_bytes(base64.b64decode(self._ask("Page.captureScreenshot")["data"]))

    def complaints(self) -> list[str]:
        """Return the console's messages: errors, and violations of a page's policy."""
        self.evaluate("1")
        texts = [
            event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"
        ]
        thrown = [event for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        return texts + [str(event["params"]["exceptionDetails"]) for event in thrown]

    def warnings(self) -> list[str]:
        """Return the warnings that scripts wrote to the console."""
        self.evaluate("1")
        calls = [event["params"] for event in self.events if event["method"] == "Runtime.consoleAPICalled"]
        return [str(call["args"]) for call in calls if call["type"] == "warning"]

    def requested(self) -> list[str]:
        """Return the addresses that were requested."""
        requests = [event for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in requests]


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Start Chromium; ``folder`` is for its profile. It reaches this machine alone."""
    program = shutil.which("chromium")
    assert program, "apt-get install chromium"
    (their_read, write), (read, their_write) = os.pipe(), os.pipe()
    command = [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--remote-debugging-pipe",
        "--host-resolver-rules=MAP rebound.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder / 'chromium'}",
    ]  # fmt: skip
    script = f'exec "$@" 3<&{their_read} 4>&{their_write}'
    process = subprocess.Popen(
        ["bash", "-c", script, "chromium", *command],
        pass_fds=(their_read, their_write),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)},
    )
    os.close(their_read)
    os.close(their_write)
    try:
        yield Browser(read, write)
    finally:
        process.terminate()
        process.wait(LIMIT)
        os.close(read)
        os.close(write)
