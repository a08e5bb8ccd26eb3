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
  showed) that stays for more than three readings is a reset: what it shows is counted. A smaller fall near 0 is counted
  from where it fell to, so that less than it had shown is lost.
* A counter of the day begins again once for each local midnight, within `LATE` of it, and needs no witness for it. One
  that nobody read around it, or last while it still showed more than can be of the new day, has begun again, unless it
  shows the very same number. A lie to 0 that ends within `LATE` before it begins again may be taken for it; one that
  stood still over midnight for longer than `LATE` has fallen back.
* A fall behind a silence (three times as long as readings are usually apart, and two minutes at least) that climbs on
  for more than three readings is a rollback, and so is one without a silence that stays for more than seven: nothing is
  taken for the fall, all for what is counted after it. A rise beyond what can be, that stays for more than five
  readings, is a jump: likewise.
* A number off by 10, 100 or 1000, to within its last digit and what can have been counted meanwhile, is another unit
  when it stays, behind a silence too: what follows is read in the unit before. So is one off by 3 without a silence.
  What can have been counted must be at most a twentieth of what it showed, and the last digit a fiftieth: a rollback
  that loses less than 89 % is never another unit, and a greater one only where it hits such a tenth. When the number
  does not stay, it is a dip or a spike.
* A roll-over needs to be told by the profile, or is guessed at 1e4, 1e5, … and 2^16, 2^31, 2^32 steps (1000 units at
  least) where what was counted meanwhile is at most a thousandth of that.
* Lies of up to three readings, and freezes, eight readings apart are each told apart, and so is what lasts where
  `HORIZON` lies between it and anything else. Nearer than that, readings are given the least far-fetched explanation,
  which need not be the true one: of histories with up to four events 12 to 16 readings apart it was for 99 % where
  only lies came near what lasts, for 95 % where anything did (`test_counters`).

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
