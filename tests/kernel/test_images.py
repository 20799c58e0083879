"""Test that programs from images count like compiled ones, without the compiler, and that bad images are
refused."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pytracer.bpf.image import Image, ImageError, MapSpec, ProgramSpec, decode
from pytracer.bpf.line_info import NO_DEBUG_INFO
from pytracer.bpf.load import loader
from pytracer.bpf.load.loader import ImageModule
from pytracer.bpf.sys import MapType, ProgType
from pytracer.errors import NotPermittedError, PytracerError, UnsupportedError, VerifierError
from pytracer.kernel.cpus import possible_cpus
from pytracer.record import replace
from support import packets
from support.cli import COMMAND, LIMIT, Result, run, start, stop
from support.workloads import workload

pytestmark = pytest.mark.kernel

COMPILED, FROM_IMAGE = "compiled by BCC in ", "loaded the cached image in "
EXIT = struct.pack("=BBhi", 0x95, 0, 0, 0)
NO_RESULT, FINE = EXIT, struct.pack("=BBhi", 0xB7, 0, 0, 1) + EXIT


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use an empty cache and a temporary folder of its own."""
    for name in ("cache", "tmp"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    return tmp_path / "cache"


def image_file(cache: Path) -> Path:
    (actual,) = (cache / "images").glob("*.image")
    return actual


def alternatives(result: Result) -> list[str]:
    """Return how each program was loaded, as -v reports it."""
    return [
        alternative
        for line in result.err.splitlines()
        for alternative in (COMPILED, FROM_IMAGE)
        if alternative in line
    ]


def syscalls() -> Result:
    """Run syscalls on a workload of known counts, and check them. Returns the result."""
    result = run("syscalls", "-v", "-f", "json", "--", workload("calls"), "getppid", 23)
    check_calls(result)
    return result


def check_calls(result: Result) -> None:
    assert result.status == 0, result.err
    counts = {record["syscall"]: record["calls"] for record in result.of("summary")}
    assert counts == {"execve": 1, "getppid": 23}
    assert not result.of("loss")


def libraries(process: int) -> set[str]:
    """Return the files of a process's shared libraries."""
    text = Path(f"/proc/{process}/maps").read_text()
    return {Path(actual).name for actual in re.findall(r"(/\S+\.so[.\d]*)$", text, re.M)}


def has_compiler(process: int) -> bool:
    actual = libraries(process)
    assert any(name.startswith("libc.") for name in actual)  # the look works
    return any(name.startswith(("libbcc", "libLLVM", "libclang", "libbpf")) for name in actual)


@pytest.mark.lab
def test_syscalls_cold_and_warm_count_the_same(cache: Path) -> None:
    cold, warm = syscalls(), syscalls()
    assert (alternatives(cold), alternatives(warm)) == ([COMPILED], [FROM_IMAGE])
    image = decode(image_file(cache).read_bytes())
    assert {program.name for program in image.programs} >= {"enter", "leave", "gone", "pt_fork"}
    assert image.kernel == os.uname().release
    assert any("libbcc" in maker for maker in image.made_by)


def interface_counts() -> tuple[dict[str, tuple[int, int]], bool]:
    """Return what sockcount counted, and whether the compiler was in it while it did."""
    with packets.namespace():
        packets.veth("va", "vb")
        tracer = start("sockcount", "-f", "json", "vb", 60)
        compiler = has_compiler(tracer.pid)
        packets.send("va", packets.frames())
        result = stop(tracer)
    assert result.status == 0, result.err
    assert not result.of("loss")
    rows = {record["protocol"]: (record["packets"], record["bytes"]) for record in result.of("summary")}
    return rows, compiler


@pytest.mark.smoke
@pytest.mark.lab
def test_sockcount_cold_and_warm_count_the_same_and_have_no_compiler(cache: Path) -> None:
    sent = packets.expected(packets.frames(), received=True)
    for _ in range(2):  # it compiles in a process of its own
        assert interface_counts() == (sent, False)
        assert image_file(cache)


def test_no_syscalls_has_a_compiler() -> None:
    for _ in range(2):
        tracer = start("syscalls", "-f", "json", "-p", os.getpid(), 60)
        assert not has_compiler(tracer.pid)
        assert stop(tracer).status == 0


def test_values_that_change_from_run_to_run_use_the_same_image(cache: Path) -> None:
    for names in ("getppid", "getppid,close", "dup,read,getppid"):
        result = run("syscalls", "-v", "-f", "json", "-e", names, "--", workload("calls"), "getppid", 23)
        assert {record["syscall"] for record in result.of("summary")} == {"getppid"}
        assert alternatives(result) == [COMPILED if names == "getppid" else FROM_IMAGE]
    assert image_file(cache)


def _rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _flip(data: bytes) -> bytes:
    """Flip a byte of the instructions."""
    position = data.index(b'"code":"') + 100
    return data[:position] + (b"A" if data[position] != ord("A") else b"B") + data[position + 1 :]


def _writable(path: Path) -> None:
    path.chmod(0o620)


def _foreign(path: Path) -> None:
    os.chown(path, 65534, 65534)


def _linked(path: Path) -> None:
    path.rename(path.parent.parent / "moved")
    path.symlink_to(path.parent.parent / "moved")


@pytest.mark.parametrize(
    "spoil",
    [
        _rewrite(_flip),
        _rewrite(lambda data: data[: len(data) // 2]),
        _rewrite(lambda data: b""),
        _rewrite(lambda data: data.replace(b"pytracer image ", b"pytracer image 9")),
        _writable,
        _foreign,
        _linked,
    ],
    ids=["flipped", "cut", "empty", "version", "writable", "foreign", "link"],
)
def test_an_image_that_is_not_to_be_trusted_is_made_again(cache: Path, spoil: Callable[[Path], None]) -> None:
    syscalls()
    spoil(image_file(cache))
    assert alternatives(syscalls()) == [COMPILED]
    assert alternatives(syscalls()) == [FROM_IMAGE]


def test_a_folder_that_is_not_to_be_trusted_is_reported(cache: Path) -> None:
    syscalls()
    (cache / "images").chmod(0o770)
    result = syscalls()
    assert alternatives(result) == [COMPILED]
    assert (
        f"warning: nothing is cached for the next start: {cache}/images "
        "can be written by others" in result.err
    )


def test_an_image_that_other_libraries_made_is_made_again(cache: Path) -> None:
    syscalls()
    path = image_file(cache)
    image = decode(path.read_bytes())
    path.write_bytes(replace(image, made_by=(f"{path} 5 7", *image.made_by)).encode())
    assert alternatives(syscalls()) == [COMPILED]
    assert decode(path.read_bytes()).made_by == image.made_by


def _bad_program(image: Image) -> Image:
    programs = [
        replace(p, code=NO_RESULT, references={}, func_line_info=NO_DEBUG_INFO) if p.name == "leave" else p
        for p in image.programs
    ]
    return replace(image, programs=tuple(programs))


def _bad_map(image: Image) -> Image:
    return replace(image, maps=(replace(image.maps[0], type=9999), *image.maps[1:]))


def _no_program(image: Image) -> Image:
    return replace(image, programs=tuple(p for p in image.programs if p.name != "leave"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            _bad_program,
            "the verifier refused syscalls.c:leave: R0 !read_ok",
            marks=pytest.mark.lab,
        ),
        (_bad_map, "creating the maps of syscalls.c: this kernel does not have it (Invalid argument)"),
        (_no_program, "the image holds no program 'leave'"),
    ],
)
def test_an_image_that_the_kernel_refuses_is_made_again(
    cache: Path, tmp_path: Path, change: Callable[[Image], Image], message: str
) -> None:
    syscalls()
    path = image_file(cache)
    original = decode(path.read_bytes())
    path.write_bytes(change(original).encode())
    result = syscalls()
    assert f"pytracer: the cached image cannot be used: {message}\n" in result.err
    assert alternatives(result) == [COMPILED]
    assert decode(path.read_bytes()) == original
    assert alternatives(syscalls()) == [FROM_IMAGE]
    assert not list((tmp_path / "tmp").iterdir())  # no log of what the user need not care about


def test_two_concurrent_first_starts(cache: Path) -> None:
    words = ["syscalls", "-v", "-f", "json", "--", workload("calls"), "getppid", "23"]
    statuses = [
        subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    results = []
    for process in statuses:
        out, err = process.communicate(timeout=LIMIT)
        results.append(Result(process.returncode, out, err))
        check_calls(results[-1])
    # Both compile, unless one was so late that the other had kept its image.
    assert COMPILED in alternatives(results[0]) + alternatives(results[1])
    assert all(len(alternatives(result)) == 1 for result in results)
    assert [path.suffix for path in (cache / "images").iterdir()] == [".image"]
    assert alternatives(syscalls()) == [FROM_IMAGE]


def test_images_of_an_unidentified_compiler_are_not_stored(cache: Path, tmp_path: Path) -> None:
    """As where /proc is hidden: an update of LLVM would go unnoticed."""
    code = (
        "import sys\nfrom pytracer.bpf.cache import image_cache\nfrom pytracer.cli.main import main\n"
        "image_cache._read_maps = lambda: []\nsys.exit(main(sys.argv[1:]))"
    )
    words = ["syscalls", "-v", "-f", "json", "--", workload("calls"), "getppid", "23"]
    result = subprocess.run([COMMAND[0], "-c", code, *words], capture_output=True, text=True, check=False)
    check_calls(Result(result.returncode, result.stdout, result.stderr))
    assert "the image is not cached: the libraries that compiled it are unknown" in result.stderr
    assert not (cache / "images").exists()


# The loader by itself.

ROWS = MapSpec("rows", MapType.HASH, 4, 8, 16, 0, '"unsigned int"', '"unsigned long long"')
KINDS = (ProgType.SOCKET_FILTER, ProgType.RAW_TRACEPOINT, ProgType.TRACEPOINT, ProgType.KPROBE)


def module(code: bytes, *, references: dict[int, str] | None = None, maps: tuple[MapSpec, ...] = (ROWS,)):
    image = Image("key", "", (), maps, (ProgramSpec("program", code, references or {}),))
    return ImageModule("test.c", image)


def long_program() -> bytes:
    """Build a program with enough branches for a log of megabytes, within the limits of every kernel."""
    random = struct.pack("=BBhi", 0x85, 0, 0, 7)  # call bpf_get_prandom_u32
    jump = struct.pack("=BBhi", 0x55, 0, 1, 0)  # if r0 != 0, over
    add = struct.pack("=BBhi", 0x07, 6, 0, 1)  # r6 += 1
    begin = struct.pack("=BBhi", 0xB7, 6, 0, 0)
    return begin + (random + jump + add) * 300 + struct.pack("=BBhi", 0xBF, 0x10, 0, 0) + EXIT


@pytest.mark.lab
@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_is_in_the_verifiers_words(kind: ProgType, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    loaded = module(NO_RESULT)
    with pytest.raises(VerifierError) as excinfo:
        loaded.load("program", kind)
    loaded.close()
    assert excinfo.value.message == "the verifier refused test.c:program: R0 !read_ok"
    (log,) = (tmp_path / "tmp").iterdir()
    assert excinfo.value.hint == f"the whole log is in {log}"
    assert log.read_text() == excinfo.value.detail
    assert "R0 !read_ok" in excinfo.value.detail


@pytest.mark.lab
def test_a_refusal_after_a_long_look_keeps_its_reason(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    loaded = module(long_program())
    with pytest.raises(VerifierError, match="R1 !read_ok") as excinfo:
        loaded.load("program", ProgType.SOCKET_FILTER)
    loaded.close()
    assert len(excinfo.value.detail) > 10_000


@pytest.mark.lab
def test_a_log_that_does_not_fit_is_reported(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(loader, "_LOG", 4096)
    loaded = module(long_program())
    with pytest.raises(VerifierError, match="the log is longer than") as excinfo:
        loaded.load("program", ProgType.SOCKET_FILTER)
    loaded.close()
    assert len(excinfo.value.detail) < 4096


@pytest.mark.lab
def test_a_loaded_image_is_released() -> None:
    loaded = module(FINE)
    for kind in KINDS:
        assert loaded.load("program", kind) > 0
    assert set(loaded.maps) == {"rows"}
    loaded.close()


def refusing(monkeypatch: pytest.MonkeyPatch, *errors: int) -> list[bool]:
    """Replace the kernel's results, and record the loads that requested a log."""
    requests: list[bool] = []

    def load(*_: object, log: bytearray | None = None, **__: object) -> int:
        number = errors[min(len(requests), len(errors) - 1)]
        requests.append(log is not None)
        if not number:
            return os.open(os.devnull, os.O_RDONLY)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(loader, "prog_load", load)
    return requests


@pytest.mark.parametrize(
    ("number", "kind", "verbose_loads"),
    [
        (errno.EPERM, NotPermittedError, [False]),
        (errno.ENOMEM, PytracerError, [False]),
        (errno.EACCES, NotPermittedError, [False, True]),
        (errno.EINVAL, UnsupportedError, [False, True]),
        (errno.E2BIG, UnsupportedError, [False, True]),
        (524, UnsupportedError, [False, True]),
    ],
)
def test_a_refusal_without_words_is_explained(
    monkeypatch: pytest.MonkeyPatch, number: int, kind: type[PytracerError], verbose_loads: list[bool]
) -> None:
    loaded = module(FINE)
    message = refusing(monkeypatch, number)
    with pytest.raises(kind, match=r"loading test\.c:program") as excinfo:
        loaded.load("program", ProgType.SOCKET_FILTER)
    loaded.close()
    assert not isinstance(excinfo.value, VerifierError)
    assert message == verbose_loads


def test_a_kernel_that_answers_differently_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = module(FINE)
    assert refusing(monkeypatch, errno.EINVAL, 0) == []
    descriptor = loaded.load("program", ProgType.SOCKET_FILTER)
    loaded.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_an_array_for_every_cpu_has_one_for_every_cpu_of_this_machine() -> None:
    """The size does not depend on the machine that compiled it."""
    array = MapSpec("events", MapType.PERF_EVENT_ARRAY, 4, 4, 1, 0, '"int"', '"unsigned int"')
    loaded = module(FINE, maps=(array, replace(array, name="none", max_entries=0)))
    assert {table.max_entries for table in loaded.maps.values()} == {possible_cpus()}
    loaded.close()


def test_maps_that_cannot_be_made_leave_none_behind() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(PytracerError, match=r"creating the maps of test\.c"):
        module(FINE, maps=(ROWS, replace(ROWS, name="other"), replace(ROWS, name="bad", key_size=0)))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_program_that_is_not_in_the_image() -> None:
    loaded = module(FINE)
    with pytest.raises(ImageError, match="no program 'other'"):
        loaded.load("other", ProgType.SOCKET_FILTER)
    loaded.close()


def test_images_contain_only_data(cache: Path) -> None:
    """An image contains no native code: it is JSON with hexadecimal digits."""
    syscalls()
    data = image_file(cache).read_bytes()
    assert json.loads(data.split(b"\n", 2)[2])["programs"]
