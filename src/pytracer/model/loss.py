"""The reasons for which something can be lost. The first ones are counted by the C, in this order."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "map_full": "events without a place: the map of rows was full (--max-rows)",
    "inflight_full": "calls, connections or requests that did not fit into the map of those in flight",
    "follow_full": "descendants of the command that did not fit into the map of followed processes",
    "ring_full": "events that found the ring full (--buffer)",
    "truncated": "strings that are shown without their end",
    "stacks_full": "events without a place for their stack: it was taken by another (--max-stacks)",
    "no_return": "calls of functions that were not seen to return",
    "unread": "values, or goroutines of calls, that could not be read, and are in no histogram or count",
    "negative": "values below 0, which are in no histogram",
    "unwound": "calls that ended without a return: an exception or longjmp left them, or their thread ended",
    "indirect": "calls that ended in an indirect jump to another function, whose return is not seen",
    "loop_cut": "loops of a script that were ended after 1,048,576 turns",
    "compat": "32-bit programs whose system calls were not seen (--hook NAME=raw-tracepoint sees them)",
}
"""Counted in the kernel: the order is that of ``enum pt_loss`` in probes_c/include/loss.h."""

MISSED = "missed"
MISSED_MEANING = "runs of a probe that the kernel skipped because one was already running on that CPU"
"""Counted by the kernel itself, per program (``recursion_misses``, Linux 5.12)."""

UNSHOWN = "unshown"
UNSHOWN_MEANING = "events that were not shown, or not all of their line: Ctrl-C or a signal ended the output"
"""Counted by who shows them."""

RING_FULL = "ring_full"
TRUNCATED = "truncated"
UNWOUND = "unwound"
