"""What each fault costs, protocol by protocol and pace by pace: a fortnight in which something else goes wrong every
local day.

Between the days with faults lie some without, and the day on which summer time begins. What is asked of each day: its
heat, electricity and COP within what a day without faults may be off by, and within what nobody saw where something
was unseen; and what was wrong with a counter stands in the ledger.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import polars as pl

from benchmarks.report import Line, Report, shown
from benchmarks.walking import (
    ELECTRICITY,
    GROSS,
    HEAT,
    ISG_ALONE,
    LUXTRONIK,
    MQTT,
    VIESSMANN,
    Device,
    Event,
    Served,
    Walked,
    Way,
    fault,
    published,
    walk,
)
from hp_pipeline.simulation.devices.luxtronik import LuxtronikServer
from hp_pipeline.simulation.devices.modbus import SimulatedModbus, StiebelIsg
from hp_pipeline.simulation.devices.mqtt import EspAltherma, Outgoing, Publisher
from hp_pipeline.simulation.devices.shelly import ShellyServer
from hp_pipeline.simulation.devices.troubled import CounterTrouble, Trouble, TroubledHouse
from hp_pipeline.simulation.devices.viessmann import ViessmannCloudServer
from hp_pipeline.simulation.devices.world import House
from hp_pipeline.simulation.house import simulate
from hp_pipeline.simulation.parameters import DAIKIN_ALTHERMA
from hp_pipeline.simulation.scoring import BUDGETS, ESPALTHERMA_GOALS
from hp_pipeline.simulation.weather import simulate_weather

FIRST: Final = datetime(2024, 3, 17, 23, tzinfo=UTC)
"""Local midnight of the first day; day 13 is the one on which summer time begins (31 March, 23 hours)."""
SETTLING: Final = timedelta(days=3)
DAYS: Final = 18
SELDOM: Final = timedelta(minutes=5)
OFTEN: Final = timedelta(seconds=30)
COUNTED: Final = "^(electrical|thermal)_energy_"
"""The counters that are looked at: that of a backup heater rests for days, so that whatever it then shows it can have
counted."""


Done = Callable[[datetime, timedelta], Sequence[Event]]
"""What is done to a device from a moment on, where it is polled at a pace."""


@dataclass(frozen=True)
class FaultDay:
    """One day of the fortnight.

    Attributes:
        fault: in words.
        day: number of the local day.
        hour: when it begins, hours after its midnight.
        events: what is done to the devices, by source.
        trouble: what happens to the counters of the house.
        ledger: kinds of the ledger that have to be found on this day, each on every counter that counts then; with ?
            behind those that may be, and need not.
        unseen_h: for how long nobody saw what was counted, beside the interval between two polls.
        of: which energies may lack what was unseen.
    """

    fault: str
    day: int
    hour: float = 10.0
    events: Mapping[str, Done] = field(default_factory=dict)
    trouble: tuple[CounterTrouble, float] | None = None
    ledger: frozenset[str] = frozenset()
    unseen_h: float = 0.0
    of: frozenset[str] = frozenset()

    @property
    def moment(self) -> datetime:
        """When it begins."""
        return midnight(self.day) + timedelta(hours=self.hour)


def midnight(day: int) -> datetime:
    """Begin of a local day of the fortnight; from day 14 on it is summer time."""
    return FIRST + timedelta(days=day, hours=-1 if day >= 14 else 0)


ALL: Final = frozenset({HEAT, ELECTRICITY})


class Metered(EspAltherma):
    """ESPAltherma with an electricity and a heat meter whose counters it sends along.

    Attributes:
        silent: labels that it does not send, as after an update that renamed them.
    """

    def __init__(self, house: House) -> None:
        super().__init__(house)
        self._metered = house
        self.silent: set[str] = set()

    def values(self, moment: datetime) -> dict[str, float | str]:
        """All labels at a moment."""
        state = self._metered.at(moment)
        told = super().values(moment) | {
            "Electricity meter (kWh)": round(state.number("electrical_energy_total"), 2),
            "Heat meter (kWh)": round(state.number("thermal_energy_total"), 2),
        }
        return {label: value for label, value in told.items() if label not in self.silent}

    def messages(self, moment: datetime, clock_offset: timedelta = timedelta(0)) -> list[Outgoing]:
        """The object of a moment."""
        return [Outgoing("espaltherma/ATTR", json.dumps(self.values(moment)), qos=1)]


METERED: Final = Way(
    "MQTT: ESPAltherma with meters",
    DAIKIN_ALTHERMA,
    {
        "mqtt": Device(
            "mqtt",
            "espaltherma_mqtt",
            SELDOM,
            partial(published, make=Metered, topic="espaltherma/ATTR"),
            MQTT,
            {
                "electrical_energy_total": {
                    "select": r"/Electricity meter \(kWh\)/", "unit": "kWh", "resolution": 0.01,
                },
                "thermal_energy_total": {"select": r"/Heat meter \(kWh\)/", "unit": "kWh", "resolution": 0.01},
            },
        )
    },
    ESPALTHERMA_GOALS,
    SELDOM,
    replace(BUDGETS["espaltherma"], thermal_step_kwh=0.01, electrical_step_kwh=0.01),
    heat=GROSS,
)  # fmt: skip


# ---- what is done to devices ------------------------------------------------------------------------------------


def _made(
    source: str, name: str, minutes: float = 5, value: float = 0.0, then: tuple[str, float] | None = None
) -> dict[str, Done]:
    """A fault of a device at each poll for a while, and two hours later perhaps another one."""

    def events(moment: datetime, pace: timedelta) -> list[Event]:
        faults = [(0.0, name, minutes), *([] if then is None else [(2.0, *then)])]
        return [
            fault(hour, source, what, moment, times=max(1, round(timedelta(minutes=lasts) / pace)), value=value)
            for hour, what, lasts in faults
        ]

    return {source: events}


def _away(source: str, minutes: float) -> dict[str, Done]:
    """A device that cannot be reached for a while."""

    def gone(served: Served, *, pace: timedelta) -> None:
        server = served.server
        if isinstance(server, ViessmannCloudServer):
            server.stop()
        elif isinstance(server, LuxtronikServer | ShellyServer):
            served.doing.append(asyncio.ensure_future(server.refuse_connections()))
        elif isinstance(server, SimulatedModbus):
            served.doing.append(asyncio.ensure_future(server.refuse()))
        elif isinstance(server, Publisher):
            server.faults.inject("stall", times=round(timedelta(minutes=minutes) / pace))

    def back(served: Served) -> None:
        server = served.server
        if isinstance(server, ViessmannCloudServer):
            server.listen()
        elif isinstance(server, LuxtronikServer | ShellyServer):
            served.doing.append(asyncio.ensure_future(server.start()))
        elif isinstance(server, SimulatedModbus):
            served.doing.append(asyncio.ensure_future(server.accept()))

    return {
        source: lambda moment, pace: [
            Event(moment, source, partial(gone, pace=pace)),
            Event(moment + timedelta(minutes=minutes), source, back),
        ]
    }


def _registers(addresses: Sequence[int], minutes: float) -> dict[str, Done]:
    """Registers of an ISG that say 0x8000 for a while."""

    def change(served: Served, *, gone: bool) -> None:
        device = served.device
        assert isinstance(device, StiebelIsg)
        kept = set(device.missing)
        device.missing = frozenset(kept | set(addresses) if gone else kept - set(addresses))

    return {
        "isg": lambda moment, pace: [
            Event(moment, "isg", partial(change, gone=True)),
            Event(moment + timedelta(minutes=minutes), "isg", partial(change, gone=False)),
        ]
    }


def _isg_reset(moment: datetime, pace: timedelta) -> list[Event]:
    def reset(served: Served) -> None:
        assert isinstance(served.device, StiebelIsg)
        served.device.resets.append(served.clock.now())

    return [Event(moment, "isg", reset)]


def _labels(labels: Sequence[str], minutes: float) -> dict[str, Done]:
    """Labels that are not sent for a while."""

    def change(served: Served, *, gone: bool) -> None:
        assert isinstance(served.device, Metered)
        served.device.silent = set(labels) if gone else set()

    return {
        "mqtt": lambda moment, pace: [
            Event(moment, "mqtt", partial(change, gone=True)),
            Event(moment + timedelta(minutes=minutes), "mqtt", partial(change, gone=False)),
        ]
    }


LATE, SPIKE, SENTINEL, RESET, OVER, FROZEN, FACTOR = CounterTrouble


def _counters(*leave_out: CounterTrouble, held: bool = False) -> list[FaultDay]:
    """The troubles of counters, a day each; `held`: the source waits whether a second poll says the same of what is far
    off."""
    days = [
        FaultDay("late start of a counter", 1, 0.0, trouble=(LATE, 6 * 60), unseen_h=6.0, of=ALL),
        FaultDay("spike", 3, trouble=(SPIKE, 12.0), ledger=frozenset({"spike?" if held else "spike"})),
        FaultDay("sentinel of a counter", 4, trouble=(SENTINEL, 20.0), ledger=frozenset({"sentinel"})),
        FaultDay("factor ×10", 5, trouble=(FACTOR, 0.0), ledger=frozenset({"factor"})),
        FaultDay("frozen counter, 2 h", 6, trouble=(FROZEN, 120.0)),
        FaultDay("roll-over", 7, trouble=(OVER, 0.0), ledger=frozenset({"reset|roll_over"}), of=ALL),
        FaultDay("counter reset", 15, trouble=(RESET, 0.0), ledger=frozenset({"reset"}), of=ALL),
    ]
    return [day for day in days if day.trouble is None or day.trouble[0] not in leave_out]


_DST: Final = FaultDay("day of 23 hours", 13)
_NONE: Final = tuple(FaultDay(f"none, day {day}", day) for day in (2, 16))
LUXTRONIK_DAYS: Final = (
    *_counters(),
    FaultDay("outage, 40 min", 8, events=_away("luxtronik", 40), ledger=frozenset({"outage?"})),
    FaultDay("device clock off by 1 h", 9, events=_made("luxtronik", "clock_offset", 120, 3600.0)),
    FaultDay("missing fields, 1 h", 10, events=_made("luxtronik", "fewer_values", 60), ledger=frozenset({"outage?"})),
    FaultDay("sentinel of sensors", 11, events=_made("luxtronik", "sentinel", 20)),
    FaultDay(
        "garbage, busy",
        12,
        events=_made("luxtronik", "garbage", 15, 3004.0, then=("busy", 20)),
        ledger=frozenset({"outage?"}),
    ),
    _DST,
    *_NONE,
)
MODBUS_DAYS: Final = (
    *_counters(SENTINEL, RESET, OVER, held=True),
    FaultDay("sentinel of counters, 0x8000", 4, events=_registers([*range(3500, 3516)], 20)),
    FaultDay("counter reset", 15, events={"isg": _isg_reset}, ledger=frozenset({"reset"}), of=ALL),
    FaultDay("outage, 40 min", 8, events=_away("isg", 40), ledger=frozenset({"outage?"})),
    FaultDay("sentinel of everything, 0x8000", 9, events=_made("isg", "sentinel", 60)),
    FaultDay("missing fields, 1 h", 10, events=_registers([541, 542, 547, 3510, 3511, 3512], 60)),
    FaultDay("garbage, busy", 12, events=_made("isg", "garbage", 15, then=("busy", 20)), ledger=frozenset({"outage?"})),
    _DST,
    *_NONE,
)
VIESSMANN_DAYS: Final = (
    *_counters(OVER),
    FaultDay("outage, 40 min", 8, events=_away("vicare", 40) | _away("shelly", 40), ledger=frozenset({"outage?"})),
    FaultDay(
        "device clock off by 1 h",
        9,
        events=_made("vicare", "clock_offset", 30) | _made("shelly", "clock_offset", 30, 3600.0),
    ),
    FaultDay("missing fields, 30 min", 10, events=_made("vicare", "odd_values", 30) | _made("shelly", "starting", 30)),
    FaultDay("duplicates and out of order", 11, events=_made("vicare", "duplicate", 15, then=("out_of_order", 15))),
    FaultDay("stale cloud, 1 h", 12, events=_made("vicare", "frozen", 60)),
    FaultDay("429 and quota", 14, events=_made("vicare", "rate_limit", 5), ledger=frozenset({"outage?"})),
    _DST,
    *_NONE,
)  # fmt: skip
MQTT_DAYS: Final = (
    *_counters(),
    FaultDay("outage, 40 min", 8, events=_away("mqtt", 40), ledger=frozenset({"outage?"})),
    FaultDay(
        "missing fields, 1 h",
        10,
        events=_labels(["Electricity meter (kWh)", "Heat meter (kWh)", "Flow sensor (l/min)"], 60),
    ),
    FaultDay("duplicates", 11, events=_made("mqtt", "duplicate", 60)),
    FaultDay("out of order", 12, events=_made("mqtt", "out_of_order", 60)),
    FaultDay("garbage", 14, events=_made("mqtt", "garbage", 20)),
    _DST,
    *_NONE,
)  # fmt: skip
FORTNIGHTS: Final[Mapping[str, tuple[Way, Sequence[FaultDay]]]] = {
    "Luxtronik": (LUXTRONIK.polled_every(SELDOM), LUXTRONIK_DAYS),
    "Luxtronik, every 30 s": (LUXTRONIK.polled_every(OFTEN), LUXTRONIK_DAYS),
    "Modbus (ISG)": (ISG_ALONE.polled_every(SELDOM), MODBUS_DAYS),
    "Modbus (ISG), every 30 s": (ISG_ALONE.polled_every(OFTEN), MODBUS_DAYS),
    "Viessmann + Shelly": (VIESSMANN.polled_every(SELDOM, only="shelly"), VIESSMANN_DAYS),
    "MQTT": (METERED.polled_every(SELDOM), MQTT_DAYS),
    "MQTT, every 30 s": (METERED.polled_every(OFTEN), MQTT_DAYS),
}
"""Every 5 min where nothing else is said: the quota of Viessmann's cloud allows no more."""


