"""Test kernel builds without building: the steps, their commands and the stored files."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT))

from lab import build, cli, compile, host, kconfig, kernels, variants  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.variants import FRAGMENTS, VARIANTS, Variant  # noqa: E402

# Stands for make: notes how it was called; configures as it is asked to, but for an option that it drops.
MAKE = """#!/bin/sh
echo "$@" >>"$LAB_TEST/calls"
for word; do case $word in O=*) out=${word#O=} ;; KCONFIG_ALLCONFIG=*) asked=${word#*=} ;; esac; done
for target; do :; done
case $target in
    allnoconfig) grep -v CONFIG_DROPPED= "$asked" >"$out/.config" ;;
    bzImage)
        cd "$out" && mkdir -p arch/x86/boot arch/x86/include/generated include/config include/generated
        echo 6.1.9-x >"$out/include/config/kernel.release"
        echo kernel >"$out/arch/x86/boot/bzImage"
        echo map >"$out/System.map"
        echo made >"$out/include/generated/autoconf.h"
        echo kernel/x.ko >"$out/modules.builtin"
        [ ! -e "$LAB_TEST/fail" ] || { seq 100; echo "x.c:1: error: no"; exit 2; }
        if [ -e "$LAB_TEST/hang" ]; then
            sleep 1000 &
            echo $! >"$LAB_TEST/new" && mv "$LAB_TEST/new" "$LAB_TEST/child"
            wait $!
            exec sleep 100
        fi
        ;;
