"""Test the image cache: what a key covers, which images are used, which are removed."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytracer.bpf import identity
from pytracer.bpf.cache import image_cache
from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.cache.image_cache import Recipe, key_of, look_up, store
from pytracer.bpf.image import Image, ImageError, MapSpec, ProgramSpec
from pytracer.errors import CacheError, HeadersError, ToolchainError
from pytracer.record import replace

RECIPE = Recipe("tracer.c", "int enter(void *ctx);", ("-DA", "-DB=1"), ("enter", "leave"), ("sched:exit",))
RELEASE = "6.99.0-test"


class Machine:
    """Everything that a key depends on, in files of the test's own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.btf = folder / "btf"
        self.btf.write_bytes(b"types")
        self.kheaders = folder / "kheaders.tar.xz"
        self.notes = folder / "notes"
        self.say_build_id(b"\1" * 20)
        self.modules = folder / "modules"
        self.build = self.modules / RELEASE / "build"
        self.bcc = folder / "bcc"
        self.bcc.mkdir()
        for name in ("libbcc.py", "table.py"):
            (self.bcc / name).touch()
        self.say_version("0.26.0")
        self.libraries = folder / "lib"
        self.libraries.mkdir()
        self.libbcc = self.libraries / "libbcc.so.0"
        self.libbcc.write_bytes(b"compiler")
        self.own = folder / "own"
        shutil.copytree(
            Path(image_cache.__file__).parents[1], self.own, ignore=shutil.ignore_patterns("__pycache__")
        )
        self.formats = {"sched:exit": b"field:int pid", "sched:fork": b"field:int child"}

        monkeypatch.setenv("PYTRACER_BCC", str(self.bcc))
        monkeypatch.setenv("LD_LIBRARY_PATH", str(self.libraries))
        for name in image_cache._COMPILER_VARIABLES:
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(image_cache, "VMLINUX", self.btf)
        monkeypatch.setattr(image_cache, "_KHEADERS", self.kheaders)
        monkeypatch.setattr(image_cache, "_MODULES", self.modules)
        monkeypatch.setattr(image_cache, "__file__", str(self.own / "cache" / "image_cache.py"))
        monkeypatch.setattr(image_cache.tracefs, "event_format", lambda event: self.formats[event])
        monkeypatch.setattr(
            image_cache, "kernel_identity", lambda path: identity.kernel_identity(path, notes=self.notes)
        )
        self.be(release=RELEASE)

    def be(self, *, release: str = RELEASE, version: str = "#1 SMP") -> None:
        system = SimpleNamespace(release=release, version=version, machine="x86_64")
        self.monkeypatch.setattr(os, "uname", lambda: system)

    def say_build_id(self, number: bytes) -> None:
        self.notes.write_bytes(struct.pack("=3I4s", 4, len(number), 3, b"GNU\0") + number if number else b"")

    def say_version(self, version: str) -> None:
        (self.bcc / "version.py").write_text(f"__version__ = '{version}'\n")

    def install_headers(self) -> None:
        (self.build / "include/generated").mkdir(parents=True)
        (self.build / "include/generated/autoconf.h").write_text("#define CONFIG_SMP 1\n")
        (self.build / "Makefile").write_text("include ../Makefile\n")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_the_same_has_the_same_key(machine: Machine) -> None:
    assert key_of(RECIPE) == key_of(replace(RECIPE))
    assert len(key_of(RECIPE)) == 64


