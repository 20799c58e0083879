"""The keys of the live screen: the line at its end, and the help."""

from __future__ import annotations

from pytracer.screen.lines import KEY, PLAIN, Part

_KEYS = (
    ("space", "pause"),
    ("</>", "sort"),
    ("/", "filter"),
    ("enter", "row"),
    ("s", "stacks"),
    ("e", "events"),
    ("p", "process"),
    ("a", "whole run"),
    ("c", "command"),
    ("w", "save"),
    ("?", "help"),
    ("q", "quit"),
)
HELP = """\
up down  page up  page down  home end   move (also j k g G)
h l                                     columns further left, right
space                                   pause; what comes in meanwhile is kept. Again: go on
left right                              an interval back, forward
tab                                     of a script: what it prints, and its maps
a                                       all intervals so far, added up; again: the newest
<  >   r                                sort by the column before, the next; reverse the order
/                                       filter: pid=7 comm~ssh latency_ns>10ms, words; empty: all rows
enter                                   everything about the row
s  e  p                                 look closer at the row: its stacks, its events, its process
c                                       the command line for what is on the screen
w                                       write what is on the screen to a file: .csv .json .md .yaml .txt
q  ctrl-c                               quit"""


def fitting(width: int) -> list[Part]:
    """Return the keys that there is room for, help and quit among them."""
    first, last = list(_KEYS[:-2]), _KEYS[-2:]
    while first and sum(len(key) + len(text) + 3 for key, text in (*first, *last)) - 2 > width:
        first.pop()
    return [part for key, text in (*first, *last) for part in ((key, KEY), (f" {text}  ", PLAIN))]
