"""Make the page of an observed tracer: one stage for each step from C to cost."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from pytracer.arrays import np
from pytracer.bpf.compile.source import read_source
from pytracer.bpf.load.verifier import VerifierStats, parse_stats
from pytracer.explain import listings
from pytracer.explain.page import Block, Fold, Grid, Page, PageStage, Paragraph, Raw, SideBySide
from pytracer.explain.watch import Observation, WatchedMap, WatchedProgram, total
from pytracer.features.table.map_types import MAP_NAMES
from pytracer.features.table.program_types import PROGRAM_NAMES
from pytracer.plan import AlternativeReport, Plan
from pytracer.prog.disassembly import KernelReferenceFormatter
from pytracer.symbols.kernel import KernelSymbols

NAMES = ("c", "plan", "bytecode", "verifier", "native", "maps", "attachment", "cost")
_LOG_SHOWN = 1 << 18  # characters of a log: of a longer one, the middle is left out
_COPIES = "{} programs that differ in the number of their target; one of them is shown"


def page_of(observation: Observation, words: Sequence[str]) -> Page:
    """Make the page of ``pytracer WORDS``."""
    symbols = KernelSymbols()
    names = KernelReferenceFormatter({table.info.id: table.name for table in observation.tables}, symbols)
    titles = dict(zip(observation.programs, _make_titles(observation.programs), strict=True))
    code = {
        watched: listings.bytecode(watched.info, titles[watched], names) for watched in observation.programs
    }
    facts = (
        ("kernel", f"{os.uname().release} ({os.uname().machine})"),
        ("programs", str(sum(watched.copies for watched in observation.programs))),
        ("instructions", str(sum(watched.info.xlated_size // 8 for watched in observation.programs))),
        ("native code", f"{sum(watched.info.jited_size for watched in observation.programs)} bytes"),
        ("watched for", f"{observation.seconds:.1f} s"),
    )
    tracer = observation.plan.request.tracer
    stages = (
        _make_c_stage(observation.plan, list(code.values())),
        plan_stage(observation.plan, observation.alternatives),
        _make_bytecode_stage(code),
        _make_verifier_stage(observation, titles),
        _make_native_stage(observation, titles, symbols),
        _make_maps_stage(observation.tables),
        _make_attachment_stage(observation),
        _make_cost_stage(observation, titles),
    )
    return Page(f"{tracer.name}: {tracer.summary}", f"pytracer {shlex.join(words)}", facts, stages)


def _make_titles(programs: Sequence[WatchedProgram]) -> Iterator[str]:
    """Yield a unique title for each program."""
    used_titles = dict[str, int]()
    for watched in programs:
        name = watched.load.program
        used_titles[name] = used_titles.get(name, 0) + 1
        yield name if used_titles[name] == 1 else f"{name} ({used_titles[name]})"


def _make_c_stage(plan: Plan, code: Sequence[SideBySide]) -> PageStage:
    lead = (
        "The C that BCC gets, as one text; it adds map types and helpers of its own. A number before a "
        "line is "
        "how many instructions of the kernel's came of it."
    )
    if plan.program != "c":
        return PageStage(
            "c", "The C", "This program has no C: it was written instruction by instruction.", ()
        )
    text = read_source(plan.request.tracer.c_file, plan.generated)
    own_source, *included = listings.sources(text, code)
    defines = "\n".join(f"#define {name} {value}".rstrip() for name, value in plan.defines)
    folds = [Fold(f"macros of this run ({len(plan.defines)})", (Raw(defines),))]
    folds += [
        Fold(f"{source_file.file} ({len(source_file.lines)} lines)", (source_file,))
        for source_file in included
    ]
    return PageStage("c", "The C", lead, (own_source, *folds))


def plan_stage(
    plan: Plan, alternatives: Sequence[tuple[str, str, tuple[AlternativeReport, ...]]]
) -> PageStage:
    """Make the stage of the plan: the chosen alternatives and the others."""
    blocks = list[Block]()
    for hook, description, reports in alternatives:
        rows = tuple(
            (
                alternative.name,
                _format_verdict(alternative),
                alternative.reason,
                _format_few(alternative.probes),
            )
            for alternative in reports
        )
        chosen_rows = frozenset(number for number, alternative in enumerate(reports) if alternative.is_chosen)
        blocks += [
            Paragraph(f"{hook}: {description}"),
            Grid(("alternative", "here", "why", "on"), rows, chosen_rows),
        ]
    prefixes = ("hook", "attach", "tracer", "define")
    further_lines = [line for line in plan.describe() if not line.startswith(prefixes)]
    lead = "The alternatives of each hook, best first. All were tried on this kernel; the marked one is used."
    if not alternatives:
        lead = "There were no alternatives to choose among."
    return PageStage("plan", "The plan", lead, (*blocks, Raw("\n".join(further_lines))))


def _format_verdict(alternative: AlternativeReport) -> str:
    if alternative.is_chosen:
        return "taken"
    return "granted" if alternative.is_supported else "not granted"


def _format_few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _make_bytecode_stage(code: dict[WatchedProgram, SideBySide]) -> PageStage:
    blocks = list[Block]()
    for watched, listing in code.items():
        count = f"{listing.name}: {watched.info.xlated_size // 8} instructions, {_type_name(watched)}"
        inner: tuple[Block, ...] = (listing,)
        if watched.copies > 1:
            inner = (Paragraph(_COPIES.format(watched.copies)), listing)
        blocks.append(Fold(count, inner, opened=True))
    lead = (
        "What the verifier left, as the kernel hands it out: it has put addresses in for maps, inlined "
        "look-ups "
        "and taken out what is never reached. Beside it the line of C that it comes from."
    )
    return PageStage("bytecode", "The bytecode", lead, tuple(blocks))


def _type_name(watched: WatchedProgram) -> str:
    return PROGRAM_NAMES.get(watched.info.type, f"type {watched.info.type}")


def _make_verifier_stage(observation: Observation, titles: dict[WatchedProgram, str]) -> PageStage:
    columns = ("program", "instructions", "looked at", "states kept", "at a time", "stack", "time")
    rows, folds = list[tuple[str, ...]](), list[Block]()
    for watched in observation.programs:
        stats = parse_stats(watched.log)
        rows.append((titles[watched], str(watched.info.xlated_size // 8), *_work(stats)))
        text = _shorten(watched.log)
        folds.append(
            Fold(f"the log of {titles[watched]} ({len(watched.log.splitlines())} lines)", (Raw(text),))
        )
    lead = (
        "Before a program may run, the kernel walks through every path that it may take. It looks at an "
        "instruction again for each state of the registers in which it may be reached, unless it has seen a "
        "state that was no safer; what it looks at is limited to a million."
    )
    return PageStage("verifier", "The verifier", lead, (Grid(columns, tuple(rows)), *folds))


def _work(stats: VerifierStats) -> tuple[str, ...]:
    stack = "-" if stats.stack is None else f"{'+'.join(map(str, stats.stack))} bytes"
    time = "-" if stats.time is None else f"{stats.time} us"
    return (
        _format_number(stats.processed),
        _format_number(stats.total),
        _format_number(stats.peak),
        stack,
        time,
    )


def _format_number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _shorten(log: str) -> str:
    if len(log) <= _LOG_SHOWN:
        return log
    half_length = _LOG_SHOWN // 2
    begin, end = log[:half_length].rpartition("\n")[0], log[-half_length:].partition("\n")[2]
    left = len(log) - len(begin) - len(end)
    return f"{begin}\n\n... {left} characters are left out here ...\n\n{end}"


def _make_native_stage(
    observation: Observation, titles: dict[WatchedProgram, str], symbols: KernelSymbols
) -> PageStage:
    def name_of(address: int) -> str:
        return symbols.names(np.array([address], np.uint64))[0]

    blocks, hints = list[Block](), dict[str, None]()
    for watched in observation.programs:
        if not watched.info.jited:
            reason = (
                "the kernel hides it" if watched.info.jited_size else "there is none: this kernel interprets"
            )
            blocks.append(Paragraph(f"{titles[watched]}: {reason}"))
            continue
        listing, hint = listings.native(watched.info, f"{titles[watched]}, native", name_of)
        hints[hint] = None
        size = f"{titles[watched]}: {watched.info.jited_size} bytes"
        blocks.append(Fold(size, (listing,)))
    lead = "What the kernel's compiler (JIT) made of the bytecode; this is what runs."
    notes = [Paragraph(hint) for hint in hints if hint]
    return PageStage("native", "The native code", lead, (*notes, *blocks))


def _make_maps_stage(tables: Sequence[WatchedMap]) -> PageStage:
    columns = ("map", "type", "key", "value", "room", "in it", "memory")
    rows, folds = list[tuple[str, ...]](), list[Block]()
    for table in tables:
        info, entries = table.info, table.entries
        kind = MAP_NAMES.get(info.type, f"type {info.type}")
        count = entries.reason if entries.count is None else str(entries.count)
        memory = "-" if table.memory is None else f"{table.memory} bytes"
        sizes = (f"{info.key_size} bytes", f"{info.value_size} bytes", str(info.max_entries))
        rows.append((table.name, kind, *sizes, count, memory))
        if entries.first:
            title = f"{table.name}: {len(entries.first)} of {entries.count} entries"
            folds.append(Fold(title, (Grid(("key", "value"), entries.first),)))
    lead = (
        "What programs and pytracer share. Of arrays, entries that are zero are not counted; values that "
        "each "
        "CPU has for itself are added up."
    )
    return PageStage("maps", "The maps", lead, (Grid(columns, tuple(rows)), *folds))


def _make_attachment_stage(observation: Observation) -> PageStage:
    rows = tuple((watched.program, watched.where) for watched in observation.attachments)
    map_rows = tuple(
        (watched.program, watched.where, ", ".join(f"{name} {value}" for name, value in watched.facts))
        for watched in observation.links
    )
    lead = (
        "Where the programs were put. Most are held there by a descriptor of pytracer's, which the kernel "
        "closes however the process ends; what is not (xdp-netlink, clsact, trace events of tracefs) is "
        "taken off as it ends, or by the next run if it was killed. They are off by now."
    )
    blocks: list[Block] = [Grid(("program", "on"), rows)]
    if map_rows:
        grid = Grid(("descriptor", "where", "what the kernel says of it"), map_rows)
        blocks.append(Fold(f"what held them: {len(map_rows)} descriptors", (grid,)))
    blocks.append(Fold("what was done, step by step", (Raw("\n".join(observation.messages)),)))
    return PageStage("attachment", "The attachment", lead, tuple(blocks))


def _make_cost_stage(observation: Observation, titles: dict[WatchedProgram, str]) -> PageStage:
    columns = ("program", "runs", "a second", "a run", "in all", "of one CPU", "skipped")
    rows = []
    for watched in observation.programs:
        if watched.runs is None or watched.time is None:
            continue
        time_per_run = f"{watched.time / watched.runs:.0f} ns" if watched.runs else "-"
        rate, share = watched.runs / observation.seconds, watched.time / observation.seconds / 1e7
        total_time = f"{watched.time / 1e6:.3f} ms"
        rows.append(
            (
                titles[watched],
                str(watched.runs),
                f"{rate:.0f}",
                time_per_run,
                total_time,
                f"{share:.3f} %",
                str(watched.missed),
            )
        )
    lead = (
        "Measured here and now, by the kernel's own statistics, which look at the clock twice for each "
        "run: that "
        "is in the numbers. What the hook itself costs is not: docs/hooks.md has that."
    )
    if observation.uncounted:
        return PageStage("cost", "What it costs", f"The kernel did not count: {observation.uncounted}.", ())
    facts = [
        ("watched for", f"{observation.seconds:.2f} s"),
        ("in programs", f"{total(observation.programs) / 1e6:.3f} ms"),
    ]
    if observation.records is not None:
        facts.append(("events", str(observation.records)))
    return PageStage("cost", "What it costs", lead, (Grid(columns, tuple(rows)),), tuple(facts))
