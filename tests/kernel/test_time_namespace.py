"""Test times of events in a time namespace, whose clocks differ from the kernel's."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime

import pytest

from support.cli import COMMAND

pytestmark = pytest.mark.kernel
SHIFTED = ["unshare", "-T", "--monotonic", "1000000", "--boottime", "2000000"]


@pytest.mark.parametrize("words", [["execsnoop", "--", "true"], ["opensnoop", "--", "true"]], ids=" ".join)
def test_events_have_the_time_of_day(words):
    before = datetime.now().astimezone()
    command = [*SHIFTED, *COMMAND, words[0], "-T", "-f", "json", *words[1:]]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    after = datetime.now().astimezone()
    times = [datetime.fromisoformat(json.loads(line)["time"]) for line in result.stdout.splitlines()]
    assert times
    # They are shown to the millisecond, which is cut.
    assert all(
        before.replace(microsecond=before.microsecond // 1000 * 1000) <= moment <= after for moment in times
    )
