"""Test that the host compiles an image that is identical to one compiled in the machine.

Here both are this machine: the other end gets copies of the kernel's files, as from a VM.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab import compile_inputs
from lab.every_plan import compile_requests

from pytracer.bpf.compile import remote
from pytracer.bpf.compile.remote import VARIABLE, compile_remotely
from pytracer.errors import BuildError
from pytracer.kernel.btf import VMLINUX, Btf
from pytracer.spec import registry
from support.cli import run
from support.needs import needs

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).resolve().parents[2]
SERVE = """
import sys
from pathlib import Path
from lab import compile_inputs, host_compiler
folder = Path(sys.argv[1])
release, version = ((folder / name).read_text().strip() for name in ("release", "version"))
with host_compiler.posing_as(compile_inputs.Facts(folder, release, version)):
    host_compiler.serve(Path(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder of requests, with an empty cache."""
    needs("BTF", VMLINUX.exists())
    for name in ("facts", "folder", "cache"):
        (tmp_path / name).mkdir(mode=0o700)
    subprocess.run(
        [
            "unshare",
            "--mount",
            "sh",
            "-c",
            compile_inputs.SCRIPT,
            "facts",
            tmp_path / "facts",
            *compile_inputs.events(),
        ],
        check=True,
    )
    words = [
        "unshare",
        "--mount",
        sys.executable,
        "-c",
        SERVE,
        str(tmp_path / "facts"),
        str(tmp_path / "folder"),
    ]
    monkeypatch.setenv("PYTRACER_CACHE_DIR", str(tmp_path / "cache"))
    with subprocess.Popen(words, cwd=ROOT) as process:
        yield tmp_path / "folder"
        assert process.poll() is None
        process.terminate()


@pytest.mark.parametrize(
    "line", ["syscalls --hook syscall=raw-tracepoint", "syscalls --hook syscall=tracepoint"]
)
def test_the_image_is_the_same_to_the_last_byte(folder, tmp_path, monkeypatch, line):
    images = tmp_path / "cache/images"
    for environment, way in (({VARIABLE: str(folder)}, f"by way of {folder}"), ({}, "headers: types from")):
        result = run(*line.split(), "-v", "--", "true", env=environment)
        assert result.status == 0, result.err
        assert way in result.err
        (image_path,) = images.iterdir()
        (tmp_path / (image_path.name + way[:2])).write_bytes(image_path.read_bytes())
        image_path.unlink()
    first, second = sorted(tmp_path.glob("*.image*"))
    assert first.read_bytes() == second.read_bytes()


RECIPE = ("k" * 64, "broken.c", "int f(void *ctx)\n{\n\treturn no_such;\n}\n", (), ("f",))


def test_the_compilers_message_arrives(folder):
    with pytest.raises(BuildError, match=r"broken\.c does not compile: .*no_such is not declared"):
        compile_remotely(folder, *RECIPE)


def test_the_host_compiler_is_refused_for_another_kernel(folder, monkeypatch):
    monkeypatch.setattr(remote, "kernel_identity", lambda _: "6.99.0-other")
    with pytest.raises(BuildError, match=r"broken\.c is for 6\.99\.0-other, and this compiler for "):
        compile_remotely(folder, *RECIPE)


def test_every_tracer_is_compiled_for_a_kernel_that_has_all_trace_events():
    needs("BTF", VMLINUX.exists())
    requests = list(compile_requests("a kernel", Btf.load(), ()))
    written_for_each_run = {"trace", "argdist", "latency", "inject"}
    expected = {t.c_file for t in registry.all_tracers() if t.name not in written_for_each_run}
    assert {request.name for request in requests} == expected
    flags = [set(request.cflags) for request in requests if request.name == "syscalls.c"]
    for alternative in ("RAW_TRACEPOINT", "TRACEPOINT"):
        assert any(f"-DHOOK_SYSCALL_{alternative}" in line for line in flags)
    assert any(flag.startswith("-DPT_FOLLOW=") for line in flags for flag in line)
