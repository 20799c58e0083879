"""Test that docs/kernels.md is what was recorded, for the supported kernels."""

from __future__ import annotations

import json
import re
import subprocess
from types import SimpleNamespace

import pytest
from lab import compile_inputs, survey
from lab.errors import LabError
from lab.guest.survey import OF_EACH_KIND, find_used, forced_runs, hooks_of_source, list_runs
from lab.kernels import KERNELS, KernelByImage

from pytracer import record as records
from pytracer.plan.attach_targets import ALTERNATIVES
from pytracer.spec import SPELLINGS, Alternative, Hook, Injection, Probe, Targets, registry
from support import needs

NAMES = [kernel.name for kernel in KERNELS]


def run(hook="", alternative="", headers="", *, status=0, used=None, reason="", saw=True):
    return {
        "tracer": "t",
        "hook": hook,
        "alternative": alternative,
        "headers": headers,
        "status": status,
        "used": used or {},
        "reason": reason,
        "saw": saw,
    }


def can_only_be_refused(run):
    """Return True for kernel functions that are made to fail by kprobes, which Debian builds no kernel for,
    and for LSM programs where they have to be enabled at boot, if that is the reason."""
    if not isinstance(registry.get(run["tracer"]).arguments, Injection):
        return False
    reasons = {"kprobe": "CONFIG_BPF_KPROBE_OVERRIDE", "lsm": "boot with lsm="}
    reason = reasons.get(run["alternative"], "")
    assert run["status"] == 0 or (run["status"] == 4 and reason and reason in run["reason"]), run
    return run["status"] == 4


def is_newer_hook(kernel, run):
    """Return True if a hook of the tracer is newer than the kernel, and that is the reason."""
    hooks = registry.get(run["tracer"]).hooks
    lacking = [
        h
        for h in hooks
        if all(kernel.excuse(f"{h.name}={alternative.name}") for alternative in h.alternatives)
    ]
    return run["status"] == 4 and any(f"no way to see where {hook.what}" in run["reason"] for hook in lacking)


def test_the_page_equals_the_recorded_results():
    assert survey.PAGE.read_text() == survey.page(survey.load()), "run scripts/record --kernels --page"


def test_records_are_of_the_supported_kernels():
    data = survey.load()
    assert list(data) == survey.columns(data)
    for name, record in data.items():
        for release in record["release"].split(", "):
            assert re.fullmatch(r"\d+\.\d+\S*", release)
            assert name == "newest" or release.startswith(f"{name}.")
        assert re.fullmatch(r"\d+\.\d+\.\d+\S*", record["bcc"])


@pytest.mark.parametrize("name", NAMES)
def test_each_tracer_was_tried_by_every_alternative_or_not_at_all(name):
    """A newer tracer is missing until scripts/record --kernels runs; none is there with some runs only."""
    record = survey.load()[name]
    for tracer in {run["tracer"] for run in record["runs"]}:
        tried = {
            (run["hook"], run["alternative"], run["headers"])
            for run in record["runs"]
            if run["tracer"] == tracer
        }
        runs = list_runs(registry.get(tracer), forced=True)
        assert tried == {(run.hook, run.alternative, run.headers) for run in runs}, "scripts/record --kernels"


@pytest.mark.parametrize("name", NAMES)
def test_each_tracer_runs_by_default_on_every_kernel(name):
    record = survey.load()[name]
    kernel = needs.KernelUnderTest(record["release"], "x86_64", lambda option: None)
    for run in record["runs"]:
        if not run["hook"] and not run["headers"] and not can_only_be_refused(run):
            assert run["status"] == 0 or is_newer_hook(kernel, run), run
            assert all(run["used"].values()), run
        assert bool(run["reason"]) is (run["status"] != 0), run


@pytest.mark.parametrize("name", NAMES)
def test_results_of_runs_agree_with_the_feature_table(name):
    """No run shows how a kernel was built, so a refusal that names an option of the table is believed."""
    record = survey.load()[name]
    kernel = needs.KernelUnderTest(record["release"], "x86_64", lambda option: None)
    for run in record["runs"]:
        if not run["alternative"] or can_only_be_refused(run):
            continue
        expected = f"{run['hook']}={run['alternative']}"
        excuse = kernel.excuse(expected)
        if run["status"] == 0:
            assert "took it away" not in excuse, run
            continue
        options = {
            option for need in needs.needed(expected) for entry in need.features for option in entry.options
        }
        assert excuse or any(f"CONFIG_{option}" in run["reason"] for option in options), run


