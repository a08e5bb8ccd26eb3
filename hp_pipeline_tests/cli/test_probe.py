"""`hp-pipeline probe <kind>` on simulated devices that speak their real protocols over loopback.

The pages show what these commands say: docs/devices.md is compared with it, word for word. After a change of the
output, `HP_WRITE_PAGES=1 pytest hp_pipeline_tests/cli/test_probe.py` writes it into the page.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hp_pipeline.settings import load_settings
from hp_pipeline.simulation.devices.luxtronik import LuxtronikFault, LuxtronikServer
from hp_pipeline.simulation.devices.modbus import SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.mqtt import EspAltherma, HeishaMon, MqttDevice, Outgoing, Publisher, Statestream
from hp_pipeline.simulation.devices.shelly import ShellyFault, ShellyServer
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import Clock, House
from hp_pipeline_tests.cli.conftest import Call
from hp_pipeline_tests.cli.devices import beside
from hp_pipeline_tests.simulation.devices.conftest import START, house, winter_run
from hp_pipeline_tests.sources.mqtt.conftest import broker, make_broker
from hp_pipeline_tests.sources.mqtt.mosquitto import Mosquitto

__all__ = ["broker", "house", "make_broker", "winter_run"]

NOON = START + timedelta(hours=36)
REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "devices.md"
README = REPOSITORY / "README.md"


def clock() -> Clock:
    """A January noon that does not pass."""
    return Clock(NOON, 0.0)


def from_now() -> float:
    """What has to be added to that noon to make it now, s."""
    return (datetime.now(UTC) - NOON).total_seconds()


def shown_on_page(command: str, output: str, page: Path = PAGE) -> None:
    """The page shows this command with this output, at whatever address; or it is written so."""
    text = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"(```text\n\$ {re.escape(command)}\n)(.*?)(```)", re.DOTALL)
    found = pattern.search(text)
    assert found, f"{page.name} has no block that begins with `$ {command}`"
    if os.environ.get("HP_WRITE_PAGES") == "1":
        page.write_text(text[: found.start(2)] + output + text[found.end(2) :], encoding="utf-8")
    else:
        assert found[2] == output


def at(output: str, address: str, port: int, usual: int) -> str:
    """The output as it would be at another address, on the usual port."""
    output = output.replace(f"127.0.0.1:{port}", f"{address}:{usual}").replace("host: 127.0.0.1", f"host: {address}")
    return output.replace(f"    port: {port}\n", "").rstrip() + "\n"


def pasted(output: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is proposed can be used as it is."""
    lines = output.partition("For hp.yaml:\n")[2].partition("\n\n")[0]
    for name in re.findall(r"\$\{(\w+)\}", lines):
        monkeypatch.setenv(name, "any")
    path = folder / "pasted.yaml"
    path.write_text(f"site: {{name: House, time_zone: Europe/Berlin, start: 2024-01-01}}\n{lines}\n")
    assert load_settings(path).heat_pumps[0].inputs


