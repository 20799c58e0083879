"""Names of numbers that the kernel's own tables have: softirqs, signals."""

from __future__ import annotations

import signal

# include/linux/interrupt.h; /proc/softirqs has them in this order.
_SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")
_SIGNALS = {int(number): number.name for number in signal.Signals}


def softirq_name(vector: int) -> str:
    """``3`` -> ``NET_RX``; ``softirq_N`` where there is none."""
    return _SOFTIRQS[vector] if vector < len(_SOFTIRQS) else f"softirq_{vector}"


def signal_name(number: int) -> str:
    """``9`` -> ``SIGKILL``, ``35`` -> ``SIGRTMIN+1``; ``signal_N`` where the number has no name."""
    if number in _SIGNALS:
        return _SIGNALS[number]
    if signal.SIGRTMIN < number < signal.SIGRTMAX:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"
    return f"signal_{number}"
