"""Find and read the reports that gates name."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fairway.gates.report import Report
from fairway.gates.spec import Gate

_LARGEST = 256 * 1024 * 1024


def gather(gate: Gate, folder: Path) -> list[Report]:
    """Every file that the gate's paths and globs match, once, in order of path. A plain path that is absent is a report too."""
    found: dict[str, Report] = {}
    for wanted in gate.reports:
        if any(ch in wanted for ch in "*?["):
            pattern = Path(wanted)
            base = Path(pattern.anchor) if pattern.is_absolute() else folder
            relative = str(pattern.relative_to(pattern.anchor)) if pattern.is_absolute() else wanted
            matches = sorted(path for path in base.glob(relative) if path.is_file())
        else:
            matches = [folder / wanted]
        for path in matches:
            shown = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
            found.setdefault(shown, _read(path, shown))
    return list(found.values())


def _read(path: Path, shown: str) -> Report:
    try:
        stat = path.stat()
        if stat.st_size > _LARGEST:
            return Report(shown, None, problem=f"it is larger than {_LARGEST >> 20} MiB")
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return Report(shown, None, problem="there is no such file")
    except UnicodeDecodeError:
        return Report(shown, None, problem="it is not text in UTF-8")
    except OSError as error:
        return Report(shown, None, problem=error.strerror or type(error).__name__)
    return Report(shown, text, datetime.fromtimestamp(stat.st_mtime, UTC))
