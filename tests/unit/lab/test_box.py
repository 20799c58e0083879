"""Test the box and scripts/kernel, without a virtual machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from lab import box, box_kernels, box_tree, box_try, host, kernels
from lab.errors import LabError

ROOT = Path(__file__).resolve().parents[3]
apt = pytest.mark.skipif(not shutil.which("apt-get"), reason="no apt here")

MENU = """\
set default="0"
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-8f' {
\tlinux /boot/vmlinuz-6.12.11-cloud-amd64 root=UUID=8f
}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced-8f' {
\tmenuentry 'Linux 6.12.11' --class debian $menuentry_id_option 'gnulinux-6.12.11-cloud-amd64-advanced-8f' {
\t\tlinux /boot/vmlinuz-6.12.11-cloud-amd64 root=UUID=8f
\t}
\tmenuentry 'Linux 6.12.1 (recovery mode)' $menuentry_id_option 'gnulinux-6.12.1-cloud-amd64-recovery-8f' {
\t}
\tmenuentry 'Linux 6.12.1' --class debian $menuentry_id_option 'gnulinux-6.12.1-cloud-amd64-advanced-8f' {
\t}
}
menuentry 'Linux 5.10' --class debian $menuentry_id_option 'gnulinux-5.10-advanced-8f' {
}
"""


def shell(words: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Return a line of shell with the functions of scripts/kernel."""
    command = ["bash", "-c", f'source "$1"; shift; {words}', "box", str(ROOT / "scripts/kernel"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(ROOT / "scripts/kernel"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")


# ---- scripts/kernel


@pytest.mark.parametrize(
    ("version", "entry"),
    [
        ("6.12.1-cloud-amd64", "gnulinux-advanced-8f>gnulinux-6.12.1-cloud-amd64-advanced-8f"),
        ("6.12.11-cloud-amd64", "gnulinux-advanced-8f>gnulinux-6.12.11-cloud-amd64-advanced-8f"),
        ("5.10", "gnulinux-5.10-advanced-8f"),
    ],
)
def test_the_menu_entry_is_the_kernels_own_and_no_recovery(version, entry):
    assert shell('entry_of "$1"', version, stdin=MENU).stdout == f"{entry}\n"


def test_a_menu_without_the_kernel_is_a_failure():
    result = shell('entry_of "$1"', "6.12", stdin=MENU)
    assert (result.returncode != 0, result.stdout) == (True, "")


def test_all_kernels_are_listed_and_the_archives_is_reported_as_untried():
    lines = script("--list").stdout.splitlines()
    assert [line.split()[0] for line in lines] == [
        kernel.name for kernel in (*kernels.KERNELS, *kernels.ARCHIVED)
    ]
    assert [line for line in lines if "untried" in line] == [
        "4.19     buster (from Debian's archive, untried)"
    ]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("6.9",), 2, "no kernel 6.9: one of 5.10 6.1 6.12 newest 4.19"),
        (("5x10",), 2, "no kernel 5x10"),
        (("--what",), 2, "no kernel --what"),
        (("[6",), 2, "no kernel [6"),
        ((), 2, "one argument is wanted"),
        (("6.12", "newest"), 2, "one argument is wanted"),
    ],
)
def test_errors_are_one_line_and_a_hint(arguments, status, words):
    result = script(*arguments)
    assert (result.returncode, result.stdout) == (status, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith(f"pytracer: error: {words}")
    assert hint.startswith("hint: scripts/kernel --")


def test_an_ordinary_user_gets_an_error(tmp_path):
    if os.geteuid() == 0:
        result = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", str(ROOT / "scripts/kernel"), "6.12"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    else:
        result = script("6.12")
    assert result.returncode == 5
    assert result.stderr.splitlines()[0] == "pytracer: error: not permitted to install a kernel"


def test_the_archive_is_used_although_its_dates_are_over():
    line = shell('list_sources "$@"', "buster", "-", "archive").stdout
    assert line.startswith("deb [check-valid-until=no")
    assert line.endswith("http://archive.debian.org/debian buster main\n")


@apt
def test_a_mirror_has_security_updates_where_the_suite_has(tmp_path):
    def suites(*arguments):
        return [line.split()[-2] for line in shell('list_sources "$@"', *arguments).stdout.splitlines()]

    assert suites("trixie", "trixie-security", "mirror") == ["trixie", "trixie-security"]
    assert suites("sid", "-", "mirror") == ["sid"]


# ---- what apt makes of it: two suites of a few packages, in an apt root of its own


def repository(folder: Path, codename: str, packages: str) -> str:
    folder.mkdir()
    (folder / "Packages").write_text(packages)
    data = packages.encode()
    (folder / "Release").write_text(
        f"Origin: Debian\nLabel: Debian\nCodename: {codename}\nSuite: {codename}\nArchitectures: amd64\n"
        f"SHA256:\n {hashlib.sha256(data).hexdigest()} {len(data)} Packages\n"
    )
    return f"deb [trusted=yes] file:{folder} ./\n"


def package(name: str, version: str, extra_fields: str = "", status: str = "") -> str:
    data = f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: us <us@example.org>\n"
    data += (
        "Status: install ok installed\n"
        if status
        else f"Filename: ./{name}.deb\nSize: 1\nSHA256: {'0' * 64}\n"
    )
    return f"{data}Description: test\n{extra_fields}\n"


OWN = [("bash", "1", ""), ("linux-base", "4.12", ""), ("linux-image-cloud-amd64", "6.1", "")]
OTHER = [
    ("bash", "2", ""),
    ("only-there", "2", ""),
    ("linux-base", "4.17", ""),
    ("linux-perf", "7.2", ""),
    ("linux-image-cloud-amd64", "7.2", "Depends: linux-image-7.2-cloud-amd64 (= 7.2-1)\n"),
    ("linux-image-7.2-cloud-amd64", "7.2-1", "Pre-Depends: linux-base (>= 4.17~)\n"),
]


@pytest.fixture
def root(tmp_path):
    """Create an apt root with bookworm installed, and with the kernel of a suite named in the test."""

    def make(folder: str):
        for name in ("lists/partial", "cache/archives/partial", "state", "log"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "status").write_text("".join(package(*fields, status="installed") for fields in OWN))
        own_repository = repository(tmp_path / "own", "bookworm", "".join(package(*fields) for fields in OWN))
        other = repository(tmp_path / "other", "sid", "".join(package(*fields) for fields in OTHER))
        (tmp_path / "sources.list").write_text(own_repository + other)
        (tmp_path / "only.list").write_text(other)
        (tmp_path / "preferences").write_text(shell('pin "$@"', "sid", "-", folder).stdout)
        settings = {
            "Dir::Etc::sourcelist": "sources.list", "Dir::Etc::preferences": "preferences", "Dir::Log": "log",
            "Dir::State": "state", "Dir::State::lists": "lists", "Dir::State::status": "status",
            "Dir::Cache": "cache",
        }  # fmt: skip
        lines = [f'{name} "{tmp_path}/{value}";' for name, value in settings.items()]
        nothing = ("Dir::Etc::sourceparts", "Dir::Etc::parts", "Dir::Etc::main", "Dir::Etc::preferencesparts")
        lines += [f'{name} "/dev/null";' for name in nothing]
        lines += ['APT::Architecture "amd64";', 'APT::Sandbox::User "";', 'Acquire::Languages "none";']
        (tmp_path / "apt.conf").write_text("\n".join(lines) + "\n")
        run("update")
        return run

    def run(*words: str) -> list[str]:
        environment = os.environ | {"APT_CONFIG": str(tmp_path / "apt.conf"), "LC_ALL": "C.UTF-8"}
        result = subprocess.run(
            ["apt-get", "-q", *words], capture_output=True, text=True, check=False, env=environment
        )
        assert result.returncode == 0, result.stderr
        return [
            " ".join(line.split()[1:3]) for line in result.stdout.splitlines() if line.startswith("Inst ")
        ]

    return make


@apt
def test_a_newer_suite_provides_the_kernel_and_its_installation_tools(root):
    simulated = root("mirror")("--simulate", "install", "linux-image-7.2-cloud-amd64")
    assert simulated == ["linux-base [4.12]", "linux-image-7.2-cloud-amd64 (7.2-1"]


@apt
def test_an_upgrade_brings_no_program_and_no_other_kernel(root):
    assert root("mirror")("--simulate", "dist-upgrade") == ["linux-base [4.12]"]


@apt
@pytest.mark.parametrize(("folder", "is_present"), [("mirror", False), ("archive", True)])
def test_the_archive_provides_only_packages_that_no_other_suite_has(root, folder, is_present):
    run = root(folder)
    if is_present:
        assert run("--simulate", "install", "only-there") == ["only-there (2"]
        assert run("--simulate", "dist-upgrade") == ["linux-base [4.12]"]
    else:
        with pytest.raises(AssertionError, match="only-there"):
            run("--simulate", "install", "only-there")


@apt
def test_the_suites_image_is_found_among_installed_images(root, tmp_path, monkeypatch):
    root("mirror")
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    only = f"-o Dir::Etc::sourcelist={tmp_path}/only.list -o Dir::Etc::preferences=/dev/null"
    assert shell(f"image_of cloud-amd64 {only}").stdout == "linux-image-7.2-cloud-amd64\n"
    assert shell(f"image_of armmp {only}").stdout == ""


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="no dpkg here")
def test_packages_that_came_with_the_machine_are_no_step_back(tmp_path):
    for name in ("dpkg", "pytracer-not-installed"):
        control = tmp_path / name / "DEBIAN/control"
        control.parent.mkdir(parents=True)
        control.write_text(
            f"Package: {name}\nVersion: 0.1\nArchitecture: all\nDescription: x\n"
            "Maintainer: us <us@example.org>\n"
        )
        (tmp_path / "6.12").mkdir(exist_ok=True)
        subprocess.run(
            ["dpkg-deb", "-b", tmp_path / name, tmp_path / f"6.12/{name}.deb"],
            check=True,
            capture_output=True,
        )
    stdout = shell('brought=$1; brought_packages "$2"', str(tmp_path), "6.12").stdout
    assert stdout == f"{tmp_path}/6.12/pytracer-not-installed.deb\n"
    assert shell('brought=$1; brought_packages "$2"', str(tmp_path), "newest").stdout == ""


