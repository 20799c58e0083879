"""A tree of calls made of stacks, which flame graphs draw."""

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
        for index, count in enumerate(counts):
            self.counts[index] += count


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
        for index, count in enumerate(counts):
            node.own[index] += count
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
    nodes = list(_walk(root))
    if len(nodes) <= limit:
        return nodes, 0
    widest = sorted(range(len(nodes)), key=lambda index: (-nodes[index].node.counts[-1], nodes[index].depth))[
        :limit
    ]
    return [nodes[index] for index in sorted(widest)], len(nodes) - limit


def _walk(root: CallNode) -> Iterator[Placed]:
    pending = [Placed(root, 0, 0)]
    while pending:
        placed_node = pending.pop()
        yield placed_node
        begin = placed_node.begin
        for _, node in sorted(
            placed_node.node.calls.items(), key=lambda call: (call[0][0], call[0][1].value)
        ):
            if node.counts[-1] > 0:
                pending.append(Placed(node, begin, placed_node.depth + 1))
                begin += node.counts[-1]
