"""A real InfluxDB 1 for the tests: a throw-away folder, a free port on loopback, ended by its process id."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

MISSING = "InfluxDB is not installed: scripts/install_test_servers installs it"
USER = "admin"
PASSWORD = "pass word'\"\\"

_CONFIGURATION = """
reporting-disabled = true
bind-address = "127.0.0.1:{rpc_port}"
[meta]
  dir = "{folder}/meta"
[data]
  dir = "{folder}/data"
  wal-dir = "{folder}/wal"
  query-log-enabled = false
[http]
  bind-address = "127.0.0.1:{port}"
  auth-enabled = true
  log-enabled = false
[monitor]
  store-enabled = false
"""


@dataclass(frozen=True)
class InfluxServer:
    """A running InfluxDB, with one user who may do everything."""

    url: str

    def query(self, statement: str) -> httpx.Response:
        """Run a statement that changes something."""
        answer = httpx.post(f"{self.url}/query", params={"q": statement}, auth=(USER, PASSWORD), timeout=30)
        answer.raise_for_status()
        assert "error" not in answer.text, answer.text
        return answer

    def create_database(self, name: str) -> None:
        """Create a database."""
        self.query(f'CREATE DATABASE "{name}"')

    def write(self, database: str, lines: str, precision: str = "ns") -> httpx.Response:
        """Write line protocol; the answer says whether it was taken."""
        return httpx.post(
            f"{self.url}/write",
            params={"db": database, "precision": {"ns": "n", "us": "u"}.get(precision, precision)},
            content=lines.encode(),
            auth=(USER, PASSWORD),
            timeout=60,
        )


def is_installed() -> bool:
    """Whether there is an InfluxDB to start."""
    return shutil.which("influxd") is not None


def free_port() -> int:
    """A port on loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_influx_server(folder: Path) -> Iterator[InfluxServer]:
    """Start an InfluxDB in an empty folder and end it again."""
    port, rpc_port = free_port(), free_port()
    configuration = folder / "influxdb.conf"
    configuration.write_text(_CONFIGURATION.format(folder=folder, port=port, rpc_port=rpc_port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["influxd", "run", "-config", str(configuration)], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            server = InfluxServer(f"http://127.0.0.1:{port}")
            _wait_until_up(server, process, folder / "log")
            quoted = PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
            created = httpx.post(
                f"{server.url}/query",
                params={"q": f"CREATE USER \"{USER}\" WITH PASSWORD '{quoted}' WITH ALL PRIVILEGES"},
            )
            created.raise_for_status()
            yield server
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_until_up(server: InfluxServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"influxd ended with {process.returncode}: {log.read_text()[-2000:]}")
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{server.url}/ping").status_code == 204:
                return
        time.sleep(0.05)
    raise RuntimeError(f"influxd did not start within 30 s: {log.read_text()[-2000:]}")