esac
env >"$LAB_TEST/environment"
"""


@pytest.fixture
def build_environment(tmp_path, monkeypatch):
    """Use a cache, a make and fragments of the test's own. Returns the folder where make writes its log."""
    notes = tmp_path / "notes"
    (tmp_path / "bin").mkdir()
    notes.mkdir()
    for name, text in (("make", MAKE.replace("$LAB_TEST", str(notes))), ("depmod", "#!/bin/sh\n")):
        program = tmp_path / "bin" / name
        program.write_text(text)
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("KBUILD_BUILD_HOST", "somewhere")
    monkeypatch.setattr(build, "FRAGMENTS", tmp_path)
    (tmp_path / "one.config").write_text("CONFIG_ONE=y\n")
    return notes


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Replace the source package, without apt and its archives; count how often it is unpacked."""
    unpacked = []

    class Fake:
        version = "6.1.9-1"

        def __init__(self, *_):
            pass

        def update(self):
            pass

        def show(self, package):
            return {"Depends": "linux-source-6.1 (= 6.1.9-1), x"} if package == "linux-source" else self.of()

        def of(self):
            return {"Version": Fake.version}

        def download(self, versions, folder):
            (folder / "linux-source-6.1.deb").write_text(str(versions))
            return [folder / "linux-source-6.1.deb"]

    def unpack(package, folder):
        unpacked.append(package.name)
        for name in ("include/linux/kconfig.h", "arch/x86/include/asm/page.h", "drivers/big.c"):
            path = folder / "source" / name
            path.parent.mkdir(parents=True)
            path.write_text(name)
        return folder / "source"

    monkeypatch.setattr(build, "Apt", Fake)
    monkeypatch.setattr(build, "find_mirror", lambda: None)
    monkeypatch.setattr(build, "need", lambda wanted: None)
    monkeypatch.setattr(build, "need_space", lambda folder, megabytes: None)
    monkeypatch.setattr(build, "unpack", unpack)
    Fake.unpacked = unpacked
    return Fake


ONE = Variant("one", "6.1", ("one.config",), "a test")


# ---- what is asked for


def test_variants_are_not_mistaken_for_anything_else():
    names = [variant.name for variant in VARIANTS]
    assert len(set(names)) == len(names)
    assert not set(names) & {*cli.ACTIONS, *(kernel.name for kernel in kernels.KERNELS)}
    assert all(name.isalnum() for name in names)  # part of a release
    assert all(kernels.by_name(variant.base) for variant in VARIANTS)


def test_fragments_are_valid_for_the_kernels_tools_and_used():
    assert {file.name for file in FRAGMENTS.iterdir()} == {
        name for variant in VARIANTS for name in variant.fragments
    }
    for file in FRAGMENTS.iterdir():
        text = file.read_text()
        requests = kconfig.options(text, file.name)
        assert len(requests) == sum("CONFIG_" in line for line in text.splitlines()), f"{file.name}: twice"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("override", {"BPF_KPROBE_OVERRIDE": "y", "FUNCTION_ERROR_INJECTION": "y", "DEBUG_INFO_BTF": "y"}),
        ("ikheaders", {"IKHEADERS": "y", "DEBUG_INFO_BTF": "n", "KPROBES": "y"}),
        ("bare", {"DEBUG_INFO_BTF": "n", "KPROBES": "n", "IKHEADERS": "n", "BPF_SYSCALL": "y"}),
    ],
)
def test_purposes_of_variants(name, wanted):
    requests = kconfig.merged(FRAGMENTS / file for file in build.find(name).fragments)
    assert {option: requests[option] for option in wanted} == wanted


def test_every_variant_is_in_the_guide():
    rows = re.findall(r"^\| `(\w+)` \|", (ROOT / "CONTRIBUTING.md").read_text(), re.M)
    assert rows == [variant.name for variant in VARIANTS]


def test_the_later_of_two_fragments_takes_precedence(tmp_path):
    (tmp_path / "a").write_text('# A comment\n\nCONFIG_A=y\nCONFIG_S="a b"\nCONFIG_N=5  \n')
    (tmp_path / "b").write_text("# CONFIG_A is not set\n")
    requests = kconfig.merged([tmp_path / "a", tmp_path / "b"])
    assert requests == {"A": "n", "S": '"a b"', "N": "5"}
    assert kconfig.text_of(requests) == '# CONFIG_A is not set\nCONFIG_N=5\nCONFIG_S="a b"\n'
    assert kconfig.options(kconfig.text_of(requests)) == requests


@pytest.mark.parametrize(
    "line",
    ["CONFIG_X", "CONFIG_X=", "CONFIG_X =y", "X=y", "#CONFIG_X is not set", "# CONFIG_X=y", " CONFIG_X=y"],
)
def test_a_line_that_would_be_passed_over_is_refused(line):
    with pytest.raises(LabError, match=r"f:2: not an option"):
        kconfig.options(f"CONFIG_A=y\n{line}\n", "f")


def test_dropped_or_changed_options_are_found():
    final = 'CONFIG_A=y\nCONFIG_M=m\n# CONFIG_C is not set\nCONFIG_ON=y\nCONFIG_S="x"\n'
    requests = {"A": "y", "M": "y", "C": "y", "GONE": "y", "ON": "n", "OFF": "n", "S": '"x"'}
    assert kconfig.refused(requests, final) == ["M=y (is m)", "C=y (is n)", "GONE=y (is n)", "ON=n (is y)"]


# ---- what is done about it


def test_a_kernel_is_built_once_and_is_placed_as_packages_do(build_environment, source, capsys):
    build.build([ONE])
    actual = build.built(ONE)
    assert (actual.release, actual.version) == ("6.1.9-x", "6.1.9-1")
    image = build.image(ONE)
    assert image.file.read_text() == "kernel\n"
    assert image.tree == actual.folder
    assert (actual.folder / "boot/System.map-6.1.9-x").read_text() == "map\n"
    assert (actual.folder / "boot/config-6.1.9-x").read_text() == "CONFIG_ONE=y\n"
    assert image.modules.joinpath("modules.builtin").read_text() == "kernel/x.ko\n"
    assert not (actual.folder / "usr").exists()
    build.build([ONE])
    assert len(source.unpacked) == 1
    assert "up to date" in capsys.readouterr().err
    assert sorted(path.name for path in build.folder_of_all().iterdir()) == sorted(
        [actual.tree, "one.json", "one.log"]
    )


def test_make_gets_exactly_the_needed_variables(build_environment, source):
    build.build([ONE])
    configured, compiled = (build_environment / "calls").read_text().splitlines()
    assert configured.endswith(" allnoconfig")
    assert compiled.endswith(" bzImage")
    assert "ARCH=x86_64" in compiled
    assert "LOCALVERSION=-one" in compiled
    environment = (build_environment / "environment").read_text().splitlines()
    assert "KBUILD_BUILD_HOST=pytracer" in environment
    assert not [line for line in environment if line.startswith("XDG_CACHE_HOME=")]


def test_headers_are_installed_with_kernels_that_request_them(build_environment, source):
    variant = replace(ONE, headers=True)
    tree = build.image(variant).tree
    headers = tree / "usr/src/linux-headers-6.1.9-x"
    assert str((tree / "lib/modules/6.1.9-x/build").readlink()) == "/usr/src/linux-headers-6.1.9-x"
    for name in ("include/linux/kconfig.h", "arch/x86/include/asm/page.h", "include/generated/autoconf.h"):
        assert (headers / name).is_file(), name
    assert not (headers / "drivers").exists()


def test_another_source_or_fragment_is_another_kernel(build_environment, source, tmp_path):
    build.build([ONE])
    first = build.built(ONE)
    (tmp_path / "one.config").write_text("# told otherwise\nCONFIG_ONE=y\n")
    assert build.built(ONE) == first  # a comment changes nothing
    (tmp_path / "one.config").write_text("CONFIG_ONE=y\nCONFIG_TWO=y\n")
    assert build.built(ONE) is None
    build.build([ONE])
    second = build.built(ONE)
    source.version = "6.1.10-1"
    assert build.built(ONE) == second  # what is new in the suite is asked for by "build" alone
    build.build([ONE])
    third = build.built(ONE)
    assert len({first.tree, second.tree, third.tree}) == 3
    assert [path.name for path in build.folder_of_all().glob("one-*")] == [third.tree]
    stored = host.cache_folder() / "source"
    assert [path.name for path in stored.glob("*.deb")] == ["linux-source-6.1_6.1.10-1_all.deb"]


def test_an_option_that_is_not_to_be_had_is_named(build_environment, source, tmp_path):
    (tmp_path / "one.config").write_text("CONFIG_ONE=y\nCONFIG_DROPPED=y\n")
    with pytest.raises(LabError, match=r"one: not to be had in this kernel: DROPPED=y \(is n\)$"):
        build.build([ONE])
    assert "bzImage" not in (build_environment / "calls").read_text()
    assert build.built(ONE) is None
    assert [path.name for path in build.folder_of_all().iterdir()] == ["one.log"]


def test_a_compiler_failure_shows_the_end_of_the_log(build_environment, source, capsys):
    (build_environment / "fail").touch()
    with pytest.raises(LabError, match="one: make bzImage failed") as error:
        build.build([ONE])
    log = build.folder_of_all() / "one.log"
    assert str(log) in error.value.hint
    output = capsys.readouterr().err
    assert "  | x.c:1: error: no\n" in output
    assert "  | 100\n" in output
    assert "  | 50\n" not in output
    assert [path.name for path in build.folder_of_all().iterdir()] == ["one.log"]


def test_a_signal_ends_all_that_make_has_started(build_environment, tmp_path):
    class Stop(BaseException):
        pass

    def stop(*_):
        if (build_environment / "child").exists() and (build_environment / "child").read_text():
            raise Stop
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    (build_environment / "hang").touch()
    make = compile.Make("one", tmp_path, tmp_path / "work", tmp_path / "log")
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(Stop):
            make("bzImage")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    child = Path("/proc") / (build_environment / "child").read_text().strip()
    deadline = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(child)


def test_make_ends_if_the_lab_is_killed(build_environment, tmp_path):
    (build_environment / "hang").touch()
    code = (
        f"import sys; sys.path.append({str(ROOT)!r}); from pathlib import Path; from lab.compile import Make;"
        f"root = Path({str(tmp_path)!r}); Make('one', root, root / 'work', root / 'log')('bzImage')"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as running:
        deadline = time.monotonic() + 20
        while not (build_environment / "child").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        child = Path("/proc") / (build_environment / "child").read_text().strip()
        make = Path("/proc") / child.joinpath("stat").read_text().rpartition(")")[2].split()[1]
        running.kill()
    os.kill(int(child.name), signal.SIGKILL)
    while is_alive(make) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(make)


def is_alive(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_incomplete_builds_are_removed_and_other_files_are_not(build_environment, source):
    lock_folder = build.folder_of_all()
    (lock_folder / "new-x/source").mkdir(parents=True)
    (lock_folder / "old-1").mkdir()
    (lock_folder / "other-1").mkdir()
    (lock_folder / "other.json").write_text(json.dumps({"tree": "other-1"}))
    build.build([ONE])
    assert not (lock_folder / "new-x").exists()
    assert not (lock_folder / "old-1").exists()
    assert (lock_folder / "other-1").is_dir()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"name": 1}', "null"])
def test_a_damaged_manifest_is_none(build_environment, source, text):
    build.build([ONE])
    (build.folder_of_all() / "one.json").write_text(text)
    assert build.built(ONE) is None


def test_a_suite_without_source(source, monkeypatch):
    monkeypatch.setattr(source, "show", lambda self, package: {"Depends": "something-else"})
    with pytest.raises(LabError, match="leads to no source"):
        build._package(source())


# ---- the command line


def test_built_kernels_are_listed(build_environment, source, monkeypatch, capsys):
    monkeypatch.setattr(cli, "VARIANTS", (ONE,))
    assert cli.main(["list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(kernels.KERNELS)
    build.build([ONE])
    capsys.readouterr()
    assert cli.main(["list"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["one", "built", "6.1.9-x", "-", "a", "test"]


def test_all_or_those_that_are_named_are_built(monkeypatch):
    requests = []
    monkeypatch.setattr(build, "build", requests.append)
    assert cli.main(["build"]) == 0
    assert cli.main(["build", "bare"]) == 0
    assert [[variant.name for variant in batch] for batch in requests] == [
        [variant.name for variant in VARIANTS],
        ["bare"],
    ]


def test_a_name_that_is_none(capsys):
    assert cli.main(["build", "6.1"]) == 125
    assert "no such kernel to build: 6.1 (one of override, ikheaders, bare)" in capsys.readouterr().err
    assert cli.main(["setup", "everything"]) == 125
    assert "set-up for what? everything" in capsys.readouterr().err


def test_missing_build_tools_are_reported_with_the_command_to_install_them(monkeypatch):
    monkeypatch.setattr(host, "which", lambda program: None if program in ("flex", "xz") else "/x")
    monkeypatch.setattr(host, "INCLUDES", {"libc": Path("/"), "libelf": Path("/no/such")})
    with pytest.raises(LabError, match="missing: flex, xz, libelf, libc") as error:
        host.need(["flex", "xz", "libelf", "libc"])
    assert error.value.hint.startswith("scripts/lab setup build, or: apt-get install ")
    assert error.value.hint.endswith(" flex xz-utils libelf-dev libc6-dev")


def test_kernels_are_built_where_they_would_run(monkeypatch):
    machine = os.uname_result(("Linux", "host", "6.1", "#1", "aarch64"))
    monkeypatch.setattr(build.os, "uname", lambda: machine)
    with pytest.raises(LabError, match="x86-64 only"):
        build.build([ONE])


def test_a_variant_is_found_by_its_name():
    assert variants.by_name("bare").headers
    assert variants.by_name("6.1") is None
