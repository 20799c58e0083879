"""Test remote compiles through a folder: the request arrives, and the image or the error comes back."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pytracer.bpf.compile import remote
from pytracer.bpf.compile.compiler import encode_outcome
from pytracer.bpf.compile.remote import ANSWER, REQUEST, CompileRequest, compile_remotely
from pytracer.bpf.image import Image, ImageError
from pytracer.errors import BuildError, PytracerError, SchemaError

IMAGE = Image("k" * 64, "6.99.0-test", ("libbcc 1 2",), (), (), b"")
REST = ("k" * 64, "t.c", "int t(void *ctx) { return 0; }\n", ("-DX=1",), ("t",))


@pytest.fixture(autouse=True)
def _kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "kernel_identity", lambda _: "6.99.0-test")


def answer(folder: Path, outcome: bytes, requests: list[CompileRequest]) -> threading.Thread:
    """Answer one request in another thread."""

    def work() -> None:
        while not (actual := list(folder.glob(f"*{REQUEST}"))):
            time.sleep(0.01)
        requests.append(CompileRequest.decode(actual[0].read_bytes()))
        actual[0].unlink()
        (folder / "new").write_bytes(outcome)
        (folder / "new").rename(actual[0].with_suffix(ANSWER))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def encode_failure(error: PytracerError) -> bytes:
    def compiled() -> Image:
        raise error

    return encode_outcome(compiled)


def test_the_image_comes_back_and_no_file_is_left(tmp_path: Path) -> None:
    requests = list[CompileRequest]()
    other = answer(tmp_path, encode_outcome(lambda: IMAGE), requests)
    assert compile_remotely(tmp_path, *REST) == IMAGE
    other.join()
    assert requests == [CompileRequest("6.99.0-test", *REST, ())]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [
        BuildError("t.c does not compile: t.c:1: no", hint="h", detail="d"),
        SchemaError("s"),
        ImageError("i"),
    ],
)
def test_the_compilers_error_comes_back_and_no_file_is_left(tmp_path: Path, error: PytracerError) -> None:
    other = answer(tmp_path, encode_failure(error), [])
    with pytest.raises(type(error)) as excinfo:
        compile_remotely(tmp_path, *REST)
    other.join()
    assert (excinfo.value.message, excinfo.value.hint, excinfo.value.detail) == (
        error.message,
        error.hint,
        error.detail,
    )


def test_formats_of_the_events_that_the_text_names_go_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = tmp_path / "tracing/events/sched/sched_switch"
    event.mkdir(parents=True)
    (event / "format").write_text("name: sched_switch\n")
    monkeypatch.setattr(remote, "TRACEFS", (tmp_path / "none", tmp_path / "tracing"))
    text = "int a(struct tracepoint__sched__sched_switch *x); int b(struct tracepoint__sched__gone *x);"
    assert remote._read_formats(text) == (("sched/sched_switch", "name: sched_switch\n"),)


def test_without_an_answer_no_other_compiler_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_LIMIT", 0)
    with pytest.raises(BuildError, match="nobody answers"):
        compile_remotely(tmp_path, *REST)
    with pytest.raises(BuildError, match="No such file"):
        compile_remotely(tmp_path / "none", *REST)


def test_a_remote_compilation_can_be_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        compile_remotely(tmp_path, *REST, stop_requested=lambda: True)