def test_the_key_covers_the_whole_recipe(machine: Machine) -> None:
    recipes = [
        RECIPE,
        replace(RECIPE, name="other.c"),
        replace(RECIPE, text=RECIPE.text + "\n"),
        replace(RECIPE, cflags=()),
        replace(RECIPE, cflags=("-DA", "-DB=2")),
        replace(RECIPE, cflags=("-DA", "-DB=1", "")),
        replace(RECIPE, cflags=("-DA", "-DB=1", "enter"), programs=("leave",)),
        replace(RECIPE, cflags=("-DA",), programs=("-DB=1", "enter", "leave")),
        replace(RECIPE, programs=("enter",)),
        replace(RECIPE, events=()),
        replace(RECIPE, events=("sched:fork",)),
        replace(RECIPE, events=("sched:exit", "sched:fork")),
        replace(RECIPE, headers="btf"),
        replace(RECIPE, headers="package"),
        replace(RECIPE, headers="kheaders"),
    ]
    assert len({key_of(recipe) for recipe in recipes}) == len(recipes)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.say_build_id(b"\2" * 20),
        lambda m: m.be(release="6.99.1-test"),
        lambda m: m.be(version="#2 SMP"),
        lambda m: m.btf.unlink(),
        lambda m: m.install_headers(),
        lambda m: m.say_version("0.31.0"),
        lambda m: m.libbcc.write_bytes(b"another"),
        lambda m: os.utime(m.libbcc, ns=(1, 1)),
        lambda m: m.libbcc.unlink(),
        lambda m: m.formats.update({"sched:exit": b"field:long pid"}),
        lambda m: (m.own / "compile/bcc.py").write_text("# another way\n"),
        lambda m: (m.own / "image.py").write_text("# another way\n"),
        lambda m: (m.own / "compile/layout_check.py").write_text("# another way\n"),
        lambda m: (m.own / "compile/headers/generated.py").write_text("# another way\n"),
        lambda m: (m.own / "compile/headers/macros.py").write_text("# another way\n"),
        *[
            lambda m, name=name: m.monkeypatch.setenv(name, "/somewhere")
            for name in image_cache._COMPILER_VARIABLES
        ],
    ],
)
def test_the_key_covers_the_machine(machine: Machine, change: Callable[[Machine], object]) -> None:
    before = key_of(RECIPE)
    change(machine)
    assert key_of(RECIPE) != before


def test_a_second_libbcc_that_is_found_first_is_another(machine: Machine, tmp_path: Path) -> None:
    before = key_of(RECIPE)
    (tmp_path / "first").mkdir()
    shutil.copy2(machine.libbcc, tmp_path / "first")
    machine.monkeypatch.setenv("LD_LIBRARY_PATH", f"{tmp_path / 'first'}:{machine.libraries}")
    assert key_of(RECIPE) != before


def test_without_a_build_id_the_types_themselves_are_the_kernel(machine: Machine) -> None:
    machine.say_build_id(b"")
    before = key_of(RECIPE)
    machine.btf.write_bytes(b"other")
    assert key_of(RECIPE) != before


def test_without_btf_the_key_depends_on_the_headers(machine: Machine) -> None:
    """The source would be the package if it is installed, else the kernel's own archive."""
    machine.btf.unlink()
    machine.say_build_id(b"")
    machine.kheaders.write_bytes(b"archive")
    archive = key_of(RECIPE)
    machine.kheaders.write_bytes(b"other")
    other = key_of(RECIPE)
    machine.install_headers()
    package = key_of(RECIPE)
    (machine.build / "include/generated/autoconf.h").write_text("#undef CONFIG_SMP\n")
    changed = key_of(RECIPE)
    (machine.build / "Makefile").write_text("include ../../Makefile\n")
    assert len({archive, other, package, changed, key_of(RECIPE)}) == 5


def test_a_package_does_not_matter_if_btf_is_requested(machine: Machine) -> None:
    btf, package = replace(RECIPE, headers="btf"), replace(RECIPE, headers="package")
    before = key_of(btf), key_of(package)
    machine.install_headers()
    assert key_of(btf) == before[0]
    assert key_of(package) != before[1]


def test_an_unidentified_kernel_has_no_key(machine: Machine) -> None:
    machine.btf.unlink()
    machine.say_build_id(b"")
    with pytest.raises(HeadersError):
        key_of(RECIPE)


def test_without_bcc_there_is_no_key(machine: Machine) -> None:
    (machine.bcc / "table.py").unlink()
    with pytest.raises(ToolchainError, match="no BCC there"):
        key_of(RECIPE)


def test_names_in_any_bytes_have_keys(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"lib-\xff")
    machine.libraries.rename(folder)
    machine.monkeypatch.setenv("LD_LIBRARY_PATH", str(folder))
    assert key_of(RECIPE)


def maps(*paths: object) -> list[str]:
    """Simulate /proc/self/maps with these files."""
    lines = ["7f00-7f01 rw-p 00000000 00:00 0\n", "7ff0-7ff1 rw-p 00000000 00:00 0    [stack]\n"]
    return lines + [f"7f10-7f20 r-xp 00000000 fe:00 1234   {path}\n" for path in paths]


def test_compiler_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("libbcc.so.0.26.0", "libLLVM-14.so.1", "libclang cpp.so", "libc.so.6")
    for name in names:
        (tmp_path / name).touch()
    mapped = [tmp_path / name for name in names]
    monkeypatch.setattr(image_cache, "_read_maps", lambda: maps(*mapped, *mapped))
    created = image_cache.compiler_identity()
    assert [line.rsplit(" ", 2)[0] for line in created] == sorted(str(path) for path in mapped[:3])
    (tmp_path / "libLLVM-14.so.1").write_bytes(b"updated")
    assert image_cache.compiler_identity() != created


