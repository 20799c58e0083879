"""Test a suite's user space without a VM: the choice, the steps, and that it is complete or absent."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT))

from lab import apt, cli, debian, host, initramfs, kernel_image, kernels, suites  # noqa: E402
from lab.errors import LabError  # noqa: E402
from lab.fetch import locked  # noqa: E402


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pytracer-lab"


@pytest.fixture
def archive(cache, monkeypatch):
    """Simulate a Debian archive with given packages, and programs that fail."""

    class Archive:
        versions = {suites.BCC: "0.31.0+ds-7+b2"}
        installs = 0
        broken = False

    def show(self, package):
        return {"Version": Archive.versions.get(package, "1")}

    def debootstrap(self, packages, archives):
        assert suites.BCC in packages
        (self.root / "usr").mkdir(parents=True)
        if Archive.broken:
            raise LabError("debootstrap failed")
        Archive.installs += 1

    monkeypatch.setattr(suites, "find_mirror", lambda: apt.Mirror("http://m.invalid", "", ""))
    monkeypatch.setattr(suites, "need", lambda: None)
    monkeypatch.setattr(apt.Apt, "update", lambda self: None)
    monkeypatch.setattr(apt.Apt, "show", show)
    monkeypatch.setattr(debian.DebianTree, "debootstrap", debootstrap)
    return Archive


def cache_names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "debs")


# ---- which suites


def test_every_kernels_suite_is_one_or_has_a_reason():
    assert [*suites.LEFT_OUT, *suites.names()] == [kernel.suite for kernel in kernels.KERNELS]


def test_an_unknown_suite_is_an_error_before_anything_is_fetched(capsys, cache):
    for name, message in (("bullseye", "its Python is 3.9"), ("potato", "unknown suite: potato")):
        for words in (["--suite", name, "6.1", "--", "true"], ["fetch", "--suite", name]):
            assert cli.main(words) == 125
            line = capsys.readouterr().err
            assert line.startswith("lab: error: ")
            assert line.count("\n") == 1
            assert message in line
            assert "bookworm, trixie, sid" in line
    assert not cache.exists()


def test_packages_and_requirements_are_those_of_the_set_up():
    for level, compiler, tests in (("run", False, False), ("dev", True, True)):
        packages = debian.wanted(ROOT, level)
        assert {"python3-bpfcc", "python3-venv", "libseccomp2", "tcpdump"} <= set(packages)
        assert ("gcc" in packages) == compiler
        names = debian.requirements(ROOT, level)
        assert any(name.startswith("numpy") for name in names)
        assert any(name.startswith("pytest>") for name in names) == tests


# ---- a root


def test_a_root_is_made_once_and_again_when_the_suite_moved_on(archive, cache):
    kernel = suites.find("trixie")
    first = suites.fetch(kernel)
    assert (first.bcc, first.name, archive.installs) == ("0.31.0", "trixie", 1)
    assert suites.fetch(kernel) == first == suites.cached("trixie")
    assert archive.installs == 1
    archive.versions[suites.BCC] = "0.32.0-1"
    second = suites.fetch(kernel)
    assert (second.bcc, archive.installs) == ("0.32.0", 2)
    assert cache_names(cache / "suites") == [second.root, "trixie.json"]


def test_a_root_that_a_vm_uses_stays(archive, cache):
    kernel = suites.find("trixie")
    first = suites.fetch(kernel)
    archive.versions[suites.BCC] = "0.32.0-1"
    with locked(first.folder, fcntl.LOCK_SH):
        second = suites.fetch(kernel)
    assert cache_names(cache / "suites") == sorted([first.root, second.root, "trixie.json"])


def test_a_failed_update_leaves_the_old_suite(archive, cache):
    kernel = suites.find("trixie")
    first = suites.fetch(kernel)
    archive.versions[suites.BCC], archive.broken = "0.32.0-1", True
    with pytest.raises(LabError, match="debootstrap failed"):
        suites.fetch(kernel)
    assert suites.cached("trixie") == first
    assert cache_names(cache / "suites") == [first.root, "trixie.json"]


def test_leftovers_of_a_killed_install_are_removed_by_the_next(archive, cache):
    (cache / "suites/new-left/root/usr").mkdir(parents=True)
    first = suites.fetch(suites.find("trixie"))
    assert cache_names(cache / "suites") == [first.root, "trixie.json"]


def test_a_broken_manifest_and_a_lost_folder_are_no_root(archive, cache):
    suite = suites.fetch(suites.find("trixie"))
    shutil.rmtree(suite.folder)
    assert suites.cached("trixie") is None
    for text in ('{"name": ', "{}", '{"name": "trixie", "root": "debs", "packages": {}}'):
        (cache / "suites/trixie.json").write_text(text)
        assert suites.cached("trixie") is None


def test_a_set_up_that_wants_more_packages_gets_another_root(archive, cache, monkeypatch):
    monkeypatch.setattr(suites, "environment", lambda suite: Path("/environment"))
    suites.user_space("trixie")
    suites.user_space("trixie")
    assert archive.installs == 1
    monkeypatch.setattr(suites, "OWN", (*suites.OWN, "bpftrace"))
    assert suites.user_space("trixie").environment == Path("/environment")
    assert archive.installs == 2


# ---- an environment


@pytest.fixture
def set_up(archive, monkeypatch):
    """Replace pip and the chroot."""

    class SetUp:
        runs = 0
        broken = False

    def run(self, *command, name=""):
        if SetUp.broken:
            raise LabError(f"{name} failed")
        work = Path(command[command.index(suites.SET_UP) + 2])
        (work / "copy/.venv").mkdir()
        SetUp.runs += 1

    monkeypatch.setattr(debian.DebianTree, "fetch_wheels", lambda self, folder, level: None)
    monkeypatch.setattr(debian.DebianTree, "run", run)
    return SetUp


def test_an_environment_is_made_once_for_a_root_and_a_checkout(set_up, archive, cache, monkeypatch):
    suite = suites.fetch(suites.find("trixie"))
    environment = suites.environment(suite)
    assert suites.environment(suite) == environment
    assert set_up.runs == 1
    archive.versions[suites.BCC] = "0.32.0-1"
    newer = suites.environment(suites.fetch(suites.find("trixie")))
    assert cache_names(cache / "environments") == [newer.name]
    assert newer != environment
    assert set_up.runs == 2


def test_environments_of_other_checkouts_stay_as_long_as_those(set_up, cache, monkeypatch, tmp_path):
    suite = suites.fetch(suites.find("trixie"))
    other = tmp_path / "other"
    for path in (*suites.MADE_BY, "src/x.py"):
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).write_text("")
    with monkeypatch.context() as remote:
        remote.setattr(suites, "CHECKOUT", other)
        foreign = suites.environment(suite)
    own_environment = suites.environment(suite)
    assert cache_names(cache / "environments") == sorted([foreign.name, own_environment.name])
    shutil.rmtree(other)
    shutil.rmtree(own_environment)
    assert suites.environment(suite) == own_environment
    assert cache_names(cache / "environments") == [own_environment.name]


def test_a_set_up_that_failed_leaves_no_environment(set_up, cache):
    suite = suites.fetch(suites.find("trixie"))
    set_up.broken = True
    with pytest.raises(LabError, match="scripts/setup in trixie failed"):
        suites.environment(suite)
    assert cache_names(cache / "environments") == []


def test_the_set_up_sees_the_checkout_at_its_own_path_and_the_root_stays(tmp_path):
    busybox = host.which("busybox")
    if os.geteuid() != 0 or not busybox:
        pytest.skip("needs root and busybox")
    root, work = tmp_path / "the,root:of", tmp_path / "work"
    for folder in ("usr/bin", "bin", "proc", "run", "tmp"):
        (root / folder).mkdir(parents=True)
    shutil.copy(busybox, root / "bin/sh")
    shutil.copy(busybox, root / "usr/bin/env")
    checkout = "/somewhere/of its own"
    script = work / "copy/scripts/setup"
    script.parent.mkdir(parents=True)
    (work / "wheels").mkdir()
    (work / "wheels/a.whl").touch()
    script.write_text(
        '#!/bin/sh\ncd "${0%/scripts/setup}" && echo "$0 $*" >said && echo >/tmp/left\n'
        'for wheel in "$PIP_FIND_LINKS"/*; do echo "$wheel"; done >>said\n'
    )
    script.chmod(0o755)
    before = sorted(root.rglob("*"))
    subprocess.run(
        [*debian.ASIDE, "sh", "-c", suites.SET_UP, "sh", work, root, checkout], check=True, timeout=60
    )
    assert (work / "copy/said").read_text() == f"{checkout}/scripts/setup --dev\n/run/wheels/a.whl\n"
    assert sorted(root.rglob("*")) == before


# ---- what the guest is told


def space(tmp_path):
    (tmp_path / "root/tmp").mkdir(parents=True)
    return suites.UserSpace("trixie", tmp_path / "root", tmp_path / "environment", tmp_path / "checkout")


def reported(job):
    kernel = kernel_image.KernelImage("x", "6.1.0", Path("/k/vmlinuz"), Path("/k/modules"), Path("/k"))
    script = initramfs.settings(job, kernel, "virtiofs", "mark") + 'echo "$MODULES|$TREE|$ROOT|$CHECKOUT"'
    return subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.strip()


def test_the_guest_finds_the_kernels_files_among_the_hosts(tmp_path):
    assert reported(initramfs.Job(("true",))) == "/k/modules|/k||"
    names = reported(initramfs.Job(("true",), user_space=space(tmp_path)))
    assert names == f"{initramfs.HOST}/k/modules|{initramfs.HOST}/k|{tmp_path}/root|{tmp_path}/checkout"


def test_the_command_starts_in_a_folder_that_the_suite_has(tmp_path, monkeypatch):
    values = space(tmp_path)
    (tmp_path / "checkout/src").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(suites, "CHECKOUT", values.checkout)
    monkeypatch.setattr(suites, "user_space", lambda name: values)
    for folder, writable in ((tmp_path / "checkout/src", ""), (Path("/tmp"), ""), (tmp_path / "out",) * 2):
        monkeypatch.chdir(folder)
        assert cli.user_space("trixie", str(writable)) == values
    with pytest.raises(LabError, match="trixie has no folder"):
        cli.user_space("trixie", "")


def test_the_checkout_itself_is_not_given_for_writing(tmp_path, monkeypatch):
    monkeypatch.setattr(suites, "user_space", lambda name: pytest.fail("made before it was refused"))
    for folder in (suites.CHECKOUT, suites.CHECKOUT.parent):
        with pytest.raises(LabError, match="the checkout stays as it is"):
            cli.user_space("trixie", str(folder))


def test_the_list_shows_which_bcc_is_there(archive, capsys):
    suites.fetch(suites.find("trixie"))
    capsys.readouterr()
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if "BCC 0.31.0" in line] == ["6.12"]
    assert json.loads((suites.folder_of("suites") / "trixie.json").read_text())["name"] == "trixie"
