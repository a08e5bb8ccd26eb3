"""The session rule once more, in plain Python loops: slow, and written to be read beside the rule's eight sentences.

It knows nothing of polars and shares no code with `hp_pipeline.transforms.operation`; the two are fuzzed against each
other.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hp_pipeline.vocabulary.rules import Rules


@dataclass
class Frame:
    """One frame: what was read, and what the rule makes of it. Times in seconds."""

    start: float
    end: float
    read: float
    raw: str | None
    defrost: bool | None = False
    compressor: bool | None = None

    gap: bool = field(default=False, init=False)
    excursion: bool = field(default=False, init=False)
    believed: bool | None = field(default=None, init=False)
    effective: str | None = field(default=None, init=False)
    mode: str | None = field(default=None, init=False)
    session: int | None = field(default=None, init=False)
    unseen: float | None = field(default=None, init=False)
    state: str | None = field(default=None, init=False)
    session_start: bool = field(default=False, init=False)
    cycle_start: bool = field(default=False, init=False)
    defrost_start: bool = field(default=False, init=False)
    compressor_start: bool = field(default=False, init=False)


HEAT = ("heating", "dhw")


def judge(frames: list[Frame], rules: Rules) -> None:
    """Fill in what the rule makes of the frames, which are in order of time."""
    known = [frame for frame in frames if frame.raw is not None]
    _gaps(known, rules)
    episodes = _episodes(known, rules)
    runs = _islands(known, lambda frame: frame.raw)
    blocks = _islands(known, lambda frame: frame.raw in HEAT)
    for number, run in enumerate(runs):
        behind = runs[number + 1][0].unseen if number + 1 < len(runs) else None
        inside = any(
            run[0].start >= first.start - _padding(first.unseen, rules)
            and run[-1].end <= last.end + _padding(behind, rules)
            for first, last in episodes
        )
        for frame in run:
            frame.excursion = frame.raw in HEAT and inside
    for block in blocks:
        for position, frame in enumerate(block):
            frame.effective = frame.raw
            if frame.excursion:
                firm_before = [other.raw for other in block[:position] if not other.excursion]
                firm_after = [other.raw for other in block[position:] if not other.excursion]
                frame.effective = firm_before[-1] if firm_before else firm_after[0] if firm_after else frame.raw
    _absorb(known, rules)
    for number, session in enumerate(_islands(known, lambda frame: frame.mode)):
        session[0].session_start = True
        for frame in session:
            frame.session = number
    _cycles(frames, known)
    _compressor(frames, rules)


def _padding(unseen: float | None, rules: Rules) -> float:
    """How far outside a defrost a run may begin or end: the quarantine, or for so long as nothing was read, if that is
    longer, but no longer than readings are held."""
    quarantine, hold = rules.quarantine.total_seconds(), rules.hold.total_seconds()
    return max(quarantine, min(unseen or 0.0, hold))


def _gaps(known: list[Frame], rules: Rules) -> None:
    for position, frame in enumerate(known):
        silence = frame.start - known[position - 1].read if position else None
        frame.gap = silence is None or silence > rules.session_gap.total_seconds()
        frame.unseen = None if frame.gap else silence


def _islands(frames, by):  # type: ignore[no-untyped-def]
    """Neighbouring frames with the same `by`, cut at gaps."""
    islands: list[list[Frame]] = []
    for position, frame in enumerate(frames):
        if frame.gap or by(frame) != by(frames[position - 1]):
            islands.append([])
        islands[-1].append(frame)
    return islands


def _episodes(known: list[Frame], rules: Rules) -> list[tuple[Frame, Frame]]:
    episodes = []
    for island in _islands(known, lambda frame: bool(frame.defrost)):
        flagged = bool(island[0].defrost)
        short = island[-1].end - island[0].start <= rules.max_defrost.total_seconds()
        for frame in island:
            frame.believed = flagged and short
        if flagged and short:
            episodes.append((island[0], island[-1]))
    return episodes


def _absorb(known: list[Frame], rules: Rules) -> None:
    for stretch in _islands(known, lambda frame: None):
        islands = _islands(stretch, lambda frame: frame.effective)
        lasts = [island[-1].end - island[0].start >= rules.min_session.total_seconds() for island in islands]
        for position, island in enumerate(islands):
            before = [islands[i][0].effective for i in range(position + 1) if lasts[i]]
            after = [islands[i][0].effective for i in range(position, len(islands)) if lasts[i]]
            for frame in island:
                frame.mode = before[-1] if before else after[0] if after else frame.effective


def _cycles(frames: list[Frame], known: list[Frame]) -> None:
    for frame in frames:
        if frame.believed:
            frame.state = "defrost"
        elif frame.compressor is not None:
            frame.state = "on" if frame.compressor else "off"
    for position, frame in enumerate(known):
        before = known[position - 1] if position else None
        frame.defrost_start = bool(frame.believed) and (before is None or frame.gap or not before.believed)
        if frame.state is None:
            continue
        told = [other for other in frames[: frames.index(frame)] if other.state is not None]
        of_session = [other for other in known[:position] if other.session == frame.session and other.state is not None]
        frame.cycle_start = frame.session_start or not of_session or told[-1].state != frame.state


def _compressor(frames: list[Frame], rules: Rules) -> None:
    seen: Frame | None = None
    for frame in frames:
        if frame.compressor and seen is not None and not seen.compressor:
            frame.compressor_start = frame.start - seen.read <= rules.session_gap.total_seconds()
        if frame.compressor is not None:
            seen = frame
