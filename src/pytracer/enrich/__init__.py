"""From raw values to what people read, one decoder a file. A decoder never raises: it yields ``unknown``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pytracer.enrich.errno import errno_name
from pytracer.enrich.interfaces import interface_decoder
from pytracer.enrich.protocols import packet_protocol
from pytracer.enrich.text import text
from pytracer.kernel.syscalls import label

Decoder = Callable[[Any], str]


def decoders(interfaces: Mapping[int, str]) -> dict[str, Decoder]:
    """All decoders by the name that a :class:`~pytracer.spec.Column` uses."""
    return {
        "errno": errno_name,
        "interface": interface_decoder(interfaces),
        "packet_protocol": packet_protocol,
        "syscall": label,
        "text": text,
    }


def decode(decoder: Decoder, values: npt.NDArray[Any]) -> list[str]:
    """Decode an array. The decoder is asked once for each distinct value."""
    distinct, inverse = np.unique(values, return_inverse=True)
    names = [decoder(value) for value in distinct.tolist()]
    return [names[i] for i in inverse.tolist()]
