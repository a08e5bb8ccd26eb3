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


class Tariff(SettingsModel):
    """The price of electricity from a day on, until the next tariff starts."""

    name: Text = Field(description="Name of the tariff, for people.")
    valid_from: Day = Field(alias="from", description="First day (house's calendar) on which it holds.")
    price_per_kwh: Price = Field(description="Price outside of all windows, currency per kWh.")
    standing_charge_per_day: Annotated[Number, within(0, 10_000)] = Field(
        0.0, description="Fixed charge, currency per day."
    )
    windows: tuple[TariffWindow, ...] = Field((), description="Hours of the day with another price.")

    def price_at(self, local: time) -> float:
        """Price per kWh, in the site's currency, at a time of day in the house's time."""
        for window in self.windows:
            if window.covers(local):
                return window.price_per_kwh
        return self.price_per_kwh

    @classmethod
    def inconsistencies(cls, written: Mapping[str, Any]) -> Iterator[Inconsistency]:
        """Windows do not overlap, so that each minute has one price."""
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
