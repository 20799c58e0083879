"""Packs: a file with images for other kernels, so that no compiler is needed there.

A kernel is identified by the SHA-256 of its BTF. The plan is made where the pack is run; the pack holds
images for the plans that are expected, and refuses others.
"""

from __future__ import annotations

import functools
import json
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytracer.bpf.cache.image_cache import Recipe
from pytracer.bpf.cache.pack_check import find_problem
from pytracer.bpf.digest import sha256
from pytracer.bpf.image import Image, ImageError
from pytracer.bpf.image import decode as decode_image
from pytracer.errors import PytracerError, UnsupportedError, UsageError
from pytracer.kernel.btf import VMLINUX
from pytracer.record import record
from pytracer.spec import registry
from pytracer.spec.spelling import as_command_line

_MAGIC = b"pytracer pack 1\n"
MAX_FILE = 16 << 20
MAX_CONTENT = 128 << 20


class PackError(PytracerError):
    """The data is not a pack, or not a whole one."""


@record
class PackEntry:
    """One plan: for the kernel with this ``btf`` (SHA-256), and the ``tracer`` with the command line
    ``line``.

    ``source`` is the SHA-256 of the C as one text, ``cflags`` are the compiler's, ``image`` is the index in
    the pack's images.
    """

    btf: str
    tracer: str
    line: str
    source: str
    cflags: tuple[str, ...]
    image: int


@record
class Pack:
    """The content of a pack. ``kernels`` maps the SHA-256 of a kernel's BTF to the kernel's name for
    people."""

    kernels: Mapping[str, str]
    entries: tuple[PackEntry, ...]
    images: tuple[Image, ...]

    @property
    def tracers(self) -> list[str]:
        """The names of the tracers in it, sorted."""
        return sorted({entry.tracer for entry in self.entries})

    def find(self, recipe: Recipe, btf: str, origin: str) -> Image:
        """Return the image of ``recipe`` for the kernel with this ``btf``.

        Raises UnsupportedError that says what the pack ``origin`` has instead.
        """
        if btf not in self.kernels:
            raise UnsupportedError(
                f"{origin} has no image for this kernel ({os.uname().release})",
                hint=f"it was made for {', '.join(self.kernels.values())}; pytracer pack --btf takes the "
                f"{VMLINUX} of more",
            )
        if recipe.events:
            raise UnsupportedError(
                f"here the tracer has to go by the trace event {recipe.events[0]}, which no pack can hold",
                hint="--dry-run shows why better alternatives are not supported",
            )
        matching = [
            entry for entry in self.entries if entry.btf == btf and entry.source == digest(recipe.text)
        ]
        if not matching:
            raise UnsupportedError(
                f"{origin} was not made from this {Path(recipe.name).name}",
                hint="make it again with this version of pytracer",
            )
        for entry in matching:
            image = self.images[entry.image]
            if entry.cflags == recipe.cflags and {p.name for p in image.programs}.issuperset(recipe.programs):
                return image
        raise UnsupportedError(
            f"{origin} holds {matching[0].tracer} for this kernel, but not with these options"
            + _describe_difference(matching[0].tracer, recipe.cflags, [entry.cflags for entry in matching]),
            hint=f"it holds {'; '.join(dict.fromkeys(entry.line for entry in matching))}",
        )

    def encode(self) -> bytes:
        """Encode the pack as the bytes of a file that ``decode`` reads."""
        body = {
            "kernels": dict(self.kernels),
            "entries": [
                [entry.btf, entry.tracer, entry.line, entry.source, list(entry.cflags), entry.image]
                for entry in self.entries
            ],
            "images": [image.encode().decode() for image in self.images],
        }
        content = zlib.compress(json.dumps(body, separators=(",", ":")).encode(), 9)
        return _MAGIC + sha256(content).hexdigest().encode() + b"\n" + content


