"""Test which files are loaded, against the dynamic linker itself."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from pytracer.errors import UnknownNameError
from pytracer.symbols import commands, dynamic_linker, places, program_files
from support.compilers import compile_files

LEAF = "int leaf(void) { return 1; }\n"
MIDDLE = "int leaf(void); int middle(void) { return leaf(); }\n"
MAIN = "int middle(void); int main(void) { return middle(); }\n"


def library(folder, name, source, *options):
    folder.mkdir(parents=True, exist_ok=True)
    stem = name.partition(".")[0]
    return compile_files(
        folder, {f"{stem}.c": source}, "-shared", "-fPIC", f"-Wl,-soname,{name}", *options, output=name
    )


@pytest.fixture
def tree(tmp_path):
    """Build two copies of each library; the program's middle one needs the leaf."""
    for folder in ("one", "two"):
        library(tmp_path / folder, "libleaf.so", LEAF)
        library(
            tmp_path / folder, "libmiddle.so", MIDDLE, "-L.", f"-L{tmp_path / folder}", "-Wl,--no-as-needed"
        )
    return tmp_path


def program(tree, *options, middle=()):
    middle = list(middle)
    for folder in ("one", "two"):
        command = ["gcc", "-shared", "-fPIC", "-Wl,-soname,libmiddle.so", "-o", "libmiddle.so", "libmiddle.c"]
        subprocess.run([*command, *middle, "-L.", "-lleaf"], cwd=tree / folder, check=True)
    (tree / "main.c").write_text(MAIN)
    command = ["gcc", "-o", "main", "main.c", "-Lone", "-lmiddle", "-Wl,-rpath-link,one", *options]
    subprocess.run(command, cwd=tree, check=True)
    return tree / "main"


def by_the_linker(path, environment):
    """Return the (name, path) that the dynamic linker finds, in its order; the program is not run."""
    variables = {**os.environ, **environment, "LD_TRACE_LOADED_OBJECTS": "1"}
    message = subprocess.run([path], env=variables, capture_output=True, text=True, check=True).stdout
    matches = re.findall(r"^\t(?:\S+ => )?(\S+) \(", message, re.M)
    return [os.path.realpath(match) for match in matches if "vdso" not in match]


RPATH, RUNPATH = "-Wl,--disable-new-dtags", "-Wl,--enable-new-dtags"


@pytest.mark.parametrize(
    ("options", "middle", "environment"),
    [
        ((RPATH, "-Wl,-rpath,$ORIGIN/one"), (), {}),
        ((RPATH, "-Wl,-rpath,$ORIGIN/one"), (), {"LD_LIBRARY_PATH": "two"}),
        ((RUNPATH, "-Wl,-rpath,$ORIGIN/one"), (RUNPATH, "-Wl,-rpath,${ORIGIN}"), {}),
        ((RUNPATH, "-Wl,-rpath,$ORIGIN/one"), (RUNPATH, "-Wl,-rpath,$ORIGIN"), {"LD_LIBRARY_PATH": "two"}),
        ((RPATH, "-Wl,-rpath,$ORIGIN/one"), (RUNPATH, "-Wl,-rpath,$ORIGIN/../two"), {}),
        ((RPATH, "-Wl,-rpath,/nowhere:$ORIGIN/two"), (), {"LD_PRELOAD": "one/libleaf.so"}),
        ((), (), {"LD_LIBRARY_PATH": "/nowhere:one;two"}),
        ((), (), {"LD_LIBRARY_PATH": "two", "LD_PRELOAD": "libleaf.so one/libmiddle.so"}),
    ],
)
def test_files_equal_the_dynamic_linkers_choice(tree, monkeypatch, options, middle, environment):
    monkeypatch.chdir(tree)
    main = program(tree, *options, middle=middle)
    actual = dynamic_linker.loaded(str(main), environment)
    assert [os.path.realpath(path) for path in actual[1:] if "ld-linux" not in path] == [
        path for path in by_the_linker(main, environment) if "ld-linux" not in path
    ]
    for name in ("libmiddle", "middle", "libleaf.so"):
        chosen = dynamic_linker.resolve_library(name, [str(main)], environment)
        assert chosen in actual
        assert "middle" in chosen or "leaf" in chosen


def test_a_child_has_the_library_path_too(tree, monkeypatch):
    monkeypatch.chdir(tree)
    assert (
        dynamic_linker.resolve_library("libleaf", ["/bin/true"], {"LD_LIBRARY_PATH": "two"})
        == "two/libleaf.so"
    )
    assert dynamic_linker.resolve_library("libleaf", ["/bin/true"], {}) == ""


