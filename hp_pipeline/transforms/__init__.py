"""From readings to figures: pure functions on polars frames.

    readings ── decode ──▶ signals ── frames ──▶ operation ──▶ segments ──▶ sessions, cycles, defrosts
                                         └──────────┴──▶ hourly ──▶ daily ──▶ weekly, monthly, yearly ──▶ all_time

Nothing here knows Dagster, files, sockets or clocks. Every sum is a sum of whole numbers (millijoules, microseconds),
so a figure does not depend on how the work was cut: a day alone, a month at once, in any order, gives the same bits.
"""
