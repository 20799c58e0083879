"""``pytracer cache``: show and clear what is cached for later starts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime

from pytracer.bpf.cache import entries
from pytracer.bpf.cache.directory import CacheDir, cache_dir
from pytracer.cli.arguments import Parser
from pytracer.text import harmless

_DESCRIPTION = """\
What pytracer keeps for the next start: compiled programs (images) and kernel types (headers).

  list     show what there is: for which kernel, how big, when it was last in use (default)
  clear    drop all of it; what is needed is made again"""


def run(words: Sequence[str]) -> int:
    """List or clear, as text or (``-f json``) one object a line."""
    usage = "pytracer cache [list | clear] [-f {table,json}]"
    parser = Parser(prog="pytracer cache", description=_DESCRIPTION, usage=usage)
    parser.add_argument(
        "action", nargs="?", choices=("list", "clear"), default="list", help=argparse.SUPPRESS
    )
    parser.add_argument("-f", "--format", choices=("table", "json"), default="table", help="how to show it")
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(words)
    cache = cache_dir()
    if cache.note:
        print(f"pytracer: warning: {harmless(cache.note)}", file=sys.stderr)
    found = entries.clear(cache) if given.action == "clear" else list(entries.list_entries(cache))
    write = _json if given.format == "json" else _table
    for line in write(cache, found, given.action):
        print(line)
    return 0


def _json(cache: CacheDir, found: list[entries.CacheEntry], action: str) -> Iterator[str]:
    for one in found if action == "list" else ():
        record = {
            "kind": one.kind,
            "name": one.name,
            "kernel": one.kernel or None,
            "size": one.size,
            "used": _day(one.used),
            "path": str(one.path),
        }
        yield json.dumps(record)
    images = sum(one.kind == "image" for one in found)
    totals = {"images": images, "headers": len(found) - images, "size": sum(one.size for one in found)}
    yield json.dumps({"kind": "total" if action == "list" else "cleared", **totals, "path": str(cache.path)})


def _table(cache: CacheDir, found: list[entries.CacheEntry], action: str) -> Iterator[str]:
    rows = [("KIND", "NAME", "KERNEL", "SIZE", "LAST USED")]
    rows += [
        (one.kind, harmless(one.name), harmless(one.kernel) or "-", _bytes(one.size), _day(one.used))
        for one in found
    ]
    if found and action == "list":
        width = [max(len(row[column]) for row in rows) for column in range(5)]
        for kind, name, kernel, size, used in rows:
            yield (
                f"{kind:<{width[0]}}  {name:<{width[1]}}  {kernel:<{width[2]}}  {size:>{width[3]}}  {used}"
            )
        yield ""
    images = sum(one.kind == "image" for one in found)
    totals = f"{_some(images, 'image')}, {_some(len(found) - images, 'folder of types', 'folders of types')}"
    totals += f", {_bytes(sum(one.size for one in found))}"
    where = harmless(str(cache.path))
    yield f"{totals} in {where}" if action == "list" else f"dropped {totals} from {where}"


def _some(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"


def _bytes(size: int) -> str:
    for unit, step in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


def _day(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().date().isoformat()
