"""Test how programs are loaded, and the messages about it, with a fake compiler."""

from __future__ import annotations

import faulthandler
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from pytracer.bpf import builder
from pytracer.bpf.builder import LoadAttributes, LoadedPrograms, ProgramLoad, open_programs
from pytracer.bpf.cache import image_cache
from pytracer.bpf.cache.image_cache import Recipe
from pytracer.bpf.compile import bcc, headers
from pytracer.bpf.image import Image, ProgramSpec
from pytracer.bpf.sys import ProgType
from pytracer.errors import BuildError, HeadersError, SchemaError, ToolchainError, VerifierError
from pytracer.record import replace

RECIPE = Recipe("tracer.c", "int enter(void *ctx);", (), ("enter",))
ENTER = ProgramLoad("enter", LoadAttributes(ProgType.KPROBE))
KEY = "0123456789abcdef" * 4
RETURN = bytes.fromhex("b700000000000000 9500000000000000")


class Module:
    """A module whose programs load, except those whose name requests a failure."""

    def __init__(self, name: str, *_: object, **__: object) -> None:
        self.name = name
        self.maps: dict[str, object] = {}
        self.closed = False

    def load(self, program: str, kind: ProgType, attach_type: int = 0, **_: object) -> int:
        return 7

    def close(self) -> None:
        self.closed = True

    def image(self, key: str, names: tuple[str, ...]) -> Image:
        return Image(key, "", (__file__ + " 0 0",), (), tuple(ProgramSpec(n, RETURN, {}) for n in names))


class MessageLog:
    """Records messages and warnings."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.warned: list[str] = []

    def open(self, recipe: Recipe = RECIPE) -> LoadedPrograms:
        return open_programs(recipe, [ENTER], log=self.messages.append, warn=self.warned.append)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a cache folder, with a fake compiler and loader."""
    (tmp_path / "cache").mkdir(mode=0o700)
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(bcc, "BccModule", Module)
    monkeypatch.setattr(builder, "ImageModule", Module)
    monkeypatch.setattr(image_cache, "key_of", lambda recipe: KEY)
    monkeypatch.setattr(image_cache, "_was_made_by_this_compiler", lambda image: True)
    actual = headers.Headers("btf", tmp_path, "types from a test")
    monkeypatch.setattr(headers, "find_headers", lambda *_, **__: actual)
    return tmp_path / "cache"


def test_first_compiled_then_from_the_image(folder: Path) -> None:
    cold, warm = MessageLog(), MessageLog()
    assert cold.open().programs == warm.open().programs == {ENTER: 7}
    assert cold.messages[0] == "headers: types from a test"
    assert cold.messages[1].startswith("compiled by BCC in ")
    assert len(warm.messages) == 1
    assert warm.messages[0].startswith("loaded the cached image in ")
    assert cold.warned == warm.warned == []


def test_without_a_key_it_is_compiled_and_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Recipe) -> str:
        raise HeadersError("nothing tells this kernel from others")

    monkeypatch.setattr(image_cache, "key_of", none)
    for _ in range(2):
        log = MessageLog()
        assert log.open().programs == {ENTER: 7}
        assert log.messages[0] == "the image is not cached: nothing tells this kernel from others"
        assert log.messages[2].startswith("compiled by BCC")
    assert not (folder / "images").exists()


def test_without_bcc_there_is_no_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Recipe) -> str:
        raise ToolchainError("no BCC")

    monkeypatch.setattr(image_cache, "key_of", none)
    with pytest.raises(ToolchainError):
        MessageLog().open()


def test_an_image_whose_maker_is_unknown_is_used_and_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = Module("").image(KEY, ("enter",))
    monkeypatch.setattr(Module, "image", lambda *_: replace(created, made_by=()))
    log = MessageLog()
    assert log.open().programs == {ENTER: 7}
    assert log.messages[-1] == "the image is not cached: the libraries that compiled it are unknown"
    assert log.warned == []


def test_a_folder_that_is_not_trusted_is_warned_of(folder: Path) -> None:
    (folder / "images").mkdir(mode=0o777)
    (folder / "images").chmod(0o777)
    log = MessageLog()
    assert log.open().programs == {ENTER: 7}
    assert log.warned == [f"nothing is cached for the next start: {folder}/images can be written by others"]


