"""Units that devices send, and how they become the canonical ones."""

from __future__ import annotations

# unit as written → (quantity, factor, offset): canonical = value * factor + offset, in the quantity's first unit
_UNITS: dict[str, tuple[str, float, float]] = {
    "W": ("power", 1.0, 0.0),
    "kW": ("power", 1000.0, 0.0),
    "MW": ("power", 1e6, 0.0),
    "kWh": ("energy", 1.0, 0.0),
    "Wh": ("energy", 1e-3, 0.0),
    "MWh": ("energy", 1e3, 0.0),
    "kJ": ("energy", 1 / 3600, 0.0),
    "MJ": ("energy", 1 / 3.6, 0.0),
    "GJ": ("energy", 1000 / 3.6, 0.0),
    "l/h": ("flow", 1.0, 0.0),
    "l/min": ("flow", 60.0, 0.0),
    "l/s": ("flow", 3600.0, 0.0),
    "m³/h": ("flow", 1000.0, 0.0),
    "m3/h": ("flow", 1000.0, 0.0),
    "°C": ("temperature", 1.0, 0.0),
    "degC": ("temperature", 1.0, 0.0),
    "°F": ("temperature", 5 / 9, -160 / 9),
    "degF": ("temperature", 5 / 9, -160 / 9),
    "K": ("temperature difference", 1.0, 0.0),
    "Hz": ("frequency", 1.0, 0.0),
    "rpm": ("frequency", 1 / 60, 0.0),
    "rps": ("frequency", 1.0, 0.0),
    "%": ("share", 1.0, 0.0),
    "A": ("current", 1.0, 0.0),
    "mA": ("current", 1e-3, 0.0),
    "V": ("voltage", 1.0, 0.0),
    "bar": ("pressure", 1.0, 0.0),
    "mbar": ("pressure", 1e-3, 0.0),
    "kPa": ("pressure", 0.01, 0.0),
    "h": ("time", 1.0, 0.0),
    "min": ("time", 1 / 60, 0.0),
    "s": ("time", 1 / 3600, 0.0),
    "count": ("count", 1.0, 0.0),
}
UNITS = tuple(_UNITS)


def conversion(unit: str, canonical: str) -> tuple[float, float]:
    """(factor, offset) with `canonical = value * factor + offset`.

    Between a temperature and a temperature difference only the scale converts: a spread told in °C is one in K, and
    a temperature told in K is absolute.

    Raises:
        ValueError: unknown unit, or one that measures something else.
    """
    for name in (unit, canonical):
        if name not in _UNITS:
            raise ValueError(f"unknown unit {name!r}")
    quantity, factor, offset = _UNITS[unit]
    wanted, canonical_factor, canonical_offset = _UNITS[canonical]
    if wanted == "temperature difference" and quantity == "temperature":
        return factor, 0.0
    if wanted == "temperature" and unit == "K":
        return 1 / canonical_factor, (-273.15 - canonical_offset) / canonical_factor
    if quantity != wanted:
        raise ValueError(f"{unit!r} is a unit of {quantity}, not of {wanted} ({canonical})")
    return factor / canonical_factor, (offset - canonical_offset) / canonical_factor
