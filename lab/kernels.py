"""The kernels that pytracer supports, stated once: the lab, CI, the Vagrantfile and the README read this.

`python -m lab.kernels --json`, `--markdown` and `--sources` print it for those who do not speak Python.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

# Linux wants the number of a CPU flag before 5.18 and takes it ever since: word 4, bit 13 is cx16.
# NumPy's wheels need a processor that has cx16; the kernel under test does not need to use it.
NO_CX16 = f"clearcpuid={4 * 32 + 13}"


@dataclass(frozen=True)
class Kernel:
    """One supported kernel and where Debian has it."""

    name: str
    """The lab's name for it."""
    suite: str
    """The Debian suite that has it, and whose BCC and user space belong to it."""
    stands_for: str
    """The reason why it is one of the kernels."""
    notes: str = ""
    """Its peculiarities."""
    security: bool = True
    """True if the suite has a companion with security updates."""
    append: str = ""
    """Kernel command line arguments for an emulated processor."""

    @property
    def word(self) -> str:
        """The word that stands for it in command lines of the lab."""
        return self.name

    @property
    def options(self) -> list[str]:
        """The words of scripts/lab that boot it."""
        return [self.name]


@dataclass(frozen=True)
class KernelByImage:
    """A kernel that is not the lab's: its column in tables, its bzImage, and its folder /lib/modules/RELEASE,
    whose ``build`` leads to its headers."""

    name: str
    file: str
    modules: str

    @classmethod
    def parse(cls, word: str) -> KernelByImage:
        """Parse ``NAME=IMAGE:MODULES``."""
        name, _, paths = word.partition("=")
        return cls(name, *paths.partition(":")[::2])

    @property
    def word(self) -> str:
        """See :class:`Kernel`."""
        return f"{self.name}={self.file}:{self.modules}"

    @property
    def options(self) -> list[str]:
        """See :class:`Kernel`."""
        return ["--kernel-image", self.file, *(["--modules", self.modules] if self.modules else [])]


TestedKernel = Kernel | KernelByImage


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        name="5.10",
        suite="bullseye",
        stands_for="the oldest supported: BTF and the ring buffer are there, later conveniences are not",
        notes='"bpf" is not in its default list of LSMs; BPF memory counts against RLIMIT_MEMLOCK',
    ),
    Kernel(
        name="6.1",
        suite="bookworm",
        stands_for="the long-term kernel of many clouds and appliances",
    ),
    Kernel(
        name="6.12",
        suite="trixie",
        stands_for="the current long-term kernel",
        notes="without cx16 where the processor is emulated, since it was seen to panic there",
        append=NO_CX16,
    ),
    Kernel(
        name="newest",
        suite="sid",
        stands_for="what everybody will have next; its number is known when it is fetched",
        notes="packaged headers need BCC's compiler to be told -fms-extensions",
        security=False,
    ),
)


ARCHIVED: tuple[Kernel, ...] = (
    Kernel(
        name="4.19",
        suite="buster",
        stands_for="before BTF; for scripts/kernel only",
        notes="untried. No BTF: its header package is needed. No longer on the mirrors, only in the archive",
        security=False,
    ),
)
"""Kernels that scripts/kernel can ask Debian's archive for, and that nobody has tried pytracer on."""


def by_name(name: str) -> Kernel | None:
    """Return the kernel of that name, or None."""
    return next((kernel for kernel in KERNELS if kernel.name == name), None)


def names() -> str:
    """Return all names, for messages."""
    return ", ".join(kernel.name for kernel in KERNELS)


def as_json() -> str:
    """Return the tuple as a JSON list, oldest kernel first."""
    return json.dumps([asdict(kernel) for kernel in KERNELS], indent=2)


def as_markdown() -> str:
    """Return the tuple as the README's table."""
    rows = [("Kernel", "Debian", "What it stands for"), ("---", "---", "---")]
    rows += [(kernel.name, kernel.suite, kernel.stands_for) for kernel in KERNELS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def sources() -> str:
    """Return a line for each kernel, for scripts/kernel: name, suite, suite of security updates or -, mirror
    or archive."""
    lines = []
    for kernel in (*KERNELS, *ARCHIVED):
        security = f"{kernel.suite}-security" if kernel.security else "-"
        lines.append(
            f"{kernel.name} {kernel.suite} {security} {'mirror' if kernel in KERNELS else 'archive'}"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Print the names, one a line, or the requested format."""
    if arguments == ["--json"]:
        print(as_json())
    elif arguments == ["--markdown"]:
        print(as_markdown())
    elif arguments == ["--sources"]:
        print(sources())
    elif not arguments:
        print("\n".join(kernel.name for kernel in KERNELS))
    else:
        print("usage: python -m lab.kernels [--json|--markdown|--sources]", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
