"""Load the programs of a recipe: from the image cache, from a pack, or by compiling."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from pytracer.bpf.attach.kind import LoadAttributes
from pytracer.bpf.cache import image_cache
from pytracer.bpf.cache.directory import cache_dir
from pytracer.bpf.cache.image_cache import Recipe
from pytracer.bpf.image import Image, ImageError
from pytracer.bpf.load.loader import ImageModule
from pytracer.bpf.load.module import Module
from pytracer.errors import CacheError, HeadersError, PytracerError, UnsupportedError, VerifierError
from pytracer.progress import step
from pytracer.record import record

Say = Callable[[str], None]


@record
class ProgramLoad:
    """A program to load: the name of its C function, its load attributes, and values for the placeholders
    in its code (:func:`pytracer.bpf.image.patch_constants`). If the verifier rejects an ``optional`` one,
    loading continues without it."""

    program: str
    as_: LoadAttributes
    constants: tuple[tuple[int, int], ...] = ()
    optional: bool = False


@record
class LoadedPrograms:
    """Programs that passed the verifier, and the module that owns them and their maps."""

    module: Module
    programs: Mapping[ProgramLoad, int]


def open_programs(
    recipe: Recipe,
    requests: Collection[ProgramLoad],
    *,
    log: Say,
    warn: Say,
    stop_requested: Callable[[], bool] = lambda: False,
) -> LoadedPrograms:
    """Load the ``requests`` programs of a recipe: from its pack, from the image cache, or by compiling.

    ``log`` gets progress messages, ``warn`` gets warnings for the user. A compile ends by KeyboardInterrupt
    once ``stop_requested`` returns True. Raises the errors of building, loading and the verifier.
    """
    if recipe.pack:
        return _load_from_pack(recipe, requests, log)
    cache = cache_dir()
    if cache.note:
        warn(cache.note)
    key = _compute_key(recipe, log)
    image = image_cache.look_up(cache, recipe, key) if key else None
    if image is not None:
        start = time.monotonic()
        try:
            loaded = _load(ImageModule(recipe.name, image, keep_logs=False), requests)
        except PytracerError as error:
            # The image may be at fault. A new compile either works, or its error names lines of C.
            log(f"the cached image cannot be used: {error.message}")
        else:
            log(f"loaded the cached image in {(time.monotonic() - start) * 1e3:.1f} ms")
            return loaded
    # BCC and headers are imported and searched only now: most starts do not need them.
    with step("compiling for this kernel"):
        image = _compile(recipe, key, log, warn, stop_requested)
    loaded = _load(ImageModule(recipe.name, image), requests)
    if key:
        try:
            image_cache.store(cache, recipe, image)
        except ImageError as error:
            log(f"the image is not cached: {error.message}")
        except CacheError as error:
            warn(f"nothing is cached for the next start: {error.message}")
    return loaded


def _compile(recipe: Recipe, key: str, log: Say, warn: Say, stop_requested: Callable[[], bool]) -> Image:
    """Compile; if the compiler crashes with cached kernel types, discard them and compile again."""
    from pytracer.bpf.compile.compiler import CompilerDiedError, compile_image
    from pytracer.bpf.compile.headers import discard, find_headers
    from pytracer.bpf.compile.remote import VARIABLE, compile_remotely

    folder = os.environ.get(VARIABLE)
    if folder and not recipe.headers:  # a source of types that was named is this machine's
        start = time.monotonic()
        image = compile_remotely(
            Path(folder),
            key,
            recipe.name,
            recipe.text,
            recipe.cflags,
            recipe.programs,
            stop_requested=stop_requested,
        )
        log(f"compiled by BCC in {(time.monotonic() - start) * 1e3:.0f} ms, by way of {folder}")
        return image
    while True:
        headers = find_headers(recipe.text, prefer=recipe.headers or None)
        log(f"headers: {headers.describe}")
        start = time.monotonic()
        try:
            image = compile_image(
                key,
                recipe.name,
                recipe.text,
                recipe.cflags,
                headers,
                recipe.programs,
                stop_requested=stop_requested,
            )
        except CompilerDiedError as error:
            if not headers.cached:
                raise
            warn(f"{error.message}; the cached kernel types are generated again")
            discard(headers)
            continue
        log(f"compiled by BCC in {(time.monotonic() - start) * 1e3:.0f} ms")
        return image


def load_program(module: Module, request: ProgramLoad, on_log: Callable[[str], None] | None = None) -> int:
    """Load one program of a module and return its descriptor, which the module owns. ``on_log``: see
    :class:`~pytracer.bpf.load.module.Module`."""
    return module.load(
        request.program,
        request.as_.type,
        request.as_.attach_type,
        btf_id=request.as_.btf_id,
        constants=dict(request.constants),
        prologue=request.as_.prologue,
        label=request.as_.label,
        preempted=request.as_.preempted,
        on_log=on_log,
    )


def _load_from_pack(recipe: Recipe, requests: Collection[ProgramLoad], log: Say) -> LoadedPrograms:
    from pytracer.bpf.cache import pack

    start = time.monotonic()
    loaded = _load(ImageModule(recipe.name, pack.image_for(recipe)), requests)
    log(f"loaded from {recipe.pack} in {(time.monotonic() - start) * 1e3:.1f} ms")
    return loaded


def _compute_key(recipe: Recipe, log: Say) -> str:
    """Return the recipe's key; "" if it cannot have one."""
    try:
        return image_cache.key_of(recipe)
    except HeadersError as error:
        log(f"the image is not cached: {error.message}")
        return ""


def _load(module: Module, requests: Collection[ProgramLoad]) -> LoadedPrograms:
    descriptors = dict[ProgramLoad, int]()
    try:
        with step("loading programs", len(requests)) as loading:
            for request in requests:
                try:
                    descriptors[request] = load_program(module, request)
                except (VerifierError, UnsupportedError):
                    if not request.optional:
                        raise
                loading.advance()
        return LoadedPrograms(module, descriptors)
    except BaseException:
        module.close()
        raise