@pytest.mark.parametrize("libraries", [(), ("/usr/lib/libLLVM-14.so.1", "/usr/lib/libc.so.6")])
def test_the_compiler_must_be_known(monkeypatch: pytest.MonkeyPatch, libraries: tuple[str, ...]) -> None:
    """An update of the compiler would go unnoticed."""
    monkeypatch.setattr(image_cache, "_read_maps", lambda: maps(*libraries))
    with pytest.raises(ImageError, match="cannot be seen"):
        image_cache.compiler_identity()


def test_hidden_compiler_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> list[str]:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(image_cache, "_read_maps", hidden)
    with pytest.raises(ImageError, match=r"cannot be seen \(Permission denied\)"):
        image_cache.compiler_identity()


def test_this_process_has_not_compiled() -> None:
    assert any("python" in line or "libc" in line for line in image_cache._read_maps())


def test_a_library_that_was_replaced_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "libbcc.so.0").touch()
    maps_text = maps(tmp_path / "libbcc.so.0", f"{tmp_path}/libLLVM-14.so.1 (deleted)")
    monkeypatch.setattr(image_cache, "_read_maps", lambda: maps_text)
    with pytest.raises(ImageError, match="was replaced"):
        image_cache.compiler_identity()


@pytest.fixture
def cache(tmp_path: Path) -> CacheDir:
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    return CacheDir(folder)


KEY = "0123456789abcdef" * 4


@pytest.fixture
def image(tmp_path: Path) -> Image:
    maker = tmp_path / "libbcc.so.0.26.0"
    maker.write_bytes(b"compiler")
    program = ProgramSpec("enter", bytes.fromhex("b700000000000000 9500000000000000"), {})
    rows = MapSpec("rows", 1, 8, 8, 10, 0, '"u64"', '"u64"')
    return Image(KEY, RELEASE, (identity.file_identity(maker),), (rows,), (program,))


def only_image(cache: CacheDir) -> Path:
    (actual,) = (cache.path / "images").glob("*.image")
    return actual


def test_stored_images_are_found(cache: CacheDir, image: Image) -> None:
    assert look_up(cache, RECIPE, KEY) is None
    store(cache, RECIPE, image)
    assert look_up(cache, RECIPE, KEY) == image
    assert look_up(cache, RECIPE, "f" * 64) is None
    assert look_up(cache, replace(RECIPE, name="other.c"), KEY) is None
    assert only_image(cache).stat().st_mode & 0o777 == 0o600
    assert only_image(cache).parent.stat().st_mode & 0o777 == 0o700


def test_external_tracers_are_cached_in_the_same_folder(cache: CacheDir, image: Image) -> None:
    foreign = replace(RECIPE, name="/usr/share/../other/tracer.c")
    store(cache, foreign, image)
    assert look_up(cache, foreign, KEY) == image
    assert only_image(cache).name.startswith("tracer.c-")


def test_a_key_that_only_begins_alike_is_another(cache: CacheDir, image: Image) -> None:
    store(cache, RECIPE, replace(image, key=KEY[:-1] + "0"))
    assert look_up(cache, RECIPE, KEY) is None


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"updated"), Path.unlink])
def test_images_of_other_libraries_are_not_used(
    cache: CacheDir, image: Image, tmp_path: Path, change: Callable[[Path], object]
) -> None:
    store(cache, RECIPE, image)
    change(tmp_path / "libbcc.so.0.26.0")
    assert look_up(cache, RECIPE, KEY) is None


def test_images_without_a_compiler_are_not_stored(cache: CacheDir, image: Image) -> None:
    with pytest.raises(ImageError, match="compiled it are unknown"):
        store(cache, RECIPE, replace(image, made_by=()))
    assert not (cache.path / "images").exists()


def test_images_without_a_compiler_are_not_used(cache: CacheDir, image: Image) -> None:
    store(cache, RECIPE, image)
    only_image(cache).write_bytes(replace(image, made_by=()).encode())
    assert look_up(cache, RECIPE, KEY) is None


def test_damage_is_no_image(cache: CacheDir, image: Image) -> None:
    store(cache, RECIPE, image)
    data = only_image(cache).read_bytes()
    for bad in (b"", data[:-1], data + b" ", data.replace(b"rows", b"cows")):
        only_image(cache).write_bytes(bad)
        assert look_up(cache, RECIPE, KEY) is None
    only_image(cache).write_bytes(data)
    assert look_up(cache, RECIPE, KEY) == image


def _writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | 0o020)


def _foreign(path: Path) -> None:
    os.chown(path, 65534, -1)


