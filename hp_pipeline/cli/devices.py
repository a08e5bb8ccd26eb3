"""Commands that ask devices and archives what they hold, and change nothing there: probe."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hp_pipeline.cli.common import Command, locate, open_workspace, places

if TYPE_CHECKING:
    from hp_pipeline.settings import Settings
    from hp_pipeline.settings.model import SettingsModel

SourceT = TypeVar("SourceT", bound="SettingsModel")
Result = TypeVar("Result")

PORT = click.IntRange(1, 65535)


@click.group()
def probe() -> None:
    """Ask a device, a broker, a cloud or a database what it holds, before anything is stored.

    Each tells what was found, which signals the fitting profile finds there, and the lines to paste into hp.yaml.
    Only reads. Passwords come from environment variables, never from the command line.

    \b
    hp-pipeline probe luxtronik                  looks for controllers in the network
    hp-pipeline probe modbus --host 192.168.1.22
    SHELLY_PASSWORD=… hp-pipeline probe shelly --host 192.168.1.21
    hp-pipeline probe mqtt --source broker       a source of the settings, by its id
    """


def device(command: Command) -> Command:
    """The options that all devices have."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="List every value, not only those with a meaning here."),
        click.option("--source", "source_id", metavar="ID", help="A source of the settings, with what it says there."),
    ):
        command = option(command)
    return places(command)


def password_option(default: str) -> Callable[[Command], Command]:
    """The option that names the environment variable of a password."""
    return click.option(
        "--password-env",
        default=default,
        show_default=True,
        metavar="NAME",
        help="Environment variable that has the password, where one is needed.",
    )


def _read_settings(settings: str | None, data: str | None) -> Settings | None:
    """The settings; None where there are none."""
    from hp_pipeline.settings import SettingsError, load_settings

    found = locate(settings, data)
    if not found.settings.exists():
        return None
    try:
        return load_settings(found.settings)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None


def _configured(loaded: Settings | None, model: type[SourceT], kind: str, source_id: str | None) -> list[SourceT]:
    """The sources of a kind in the settings, or the one of them with this id."""
    every: Sequence[SettingsModel] = loaded.sources if loaded else ()
    sources = [source for source in every if isinstance(source, model)]
    chosen = [source for source in sources if source_id in (None, getattr(source, "id", None))]
    if source_id is not None and not chosen:
        known = ", ".join(str(getattr(source, "id", "")) for source in sources) or "none"
        raise click.ClickException(f"There is no {kind} source {source_id!r} in the settings; there are: {known}.")
    return chosen


def _made(model: type[SourceT], **keys: Any) -> SourceT:
    """A source that is in no settings, from options; what is wrong with them is said as a mistake of the command."""
    from pydantic import ValidationError

    try:
        return model(**{key: value for key, value in keys.items() if value is not None})
    except ValidationError as error:
        told = "; ".join(
            f"--{'-'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_input=False)
        )
        raise click.UsageError(told) from None


def _secret(name: str) -> Any:
    """The secret in an environment variable, None where it is not set."""
    from hp_pipeline.settings.model import EnvironmentText

    value = os.environ.get(name)
    return EnvironmentText(value) if value else None


def _asked(work: Coroutine[Any, Any, Result]) -> Result:
    """What a device answers.

    Raises:
        click.ClickException: it does not; the message says what is wrong, where, and what to do.
    """
    from hp_pipeline.sources.live import PollError

    try:
        return asyncio.run(work)
    except PollError as error:
        raise click.ClickException(f"{error.outcome}: {error}") from None


def _which(kind: str) -> click.ClickException:
    return click.ClickException(
        f"There is no {kind} source in the settings: name the device with --host, or write hp.yaml."
    )


@probe.command()
@device
@click.option("--host", help="Host name or address of the controller; without it the network is searched.")
@click.option("--port", type=PORT, help="TCP port: 8889, with old firmware 8888.")
@click.option(
    "--broadcast",
    default="255.255.255.255",
    show_default=True,
    metavar="ADDRESS",
    help="Whom to call in the search; the broadcast address of a network of yours.",
)
@click.option("--search", is_flag=True, help="Search the network, also if there are such sources in the settings.")
def luxtronik(
    settings: str | None,
    data: str | None,
    source_id: str | None,
    everything: bool,
    host: str | None,
    port: int | None,
    broadcast: str,
    search: bool,
) -> None:
    """A Luxtronik controller: firmware, model, clock, values, errors. Without --host it looks for controllers."""
    from hp_pipeline.settings import LuxtronikSource
    from hp_pipeline.sources.luxtronik.discovery import discover
    from hp_pipeline.sources.luxtronik.probe import format_discovery, format_probe
    from hp_pipeline.sources.luxtronik.probe import probe as ask

    if host is not None:
        sources = [_made(LuxtronikSource, id="luxtronik", host=host, port=port)]
    else:
        loaded = None if search else _read_settings(settings, data)
        sources = _configured(loaded, LuxtronikSource, "luxtronik", source_id)
    if not sources:
        try:
            controllers = asyncio.run(discover(address=broadcast))
        except OSError as error:
            raise click.ClickException(
                f"The network cannot be called at {broadcast} ({error.strerror or error}). Give the controller's "
                "address with --host, or the broadcast address of its network with --broadcast."
            ) from None
        click.echo(format_discovery(controllers))
        if not controllers:
            raise SystemExit(1)
        sources = [
            _made(
                LuxtronikSource, id="luxtronik" if number == 1 else f"luxtronik_{number}", host=one.host, port=one.port
            )
            for number, one in enumerate(controllers, start=1)
        ]
    for source in sources:
        click.echo(format_probe(_asked(ask(source)), everything=everything))


