"""Test where calls of programs' functions end, by their machine code."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from pytracer.cli.main import main
from pytracer.errors import UnknownNameError, UnreadableCodeError, UnsupportedError, UsageError
from pytracer.spec import ExitKind, FunctionCode, ProbeSite, parse_source
from pytracer.symbols import code, places, program_files
from pytracer.symbols.code import code_file as images
from pytracer.symbols.code import uprobe_limits
from pytracer.targets import find
from support.probed_instructions import INSTRUCTIONS

RETURN, TAIL, INDIRECT = ExitKind.RETURN, ExitKind.TAIL_RETURN, ExitKind.INDIRECT


@pytest.fixture
def build(tmp_path):
    """Build a shared object of functions in assembly (text by name) or of a source file; it is open."""
    files = []

    def of(functions: dict[str, str] | str, *options: str, name: str = "code.so", suffix=".s"):
        text = functions if isinstance(functions, str) else ""
        if isinstance(functions, dict):
            text = ".section .note.GNU-stack\n.text\n" + "".join(
                f".globl {name}\n.type {name}, @function\n{name}:\n.cfi_startproc\n{body}\n"
                f".cfi_endproc\n.size {name}, .-{name}\n"
                for name, body in functions.items()
            )
        source = tmp_path / f"{name}{suffix}"
        source.write_text(text)
        path = tmp_path / name
        compiler = "g++" if suffix == ".cc" else "gcc"
        words = [compiler, "-shared", "-fPIC", "-o", str(path), str(source), *options]
        subprocess.run(words, check=True)
        files.append(program_files.find(str(path)))
        return files[-1]

    yield of
    for file in files:
        file.close()


def start_of(file: program_files.ProgramFile, name: str) -> int:
    image = images.open_image(file)
    [address] = image.symbols.addresses(name)
    return image.offset_of(address)


def analyze(file: program_files.ProgramFile, name: str, **options) -> FunctionCode:
    return code.analyze(file, ProbeSite(name, start_of(file, name)), **options)


def exits(file: program_files.ProgramFile, name: str, **options) -> list[tuple[ExitKind, str]]:
    return [(item.kind, item.site.name) for item in analyze(file, name, **options).exits]


SIMPLE = """
        test %edi, %edi
        je 1f
        mov $1, %eax
        ret
1:      xor %eax, %eax
        repz ret
"""


def test_each_return_instruction_is_an_exit(build):
    file = build({"work": SIMPLE})
    actual = analyze(file, "work")
    assert exits(file, "work") == [(RETURN, "work+0x9"), (RETURN, "work+0xc")]
    assert actual.entry == start_of(file, "work")
    assert [item.site.offset - actual.entry for item in actual.exits] == [9, 12]
    assert {(item.site.file, item.site.identity) for item in actual.exits} == {(file.name, file.identity)}
    assert not actual.restarts
    assert not actual.goroutine


def test_a_function_that_is_jumped_to_returns_for_the_one_that_jumps(build):
    file = build(
        {
            "work": "test %edi, %edi\n jne .Lhelp\n jmp .Lother",
            "help": ".Lhelp: ret",
            "other": ".Lother: nop\n ret",
        }
    )
    assert exits(file, "work") == [(TAIL, "help"), (TAIL, "other+0x1")]
    assert analyze(file, "work").tail_callees == ("help", "other")


def test_functions_that_jump_to_each_other(build):
    file = build({"odd": ".Lodd: dec %edi\n jne .Leven\n ret", "even": ".Leven: dec %edi\n jne .Lodd\n ret"})
    assert exits(file, "odd") == [(RETURN, "odd+0x4"), (TAIL, "even+0x4")]
    assert analyze(file, "odd").restarts
    assert analyze(file, "even").restarts


def test_a_loop_to_the_first_instruction_is_no_new_call(build):
    file = build({"spin": ".Lspin: dec %edi\n jne .Lspin\n ret", "once": "nop\n1: dec %edi\n jne 1b\n ret"})
    assert analyze(file, "spin").restarts
    assert not analyze(file, "once").restarts
    assert exits(file, "spin") == [(RETURN, "spin+0x4")]


def test_a_cold_part_belongs_to_the_function(build):
    """GCC's cold parts have a symbol and call frame information of their own."""
    source = """
        __attribute__((cold, noinline)) void rare(int);
        int common(int);
        int work(int x) {
            int y = common(x);
            if (__builtin_expect(y > 7, 0)) { rare(x); return x * 5; }
            return y;
        }
    """
    file = build(source, "-O2", suffix=".c")
    cold = [site for site in places.find(file, "work*").sites if site.name == "work.cold"]
    actual = analyze(file, "work")
    assert cold
    assert {item.kind for item in actual.exits} == {RETURN}
    assert any(item.site.offset < start_of(file, "work") for item in actual.exits) or len(actual.exits) == 1


