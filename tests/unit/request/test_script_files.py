"""Test imports of scripts: files and folders, each once, and errors."""

from __future__ import annotations

import pytest

from pytracer.errors import ProbeSpecError
from pytracer.request.script_files import parse_script_file


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "sub").mkdir(mode=0o755)
    (tmp_path / "helpers.bt").write_text('import "sub/deep.bt"; macro greet() { deep() } begin { print(2); }')
    (tmp_path / "sub" / "deep.bt").write_text(
        'import "../helpers.bt"; macro deep() { 1 }\nbegin { print(1); }'
    )
    return tmp_path


def parse(folder, text):
    path = folder / "main.bt"
    path.write_text(text)
    return parse_script_file(text, str(path))


def test_imported_probes_come_first_and_each_file_once(folder):
    text = 'import "helpers.bt"; import "sub"; import "helpers.bt"; begin { print(greet()); }'
    script = parse(folder, text)
    printed = [script.text[probe.start : probe.end] for probe in script.probes]
    assert printed == ["begin { print(1); }", "begin { print(2); }", "begin { print(greet()); }"]
    assert set(script.macros) == {("greet", 0), ("deep", 0)}
    assert [name.rpartition("/")[2] for _, name in script.files] == ["main.bt", "deep.bt", "helpers.bt"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("none.bt", "none.bt: No such file or directory"),
        ("lib.bpf.c", "lib.bpf.c: only .bt files can be imported; types come from BTF"),
        ("sets.bt", "an imported script has no settings"),
        ("open/x.bt", "open/x.bt: anybody may write to its folder"),
    ],
)
def test_a_failed_import_is_marked(folder, path, message):
    (folder / "lib.bpf.c").write_text("int f(void);")
    (folder / "sets.bt").write_text("config = { max_strlen = 8 }")
    (folder / "open").mkdir()
    (folder / "open").chmod(0o777)
    (folder / "open" / "x.bt").write_text("begin { }")
    with pytest.raises(ProbeSpecError) as excinfo:
        parse(folder, f'import "{path}"; begin {{ }}')
    assert excinfo.value.message == message
