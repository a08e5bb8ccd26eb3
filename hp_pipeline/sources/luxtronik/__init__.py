"""Luxtronik controllers over their own protocol (TCP 8889, 8888 with old firmware), read-only by construction.

`source` polls, `wire` speaks the protocol, `events` reads the rings of errors and switch-offs, `discovery` finds
controllers in the network. Light: the collector imports these. `imports` (polars) reads what others recorded.
"""

from hp_pipeline.sources.luxtronik.source import LuxtronikPoller, open_source

__all__ = ["LuxtronikPoller", "open_source"]
