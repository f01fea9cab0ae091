"""Weight and error rates as SVG: for pull requests and pages, readable on light and on dark ground."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from fairway.rehearse.curve import Point, ceiling, clock, curve
from fairway.rehearse.report import Report
from fairway.rehearse.run import Rehearsal

WIDTH, LEFT, RIGHT = 860, 64, 24
WEIGHT_TOP, WEIGHT_HEIGHT, ERROR_TOP, ERROR_HEIGHT = 96, 130, 262, 110
HEIGHT = 440
PARTS = 240
INK, QUIET, GRID, PAPER = "#1f2933", "#66727f", "#dfe4ea", "#ffffff"
BLUE, RED, GREY = "#2f6fde", "#d13438", "#8a95a1"
COLOURS = {"promoted": "#1a7f4b", "aborted": RED, "held": "#b7791f", "rolled back": RED}


def svg(report: Report) -> str:
    run = report.run
    end = max((span.end for span in run.spans), default=1.0)
    points = curve(run.spans, end, PARTS)
    top = ceiling(points)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="system-ui, -apple-system, Segoe UI, sans-serif" font-size="13" role="img">',
        f"<title>{escape(_title(report))}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="{PAPER}"/>',
        _text(LEFT, 36, _title(report), size=18, weight=600),
        _text(LEFT, 60, _subtitle(report), colour=QUIET),
        *_faults(run, end),
        *_axes("traffic to the new version", WEIGHT_TOP, WEIGHT_HEIGHT, ("100 %", "50 %", "0")),
        _weight(points, end),
        *_axes("requests that fail", ERROR_TOP, ERROR_HEIGHT, (f"{top:.0%}".replace("%", " %"), "", "0")),
        _line([(p, p.stable) for p in points], end, top, GREY),
        _line([(p, p.canary) for p in points], end, top, RED),
        *_legend(),
        *_times(end),
        *_decided(run, end),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _title(report: Report) -> str:
    return f"{report.subject.rollout['kind']} {report.subject.name}: {report.run.outcome} after {clock(report.run.decided_at)}"


def _subtitle(report: Report) -> str:
    run = report.run
    return (f"{run.requests:,} of {run.all_requests:,} requests met the new version, {run.errors:,} of them failed; "
            f"about {report.users(run.requests):,} of {report.scenario.users:,} users saw it")


def _x(at: float, end: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at / end, 0.0), 1.0)


def _text(x: float, y: float, text: str, *, colour: str = INK, size: int = 13, anchor: str = "start", weight: int = 400) -> str:
    return (f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}" '
            f'font-weight="{weight}">{escape(text)}</text>')


def _axes(name: str, top: int, height: int, labels: tuple[str, str, str]) -> Iterable[str]:
    yield _text(LEFT, top - 10, name, colour=QUIET, size=12)
    for i, label in enumerate(labels):
        y = top + height * i / 2
        yield f'<line x1="{LEFT}" y1="{y}" x2="{WIDTH - RIGHT}" y2="{y}" stroke="{GRID}"/>'
        yield _text(LEFT - 8, y + 4, label, colour=QUIET, size=12, anchor="end")


def _weight(points: Sequence[Point], end: float) -> str:
    floor = WEIGHT_TOP + WEIGHT_HEIGHT
    width = end / PARTS
    path = [f"M{_x(0, end):.1f},{floor}"]
    for point in points:
        y = floor - WEIGHT_HEIGHT * min(point.weight, 1.0)
        path.append(f"L{_x(point.start, end):.1f},{y:.1f}L{_x(point.start + width, end):.1f},{y:.1f}")
    path.append(f"L{_x(end, end):.1f},{floor}Z")
    return f'<path d="{"".join(path)}" fill="{BLUE}" fill-opacity="0.18" stroke="{BLUE}" stroke-width="1.5"/>'


def _line(points: Sequence[tuple[Point, float | None]], end: float, top: float, colour: str) -> str:
    floor, width, path, pen = ERROR_TOP + ERROR_HEIGHT, end / PARTS, [], "M"
    for point, rate in points:
        if rate is None:
            pen = "M"
            continue
        path.append(f"{pen}{_x(point.start + width / 2, end):.1f},{floor - ERROR_HEIGHT * min(rate / top, 1.0):.1f}")
        pen = "L"
    return f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="2" stroke-linejoin="round"/>'


def _legend() -> Iterable[str]:
    x = WIDTH - RIGHT - 176
    for offset, name, colour in ((0, "new version", RED), (104, "stable", GREY)):
        y = ERROR_TOP - 14
        yield f'<line x1="{x + offset}" y1="{y}" x2="{x + offset + 18}" y2="{y}" stroke="{colour}" stroke-width="3"/>'
        yield _text(x + offset + 24, y + 4, name, colour=QUIET, size=12)


def _times(end: float) -> Iterable[str]:
    y = ERROR_TOP + ERROR_HEIGHT + 20
    for i in range(5):
        anchor = "start" if i == 0 else "end" if i == 4 else "middle"
        yield _text(_x(end * i / 4, end), y, clock(end * i / 4), colour=QUIET, size=12, anchor=anchor)


def _faults(run: Rehearsal, end: float) -> Iterable[str]:
    """A shade for as long as something was broken."""
    names = {"MonitoringOut": ("MonitoringBack", "no monitoring"), "Incident": ("IncidentOver", "incident"),
             "ControllerKilled": ("ControllerStarted", "controller down"), "ProxyRefuses": ("ProxyTakes", "proxy")}
    for entry in run.timeline:
        if entry.code not in names:
            continue
        over, name = names[entry.code]
        until = next((later.at for later in run.timeline if later.code == over and later.at > entry.at), end)
        x, width = _x(entry.at, end), max(_x(until, end) - _x(entry.at, end), 2.0)
        yield (f'<rect x="{x:.1f}" y="{WEIGHT_TOP}" width="{width:.1f}" height="{ERROR_TOP + ERROR_HEIGHT - WEIGHT_TOP}" '
               f'fill="#f2c94c" fill-opacity="0.28"><title>{name}</title></rect>')


def _decided(run: Rehearsal, end: float) -> Iterable[str]:
    x, colour = _x(run.decided_at, end), COLOURS[run.outcome]
    bottom = ERROR_TOP + ERROR_HEIGHT
    yield (f'<line x1="{x:.1f}" y1="{WEIGHT_TOP - 6}" x2="{x:.1f}" y2="{bottom}" stroke="{colour}" stroke-width="1.5" '
           'stroke-dasharray="4 3"/>')
    anchor = "end" if x > WIDTH * 0.6 else "start"
    why = run.why if len(run.why) <= 130 else run.why[:129] + "…"
    yield _text(x, bottom + 44, f"{run.outcome} at {clock(run.decided_at)}", colour=colour, anchor=anchor, weight=600)
    if why:
        yield _text(LEFT, HEIGHT - 10, why, colour=QUIET, size=11)