@dataclass(frozen=True)
class Suffered:
    """A fortnight of one protocol, and what became of it.

    Attributes:
        protocol: in words.
        days: what went wrong.
        walked: what the pipeline made of it.
    """

    protocol: str
    days: Sequence[FaultDay]
    walked: Walked

    def verdicts(self) -> pl.DataFrame:
        """One row for each day: fault, heat_off, electricity_off (kWh, found less true), heat_may, electricity_may
        (kWh, as far as it may lack; more it may never be than `base`), cop_off_percent, cop_may_percent, ledger (kinds
        found), wanted (kinds), recall (of the counters that should stand there), unexpected (lines of other kinds),
        met."""
        return pl.DataFrame([self._verdict(day) for day in sorted(self.days, key=lambda day: day.day)])

    def lines(self) -> list[Line]:
        """For each day how far heat, electricity and COP are off, and what they may be; recall and precision."""
        return _suffered_lines(self)

    def _verdict(self, day: FaultDay) -> dict[str, object]:
        true, found = (rows.filter(period=self._date(day)).row(0, named=True) for rows in self.walked.periods("daily"))
        off, may, met = {}, {}, True
        for column in (HEAT, ELECTRICITY):
            base, unseen = self._base(column, true[column]), self._unseen(day, column)
            off[column] = found[column] - true[column]
            may[column] = base + unseen
            met &= -may[column] <= off[column] <= base
        cop = 100 * (found["cop"] / (true[HEAT] / true[ELECTRICITY]) - 1) if found["cop"] is not None else None
        cop_may = 100 * sum(may[column] / true[column] for column in may)
        kinds, recall, unexpected = self._ledger(day)
        met &= (cop is None or abs(cop) <= cop_may) and recall == 1.0 and unexpected == 0
        return {
            "fault": day.fault,
            "heat": true[HEAT],
            "electricity": true[ELECTRICITY],
            "heat_off": off[HEAT],
            "heat_may": may[HEAT],
            "electricity_off": off[ELECTRICITY],
            "electricity_may": may[ELECTRICITY],
            "cop_off_percent": cop,
            "cop_may_percent": cop_may,
            "ledger": ", ".join(sorted(kinds)),
            "wanted": ", ".join(sorted(kind for kind in day.ledger if not kind.endswith("?"))),
            "recall": recall,
            "unexpected": unexpected,
            "met": met,
        }

    def _date(self, day: FaultDay) -> Any:
        return (midnight(day.day) + timedelta(hours=12)).date()

    def _base(self, column: str, true_kwh: float) -> float:
        """What a day without faults may be off by: the source's gate, or a step of each of its two counters."""
        goals, budget = self.walked.way.goals, self.walked.way.budget
        if column == HEAT:
            return max(goals.day_heat_percent / 100 * true_kwh, 2 * budget.thermal_step_kwh)
        return max(goals.day_electricity_percent / 100 * true_kwh, 2 * budget.electrical_step_kwh)

    def _unseen(self, day: FaultDay, column: str) -> float:
        """What happened while nobody saw it: from the last poll before the fault until all is seen again."""
        if column not in day.of:
            return 0.0
        house = House(self.walked.run)
        counter = {HEAT: "thermal_energy_total", ELECTRICITY: "electrical_energy_total"}[column]
        stop = day.moment + timedelta(hours=day.unseen_h) + self.walked.way.slowest
        return house.counter(counter, stop) - house.counter(counter, day.moment - self.walked.way.slowest)

    def _ledger(self, day: FaultDay) -> tuple[set[str], float, int]:
        """Kinds that stand in the ledger of the energies on a day, the share of the counters that should stand there
        and do, and the number of lines that should not."""
        begin, end = midnight(day.day), midnight(day.day + 1)
        energy = pl.col("signal").str.contains(COUNTED)
        lines = self.walked.tables["counter_ledger"].filter(
            energy, pl.col("time").is_between(begin, end, closed="left")
        )
        counted = self.walked.tables["counters"].filter(
            energy, pl.col("end").is_between(begin - timedelta(days=1), day.moment)
        )
        counters = set(counted.select("source", "signal").unique().iter_rows())
        wanted = [kind.split("|") for kind in day.ledger if not kind.endswith("?")]
        allowed = {one for kind in day.ledger for one in kind.rstrip("?").split("|")}
        due = hit = 0
        for kinds in wanted:
            stand = set(lines.filter(pl.col("kind").is_in(kinds)).select("source", "signal").unique().iter_rows())
            due, hit = due + len(counters), hit + len(counters & stand)
        unexpected = lines.filter(~pl.col("kind").is_in(list(allowed))).height
        return set(lines["kind"]), hit / due if due else 1.0, unexpected


