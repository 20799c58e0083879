"""Run one command in one kernel: boot, pass on output, enforce time limits, report the result."""

from __future__ import annotations

import fcntl
import os
import selectors
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from lab.command_output import Marked, new_mark, writer
from lab.console import Verdict, judge, last_lines, readable
from lab.errors import FAILED, say
from lab.fetch import locked
from lab.host import KVM, TCG, remember_kvm_fails
from lab.initramfs import Job
from lab.kernel_image import KernelImage
from lab.machine import KVM_FAILED, Machine, Shape

RETRIES = 3
CONSOLE_KEPT = 1 << 20
DRAIN = 20.0  # seconds for the last of the output, after the command ended


@dataclass
class TimeLimits:
    """Time limits in seconds."""

    boot: float = 180
    command: float = 600


@dataclass
class Listener:
    """The data received from the VM so far."""

    mark: str
    emit: dict[str, Callable[[bytes], None]]
    started: bool = False
    status: int | None = None
    failure: str = ""
    console: bytearray = field(default_factory=bytearray)
    _line: bytes = b""

    def __post_init__(self) -> None:
        self.streams = {name: Marked(self.mark, self.emit[name]) for name in ("out", "err")}

    def feed(self, channel: str, data: bytes) -> None:
        """Process data that was received on a channel."""
        if channel in self.streams:
            self.streams[channel].feed(data)
        elif channel == "console":
            self.console += data
            del self.console[:-CONSOLE_KEPT]
            if "console" in self.emit:
                self.emit["console"](data)
        else:
            *lines, self._line = (self._line + data).split(b"\n")
            for line in lines:
                self._control(line.decode("utf-8", "replace").strip())

    def _control(self, line: str) -> None:
        word, _, rest = line.partition(" ")
        if word == "start":
            self.started = True
        elif word == "exit" and rest.isdigit():
            self.status = int(rest)
        elif word == "fail":
            self.failure = rest

    @property
    def complete(self) -> bool:
        """True once the command's status and all of its output have arrived."""
        return self.status is not None and all(stream.ended for stream in self.streams.values())


def listen(machine: Machine, listener: Listener, limits: TimeLimits) -> float:
    """Read until the VM ended, printed all, or ran out of time. Returns the limit that was exceeded, if
    any."""
    deadline, limit = time.monotonic() + limits.boot, limits.boot
    seen_start = seen_exit = False
    with selectors.DefaultSelector() as selector:
        for name, pipe in machine.pipes.items():
            selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map() and not listener.complete and not listener.failure:
            left = deadline - time.monotonic()
            if left <= 0:
                return 0 if seen_exit else limit
            for key, _ in selector.select(left):
                data = os.read(key.fd, 1 << 16)
                if data:
                    listener.feed(key.data, data)
                else:
                    selector.unregister(key.fd)
            if listener.started and not seen_start:
                seen_start, limit = True, limits.command
                deadline = time.monotonic() + limit
            if listener.status is not None and not seen_exit:
                seen_exit, deadline = True, time.monotonic() + DRAIN
    return 0


def run_once(
    image: KernelImage, shape: Shape, job: Job, limits: TimeLimits, emit: dict[str, Callable[[bytes], None]]
) -> tuple[Verdict, str, str]:
    """Boot once; the verdict, the console, and what QEMU said."""
    listener = Listener(new_mark(), emit)
    with Machine(image, shape, job, listener.mark) as machine:
        out_of_time = listen(machine, listener, limits)
        complaints = machine.complaints()
    for stream in listener.streams.values():
        stream.flush()
    text = readable(bytes(listener.console))
    verdict = judge(
        text,
        status=listener.status,
        has_started=listener.started,
        failure=listener.failure,
        out_of_time=out_of_time,
    )
    return verdict, text, complaints


def run(image: KernelImage, shape: Shape, job: Job, limits: TimeLimits, console: Path | None = None) -> int:
    """Boot and run; boot again if the kernel crashed before the command started."""
    with ExitStack() as stack:
        space = job.user_space
        for path in (image.tree, *((space.root, space.environment) if space else ())):
            if path is not None:
                stack.enter_context(locked(path, fcntl.LOCK_SH))
        emit = {"out": writer(1), "err": writer(2)}
        if console is not None:
            emit["console"] = writer(stack.enter_context(console.open("wb")).fileno())
        for attempt in range(RETRIES + 1):
            verdict, text, complaints = run_once(image, shape, job, limits, emit)
            if shape.accelerator is KVM and KVM_FAILED in complaints:
                say(f"{image.release}: KVM failed within the kernel; emulating from now on")
                remember_kvm_fails()
                shape = replace(shape, accelerator=TCG)
                continue
            if not verdict.retry or attempt == RETRIES:
                break
            say(f"{image.release}: {verdict.message}; booting again ({attempt + 1} of {RETRIES})")
    if verdict.message:
        say(f"{image.release}: {verdict.message}")
    if verdict.show_console:
        # What QEMU said matters only where the kernel did not: ending it is no news.
        is_lost = verdict.status == FAILED and complaints
        last_output = last_lines(f"{text}\n{complaints}" if is_lost else text)
        say(
            f"the console's last lines:\n{last_output}" if last_output else "there was nothing on the console"
        )
    return verdict.status