@pytest.mark.parametrize("name", NAMES)
def test_each_tracer_compiles_with_the_types_that_debian_has(name):
    for run in survey.load()[name]["runs"]:
        if run["headers"] in ("btf", "package") and not can_only_be_refused(run):
            assert (run["status"], run["reason"], run["saw"]) == (0, "", True), run


def test_cells():
    message = "this kernel has no way to see where calls begin: kprobe: no function f|g, kprobe: h may not"
    assert survey.cell(None) == "not tried"
    assert survey.cell(run("h", "kprobe", status=4, reason=message), "h", "kprobe").startswith("no: ")
    assert (
        survey.cell(run(headers="package", status=1, reason="there is no /x"), "", "") == "no: there is no /x"
    )
    alternatives = run(used={"h": ["tracepoint", "a:b", "a:c"]})
    assert survey.cell(alternatives, "h", "") == "tracepoint"
    assert survey.cell(alternatives, "h", "tracepoint") == "a:b, a:c"
    assert survey.cell(alternatives) == "yes"
    assert (
        survey.cell(run(used={"h": ["tracepoint", "a:b"]}, saw=False), "h", "tracepoint")
        == "a:b (saw nothing)"
    )


def test_the_data_has_a_line_for_each_run():
    data = {
        "6.1": {
            "release": "6.1.0",
            "bcc": "0.26.0",
            "runs": [run("h", "kprobe", status=4, reason='"'), run()],
        },
        "newest": {"release": "7.2", "bcc": "0.26.0", "runs": []},
    }
    text = survey.as_json(data)
    assert json.loads(text) == data
    assert list(json.loads(text)) == list(data)
    assert sum('"tracer"' in line for line in text.splitlines()) == 2


@records.record
class At(Probe):
    """A probe of the kind "k"."""

    @property
    def kind(self):
        return "k"


HOOK = Hook(
    "h",
    "things happen",
    (
        Alternative("two", (At("a"), At("b", when="flag"), At("c", optional=True))),
        Alternative("one", (At("a"),)),
        Alternative("none", ()),
    ),
)


@pytest.mark.parametrize(
    ("attached", "forced", "alternative"),
    [
        ("a", "", ["two", "at-a"]),
        ("a", "one", ["one", "at-a"]),
        ("abcd", "two", ["two", "at-a", "at-b", "at-c"]),
        ("b", "", ["none"]),
    ],
)
def test_the_alternative_that_was_used(attached, forced, alternative):
    assert find_used(HOOK, [(program, "k", f"at-{program}") for program in attached], forced) == alternative


def test_tracers_of_targets_are_run_for_each_kind_and_alternative():
    """A newer kind is missing until OF_EACH_KIND has a word for it."""
    requests = [
        hook for word in OF_EACH_KIND for hook in hooks_of_source(Targets("T", "targets", begin="hit"), word)
    ]
    assert [
        (hook.hook.name, [alternative.name for alternative in hook.hook.alternatives]) for hook in requests
    ] == [
        (kind, [alternative.name for alternative in ALTERNATIVES[kind]])
        for kind in SPELLINGS
        if kind != "lsm"
    ]
    assert all(
        probe.program == "hit"
        for hook in requests
        for alternative in hook.hook.alternatives
        for probe in alternative.probes
    )


def test_tracers_of_calls_are_run_for_kinds_with_returns():
    targets = Targets("T", "targets", begin="began", end="ended")
    requests = [hook for word in OF_EACH_KIND for hook in hooks_of_source(targets, word)]
    assert [hook.hook.name for hook in requests] == ["k", "kr", "f", "fr", "u", "ur"]
    assert [hook.arguments[0][: len("u:")] for hook in requests[::2]] == ["k:", "f:", "u:"]
    assert [hook.hook.alternatives[0].probes[0].program for hook in requests] == ["began", "ended"] * 3
    attached = [("began", "kprobe_multi", "k:vfs_read"), ("ended", "kretprobe", "vfs_read")]
    assert [find_used(hook.hook, attached)[:1] for hook in requests[:2]] == [["kprobe-multi"], ["kretprobe"]]


def test_an_alternative_that_needs_no_attachment():
    assert survey.cell(run("h", "none", used={"h": ["none"]}), "h", "none") == "nothing"


