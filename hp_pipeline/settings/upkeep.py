"""How often the pipeline works, and how long it keeps what it works on."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from hp_pipeline.settings.durations import Duration, between
from hp_pipeline.settings.model import Number, SettingsModel, within


class Automation(SettingsModel):
    """The pace of what the pipeline does by itself."""

    beat: Annotated[Duration, between("1min", "1d")] = Field(
        timedelta(minutes=10),
        description="How often readings of live sources come to the tables and figures; each time writes a megabyte.",
    )
    full_run: Annotated[Duration, between("1h", "7d")] = Field(
        timedelta(hours=6),
        description="How often that is a run over assets, with all checks, previews and pictures: tens of megabytes.",
    )


class LandingRules(SettingsModel):
    """Bounds of the landing, in which live readings wait for the tables."""

    retention: Annotated[Duration, between("1d", "90d")] = Field(
        timedelta(days=3), description="How long polls are kept after their readings are in the tables."
    )
    disk_limit: Annotated[Number, within(0.5, 0.99)] = Field(
        0.9, description="Share of the disk in use from which on raw answers and failed polls are thinned."
    )
