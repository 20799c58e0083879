"""Write the C file of a script: its maps with the functions for them, and a program for each block."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytracer.lang.script.program import WALK_NUMBER, CompiledBlock, ScriptMap
from pytracer.lang.script.types import SERIES, AggregateType

_WALK = re.compile(WALK_NUMBER.format(r"\d+"))
_KEY, _VALUE = "struct script_key_{0} *", "struct script_value_{0} *"


def generate_script(blocks: Sequence[CompiledBlock], maps: Sequence[ScriptMap]) -> str:
    """Return the C of all blocks, by the numbers of their programs, and of the maps."""
    lines = list[str]()
    for script_map in maps:
        lines += _map(script_map)
    walks = 0
    for number, block in enumerate(blocks):
        lines += _program(number, block, walks)
        walks += len(block.functions)
    lines += [
        "static __always_inline int pt_spec_traces_calls(u32 program)",
        "{",
        "    return 0;",
        "}",
        "",
        "static __always_inline void",
        "pt_spec_save_entry(void *ctx, u32 program, u32 target, struct pt_call *to)",
        "{",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _map(script_map: ScriptMap) -> list[str]:
    n, key = script_map.number, f"({_KEY.format(script_map.number)})key"
    struct = f"struct script_key_{n}, struct script_value_{n}"
    table = f"{'lru_' * script_map.evicts}{'percpu_' * script_map.is_per_cpu}hash"
    lines = [
        f"struct script_key_{n} {{",
        f"    u64 words[{script_map.key_words}];",
        "};",
        f"struct script_value_{n} {{",
        f"    u64 words[{script_map.value_words}];",
        "};",
        f'BPF_TABLE("{table}", {struct}, {script_map.c_name}, {script_map.capacity});',
        "",
        *_function("u64 *", f"lookup_{n}", "u64 key", [f"return (u64 *){script_map.c_name}.lookup({key});"]),
        *_function("u64", f"delete_{n}", "u64 key", [f"return !{script_map.c_name}.delete({key});"]),
    ]
    if isinstance(script_map.value, AggregateType):
        kind = script_map.value
        return lines + _slot(script_map) + _aggregate(script_map, kind) + _read(script_map, kind)
    lines += _function(
        "void",
        f"set_{n}",
        "u64 key, u64 value",
        [
            f"if ({script_map.c_name}.update(({_KEY.format(n)})key, ({_VALUE.format(n)})value))",
            "    pt_lost(PT_LOSS_MAP_FULL);",
        ],
    )
    if script_map.value_words == 1:
        lines += _slot(script_map)
        lines += _function(
            "s64",
            f"add_{n}",
            "u64 key, s64 by",
            [f"u64 *at = script_slot_{n}(key);", "", "return at ? (s64)pt_fetch_add(at, by) : 0;"],
        )
    return lines


def _slot(script_map: ScriptMap) -> list[str]:
    """Return the C function that returns the value of a key, after adding it if it is missing."""
    n = script_map.number
    return _function(
        "u64 *",
        f"slot_{n}",
        "u64 key",
        [
            f"struct script_value_{n} zero = {{}}, *at = {script_map.c_name}.lookup(({_KEY.format(n)})key);",
            "",
            "if (at)",
            "    return at->words;",
            f"{script_map.c_name}.insert(({_KEY.format(n)})key, &zero);",
            f"at = {script_map.c_name}.lookup(({_KEY.format(n)})key);",
            "if (!at)",
            "    pt_lost(PT_LOSS_MAP_FULL);",
            "return at ? at->words : 0;",
        ],
    )


def _aggregate(script_map: ScriptMap, kind: AggregateType) -> list[str]:
    n, add = script_map.number, ["at[0] += value;"]
    before = [f"u64 *at = script_slot_{n}(key);", "", "if (!at)", "    return;"]
    if script_map.is_shared:
        add = ["__sync_fetch_and_add(&at[0], value);"]
    match kind.kind:
        case "avg" | "stats":
            add += ["__sync_fetch_and_add(&at[1], 1);" if script_map.is_shared else "at[1]++;"]
        case "min" | "max":
            sign, cast = "<" if kind.kind == "min" else ">", "(s64)" if kind.signed else "(u64)"
            add = [
                f"if (!at[1] || {cast}value {sign} {cast}at[0])",
                "    at[0] = value;",
                "at[1] = 1;",
            ]
        case "hist":
            before = [_bucket(script_map, f"script_log2(value, {kind.parameters[0]})"), *before]
            add = ["at[0]++;"]
        case "lhist":
            low, high, step = kind.parameters
            last = -(-(high - low) // step) + 1
            code = f"value < {low} ? 0 : value >= {high} ? {last} : (u64)(value - {low}) / {step} + 1"
            before = [_bucket(script_map, code), *before]
            add = ["at[0]++;"]
        case "tseries":
            before, add = _series(script_map, kind, before)
    clock = ", u64 now" if kind.kind == "tseries" else ""
    return _function("void", f"{kind.kind}_{n}", f"u64 key, s64 value{clock}", [*before, *add])


def _series(script_map: ScriptMap, kind: AggregateType, before: list[str]) -> tuple[list[str], list[str]]:
    """Return the lines of C of a time series: those that find the entry of the interval, and those that add a
    value."""
    length, number, aggregation = kind.parameters
    before = [
        f"u64 epoch = now / {length}ULL;",
        _bucket(script_map, f"epoch % {number}"),
        *before,
        "if (at[0] != epoch + 1) {",
        "    at[0] = epoch + 1;",
        "    at[1] = at[2] = 0;",
        "}",
    ]
    match SERIES[aggregation]:
        case "avg" | "sum":
            return before, ["at[1] += value;", "at[2]++;"]
        case "min" | "max":
            sign, cast = "<" if SERIES[aggregation] == "min" else ">", "(s64)" if kind.signed else "(u64)"
            add = [f"if (!at[2] || {cast}value {sign} {cast}at[1])", "    at[1] = value;", "at[2] = 1;"]
            return before, add
    return before, ["at[1] = value;", "at[2] = now;"]


def _read(script_map: ScriptMap, kind: AggregateType) -> list[str]:
    """Return a function that finds the least or greatest value over all CPUs, for maps that programs read."""
    if not script_map.read_cpus:
        return []
    sign, cast = "<" if kind.kind == "min" else ">", "(s64)" if kind.signed else "(u64)"
    lines = [
        "u64 best = 0, seen = 0;",
        "u32 cpu;",
        "",
        f"for (cpu = 0; cpu < {script_map.read_cpus}; cpu++) {{",
        f"    u64 *at = script_lookup_on_cpu({script_map.number}, key, cpu);",
        "",
        f"    if (at && at[1] && (!seen || {cast}at[0] {sign} {cast}best)) {{",
        "        best = at[0];",
        "        seen = 1;",
        "    }",
        "}",
        "return best;",
    ]
    return _function("u64", f"read_{script_map.number}", "u64 key", lines)


def _bucket(script_map: ScriptMap, code: str) -> str:
    return f"*(u64 *)(key + {8 * (script_map.key_words - 1)}) = {code};"


def _function(kind: str, name: str, parameters: str, body: Sequence[str]) -> list[str]:
    space = "" if kind.endswith("*") else " "
    return [
        f"static __always_inline {kind}{space}script_{name}({parameters})",
        "{",
        *(f"    {line}" if line else "" for line in body),
        "}",
        "",
    ]


def _program(number: int, block: CompiledBlock, first: int) -> list[str]:
    """Return the C of a block; ``first`` is the number of its first function."""
    numbers = {WALK_NUMBER.format(index): str(first + index) for index in range(len(block.functions))}

    def named(lines: Sequence[str]) -> list[str]:
        return [_WALK.sub(lambda match: numbers[match.group()], line) for line in lines]

    filtered = " && pt_is_current_traced()" if block.filters else ""
    filtered += " && !script_run_value(3)" if block.stops else ""
    target = "pt_target(ctx)" if block.target is None else str(block.target)
    functions = list[str]()
    for index, (kind, *body) in enumerate(block.functions):
        functions += [
            f"int {kind}_{first + index}(struct script_walk *walk)",
            "{",
            f"    const u32 program = {number};",
            f"    struct script_memory_{number} *m = walk->memory;",
            "    void *ctx = walk->ctx;",
            "    u32 target = walk->target, bad = 0;",
            "",
            *named(body),
            "    return 0;",
            "}",
            "",
        ]
    return [
        f"struct script_memory_{number} {{",
        f"    u64 words[{max(block.memory_words, 1)}];",
        "};",
        f"BPF_PERCPU_ARRAY(script_memory_of_{number}, struct script_memory_{number}, 1);",
        "",
        *functions,
        "static __always_inline void",
        f"script_block_{number}(void *ctx, u32 target, struct script_memory_{number} *m)",
        "{",
        f"    const u32 program = {number};",
        "    u32 bad = 0;",
        "",
        *named(block.lines),
        "}",
        "",
        f"int spec_{number}(void *ctx)",
        "{",
        "    u32 zero = 0;",
        f"    struct script_memory_{number} *m = script_memory_of_{number}.lookup(&zero);",
        "    struct pt_call call = {};",
        "",
        f"    if (m && !pt_spec_skips_return(ctx, {number}, &call){filtered})",
        f"        script_block_{number}(ctx, {target}, m);",
        "    return pt_pass();",
        "}",
        "",
        "#ifdef PT_SPEC_CALLS",
        f"int entry_{number}(void *ctx)",
        "{",
        f"    return pt_on_spec_entry(ctx, {number});",
        "}",
        "#endif",
        "",
    ]
