"""The text format: what targets really send."""

from __future__ import annotations

import math

import pytest

from fairway.metrics.exposition import BadExposition, Exposition, Metadata, parse

TEXT = """# HELP http_requests_total All requests\\nof all time.
# TYPE http_requests_total counter
http_requests_total{method="post",path="/a b",msg="say \\"hi\\"\\n"} 1027 1395066363000
http_requests_total{method="get", path="C:\\\\dir",} 3

metric_without_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
no_value NaN
# TYPE rpc summary
rpc{quantile="0.9"} 9001
rpc_sum 1.7560473e+07
rpc_count 2693
# a comment
{"utf8.name", "label.x"="y"} 1
with_exemplar_bucket{le="0.1"} 8 # {trace_id="KOO5S4vxi0o"} 0.067 1520879607.789
empty{x=""} 4
# EOF
"""


def test_everything_that_targets_send_is_read() -> None:
    samples = {tuple(sorted(labels.items())): value for labels, value in parse(TEXT)}
    found = {" ".join(f"{k}={v}" for k, v in key): value for key, value in samples.items()}
    nan = found.pop("__name__=no_value")
    assert math.isnan(nan)
    assert found == {
        '__name__=http_requests_total method=post msg=say "hi"\n path=/a b': 1027.0,
        "__name__=http_requests_total method=get path=C:\\dir": 3.0,
        "__name__=metric_without_labels": 12.47,
        "__name__=something_weird problem=division by zero": math.inf,
        "__name__=rpc quantile=0.9": 9001.0,
        "__name__=rpc_sum": 17560473.0,
        "__name__=rpc_count": 2693.0,
        "__name__=utf8.name label.x=y": 1.0,
        "__name__=with_exemplar_bucket le=0.1": 8.0,
        "__name__=empty": 4.0,
    }


@pytest.mark.parametrize(
    "line", ["<html>", "metric one", "metric{a=b} 1", 'metric{a="b" 1', "metric", "{} 1", "metric 1 2 3", 'm{a="b"}']
)
def test_what_is_no_metric_names_its_line(line: str) -> None:
    with pytest.raises(BadExposition) as caught:
        parse(f"fine 1\n{line}\n")
    assert line in str(caught.value)


def test_a_series_is_asked_for_once_and_then_known_by_its_text() -> None:
    asked: list[dict[str, str]] = []

    def row(labels: dict[str, str]) -> int:
        asked.append(labels)
        return len(asked) - 1 if labels["__name__"] != "unwanted" else -1

    exposition = Exposition(row)
    assert exposition.read('a{x="1"} 1\nunwanted 5\nb 2\n') == ([0, 2], [1.0, 2.0])
    assert exposition.read('b 3\na{x="1"} 4\nunwanted 6\n') == ([2, 0], [3.0, 4.0])
    assert len(asked) == 3
    exposition.forget()
    exposition.read("b 9\n")
    assert len(asked) == 4


def test_types_tell_which_samples_are_counters() -> None:
    exposition = Exposition(lambda labels: 0)
    exposition.read(TEXT + "# TYPE open counter\n# TYPE depth gauge\n# TYPE lat histogram\n")
    assert exposition.metadata["http_requests_total"] == Metadata("counter", "All requests\nof all time.")
    names = ["http_requests_total", "open_total", "depth", "lat_bucket", "lat_sum", "lat_count", "rpc_count", "other_total"]
    assert [name for name in names if exposition.is_counter(name)] == [
        "http_requests_total", "open_total", "lat_bucket", "lat_sum", "lat_count", "rpc_count"
    ]  # fmt: skip
