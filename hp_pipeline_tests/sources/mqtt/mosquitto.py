"""A real mosquitto for the tests: a throw-away folder, a free port on loopback, ended by its process id."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

MISSING = "mosquitto is not installed: scripts/install_test_servers installs it"
USER = "reader"
PASSWORD = "pass word:'\"\\#"


def program(name: str) -> str | None:
    """Path of one of mosquitto's programs; Debian has the broker where only root looks."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def is_installed() -> bool:
    """Whether there is a broker to start."""
    return program("mosquitto") is not None and program("mosquitto_passwd") is not None


@dataclass(frozen=True)
class Certificates:
    """Files of a throw-away authority and of the broker's certificate, for localhost alone."""

    authority: Path
    certificate: Path
    key: Path


def make_certificates(folder: Path, host: str = "127.0.0.1") -> Certificates:
    """Make an authority and a certificate for one address."""
    folder.mkdir(exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "throw-away authority")])

    def builder(subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    authority = (
        builder(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")]), key.public_key())
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    files = Certificates(folder / "authority.pem", folder / "broker.pem", folder / "broker.key")
    files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def free_port() -> int:
    """A port on loopback that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Mosquitto:
    """A broker on loopback. Sessions and retained messages outlive its restarts.

    Attributes:
        folder: its files.
        password: whether it asks for one.
        certificates: with them it speaks TLS.
        access: lines of its access list, for what everybody may do.
    """

    folder: Path
    password: bool = False
    certificates: Certificates | None = None
    access: str = ""
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        """Start it, or start it again."""
        self.folder.mkdir(exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {self.folder}/",
            f"log_dest file {self.folder}/log",
            "log_type all",
            "user root",
            f"allow_anonymous {'false' if self.password else 'true'}",
        ]
        if self.password:
            passwords = self.folder / "passwords"
            tool = program("mosquitto_passwd")
            assert tool is not None
            subprocess.run([tool, "-b", "-c", str(passwords), USER, PASSWORD], check=True, capture_output=True)
            lines.append(f"password_file {passwords}")
        if self.access:
            (self.folder / "access").write_text(self.access)
            lines.append(f"acl_file {self.folder}/access")
        if self.certificates is not None:
            lines += [f"certfile {self.certificates.certificate}", f"keyfile {self.certificates.key}"]
        (self.folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        broker = program("mosquitto")
        assert broker is not None
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [broker, "-c", str(self.folder / "mosquitto.conf")], stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise RuntimeError(f"mosquitto ended: {(self.folder / 'output').read_text()[-2000:]}")
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return self
            time.sleep(0.02)
        raise RuntimeError(f"mosquitto did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def stop(self) -> None:
        """End it, so that it stores its sessions."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def write(self) -> None:
        """Have it write its sessions to the disk now; else it does so when it is stopped, and every half an hour."""
        assert self._process is not None
        database = self.folder / "mosquitto.db"
        before = database.stat().st_ino if database.exists() else None
        self._process.send_signal(signal.SIGUSR1)
        deadline = time.monotonic() + 10
        while not database.exists() or database.stat().st_ino == before:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self) -> None:
        """End it as a power cut does: its sessions are as they were written last."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def freeze(self) -> None:
        """Let it answer nothing, with all connections open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def publish(self, *messages: tuple[str, str | bytes], qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        with self.client() as client:
            infos = [client.publish(topic, payload, qos=qos, retain=retain) for topic, payload in messages]
            for info in infos:
                info.wait_for_publish(5)

    @contextlib.contextmanager
    def client(self, will: tuple[str, str] | None = None) -> Any:
        """A connected client that publishes; `will` is its last will, retained."""
        client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        if self.password:
            client.username_pw_set(USER, PASSWORD)
        if self.certificates is not None:
            client.tls_set(ca_certs=str(self.certificates.authority))
        if will is not None:
            client.will_set(*will, qos=1, retain=True)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        try:
            yield client
        finally:
            client.disconnect()
            client.loop_stop()
