"""Viessmann's cloud: all devices of an account, through PyViCare, within the account's budget of calls.

`source` polls and remembers history, `oauth` logs in and keeps the token, `wire` counts every request before it is
sent, `answers` tells a fault from an answer, `features` and `history` read a document, `capabilities` runs PyViCare's
device classes over a stored one. Nothing heavy (PyViCare, httpx) is imported before the first poll.
"""

from hp_pipeline.sources.viessmann.source import ViessmannCloud, open_source

__all__ = ["ViessmannCloud", "open_source"]
