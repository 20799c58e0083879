"""All decoders by the names that columns use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pytracer.budget import Budget
from pytracer.enrich.cgroups import cgroup_decoder
from pytracer.enrich.connections import connection_error, connection_event, retransmission, tcp_state
from pytracer.enrich.databases import database, query_status
from pytracer.enrich.decode import Decoder
from pytracer.enrich.disks import block_operation, disk_decoder
from pytracer.enrich.dns import dns_code, dns_message, dns_name, dns_type
from pytracer.enrich.drops import drop_reason_decoder, function_decoder
from pytracer.enrich.enums import enum_decoder
from pytracer.enrich.errno import errno_name
from pytracer.enrich.flags import clone_flags, file_operation, file_type, open_flags
from pytracer.enrich.http_requests import http_method, http_path
from pytracer.enrich.huge_pages import huge_cause, huge_memory
from pytracer.enrich.interfaces import interface_decoder
from pytracer.enrich.io_uring import ring_operation
from pytracer.enrich.kernel_names import (
    capability_name,
    signal_code,
    signal_name,
    signal_result,
    softirq_name,
)
from pytracer.enrich.kvm import kvm_exit_decoder
from pytracer.enrich.languages import call_event, call_nesting, language, language_label
from pytracer.enrich.lookups import lookup_result
from pytracer.enrich.network_addresses import address
from pytracer.enrich.numa import numa_cause_decoder
from pytracer.enrich.program_arguments import arguments
from pytracer.enrich.protocols import direction, packet_protocol
from pytracer.enrich.register_values import register, registers
from pytracer.enrich.sockets import ip_protocol, socket_call, socket_family, socket_protocol, socket_type
from pytracer.enrich.strings import payload, text
from pytracer.enrich.target_names import target_decoder
from pytracer.enrich.tasks import kernel_function_decoder, kernel_stack_decoder, task_state
from pytracer.enrich.waits import wait_class, wait_where
from pytracer.errors import SchemaError, suggest_near
from pytracer.kernel.syscalls import label
from pytracer.model import Schema

_STACK = "stack"  # decoded by the stack collector


def check_decoders(
    schema: Schema,
    available: Mapping[str, Decoder],
    file: str,
    numeric_columns: Mapping[str, bool] | None = None,
) -> None:
    """Check that each column's decoder is ``available``, and takes what the C stores.

    ``numeric_columns`` says of members of the C's struct whether they are numbers, not arrays. Raises
    SchemaError that names the declaration's file.
    """
    for column in schema.columns:
        name = column.decode or ("text" if column.is_text else "")
        if not name or name == _STACK or column.computed:
            continue
        if name not in available:
            raise SchemaError(
                f"{file}: column {column.name!r} has the unknown decoder {name!r}",
                hint=suggest_near(name, available),
            )
        takes = next(iter(available[name].__annotations__.values()))
        is_number = (numeric_columns or {}).get(column.source)
        if takes == "bytes" and is_number:
            raise SchemaError(
                f"{file}: column {column.name!r} has the decoder {name!r}, which takes bytes, but the C's"
                f" {column.source!r} is a number",
                hint="leave decode out to show the number, or make the member an array of char",
            )
        if takes == "int" and is_number is False:
            raise SchemaError(
                f"{file}: column {column.name!r} has the decoder {name!r}, which takes a number, but the C's"
                f" {column.source!r} is an array",
                hint="decode='text' shows strings",
            )


def decoders(
    interfaces: Mapping[int, str],
    targets: Sequence[str] = (),
    probe_specs: Sequence[str] = (),
    cgroups: Sequence[str] = (),
    budget: Budget | None = None,
) -> dict[str, Decoder]:
    """Return all decoders by the name that a :class:`~pytracer.spec.Column` uses; ``interfaces`` by index,
    ``targets`` and ``probe_specs`` by number; ``cgroups`` are folders of cgroups whose ids may occur;
    ``budget`` pays for reading data of other users."""
    return {
        "arguments": arguments,
        "address": address,
        "block_operation": block_operation,
        "call_event": call_event,
        "call_nesting": call_nesting,
        "capability": capability_name,
        "clone_flags": clone_flags,
        "cgroup": cgroup_decoder(cgroups, budget),
        "compact_result": enum_decoder("compact_result", "COMPACT_", "result"),
        "connection_error": connection_error,
        "connection_event": connection_event,
        "database": database,
        "direction": direction,
        "disk": disk_decoder(),
        "dns_code": dns_code,
        "dns_message": dns_message,
        "dns_name": dns_name,
        "dns_type": dns_type,
        "drop_reason": drop_reason_decoder(),
        "errno": errno_name,
        "kernel_function": kernel_function_decoder(),
        "kernel_stack": kernel_stack_decoder(),
        "task_state": task_state,
        "file_operation": file_operation,
        "file_type": file_type,
        "function": function_decoder(),
        "http_method": http_method,
        "http_path": http_path,
        "huge_cause": huge_cause,
        "huge_memory": huge_memory,
        "scan_result": enum_decoder("scan_result", "SCAN_", "result"),
        "interface": interface_decoder(interfaces),
        "ip_protocol": ip_protocol,
        "kvm_exit": kvm_exit_decoder(),
        "language": language,
        "language_label": language_label,
        "lookup_result": lookup_result,
        "memory_zone": enum_decoder("zone_type", "ZONE_", "zone"),
        "numa_cause": numa_cause_decoder(),
        "open_flags": open_flags,
        "packet_protocol": packet_protocol,
        "socket_call": socket_call,
        "socket_family": socket_family,
        "socket_protocol": socket_protocol,
        "socket_type": socket_type,
        "retransmission": retransmission,
        "ring_operation": ring_operation,
        "register": register,
        "registers": registers,
        "payload": payload,
        "query_status": query_status,
        "probe_spec": target_decoder(probe_specs),
        "signal": signal_name,
        "signal_code": signal_code,
        "signal_result": signal_result,
        "softirq": softirq_name,
        "syscall": label,
        "tcp_state": tcp_state,
        "target": target_decoder(targets),
        "text": text,
        "wait_class": wait_class,
        "wait_where": wait_where,
        "writeback_reason": enum_decoder("wb_reason", "WB_REASON_", "reason"),
    }