def test_a_script_is_its_interpreter(tmp_path, monkeypatch):
    for name, head in {"direct": "#!/bin/sh -e", "found": "#!/usr/bin/env sh", "none": "#!/no/such"}.items():
        (tmp_path / name).write_text(f"{head}\nexit\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert program_of("direct") == "/bin/sh"
    assert program_of("found") == "/usr/bin/sh"
    assert dynamic_linker.loaded(program_of("none")) == []
    assert program_of("nothing-is-called-so") == ""


def program_of(*command):
    return dynamic_linker.program_of(commands.find_execution(command))


@pytest.mark.parametrize(
    ("command", "program", "changed"),
    [
        (["env", "A=1", "prog", "B=2"], "prog", {"A": "1"}),
        (["/usr/bin/env", "-i", "A=", "./prog"], "./prog", {"": "", "A": ""}),
        (["env", "-", "PATH=/x", "prog"], "prog", {"": "", "PATH": "/x"}),
        (["env", "-u", "HOME", "-uUSER", "--unset=A", "--unset", "B", "prog"], "prog", {"HOME": None}),
        (["env", "-i", "-u", "HOME", "--", "A=b=c", "prog", "-x"], "prog", {"": "", "A": "b=c"}),
        (["env", "A=1", "env", "A=2", "B=3", "prog"], "prog", {"A": "2", "B": "3"}),
        (["env", "--ignore-signal=PIPE", "-v", "-a", "name", "A=1", "prog"], "prog", {"A": "1"}),
        (["sh", "-c", "A=1 B=/x:/y ./prog -o file"], "./prog", {"A": "1", "B": "/x:/y"}),
        (["bash", "-c", "exec env A=1 prog"], "prog", {"A": "1"}),
        (["sh", "-c", "A=$HOME prog"], "sh", {}),
        (["sh", "-c", "cd /; prog"], "sh", {}),
        (["sh", "-c", "exec -a name prog"], "sh", {}),
        (["sh", "-ec", "prog"], "sh", {}),
        (["env", "-S", "A=1 prog"], "env", {}),
        (["env", "A=1"], "env", {}),
        (["env", "-u"], "env", {}),
        (["env"], "env", {}),
        (["prog", "env", "A=1"], "prog", {}),
    ],
)
def test_programs_executed_by_env_and_shells(command, program, changed):
    """``""`` is an environment that was emptied first, None a variable that was removed."""
    before = {"HOME": "/home", "PATH": "/bin"}
    expected = {} if "" in changed else dict(before)
    for name, value in changed.items():
        if value is None:
            del expected[name]
        elif name:
            expected[name] = value
    actual = commands.find_execution(command, before)
    assert (actual.program, actual.environment) == (program, expected)


@pytest.mark.parametrize(
    ("command", "program"),
    [
        (["nice", "-n", "5", "prog", "kill"], "prog"),
        (["timeout", "-s", "kill", "5", "prog"], "prog"),
        (["/usr/bin/timeout", "--signal=kill", "5", "env", "A=1", "./prog"], "./prog"),
        (["unshare", "-m", "prog"], "prog"),
        (["stdbuf", "-oL", "-e0", "nohup", "prog", "-x"], "prog"),
        (["sudo", "-u", "somebody", "prog"], "prog"),
        (["sh", "-c", "exec nice prog"], "prog"),
        (["env", "-C", "folder", "nice", "./other"], "./other"),
        (["timeout", "5", "./prog"], "./prog"),
        (["timeout", "5", "missing"], "timeout"),
        (["timeout"], "timeout"),
    ],
)
def test_programs_executed_by_wrappers(tmp_path, monkeypatch, command, program):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    for name in ("prog", "kill", "folder/other"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    environment = {"PATH": str(tmp_path), "LD_LIBRARY_PATH": "/x"}
    actual = commands.find_execution(command, environment)
    assert actual.program == program
    assert ("LD_LIBRARY_PATH" in actual.environment) == (command[0] != "sudo")


@pytest.mark.parametrize("folder", ["one", "two"])
def test_the_environment_selects_library_and_program(tree, monkeypatch, folder):
    monkeypatch.chdir(tree)
    main = program(tree)
    setting = f"LD_LIBRARY_PATH={folder}"
    for command in (["env", setting, str(main)], ["sh", "-c", f"{setting} {main}"]):
        actual = dynamic_linker.resolve_library("libleaf", command, {})
        assert os.path.realpath(actual) == f"{tree}/{folder}/libleaf.so"
    for words in (["env", f"PATH={tree}", main.name], ["env", "-C", str(tree), f"./{main.name}"]):
        actual = dynamic_linker.program_of(commands.find_execution(words, {}))
        assert os.path.realpath(actual) == os.path.realpath(main)


def test_a_hint_names_the_library_of_a_function(tree, monkeypatch):
    main = program(tree, "-Wl,-rpath,$ORIGIN/one")
    with program_files.find(str(main)) as file, pytest.raises(UnknownNameError) as excinfo:
        places.find(file, "middle")
    assert excinfo.value.hint == f"it is in a library that {main} loads: {tree / 'one/libmiddle.so'}:middle"


def test_a_hint_names_the_mangled_symbol(tmp_path):
    source = (
        'namespace ns { struct Foo { __attribute__((noinline)) int bar(int x) { asm(""); return x; } }; }\n'
    )
    path = compile_files(tmp_path, {"program.cc": source + "int main() { return ns::Foo{}.bar(1); }\n"})
    with program_files.find(str(path)) as file:
        with pytest.raises(UnknownNameError) as excinfo:
            places.find(file, "bar")
        assert excinfo.value.hint == 'did you mean "ns::Foo::bar(int)"?'
        assert places.find(file, '"ns::Foo::bar(int)"').sites


def test_a_program_whose_name_begins_so_is_suggested(tmp_path, monkeypatch):
    (tmp_path / "somedb-server").touch()
    monkeypatch.setattr(program_files, "_PATH", (str(tmp_path),))
    with pytest.raises(UnknownNameError) as excinfo:
        program_files.find("somedb")
    assert excinfo.value.hint == "did you mean somedb-server?"
