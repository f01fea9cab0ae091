"""Charts from Helm repositories and OCI registries, over real HTTP on loopback."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fairway.git.port import ReadOnly, UnknownRepository, UnknownRevision, Unreachable
from fairway.gitops.sources import resolve_revision
from fairway.manifests import DictTree, FetchChart, FileTree, ManifestError
from fairway.manifests.helm.chart_files import write_chart
from fairway.manifests.helm.download import Login
from fairway.manifests.helm.package import unpacked
from fairway.manifests.helm.repository import chart_repository

LOGIN = Login("team", "s3cret")
Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]]


class Server:
    """Answers by path, and remembers who asked for what with which authorization."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.protected = ""
        self.asked: list[tuple[str, str]] = []
        self.host = ""
        self.spared = 0
        """Answers that the client had already."""

    @property
    def url(self) -> str:
        return f"http://{self.host}"

    def count(self, ending: str) -> int:
        return sum(1 for path, _ in self.asked if path.endswith(ending))


@contextmanager
def served() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = self.headers.get("Authorization", "")
            state.asked.append((self.path, given))
            answer: Answer = state.answers.get(self.path, (404, b""))
            if len(answer) > 2 and answer[2].get("ETag") and self.headers.get("If-None-Match") == answer[2]["ETag"]:
                state.spared += 1
                answer = (304, b"")
            if state.protected and given != state.protected and not self.path.startswith("/token"):
                answer = (401, b"", {"WWW-Authenticate": f'Bearer realm="{state.url}/token",service="here",scope="pull"'})
            self.send_response(answer[0])
            for name, value in (answer[2] if len(answer) > 2 else {}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer[1])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.host = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def package(version: str = "1.0.0", **files: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for path, text in {"Chart.yaml": f"name: web\nversion: {version}\n", **files}.items():
            info = tarfile.TarInfo(f"web/{path}")
            info.size = len(text)
            archive.addfile(info, io.BytesIO(text.encode()))
    return made.getvalue()


def index(packages: dict[str, bytes], *, url: str = "charts/web-{}.tgz", digest: str = "") -> bytes:
    entries = [{"version": version, "urls": [url.format(version)], "digest": digest or hashlib.sha256(data).hexdigest()}
               for version, data in packages.items()]
    return json.dumps({"apiVersion": "v1", "entries": {"web": entries}}).encode()


def publish(server: Server, packages: dict[str, bytes]) -> None:
    server.answers["/index.yaml"] = (200, index(packages))
    server.answers |= {f"/charts/web-{version}.tgz": (200, data) for version, data in packages.items()}


def test_a_version_is_a_revision_and_a_package_the_tree_of_one(tmp_path: Path) -> None:
    packages = {v: package(v, **{"values.yaml": f"v: {v}\n"}) for v in ("1.0.0", "1.4.2", "2.0.0", "3.0.0-rc.1")}
    with served() as server:
        publish(server, packages)
        chart = chart_repository(f"{server.url}/", "web", tmp_path)
        assert resolve_revision(chart, "1.x") == "1.4.2"
        assert resolve_revision(chart, "HEAD") == "2.0.0", "no version before a release"
        assert resolve_revision(chart, "3.0.0-rc.1") == "3.0.0-rc.1"
        tree = chart.read_tree("1.4.2")
        assert tree.read("values.yaml") == b"v: 1.4.2\n" and sorted(tree) == ["Chart.yaml", "values.yaml"]
        assert chart.changed_paths("1.4.2", "2.0.0") == {"Chart.yaml", "values.yaml"}
        again = chart_repository(server.url, "web", tmp_path)
        again.read_tree("1.4.2")
        assert server.count("web-1.4.2.tgz") == 1, "a package is fetched once, by its digest"
        with pytest.raises(UnknownRevision, match=r"no version '9\.9\.9' of the chart; there are 1\.0\.0"):
            chart.resolve("9.9.9")
        with pytest.raises(ReadOnly, match="keep the values in git"):
            chart.commit("main", None, expected_head="")  # type: ignore[arg-type]


def test_a_version_that_is_published_again_is_another_package(tmp_path: Path) -> None:
    first, second = package(**{"values.yaml": "v: 1\n"}), package(**{"values.yaml": "v: 2\n"})
    with served() as server:
        publish(server, {"1.0.0": first})
        server.answers["/index.yaml"] = (200, index({"1.0.0": first}), {"ETag": '"a"'})
        chart = chart_repository(server.url, "web", tmp_path)
        before = chart.exact(chart.resolve("1.0.0"))
        assert chart.read_tree("1.0.0").read("values.yaml") == b"v: 1\n"
        assert chart.exact(chart.resolve("1.0.0")) == before == f"1.0.0@sha256:{hashlib.sha256(first).hexdigest()}"
        assert server.spared == 1, "an index that has not changed is not sent again"
        publish(server, {"1.0.0": second})
        server.answers["/index.yaml"] = (200, index({"1.0.0": second}), {"ETag": '"b"'})
        after = chart.exact(chart.resolve("1.0.0"))
        assert after != before
        assert chart.read_tree("1.0.0").read("values.yaml") == b"v: 2\n"
        assert chart.read_tree(before).read("values.yaml") == b"v: 1\n", "what was deployed is still known"
        assert chart.changed_paths(before, after) == {"values.yaml"}
        forgetful = chart_repository(server.url, "web", tmp_path / "empty")
        with pytest.raises(UnknownRevision, match="was published again, and the package sha256:"):
            forgetful.read_tree(before)


def test_a_package_that_is_not_the_one_that_was_named_is_not_used(tmp_path: Path) -> None:
    with served() as server:
        publish(server, {"1.0.0": package()})
        server.answers["/index.yaml"] = (200, index({"1.0.0": b""}, digest="ab" * 32))
        with pytest.raises(Unreachable, match=r"the package of 1\.0\.0 is not the one that the repository names"):
            chart_repository(server.url, "web", tmp_path).read_tree("1.0.0")
    assert not list(tmp_path.iterdir())


def test_mistakes_of_a_repository_name_the_mend(tmp_path: Path) -> None:
    with served() as server:
        with pytest.raises(UnknownRepository, match="correct repoURL"):
            chart_repository(server.url, "web", tmp_path).refs()
        server.answers["/index.yaml"] = (200, b"<html>")
        with pytest.raises(UnknownRepository, match="not an index of charts"):
            chart_repository(server.url, "web", tmp_path).refs()
        publish(server, {"1.0.0": package()})
        with pytest.raises(UnknownRevision, match="no such chart; there are web"):
            chart_repository(server.url, "wbe", tmp_path).refs()
        server.answers["/index.yaml"] = (200, index({"1.0.0": package()}, url="file:///etc/passwd"))
        with pytest.raises(Unreachable, match="charts come over http or https"):
            chart_repository(server.url, "web", tmp_path).read_tree("1.0.0")
        closed = server.url
    with pytest.raises(Unreachable, match="is the address right"):
        chart_repository(closed, "web", tmp_path).refs()


def test_credentials_stay_with_their_host_unless_they_are_passed_on(tmp_path: Path) -> None:
    data = package()
    with served() as server, served() as elsewhere:
        elsewhere.answers = {"/web.tgz": (200, data)}
        server.answers = {"/index.yaml": (200, index({"1.0.0": data}, url=f"{elsewhere.url}/web.tgz"))}
        chart_repository(server.url, "web", tmp_path / "a", LOGIN).read_tree("1.0.0")
        assert server.asked[-1][1] == LOGIN.header() and elsewhere.asked[-1][1] == ""
        chart_repository(server.url, "web", tmp_path / "b", LOGIN, pass_credentials=True).read_tree("1.0.0")
        assert elsewhere.asked[-1][1] == LOGIN.header()
        server.answers["/index.yaml"] = (302, b"", {"Location": f"{elsewhere.url}/index.yaml"})
        with pytest.raises(UnknownRepository):
            chart_repository(server.url, "web", tmp_path / "c", LOGIN).refs()
        assert elsewhere.asked[-1] == ("/index.yaml", ""), "a redirect does not carry them away"
        server.answers["/index.yaml"] = (401, b"")
        with pytest.raises(Unreachable, match="put them into a Secret") as refused:
            chart_repository(server.url.replace("http://", "http://team:s3cret@"), "web", tmp_path).refs()
        assert server.asked[-1][1] == LOGIN.header(), "a login in the URL is one, too"
        assert "s3cret" not in str(refused.value)
    assert "s3cret" not in repr(LOGIN)


def test_a_chart_in_a_registry_that_wants_a_token(tmp_path: Path) -> None:
    data = package("1.2.0+b1")
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    layer = {"mediaType": "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "digest": digest}
    with served() as server:
        server.protected = "Bearer t0ken"
        server.answers = {
            "/token?service=here&scope=pull": (200, b'{"token": "t0ken"}'),
            "/v2/charts/web/tags/list": (200, b'{"tags": ["1.1.0"]}', {"Link": '</v2/charts/web/tags/more>; rel="next"'}),
            "/v2/charts/web/tags/more": (200, b'{"tags": ["1.2.0_b1"]}'),
            "/v2/charts/web/manifests/1.2.0_b1": (200, json.dumps({"layers": [layer]}).encode()),
            f"/v2/charts/web/blobs/{digest}": (200, data),
            "/v2/charts/web/manifests/1.1.0": (200, b'{"layers": [{"mediaType": "text/plain"}]}'),
        }
        chart = chart_repository(f"oci://{server.host}/charts", "web", tmp_path, LOGIN)
        assert resolve_revision(chart, "1.2.0+b1") == "1.2.0+b1"
        assert chart.read_tree("1.2.0+b1").read("Chart.yaml") == b"name: web\nversion: 1.2.0+b1\n"
        asked = base64.b64decode(dict(server.asked)["/token?service=here&scope=pull"].removeprefix("Basic ")).decode()
        assert asked == "team:s3cret"
        with pytest.raises(UnknownRevision, match="this is no chart"):
            chart.read_tree("1.1.0")
        server.answers[f"/v2/charts/web/blobs/{digest}"] = (200, b"other bytes")
        with pytest.raises(Unreachable, match="the layer is not what the manifest names"):
            chart_repository(f"{server.host}/charts", "web", tmp_path / "x", LOGIN).read_tree("1.2.0+b1")


def test_dependencies_come_from_their_repositories_at_the_locked_version(tmp_path: Path) -> None:
    with served() as server:
        publish(server, {v: package(v) for v in ("1.0.0", "1.1.0")})

        def fetch(repository: str, name: str, version: str) -> FileTree:
            port = chart_repository(repository, name, tmp_path / "cache")
            return port.read_tree(resolve_revision(port, version))

        tree = DictTree({"shop/Chart.yaml": "name: shop\nversion: 1.0.0\ndependencies:\n"
                                            f"- {{name: web, version: 1.x, repository: '{server.url}'}}\n"})
        found = write_chart(tree, "shop", tmp_path / "newest", fetch)
        assert "version: 1.1.0" in (found / "charts/web/Chart.yaml").read_text()
        locked = DictTree({"shop/Chart.yaml": tree.read("shop/Chart.yaml"),
                           "shop/Chart.lock": "dependencies: [{name: web, version: 1.0.0}]\n"})
        found = write_chart(locked, "shop", tmp_path / "locked", fetch)
        assert "version: 1.0.0" in (found / "charts/web/Chart.yaml").read_text()
        with pytest.raises(ManifestError, match="missing in charts/ directory: web"):
            write_chart(tree, "shop", tmp_path / "none", None)
    fetches: FetchChart = fetch
    with pytest.raises(ManifestError, match="a name is no path"):
        write_chart(DictTree({"a/Chart.yaml": "name: a\ndependencies: [{name: ../b, repository: 'http://x'}]"}), "a",
                    tmp_path / "bad", fetches)


def test_of_a_large_index_only_what_concerns_the_chart_is_read(tmp_path: Path) -> None:
    data = package()
    text = (f"apiVersion: v1\nentries:\n  other:\n  - version: [not, read\n  web:\n  - version: 1.0.0\n    digest: "
            f"{hashlib.sha256(data).hexdigest()}\n    urls:\n    - web.tgz\n  - version: 0.9.0\n    urls: [old.tgz]\n"
            "  zeta:\n  - version: {not read\ngenerated: now\n")
    with served() as server:
        server.answers = {"/index.yaml": (200, text.encode()), "/web.tgz": (200, data)}
        chart = chart_repository(server.url, "web", tmp_path)
        assert set(chart.refs().values()) == {"1.0.0", "0.9.0"}
        assert "Chart.yaml" in chart.read_tree("1.0.0")


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", compresslevel=1) as packed:
        for info, data in members:
            info.size = len(data)
            packed.addfile(info, io.BytesIO(data))
    return made.getvalue()


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


def claiming(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    return info


@pytest.mark.parametrize(("data", "message"), [
    (archive((tarfile.TarInfo("web/../../etc/passwd"), b"x")), "outside of its chart"),
    (archive((tarfile.TarInfo("/etc/passwd"), b"x")), "outside of its chart"),
    (archive((link("web/values.yaml", "/etc/passwd"), b"")), "a link or a device"),
    (archive((tarfile.TarInfo("web/templates/a.yaml"), b"x")), r"has no Chart\.yaml"),
    (gzip.compress(claiming("web/big", 70 << 20).tobuf()), "more than 10000 files or 64 MB"),
    (gzip.compress(b"not a tar"), "not a packaged chart"),
    (b"not even compressed", "not a packaged chart"),
    (package()[:60], "not a packaged chart"),
], ids=["climbs", "absolute", "link", "no-chart", "huge", "no-tar", "plain", "cut"])  # fmt: skip
def test_hostile_packages_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(ManifestError, match=message):
        unpacked(data, "web")
