"""Test the values of filters: processes, users, cgroups, containers, namespaces, and errors for unknown
ones."""

from __future__ import annotations

import json
import os
import pwd
import struct
import threading
from pathlib import Path

import pytest

from pytracer.errors import UnknownNameError, UsageError
from pytracer.kernel import filter_values
from pytracer.spec import Filter
from support import budgets

ID = "3f" * 32
OTHER_ID = "db" + "07" * 31


def u32(number: int) -> bytes:
    return struct.pack("I", number)


@pytest.fixture
def other_thread():
    """Return the id of a thread that is not its process's first."""
    go, ids = threading.Event(), []
    started = threading.Event()

    def run():
        ids.append(threading.get_native_id())
        started.set()
        go.wait()

    thread = threading.Thread(target=run)
    thread.start()
    started.wait()
    yield ids[0]
    go.set()
    thread.join()


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """Create a cgroup2 tree of plain folders."""
    root = tmp_path / "cgroup"
    root.mkdir()
    monkeypatch.setattr(filter_values, "cgroup2_roots", lambda: [root])
    monkeypatch.chdir(tmp_path)
    return root


@pytest.fixture(autouse=True)
def engines(tmp_path, monkeypatch):
    """Use empty folders for Docker's and podman's files."""
    monkeypatch.setattr(filter_values, "_DOCKER", tmp_path / "docker")
    monkeypatch.setattr(filter_values, "_PODMAN", tmp_path / "podman.json")
    return tmp_path


def docker(folder, ident, name, pid=0):
    path = folder / "docker" / ident / "config.v2.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"ID": ident, "Name": f"/{name}", "State": {"Pid": pid}}))


# Trees of cgroups.


def test_all_cgroups_parents_first(cgroups):
    for name in ("b/c", "a"):
        (cgroups / name).mkdir(parents=True)
    actual = list(filter_values.cgroups())
    assert [path for path, _, _ in actual] == ["/", "/a", "/b", "/b/c"]
    assert all(folder.stat().st_ino == number for _, number, folder in actual)


def test_cgroups_beyond_a_users_budget_are_left_out(cgroups, monkeypatch):
    for number in range(30):
        (cgroups / "theirs" / str(number)).mkdir(parents=True)
    (cgroups / "zebra").mkdir()
    stat = Path.stat

    def of_another(path, **options):
        actual = list(stat(path, **options))
        actual[4] = budgets.UID if "theirs" in path.parts else 0
        return os.stat_result(actual)

    monkeypatch.setattr(Path, "stat", of_another)
    messages, budget = [], budgets.budget_with(entries=10 * filter_values._CGROUP)
    budget.listen(messages.append)
    paths = [path for path, _, _ in filter_values.cgroups(budget)]
    assert [path for path in paths if "theirs" not in path] == ["/", "/zebra"]
    assert len(paths) == 12
    [line] = messages
    assert line.startswith(
        f"cgroup {cgroups}/theirs exceeds what is spent for user {budgets.UID}: 100 entries"
    )


def test_the_kernel_resolves_the_path_of_a_cgroup():
    """The kernel answers without a walk through the tree; a walk is the reference."""
    paths_by_id = {number: path for path, number, _ in filter_values.cgroups()}
    answers = {number: filter_values.cgroup_path(number) for number in paths_by_id}
    if os.geteuid() == 0:
        assert answers == paths_by_id
        assert filter_values.cgroup_path(1 << 60) == ""
    else:
        assert set(answers.values()) == {None}


# Processes and threads.


def test_a_process():
    assert filter_values.processes(str(os.getpid())) == [os.getpid()]
    assert filter_values.processes(f"{os.getpid()}, {os.getppid()},{os.getpid()}") == [
        os.getpid(),
        os.getppid(),
    ]


