"""Readings of counters → what was counted between them, to the last step, and what was made of readings that lie.

One classifier for every counter that counts up: for good, for a day or a year, in steps of 10 mWh or of 1 kWh. It
follows a *mark*, the number last believed, and takes what lies between the mark and the next believed reading as
counted. Where a reading is not what the counter can show next (it falls, or rises faster than `most_per_hour` since the
counter last counted, plus one step), the readings around it are weighed together: of all ways to explain them the least
far-fetched is taken (`path`), so a verdict rests on the readings after it as much as on those before.

What is promised, for readings every few seconds to minutes:

* A counter that only counts up is counted exactly, at any pace, over any silence.
* A fall of at most one step is no reset: the mark stays until it is passed (a meter that flutters between two numbers).
* A fall that is made up again is a dip or a torn read and costs nothing: within three readings in any case; within an
  hour when no silence lies before it, however it climbs (a heat meter that counts defrosts backwards is counted net);
  within four hours when it comes back by a rise that the counter cannot make from below.
* A fall to less than can have been counted since the reading before it (half a unit more, and at most half of what it
  showed) that stays for more than three readings is a reset: what it shows is counted. A counter of the day that falls
  within `LATE` of local midnight needs no witness, and one that nobody read around it has begun again.
* A fall behind a silence (three times as long as readings are usually apart, and two minutes at least) that climbs on
  for more than three readings is a rollback, and so is one without a silence that stays for more than seven: nothing is
  taken for the fall, all for what is counted after it. A rise beyond what can be, that stays for more than five
  readings, is a jump: likewise.
* A number off by 3, 10, 100 or 1000, to within its resolution, is another unit when it stays: what follows is read in
  the unit before. When it does not stay, it is a dip or a spike.
* Readings around two such events closer together than `HORIZON` are given the least far-fetched explanation, which need
  not be the true one: a number that shows 0 twice, minutes apart, may have begun again at the first.

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
