"""thpsnoop: pages that are collapsed into huge pages, or not, and why."""

from pytracer.spec import Alternative, Column, GroupBy, Hook, Key, Table, Tracepoint, Tracer, Unit
from pytracer.spec.common import BY_PROCESS
from pytracer.spec.filters import TASK_FILTERS

EVENTS = (("scanned", "mm_khugepaged_scan_pmd"), ("collapsed", "mm_collapse_huge_page"))
FILE_EVENTS = (("scanned_file", "mm_khugepaged_scan_file"), ("collapsed_file", "mm_khugepaged_collapse_file"))
COLLAPSE = Hook(
    "collapse",
    "pages are collapsed into huge pages",
    tuple(
        Alternative(name, tuple(Tracepoint(p, category="huge_memory", event=e) for p, e in events))
        for name, events in (("tracepoint", EVENTS + FILE_EVENTS), ("tracepoint-anonymous", EVENTS))
    ),
)
KEYS = (
    BY_PROCESS,
    Key("memory", (Column("memory", "anonymous, or of files", decode="huge_memory", width=9),)),
    Key(
        "cause",
        (Column("cause", "khugepaged, or the process itself", "is_itself", decode="huge_cause", width=10),),
    ),
    Key("result", (Column("result", "succeed, or why not", decode="scan_result", width=20),)),
)

TRACER = Tracer(
    name="thpsnoop",
    group="memory",
    summary="pages that are collapsed into huge pages, or not and why, by whose memory it is",
    description="Counts attempts to collapse pages into a huge page, by khugepaged or MADV_COLLAPSE.",
    hooks=(COLLAPSE,),
    filters=TASK_FILTERS,
    follow=True,
    options=(GroupBy("by", "the key of a row; several with commas", keys=KEYS, default="pid,cause,result"),),
    outputs=(Table("rows", (Column("attempts", "attempts", unit=Unit.COUNT),), sort="attempts"),),
    examples=(
        ("thpsnoop 10", "who gets huge pages, and why others do not, every ten seconds"),
        ("thpsnoop --by result -p 181 -d 60", "one process for a minute"),
    ),
    notes=(
        "Huge pages that page faults make, and those that are split, raise no event: /proc/vmstat has their",
        "numbers for the machine (thp_fault_alloc, thp_split_page). Shown are collapses (thp_collapse_alloc)",
        "and what was refused. Filters look at whose memory it is, not at khugepaged.",
        "Collapses of files are shown from Linux 6.2 on. Results are the kernel's SCAN_*.",
    ),
)
