"""Limits on the work that other users can cause by the files that pytracer reads for names.

A perf map, an ELF file, debug information, a process with 65,000 mappings, a tree of 100,000 cgroups: any
user can make one, and root reads it. Reading is charged to the user who caused it, and to all users
together; root and the user that pytracer runs as have a limit of their own, which others cannot use up.
Over a limit, names are missing, never samples, and a warning names the user once.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from pytracer.record import record
from pytracer.text import harmless


@record
class Limits:
    """The limits on resources.

    ``cpu`` is in seconds of our own CPU time, and grows by ``share`` of the run's time, so that a run of
    days still reads what is new; ``wait`` is in seconds of waiting for servers, ``memory`` in bytes that
    are kept, ``entries`` are symbols, lines of perf maps, mappings, folders.
    """

    cpu: float
    share: float
    wait: float
    memory: int
    entries: int


USER = Limits(cpu=5.0, share=0.02, wait=10.0, memory=512 << 20, entries=4_000_000)
"""For each user. A browser with all its symbols takes 1 s, 250 MB and a million entries."""
RUN = Limits(cpu=15.0, share=0.06, wait=20.0, memory=1 << 30, entries=8_000_000)
"""For all users together, and for root (and whom pytracer runs as) apart from them."""

_PLURAL = {
    "cpu": "{limit:g} seconds of computing",
    "wait": "{limit:g} seconds of waiting for servers",
    "memory": "{limit:.0f} MiB of memory",
    "entries": "{limit:,.0f} entries",
}


class OverBudgetError(Exception):
    """A limit is reached; the caller continues without the data."""


class Budget:
    """The resources that one run spends on input that other users control."""

    def __init__(
        self,
        *,
        user: Limits = USER,
        run: Limits = RUN,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        """Start with nothing spent. ``clock`` and ``cpu`` return seconds."""
        self._user, self._run = user, run
        self._clock, self.cpu = clock, cpu
        self._begun = clock()
        self._spent: dict[int, dict[str, float]] = {}
        self._spent_by_others: dict[str, float] = {}
        self._own = {0, os.geteuid()}
        self._warned = set[tuple[int, str]]()
        self._untold: list[str] = []
        self._warn: Callable[[str], None] | None = None

    def listen(self, warn: Callable[[str], None]) -> None:
        """Call ``warn`` for each limit that is reached; at once for those that already were."""
        self._warn = warn
        while self._untold:
            warn(self._untold.pop(0))

    def account(self, uid: int, label: str) -> Account:
        """Return an account of a user. ``label`` is the process or file that is read, as shown to the
        user."""
        return Account(self, uid, label)

    def left(self, uid: int, resource: str) -> float:
        """Return how much of a resource (a field of Limits) a user may still spend; below 0 if overdrawn."""
        own_spending = self._spent.get(uid, {}).get(resource, 0)
        if uid in self._own:
            return self._limit(self._run, resource) - own_spending
        available = self._limit(self._run, resource) - self._spent_by_others.get(resource, 0)
        return min(self._limit(self._user, resource) - own_spending, available)

    def spend(self, uid: int, resource: str, amount: float) -> None:
        """Charge an amount, allowed or not; a negative amount is a refund."""
        spent = self._spent.setdefault(uid, {})
        spent[resource] = spent.get(resource, 0) + amount
        if uid not in self._own:
            self._spent_by_others[resource] = self._spent_by_others.get(resource, 0) + amount

    def say(self, key: tuple[int, str], message: str) -> None:
        """Warn the user, once for each key."""
        if key in self._warned:
            return
        self._warned.add(key)
        if self._warn is None:
            self._untold.append(message)
        else:
            self._warn(message)

    def refuse(self, uid: int, resource: str, label: str, amount: float = 0) -> OverBudgetError:
        """Report once that a user has reached a limit, by a request for this much more. Returns the error to
        raise."""
        own_spending = self._spent.get(uid, {}).get(resource, 0)
        excess = own_spending + amount - self._limit(self._user, resource)
        of_user = uid in self._own or excess > 0 or (excess == 0 and not amount)
        limits = self._run if uid in self._own or not of_user else self._user
        limit = getattr(limits, resource) / ((1 << 20) if resource == "memory" else 1)
        text = _PLURAL[resource].format(limit=limit)
        scope = f"for user {user_name(uid)}" if of_user else "for all users but root"
        message = f"{label} exceeds what is spent {scope}: {text}; names are missing, nothing else is"
        self.say(((uid if of_user else -1), resource), message)
        return OverBudgetError(message)

    def _limit(self, limits: Limits, resource: str) -> float:
        grown = limits.share * (self._clock() - self._begun) if resource == "cpu" else 0.0
        return float(getattr(limits, resource)) + grown


class Account:
    """The budget's account for one process or file."""

    def __init__(self, budget: Budget, uid: int, label: str) -> None:
        self._budget = budget
        self.uid = uid
        self._label = label
        self._since = -1.0

    def charge(self, *, entries: int = 0, memory: int = 0, wait: float = 0) -> None:
        """Charge an upcoming read, or time that was waited. Raises OverBudgetError: then nothing is
        charged except the time waited."""
        for resource, amount in (("entries", entries), ("memory", memory)):
            if amount and self._budget.left(self.uid, resource) < amount:
                raise self._budget.refuse(self.uid, resource, self._label, amount)
        self._budget.spend(self.uid, "entries", entries)
        self._budget.spend(self.uid, "memory", memory)
        if wait:
            self._budget.spend(self.uid, "wait", wait)
            if self.left("wait") <= 0:
                raise self._budget.refuse(self.uid, "wait", self._label)

    def refund(self, *, entries: int = 0, memory: int = 0) -> None:
        """Refund memory that was freed."""
        self._budget.spend(self.uid, "entries", -entries)
        self._budget.spend(self.uid, "memory", -memory)

    @contextlib.contextmanager
    def reserved(self, *, entries: int = 0, memory: int = 0) -> Iterator[None]:
        """Charge for the length of the block. Raises OverBudgetError."""
        self.charge(entries=entries, memory=memory)
        try:
            yield
        finally:
            self.refund(entries=entries, memory=memory)

    def say(self, topic: str, text: str) -> None:
        """Warn about something else that is missing from this process or file; once for each user."""
        self._budget.say((self.uid, topic), f"{self._label} of user {user_name(self.uid)} {text}")

    def left(self, resource: str) -> float:
        """Return how much of a resource (a field of Limits) may still be spent."""
        return self._budget.left(self.uid, resource)

    @contextlib.contextmanager
    def timed(self) -> Iterator[None]:
        """Charge the CPU time of a block. Raises OverBudgetError if none is left."""
        if self._since >= 0:  # within another block of the same account
            yield
            return
        if self.left("cpu") <= 0:
            raise self._budget.refuse(self.uid, "cpu", self._label)
        self._since = self._budget.cpu()
        try:
            yield
        finally:
            self._budget.spend(self.uid, "cpu", self._budget.cpu() - self._since)
            self._since = -1.0

    @contextlib.contextmanager
    def children(self) -> Iterator[None]:
        """Charge the CPU time of processes that the block starts and waits for. Raises OverBudgetError if
        none is left."""
        self.check()
        start = os.times()
        try:
            yield
        finally:
            end = os.times()
            spent = end.children_user + end.children_system
            self._budget.spend(self.uid, "cpu", spent - start.children_user - start.children_system)

    def check(self) -> None:
        """Raise OverBudgetError if the time is up; called within ``timed``, in each loop that others
        lengthen."""
        now = self._budget.cpu()
        if self._since >= 0:
            self._budget.spend(self.uid, "cpu", now - self._since)
            self._since = now
        if self.left("cpu") <= 0:
            raise self._budget.refuse(self.uid, "cpu", self._label)


def of_file(descriptor: int) -> Account:
    """Return the account of an open file's owner, in the budget of the run being prepared."""
    path = Path(f"/proc/self/fd/{descriptor}").readlink()
    return current().account(os.fstat(descriptor).st_uid, f"file {harmless(str(path))}")


_current: Budget | None = None


def current() -> Budget:
    """Return the budget of the run being prepared, for reads before there is a session."""
    global _current
    if _current is None:
        _current = Budget()
    return _current


def claim(warn: Callable[[str], None]) -> Budget:
    """Take over the budget of the prepared run. Later preparations are charged to another run."""
    global _current
    budget, _current = current(), None
    budget.listen(warn)
    return budget


def user_name(uid: int) -> str:
    """Return a user's name; the number if it has none."""
    import pwd

    try:
        return harmless(pwd.getpwuid(uid).pw_name)
    except (KeyError, OSError):
        return str(uid)
