"""Decode raw values for people, one decoder a file. A decoder never raises: it yields ``unknown``."""

from typing import TYPE_CHECKING

from pytracer.exports import import_on_use

if TYPE_CHECKING:
    from pytracer.enrich.decode import Decoder
    from pytracer.enrich.registered import check_decoders, decoders

__all__ = ["Decoder", "check_decoders", "decoders"]

__getattr__ = import_on_use(__name__, {"decode": ("Decoder",), "registered": ("check_decoders", "decoders")})
