"""Run traces on a fake session, which yields batches without a kernel."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import numpy as np

from pytracer.model import Batch

DTYPE = np.dtype([("ns", "u8"), ("serial", "u8")])


def batch(rows: int = 1) -> Batch:
    records = np.zeros(rows, dtype=DTYPE)
    return Batch(("serial",), records, records["ns"].astype("i8"), lambda name, rows: rows[name])


class FakeSession:
    """A session that yields the batches of ``source`` once it is ``ready``."""

    def __init__(self, plan, **_: object) -> None:
        self.plan = plan
        self.collector = self
        self.poll_interval = None
        self.has_pending = False
        self.is_finished, self.exit_code = False, 0
        self.loaded = SimpleNamespace(module=SimpleNamespace(maps={}))
        self.started = time.monotonic()
        self.detached = self.closed = 0
        self.ready, self._tell = os.pipe()
        self.lost = iter(self.losing)
        if self.awake:
            os.write(self._tell, b"x")

    source = staticmethod(lambda: iter(()))
    awake = False
    rest = 0
    unread_bytes = 0
    size = 1  # of each batch of the rest
    losing: tuple = ()

    @property
    def fileno(self) -> int:
        return self.ready

    def batches(self):
        yield from self.source()

    def read_interval(self, *, last: bool):
        if last:
            assert self.detached
            while self.rest:
                self.rest -= 1
                yield batch(self.size)

    def read_summary(self):
        return iter(())

    def discard(self) -> int:
        return sum(len(item) for item in self.read_interval(last=True))

    def losses(self):
        yield from next(self.lost, ())

    def poll(self) -> None:
        pass

    def drain_rows(self) -> None:
        pass

    def check_links(self) -> bool:
        return True

    def detach(self) -> None:
        self.detached += 1

    def close(self) -> None:
        self.closed += 1
        os.close(self.ready)
        os.close(self._tell)
