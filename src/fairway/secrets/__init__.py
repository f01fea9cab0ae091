"""Masking: no secret reaches a log, an event or a page, in any of its derived forms."""