def test_a_jump_with_a_frame_on_the_stack_leads_to_a_part_of_the_function(build):
    """In stripped files, the depth of the stack distinguishes a part from a tail call."""
    file = build(
        {
            "work": "push %rbx\n.cfi_adjust_cfa_offset 8\n test %edi, %edi\n jne .Lpart\n pop %rbx\n"
            ".cfi_adjust_cfa_offset -8\n ret",
            "part": ".cfi_adjust_cfa_offset 8\n.Lpart: pop %rbx\n.cfi_adjust_cfa_offset -8\n ret",
        }
    )
    assert exits(file, "work") == [(RETURN, "work+0x6"), (RETURN, "part+0x1")]
    assert analyze(file, "work").tail_callees == ()
    with pytest.raises(UnreadableCodeError, match="part is only a part of a function"):
        analyze(file, "part")


TABLE = """
        cmp $3, %edi
        ja 9f
        lea .Ltable(%rip), %rdx
        movslq (%rdx,%rdi,4), %rax
        add %rdx, %rax
        jmp *%rax
1:      mov $1, %eax
        ret
2:      mov $2, %eax
        ret
9:      ret
.section .rodata
.align 4
.Ltable: .long 1b-.Ltable, 2b-.Ltable, 1b-.Ltable, 2b-.Ltable
.text
"""


def test_a_jump_table_is_followed(build):
    file = build({"work": TABLE})
    assert [kind for kind, _ in exits(file, "work")] == [RETURN] * 3


def test_an_unknown_function_that_is_jumped_to_ends_a_call_without_a_result(build):
    file = build({"work": "test %edi, %edi\n je 1f\n jmp *(%rsi)\n1: ret"})
    assert exits(file, "work") == [(INDIRECT, "work+0x4"), (RETURN, "work+0x6")]


def test_a_computed_goto_stays_in_its_frame(build):
    source = """
        int work(const unsigned char *code) {
            static void *const where[] = {&&stop, &&add, &&halve};
            volatile int frame[64]; int sum = 0; frame[0] = 0;
            goto *where[*code++];
        add: sum += 3; if (sum == 77) return frame[0]; goto *where[*code++];
        halve: sum /= 2; goto *where[*code++];
        stop: return sum;
        }
    """
    for options in (["-O2"], ["-O0"], ["-O2", "-fno-asynchronous-unwind-tables"]):
        file = build(source, *options, suffix=".c", name=f"goto{len(options)}{options[0]}.so")
        assert {kind for kind, _ in exits(file, "work")} == {RETURN}, options
        assert len(exits(file, "work")) >= 1


def test_exception_landing_pads_are_followed(build):
    source = """
        extern "C" int risky(int); extern "C" void note(int);
        extern "C" int work(int x) {
            try { return risky(x); }
            catch (int) { note(x); return 7; }
            catch (...) { note(1); return 9; }
        }
    """
    file = build(source, "-O2", suffix=".cc")
    assert {kind for kind, _ in exits(file, "work")} == {RETURN}
    assert objdump_returns(file, "work") <= {item.site.offset for item in analyze(file, "work").exits}


def objdump_returns(file: program_files.ProgramFile, name: str) -> set[int]:
    words = ["objdump", "-d", "--no-show-raw-insn", f"--disassemble={name}", file.name]
    text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    return {int(line.partition(":")[0], 16) for line in text.splitlines() if line.rstrip().endswith("\tret")}


def test_a_call_that_does_not_return_ends_the_code(build):
    file = build({"work": "sub $8, %rsp\n.cfi_adjust_cfa_offset 8\n call abort@PLT", "next": "ret"})
    assert exits(file, "work") == []


def test_a_skipped_lock_prefix_is_no_overlap(build):
    body = "cmpl $0, (%rsi)\n je 1f\n .byte 0xf0\n1: cmpxchg %edi, (%rdx)\n ret"
    file = build({"work": body})
    assert exits(file, "work") == [(RETURN, "work+0x9")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("push %rdi\n ret", "8 bytes deep at a return"),
        (".byte 0x06", "is no instruction"),
        ("je 1f+1\n1: mov $0x12345678, %eax\n ret", "overlap"),
        ("lretq", "leads to another segment"),
    ],
)
def test_ambiguous_code_is_refused_with_the_reason(build, body, reason):
    file = build({"work": body.replace(".cfi", "#")})
    with pytest.raises(UnreadableCodeError, match=reason) as excinfo:
        analyze(file, "work")
    assert excinfo.value.exit_code == 4
    assert "work of " in excinfo.value.message


def test_a_return_that_cannot_be_probed_is_refused(build):
    file = build({"work": "ds ret"})
    with pytest.raises(UnreadableCodeError, match=r"ret \(3e c3\): .* prefix of a segment"):
        analyze(file, "work")


