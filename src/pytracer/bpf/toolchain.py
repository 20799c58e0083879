"""Find the distribution's BCC from any interpreter or virtual environment.

BCC's Python module is pure Python over libbcc and belongs to the distribution's own interpreter. It is
imported here by its path. The package called ``bcc`` on PyPI is about crystal lattices: it has no ``libbcc``
module, which distinguishes the two.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

from pytracer.errors import ToolchainError

PATTERNS = (
    "/usr/lib/python3/dist-packages/bcc",  # Debian, Ubuntu
    "/usr/lib/python3*/site-packages/bcc",  # Fedora, openSUSE, Arch
    "/usr/lib64/python3*/site-packages/bcc",
    "/usr/local/lib/python3*/*-packages/bcc",  # built from source
)
PACKAGES = {
    "apt-get": "python3-bpfcc",
    "dnf": "python3-bcc",
    "zypper": "python3-bcc",
    "pacman": "python-bcc",
}


def find_bcc() -> Path:
    """Find the folder of the BCC package. Raises ToolchainError with how to install it, or what conflicts
    with it."""
    override = os.environ.get("PYTRACER_BCC")
    if override:
        if _is_bcc(Path(override)):
            return Path(override)
        raise ToolchainError(f"PYTRACER_BCC={override}: no BCC there", hint=_install_hint())
    for pattern in PATTERNS:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if _is_bcc(folder):
                return folder
    module_spec = importlib.util.find_spec("bcc")
    if module_spec is not None and module_spec.origin is not None:
        folder = Path(module_spec.origin).parent
        if _is_bcc(folder):
            return folder
        raise ToolchainError(
            f"the 'bcc' in {folder} is PyPI's crystal-lattice library, not the BPF Compiler Collection",
            hint=f"pip uninstall bcc; {_install_hint()}",
        )
    raise ToolchainError("BCC, the BPF Compiler Collection, is not installed", hint=_install_hint())


def import_bcc() -> ModuleType:
    """Import the distribution's ``bcc`` module by its path. Raises ToolchainError."""
    folder = find_bcc()
    imported = sys.modules.get("bcc")
    if imported is not None and getattr(imported, "__file__", None) == str(folder / "__init__.py"):
        return imported
    for name in [name for name in sys.modules if name == "bcc" or name.startswith("bcc.")]:
        del sys.modules[name]
    spec = importlib.util.spec_from_file_location(
        "bcc", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise ToolchainError(f"{folder} cannot be imported", hint=_install_hint())
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        with warnings.catch_warnings():
            # Python 3.14 deprecates packed ctypes structures as BCC has them; they still work.
            warnings.simplefilter("ignore", DeprecationWarning)
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules["bcc"]  # else the next import would find it half made
        if isinstance(error, (ImportError, OSError, AttributeError)):
            raise ToolchainError(f"BCC in {folder} does not load: {error}", hint=_install_hint()) from error
        raise
    return module


def bcc_version(folder: Path | None = None) -> str:
    """Return BCC's version from its package, without importing it; 'unknown' if it does not state one."""
    try:
        text = ((folder or find_bcc()) / "version.py").read_text()
    except OSError:
        return "unknown"
    return text.partition("'")[2].partition("'")[0] or "unknown"


def _is_bcc(folder: Path) -> bool:
    return (folder / "libbcc.py").is_file() and (folder / "table.py").is_file()


def _install_hint() -> str:
    from pytracer.kernel.distro import install_command

    return install_command(PACKAGES)
