"""What goes wrong between the pipeline and a source, in words that help its owner."""

from __future__ import annotations


class SourceError(Exception):
    """A source cannot be read.

    Attributes:
        source_id: id of the source in the settings.
        what: what is wrong, without any secret.
        remedy: what to do about it.
    """

    def __init__(self, source_id: str, what: str, remedy: str) -> None:
        super().__init__(f"source {source_id}: {what}. {remedy}")
        self.source_id = source_id
        self.what = what
        self.remedy = remedy
