"""Test the contents of a wheel of this checkout, and that the checkout is importable from anywhere."""

import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKED = ("cli", "tracers", "probes_c")
NEEDED = ("src", *LINKED, "pyproject.toml", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as b; getattr(b, sys.argv[1])(sys.argv[2])"


def build(tree: Path, kind: str, into: Path) -> Path:
    """Call the build back end as pip does, with nothing fetched; return the file made."""
    into.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(into)]
    result = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "Deprecat" not in result.stderr, result.stderr
    (archive,) = into.iterdir()
    return archive


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names in a wheel built from a copy of this checkout, links kept."""
    try:
        version = metadata.version("setuptools")
    except metadata.PackageNotFoundError:
        pytest.skip("building needs setuptools")
    if int(version.split(".")[0]) < 77:
        pytest.skip(f"building needs setuptools 77 or newer, not {version}")
    base = tmp_path_factory.mktemp("packaging")
    tree = base / "tree"
    tree.mkdir()
    for name in NEEDED:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(ROOT / name, tree / name)
    with zipfile.ZipFile(build(tree, "wheel", base / "wheel")) as archive:
        return set(archive.namelist())


def sources(folder: str, *patterns: str) -> set[str]:
    """Return the files of one folder of the checkout that the wheel must contain."""
    top = ROOT / folder
    actual = {path for pattern in patterns for path in top.glob(pattern)}
    return {f"pytracer/{folder}/{path.relative_to(top).as_posix()}" for path in actual}


@pytest.mark.parametrize("name", LINKED)
def test_links_are_relative_and_lead_to_the_folders(name: str) -> None:
    link = ROOT / "src" / "pytracer" / name
    assert link.is_symlink()
    assert link.readlink() == Path("../..") / name
    assert link.resolve() == ROOT / name


def test_wheel_holds_every_tracer(wheel: set[str]) -> None:
    expected = sources("tracers", "**/*.py")
    assert "pytracer/tracers/__init__.py" in expected
    assert expected <= wheel


def test_wheel_holds_the_command_line(wheel: set[str]) -> None:
    expected = sources("cli", "**/*.py")
    assert "pytracer/cli/__init__.py" in expected
    assert expected <= wheel


def test_wheel_holds_every_back_end(wheel: set[str]) -> None:
    programs = sources("probes_c", "*.c")
    helpers = sources("probes_c", "include/*.h")
    assert programs
    assert helpers
    assert programs | helpers <= wheel


def test_wheel_holds_the_library(wheel: set[str]) -> None:
    top = ROOT / "src"
    # A link is not followed by rglob: the folders behind the links have their own tests.
    expected = {path.relative_to(top).as_posix() for path in (top / "pytracer").rglob("*.py")}
    assert expected
    assert expected <= wheel
    assert "pytracer/py.typed" in wheel


def test_wheel_holds_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0].split("-")[0] for name in wheel}
    assert tops == {"pytracer"}
    assert not [name for name in wheel if "test" in name or "__pycache__" in name]


def test_wheel_holds_the_licences_and_the_command(wheel: set[str]) -> None:
    info = {name.split("/", 1)[1] for name in wheel if ".dist-info/" in name}
    assert {"licenses/LICENSE", "licenses/probes_c/LICENSE.GPL-2.0", "entry_points.txt"} <= info


def test_linked_packages_import_from_another_directory(tmp_path: Path) -> None:
    code = "import pytracer.cli, pytracer.tracers as t; print(t.__file__)"
    command = [sys.executable, "-I", "-c", code]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).name == "__init__.py"
