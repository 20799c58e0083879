"""Test the table of languages: what the C and the decoders expect of it."""

from __future__ import annotations

import re

import pytest

from pytracer.bpf.compile.source import probes_folder
from pytracer.enrich.languages import call_event, call_nesting, language, language_label
from pytracer.errors import UsageError
from pytracer.spec import LanguageProbes, Source
from pytracer.spec.languages import ARGUMENTS, LABELS, LANGUAGES, label_of, language_of, sources_of

COLLECTIONS = LanguageProbes("LANGUAGE", "", programs={"gc-begin": "begins", "gc-end": "ends"})


def test_arguments_are_those_of_the_c():
    text = (probes_folder() / "include" / "language.h").read_text()
    [members] = re.findall(r"enum pt_language_argument \{(.*?)\}", text, re.S)
    names = [name.lower().removeprefix("pt_") for name in re.findall(r"\w+", members)]
    assert names == list(ARGUMENTS)
    assert len(names) <= 12


def test_labels_of_a_probe_follow_each_other():
    for one in LANGUAGES:
        for probe in one.probes:
            first = label_of(one, probe)
            assert LABELS[first : first + len(probe.labels)] == tuple(
                (one.name, name) for name in probe.labels
            )
            assert set(probe.arguments) <= set(ARGUMENTS)
            names = {other.name for other in one.probes}
            assert not probe.enabled_by or probe.enabled_by not in names  # nothing is attached to it


def test_decoders():
    assert [language(number) for number in range(len(LANGUAGES))] == [one.name for one in LANGUAGES]
    assert language(99) == "unknown:99"
    assert [call_event(number) for number in (0, 1)] == ["call", "return"]
    assert [call_nesting(number) for number in (1, 2, 3, 6, 7)] == ["<-", "->", "<-", "    ->", "    <-"]
    assert call_nesting(0xFFFFFFFF) == "  " * 64 + "<-"
    assert language_label(1) == "generation 1"
    assert language_label(0xFFFFFFFF) == "unknown:4294967295"


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("python", "python3.11"),
        ("python", "python3"),
        ("python", "libpython3.13t.so.1.0"),
        ("ruby", "libruby-3.1.so.3.1"),
        ("ruby", "ruby3.1"),
        ("php", "php8.2"),
        ("php", "php-fpm8.2"),
        ("php", "libphp8.2.so"),
        ("java", "libjvm.so"),
        ("node", "node"),
        ("perl", "perl"),
        ("", "pythonista"),
        ("", "rubygems"),
        ("", "libjvmti.so"),
        ("", "sh"),
    ],
)
def test_files(name, file):
    assert [one.name for one in LANGUAGES if re.fullmatch(one.files, file)] == [name] * bool(name)


def test_sources():
    assert [source.text for source in sources_of(COLLECTIONS, ())] == [
        "usdt:python:*",
        "usdt:ruby:*",
        "usdt:hotspot:*",
    ]
    assert sources_of(COLLECTIONS, ("java", "java")) == (Source("usdt", "*", "hotspot"),)
    files = sources_of(COLLECTIONS, ("/opt/a b/python3",))
    assert [source.place for source in files] == [
        f'"/opt/a b/python3":{provider}' for provider in ("python", "ruby", "hotspot")
    ]
    assert [language_of(source).name for source in files] == ["python", "ruby", "java"]
    with pytest.raises(UsageError, match="PHP has no probes for this") as error:
        sources_of(COLLECTIONS, ("php",))
    assert error.value.hint == "languages that have: python, ruby, java"
