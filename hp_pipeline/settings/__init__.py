"""What the owner wrote: the settings file `hp.yaml` as typed values, and what is wrong with it.

`load_settings` gives `Settings`, or a `SettingsError` with every mistake by line. Secrets are taken from the
environment and are in no text, dump, fingerprint or message.
"""

from hp_pipeline.settings.durations import Duration
from hp_pipeline.settings.house import Circuit, Consumer, HeatPump, Input, Meter, Site
from hp_pipeline.settings.loading import check_settings, data_dir, load_settings, settings_path
from hp_pipeline.settings.mistakes import Mistake, SettingsError, format_mistakes
from hp_pipeline.settings.outputs import CsvOutput, Outputs
from hp_pipeline.settings.rules import Rules
from hp_pipeline.settings.settings import Settings, settings_json_schema
from hp_pipeline.settings.solar import Collector, ImmersionHeater, PelletStove, SolarSystem, Tank
from hp_pipeline.settings.sources import (
    Columns,
    FilesSource,
    InfluxdbSource,
    LuxtronikSource,
    MqttAvailability,
    MqttSource,
    MqttTopic,
    SeriesSelector,
    ShellySource,
    Source,
    ViessmannSource,
)
from hp_pipeline.settings.tariffs import PriceFiles, Tariff, TariffWindow
from hp_pipeline.settings.upkeep import Automation, LandingRules

__all__ = [
    "Automation",
    "Circuit",
    "Collector",
    "Columns",
    "Consumer",
    "CsvOutput",
    "Duration",
    "FilesSource",
    "HeatPump",
    "ImmersionHeater",
    "InfluxdbSource",
    "Input",
    "LandingRules",
    "LuxtronikSource",
    "Meter",
    "Mistake",
    "MqttAvailability",
    "MqttSource",
    "MqttTopic",
    "Outputs",
    "PelletStove",
    "PriceFiles",
    "Rules",
    "SeriesSelector",
    "Settings",
    "SettingsError",
    "ShellySource",
    "Site",
    "SolarSystem",
    "Source",
    "Tank",
    "Tariff",
    "TariffWindow",
    "ViessmannSource",
    "check_settings",
    "data_dir",
    "format_mistakes",
    "load_settings",
    "settings_json_schema",
    "settings_path",
]