@pytest.mark.parametrize("text", ["x", "-1", "1.5", "0x1", "1,no-such-one"])
def test_a_name_that_no_process_has(text):
    with pytest.raises(UsageError, match="no process '") as excinfo:
        filter_values.processes(text)
    assert "ps -e" in excinfo.value.hint


def test_a_thread(other_thread):
    assert filter_values.thread(str(other_thread)) == u32(other_thread)
    assert filter_values.thread(str(os.getpid())) == u32(os.getpid())


def test_a_thread_is_no_process(other_thread):
    with pytest.raises(UsageError, match=f"no process {other_thread}"):
        filter_values.processes(str(other_thread))


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "0x1", " 1", "4294967296", "9" * 40])
def test_invalid_ids(text):
    with pytest.raises(UsageError, match="is no thread id"):
        filter_values.thread(text)


@pytest.mark.parametrize("text", ["4294967296", "9" * 40])
def test_numbers_that_are_no_ids_of_processes(text):
    with pytest.raises(UsageError, match="is no process id"):
        filter_values.processes(text)


@pytest.mark.parametrize("resolve", [filter_values.processes, filter_values.thread])
@pytest.mark.parametrize("text", ["0", "4294967295"])
def test_an_id_that_nothing_has(resolve, text):
    with pytest.raises(UsageError, match=f"no (process|thread) {text}") as excinfo:
        resolve(text)
    assert "ps -e" in excinfo.value.hint


# Names of processes and users.


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ls", b"ls" + bytes(14)),
        ("exactly15bytes!", b"exactly15bytes!\0"),
        ("longer than fifteen bytes", b"longer than fif\0"),
        ("äöüäöüäö", "äöüäöüä".encode() + b"\xc3\0"),
        ("\udcff", b"\xff" + bytes(15)),
        (" ", b" " + bytes(15)),
    ],
)
def test_comm_is_truncated_as_by_the_kernel(text, key):
    assert filter_values.comm(text) == key
    assert len(key) == 16


def test_an_empty_comm_is_an_error():
    with pytest.raises(UsageError, match="a name is missing"):
        filter_values.comm("")


@pytest.mark.parametrize(
    ("text", "number"), [("root", 0), ("0", 0), ("65534", 65534), ("4294967295", 2**32 - 1)]
)
def test_a_user(text, number):
    assert filter_values.user(text) == u32(number)


def test_a_user_who_is_not_there(monkeypatch):
    users = [pwd.struct_passwd((name, "x", 1, 1, "", "/", "/bin/sh")) for name in ("alice", "bob")]
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    with pytest.raises(UnknownNameError) as excinfo:
        filter_values.user("alicia")
    assert (excinfo.value.message, excinfo.value.hint) == ("no user 'alicia'", "did you mean alice?")


@pytest.mark.parametrize("text", ["4294967296", "9" * 30])
def test_invalid_user_ids(text):
    with pytest.raises(UsageError, match="is no user id"):
        filter_values.user(text)


# Cgroups.


@pytest.mark.parametrize(
    "text", ["system.slice/cron.service", "/system.slice/cron.service", "ABSOLUTE", "link"]
)
def test_a_cgroup(cgroups, text):
    folder = cgroups / "system.slice" / "cron.service"
    folder.mkdir(parents=True)
    (cgroups.parent / "link").symlink_to(folder)
    assert filter_values.cgroup(text.replace("ABSOLUTE", str(folder))) == os.fsencode(folder)


def test_the_whole_tree_is_a_cgroup(cgroups):
    assert filter_values.cgroup("/") == os.fsencode(cgroups)


@pytest.mark.parametrize("text", ["nowhere", "/nowhere", "..", "../outside", "/etc", "file", "x" * 300, ""])
def test_no_cgroup(cgroups, text):
    (cgroups.parent / "outside").mkdir()
    (cgroups / "file").touch()
    with pytest.raises(UsageError, match="no cgroup") as excinfo:
        filter_values.cgroup(text)
    assert excinfo.value.hint == f"a folder below {cgroups}"


