"""A seccomp profile, in the form that container runtimes take: JSON, the same for the same calls."""

from __future__ import annotations

import errno
import json
from typing import Any, TextIO

from pytracer.errors import LossError
from pytracer.model import Item, Loss, ProfileSnapshot, Schema


class SeccompSink:
    """Writes one profile; calls that it does not name fail with EPERM. An incomplete profile is not
    written."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def open(self, schema: Schema) -> None:
        """See :class:`~pytracer.sinks.Sink`."""

    def emit(self, item: Item) -> None:
        """See :class:`~pytracer.sinks.Sink`. Raises LossError."""
        if isinstance(item, Loss):
            raise LossError(
                f"{item.lost} lost ({item.reason}): the profile would not be whole, and was not written",
                hint=item.meaning,
            )
        if isinstance(item, ProfileSnapshot):
            self._stream.write(json.dumps(document(item), indent=2) + "\n")

    def close(self) -> None:
        """See :class:`~pytracer.sinks.Sink`."""
        self._stream.flush()


def document(profile: ProfileSnapshot) -> dict[str, Any]:
    """Return the profile's fields, in the format that OCI and Docker share."""
    groups = {"the command": profile.calls, "the container runtime, before the command": profile.runtime}
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": errno.EPERM,
        "architectures": list(profile.architectures),
        "syscalls": [
            {"comment": owner, "names": list(names), "action": "SCMP_ACT_ALLOW"}
            for owner, names in groups.items()
            if names
        ],
    }
