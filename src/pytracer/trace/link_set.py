"""The links of a session: attach its programs, watch their targets, detach."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from pytracer.bpf import target_programs
from pytracer.bpf.attach import attacher_of
from pytracer.bpf.attach.kind import AttachTarget
from pytracer.bpf.attach.link import Link
from pytracer.bpf.builder import ProgramLoad
from pytracer.plan import ChosenProbe, Plan
from pytracer.plan.initial_entries import RunFacts
from pytracer.progress import step
from pytracer.spec import Iterator
from pytracer.trace.program_loading import load_of


class LinkSet:
    """The links of a plan. ``attached`` are those that still are, ``detached`` those that were."""

    def __init__(
        self, plan: Plan, run: RunFacts, log: Callable[[str], None], warn: Callable[[str], None]
    ) -> None:
        """Create an empty set. ``log`` gets a line for each program, ``warn`` warnings for the user."""
        self._plan, self._run = plan, run
        self._log, self._warn = log, warn
        self.attached: list[Link] = []
        self.detached: list[Link] = []
        self._repeated: list[Link] = []  # iterators that run again at the end of each interval
        self._watched: list[Link] = []  # of those attached, the ones whose target may be removed
        self._had_watched = False

    def attach(self, programs: Mapping[ProgramLoad, int]) -> None:
        """Attach every program. Raises the attacher's error; links that were made stay in ``attached``."""
        # What takes a record out of a map stands before what puts it in: a call that began while the first
        # was there and the second not would leave a start behind, to be taken for another call's.
        named = target_programs.TargetAttacher(self._warn)
        iterators: list[Link] = []
        gaps: dict[str, list[str]] = {}
        with step("attaching", len(self._plan.probes)) as attaching:
            for chosen_probe in reversed(self._plan.probes):
                load, target = load_of(self._plan, chosen_probe), self._target(chosen_probe)
                if chosen_probe.probe.targets:
                    links = named.attach(
                        chosen_probe.probe, chosen_probe.target_id_source, target, programs.get(load)
                    )
                else:
                    links = attacher_of(chosen_probe.probe).attach(chosen_probe.probe, target, programs[load])
                self.attached += links
                if isinstance(chosen_probe.probe, Iterator):
                    iterators += links
                    self._repeated += links if chosen_probe.probe.repeated else []
                self._watched += [link for link in links if link.place]
                for note in dict.fromkeys(link.note for link in links if link.note):
                    self._warn(note)
                places = ", ".join(f"{link.place}: {link.description}" for link in links if link.description)
                description = f"{chosen_probe.probe.kind} {places}" if places else chosen_probe.target
                self._log(f"attached {chosen_probe.probe.program} to {description}")
                for gap in dict.fromkeys(link.uncounted for link in links if link.uncounted):
                    gaps.setdefault(gap, []).append(chosen_probe.probe.program)
                attaching.advance()
        for gap, names in gaps.items():
            self._log(f"{gap}: {', '.join(dict.fromkeys(names))}")
        self._had_watched = bool(self._watched)
        named.report_failures()
        if iterators and not self._plan.schema.is_listing:
            # Behind the events, so that nothing begins between the two.
            from pytracer.bpf.attach.iterator import run

            run(iterators)

    def run_repeated(self) -> None:
        """Run the iterators that are repeated: what goes on counts up to now."""
        if self._repeated:
            from pytracer.bpf.attach.iterator import run

            run(self._repeated)

    def _target(self, chosen_probe: ChosenProbe) -> AttachTarget:
        return AttachTarget(
            chosen_probe.name,
            self._plan.request.interfaces,
            chosen_probe.choice,
            chosen_probe.rate,
            command=self._run.command,
            members=chosen_probe.members,
            cgroups=self._plan.attach_cgroups,
        )

    @property
    def missed(self) -> int:
        """The number of runs that the kernel skipped, as far as links count them."""
        return sum(link.missed for link in (*self.attached, *self.detached))

    def check(self) -> bool:
        """Warn of targets that were removed. Returns False once none is left, or all is detached."""
        if not self._watched:
            return not self._had_watched
        detached_links = [(link, trouble) for link in self._watched if (trouble := link.poll_detached)]
        # Of a place that has several links, once.
        for message in dict.fromkeys(
            f"{link.target_kind} {link.place}: {trouble}" for link, trouble in detached_links
        ):
            self._warn(message)
        lost_links = [link for link, _ in detached_links if link.is_over]
        self._watched = [link for link in self._watched if link not in lost_links]
        return bool(self._watched)

    def detach(self) -> None:
        """Detach all programs. A signal handler may do so while this runs."""
        self._watched = []  # a link without a descriptor cannot be asked
        if not self.attached:
            return
        total = len(self.attached)
        with step("detaching", total) as detaching:
            self.attached.sort(key=self._repeated.__contains__, reverse=True)  # they are detached last
            while self.attached:
                if self.attached[-1] in self._repeated:
                    self.run_repeated()
                    self._repeated = []
                self.detached.append(self.attached.pop())
                self.detached[-1].detach()
                detaching.done = total - len(self.attached)

    def close(self) -> None:
        """Remove objects that were created for detached links, which may take seconds."""
        if self.detached:
            with step("removing probes", len(self.detached)) as removing:
                while self.detached:
                    self.detached.pop().close()
                    removing.advance()
