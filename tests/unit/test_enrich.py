"""Decoders: names where there are names, ``unknown`` where there are none, never an exception."""

from __future__ import annotations

import errno
import socket

import numpy as np
import pytest

from pytracer.enrich import decode, decoders
from pytracer.enrich.errno import errno_name
from pytracer.enrich.interfaces import interface_decoder
from pytracer.enrich.text import text


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (1, "EPERM"),
        (2, "ENOENT"),
        (11, "EAGAIN"),
        (110, "ETIMEDOUT"),
        (512, "ERESTARTSYS"),
        (516, "ERESTART_RESTARTBLOCK"),
        (524, "ENOTSUPP"),
        (530, "ERECALLCONFLICT"),
        (0, "errno_0"),
        (520, "errno_520"),
        (4095, "errno_4095"),
    ],
)
def test_errno_names(number, name):
    assert errno_name(number) == name


def test_every_error_of_the_c_library_has_its_name():
    assert {errno_name(number) for number in errno.errorcode} == set(errno.errorcode.values())


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"bash", "bash"),
        (b"", ""),
        (b"a\0rubbish", "a"),
        (b"\0rubbish", ""),
        ("äöü".encode(), "äöü"),
        (b"a\xffb", "a\\xffb"),
        ("äöüß".encode()[:7], "äöü\\xc3"),
        (b"\xed\xb3\xbf", "\\xed\\xb3\\xbf"),
        (b"\x1b[2J", "\x1b[2J"),  # making it harmless is the sinks' business
    ],
)
def test_text(value, shown):
    assert text(value) == shown


def test_decode_keeps_the_order_and_asks_once_for_each_distinct_value():
    asked = []

    def decoder(value):
        asked.append(value)
        return f"<{value}>"

    assert decode(decoder, np.array([7, 3, 7, 7, 3], dtype="u4")).tolist() == [
        "<7>",
        "<3>",
        "<7>",
        "<7>",
        "<3>",
    ]
    assert sorted(asked) == [3, 7]
    assert {type(value) for value in asked} == {int}


def test_decode_gives_strings_as_bytes():
    values = np.array([b"ls", b"\xff", b"ls", b""], dtype="S16")
    assert decode(text, values).tolist() == ["ls", "\\xff", "ls", ""]


def test_decode_of_nothing():
    assert decode(errno_name, np.array([], dtype="i4")).tolist() == []


def test_interfaces_have_the_name_the_user_gave_else_the_kernels_else_a_number():
    loopback = socket.if_nametoindex("lo")
    assert interface_decoder({loopback: "mine"})(loopback) == "mine"
    assert interface_decoder({})(loopback) == "lo"
    assert interface_decoder({})(2**31 - 1) == "interface_2147483647"


INTEGERS = (0, 1, 2**31, 2**32 - 1, 2**32 | 1, 2**63, 2**64 - 1)


@pytest.mark.parametrize("name", sorted(set(decoders({})) - {"text"}))
def test_no_decoder_raises(name):
    width = {"interface": 32, "errno": 31, "packet_protocol": 32}.get(name, 64)
    for value in INTEGERS:
        if value < 1 << width:
            assert decoders({})[name](value)


@pytest.mark.parametrize("value", [b"\xff" * 16, b"\0" * 16, bytes(range(128, 144))])
def test_the_text_decoder_raises_neither(value):
    assert decoders({})["text"](value).isprintable()