def decode(data: bytes) -> Pack:
    """Decode a pack from a file's bytes. Raises PackError if they are cut, changed, or not a pack."""
    if not data.startswith(_MAGIC):
        raise PackError("is not a pack of this version")
    checksum, _, content = data[len(_MAGIC) :].partition(b"\n")
    if sha256(content).hexdigest().encode() != checksum:
        raise PackError("is damaged")
    try:
        text = _decompress(content)
        body = json.loads(text)
        images = tuple(decode_image(_check_text(image).encode()) for image in body["images"])
        kernels = {_check_text(key): _check_text(name) for key, name in body["kernels"].items()}
        entries = tuple(_decode_entry(entry, len(images)) for entry in body["entries"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, ImageError, zlib.error) as error:
        raise PackError("holds something else than it should") from error
    return Pack(kernels, entries, images)


@functools.cache
def load(path: str) -> Pack:
    """Load the pack in a file, once. Raises UsageError if it cannot be read, PackError if it is not a
    pack."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise UsageError(f"{path} is no plain file", hint="pytracer pack makes one")
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"cannot read {path!r}: {error.strerror}") from error
    try:
        if len(data) > MAX_FILE:
            raise PackError("is too big for a pack")
        return decode(data)
    except PackError as error:
        raise PackError(f"{path} {error.message}", hint="pytracer pack makes one") from error


def image_for(recipe: Recipe) -> Image:
    """Return the image of ``recipe`` for the running kernel, from the pack that it names.

    Raises UnsupportedError if the pack has none, and the errors of ``load``.
    """
    pack = load(recipe.pack)
    try:
        btf = btf_digest(VMLINUX)
    except OSError as error:
        raise UnsupportedError(
            "this kernel has no BTF, by which packs know kernels",
            hint="the kernel needs CONFIG_DEBUG_INFO_BTF",
        ) from error
    image = pack.find(recipe, btf, recipe.pack)
    if problem := find_problem(image, recipe.text):
        raise PackError(f"{recipe.pack} holds {problem}", hint="make it again: pytracer pack")
    return image


def btf_digest(path: Path) -> str:
    """Return the digest of BTF that identifies a kernel in packs. Raises OSError."""
    return sha256(path.read_bytes()).hexdigest()


def digest(text: str) -> str:
    """Return the digest that identifies a C text in packs."""
    return sha256(text.encode()).hexdigest()


def _describe_difference(tracer: str, wanted_flags: Sequence[str], packed: Sequence[Sequence[str]]) -> str:
    """Describe how a program differs from the nearest one in the pack, by command line options."""
    nearest_flags = min((set(flags) for flags in packed), key=lambda flags: len(flags ^ set(wanted_flags)))
    declared = registry.get(tracer) if tracer in registry.names() else None

    def join_flags(flags: set[str]) -> str:
        macros = (flag.removeprefix("-D") for flag in sorted(flags))
        return ", ".join(
            as_command_line(declared, macro) if declared is not None else macro for macro in macros
        )

    extra, missing = (
        join_flags(set(wanted_flags) - nearest_flags),
        join_flags(nearest_flags - set(wanted_flags)),
    )
    parts = [f"asked for: {extra}"] * bool(extra) + [f"in the pack: {missing}"] * bool(missing)
    return f" ({'; '.join(parts)})" if parts else ""


def _decompress(content: bytes) -> bytes:
    """Decompress the content, up to the size limit of packs."""
    inflate = zlib.decompressobj()
    text = inflate.decompress(content, MAX_CONTENT)
    if not inflate.eof or inflate.unused_data:
        raise ValueError("cut, too much, or followed by something")
    return text


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _decode_entry(fields: Sequence[Any], images: int) -> PackEntry:
    btf, tracer, line, source, cflags, image = fields
    if type(image) is not int or not 0 <= image < images or not isinstance(cflags, list):
        raise TypeError("no entry")
    return PackEntry(
        _check_text(btf),
        _check_text(tracer),
        _check_text(line),
        _check_text(source),
        tuple(map(_check_text, cflags)),
        image,
    )