def suffer(protocol: str, only: Sequence[FaultDay] | None = None) -> Suffered:
    """Live the fortnight of a protocol, or only some days of it, up to the last of them."""
    way, days = FORTNIGHTS[protocol]
    last = DAYS
    if only is not None:
        days, last = only, 1 + max(day.day for day in only)
    stop = midnight(last) + timedelta(hours=2)
    weather = simulate_weather(FIRST - SETTLING, stop, step_s=10, seed=3)
    run = simulate(way.parameters, weather, 3, settling=SETTLING)
    troubles = [
        Trouble(day.trouble[0], day.moment, day.moment + timedelta(minutes=day.trouble[1]))
        for day in sorted(days, key=lambda day: day.day)
        if day.trouble is not None
    ]
    events = [event for day in days for done in day.events.values() for event in done(day.moment, way.slowest)]
    return Suffered(protocol, days, walk(way, run, events, TroubledHouse(run, troubles)))


PREFIX: Final = "Faults of "
"""Begin of all lines of a fortnight."""


def _suffered_lines(suffered: Suffered) -> list[Line]:
    """For each day how far heat, electricity and COP are off, with what they may be off by; recall and precision."""
    rows = suffered.verdicts()
    found = []
    for row in rows.iter_rows(named=True):
        begin = f"{PREFIX}{suffered.protocol} · {row['fault']} · "
        for what, column in (("heat", "heat"), ("electricity", "electricity")):
            off = round(row[f"{column}_off"], 3)
            found.append(Line(begin + what, abs(off), "kWh", at_most=round(row[f"{column}_may"], 3), note=f"{off:+g}"))
        if row["cop_off_percent"] is not None:
            found.append(
                Line(
                    begin + "COP",
                    round(abs(row["cop_off_percent"]), 3),
                    "%",
                    at_most=round(row["cop_may_percent"], 2),
                )
            )
        found.append(
            Line(
                begin + "ledger",
                round(row["recall"], 3),
                "",
                at_least=1.0 if row["wanted"] else None,
                note=row["ledger"],
            )
        )
    lines_of = suffered.walked.tables["counter_ledger"].filter(pl.col("signal").str.contains(COUNTED)).height
    wrong = int(rows["unexpected"].sum())
    precision = 1.0 if not lines_of else round(1 - wrong / lines_of, 4)
    note = f"{lines_of} lines, {wrong} of them not made by a fault"
    found.append(Line(f"{PREFIX}{suffered.protocol} · ledger: precision", precision, "", at_least=0.99, note=note))
    return found


