"""What systemd is told: ready, alive, reloading, stopping (the protocol of sd_notify(3)). Without systemd, nothing."""

from __future__ import annotations

import os
import socket


def notify(*lines: str) -> bool:
    """Tell systemd, such as `READY=1` or `STATUS=…`. Returns whether somebody listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(f"\0{address[1:]}" if address.startswith("@") else address)
            channel.sendall("\n".join(lines).encode())
    except OSError:
        return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between two signs of life: half of what systemd waits for; None when it does not wait."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    try:
        return int(os.environ.get("WATCHDOG_USEC", "")) / 2e6
    except ValueError:
        return None
