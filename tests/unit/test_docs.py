"""Test that generated parts of the docs are up to date, and that links in the docs work."""

from __future__ import annotations

import importlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytracer.bpf.cache import image_cache, unwind_tables
from pytracer.budget import RUN, USER, Limits
from pytracer.cli import main
from pytracer.enrich import decoders
from pytracer.kernel import filter_values
from pytracer.spec import Option, Probe
from pytracer.symbols import debuginfod, demangle, dwarf, dwarf_entries, elf_tables, memory_maps
from pytracer.symbols.unwind import entries, table

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = [ROOT / folder for folder in ("", "src", "src/pytracer", "probes_c", "docs")]


def test_generated_parts_are_up_to_date():
    """The script finds the project's environment by itself."""
    python = Path(sys.base_prefix) / "bin" / "python3"
    result = subprocess.run(
        [python, ROOT / "scripts" / "record", "--check"], capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_record_prints_its_usage_and_refuses_unknown_words():
    script = [sys.executable, ROOT / "scripts" / "record"]
    pages = {page: page.read_text() for page in PAGES}
    printed = subprocess.run([*script, "--help"], capture_output=True, text=True, check=True)
    assert "Usage (as root): scripts/record [--pages | --check]" in printed.stdout
    refused = subprocess.run([*script, "--chek"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "unknown words: --chek" in refused.stderr
    assert pages == {page: page.read_text() for page in PAGES}


COMMON_INCLUDES = ("config", "inflight", "log2", "loss", "read", "returns", "rows", "stack", "stream", "task")


@pytest.mark.parametrize("name", COMMON_INCLUDES)
def test_an_include_begins_with_the_signatures_that_the_guide_names(name):
    rows = (ROOT / "docs" / "writing-tracers.md").read_text().splitlines()
    [row] = [row for row in rows if row.startswith(f"| `{name}.h` |")]
    head = re.match(r"(?://.*\n)+", (ROOT / "probes_c" / "include" / f"{name}.h").read_text())
    assert head is not None
    functions = re.findall(r"\b((?:pt|is|on)_\w+)\(", row)
    assert functions
    assert [function for function in functions if f"{function}(" not in head[0]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_headings(page):
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text()):
        target = (page.parent / file) if file else page
        assert anchor in anchors(target.read_text()), f"{file}#{anchor}"


def test_modules_that_sources_name_exist():
    """Sources also name headers and C files of the kernel, so only modules and docs are checked."""
    missing = [
        f"{source.relative_to(ROOT)}: {path}"
        for folder in ("src/pytracer", "cli", "tracers", "probes_c")
        for source in (ROOT / folder).rglob("*.[pch]*")
        if source.suffix in (".py", ".c", ".h")
        for path in re.findall(r"(?<![\w./<-])((?:[\w-]+/)+[\w-]+\.(?:py|md))\b", source.read_text())
        if not any((folder / path).exists() for folder in FOLDERS)
    ]
    assert missing == []


def test_sections_that_modules_name_exist():
    for folder in ("src", "cli"):
        for path in (ROOT / folder).rglob("*.py"):
            for section, page in re.findall(r'See "([^"]+)" in (docs/\w+\.md)', path.read_text()):
                assert re.search(f"^#+ {re.escape(section)}$", (ROOT / page).read_text(), re.M), path


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_pages_name_exist(page):
    """Paths are relative to the repository or one of FOLDERS; NAME, KIND and forks are placeholders."""
    text = page.read_text()
    for path in re.findall(r"(?<![\w./<-])((?:[\w-]+/)+\w+\.(?:py|c|h))\b", text):
        if not re.search("NAME|KIND|test_forks", path):
            assert any((folder / path).exists() for folder in FOLDERS), path
    for module in re.findall(r"\bpytracer((?:\.[a-z_]+)+)", text):
        assert is_in_package(module.lstrip(".").split(".")), f"pytracer{module}"


def is_in_package(parts: list[str]) -> bool:
    """Return whether the words are those of a module, a package, or an attribute of one."""
    actual = importlib.import_module("pytracer")
    for number, part in enumerate(parts, 1):
        if not hasattr(actual, part):
            name = ".".join(("pytracer", *parts[:number]))
            if importlib.util.find_spec(name) is None:
                return False
            actual = importlib.import_module(name)
        else:
            actual = getattr(actual, part)
    return True


@pytest.mark.parametrize("name", ["architecture.md", "internals.md"])
def test_classes_that_pages_name_exist(name):
    defined = {
        actual
        for folder in ("src", "cli", "tracers")  # rglob does not follow symbolic links
        for path in (ROOT / folder).rglob("*.py")
        for actual in re.findall(r"^ *class (\w+)", path.read_text(), re.M)
    }
    classes = re.findall(r"`([A-Z][A-Za-z]*[a-z][A-Za-z]*)(?:\.\w+)?`", (ROOT / "docs" / name).read_text())
    assert set(classes) - defined == set()


def test_no_merge_was_left_half_done():
    pages = [*PAGES, ROOT / "CHANGELOG.md"]
    assert [page.name for page in pages if re.search(r"^(<{7}|={7}|>{7})( |$)", page.read_text(), re.M)] == []


def test_options_in_the_readme_exist():
    text = (ROOT / "docs" / "tracers.md").read_text() + main._usage()
    for option in re.findall(r"`(--[a-z-]+)", (ROOT / "README.md").read_text()):
        assert option in text, option


def test_the_guide_names_every_include_decoder_probe_and_option():
    text = (ROOT / "docs" / "writing-tracers.md").read_text()
    probes = {cls.__name__ for cls in subclasses(Probe) if cls.__module__.startswith("pytracer.spec")}
    options = {cls.__name__ for cls in subclasses(Option)}
    includes = {path.name for path in (ROOT / "probes_c" / "include").glob("*.h")}
    bases = {"Kprobes", "UserProbe", "OnInterface", "OnCgroup", "CallProbe"}
    for name in (probes - bases) | options | includes | set(decoders({})):
        assert f"`{name}" in text or f" {name}(" in text, name


def subclasses(cls):
    return {sub for child in cls.__subclasses__() for sub in (child, *subclasses(child))}


def test_the_budgets_are_those_of_the_code():
    def row(label: str, text: Callable[[Limits], str]) -> str:
        return f"| {label} | {text(USER)} | {text(RUN)} |"

    page = (ROOT / "docs" / "security.md").read_text()
    for line in (
        row(
            "CPU time (`cpu`, and `share` of the run's time)",
            lambda budget: f"{budget.cpu:g} s, {100 * budget.share:g} %",
        ),
        row("waiting for debuginfod (`wait`)", lambda budget: f"{budget.wait:g} s"),
        row("memory that is kept (`memory`)", lambda budget: f"{budget.memory >> 20} MiB"),
        row("symbols, lines of perf maps, mappings (`entries`)", lambda budget: f"{budget.entries:,}"),
        f"| one table of an ELF file | {elf_tables.TABLE_LIMIT >> 20} MiB | `symbols/elf_tables.py` |",
        f"| a name | {elf_tables.NAME_LIMIT:,} bytes | `symbols/elf_tables.py` |",
        f"| debug information, unpacked | {dwarf._LIMIT >> 20} MiB | `symbols/dwarf.py` |",
        f"| a file from a debuginfod server | {debuginfod._LIMIT >> 30} GiB, {debuginfod._PATIENCE:g} s "
        "| `symbols/debuginfod.py` |",
        f"| mappings with code of one process | {memory_maps.RANGES:,} | `symbols/memory_maps.py` |",
        f"| demangling a batch of names | {demangle._SECONDS} s of CPU, 512 MiB, in a process of its own "
        "| `symbols/demangle.py` |",
        f"| images that are kept | {image_cache.MAX_IMAGES}, {image_cache.MAX_BYTES >> 20} MiB "
        "| `bpf/cache/image_cache.py` |",
        f"| unwind tables that are kept | {unwind_tables.MAX_FILES:,}, {unwind_tables.MAX_BYTES >> 20} MiB "
        "| `bpf/cache/unwind_tables.py` |",
        f"| call frame information | {entries._ENTRIES_LIMIT:,} entries, {table._ROWS_LIMIT:,} rows "
        "| `symbols/unwind/` |",
    ):
        assert line in page
    assert f"is charged as {dwarf_entries.WEIGHT} entries" in page
    assert f"a cgroup as {filter_values._CGROUP}\n" in page
