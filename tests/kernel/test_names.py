"""Test functions that share a name, and names that share a function."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pytracer.kernel import functions
from pytracer.plan.attach_targets import ALTERNATIVES
from support.cli import run, start, stop
from support.needs import was_refused
from support.uprobes import Program
from support.workloads import workload

pytestmark = pytest.mark.kernel

SUB = """static __attribute__((noinline)) int sub(int x) { __asm__ volatile(""); return x + %d; }
int run_%s(int n) { int s = 0; for (int i = 0; i < n; i++) s += sub(i); return s; }
"""
MAIN = """#include <pthread.h>
int run_a(int), run_b(int);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int ready;
static void *signals(void *unused)
{
    pthread_mutex_lock(&lock);
    ready = 1;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return unused;
}
int main(void)
{
    run_a(3);
    run_b(5);
    for (int n = 0; n < 7; n++) {
        pthread_t thread;
        pthread_mutex_lock(&lock);
        ready = 0;
        pthread_create(&thread, 0, signals, 0);
        while (!ready)
            pthread_cond_wait(&changed, &lock);
        pthread_mutex_unlock(&lock);
        pthread_join(thread, 0);
    }
}
"""
ALIASES = """int f(void) { __asm__ volatile(""); return 1; }
int g(void) __attribute__((alias("f")));
int main(void) { for (int n = 0; n < 3; n++) f(); for (int n = 0; n < 4; n++) g(); }
"""
# The kernel has several functions of this name: each file of /proc that reads so calls its own.
SHARED, ONE, OTHER = "c_start", "/proc/consoles", "/proc/crypto"


def compiled(folder: Path, name: str, *options: str, **sources: str) -> Path:
    for path, text in sources.items():
        (folder / f"{path}.c").write_text(text)
    files = [f"{path}.c" for path in sources]
    subprocess.run(["gcc", "-O1", *options, "-o", name, *files, "-lpthread"], cwd=folder, check=True)
    return folder / name


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    return compiled(folder, "program", a=SUB % (1, "a"), b=SUB % (2, "b"), m=MAIN)


def count_calls(*words: object, tracer: str = "funccount") -> dict[str, int]:
    result = run(tracer, "-f", "json", *words)
    assert result.status == 0, result.err
    assert not result.of("loss")
    return {record["target"]: record["count"] for record in result.of("summary")}


@pytest.mark.parametrize("alternative", [alternative.name for alternative in ALTERNATIVES["u"]])
def test_two_static_functions_of_one_name_are_two_rows(program, alternative):
    words = ["--hook", f"u={alternative}"]
    assert count_calls(*words, f"u:{program}:sub", "--", program) == {
        f"u:{program}:a.c:sub": 3,
        f"u:{program}:b.c:sub": 5,
    }
    for name, count in (("a.c:sub", 3), ("b.c:sub", 5)):
        assert count_calls(*words, f"u:{program}:{name}", "--", program) == {f"u:{program}:{name}": count}


def test_every_version_of_a_function_is_counted(program):
    """The dynamic linker chose which versions a program calls."""
    counts = count_calls("u:libc:pthread_cond_wait", "u:libc:pthread_cond_sign*", "--", program)
    assert {name.partition("@")[0]: count for name, count in counts.items()} == {
        "u:libc:pthread_cond_wait": 7,
        "u:libc:pthread_cond_signal": 7,
    }
    for name in counts:
        assert count_calls(name, "--", program) == {name: 7}


def test_names_of_one_function_are_one_row(tmp_path):
    program = compiled(tmp_path, "aliases", aliases=ALIASES)
    for names in ([f"u:{program}:f", f"u:{program}:g"], [f"u:{program}:?"], [f"u:{program}:g|f"]):
        assert count_calls(*names, "--", program) == {f"u:{program}:f|g": 7}


VERSIONS = """static __attribute__((noinline)) int sub(int a, int b) { __asm__ volatile(""); return a + b; }
int (*volatile pointer)(int, int) = sub;
int main(void) { for (int i = 0; i < 5; i++) sub(i, 7); for (int i = 0; i < 3; i++) pointer(i, i); }
"""


def test_versions_that_the_compiler_made_of_a_function_are_reported(tmp_path):
    """Five calls go to a clone that has its second argument as a constant."""
    program = compiled(tmp_path, "versions", "-O3", versions=VERSIONS)
    warned = run("funccount", f"u:{program}:sub", "--", program)
    assert ":sub: the compiler made versions of it that are not seen: sub.constprop.0" in warned.err
    counts = count_calls(f"u:{program}:sub*", "--", program)
    assert counts.pop(f"u:{program}:sub") == 3
    [(version, count)] = counts.items()
    assert version.startswith(f"u:{program}:sub.constprop.0")
    assert count == 5


@pytest.mark.lab
def test_versions_of_a_function_of_the_kernel_are_reported_and_of_others_nothing_is():
    names = Counter(re.findall(r"^\w+ [tT] (\S+)$", Path("/proc/kallsyms").read_text(), re.M))
    listed = functions.traceable() or frozenset()
    versions = [name for name in names if re.match(r"\w+\.(constprop|isra)\.", name)]
    only_versions = {
        name: version
        for version in versions
        if names[name := version.partition(".")[0]] == 1 and name in listed
    }
    for name in ("vfs_read", *list(only_versions)[:2]):
        result = run("funccount", "-v", f"k:{name}", "-d", 0.1)
        if was_refused(result, {"k": "kprobe"}):
            return
        assert only_versions  # each of Debian's kernels has some
        assert result.status == 0, result.err
        messages = re.search(r"the compiler made versions of it that are not seen: (.+)", result.err)
        assert (messages[1].split(", ") if messages else []) == sorted(
            record for record in versions if record.partition(".")[0] == name
        )


@pytest.mark.lab
@pytest.mark.parametrize(
    ("kind", "alternative"),
    [(kind, alternative.name) for kind in ("k", "kr") for alternative in ALTERNATIVES[kind]],
    ids=lambda value: value,
)
def test_all_functions_of_the_kernel_that_have_one_name(kind, alternative):
    """Each is attached by address: every file read is counted for its own function, and each has a distinct
    name."""
    names = re.findall(rf"^\w+ [tT] ({SHARED})$", Path("/proc/kallsyms").read_text(), re.M)
    assert len(names) > 1

    def count_function(name: str, *paths: str) -> dict[str, int] | None:
        script = "; ".join(f"cat {path} >/dev/null" for path in paths)
        options = ["--hook", f"{kind}={alternative}"]
        result = run("funccount", "-f", "json", *options, f"{kind}:{name}", "--", "sh", "-c", script)
        if was_refused(result, {kind: alternative}):
            return None
        assert result.status == 0, result.err
        assert not result.of("loss")
        records = [record for record in result.of("summary") if record["count"]]
        return {record["target"]: record["count"] for record in records}

    version = count_function(SHARED, ONE)
    if version is None:
        return
    second_function = count_function(SHARED, OTHER)
    assert len(version) == len(second_function) == 1
    assert not set(version) & set(second_function)
    [(first, per_one)], [(second, per_other)] = version.items(), second_function.items()
    assert re.fullmatch(rf"{kind}:{SHARED}@\d+", first)
    assert count_function(SHARED, *[ONE] * 3, *[OTHER] * 5) == {first: 3 * per_one, second: 5 * per_other}
    assert count_function(first.partition(":")[2], ONE, OTHER) == version


def library(folder: Path, answer: int) -> Path:
    folder.mkdir()
    (folder / "z.c").write_text(f"int answer(void) {{ return {answer}; }}\n")
    command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libanswer.so", "-o", "libanswer.so", "z.c"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "libanswer.so"


ASKS = "int answer(void); int main(void) { int n = 0; while (n < 3) n += answer() > 0; }\n"


def test_a_library_by_name_is_the_one_that_the_command_loads(tmp_path, monkeypatch):
    first, second = library(tmp_path / "one", 1), library(tmp_path / "two", 2)
    options = [f"-L{first.parent}", "-Wl,-rpath,$ORIGIN/one", "-Wl,--no-as-needed", "-lanswer"]
    (tmp_path / "asks.c").write_text(ASKS)
    subprocess.run(["gcc", "-O1", "-o", "asks", "asks.c", *options], cwd=tmp_path, check=True)
    words = ["u:answer:answer", "--", tmp_path / "asks"]
    assert count_calls(*words) == {"u:answer:answer": 3}
    monkeypatch.setenv("LD_LIBRARY_PATH", str(second.parent))
    assert count_calls(*words) == {"u:answer:answer": 3}
    monkeypatch.delenv("LD_LIBRARY_PATH")
    (tmp_path / "late").mkdir()
    second = second.rename(tmp_path / "late/libanswer.so")
    by_env = ["env", "-u", "LD_PRELOAD", f"LD_LIBRARY_PATH={second.parent}", tmp_path / "asks"]
    subprocess.run(
        ["gcc", "-O1", "-o", "asks", "asks.c", *options[:1], *options[2:]], cwd=tmp_path, check=True
    )
    assert count_calls("u:answer:answer", "--", *by_env) == {"u:answer:answer": 3}
    by_shell = ["sh", "-c", f"LD_LIBRARY_PATH={second.parent} {tmp_path}/asks"]
    assert count_calls("u:answer:answer", "--", *by_shell) == {"u:answer:answer": 3}
    monkeypatch.setenv("LD_LIBRARY_PATH", str(second.parent))
    unseen = run("funccount", f"u:{first}:answer", "--", tmp_path / "asks")
    assert unseen.status == 0
    assert f"nothing was seen in {first}" in unseen.err


OPENS = (
    "import ctypes, sys\nprint(flush=True)\nsys.stdin.readline()\nasks = ctypes.CDLL(sys.argv[1]).answer\n"
    "for _ in range(23): asks()\nprint(flush=True)\nsys.stdin.readline()"
)


@pytest.mark.parametrize("same", [False, True])
def test_a_library_that_was_opened_later_from_elsewhere_is_named(tmp_path, same):
    first, second = library(tmp_path / "one", 1), library(tmp_path / "two", 2)
    with subprocess.Popen(
        [sys.executable, "-c", OPENS, first if same else second],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "\n"
        tracer = start("funccount", f"u:{first}:answer", "-p", process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"
        result = stop(tracer)
        process.communicate("\n")
    assert result.status == 0
    warned = [line for line in result.err.splitlines() if "nothing was seen" in line]
    instead = f"process {process.pid} has mapped {second} instead: give that path"
    assert warned == ([] if same else [f"pytracer: warning: nothing was seen in {first}; {instead}"])


def test_a_deleted_file_is_named_as_it_was(tmp_path, monkeypatch):
    library_path = library(tmp_path / "one", 1)
    monkeypatch.chdir(library_path.parent)
    with subprocess.Popen(
        [sys.executable, "-c", OPENS, library_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"
        library_path.unlink()
        result = run("funccount", f"u:./{library_path.name}:answer", "-p", process.pid, "-v", "-d", "0.1")
        process.communicate("\n")
    assert result.status == 0, result.err
    assert f"attached hit to uprobe_multi {library_path} (deleted):answer" in result.err.replace(
        "uprobe /", "uprobe_multi /"
    )


def test_a_file_behind_a_bind_mount_is_known_by_device_and_inode(tmp_path, monkeypatch):
    """The process has mapped another file at that path."""
    first, second = library(tmp_path / "one", 1), library(tmp_path / "two", 2)
    mounted = f'mount --bind {first} {second} && exec "$@"'
    command = ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, "-c", OPENS, second]
    monkeypatch.chdir(first.parent)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "\n"
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "\n"
        planned = run("funccount", "u:./libanswer.so:answer", "-p", process.pid, "--dry-run")
        process.communicate("\n")
    [attached] = [line.split()[-1] for line in planned.out.splitlines() if line.startswith("attach")]
    assert attached.startswith("./libanswer.so:")


def test_a_path_is_resolved_in_the_users_root_and_folder(tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    copy.write_bytes(Path(workload("marks")).read_bytes())
    copy.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    with Program(copy, "work", 23) as program:
        result = program.seen_by("funccount", "u:./copy:rest", "u:./copy:work", "usdt:./copy:forms:*", 60)
    assert result.status == 0, result.err
    counts = {record["target"]: record["count"] for record in result.of("summary")}
    assert counts == {"u:./copy:work": 46, "u:./copy:rest": 1}
    with Program(workload("marks"), "forms", 23) as program:
        result = program.seen_by("funccount", "usdt:./copy:forms:bare", 60)
    assert "nothing was seen in ./copy" in result.err


def test_a_probe_is_found_by_its_provider_in_the_commands_libraries(tmp_path):
    """Only this test uses the provider; programs of tests that run at the same time have `forms`."""
    program = tmp_path / "program"
    program.write_bytes(Path(workload("marks")).read_bytes().replace(b"\0forms\0", b"\0alone\0"))
    program.chmod(0o755)
    command = ["--", "sh", "-c", f"echo | {program} alone 23"]
    missing = run("funccount", "usdt:alone:bare", *command)
    assert missing.status == 2
    assert "sh and the libraries that it loads" in missing.err
    words = ["usdt:alone:bare", "--", program, "alone", 23]
    result = run("funccount", "-f", "json", *words, input="\n")
    records = [json.loads(line) for line in result.out.splitlines() if line.startswith("{")]
    assert [(record["target"], record["count"]) for record in records if record["kind"] == "summary"] == [
        ("usdt:alone:bare", 23)
    ]
