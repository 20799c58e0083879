"""``pytracer cache``: list and clear the cached images and header trees."""

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
Lists or clears what pytracer caches for later starts: compiled programs (images), kernel types (headers),
numbers of kernel functions (types), and how to walk the stacks of programs (unwind).

  list     show each entry with its kernel, its size and the day of its last use (default)
  clear    remove all entries; later runs compile again what they need"""


def run(words: Sequence[str]) -> int:
    """List or clear the cache, as text or (``-f json``) one object per line."""
    usage = "pytracer cache [list | clear] [-f {table,json}]"
    parser = Parser(prog="pytracer cache", description=_DESCRIPTION, usage=usage)
    parser.add_argument(
        "action", nargs="?", choices=("list", "clear"), default="list", help=argparse.SUPPRESS
    )
    parser.add_argument(
        "-f", "--format", choices=("table", "json"), default="table", help="output format (default: table)"
    )
    parser.add_argument("--debug", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    cache = cache_dir()
    if cache.note:
        print(f"pytracer: warning: {harmless(cache.note)}", file=sys.stderr)
    cached = entries.clear(cache) if options.action == "clear" else list(entries.list_entries(cache))
    write = _format_json if options.format == "json" else _format_table
    for line in write(cache, cached, options.action):
        print(line)
    return 0


def _format_json(cache: CacheDir, cached: list[entries.CacheEntry], action: str) -> Iterator[str]:
    for entry in cached if action == "list" else ():
        record = {
            "kind": entry.kind,
            "name": entry.name,
            "kernel": entry.kernel or None,
            "size": entry.size,
            "used": _format_day(entry.used),
            "path": str(entry.path),
        }
        yield json.dumps(record)
    images, headers, unwind = _count_kinds(cached)
    totals = {
        "images": images,
        "headers": headers,
        "unwind": unwind,
        "size": sum(entry.size for entry in cached),
    }
    yield json.dumps({"kind": "total" if action == "list" else "cleared", **totals, "path": str(cache.path)})


def _format_table(cache: CacheDir, cached: list[entries.CacheEntry], action: str) -> Iterator[str]:
    rows = [("KIND", "NAME", "KERNEL", "SIZE", "LAST USED")]
    rows += [
        (
            entry.kind,
            harmless(entry.name),
            harmless(entry.kernel) or "-",
            _format_bytes(entry.size),
            _format_day(entry.used),
        )
        for entry in cached
    ]
    if cached and action == "list":
        width = [max(len(row[column]) for row in rows) for column in range(5)]
        for kind, name, kernel, size, used in rows:
            yield (
                f"{kind:<{width[0]}}  {name:<{width[1]}}  {kernel:<{width[2]}}  {size:>{width[3]}}  {used}"
            )
        yield ""
    images, headers, unwind = _count_kinds(cached)
    totals = f"{_count_text(images, 'image')}, {_count_text(headers, 'folder of types', 'folders of types')}"
    totals += f", {_count_text(unwind, 'unwind table')}, {_format_bytes(sum(entry.size for entry in cached))}"
    folder = harmless(str(cache.path))
    yield f"{totals} in {folder}" if action == "list" else f"removed {totals} from {folder}"


def _count_kinds(cached: list[entries.CacheEntry]) -> list[int]:
    kinds = "image", "headers", "unwind"
    return [sum(entry.kind == kind for entry in cached) for kind in kinds]


def _count_text(number: int, singular: str, plural: str = "") -> str:
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def _format_bytes(size: int) -> str:
    for unit, step in (("MB", 1 << 20), ("KB", 1 << 10)):
        if size >= step:
            return f"{size / step:.1f} {unit}"
    return f"{size} B"


def _format_day(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().date().isoformat()
