"""Test the lab without a VM: the list of kernels, the command line, verdicts, and generated files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.append(str(ROOT))

from lab import apt, cli, console, fetch, host, initramfs, kernel_image, kernels, machine  # noqa: E402
from lab import run_command as running  # noqa: E402
from lab.command_output import Marked, new_mark  # noqa: E402
from lab.errors import FAILED, LabError  # noqa: E402

PANIC = "[    1.5] Kernel panic - not syncing: sysrq triggered crash\n[    1.6] CPU: 0 PID: 1\n"
OOPS = "[    2.0][  T12] BUG: kernel NULL pointer dereference, address: 0\n[2.1] Oops: 0002 [#1]\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "pytracer-lab"


# ---- kernels


def test_kernels_have_names_and_suites_of_their_own():
    assert len({kernel.name for kernel in kernels.KERNELS}) == len(kernels.KERNELS)
    assert len({kernel.suite for kernel in kernels.KERNELS}) == len(kernels.KERNELS)
    assert [kernel.name for kernel in kernels.KERNELS] == ["5.10", "6.1", "6.12", "newest"]


def test_kernels_are_listed_as_text_and_json():
    def requests(*words):
        return subprocess.run(
            [sys.executable, "-m", "lab.kernels", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    assert [kernel["name"] for kernel in json.loads(requests("--json").stdout)] == requests().stdout.split()
    table = requests("--markdown").stdout.splitlines()
    assert len(table) == 2 + len(kernels.KERNELS)
    assert all(line.count("|") == 4 for line in table)
    assert requests("--yaml").returncode == 2


def test_a_kernel_is_found_by_name_and_newest_by_its_number(cache):
    tree = cache / "trees" / "newest-9.1"
    tree.mkdir(parents=True)
    manifest = {"name": "newest", "release": "9.1.2-cloud", "tree": tree.name, "packages": {}}
    (cache / "newest.json").write_text(json.dumps(manifest))
    assert fetch.find("6.1").name == "6.1"
    assert fetch.find("9.1").name == "newest"
    with pytest.raises(LabError, match=r"unknown kernel: 9$|unknown kernel: 4.4"):
        fetch.find("4.4")
    tree.rmdir()
    assert fetch.cached("newest") is None


def test_a_broken_manifest_is_no_kernel(cache):
    cache.mkdir()
    (cache / "6.1.json").write_text('{"name": ')
    assert fetch.cached("6.1") is None


# ---- the command line


def failed(capsys, *words):
    assert cli.main(list(words)) == 125
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.startswith("lab: error: ")
    return line


def test_mistakes_are_one_line_and_never_look_like_the_commands_status(capsys, cache):
    assert "there is no --" in failed(capsys, "6.1")
    assert "there is no --" in failed(capsys)
    assert "no command" in failed(capsys, "6.1", "--")
    assert "unknown kernel: 3.2" in failed(capsys, "3.2", "--", "true")
    assert "5.10, 6.1, 6.12, newest" in failed(capsys, "3.2", "--", "true")
    assert "one kernel is wanted" in failed(capsys, "6.1", "6.12", "--", "true")
    assert "--bogus" in failed(capsys, "6.1", "--bogus", "--", "true")
    assert "invalid" in failed(capsys, "6.1", "--timeout", "soon", "--", "true")
    assert "no kernel image" in failed(capsys, "--kernel-image", "/no/such", "--", "true")
    assert "no such kernel to build: 3.2" in failed(capsys, "build", "3.2")


def test_the_entry_runs_from_anywhere(tmp_path):
    result = subprocess.run(
        [sys.executable, str(ROOT / "scripts/lab"), "list"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
    )
    assert [line.split()[0] for line in result.stdout.splitlines()] == [k.name for k in kernels.KERNELS]
    assert result.stdout.count("not fetched") == len(kernels.KERNELS)
    assert result.returncode == 0


def test_only_the_first_dashes_are_the_labs():
    assert cli.split(["6.1", "--", "a", "--", "b"]) == (["6.1"], ["a", "--", "b"])
    assert cli.split(["list"]) == (["list"], None)


def test_options_may_precede_or_follow_the_kernel():
    for words in (["--timeout", "5", "6.1"], ["6.1", "--timeout", "5"]):
        options = cli.parser().parse_intermixed_args(words)
        assert (options.words, options.timeout) == (["6.1"], 5)


def test_environment_passed_on():
    now = {"PATH": "/bin", "SECRET": "s", "PYTRACER_BCC": "x", "LC_ALL": "C", "MINE": "m"}
    assert cli.environment([], now) == {"PATH": "/bin", "PYTRACER_BCC": "x", "LC_ALL": "C"}
    variables = cli.environment(["MINE", "NEW=a=b", "ABSENT"], now)
    assert (variables["MINE"], variables["NEW"]) == ("m", "a=b")
    assert "ABSENT" not in variables
    with pytest.raises(LabError, match="not the name of a variable"):
        cli.environment(["a b=c"], now)


# ---- what became of a run


@pytest.mark.parametrize("status", [0, 7, 124, 125, 126, 137])
def test_the_commands_status_is_passed_through(status):
    assert console.judge("", status=status, has_started=True) == console.Verdict(status)


def test_a_panic_is_126_and_tried_again_only_before_the_command():
    early = console.judge(PANIC, status=None, has_started=False)
    late = console.judge(PANIC, status=None, has_started=True)
    assert (early.status, early.retry, late.status, late.retry) == (126, True, 126, False)
    assert "Kernel panic - not syncing: sysrq triggered crash" in late.message


def test_a_kernel_that_panicked_and_then_hung_has_panicked():
    assert console.judge(PANIC, status=None, has_started=True, out_of_time=5).status == 126


def test_an_oops_is_named_with_the_panic_that_it_led_to():
    verdict = console.judge(OOPS + PANIC, status=None, has_started=True)
    assert "BUG: kernel NULL pointer dereference" in verdict.message
    assert "sysrq triggered crash" in verdict.message


def test_time_limits():
    late = console.judge("", status=None, has_started=True, out_of_time=20)
    boot = console.judge("", status=None, has_started=False, out_of_time=180)
    assert (late.status, boot.status) == (124, 125)
    assert "within 20 s" in late.message
    assert "did not come up within 180 s" in boot.message
    lockup_line = "[ 60.1] watchdog: BUG: soft lockup - CPU#1 stuck for 26s! [x:12]\n"
    assert "soft lockup" in console.judge(lockup_line, status=None, has_started=True, out_of_time=20).message
    assert console.judge(lockup_line, status=None, has_started=True, out_of_time=20).status == 124


def test_a_lost_vm_and_a_guest_that_could_not_be_set_up():
    lost = console.judge("", status=None, has_started=True)
    assert (lost.status, lost.retry) == (125, False)
    assert "lost while the command ran" in lost.message
    verdict = console.judge("lab-guest: cannot mount an overlay\n", status=None, has_started=False)
    assert (verdict.status, "cannot mount an overlay" in verdict.message) == (125, True)


def test_words_of_programs_are_not_mistaken_for_a_crash():
    assert console.crash("[ 1.0] foo: prints Oops and BUG: nothing\n") is None
    assert console.crash("[ 1.0] BUG: workqueue lockup - pool\n") is None


def test_a_warning_is_a_note_and_leaves_the_status():
    verdict = console.judge(
        "[ 5.0] WARNING: CPU: 1 PID: 3 at kernel/x.c:5 f+0x1\n", status=3, has_started=True
    )
    assert (verdict.status, verdict.show_console) == (3, False)
    assert "kernel/x.c:5" in verdict.message


def test_the_console_reaches_no_terminal_raw():
    text = console.readable(b"a\x1b[31mb\x07\r\n\xff\n\n")
    assert text == "ab\n\n\n"
    assert console.last_lines("1\n\n2\n3\n", 2) == "  | 2\n  | 3"


# ---- output and control


def test_output_is_passed_on_up_to_the_mark():
    for size in (1, 2, 7, 100):
        output = []
        stream = Marked("<mark>", output.append)
        data = b"a<ma<mark b<<mark>ignored"
        for index in range(0, len(data), size):
            stream.feed(data[index : index + size])
        assert (b"".join(output), stream.ended) == (b"a<ma<mark b<", True)


def test_output_that_looks_like_the_mark_is_not_lost():
    output = []
    stream = Marked("<mark>", output.append)
    stream.feed(b"line\n<ma")
    assert output == [b"line\n"]
    stream.flush()
    assert b"".join(output) == b"line\n<ma"
    assert new_mark() != new_mark()


def test_the_listener_recognizes_complete_output():
    out = []
    listener = running.Listener("<mark>", {"out": out.append, "err": out.append})
    listener.feed("control", b"sta")
    assert not listener.started
    listener.feed("control", b"rt\nexit 7\n")
    listener.feed("out", b"hello<mark>")
    assert (listener.started, listener.status, listener.complete) == (True, 7, False)
    listener.feed("err", b"<mark>")
    assert listener.complete
    assert out == [b"hello"]


# ---- what goes into the VM


@pytest.mark.parametrize("words", [["a  b", "", "$HOME", "it's", "`x`", "new\nline", "ü", "-n", "*"]])
def test_words_reach_the_command_as_they_are(words, tmp_path):
    script = tmp_path / "command"
    job = initramfs.Job(
        (sys.executable, "-c", "import os,sys; print([sys.argv[1:], os.environ['X'], os.getcwd()])", *words),
        str(tmp_path),
        {"X": "y 'z'\n$Q", "PYTHONUTF8": "1"},
    )
    script.write_text(initramfs.command_script(job), encoding="utf-8")
    result = subprocess.run(["/bin/sh", script], capture_output=True, encoding="utf-8", check=True, env={})
    assert result.stdout == f"{[words, job.environment['X'], str(tmp_path)]}\n"


def test_a_folder_that_the_guest_lacks_is_no_status_of_the_command(tmp_path):
    job = initramfs.Job(("true",), str(tmp_path / "gone"))
    result = subprocess.run(
        ["/bin/sh", "-c", initramfs.command_script(job)], capture_output=True, check=False
    )
    assert result.returncode == 125


def test_busybox_unpacks_the_cpio_archives(tmp_path):
    busybox = host.which("busybox")
    if not busybox:
        pytest.skip("no busybox")
    archive = initramfs.entry("folder", 0o040755) + initramfs.entry("folder/file", 0o100640, b"12345", 2)
    archive += initramfs.entry("TRAILER!!!", 0)
    subprocess.run([busybox, "cpio", "-idm"], input=archive, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "folder/file").read_bytes() == b"12345"
    assert (tmp_path / "folder/file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["init.sh", "run.sh"])
def test_the_guests_scripts_are_shell(name):
    assert subprocess.run(["/bin/sh", "-n", initramfs.GUEST / name], check=False).returncode == 0


# ---- images and modules


def test_modules_come_after_what_they_need(tmp_path):
    (tmp_path / "modules.dep").write_text(
        "k/overlay.ko:\nk/virtio-pci.ko: k/ring.ko k/virtio.ko\nk/ring.ko: k/virtio.ko\nk/virtio.ko:\n"
        "k/virtiofs.ko: k/fuse.ko\nk/fuse.ko:\n"
    )
    (tmp_path / "modules.builtin").write_text("kernel/drivers/char/virtio_console.ko\n")
    (tmp_path / "k").mkdir()
    for name in ("overlay", "virtio-pci", "ring", "virtio", "virtiofs", "fuse"):
        (tmp_path / "k" / f"{name}.ko").write_bytes(name.encode())
    kernel = kernel_image.KernelImage("x", "6.1.0", tmp_path / "vmlinuz", tmp_path, None)
    assert kernel.has("virtio_console")
    assert kernel.file_system("auto") == "virtiofs"
    assert kernel.file_system("9p") == "9p"
    assert [name for name, _ in kernel.early_modules("virtiofs")] == [
        "virtio",
        "ring",
        "virtio-pci",
        "overlay",
        "fuse",
        "virtiofs",
    ]


def test_kernels_without_virtiofs_get_9p(tmp_path):
    (tmp_path / "modules.dep").write_text("k/9p.ko:\n")
    assert kernel_image.KernelImage("x", "6.1.0", tmp_path, tmp_path, None).file_system("auto") == "9p"
    assert kernel_image.KernelImage("x", "4.19.0", tmp_path, None, None).file_system("auto") == "9p"
    assert kernel_image.KernelImage("x", "6.1.0", tmp_path, None, None).file_system("auto") == "virtiofs"


def test_the_release_is_read_from_the_image(tmp_path):
    head = bytearray(0x400)
    head[0x202:0x206] = b"HdrS"
    head[0x20E:0x210] = (0x100).to_bytes(2, "little")
    head[0x300:0x315] = b"4.19.0-27-amd64 (who)"
    file = tmp_path / "bzImage"
    file.write_bytes(head)
    assert kernel_image.release_of(file) == "4.19.0-27-amd64"
    file.write_bytes(b"\x7fELF" + bytes(0x400))
    with pytest.raises(LabError, match="not a kernel image"):
        kernel_image.from_path(file, None)


def test_qemu_gets_the_options_of_the_kernel(tmp_path):
    file = tmp_path / "vmlinuz"
    kernel = kernel_image.KernelImage("x", "6.12.0", file, None, None, append="clearcpuid=141")
    pipes = {"console": 5, "out": 6, "err": 7, "control": 8}
    emulated = machine.command_line(kernel, machine.Shape(host.TCG), True, tmp_path, pipes)
    assert "clearcpuid=141" in emulated[emulated.index("-append") + 1]
    assert any("tag=labrw" in word for word in emulated)
    real = machine.command_line(
        kernel, replace(machine.Shape(host.KVM), file_system="9p"), False, tmp_path, pipes
    )
    assert "clearcpuid" not in real[real.index("-append") + 1]
    assert not any("vhost" in word for word in real)
    assert "-numa" not in real
    nodes = machine.memory_nodes(machine.Shape(host.TCG, processors=3, memory=2049, nodes=2))
    assert nodes[1::2] == [
        "memory-backend-memfd,id=memory0,size=1024M,share=on",
        "node,nodeid=0,memdev=memory0,cpus=0,cpus=2",
        "memory-backend-memfd,id=memory1,size=1024M,share=on",
        "node,nodeid=1,memdev=memory1,cpus=1",
    ]
    with pytest.raises(LabError, match="comma"):
        machine.share_9p("/a,b", "hostroot", True)


# ---- fetching


def target(uri, release, origin="Debian", label="Debian"):
    return f"Repo-URI: {uri}\nRelease: {release}\nOrigin: {origin}\nLabel: {label}\nSourcesentry: /none:1\n"


def test_the_mirror_is_the_machines_own():
    text = "\n".join(
        [
            target("http://other.invalid/thing/", "stable", "Other", "Other"),
            target("http://mirror.invalid/debian/", "bookworm"),
            target("http://mirror.invalid/sec/", "bookworm-security", label="Debian-Security"),
        ]
    )
    actual = apt.read_mirror(text)
    assert actual is not None
    assert (actual.main, actual.security) == ("http://mirror.invalid/debian/", "http://mirror.invalid/sec/")
    fresh = apt.read_mirror(target("http://mirror.invalid/debian/", "trixie", "", ""))
    assert fresh is not None
    assert fresh.security == "http://mirror.invalid/debian-security/"
    assert apt.read_mirror(target("http://other.invalid/ubuntu/", "noble", "Ubuntu", "Ubuntu")) is None
    assert apt.read_mirror("") is None


def test_sources_for_a_kernel():
    mirror = apt.Mirror("http://m.invalid/debian", "http://m.invalid/debian-security", "/ring.gpg")
    stable, newest = (apt.sources_list(kernel, mirror).splitlines() for kernel in kernels.KERNELS[-2:])
    assert stable[1] == (
        "deb [arch=amd64 signed-by=/ring.gpg] http://m.invalid/debian-security trixie-security main"
    )
    assert newest == ["deb [arch=amd64 signed-by=/ring.gpg] http://m.invalid/debian sid main"]


def test_only_the_kernels_own_packages_are_followed():
    archive = {
        "linux-image-cloud-amd64": "linux-base-cloud-amd64 (= 7), linux-image-7.2+x-cloud-amd64 (= 7)",
        "linux-image-7.2+x-cloud-amd64": "kmod, dracut | dracut2, linux-base (>= 4), linux-modules-7.2+x",
        "linux-modules-7.2+x": "linux-compiler-gcc-10-x86, gcc-16",
    }

    class Fake(apt.Apt):
        def __init__(self):
            pass

        def show(self, package):
            return {"Version": "7", "Depends": archive[package]}

    assert Fake().closure("linux-image-cloud-amd64") == {
        "linux-image-7.2+x-cloud-amd64": "7",
        "linux-modules-7.2+x": "7",
    }


def test_no_space_is_reported_beforehand(tmp_path):
    with pytest.raises(LabError, match="no space"):
        host.need_space(tmp_path / "not" / "yet", 1 << 30)


def test_missing_programs_are_reported_with_the_command_to_install_them(monkeypatch):
    monkeypatch.setattr(host, "which", lambda program: "/x" if program == "apt-get" else None)
    with pytest.raises(LabError, match="missing: qemu, busybox") as error:
        host.need(["qemu", "busybox"])
    assert "apt-get install --no-install-recommends qemu-system-x86 busybox-static" in error.value.hint


def test_a_set_up_waits_for_another_installation(monkeypatch, tmp_path):
    stand_in = tmp_path / "apt-get"
    stand_in.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/words\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(host, "missing", lambda wanted: ["busybox"])
    monkeypatch.setattr(host.os, "geteuid", lambda: 0)
    host.setup()
    words = (tmp_path / "words").read_text().split()
    assert "DPkg::Lock::Timeout=300" in words
    assert words[-3:] == ["install", "--no-install-recommends", "busybox-static"]


def test_a_kernel_that_kvm_cannot_run_is_emulated(monkeypatch, tmp_path, capsys):
    """KVM within a virtual machine may run a boot sector, and fail at an instruction of a kernel."""
    monkeypatch.setattr(host, "cache_folder", lambda: tmp_path)
    (tmp_path / "kvm").write_text("boot 1 yes")
    tried = []

    def run_once(image, shape, job, limits, emit):
        tried.append(shape.accelerator)
        if shape.accelerator is host.KVM:
            verdict = console.Verdict(FAILED, "the VM did not come up")
            return verdict, "", f"{machine.KVM_FAILED}. Suberror: 1"
        return console.Verdict(3), "", ""

    monkeypatch.setattr(running, "run_once", run_once)
    kernel = kernel_image.KernelImage("6.1", "6.1.0", Path("/vmlinuz"), None, None)
    job = initramfs.Job(("true",))
    assert running.run(kernel, machine.Shape(host.KVM), job, running.TimeLimits()) == 3
    assert tried == [host.KVM, host.TCG]
    assert (tmp_path / "kvm").read_text() == "boot 1 no"
    assert "emulating" in capsys.readouterr().err
