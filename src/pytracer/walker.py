"""Stacks of a session: whose they are is found out while it is running, their names when it is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from pytracer.bpf.maps import Map
from pytracer.bpf.stacks import DEPTH, StackMaps
from pytracer.budget import Budget
from pytracer.enrich import Decoder
from pytracer.enrich.shape import Moment, Ranking
from pytracer.enrich.stacks import StackNames, shape_stacks
from pytracer.kernel.policy import sysctl
from pytracer.model import Schema, Stacks
from pytracer.model.reduce import Rows

_AGAIN = 1.0  # seconds between two looks at one that runs: it may have loaded more. While it is young, fewer


class Walker:
    """What a session needs for its stacks. ``patience`` are the seconds between two calls of ``notice``: of a
    process that lives for less nothing is known."""

    patience = 0.05

    def __init__(
        self,
        maps: Mapping[str, Map],
        warn: Callable[[str], None],
        budget: Budget,
        *,
        annotate: bool,
        probed: bool,
    ) -> None:
        """``maps`` are those of the program; ``warn`` hears what is missing; ``budget`` is spent on names of
        programs. ``annotate`` and ``probed`` as
        for :class:`~pytracer.enrich.stacks.StackNames`."""
        self._warn = warn
        self._warned = False
        self._maps = StackMaps(maps)
        self._names = StackNames(self._maps.frames, DEPTH, annotate=annotate, probed=probed, budget=budget)
        # Of each process: samples at the last look, when the next is due, and what is then waited.
        self._seen: dict[tuple[int, int], tuple[int, float, float]] = {}

    def expect(self, pid: int) -> None:
        """Look at a process before anything is known of it: it may end soon after."""
        self._names.user.notice(pid)

    def notice(self) -> None:
        """Look at the processes that were sampled, as long as they live."""
        now = time.monotonic()
        for process, samples in self._maps.images().items():
            before, due, pause = self._seen.get(process, (0, 0.0, self.patience))
            if process[1] and samples > before and now >= due:
                self._seen[process] = samples, now + pause, min(2 * pause, _AGAIN)
                self._names.user.notice(process[0])

    def before_detaching(self) -> None:
        """Learn of what is there only as long as programs are attached."""
        self._names.before_detaching()

    def read(
        self, rows: Rows, schema: Schema, ranking: Ranking, decoders: Mapping[str, Decoder], moment: Moment
    ) -> Stacks:
        """The item of these rows."""
        item = shape_stacks(rows, schema, ranking, decoders, moment, self._names)
        if not self._warned and any(item.columns["kernel"]) and self._names.kernel.hidden:
            self._warned = True
            restrict = sysctl("kernel.kptr_restrict")
            self._warn(
                "the kernel does not say where its functions are, addresses are shown: "
                f"kernel.kptr_restrict={'?' if restrict is None else restrict}, "
                "and what is not root needs CAP_SYSLOG"
            )
        return item

    def close(self) -> None:
        """Let go of files."""
        self._names.user.close()
