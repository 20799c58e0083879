"""Read seccomp profiles in the format of container runtimes, and make filters of them."""

from __future__ import annotations

from pathlib import Path

from pytracer.errors import BuildError, UsageError
from pytracer.request import Confinement
from pytracer.seccomp.document import parse
from pytracer.seccomp.filter_program import build
from pytracer.seccomp.oci_profile import read

_LIMIT = 1 << 20  # bytes: profiles have some ten thousand


def confinement(name: str) -> Confinement:
    """Build the filter of a profile file, to run a command under.

    Raises UsageError if the file cannot be read, is invalid, or needs a feature that is not supported here.
    """
    try:
        with Path(name).open("rb") as file:
            text = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {name!r}: {getattr(error, 'strerror', error)}") from error
    try:
        if len(text) > _LIMIT:
            raise UsageError(f"it is larger than {_LIMIT} bytes")
        profile = read(parse(text))
        return Confinement(build(profile), profile.flags)
    except (UsageError, BuildError) as error:
        raise UsageError(f"seccomp profile {name!r}: {error.message}", hint=error.hint) from error
