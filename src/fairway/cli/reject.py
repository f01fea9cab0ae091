"""`fairway reject`."""

from fairway.cli.answer import reject as command

__all__ = ["command"]
