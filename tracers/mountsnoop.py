"""mountsnoop: mounts as they are made, changed and taken away."""

from pytracer.spec import Column, Stream, Tracer
from pytracer.spec.common import ERROR, ONLY_FAILED, TASK_COLUMNS, return_of
from pytracer.spec.filters import TASK_FILTERS

CALLS = (
    "mount umount2 umount pivot_root fsopen fsconfig fsmount fspick open_tree mount_setattr "
    "open_tree_attr move_mount"
)

TRACER = Tracer(
    name="mountsnoop",
    group="files",
    summary="mounts as they are made, moved, changed and removed",
    description="Shows mount, umount, fsopen, fsmount, move_mount and their like, as they return.",
    hooks=(return_of(CALLS),),
    filters=TASK_FILTERS,
    follow=True,
    options=(ONLY_FAILED,),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("mntns", "its mount namespace, by inode", wide=True),
                Column("call", "the system call", decode="syscall", width=10),
                Column("fd", "the descriptor it is given first, if any", null=-1, width=3),
                ERROR,
                Column("result", "the descriptor it returns, if any", null=-1, wide=True),
                Column("type", "the file system's type", decode="text", null=b"", width=8),
                Column("flags", "the call's flags", decode="register", wide=True),
                Column(
                    "source", "what is mounted, or the key of fsconfig", decode="text", null=b"", wide=True
                ),
                Column("target", "the mount point, or the value of fsconfig", decode="text"),
            )
        ),
    ),
    examples=(
        ("mountsnoop", "every such call of the machine"),
        ("mountsnoop --wide", "with what is mounted, the flags and the mount namespace"),
        ("mountsnoop -f json -- mount /dev/sdb1 /mnt", "of one command, as JSON"),
    ),
    notes=(
        "mount(2), umount, pivot_root; fsopen, fsconfig, fsmount, fspick, move_mount, open_tree(_attr) and",
        "mount_setattr. Strings are those of the program; paths may be relative to FD or its folder.",
        "The first 256 bytes of SOURCE and 32 of TYPE are shown; longer ones are counted as truncated.",
        "Not shown: values of fsconfig other than strings, and the flags of move_mount.",
        "Not seen: mounts that end with their namespace, and mounts of the kernel itself.",
    ),
)
