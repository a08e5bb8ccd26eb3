"""Readings of counters → what was counted between them, to the last step, and what was made of readings that lie.

One classifier for every counter that counts up: for good, for a day or a year, in steps of 10 mWh or of 1 kWh. It
follows a *mark*, the number last believed, and takes what lies between the mark and the next believed reading as
counted. Where a reading is not what the counter can show next (it falls, or rises faster than `most_per_hour` since the
counter last counted, plus one step), the readings around it are weighed together: of all ways to explain them the least
far-fetched is taken (`path`), so a verdict rests on the readings after it as much as on those before.

What is promised, for readings every few seconds to minutes:

* A counter that only counts up is counted exactly, at any pace, over any silence.
* A fall of at most one step is no reset: the mark stays until it is passed (a meter that flutters between two numbers).
* A fall that is made up again within `HORIZON` by a rise that the counter cannot make from below, or by readings of
  less than `FIRM` readings' number, is a dip or a torn read: it costs nothing. So is one without a silence before it
  that is made up within `HORIZON`, however it climbs: a heat meter that counts defrosts backwards is counted net.
* A fall to less than can have been counted since the reading before it (and to at most half) that stays for more than
  three readings is a reset: what it shows is counted. At local midnight ± `LATE` a counter of the day needs no witness.
* A fall behind a silence that climbs on as a counter does for more than three readings is a rollback: nothing is taken
  for the fall, all for the rest. A rise beyond what can be that stays for more than five readings is a jump: likewise.
* A number off by 3, 10, 100 or 1000 to within a fiftieth is another unit when it stays, and a dip or spike when not.

Numbers are counted in whole millionths of the signal's unit (mWh for kWh), so nothing is lost in adding.
"""

from hp_pipeline.transforms.counters.classify import Classified, Day, classify
from hp_pipeline.transforms.counters.counting import DEVICE_POINT, Counted, Counter, View, count, counters_of
from hp_pipeline.transforms.counters.path import FIRM, HORIZON, LATE, Bounds
from hp_pipeline.transforms.counters.runs import PER_UNIT, Mark

__all__ = [
    "DEVICE_POINT",
    "FIRM",
    "HORIZON",
    "LATE",
    "PER_UNIT",
    "Bounds",
    "Classified",
    "Counted",
    "Counter",
    "Day",
    "Mark",
    "View",
    "classify",
    "count",
    "counters_of",
]
