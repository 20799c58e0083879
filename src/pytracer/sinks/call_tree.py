"""Stacks as a tree of calls: what flame graphs draw."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pytracer.sinks.stack_samples import Frame, Part

NODES_MAX = 20_000


class CallNode:
    """A frame with its callers: ``counts`` include what it calls, ``own`` does not.

    There is one count, or two that are compared: before and after.
    """

    __slots__ = ("calls", "counts", "name", "own", "part")

    def __init__(self, frame: Frame, counters: int) -> None:
        """Start at 0."""
        self.name, self.part = frame
        self.counts, self.own = [0] * counters, [0] * counters
        self.calls: dict[Frame, CallNode] = {}

    def add(self, counts: Sequence[int]) -> None:
        """Add to the counts."""
        for at, count in enumerate(counts):
            self.counts[at] += count


def call_tree(samples: Iterable[tuple[Sequence[Frame], Sequence[int]]], counters: int = 1) -> CallNode:
    """Merge stacks, outermost frame first, from their outermost frames on. The root is called ``all``."""
    root = CallNode(("all", Part.NAME), counters)
    for stack, counts in samples:
        node = root
        node.add(counts)
        for frame in stack:
            if frame not in node.calls:
                node.calls[frame] = CallNode(frame, counters)
            node = node.calls[frame]
            node.add(counts)
        for at, count in enumerate(counts):
            node.own[at] += count
    return root


class Placed:
    """A node with its place in a picture: where it begins, in counts, and how deep it is."""

    __slots__ = ("begin", "depth", "node")

    def __init__(self, node: CallNode, begin: int, depth: int) -> None:
        """Place a node."""
        self.node, self.begin, self.depth = node, begin, depth


def place(root: CallNode, limit: int = NODES_MAX) -> tuple[list[Placed], int]:
    """Place the nodes that are not empty, as wide as their last count, in alphabetical order.

    Returns them, callers first, and the number of those that are left out: of more than ``limit``, the
    narrowest.
    """
    placed = list(_walk(root))
    if len(placed) <= limit:
        return placed, 0
    widest = sorted(range(len(placed)), key=lambda at: (-placed[at].node.counts[-1], placed[at].depth))[
        :limit
    ]
    return [placed[at] for at in sorted(widest)], len(placed) - limit


def _walk(root: CallNode) -> Iterator[Placed]:
    waiting = [Placed(root, 0, 0)]
    while waiting:
        placed = waiting.pop()
        yield placed
        begin = placed.begin
        for _, node in sorted(placed.node.calls.items(), key=lambda call: (call[0][0], call[0][1].value)):
            if node.counts[-1] > 0:
                waiting.append(Placed(node, begin, placed.depth + 1))
                begin += node.counts[-1]