def test_luxtronik(house: House, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with beside(LuxtronikServer(house, clock())) as (server, _):
        server.faults.inject(LuxtronikFault.clock_offset, times=None, value=from_now())
        answer = call(None, "probe", "luxtronik", "--host", "127.0.0.1", "--port", server.port)
        every = call(None, "probe", "luxtronik", "--host", "127.0.0.1", "--port", server.port, "--all")
    assert answer.exit_code == 0
    assert "its clock is right" in answer.stdout
    pasted(answer.stdout, tmp_path, monkeypatch)
    assert "calculation/10" in every.stdout and "Password" not in every.stdout
    shown_on_page(
        "hp-pipeline probe luxtronik --host 192.168.1.20", at(answer.stdout, "192.168.1.20", server.port, 8889)
    )


def test_luxtronik_is_found_in_the_network(house: House, call: Call) -> None:
    with beside(LuxtronikServer(house, clock())) as (server, loop):
        port = _answering(server, loop)
        if port is None:
            pytest.skip("both UDP ports of the discovery are in use on this machine")
        answer = call(None, "probe", "luxtronik", "--broadcast", "127.0.0.1")
    assert answer.exit_code == 0, answer.output
    assert f"host: 127.0.0.1, port: {server.port}" in answer.stdout
    assert "with the profile luxtronik it tells" in answer.stdout


def _answering(server: LuxtronikServer, loop: asyncio.AbstractEventLoop) -> int | None:
    for port in (47808, 4444):
        try:
            return asyncio.run_coroutine_threadsafe(server.answer_discovery(port), loop).result(5)
        except OSError:
            continue
    return None


def test_shelly(house: House, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with beside(ShellyServer(house, clock(), password="of the owner")) as (server, _):
        server.faults.inject(ShellyFault.clock_offset, times=None, value=from_now())
        words = ["probe", "shelly", "--host", "127.0.0.1", "--port", str(server.port)]
        without = call(None, *words)
        monkeypatch.setenv("MY_PASSWORD", "another one")
        wrong = call(None, *words, "--password-env", "MY_PASSWORD")
        monkeypatch.setenv("MY_PASSWORD", "of the owner")
        assert "password: ${MY_PASSWORD}" in call(None, *words, "--password-env", "MY_PASSWORD").stdout
        monkeypatch.setenv("SHELLY_PASSWORD", "of the owner")
        answer = call(None, *words)
    assert without.exit_code == 1
    assert "denied: the Shelly meter at 127.0.0.1" in without.stderr and "Set `password`" in without.stderr
    assert wrong.exit_code == 1 and "another one" not in wrong.output
    assert answer.exit_code == 0
    assert "of the owner" not in answer.output
    assert "password: ${SHELLY_PASSWORD}" in answer.stdout
    pasted(answer.stdout, tmp_path, monkeypatch)
    command = "SHELLY_PASSWORD=… hp-pipeline probe shelly --host 192.168.1.21"
    shown = at(answer.stdout, "192.168.1.21", server.port, 80)
    shown_on_page(command, shown)
    # The README leaves out the phases, which say no more than their total here.
    shown_on_page(command, re.sub(r"    emd?a?t?a?:0\.[abc]_.*\n", "", shown), README)


def test_modbus(house: House, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with beside(SimulatedModbus({1: StiebelIsg(house, clock()).unit()})) as (server, _):
        words = ["probe", "modbus", "--host", "127.0.0.1", "--port", str(server.port)]
        answer = call(None, *words)
        every = call(None, *words, "--all")
    assert answer.exit_code == 0
    assert {request.function for request in server.requests} <= {3, 4}
    pasted(answer.stdout, tmp_path, monkeypatch)
    assert len(every.stdout.splitlines()) > len(answer.stdout.splitlines()) + 20
    assert " °C\n" in every.stdout and " kWh\n" in every.stdout
    shown_on_page("hp-pipeline probe modbus --host 192.168.1.22", at(answer.stdout, "192.168.1.22", server.port, 502))


def test_viessmann(house: House, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ViessmannCloudServer(house, clock()) as server:
        where = ["--base-url", server.base_url, "--login-url", server.login_url, "--data", str(tmp_path / "data")]
        missing = call(None, "probe", "viessmann", *where)
        monkeypatch.setenv("VIESSMANN_CLIENT_ID", "client")
        monkeypatch.setenv("VIESSMANN_USERNAME", "me@example.org")
        monkeypatch.setenv("VIESSMANN_PASSWORD", "wrong-one")
        wrong = call(None, "probe", "viessmann", *where)
        assert server.calls
        monkeypatch.setenv("VIESSMANN_PASSWORD", "secret")
        answer = call(None, "probe", "viessmann", *where)
        polls = [one.place for one in server.calls].count("features")
        every = call(None, "probe", "viessmann", *where, "--all")
        assert [one.place for one in server.calls].count("features") == polls + 1
    assert missing.exit_code == 1 and "VIESSMANN_CLIENT_ID, VIESSMANN_USERNAME, VIESSMANN_PASSWORD" in missing.stderr
    assert wrong.exit_code == 1 and "denied: " in wrong.stderr
    assert answer.exit_code == 0, answer.output
    for output in (wrong.output, answer.output, every.output):
        assert not {"wrong-one", "me@example.org"} & set(output.split())
    pasted(answer.stdout, tmp_path, monkeypatch)
    assert "heating.circuits.0.sensors.temperature.supply.value" in every.stdout
    text = re.sub(r"    (?:base|login)_url: .*\n", "", answer.stdout)
    shown_on_page("hp-pipeline probe viessmann", text.rstrip() + "\n")


class _Beside:
    """Devices that publish over and over, in a thread."""

    def __init__(self, broker: Mosquitto, *devices: MqttDevice) -> None:
        self._publishers = [Publisher(device, clock(), "127.0.0.1", broker.port) for device in devices]

    @contextmanager
    def publishing(self) -> Iterator[None]:
        ending = threading.Event()

        def run() -> None:
            while not ending.is_set():
                for publisher in self._publishers:
                    publisher.publish()
                ending.wait(0.2)

        for publisher in self._publishers:
            publisher.connect()
        while not all(publisher.is_connected for publisher in self._publishers):
            time.sleep(0.01)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join(5)
            for publisher in self._publishers:
                publisher.disconnect()


def test_mqtt(house: House, call: Call, broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with _Beside(broker, HeishaMon(house)).publishing():
        time.sleep(0.3)  # the retained values are there
        answer = call(None, "probe", "mqtt", "--host", "127.0.0.1", "--port", broker.port, "--listen", 1)
    assert answer.exit_code == 0, answer.output
    assert "with the profile heishamon it tells" in answer.stdout
    pasted(answer.stdout, tmp_path, monkeypatch)
    text = re.sub(r"in \d+ s came \d+ messages", "in 10 s came 30 messages", answer.stdout)
    shown_on_page("hp-pipeline probe mqtt --host 192.168.1.23", at(text, "192.168.1.23", broker.port, 1883))


class _Odd:
    """A device that no shipped profile is for, and that says too much."""

    name, interval, availability = "odd", timedelta(seconds=1), None

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        return [
            Outgoing("odd/power", "123.5", retain=True),
            Outgoing("odd/config", json.dumps({"password": "hunter2", "level": 3}), retain=True),
            Outgoing("odd/\x1b", "1", retain=False),
        ][:2]


def test_other_devices_at_a_broker(
    house: House, call: Call, broker: Mosquitto, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _Beside(broker, Statestream(house), EspAltherma(house), _Odd()).publishing():
        time.sleep(0.3)
        answer = call(None, "probe", "mqtt", "--host", "127.0.0.1", "--port", broker.port, "--listen", 1)
        odd = call(
            None, "probe", "mqtt", "--host", "127.0.0.1", "--port", broker.port, "--listen", 0.5, "--topic", "odd/#"
        )
    assert answer.exit_code == 0, answer.output
    for profile in ("espaltherma_mqtt", "home_assistant_statestream"):
        assert f"with the profile {profile} it tells" in answer.stdout
    assert "time_topic: last_updated" in answer.stdout
    assert '- {topic: "odd/#"}' in answer.stdout
    pasted(answer.stdout, tmp_path, monkeypatch)
    assert "odd/power" in odd.stdout and "123.5" in odd.stdout
    assert "No shipped profile fits" in odd.stdout and '{topic: "odd/#"}' in odd.stdout
    for output in (answer.output, odd.output):
        assert "hunter2" not in output


def test_listening_leaves_the_collectors_session_alone(call: Call, broker: Mosquitto, tmp_path: Path) -> None:
    (tmp_path / "hp.yaml").write_text(
        "site: {name: House, time_zone: Europe/Berlin, start: 2024-01-01}\n"
        "heat_pumps: [{id: pump, inputs: [{source: broker, profile: heishamon}]}]\n"
        f"sources: [{{id: broker, kind: mqtt, host: 127.0.0.1, port: {broker.port}, topics: [{{topic: x/#}}]}}]\n"
    )
    answer = call(tmp_path, "probe", "mqtt", "--listen", 0.3)
    assert answer.exit_code == 1
    assert "in 0 s came 0 messages in 0 topics. Are the devices on" in answer.stdout
    log = broker.log() if hasattr(broker, "log") else ""
    assert "hp_pipeline_broker" not in log


def test_what_is_wrong_is_named_with_its_place_and_a_remedy(call: Call, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for kind, remedy in (
        ("luxtronik", "port"),
        ("shelly", "Check `host` and `port`"),
        ("modbus", "no connection to"),
        ("mqtt", "are `host` and `port` right?"),
    ):
        answer = call(None, "probe", kind, "--host", "127.0.0.1", "--port", port)
        assert answer.exit_code == 1, kind
        assert f"127.0.0.1:{port}" in answer.output and remedy in answer.output, answer.output
    for kind in ("shelly", "modbus", "mqtt"):
        assert "name the device with --host, or write hp.yaml" in call(None, "probe", kind).stderr
    assert "--host: " in call(None, "probe", "luxtronik", "--host", "http://x/").stderr
    assert "either --host or --serial-port" in call(None, "probe", "modbus", "--host", "x", "--serial-port", "y").stderr
    assert "--topic a/#/b" in call(None, "probe", "mqtt", "--host", "x", "--topic", "a/#/b").stderr
    (tmp_path / "hp.yaml").write_text(
        "site: {name: House, time_zone: Europe/Berlin, start: 2024-01-01}\n"
        "heat_pumps: [{id: pump, inputs: [{source: meter, profile: shelly_3em}]}]\n"
        f"sources: [{{id: meter, kind: shelly, host: 127.0.0.1, port: {port}}}]\n"
    )
    assert "refused: the Shelly meter" in call(tmp_path, "probe", "shelly").stderr
    assert "There is no shelly source 'x' in the settings; there are: meter." in (
        call(tmp_path, "probe", "shelly", "--source", "x").stderr
    )


def test_devices_that_answer_wrongly(house: House, call: Call, tmp_path: Path) -> None:
    with beside(ShellyServer(house, clock())) as (server, _):
        (tmp_path / "hp.yaml").write_text(
            "site: {name: House, time_zone: Europe/Berlin, start: 2024-01-01}\n"
            "heat_pumps: [{id: pump, inputs: [{source: controller, profile: luxtronik}]}]\n"
            "sources:\n"
            f"  - {{id: controller, kind: luxtronik, host: 127.0.0.1, port: {server.port}, timeout: 1s}}\n"
        )
        answer = call(tmp_path, "probe", "luxtronik", "--source", "controller")
        assert answer.exit_code == 1
        assert f"127.0.0.1:{server.port}" in answer.stderr
    with beside(LuxtronikServer(house, clock())) as (controller, _):
        controller.faults.inject(LuxtronikFault.busy, times=None)
        answer = call(None, "probe", "luxtronik", "--host", "127.0.0.1", "--port", controller.port)
        assert answer.exit_code == 1 and "busy: " in answer.stderr


def test_the_page_is_yaml_where_it_says_so() -> None:
    for block in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
        assert YAML(typ="safe").load(block)
