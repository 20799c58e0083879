"""cachetop: how processes use the page cache."""

from pytracer.spec import Tracer
from pytracer.spec.file_work import CACHE, CACHE_NOTES, CACHE_OUTPUT, by_cache_key
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="cachetop",
    group="files",
    summary="page cache by process: pages that its reads found there, or did not",
    description="Counts by process what cachestat counts: reads that find pages in the page cache or not.",
    hooks=CACHE,
    filters=TASK_FILTERS,
    follow=True,
    options=(by_cache_key("pid"),),
    outputs=(CACHE_OUTPUT,),
    examples=(
        ("cachetop", "every process, a table a second"),
        ("cachetop --by file --sort misses -d 10", "the files that were missing most, for ten seconds"),
    ),
    notes=CACHE_NOTES,
    source="cachestat.c",
)