def test_a_cgroup_where_none_is_mounted(monkeypatch):
    monkeypatch.setattr(filter_values, "cgroup2_roots", list)
    with pytest.raises(UsageError, match="no cgroup") as excinfo:
        filter_values.cgroup("system.slice")
    assert "no cgroup2 is mounted" in excinfo.value.hint


@pytest.mark.parametrize(
    ("mount_lines", "root"),
    [("/sys/fs/cgroup", "/sys/fs/cgroup"), (r"/with\040blank", "/with blank"), ("/mit-ä", "/mit-ä")],
)
def test_the_mount_point_of_cgroup2(monkeypatch, mount_lines, root):
    mounts = (
        f"proc /proc proc rw 0 0\ncgroup2 {mount_lines} cgroup2 rw,nosuid 0 0\ncgroup /old cgroup rw 0 0\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda path, *_, **__: mounts)
    assert filter_values.cgroup2_roots() == [Path(root)]


# Containers.


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (f"system.slice/docker-{ID}.scope", ID),
        (f"system.slice/docker-{ID}.scope", ID[:12]),
        (f"docker/{ID}", ID[:12]),
        (f"machine.slice/libpod-{ID}.scope", ID),
        (f"kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope", ID),
        (f"kubepods/burstable/pod1/{ID}", ID[:20]),
        ("lxc.payload.web", "web"),
        ("lxc/web", "web"),
        ("machine.slice/machine-web.scope", "web"),
        ("lxc.payload.my-web", "my-web"),
        (r"machine.slice/machine-my\x2dweb.scope", "my-web"),
    ],
)
def test_a_container_by_its_cgroup(cgroups, folder, name):
    (cgroups / folder).mkdir(parents=True)
    assert filter_values.container(name) == ("cgroup", os.fsencode(cgroups / folder))


def test_containers_are_found_by_name_in_docker_and_podman(cgroups, engines):
    docker(engines, ID, "web")
    podman = [{"id": OTHER_ID, "names": ["database", "db"]}]
    (engines / "podman.json").write_text(json.dumps(podman))
    first = cgroups / f"system.slice/docker-{ID}.scope"
    second = cgroups / f"machine.slice/libpod-{OTHER_ID}.scope"
    for folder in (first, second):
        folder.mkdir(parents=True)
    assert filter_values.container("web") == ("cgroup", os.fsencode(first))
    assert filter_values.container("database") == ("cgroup", os.fsencode(second))
    assert filter_values.container(OTHER_ID[:12]) == ("cgroup", os.fsencode(second))


def test_a_container_without_a_cgroup_is_its_mount_namespace(cgroups, engines):
    docker(engines, ID, "web", os.getpid())
    assert filter_values.container("web") == ("mntns", u32(Path("/proc/self/ns/mnt").stat().st_ino))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_name_precedes_a_prefix_of_an_id(cgroups, engines, monkeypatch, engine, order):
    containers = [(OTHER_ID, "web"), (ID, "db")][::order]  # the id of the one begins with the other's name
    if engine == "docker":
        for ident, name in containers:
            docker(engines, ident, name)
        files = [engines / "docker" / ident / "config.v2.json" for ident, _ in containers]
        monkeypatch.setattr(Path, "glob", lambda path, pattern: iter(files))
    else:
        listed = [{"id": ident, "names": [name]} for ident, name in containers]
        (engines / "podman.json").write_text(json.dumps(listed))
    for ident in (ID, OTHER_ID):
        (cgroups / f"docker-{ident}.scope").mkdir()
    assert filter_values.container("db") == ("cgroup", os.fsencode(cgroups / f"docker-{ID}.scope"))