def test_a_symbol_inside_a_function_has_no_calls(build):
    file = build({"work": SIMPLE})
    with pytest.raises(UnreadableCodeError, match=r"no function of .* begins at"):
        code.analyze(file, places.find(file, "work+4").sites[0])


def test_functions_of_libraries_that_are_jumped_to(build, tmp_path):
    """Through the PLT, or without one through the GOT, into a library that the file needs."""
    library = build({"help": "nop\n ret", "other": "ret"}, name="libhelp.so")
    link = ["-nostdlib", f"-L{tmp_path}", "-lhelp", f"-Wl,-rpath,{tmp_path}"]
    for operand in ("help@PLT", "*help@GOTPCREL(%rip)"):
        functions = {
            "neighbour": "call other@PLT\n call third@PLT\n ret"
        }  # which have places in the PLT, too
        file = build({"work": f"jmp {operand}", **functions}, *link, name="user.so")
        with code.Libraries() as libraries:
            actual = analyze(file, "work", resolve=libraries)
            assert [(item.kind, item.site.name) for item in actual.exits] == [(TAIL, "help+0x1")]
            assert actual.exits[0].site.identity == library.identity
            assert actual.exits[0].site.offset == start_of(library, "help") + 1
            assert actual.tail_callees == ("help",)
        # Where nobody tells which function that is, the call ends as it is left.
        assert exits(file, "work") == [(INDIRECT, "work")]
        file.close()


def test_all_functions_that_an_ifunc_may_choose_are_jumped_to(build):
    source = """
        __attribute__((noinline)) static int fast(int x) { return x * 3; }
        __attribute__((noinline)) static int slow(int x) { return x * 5; }
        static int (*choose(void))(int) {
            __builtin_cpu_init();
            return __builtin_cpu_supports("avx2") ? fast : slow;
        }
        int best(int x) __attribute__((ifunc("choose")));
        int work(int x) { return best(x + 1); }
    """
    file = build(source, "-O2", suffix=".c")
    with code.Libraries() as libraries:
        actual = analyze(file, "work", resolve=libraries)
    assert {(item.kind, item.site.name.partition("+")[0]) for item in actual.exits} == {
        (TAIL, "fast"),
        (TAIL, "slow"),
    }


def test_a_place_within_an_instruction_is_refused(build):
    file = build({"work": SIMPLE})
    start = start_of(file, "work")
    code.check_boundary(file, start, start + 2)
    with pytest.raises(UsageError, match=r"work\+0x1 is within an instruction: test edi, edi") as excinfo:
        code.check_boundary(file, start, start + 1)
    assert excinfo.value.hint == "instructions begin at +0x0 and +0x2"
    with pytest.raises(UsageError, match=r"outside the function bounds .*size is 14\)"):
        code.check_boundary(file, start, start + 14)


def test_data_between_instructions_is_refused(build):
    file = build({"work": "jmp 1f\n .byte 0x06, 0x06\n1: ret"})
    start = start_of(file, "work")
    code.check_boundary(file, start, start + 4)
    with pytest.raises(UsageError, match="is no instruction that the function runs"):
        code.check_boundary(file, start, start + 2)


@pytest.mark.parametrize(("text", "is_64", "is_refused"), INSTRUCTIONS)
def test_instructions_that_the_kernel_does_not_probe(text, is_64, is_refused):
    assert bool(uprobe_limits.refusal(bytes.fromhex(text), is_64=is_64)) == is_refused


def test_an_entry_behind_an_instruction_that_cannot_be_probed(build):
    """Only if the instructions before change nothing but memory, and no jump leads back to them."""
    functions = {
        "count": "lock incl (%rdi)\n xor %eax, %eax\n ret",
        "lock": ".Llock: lock decl (%rdi)\n jne .Llock\n ret",
        "again": "lock decl (%rdi)\n.Lagain: dec %eax\n jne .Lagain\n ret",
        "swap": "lock xadd %esi, (%rdi)\n mov %esi, %eax\n ret",
    }
    file = build(functions)
    entry = start_of(file, "count") + 3
    assert analyze(file, "count").entry == entry
    matches = places.find(file, "*")
    assert {site.name: site.offset for site in matches.sites}["count"] == entry
    assert set(matches.refused) == {"lock", "again", "swap"}
    assert matches.note.endswith("how they begin: lock, again, swap")
    assert code.entry(file, places.find(file, "count").sites[0]) == entry
    assert code.analyze(file, places.find(file, "count").sites[0]).entry == entry
    with pytest.raises(UnsupportedError, match=r"^lock begins with .*: lock dec .* lock prefix"):
        places.find(file, "lock")
    for name in ("lock", "again", "swap"):
        with pytest.raises(UnreadableCodeError, match=f"^{name} begins with .*: lock .* lock prefix"):
            analyze(file, name)
    assert code.unprobeable(file, start_of(file, "lock")).startswith("lock dec dword ptr [rdi] (f0 ff 0f): ")
    assert code.unprobeable(file, start_of(file, "lock") + 3) == ""


