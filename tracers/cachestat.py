"""cachestat: pages that reads find in the page cache, and pages that they do not."""

from pytracer.spec import Tracer
from pytracer.spec.file_work import CACHE, CACHE_NOTES, CACHE_OUTPUT, by_cache_key
from pytracer.spec.filters import TASK_FILTERS

TRACER = Tracer(
    name="cachestat",
    group="files",
    summary="page cache: pages that reads found there, or did not; pages added and dirtied",
    description="Counts pages that reads find in the page cache or not, and pages added to it and dirtied.",
    hooks=CACHE,
    filters=TASK_FILTERS,
    follow=True,
    options=(by_cache_key(""),),
    outputs=(CACHE_OUTPUT,),
    examples=(
        ("cachestat", "the whole machine, a line a second"),
        ("cachestat --by pid,file 5", "by process and file, every five seconds"),
        ("cachestat -- make", "a command and its descendants"),
    ),
    notes=CACHE_NOTES,
)
