"""The filters that mean the same for every tracer that looks at tasks."""

from __future__ import annotations

from enum import Enum


class Filter(Enum):
    """A common filter: its value names the option, the macro ``PT_FILTER_<NAME>`` and the map."""

    PID = "pid"
    TID = "tid"
    COMM = "comm"
    UID = "uid"
    CGROUP = "cgroup"
    NETNS = "netns"
    MNTNS = "mntns"

    @property
    def define(self) -> str:
        """The macro that compiles this filter into the probe."""
        return "PT_FILTER_" + self.name

    @property
    def map(self) -> str:
        """The BPF map that holds the values let through."""
        return f"pt_{self.value}s"


PROCESS_FILTERS: tuple[Filter, ...] = tuple(which for which in Filter if which is not Filter.TID)
TASK_FILTERS: tuple[Filter, ...] = tuple(Filter)
