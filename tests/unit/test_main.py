"""Test that an interrupt after the last output does not change the exit status."""

from __future__ import annotations

import signal

import pytracer.__main__ as entry


def test_the_exit_status_stays_once_all_is_shown(monkeypatch):
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(entry, "main", lambda: 3)
    try:
        assert entry.command() == 3
        signal.raise_signal(signal.SIGINT)  # would raise KeyboardInterrupt
    finally:
        signal.signal(signal.SIGINT, before)
