"""Find the runtimes that are traced, and say why they raise no probes: what they were built without, or
started without."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator

from pytracer.errors import PytracerError, UnsupportedError
from pytracer.kernel.facts import KernelInfo, ProcessStart
from pytracer.request import Request
from pytracer.spec import LanguageProbes, Source
from pytracer.spec.languages import LANGUAGES, Language, RuntimeProbe, language_of, languages_with


def check_start(
    language: Language, probes: Iterable[RuntimeProbe], request: Request, facts: KernelInfo
) -> Iterator[str]:
    """Yield warnings about traced processes whose start may keep a language's probes from being raised.

    Raises UnsupportedError, with what to start it with, where they are not raised for certain.
    """
    if not any(probe.flags or probe.environment for probe in probes):
        return
    for name, start in _starts(request, facts):
        if not _runs(language, start):
            continue
        for probe in probes:
            if probe.environment and start.environment.get(probe.environment) in (None, "", "0"):
                raise UnsupportedError(
                    f"{name}: {language.runtime} raises {probe.name} only if it is started with "
                    f"{probe.environment}=1 in its environment",
                    hint=f"-- env {probe.environment}=1 {language.name} ...",
                )
            options = list(_options(language, start))
            if not probe.flags or not set(probe.flags).isdisjoint(options):
                continue
            if any(word.startswith(("@", "-XX:Flags=")) for word in options):
                yield (
                    f"{name}: {probe.flags[0]} is needed for {probe.name}, and is not among its words: "
                    "it may be in a file that they name"
                )
                break
            raise UnsupportedError(
                f"{name}: {language.runtime} raises {probe.name} only if it is started with {probe.flags[0]}",
                hint=f"start {language.runtime} with {probe.flags[0]}; it is slower then",
            )


def narrow_sources(request: Request, facts: KernelInfo) -> tuple[Source, ...]:
    """Return the sources of a request; if a command is traced that runs a known runtime, those of its own
    files, lest others that run now are taken in their place."""
    if not request.follows_command:
        return request.sources
    start = facts.start_of(0, request.command)
    if not any(_runs(language, start) for language in LANGUAGES):
        return request.sources
    return tuple(
        language.source(file)
        for language in map(language_of, request.sources)
        for file in start.files
        if _is_of(language, file)
    )


def explain_absence(
    arguments: LanguageProbes, request: Request, facts: KernelInfo
) -> UnsupportedError | None:
    """Return the reason why what is traced has no probes of runtimes; None if it runs no known runtime."""
    available = languages_with(arguments)
    for name, start in _starts(request, facts):
        for language in LANGUAGES:
            for file in start.files:
                if not _is_of(language, file):
                    continue
                if language in available:
                    return UnsupportedError(
                        f"{name}: this {language.runtime} ({file}) has no USDT probes: {language.lacking}",
                        hint=language.instead,
                    )
                return UnsupportedError(
                    f"{name}: {language.runtime} ({file}) has no probes for this",
                    hint=f"languages that have: {', '.join(one.name for one in available)}",
                )
    return None


def _starts(request: Request, facts: KernelInfo) -> Iterator[tuple[str, ProcessStart]]:
    """Yield what each named process, or else the command, was started with."""
    named = request.processes
    for process in named:
        try:
            yield f"process {process}", facts.start_of(process)
        except (PytracerError, OSError):
            continue
    if not named and request.command:
        yield request.command[0], facts.start_of(0, request.command)


def _runs(language: Language, start: ProcessStart) -> bool:
    return any(_is_of(language, file) for file in start.files)


def _is_of(language: Language, file: str) -> bool:
    return re.fullmatch(language.files, file.rpartition("/")[2]) is not None


def _options(language: Language, start: ProcessStart) -> Iterator[str]:
    """Yield the words that a runtime reads its options from."""
    yield from start.words
    for variable in language.option_variables:
        text = start.environment.get(variable, "")
        try:
            yield from shlex.split(text)
        except ValueError:  # a quote that is left open
            yield from text.split()