def test_new_results_replace_those_of_the_same_tracer():
    def record(release, **statuses):
        runs = [run(status=status) | {"tracer": tracer} for tracer, status in statuses.items()]
        return {"release": release, "bcc": "1", "runs": runs}

    old = record("1", a=1, b=1, c=1)
    assert survey.merge_record(old, record("2", b=2, d=2)) == record("1, 2", a=1, b=2, c=1, d=2)
    assert survey.merge_record(record("1, 2", a=1), record("2", a=2)) == record("1, 2", a=2)


def test_a_survey_that_ends_early_keeps_the_tracers_it_is_through_with(monkeypatch, tmp_path):
    def run_in_guest(kernel, script, *words):
        yield {"release": "5.10.1", "bcc": "1"}
        yield run() | {"tracer": "syscalls"}
        yield run("h", "kprobe") | {"tracer": "syscalls"}
        yield run() | {"tracer": "tcptracer"}
        raise LabError("lost")

    for name in ("DATA", "PAGE"):
        monkeypatch.setattr(survey, name, tmp_path / name)
    monkeypatch.setattr(survey, "run_in_guest", run_in_guest)
    assert survey.main(["5.10"]) == 125
    record = survey.load()["5.10"]
    assert record["release"] == "5.10.1"
    assert [(run_record["tracer"], run_record["alternative"]) for run_record in record["runs"]] == [
        ("syscalls", ""),
        ("syscalls", "kprobe"),
    ]


def test_a_whole_survey_leaves_nothing_of_another_release_or_of_a_tracer_that_was(monkeypatch, tmp_path):
    def run_in_guest(kernel, script, *words):
        yield {"release": "5.10.2", "bcc": "1"}
        yield run() | {"tracer": "syscalls"}

    for name in ("DATA", "PAGE"):
        monkeypatch.setattr(survey, name, tmp_path / name)
    monkeypatch.setattr(survey, "run_in_guest", run_in_guest)
    old = {"release": "5.10.1", "bcc": "1", "runs": [run() | {"tracer": "gone"}]}
    survey.DATA.write_text(json.dumps({"5.10": old}))
    assert survey.main(["5.10"]) == 0
    assert survey.load() == {
        "5.10": {"release": "5.10.2", "bcc": "1", "runs": [run() | {"tracer": "syscalls"}]}
    }


def test_a_repeated_unforced_run_replaces_its_record_among_the_forced_ones():
    def record(*runs):
        return {"release": "1", "bcc": "1", "runs": list(runs)}

    old = record(run(status=1), run("h", "kprobe"), run(headers="btf"))
    assert survey.merge_record(old, record(run(), run() | {"tracer": "u"})) == record(
        run(), run("h", "kprobe"), run(headers="btf"), run() | {"tracer": "u"}
    )
    assert survey.merge_record(old, record(run(), run("h", "fentry"))) == record(run(), run("h", "fentry"))


def test_a_new_alternative_is_added_to_the_record(monkeypatch, tmp_path):
    calls = []

    def run_in_guest(kernel, script, *words):
        calls.append(words)
        yield {"release": "5.10.1", "bcc": "1"}
        yield run("h", "new")

    for name in ("DATA", "PAGE"):
        monkeypatch.setattr(survey, name, tmp_path / name)
    monkeypatch.setattr(survey, "run_in_guest", run_in_guest)
    old = [run(), run("h", "old")]
    survey.DATA.write_text(json.dumps({"5.10": {"release": "5.10.1", "bcc": "1", "runs": old}}))
    assert survey.main(["5.10", "--hook=h=new"]) == 0
    assert calls == [("--hook=h=new", "t")]
    assert survey.load()["5.10"]["runs"] == [*old, run("h", "new")]


def test_only_existing_alternatives_are_tried_alone():
    tracer = registry.get("execsnoop")
    tried = forced_runs(tracer, ["follow=tracepoint", "follow=nonsense", "nonsense=tracepoint"])
    assert [(run.hook, run.alternative) for run in tried] == [("follow", "tracepoint")]


def test_an_alternative_that_was_refused_is_not_the_one_that_was_taken():
    alike = [
        run(used={"h": ["a", "x"]}),
        run("h", "a", status=4, reason="no"),
        run("h", "b", used={"h": ["b", "x"]}),
    ]
    assert survey.prefer_unrefused({"runs": alike})["runs"][0]["used"] == {"h": ["b", "x"]}
    assert survey.prefer_unrefused({"runs": [run(used={"h": []})]})["runs"][0]["used"] == {"h": []}