def table(report: Report) -> str:
    """The days of all fortnights as a table."""
    rows = [
        "| protocol | fault | heat off | may | electricity off | may | COP off, % | in the ledger | recall | |",
        "|---|---|--:|--:|--:|--:|--:|---|--:|---|",
    ]
    days: dict[tuple[str, str], dict[str, Line]] = {}
    after = []
    for line in report.lines:
        if not line.what.startswith(PREFIX):
            continue
        protocol, fault_name, *what = line.what.removeprefix(PREFIX).split(" · ")
        if what:
            days.setdefault((protocol, fault_name), {})[what[0]] = line
        else:
            after.append(f"- {protocol}: {fault_name} {shown(line.value)} ({line.note}).")
    for (protocol, fault_name), told in days.items():
        met = all(line.is_met is not False for line in told.values())
        heat, electricity, ledger = (told[name] for name in ("heat", "electricity", "ledger"))
        cop = f"{shown(told['COP'].value)} {told['COP'].target}" if "COP" in told else "null"
        cells = [
            protocol,
            fault_name,
            heat.note,
            f"{heat.at_most:g}",
            electricity.note,
            f"{electricity.at_most:g}",
            cop,
            ledger.note or "–",
            shown(ledger.value) if ledger.at_least else "",
            "met" if met else "**MISSED**",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join([*rows, "", *after])