@pytest.mark.parametrize(
    ("body", "distance"),
    [
        ("endbr64; push %rbp; pop %rbp; ret", 4),
        ("endbr64; push %r12; pop %r12; ret", 4),
        ("endbr64; lea 1(%rdi), %eax; ret", 0),  # single-stepped, too
        ("endbr64; push $1; pop %rax; ret", 0),
        ("push %rbp; pop %rbp; ret", 0),
        ("endbr64; 1: push %rax; pop %rax; dec %eax; jne 1b; ret", 0),  # would count each turn
    ],
)
def test_the_push_behind_an_endbr_is_probed(build, body, distance):
    file = build({"function": body})
    assert analyze(file, "function").entry == start_of(file, "function") + distance


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("55", True),  # push rbp
        ("41 54", True),  # push r12
        ("48 55", False),  # push rbp with a prefix of no use
        ("90", True),
        ("e8 00 00 00 00", True),
        ("0f 84 00 00 00 00", True),
        ("74 00", True),
        ("f3 0f 1e fa", False),
        ("48 89 f8", False),
        ("c3", False),
        ("", False),
    ],
)
def test_instructions_that_the_kernel_emulates(text, expected):
    assert uprobe_limits.is_emulated(bytes.fromhex(text)) is expected


def test_a_place_by_its_offset_is_code_and_where_an_instruction_begins(build):
    file = build({"work": SIMPLE + "\n lock incl (%rdi)"})
    start = start_of(file, "work")
    assert places.find(file, f"+{start + 2:#x}").sites == (ProbeSite(f"+{start + 2:#x}", start + 2),)
    assert places.find(file, "work+2").sites == (ProbeSite("work+2", start + 2),)
    for source in (f"+{start + 1:#x}", "work+1"):
        with pytest.raises(UsageError, match="is within an instruction: test edi, edi"):
            places.find(file, source)
    for source in (f"+{start + 14:#x}", "work+14"):
        with pytest.raises(UnsupportedError, match=r"lock inc .* lock prefix"):
            places.find(file, source)


def test_functions_that_a_pattern_leaves_out_are_reported_with_the_instruction(build):
    """The message gives one function as an example."""
    locked = {f"lock{n}": f".L{n}: lock decl (%rdi)\n jne .L{n}\n ret" for n in range(5)}
    file = build({"work": "ret", **locked}, "-nostdlib")
    matches = find(parse_source(f"u:{file.name}:*"))
    assert [target.name for target in matches.targets] == [f"{file.name}:work"]
    message = [reason for reason in matches.left_out if "lock" in reason]
    assert message[0] == (
        f"function that cannot be probed: {file.name}:lock0 begins with lock dec dword ptr [rdi] (f0 ff 0f): "
        "the kernel does not probe a lock prefix"
    )
    assert len(message) == 3
    assert matches.left_out["more that cannot be probed"] == 2
    with pytest.raises(UnsupportedError, match=r"lock1 begins with .* lock prefix"):
        find(parse_source(f"u:{file.name}:lock1"))


def test_names_of_one_place_are_one_function(build):
    file = build({"work": "ret"}, "-nostdlib", "-Wl,--defsym=alias=work")
    assert len(find(parse_source(f"u:{file.name}:*")).targets) == 1


def test_unprobeable_functions_are_listed_with_the_reason(build, capsys):
    """Also if the list has nothing else."""
    file = build({"lock": ".Llock: lock decl (%rdi)\n jne .Llock\n ret"}, "-nostdlib")
    assert main(["list-probes", f"u:{file.name}:lock*"]) == 0
    message = capsys.readouterr()
    assert re.fullmatch(
        rf"u:{file.name}:lock +- cannot be probed: lock dec .* does not probe a lock prefix\n", message.out
    )
    assert message.err == ""
    assert main(["list-probes", f"u:{file.name}:lock", "-f", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["name"], record["alternatives"]) == (f"u:{file.name}:lock", [])
    assert record["reason"].endswith("does not probe a lock prefix")


@pytest.mark.parametrize("options", [[], ["-s"]])
@pytest.mark.parametrize("symbol", ["table", "table+4", "thread"])
def test_data_is_no_function_and_that_is_reported(build, symbol, options):
    text = "int table[9] = {1}; _Thread_local int thread = 1; int f(void) { return table[1] + thread; }"
    file = build(text, *options, suffix=".c")
    with pytest.raises(
        UsageError, match=f"^{symbol.partition('+')[0]} of .*code.so is data, not a function$"
    ):
        places.find(file, symbol)
    with pytest.raises(UnknownNameError):
        places.find(file, "tabel")
