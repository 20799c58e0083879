"""Test finding BCC: the distribution's, not the crystal-lattice library of that name; or how to install
it."""

from __future__ import annotations

import platform
import sys
import warnings

import pytest

from pytracer.bpf import toolchain
from pytracer.errors import ToolchainError
from pytracer.kernel import distro


@pytest.fixture
def no_bcc(monkeypatch):
    """Simulate a machine without BCC: nothing by path, nothing importable, nothing imported."""
    monkeypatch.delenv("PYTRACER_BCC", raising=False)
    monkeypatch.setattr(toolchain, "PATTERNS", ())
    for name in [name for name in sys.modules if name.partition(".")[0] == "bcc"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if "dist-packages" not in entry])
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian"})
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "bcc"]:
        del sys.modules[name]  # made up; monkeypatch then puts back what was imported before


def make_bcc(folder, text="__version__ = 'made up'\n"):
    folder.mkdir(parents=True)
    for name in ("libbcc.py", "table.py"):
        (folder / name).write_text("")
    (folder / "__init__.py").write_text(text)
    (folder / "version.py").write_text("__version__ = '0.31.0'\n")
    return folder


def make_crystals(folder):
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("class Lattice: pass\n")
    return folder


def test_the_crystal_lattice_library_is_distinguished(no_bcc, tmp_path, monkeypatch):
    folder = make_crystals(tmp_path / "bcc")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ToolchainError) as excinfo:
        toolchain.find_bcc()
    assert str(folder) in excinfo.value.message
    assert "crystal-lattice" in excinfo.value.message
    assert excinfo.value.hint == "pip uninstall bcc; sudo apt-get install python3-bpfcc"


def test_the_crystal_lattice_library_does_not_hide_bcc(no_bcc, tmp_path, monkeypatch):
    make_crystals(tmp_path / "pip" / "bcc")
    monkeypatch.syspath_prepend(tmp_path / "pip")
    real = make_bcc(tmp_path / "dist-packages" / "bcc")
    monkeypatch.setattr(toolchain, "PATTERNS", (str(tmp_path / "dist-*" / "bcc"),))
    assert toolchain.find_bcc() == real
    module = toolchain.import_bcc()
    assert module.__file__ == str(real / "__init__.py")
    assert toolchain.import_bcc() is module


def test_bcc_on_the_path_of_python_is_found(no_bcc, tmp_path, monkeypatch):
    folder = make_bcc(tmp_path / "bcc")
    monkeypatch.syspath_prepend(tmp_path)
    assert toolchain.find_bcc() == folder
    assert toolchain.bcc_version() == "0.31.0"


def test_the_environment_variable_comes_first(no_bcc, tmp_path, monkeypatch):
    make_bcc(tmp_path / "other" / "bcc")
    monkeypatch.setattr(toolchain, "PATTERNS", (str(tmp_path / "other" / "bcc"),))
    expected = make_bcc(tmp_path / "wanted")
    monkeypatch.setenv("PYTRACER_BCC", str(expected))
    assert toolchain.find_bcc() == expected


def test_a_wrong_environment_variable_is_an_error(no_bcc, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTRACER_BCC", str(tmp_path))
    with pytest.raises(ToolchainError, match=r"PYTRACER_BCC=.*: no BCC there"):
        toolchain.find_bcc()


@pytest.mark.parametrize(
    "text", ["import no_such_module_at_all", "raise OSError('libbcc.so.0: cannot open shared object file')"]
)
def test_a_bcc_that_does_not_load_is_an_error_and_leaves_nothing(no_bcc, tmp_path, monkeypatch, text):
    folder = make_bcc(tmp_path / "bcc", text)
    monkeypatch.setenv("PYTRACER_BCC", str(folder))
    with pytest.raises(ToolchainError, match="does not load") as excinfo:
        toolchain.import_bcc()
    assert excinfo.value.hint == "sudo apt-get install python3-bpfcc"
    assert "bcc" not in sys.modules


def test_pythons_warnings_about_bcc_are_no_failure(no_bcc, tmp_path, monkeypatch):
    text = "import warnings\nwarnings.warn('_pack_ without _layout_', DeprecationWarning)\nBPF = 1\n"
    monkeypatch.setenv("PYTRACER_BCC", str(make_bcc(tmp_path / "bcc", text)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert toolchain.import_bcc().BPF == 1


def test_an_import_that_was_interrupted_is_made_again(no_bcc, tmp_path, monkeypatch):
    folder = make_bcc(tmp_path / "bcc", "raise KeyboardInterrupt\nBPF = 1\n")
    monkeypatch.setenv("PYTRACER_BCC", str(folder))
    with pytest.raises(KeyboardInterrupt):
        toolchain.import_bcc()
    assert "bcc" not in sys.modules


def test_a_version_that_is_not_stated(tmp_path):
    assert toolchain.bcc_version(tmp_path) == "unknown"


@pytest.mark.parametrize(
    ("release", "command"),
    [
        pytest.param({"ID": "debian"}, "sudo apt-get install python3-bpfcc", id="debian"),
        pytest.param(
            {"ID": "ubuntu", "ID_LIKE": "debian"}, "sudo apt-get install python3-bpfcc", id="ubuntu"
        ),
        pytest.param({"ID": "fedora"}, "sudo dnf install python3-bcc", id="fedora"),
        pytest.param(
            {"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "sudo dnf install python3-bcc", id="rocky"
        ),
        pytest.param(
            {"ID": "opensuse-tumbleweed", "ID_LIKE": "opensuse suse"},
            "sudo zypper install python3-bcc",
            id="opensuse",
        ),
        pytest.param({"ID": "arch"}, "sudo pacman -S python-bcc", id="arch"),
        pytest.param(
            {"ID": "void"},
            "install the distribution's package (python-bcc, python3-bcc, python3-bpfcc)",
            id="unknown",
        ),
        pytest.param(
            None,
            "install the distribution's package (python-bcc, python3-bcc, python3-bpfcc)",
            id="no-os-release",
        ),
    ],
)
def test_no_bcc_names_the_command_that_installs_it(no_bcc, monkeypatch, release, command):
    def freedesktop_os_release():
        if release is None:
            raise OSError("no os-release")
        return release

    monkeypatch.setattr(platform, "freedesktop_os_release", freedesktop_os_release)
    monkeypatch.setattr(distro.shutil, "which", lambda name: None)
    with pytest.raises(ToolchainError) as excinfo:
        toolchain.find_bcc()
    assert excinfo.value.message == "BCC, the BPF Compiler Collection, is not installed"
    assert excinfo.value.hint == command


def test_a_package_manager_that_is_there_names_the_distribution(monkeypatch):
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "own"})
    monkeypatch.setattr(distro.shutil, "which", lambda name: "/usr/bin/dnf" if name == "dnf" else None)
    assert distro.package_manager() == "dnf"