def _linked(path: Path) -> None:
    """Create a link to the same file, beside it."""
    real = path.with_name("real")
    path.rename(real)
    path.symlink_to(real)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


SPOILERS = [
    _writable,
    _linked,
    pytest.param(_foreign, marks=pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")),
]


@pytest.mark.parametrize("spoil", [*SPOILERS, _fifo])
def test_a_file_that_others_had_a_hand_in_is_not_used(
    cache: CacheDir, image: Image, spoil: Callable[[Path], None]
) -> None:
    store(cache, RECIPE, image)
    spoil(only_image(cache))
    assert look_up(cache, RECIPE, KEY) is None
    store(cache, RECIPE, image)  # puts a good one in its place
    assert look_up(cache, RECIPE, KEY) == image


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_folder_that_others_can_write_is_not_used(
    cache: CacheDir, image: Image, spoil: Callable[[Path], None]
) -> None:
    store(cache, RECIPE, image)
    spoil(cache.path / "images")
    assert look_up(cache, RECIPE, KEY) is None
    with pytest.raises(CacheError) as excinfo:
        store(cache, RECIPE, image)
    assert excinfo.value.hint.startswith("remove ")


def test_an_unwritable_cache_is_not_fatal(
    cache: CacheDir, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_name: str, _data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache.__class__, "write", lambda self, name, data: full(name, data))
    store(cache, RECIPE, image)
    assert look_up(cache, RECIPE, KEY) is None


def _aged(folder: Path, name: str, days: float, size: int = 1) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    then = time.time() - days * 86400
    os.utime(path, (then, then))
    return path


def test_the_oldest_images_are_removed_beyond_the_limit(
    cache: CacheDir, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "MAX_IMAGES", 3)
    folder = cache.folder("images")
    old = [_aged(folder, f"tracer.c-{day}.image", day) for day in (4, 1, 3, 2)]
    store(cache, RECIPE, image)
    assert [path.exists() for path in old] == [False, True, False, True]
    assert look_up(cache, RECIPE, KEY) == image


def test_the_oldest_images_are_removed_beyond_the_size(
    cache: CacheDir, image: Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "MAX_BYTES", 10_000)
    folder = cache.folder("images")
    old = [_aged(folder, f"tracer.c-{day}.image", day, 4000) for day in (3, 1, 2)]
    store(cache, RECIPE, image)
    assert [path.exists() for path in old] == [False, True, True]
    store(cache, RECIPE, replace(image, key="f" * 64, kernel="x" * 3000))
    assert [path.exists() for path in old] == [False, True, False]
    assert look_up(cache, RECIPE, KEY) == image


def test_incomplete_files_are_removed_and_files_being_written_stay(cache: CacheDir, image: Image) -> None:
    folder = cache.folder("images")
    dead_file, alive = _aged(folder, ".new-dead", 2), _aged(folder, ".new-alive", 0)
    other = _aged(folder, "something-else", 900)
    store(cache, RECIPE, image)
    assert (dead_file.exists(), alive.exists(), other.exists()) == (False, True, True)


def test_used_images_stay(cache: CacheDir, image: Image) -> None:
    store(cache, RECIPE, image)
    then = time.time() - 10 * 86400
    os.utime(only_image(cache), (then, then))
    assert look_up(cache, RECIPE, KEY) == image
    assert only_image(cache).stat().st_mtime > then + 86400


_WRITER = """
import pathlib, sys
from pytracer.bpf.cache.directory import CacheDir
from pytracer.bpf.image import decode
from pytracer.bpf.cache.image_cache import Recipe, store
image = decode(sys.stdin.buffer.read())
for _ in range(100):
    store(CacheDir(pathlib.Path(sys.argv[1])), Recipe("tracer.c", "", (), ()), image)
"""


def test_writers_and_readers_at_once(cache: CacheDir, image: Image) -> None:
    """A reader sees a whole image: one writer's or the other's."""
    store(cache, RECIPE, image)
    images = [image, replace(image, kernel="x" * 100_000)]
    writers = []
    for written_image in images * 2:
        command = [sys.executable, "-c", _WRITER, str(cache.path)]
        writer = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert writer.stdin is not None
        writer.stdin.write(written_image.encode())
        writer.stdin.close()
        writers.append(writer)
    maps_text = set()
    while any(writer.poll() is None for writer in writers):
        actual = look_up(cache, RECIPE, KEY)
        assert actual in images
        maps_text.add(images.index(actual))
    assert [writer.returncode for writer in writers] == [0] * 4
    assert maps_text
    assert [path.name for path in (cache.path / "images").iterdir()] == [only_image(cache).name]
