"""`fairway approve`."""

from fairway.cli.answer import approve as command

__all__ = ["command"]