@pytest.mark.skipif(not shutil.which("run-parts"), reason="no run-parts here")
def test_hooks_of_several_folders_run_in_one_order_and_the_first_folders_win(tmp_path):
    for name in ("first/20-x", "second/10-y", "second/20-x"):
        hook = tmp_path / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        hook.chmod(0o755)
    words = 'shim; PATH=$shim:$PATH run-parts --arg=V "$@"; rm -r "$shim"'
    result = shell(words, str(tmp_path / "first"), str(tmp_path / "second"))
    assert result.stdout == "second/10-y V\nfirst/20-x V\n"
    assert shell(words, str(tmp_path / "second")).stdout == "second/10-y V\nsecond/20-x V\n"


# ---- scripts/box


@pytest.fixture
def box_class(tmp_path, monkeypatch):
    """Make a box of an empty cache, with nothing in the environment."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for variable in (box.KERNEL_VARIABLE, box.BOX_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    return box.Box


def test_one_box_serves_all_kernels(box_class, monkeypatch):
    first_box = box_class()
    assert first_box.name == "debian/bookworm64"
    assert '"debian/bookworm64"' in (ROOT / "Vagrantfile").read_text()
    for kernel in kernels.KERNELS:
        monkeypatch.setenv(box.KERNEL_VARIABLE, kernel.name)
        assert (box_class().name, box_class().file) == (first_box.name, first_box.file)


@pytest.mark.parametrize("wanted", ["6.9", "4.19"])
def test_a_kernel_that_the_box_has_no_packages_of(box_class, monkeypatch, capsys, wanted):
    monkeypatch.setenv(box.KERNEL_VARIABLE, wanted)
    assert box.main(["add"]) == 1
    message = f"no kernel {wanted} for the box (PYTRACER_KERNEL is one of 5.10, 6.1, 6.12, newest)"
    assert capsys.readouterr().err == f"box: error: {message}\n"


def test_missing_packages_are_reported_with_the_command_to_install_them(monkeypatch):
    monkeypatch.setattr(box, "which", lambda program: None)
    with pytest.raises(LabError, match="missing: vagrant, libvirt-daemon-system") as error:
        box.need(("vagrant", "libvirtd"))
    assert error.value.hint.startswith(
        "apt-get install --no-install-recommends vagrant libvirt-daemon-system"
    )


def test_no_space_is_reported_before_anything_is_made(box_class, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(host.shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
    monkeypatch.setattr(box, "need", lambda programs: None)
    monkeypatch.setattr(box, "need_root", lambda action: None)
    assert box.main(["build"]) == 1
    assert capsys.readouterr().err.startswith(
        f"box: error: no space: {box.SPACE} MB are needed in {tmp_path}"
    )
    assert list(tmp_path.iterdir()) == []


def test_vagrants_list_is_read_for_one_box_and_libvirt(box_class, monkeypatch):
    listed = "".join(
        f"1,,box-name,{name}\n1,,box-provider,{provider}\n1,,box-version,{version}\n"
        for name, provider, version in [
            ("debian/bookworm64", "virtualbox", "12.1"),
            ("debian/bookworm64", "libvirt", "0"),
            ("debian/trixie64", "libvirt", "3"),
        ]
    )
    monkeypatch.setattr(box_try, "vagrant", lambda *words, **options: SimpleNamespace(stdout=listed))
    assert box_class().versions("debian/bookworm64") == ["0"]
    assert box_class().versions("debian/sid64") == []


def test_vagrant_gets_no_option_that_undoes_machine_readable(tmp_path, monkeypatch):
    stub = tmp_path / "vagrant"
    stub.write_text('#!/bin/sh\necho "$@"\n')
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert box_try.vagrant(["box", "list"], tmp_path, capture=True).stdout == "box list\n"


def test_clean_removes_what_was_added_and_nothing_else(box_class, monkeypatch, tmp_path):
    first_box = box_class()
    first_box.folder.mkdir(parents=True)
    first_box.mark.write_text('{"ours": "bookworm-0.box"}')
    (tmp_path / "pytracer-lab/6.1.json").write_text("{}")
    requests = []
    monkeypatch.setattr(box, "which", lambda program: program)
    monkeypatch.setattr(first_box, "versions", lambda name: [box.VERSION])
    monkeypatch.setattr(box_try, "vagrant", lambda words, folder, **options: requests.append(words))
    first_box.clean()
    assert [(words[:2], words[-1]) for words in requests] == [(["box", "remove"], "ours")]
    assert [path.name for path in (tmp_path / "pytracer-lab").iterdir()] == ["6.1.json"]


def test_the_number_behind_a_package_without_one():
    index_text = "Package: linux-image-cloud-amd64\nDepends: linux-base-cloud-amd64 (= 7.2.13-1), "
    assert box_kernels.numbered(index_text + "linux-image-7.2.13+deb14-cloud-amd64 (= 7.2.13-1)\n") == (
        "linux-image-7.2.13+deb14-cloud-amd64"
    )
    with pytest.raises(LabError, match="depends on no kernel"):
        box_kernels.numbered(index_text + "kmod\n")


def test_wheels_are_those_that_the_project_names():
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert (
        box_tree.requirements(ROOT)
        == project["build-system"]["requires"] + project["project"]["dependencies"]
    )