@probe.command()
@device
@click.option("--host", help="Host name or address of the meter.")
@click.option("--port", type=PORT, help="TCP port, 80 without it.")
@password_option("SHELLY_PASSWORD")
def shelly(
    settings: str | None,
    data: str | None,
    source_id: str | None,
    everything: bool,
    host: str | None,
    port: int | None,
    password_env: str,
) -> None:
    """A Shelly meter: model, MAC, clock, what it measures, and which stretches it has records of."""
    from hp_pipeline.settings import ShellySource
    from hp_pipeline.sources.shelly import format_probe
    from hp_pipeline.sources.shelly import probe as ask

    if host is not None:
        sources = [_made(ShellySource, id="shelly", host=host, port=port, password=_secret(password_env))]
    else:
        sources = _configured(_read_settings(settings, data), ShellySource, "shelly", source_id)
    if not sources:
        raise _which("shelly")
    for source in sources:
        click.echo(format_probe(_asked(ask(source)), everything=everything, password_env=password_env))


@probe.command()
@device
@click.option("--host", help="Host name or address of the heat pump or of its gateway.")
@click.option("--port", type=PORT, help="TCP port, 502 without it.")
@click.option("--serial-port", metavar="DEVICE", help="A serial line, such as /dev/ttyUSB0.")
@click.option("--baud-rate", type=int, help="Bits per second of the serial line, 9600 without it.")
@click.option(
    "--parity", type=click.Choice(["none", "even", "odd"]), help="Parity of the serial line, none without it."
)
@click.option("--rtu-over-tcp", is_flag=True, help="A serial line behind a network adapter.")
@click.option("--unit", type=click.IntRange(0, 255), help="Number of the device on the line, mostly 1.")
def modbus(
    settings: str | None,
    data: str | None,
    source_id: str | None,
    everything: bool,
    host: str | None,
    port: int | None,
    serial_port: str | None,
    baud_rate: int | None,
    parity: str | None,
    rtu_over_tcp: bool,
    unit: int | None,
) -> None:
    """A heat pump that speaks Modbus: every shipped register map is tried, and the one that fits is proposed."""
    from hp_pipeline.settings.sources import ModbusSource
    from hp_pipeline.sources.modbus.probe import format_probe
    from hp_pipeline.sources.modbus.probe import probe as ask
    from hp_pipeline.vocabulary.registers import shipped_maps

    if host is not None and serial_port is not None:
        raise click.UsageError("Give either --host or --serial-port.")
    if host is not None or serial_port is not None:
        made = _made(
            ModbusSource,
            id="modbus",
            map=shipped_maps()[0],
            connection="rtu" if serial_port else "rtu_over_tcp" if rtu_over_tcp else "tcp",
            host=host,
            port=port,
            serial_port=serial_port,
            baud_rate=baud_rate,
            parity=parity,
            unit=unit,
        )
        sources = [made]
    else:
        sources = _configured(_read_settings(settings, data), ModbusSource, "modbus", source_id)
    if not sources:
        raise _which("modbus")
    for source in sources:
        found = _asked(ask(source))
        click.echo(format_probe(found, everything=everything))
        if found.proposed is None:
            raise SystemExit(1)