def test_a_page_of_two_kernels():
    alternatives = {"h": ["kprobe", "f"]}
    data = {
        "5.10": {
            "release": "5.10.0-1",
            "bcc": "0.26.0",
            "runs": [
                run(used=alternatives),
                run("h", "fentry", status=4, reason="this kernel has no way to see: fentry: no a|b"),
                run("h", "kprobe", used=alternatives),
                run(headers="btf", used=alternatives),
            ],
        },
        "6.1": {"release": "6.1.0-2", "bcc": "0.26.0", "runs": [run(used=alternatives)]},
    }
    text = survey.page(data)
    assert "|  | 5.10 | 6.1 | 6.12 | newest |\n" in text
    assert "| Linux | 5.10.0-1 | 6.1.0-2 | not tried | not tried |\n" in text
    assert text[text.index("## t") :].splitlines() == [
        "## t",
        "",
        "| hook | alternative | 5.10 | 6.1 | 6.12 | newest |",
        "| --- | --- | --- | --- | --- | --- |",
        "| h | as it comes | kprobe | kprobe | not tried | not tried |",
        "| h | `fentry` | no: no a\\|b | not tried | not tried | not tried |",
        "| h | `kprobe` | f | not tried | not tried | not tried |",
        "| types | `btf` | yes | not tried | not tried | not tried |",
    ]


def test_a_kernel_by_image_has_a_column_before_the_supported_ones(monkeypatch, tmp_path):
    commands = []

    class Lab(subprocess.Popen):
        def __init__(self, command, **options):
            commands.append(command)
            lines = [json.dumps({"release": "4.19.44", "bcc": "1"}), json.dumps(run())]
            super().__init__(["printf", "%s\\n", *lines], **options)

    for name in ("DATA", "PAGE"):
        monkeypatch.setattr(survey, name, tmp_path / name)
    monkeypatch.setattr(survey.subprocess, "Popen", Lab)
    monkeypatch.setattr(survey.compile_inputs, "of", lambda kernel: None)
    compiler = SimpleNamespace(options=["--rw", "/folder"], stop=lambda: ([], False))
    monkeypatch.setattr(survey, "HostCompiler", lambda kernel: compiler)
    old = {"release": "4.14.1", "bcc": "1", "is_image": True, "runs": [run()]}
    survey.DATA.write_text(
        json.dumps({"5.10": {"release": "5.10.1", "bcc": "1", "runs": [run()]}, "4.14": old})
    )
    assert survey.main(["4.19=/boot/image:/modules", "syscalls"]) == 0
    [command] = commands
    assert command[command.index("--kernel-image") :][:6] == [
        *("--kernel-image", "/boot/image", "--modules", "/modules", "--rw", "/folder")
    ]
    assert list(survey.load()) == ["4.14", "4.19", "5.10"]
    assert "|  | 4.14 | 4.19 | 5.10 | 6.1 | 6.12 | newest |\n" in survey.PAGE.read_text()


def test_the_types_of_an_image_are_those_of_its_latest_build(tmp_path):
    image = tmp_path / "bzImage"
    image.write_bytes(b"one")
    kernel = KernelByImage.parse(f"4.19={image}:/modules")
    assert kernel.word == f"4.19={image}:/modules"
    first = compile_inputs._folder_of(kernel)
    assert compile_inputs._folder_of(kernel) == first
    image.write_bytes(b"another")
    assert compile_inputs._folder_of(kernel) != first
    image.unlink()
    with pytest.raises(LabError, match="cannot read"):
        compile_inputs._folder_of(kernel)


def test_a_kernel_by_image_runs_a_tracer_or_refuses_it_with_a_reason():
    images = [record for record in survey.load().values() if record.get("is_image")]
    for run_record in (run_record for record in images for run_record in record["runs"]):
        assert run_record["status"] in (0, 4), run_record
        assert bool(run_record["reason"]) is (run_record["status"] != 0), run_record


def test_a_repeated_run_replaces_its_record():
    old = {"newest": {"release": "7.1"}, "4.9": {"release": "4.9"}, "6.1": {"release": "6.1.0"}}
    merged = survey.merged(old, {"newest": {"release": "7.2"}})
    assert merged == {"6.1": {"release": "6.1.0"}, "newest": {"release": "7.2"}}
    assert list(merged) == ["6.1", "newest"]
