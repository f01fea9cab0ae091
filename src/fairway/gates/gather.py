"""Find and read the reports that gates name."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from fairway.gates.decide import Seen
from fairway.gates.forms.report import Report
from fairway.gates.new_code import Lines, added_lines
from fairway.gates.spec import Coverage, Gate, Waiver

_LARGEST = 256 * 1024 * 1024


def gather(gate: Gate, folder: Path, waivers: Sequence[Waiver] = (), base_ref: str = "") -> Seen:
    """The gate's reports, those of its base, and for `new_lines` what was added since `base_ref` and HEAD parted."""
    wanted = isinstance(gate.rule, Coverage) and gate.rule.new_lines is not None
    added = _added(folder, base_ref) if wanted else None
    return Seen(_reports(gate.reports, folder), _reports(gate.base, folder), added, waivers)


def _reports(paths: Sequence[str], folder: Path) -> list[Report]:
    """Every file that the paths and globs match, once, in order of path. A plain path that is absent is a report too."""
    found: dict[str, Report] = {}
    for wanted in paths:
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


def _added(folder: Path, base_ref: str) -> Lines | None:
    """None where git cannot tell. Without a base, the change is what HEAD brought over its first parent."""
    span = f"{base_ref}...HEAD" if base_ref else "HEAD^1..HEAD"
    argv = ["git", "-C", str(folder), "diff", "--unified=0", "--no-color", "--no-ext-diff", "--no-renames", span]
    try:
        done = subprocess.run(argv, capture_output=True, stdin=subprocess.DEVNULL)
    except OSError:
        return None
    return added_lines(done.stdout.decode("utf-8", "replace")) if done.returncode == 0 else None


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
