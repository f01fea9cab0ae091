"""What a command finds where a platform runs: a state folder, a real API server, and a web port of canned answers."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from click.testing import CliRunner, Result

from fairway.cli.group import cli
from fairway.gitops.access import ApplicationAccess
from fairway.state import StateDir
from tests.kube_http.serving import Served, serving


class Web:
    """Answers by path; records the queries it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, str]] = {"/healthz": (200, "ok")}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []
        self.bodies: list[Any] = []
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                web.asked.append((url.path, parse_qs(url.query)))
                status, text = web.answers.get(url.path, (404, "404: Not Found"))
                self.send_response(status)
                self.send_header("Content-Type", "application/json" if text[:1] in ("{", "[") else "text/plain")
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_POST(self) -> None:
                web.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0))))
                self.do_GET()

            def do_DELETE(self) -> None:
                web.bodies.append(self.path)
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


class Running:
    def __init__(self, state: StateDir, served: Served, web: Web) -> None:
        self.state = state
        self.served = served
        self.web = web

    def fairway(self, *arguments: str, code: int = 0) -> Result:
        result = CliRunner().invoke(cli, ["--state", str(self.state.root), *arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.fairway(*arguments, "-o", "json", code=code).stdout)


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    state = StateDir(folder)
    with serving(state.pki, guard=ApplicationAccess) as served:
        web = Web()
        state.token.write_text(served.pki.token)
        ingress = web.server.server_port  # something that listens
        state.daemon.write_text(json.dumps({"pid": os.getpid(), "api_url": served.server.url, "web_url": web.url,
                                            "ingress_port": ingress}))
        try:
            yield Running(state, served, web)
        finally:
            web.server.shutdown()
            web.server.server_close()