def test_broken_files_of_an_engine_are_passed_over(cgroups, engines):
    docker(engines, OTHER_ID, "other")
    (engines / "docker" / OTHER_ID / "config.v2.json").write_text("{")
    (engines / "podman.json").write_text("[")
    docker(engines, ID, "web")
    (cgroups / ID).mkdir()
    assert filter_values.container("web") == ("cgroup", os.fsencode(cgroups / ID))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        pytest.param(None, "nowhere", id="nothing"),
        pytest.param(f"docker-{ID}.scope", ID[:8], id="too-short-an-id"),
        pytest.param(f"libpod-conmon-{ID}.scope", ID, id="its-monitor"),
        pytest.param("init.scope", "init", id="systemd"),
        pytest.param("system.slice/ssh.service", "ssh", id="a-service"),
        pytest.param("user.slice/session-1.scope", "1", id="a-session"),
        pytest.param("lxc.payload.my-web", "web", id="the-end-of-another-name"),
        pytest.param(f"docker-{OTHER_ID}.scope", "", id="empty"),
    ],
)
def test_no_container(cgroups, engines, folder, name):
    docker(engines, OTHER_ID, "stopped")
    if folder:
        (cgroups / folder).mkdir(parents=True)
    with pytest.raises(UsageError, match=f"no running container '{name}'") as excinfo:
        filter_values.container(name)
    assert "docker" in excinfo.value.hint


# Namespaces.


@pytest.mark.parametrize(
    ("resolve", "kind"), [(filter_values.network_namespace, "net"), (filter_values.mount_namespace, "mnt")]
)
@pytest.mark.parametrize("text", ["{pid}", "/proc/{pid}/ns/{kind}", "/proc/self/ns/{kind}"])
def test_a_namespace(resolve, kind, text):
    expected = Path(f"/proc/self/ns/{kind}").stat().st_ino
    assert resolve(text.format(pid=os.getpid(), kind=kind)) == u32(expected)


@pytest.mark.parametrize(
    ("resolve", "text"),
    [
        pytest.param(filter_values.network_namespace, "no-such-name", id="no-name"),
        pytest.param(filter_values.network_namespace, "4294967295", id="no-process"),
        pytest.param(filter_values.network_namespace, "/nowhere", id="no-path"),
        pytest.param(filter_values.network_namespace, "/etc/passwd", id="a-file"),
        pytest.param(filter_values.network_namespace, "/etc", id="a-folder"),
        pytest.param(filter_values.network_namespace, "/proc/self/ns/mnt", id="of-another-kind"),
        pytest.param(filter_values.network_namespace, "", id="empty"),
        pytest.param(filter_values.mount_namespace, "/proc/self/ns/net", id="mnt-of-another-kind"),
        pytest.param(filter_values.mount_namespace, "no-such-name", id="mnt-no-name"),
        pytest.param(filter_values.mount_namespace, "/etc/passwd", id="mnt-a-file"),
    ],
)
def test_no_namespace(resolve, text):
    with pytest.raises(UsageError, match=r"no (net|mnt) namespace"):
        resolve(text)


def test_the_files_that_are_meant_are_those_of_the_one_container(monkeypatch, tmp_path):
    """Return a process of the container, if it has a mount namespace of its own."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "cgroup.procs").write_text("")
    (tmp_path / "inner/cgroup.procs").write_text("7\n8\n")
    namespaces = {"self": "mnt:[1]", 7: "mnt:[1]", 8: "mnt:[2]"}
    monkeypatch.setattr(filter_values, "_read_mntns", lambda process: namespaces.get(process, ""))
    key = os.fsencode(tmp_path)
    assert filter_values.viewer({Filter.CGROUP: (key,)}) == 8
    namespaces[8] = "mnt:[1]"
    assert filter_values.viewer({Filter.CGROUP: (key,)}) == 0
    assert filter_values.viewer({Filter.CGROUP: (key, key)}) == 0
    assert filter_values.viewer({}) == 0
    namespaces["self"] = "mnt:[3]"
    namespaces[os.getpid()] = "mnt:[4]"
    assert filter_values.viewer({Filter.MNTNS: (struct.pack("I", 4),)}) == os.getpid()
