"""What the pipeline hands out by itself."""

from datetime import time

from pydantic import Field

from hp_pipeline.settings.model import ClockTime, Flag, SettingsModel


class CsvOutput(SettingsModel):
    """CSV files of finished calendar days and ISO weeks, under `exports/` of the data folder."""

    daily: Flag = Field(True, description="Write a file for each calendar day.")
    weekly: Flag = Field(True, description="Write a file for each ISO week.")
    at: ClockTime = Field(time(7), description='When they are written, "HH:MM" in the house\'s time.')


class Outputs(SettingsModel):
    """What the pipeline hands out by itself."""

    csv: CsvOutput = Field(default_factory=CsvOutput, description="CSV files by day and by week.")
