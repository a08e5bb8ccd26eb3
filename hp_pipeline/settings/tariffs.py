"""What electricity costs. Money is in the site's currency, and windows are in the house's time."""

from collections.abc import Iterator, Mapping
from datetime import time
from typing import Annotated, Any

from pydantic import Field

from hp_pipeline.settings.model import (
    ClockTime,
    Day,
    Inconsistency,
    Number,
    SettingsModel,
    Text,
    mappings,
    read_clock,
    within,
)

_MINUTES_A_DAY = 24 * 60

Price = Annotated[Number, within(-10_000, 10_000)]


class TariffWindow(SettingsModel):
    """Hours of the day at which another price holds; it may go over midnight."""

    begins: ClockTime = Field(alias="from", description='First minute, "HH:MM" in the house\'s time.')
    ends: ClockTime = Field(alias="to", description='Where it ends, "HH:MM", exclusive.')
    price_per_kwh: Price = Field(description="Price in the window, currency per kWh.")

    def covers(self, local: time) -> bool:
        """Whether a time of day in the house's time lies in the window."""
        if self.begins < self.ends:
            return self.begins <= local < self.ends
        return local >= self.begins or local < self.ends

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """A window has a length."""
        begins = read_clock(written.get("from"))
        if begins and begins == read_clock(written.get("to")):
            yield Inconsistency(("to",), "another time than from; a price for the whole day has no window")


class PriceFiles(SettingsModel):
    """CSV files of prices that differ from hour to hour, each line with the begin of the time that its price holds."""

    files: Text = Field(description="The files, relative to this settings file; * stands for anything.")
    start: Text = Field("start", description="Column of the begin: ISO 8601 with an offset from UTC, or with Z.")
    price: Text = Field("price_per_kwh", description="Column of the price.")
    co2: Text | None = Field(None, description="Column of the CO2 intensity, g per kWh.")
    factor: Annotated[Number, within(-1000, 1000)] = Field(
        1.0, description="What the file's price is multiplied by: unit and taxes, such as 0.00119 for EUR/MWh and 19 %."
    )
    surcharge_per_kwh: Price = Field(0.0, description="What is added to every price then, currency per kWh.")


class Tariff(SettingsModel):
    """The price of electricity from a day on, until the next tariff starts."""

    name: Text = Field(description="Name of the tariff, for people.")
    valid_from: Day = Field(alias="from", description="First day (house's calendar) on which it holds.")
    price_per_kwh: Price | None = Field(None, description="Price outside of all windows, currency per kWh.")
    standing_charge_per_day: Annotated[Number, within(0, 10_000)] = Field(
        0.0, description="Fixed charge of the house, currency per day; its heat pumps share it."
    )
    windows: tuple[TariffWindow, ...] = Field((), description="Hours of the day with another price.")
    prices: PriceFiles | None = Field(None, description="Prices by the hour or less, in place of price_per_kwh.")
    co2_g_per_kwh: Annotated[Number, within(0, 10_000)] | None = Field(
        None, description="CO2 that a kWh of electricity stands for, g, where no file tells it."
    )

    def price_at(self, local: time) -> float | None:
        """Price per kWh, in the site's currency, at a time of day in the house's time; None where files tell it."""
        for window in self.windows:
            if window.covers(local):
                return window.price_per_kwh
        return self.price_per_kwh

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """One way to tell the price, and windows that do not overlap, so that each minute has one price."""
        if written.get("price_per_kwh") is None and written.get("prices") is None:
            yield Inconsistency(("price_per_kwh",), "a price, or prices in files", "nothing", at_key=True)
        if written.get("prices") is not None:
            for key in ("price_per_kwh", "windows"):
                if written.get(key):
                    yield Inconsistency((key,), "either it or prices in files, not both", at_key=True)
        owner: dict[int, int] = {}
        for index, window in mappings(written, "windows"):
            for item in TariffWindow.inconsistencies(window):
                yield item.below("windows", index)
            minutes = _minutes(window)
            taken = sorted({owner[minute] for minute in minutes if minute in owner})
            if taken:
                yield Inconsistency(("windows", index, "from"), f"a window that does not overlap windows[{taken[0]}]")
            owner.update((minute, index) for minute in minutes if minute not in owner)


def _minutes(window: Mapping[str, Any]) -> list[int]:
    """The minutes of the day that a window takes; none when it is not readable."""
    begins, ends = read_clock(window.get("from")), read_clock(window.get("to"))
    if begins is None or ends is None:
        return []
    first = begins.hour * 60 + begins.minute
    length = (ends.hour * 60 + ends.minute - first) % _MINUTES_A_DAY
    return [(first + offset) % _MINUTES_A_DAY for offset in range(length)]
