"""Jobs as a graph: for a terminal, as Mermaid, as SVG. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from fairway.ci.expressions import Value
from fairway.ci.gitlab.plan import Pipeline
from fairway.ci.matrix import MatrixError, expand
from fairway.ci.spec import Workflow

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 190, 38, 64, 16, 20
_COLOURS = {"": ("#ffffff", "#57606a"), "Succeeded": ("#dafbe1", "#1a7f37"), "Failed": ("#ffebe9", "#cf222e"),
            "Running": ("#ddf4ff", "#0969da"), "Waiting": ("#fff8c5", "#9a6700"), "Skipped": ("#f6f8fa", "#8c959f"),
            "Cancelled": ("#f6f8fa", "#8c959f"), "manual": ("#fff8c5", "#9a6700")}


@dataclass(frozen=True, slots=True)
class Node:
    """`note` is shown small: a matrix, `manual`, a called workflow."""

    id: str
    label: str
    needs: tuple[str, ...]
    column: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Graph:
    title: str
    nodes: tuple[Node, ...]
    columns: tuple[str, ...] = ()


def graph_of_workflow(workflow: Workflow) -> Graph:
    """A column is how many jobs have to end before, at the least."""
    depth: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in depth:
            depth[name] = 1 + max((of(need) for need in workflow.jobs[name].needs if need in workflow.jobs), default=-1)
        return depth[name]

    nodes = tuple(
        Node(name, str(job.name) if job.name and "${{" not in str(job.name) else name, job.needs, of(name),
             "calls a workflow" if job.uses else _matrix(job.strategy.matrix) if job.strategy.matrix is not None else
             f"environment {_environment(job.environment)}" if job.environment else "")
        for name, job in workflow.jobs.items())
    return Graph(workflow.title, nodes)


def _matrix(value: Value) -> str:
    """How many legs there are, where that is known before anything runs."""
    try:
        return "matrix" if "${{" in str(value) else f"matrix of {len(expand(value))}"
    except MatrixError:
        return "matrix"


def _environment(value: object) -> str:
    return str(value.get("name")) if isinstance(value, dict) else str(value)


def graph_of_pipeline(pipeline: Pipeline) -> Graph:
    """A column is a stage; a job without `needs` waits for the jobs of the stage before."""
    used = [stage for stage in pipeline.configuration.stages if any(leg.job.stage == stage for leg in pipeline.legs)]
    found = []
    for leg in pipeline.legs:
        at = used.index(leg.job.stage)
        if leg.needs is not None:
            needs = tuple(need.leg for need in leg.needs)
        else:
            needs = tuple(other.id for other in pipeline.legs if at and other.job.stage == used[at - 1])
        notes = [word for word in (leg.when if leg.when != "on_success" else "", "may fail" if leg.allow_failure.always and
                                   leg.when != "manual" else "", f"environment {leg.environment.name}"
                                   if leg.environment else "") if word]
        found.append(Node(leg.id, leg.name, needs, at, ", ".join(notes)))
    return Graph(pipeline.name or pipeline.configuration.path, tuple(found), tuple(used))


def as_text(graph: Graph) -> list[str]:
    """One line a job, in the order of columns, with what it waits for."""
    by_id = {node.id: node for node in graph.nodes}
    lines = []
    for node in sorted(graph.nodes, key=lambda node: node.column):
        after = ", ".join(by_id[need].label for need in node.needs if need in by_id)
        column = graph.columns[node.column] if graph.columns else str(node.column + 1)
        note = f"  ({node.note})" if node.note else ""
        width = max(map(len, graph.columns), default=1)
        lines.append(f"{column.ljust(width)}  {node.label}{f'  after {after}' if after else ''}{note}")
    return lines


def as_mermaid(graph: Graph) -> str:
    """A flowchart, as READMEs show it."""
    names = {node.id: f"j{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        label = re.sub(r"[\"<>]", "'", node.label + (f" ({node.note})" if node.note else ""))
        lines.append(f'    {names[node.id]}["{label}"]')
    direct = _direct(graph.nodes)
    lines += [f"    {names[need]} --> {names[node.id]}" for node in graph.nodes for need in direct[node.id] if need in names]
    return "\n".join(lines) + "\n"


def as_svg(graph: Graph, phases: Mapping[str, str] | None = None) -> str:
    """One box a job, one column a stage; `phases` colours the boxes by how their jobs stand."""
    places = _places(graph.nodes)
    width = _MARGIN * 2 + (max((x for x, _ in places.values()), default=0) + _WIDTH)
    height = _MARGIN * 2 + 46 + (max((y for _, y in places.values()), default=0) + _HEIGHT)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#8c959f"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 4}" font-size="15" font-weight="600" fill="#1f2328">{escape(graph.title)}</text>',
    ]
    for number, name in enumerate(graph.columns):
        x = _MARGIN + number * (_WIDTH + _GAP_X)
        out.append(f'<text x="{x}" y="{_MARGIN + 32}" fill="#57606a" font-size="12">{escape(name)}</text>')
    direct = _direct(graph.nodes)
    for node in graph.nodes:
        out += [_arrow(places[need], places[node.id]) for need in direct[node.id] if need in places]
    out += [_box(node, places[node.id], (phases or {}).get(node.id, "")) for node in graph.nodes]
    return "\n".join([*out, "</svg>"]) + "\n"


def _direct(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """What each job waits for, without what another of its needs waits for too: that arrow would cross boxes to say nothing."""
    needs = {node.id: node.needs for node in nodes}
    above: dict[str, set[str]] = {}

    def of(name: str) -> set[str]:
        if name not in above:
            above[name] = set()
            above[name] = {far for need in needs.get(name, ()) for far in (need, *of(need))}
        return above[name]

    return {node.id: [need for need in node.needs if not any(need in of(other) for other in node.needs)] for node in nodes}


def _places(nodes: Sequence[Node]) -> dict[str, tuple[int, int]]:
    """Left upper corners without the margin. Within a column, a job stands about where what it waits for stands."""
    rows: dict[str, float] = {}
    places: dict[str, tuple[int, int]] = {}
    columns = sorted({node.column for node in nodes})
    for column in columns:
        inside = [node for node in nodes if node.column == column]
        inside.sort(key=lambda node: sum(rows.get(need, 0.0) for need in node.needs) / max(len(node.needs), 1))
        for row, node in enumerate(inside):
            rows[node.id] = row
            places[node.id] = (column * (_WIDTH + _GAP_X), row * (_HEIGHT + _GAP_Y))
    return places


def _arrow(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Between neighbours a curve from side to side; within a column around the left side."""
    top = _MARGIN + 46
    x1, y1 = _MARGIN + start[0] + _WIDTH, top + start[1] + _HEIGHT // 2
    x2, y2 = _MARGIN + end[0], top + end[1] + _HEIGHT // 2
    if end[0] <= start[0]:
        x1 = _MARGIN + start[0]
        path = f"M{x1},{y1} C{x1 - 40},{y1} {x2 - 40},{y2} {x2},{y2}"
    else:
        path = f"M{x1},{y1} C{x1 + 30},{y1} {x2 - 30},{y2} {x2},{y2}"
    return f'<path d="{path}" fill="none" stroke="#8c959f" stroke-width="1.3" marker-end="url(#arrow)"/>'


def _box(node: Node, place: tuple[int, int], phase: str) -> str:
    fill, line = _COLOURS.get(phase or ("manual" if "manual" in node.note else ""), _COLOURS[""])
    x, y = _MARGIN + place[0], _MARGIN + 46 + place[1]
    title = escape(f"{node.label}{f' ({node.note})' if node.note else ''}")
    middle = y + _HEIGHT // 2 + (0 if node.note else 5)
    note = f'<text x="{x + 12}" y="{middle + 12}" fill="#57606a" font-size="10">{escape(_cut(node.note, 29))}</text>' \
        if node.note else ""
    return (f'<g><title>{title}</title><rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="6" fill="{fill}" '
            f'stroke="{line}"/><text x="{x + 12}" y="{middle}" fill="#1f2328">{escape(_cut(node.label, 24))}</text>{note}</g>')


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