def test_an_unusable_image_is_rebuilt(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MessageLog().open()
    modules: list[Module] = []

    class Refused(Module):
        def load(self, program: str, kind: ProgType, attach_type: int = 0, **_: object) -> int:
            modules.append(self)
            raise VerifierError("the verifier refused it")

    def module(name: str, image: Image, *, keep_logs: bool = True) -> Module:
        return Module(name) if keep_logs else Refused(name)  # logs are kept of what was just compiled

    monkeypatch.setattr(builder, "ImageModule", module)
    log = MessageLog()
    assert log.open().programs == {ENTER: 7}
    assert log.messages[0] == "the cached image cannot be used: the verifier refused it"
    assert log.messages[2].startswith("compiled by BCC")
    assert [module.closed for module in modules] == [True]


def test_a_refused_image_is_not_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise VerifierError("the verifier refused it")

    monkeypatch.setattr(Module, "load", refuse)
    with pytest.raises(VerifierError):
        MessageLog().open()
    assert not (folder / "images").exists()


def test_a_compiler_crash_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> Image:
        faulthandler.disable()
        os.kill(os.getpid(), signal.SIGSEGV)
        raise AssertionError

    monkeypatch.setattr(Module, "image", die)
    log = MessageLog()
    with pytest.raises(BuildError) as excinfo:
        log.open()
    assert excinfo.value.message == "tracer.c does not compile: the compiler died of SIGSEGV"
    assert "pytracer cache clear" in excinfo.value.hint
    assert not log.warned


def test_stored_types_are_rebuilt_after_a_compiler_crash(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = folder / "headers" / "some"
    tree.mkdir(parents=True, mode=0o700)
    image = Module.image

    def die(self: Module, *options: Any) -> Image:
        if tree.exists():
            faulthandler.disable()
            os.kill(os.getpid(), signal.SIGSEGV)
        return image(self, *options)

    monkeypatch.setattr(Module, "image", die)
    actual = headers.Headers("btf", tree, "types", cached=True)
    monkeypatch.setattr(headers, "find_headers", lambda *_, **__: actual)
    log = MessageLog()
    assert log.open().programs == {ENTER: 7}
    assert log.warned == [
        "tracer.c does not compile: the compiler died of SIGSEGV; the cached kernel types are generated again"
    ]
    assert not list(tree.parent.iterdir())


def test_compiler_warnings_are_repeated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> Image:
        raise SchemaError("no such column", hint="a hint", detail="much")

    monkeypatch.setattr(Module, "image", refuse)
    with pytest.raises(SchemaError) as excinfo:
        MessageLog().open()
    assert (excinfo.value.message, excinfo.value.hint, excinfo.value.detail) == (
        "no such column",
        "a hint",
        "much",
    )


def test_compiling_ends_on_request(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiler never ends by itself, and ignores signals."""
    ready, start = os.pipe()

    def forever(*_: object) -> Image:
        os.write(start, str(os.getpid()).encode())
        while True:
            signal.pause()

    monkeypatch.setattr(Module, "image", forever)
    pids = list[int]()

    def requests() -> bool:
        if not pids:
            pids.append(int(os.read(ready, 20)))
        return True

    with pytest.raises(KeyboardInterrupt):
        open_programs(RECIPE, [ENTER], log=print, warn=print, stop_requested=requests)
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
    os.close(ready)
    os.close(start)


def test_a_pack_is_queried_instead_of_the_cache(folder: Path, tmp_path: Path) -> None:
    from pytracer.bpf.cache import pack

    key = pack.btf_digest(Path(__file__))
    entry = pack.PackEntry(key, "tracer", "tracer", pack.digest(RECIPE.text), (), 0)
    held = Module("").image("", ("enter",))
    (tmp_path / "file").write_bytes(pack.Pack({key: "here"}, (entry,), (held,)).encode())
    log = MessageLog()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack, "VMLINUX", Path(__file__))
        log.open(replace(RECIPE, pack=str(tmp_path / "file")))
    assert len(log.messages) == 1
    assert log.messages[0].startswith(f"loaded from {tmp_path / 'file'} in ")
    assert not (folder / "images").exists()