@probe.command()
@device
@click.option(
    "--client-id-env", default="VIESSMANN_CLIENT_ID", show_default=True, metavar="NAME", help="Its client ID."
)
@click.option("--username-env", default="VIESSMANN_USERNAME", show_default=True, metavar="NAME", help="Its user name.")
@password_option("VIESSMANN_PASSWORD")
@click.option("--base-url", help="Address of the cloud's interface, if it is not the usual one.")
@click.option("--login-url", help="Address of the cloud's login, if it is not the usual one.")
def viessmann(
    settings: str | None,
    data: str | None,
    source_id: str | None,
    everything: bool,
    client_id_env: str,
    username_env: str,
    password_env: str,
    base_url: str | None,
    login_url: str | None,
) -> None:
    """A Viessmann account: its devices, what each can tell, and what is left of the budget of requests.

    Costs the account one request, and a login if there is none in the data folder yet. Without a source in the
    settings, client ID, user name and password come from environment variables.
    """
    from functools import partial

    from hp_pipeline.landing.ledger import CallLedger
    from hp_pipeline.landing.store import Landing
    from hp_pipeline.settings.sources import ViessmannSource
    from hp_pipeline.sources.viessmann import open_source
    from hp_pipeline.sources.viessmann.probe import format_probe
    from hp_pipeline.sources.viessmann.probe import probe as ask

    loaded = _read_settings(settings, data)
    sources = _configured(loaded, ViessmannSource, "viessmann", source_id)
    if not sources:
        absent = [name for name in (client_id_env, username_env, password_env) if not os.environ.get(name)]
        if absent:
            raise click.ClickException(
                f"There is no viessmann source in the settings, and the environment has no {', '.join(absent)}. "
                "Make a client ID on app.developer.viessmann-climatesolutions.com and set them."
            )
        sources = [
            _made(
                ViessmannSource,
                id="viessmann",
                client_id=_secret(client_id_env),
                username=os.environ[username_env],
                password=_secret(password_env),
                base_url=base_url,
                login_url=login_url,
            )
        ]
    folder = locate(settings, data).data
    time_zone = loaded.site.time_zone if loaded else "UTC"
    with Landing(folder) as landing:
        for source in sources:
            cloud = open_source(source, folder=folder, open_ledger=partial(CallLedger, landing), time_zone=time_zone)
            click.echo(format_probe(_asked(ask(source, cloud)), everything=everything))


@probe.command()
@device
@click.option("--host", help="Host name or address of the broker.")
@click.option("--port", type=PORT, help="TCP port: 1883, with TLS 8883 without it.")
@click.option("--username", help="User name, where the broker asks for one.")
@password_option("MQTT_PASSWORD")
@click.option("--tls", is_flag=True, help="Encrypt.")
@click.option("--ca-file", metavar="FILE", help="Certificate of the authority that the broker's one is from.")
@click.option("--mqtt-version", type=click.Choice(["5", "3.1.1"]), help="MQTT version of the broker, 5 without it.")
@click.option("--topic", "topics", multiple=True, default=("#",), show_default=True, help="Topics to listen to.")
@click.option(
    "--listen", default=10.0, show_default=True, type=click.FloatRange(0.1, 3600), help="For how many seconds."
)
def mqtt(
    settings: str | None,
    data: str | None,
    source_id: str | None,
    everything: bool,
    host: str | None,
    port: int | None,
    username: str | None,
    password_env: str,
    tls: bool,
    ca_file: str | None,
    mqtt_version: str | None,
    topics: Sequence[str],
    listen: float,
) -> None:
    """A broker: listens for some seconds, lists topics with samples, and proposes entries for what it recognises.

    It listens as a guest of its own: what waits at the broker for the collector stays there.
    """
    from hp_pipeline.settings import MqttSource
    from hp_pipeline.sources.mqtt.probe import format_probe
    from hp_pipeline.sources.mqtt.probe import probe as ask
    from hp_pipeline.vocabulary.topics import check_filter

    for topic in topics:
        try:
            check_filter(topic)
        except ValueError as error:
            raise click.UsageError(f"--topic {topic}: {error}") from None
    directory = None
    if host is not None:
        made = _made(
            MqttSource,
            id="mqtt",
            host=host,
            port=port,
            version=mqtt_version,
            username=username,
            password=_secret(password_env) if username is not None else None,
            tls=tls,
            ca_file=ca_file,
            topics=[{"topic": "#"}],
        )
        sources = [made]
    else:
        loaded = _read_settings(settings, data)
        directory = loaded.directory if loaded else None
        sources = _configured(loaded, MqttSource, "mqtt", source_id)
    if not sources:
        raise _which("mqtt")
    for source in sources:
        found = _asked(ask(source, listen=timedelta(seconds=listen), wanted=topics, directory=directory))
        click.echo(format_probe(found, everything=everything, password_env=password_env))
        if not found.topics:
            raise SystemExit(1)


@probe.command()
@places
@click.option("--source", "source_id", metavar="ID", help="Id of the source, where there are several of the kind.")
@click.option("--days", default=7, show_default=True, help="How far back to look for series.")
def influxdb(settings: str | None, data: str | None, source_id: str | None, days: int) -> None:
    """An InfluxDB of the settings: series, last values, what profiles find, and names near to what they miss."""
    from hp_pipeline.settings import InfluxdbSource
    from hp_pipeline.sources.errors import SourceError
    from hp_pipeline.sources.probe import format_probe, probe_influxdb

    workspace = open_workspace(settings, data)
    sources = _configured(workspace.settings, InfluxdbSource, "influxdb", source_id)
    if not sources:
        raise click.ClickException("There is no influxdb source in the settings.")
    now = datetime.now(UTC)
    for source in sources:
        profiles = [workspace.settings.profile_of(entry) for _, entry in workspace.settings.inputs_of(source.id)]
        mappings = [mapping for profile in profiles for mapping in profile.mappings.values()]
        try:
            click.echo(format_probe(probe_influxdb(source, mappings, start=now - timedelta(days=days), stop=now)))
        except SourceError as error:
            raise click.ClickException(str(error)) from None
