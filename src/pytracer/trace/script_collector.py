"""Collect the output of a script: its events as they happen, its maps when it prints them and at the end."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytracer import arrays, ktime, startup
from pytracer.arrays import Array, np
from pytracer.bpf.attach.link import Link
from pytracer.bpf.attach.run_once import Benchmark
from pytracer.bpf.read.maps import Map
from pytracer.bpf.read.streams.ringbuf import RingReader
from pytracer.budget import Budget
from pytracer.enrich.script_values import ValueReader, as_traced, process_words, quote_for_shell
from pytracer.lang.script import Action, CompiledScript, ScriptMap
from pytracer.lang.script.settings import string_room
from pytracer.lang.script.types import stored_size
from pytracer.model import Batch, Item
from pytracer.model.script import ScriptOutput
from pytracer.plan import Plan
from pytracer.trace.collector import find_map
from pytracer.trace.packet_files import PacketFiles
from pytracer.trace.script_batches import collect_batch, make_batch
from pytracer.trace.stream_collector import StreamCollector

if TYPE_CHECKING:
    from pytracer.trace.script_unwinding import ScriptUnwinding

_HEAD = struct.Struct("=QII")  # struct event of probes_c/script.c: ns, action, program
_LOOK = 0.25  # seconds between two looks at the processes in maps
_IDLE = 0.05  # seconds after the start at which NumPy is loaded: what a script prints at once does without
_SELDOM = ("perf_interval", "on_signal", "run_once")
"""The kinds of probes that run at times of their own: no flood of events comes from them."""


class ScriptCollector(StreamCollector):
    """Carries out the actions of a script in the order of its events."""

    def __init__(
        self,
        plan: Plan,
        maps: Mapping[str, Map],
        warn: Callable[[str], None],
        budget: Budget,
        readers: Callable[[str], Collection[str]],
    ) -> None:
        """See :func:`~pytracer.trace.collector.open_collector`."""
        self._senders = frozenset(readers(plan.schema.output.map))
        super().__init__(plan, maps, warn, budget)
        assert plan.script is not None
        self._script: CompiledScript = plan.script
        self._maps = maps
        self._by_name = {script_map.name: script_map for script_map in self._script.maps}
        self._exit_code: int | None = None
        self._announced = self._has_read = False
        self._look_at = self._started = 0.0
        self._benchmarks = list[Benchmark]()
        found = [
            (script_map, tuple(process_words(script_map.keys)), tuple(process_words((script_map.value,))))
            for script_map in self._script.maps
        ]
        self._with_processes = [
            (script_map, keys, values) for script_map, keys, values in found if keys or values
        ]
        config = self._script.config
        self._reader = ValueReader(
            self._script.targets,
            trailer=config["str_trunc_trailer"],
            string_size=string_room(config),
            clock=time.time_ns() - ktime.boottime_ns(),
            enums=self._script.enums,
            shows_lines=config["show_debug_info"] == "1",
        )
        self._actions: dict[str, Callable[[Action, bytes], ScriptOutput | None]] = {
            "printf": self._printf,
            "errorf": self._errorf,
            "runtime_warning": self._runtime_warning,
            "helper_error": self._helper_error,
            "warnf": self._warnf,
            "print": self._print,
            "print_text": lambda action, _: ScriptOutput("value", action.text, f"{action.text}\n"),
            "print_map": self._print_map,
            "print_entry": self._print_entry,
            "clear": self._clear,
            "zero": self._zero,
            "exit": self._exit,
            "time": self._time,
            "join": self._join,
            "cat": self._cat,
            "system": self._system,
            "skboutput": self._skboutput,
        }
        self._captures = PacketFiles()
        self._unwinding: ScriptUnwinding | None = None
        if self._script.takes_user_stacks:
            from pytracer.trace.script_unwinding import open_unwinding  # few scripts do

            self._unwinding = open_unwinding(maps, self._reader.symbols, plan.request, budget)

    @property
    def is_finished(self) -> bool:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return self._exit_code is not None or (self._script.ends_at_once and self._has_read)

    @property
    def exit_code(self) -> int:
        """See :class:`~pytracer.trace.collector.Collector`."""
        return self._exit_code or 0

    def _reads_few(self) -> bool:
        """See StreamCollector. Who reads items from Python gets arrays from the beginning."""
        is_shown = startup.is_command_line() and self._plan.request.interval is None
        seldom = {
            chosen.probe.program
            for chosen in self._plan.probes
            if chosen.probe.kind in _SELDOM and getattr(chosen.probe, "times", 1) == 1
        }
        return is_shown and self._senders <= seldom

    @property
    def poll_interval(self) -> float | None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        if not arrays.is_loaded():
            return _IDLE
        interval = _LOOK if self._with_processes else super().poll_interval
        if self._unwinding is None:
            return interval
        own = self._unwinding.poll_interval
        return own if interval is None else min(own, interval)

    def poll(self) -> None:
        """Load NumPy after a moment. Read the memory maps of processes with functions in maps, before they
        end."""
        if not arrays.is_loaded():
            has_time = time.monotonic() > self._started + _IDLE and not self.unread_bytes
            if not has_time and not self._with_processes:
                return
            arrays.load()
        if self._unwinding is not None:
            self._unwinding.poll()
        if not self._with_processes or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _LOOK
        from pytracer.enrich.script_symbols import processes

        for script_map, in_keys, in_values in self._with_processes:
            for rows, columns in zip(self._map(script_map).read(), (in_keys, in_values), strict=True):
                if len(rows) and columns:
                    words = np.ascontiguousarray(rows).view(np.uint64).reshape(len(rows), -1)
                    self._reader.symbols.notice_new(processes(words, columns))

    def start(self, links: Sequence[Link], /) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        self._started = time.monotonic()
        if self._unwinding is not None:
            self._unwinding.start()
        self._benchmarks = [link for link in links if isinstance(link, Benchmark)]

    def _read(self, *, last: bool) -> Iterator[Batch]:
        announced, self._announced = self._announced, True
        if not announced and not self._plan.request.options.get("quiet"):
            count = self._script.attached
            text = f"Attached {count} probe{'s' * (count != 1)}\n"
            yield collect_batch([ScriptOutput("attached_probes", {"probes": count}, text)])
        while self.reader is not None:
            batch = self._read_batch(last=last)
            if batch is None:
                self._has_read = True
                return
            yield batch

    def _read_batch(self, *, last: bool) -> Batch | None:
        """Return the outputs of the next events; None if there are no more now."""
        assert self.reader is not None
        few = None
        if not arrays.is_loaded() and isinstance(self.reader, RingReader):
            few = self.reader.read_few()
        if few is not None:
            events = sorted((*_HEAD.unpack_from(event), event[_HEAD.size :]) for event in few)
            _, numbers, programs, data = zip(*events, strict=True) if events else ((),) * 4
            return self._carry_out(numbers, programs, data.__getitem__, [None] * len(few)) if few else None
        records = self.reader.read(last=last)
        if records is None:
            return None
        numbers, rows = records["action"].tolist(), records["data"]
        lines = self._format_lines(records, frozenset(numbers))
        programs = records["program"].tolist()
        return self._carry_out(numbers, programs, lambda position: rows[position].tobytes(), lines)

    def _carry_out(
        self,
        numbers: Sequence[int],
        programs: Sequence[int],
        data_of: Callable[[int], bytes],
        lines: Sequence[str | None],
    ) -> Batch:
        """Carry out the actions of events. After exit(), only those of end probes count.

        ``data_of`` returns the values of an event, ``lines`` are the lines that are formatted already.
        """
        kinds, data, texts = list[str](), list[Any](), list[str]()
        for position, (number, program, line) in enumerate(zip(numbers, programs, lines, strict=True)):
            if self._exit_code is not None and program not in self._script.end_programs:
                continue
            if line is not None:
                kinds.append("printf")
                data.append(line)
                texts.append(line)
                continue
            action = self._script.actions[number]
            output = self._actions[action.kind](action, data_of(position))
            if output is not None:
                kinds.append(output.kind)
                data.append(output.data)
                texts.append(output.text)
        return make_batch(kinds, data, texts)

    def _format_lines(self, records: Array, numbers: Iterable[int]) -> Sequence[str | None]:
        """Return the text of each event of printf(); None for other events. ``numbers`` are their actions."""
        from pytracer.enrich.script_lines import format_lines

        actions = records["action"]
        lines: list[str | None] = [None] * len(records)
        for number in numbers:
            action = self._script.actions[number]
            if action.kind != "printf":
                continue
            selection = np.flatnonzero(actions == number)
            data = records["data"] if len(selection) == len(records) else records["data"][selection]
            text = format_lines(self._reader, action.pieces, action.fields, data)
            if len(selection) == len(records):
                return text
            for position, line in zip(selection.tolist(), text, strict=True):
                lines[position] = line
        return lines

    def read_interval(self, *, last: bool) -> Iterator[Item]:
        """See :class:`~pytracer.trace.collector.Collector`. With an interval, which a live screen has, also
        yield the maps as tables."""
        yield from super().read_interval(last=last)
        if self._plan.request.interval is not None:
            from pytracer.enrich.script_tables import tabulate

            for script_map in self._script.maps:
                if not self._map(script_map).is_empty:
                    yield tabulate(script_map, self._show(script_map), time.monotonic() - self._started)

    def read_summary(self) -> Iterator[Item]:
        """Yield the benchmarks, then the maps, if the script's settings do not say otherwise."""
        if self._unwinding is not None and (warning := self._unwinding.describe_fallbacks()):
            self._warn(warning)
        if self._benchmarks:
            from pytracer.trace.script_benchmarks import show_benchmarks

            yield collect_batch(list(show_benchmarks(self._benchmarks)))
        if self._script.config["print_maps_on_exit"] in ("0", "false"):
            return
        ordered = sorted(self._script.maps, key=lambda script_map: script_map.name)
        items = [self._show(script_map) for script_map in ordered if not self._map(script_map).is_empty]
        yield collect_batch([ScriptOutput("", None, "\n"), *items])

    def close(self) -> None:
        """See :class:`~pytracer.trace.collector.Collector`."""
        super().close()
        if self._unwinding is not None:
            self._unwinding.close()
        self._reader.close()
        self._captures.close()

    def _show(self, script_map: ScriptMap, top: int = 0, divisor: int = 0) -> ScriptOutput:
        from pytracer.enrich.script_maps import show_map

        return show_map(script_map, self._map(script_map).entries(), self._reader, top, divisor)

    def _map(self, script_map: ScriptMap) -> Map:
        return find_map(self._plan, self._maps, script_map.c_name)

    # Actions

    def _printf(self, action: Action, data: bytes) -> ScriptOutput:
        data = data.ljust(sum(map(stored_size, action.fields)), b"\0")  # a string may lack its room
        line = self._reader.printf(action.pieces, action.fields, data)
        return ScriptOutput("printf", line, line)

    def _errorf(self, action: Action, data: bytes) -> ScriptOutput:
        text = self._reader.printf(action.pieces, action.fields, data).rstrip("\n")
        position, _, excerpt = action.text.partition("\n")
        return ScriptOutput(
            "error", text, "\n".join((f"{position}: ERROR: {text}", *excerpt.splitlines(), ""))
        )

    def _helper_error(self, action: Action, _data: bytes) -> ScriptOutput:
        position, _, excerpt = action.text.partition("\n")
        [code] = action.numbers
        message = os.strerror(-code) if code else "Can't lookup map element because it does not exist."
        summary = f"Failed to {action.map}: {message} ({code})" if code else message
        detail = f"Additional Info - helper: {action.map}, retcode: {code}"
        file, line, columns = position.rsplit(":", 2)
        data = {
            "msg": message,
            "helper": action.map,
            "retcode": code,
            "filename": file,
            "line": int(line),
            "col": int(columns.partition("-")[0]),
        }
        return ScriptOutput("helper_error", data, f"{position}: WARNING: {summary}\n{detail}\n{excerpt}\n")

    def _warnf(self, action: Action, data: bytes) -> ScriptOutput | None:
        text = self._reader.printf(action.pieces, action.fields, data).rstrip("\n")
        if self._plan.request.options.get("quiet_warnings"):
            return None
        return ScriptOutput("warning", text, f"{action.text.partition(chr(10))[0]}: WARNING: {text}\n")

    def _runtime_warning(self, action: Action, _data: bytes) -> ScriptOutput | None:
        if self._plan.request.options.get("quiet_warnings"):
            return None
        return ScriptOutput("warning", action.text, action.text)

    def _print(self, action: Action, data: bytes) -> ScriptOutput:
        value = self._reader.read(action.fields[0], data, 0)
        return ScriptOutput("value", value.data, f"{value.text}\n")

    def _print_map(self, action: Action, _data: bytes) -> ScriptOutput | None:
        script_map = self._by_name.get(action.map)
        if script_map is None:
            return None
        return self._show(script_map, *action.numbers)

    def _print_entry(self, action: Action, data: bytes) -> ScriptOutput:
        from pytracer.enrich.script_maps import show_map

        script_map = self._by_name[action.map]
        start = data[: 8 * (script_map.key_words - script_map.has_buckets)]
        entries = self._map(script_map).entries()
        return show_map(script_map, [one for one in entries if one[0].startswith(start)], self._reader)

    def _clear(self, action: Action, _data: bytes) -> None:
        self._map(self._by_name[action.map]).drain()

    def _zero(self, action: Action, _data: bytes) -> None:
        table = self._map(self._by_name[action.map])
        for key, value in table.entries():
            table.update(key, bytes(len(value)))

    def _exit(self, action: Action, data: bytes) -> None:
        if self._exit_code is None:
            self._exit_code = data[0] if action.fields else 0

    def _time(self, action: Action, _data: bytes) -> ScriptOutput:
        text = self._reader.format_time(action.text, time.time_ns())
        return ScriptOutput("time", text, text)

    def _join(self, action: Action, data: bytes) -> ScriptOutput:
        parts = [part.text for part in self._reader.read_parts(action.fields, data)]
        text = action.text.join(part for part in parts if part) + "\n"
        return ScriptOutput("join", text, text)

    def _cat(self, action: Action, data: bytes) -> ScriptOutput:
        path = self._reader.printf(action.pieces, action.fields, data, as_traced)
        limit = int(self._script.config["max_cat_bytes"])
        try:
            with Path(path).open("rb") as file:
                text = file.read(limit).decode(errors="backslashreplace")
        except OSError as error:
            message = f"failed to open file {path!r} ({error.strerror})"
            return ScriptOutput("error", message, f"ERROR: {message}\n")
        return ScriptOutput("cat", text, text)

    def _skboutput(self, action: Action, data: bytes) -> ScriptOutput | None:
        nanoseconds, size, length = struct.unpack_from("=QQQ", data)
        try:
            self._captures.write(action.text, self._reader.clock + nanoseconds, data[24 : 24 + length], size)
        except OSError as error:
            message = f"failed to write file {action.text!r} ({error.strerror})"
            return ScriptOutput("error", message, f"ERROR: {message}\n")
        return None

    def _system(self, action: Action, data: bytes) -> ScriptOutput:
        command = self._reader.printf(
            action.pieces, action.fields, data, lambda text: quote_for_shell(as_traced(text))
        )
        import subprocess  # few scripts run commands

        sys.stdout.flush()
        # Only --unsafe allows a script to have this.
        process = subprocess.run(command, shell=True, stdout=subprocess.PIPE, check=False)
        text = process.stdout.decode(errors="backslashreplace")
        return ScriptOutput("syscall", text, text)
