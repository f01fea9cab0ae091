"""Keys, certificates, tokens and kubeconfigs."""

from __future__ import annotations

import asyncio
import ssl
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from fairway.kube.credentials import Credentials
from fairway.kube.http.pki import client_certificate, ensure_pki, write_kubeconfig
from fairway.kube.kubeconfig import BadKubeconfig, Connection, kubeconfig_path, read_kubeconfig
from tests.kube_http.serving import Served

NOW = datetime.now(UTC)


def test_what_is_there_and_valid_is_kept(tmp_path: Path) -> None:
    first = ensure_pki(tmp_path / "pki", NOW, token_file=tmp_path / "token")
    files = {file: file.read_bytes() for file in (tmp_path / "pki").iterdir()}
    again = ensure_pki(tmp_path / "pki", NOW, token_file=tmp_path / "token")
    assert again == first
    assert {file: file.read_bytes() for file in (tmp_path / "pki").iterdir()} == files
    for file in [*files, tmp_path / "token"]:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    assert len(first.token) >= 40


def test_an_old_or_broken_certificate_is_made_again_and_the_token_stays(tmp_path: Path) -> None:
    first = ensure_pki(tmp_path, NOW)
    server = first.cert_file.read_text()
    later = ensure_pki(tmp_path, NOW + timedelta(days=350))
    assert later.cert_file.read_text() != server
    assert (later.ca, later.token) == (first.ca, first.token)
    (tmp_path / "ca.key").write_text("broken")
    assert ensure_pki(tmp_path, NOW).ca != first.ca
    ssl.create_default_context(cafile=str(first.ca_file))


def test_a_client_certificate_is_a_user(served: Served, tmp_path: Path) -> None:
    certificate, key = client_certificate(served.folder, "alice", ("devs",), NOW)
    (tmp_path / "pair").write_text(certificate + key)
    context = ssl.create_default_context(cafile=str(served.pki.ca_file))
    context.load_cert_chain(tmp_path / "pair")
    import json
    import urllib.request

    request = urllib.request.Request(served.server.url + "/apis/authentication.k8s.io/v1/selfsubjectreviews", data=b"{}",
                                     headers={"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        user = json.load(response)["status"]["userInfo"]
    assert user == {"username": "alice", "groups": ["devs", "system:authenticated"]}


def test_a_kubeconfig_is_read_as_it_was_written(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "kubeconfig"
    write_kubeconfig(file, "https://127.0.0.1:6443", "PEM", "secret")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_kubeconfig(file) == Connection("https://127.0.0.1:6443", ca="PEM", token="secret")


def test_kubeconfigs_of_other_tools(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("CA")
    (tmp_path / "config").write_text("""
clusters:
- {name: c, cluster: {server: "https://a:1/", certificate-authority: ca.crt, tls-server-name: b}}
- {name: open, cluster: {server: "https://b:1", insecure-skip-tls-verify: true}}
users:
- {name: u, user: {exec: {command: ./plugin, args: [a], env: [{name: X, value: "1"}], apiVersion: v1}}}
- {name: t, user: {tokenFile: tok}}
contexts:
- {name: one, context: {cluster: c, user: u, namespace: ns}}
- {name: two, context: {cluster: open, user: t}}
current-context: one
""")
    one = read_kubeconfig(tmp_path / "config")
    assert (one.server, one.ca, one.server_name, one.namespace) == ("https://a:1", "CA", "b", "ns")
    assert one.exec is not None
    assert (one.exec.command, one.exec.arguments) == (str(tmp_path / "./plugin"), ("a",))
    two = read_kubeconfig(tmp_path / "config", "two")
    assert (two.insecure, two.token_file) == (True, str(tmp_path / "tok"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "is not a kubeconfig"),
        ("a: [", "is not YAML"),
        ("contexts: []", "has no current-context"),
        ("current-context: x", "contexts has no entry called 'x'"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: c}}], clusters: [{name: c, cluster: {}}]}",
         "cluster 'c' has no server"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_kubeconfig(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    with pytest.raises(BadKubeconfig) as error:
        read_kubeconfig(file)
    assert words in str(error.value)
    assert str(file) in str(error.value)


def test_the_first_file_of_the_variable_that_exists(tmp_path: Path) -> None:
    (tmp_path / "b").touch()
    assert kubeconfig_path({"KUBECONFIG": f"{tmp_path / 'a'}:{tmp_path / 'b'}"}) == tmp_path / "b"
    assert kubeconfig_path({}) == Path.home() / ".kube" / "config"


def test_a_user_with_a_password_shows_both(tmp_path: Path) -> None:
    """As old clusters, and proxies in front of others, take them; a token goes before."""
    path = tmp_path / "config"
    write_kubeconfig(path, "https://api.example.com", "", "t")
    config = yaml.safe_load(path.read_text())
    config["users"][0]["user"] = {"username": "ann", "password": "horse"}
    path.write_text(yaml.safe_dump(config))
    found = read_kubeconfig(path)
    assert (found.username, found.password) == ("ann", "horse")
    assert asyncio.run(Credentials(found).authorization()) == {"Authorization": "Basic YW5uOmhvcnNl"}
    both = replace(found, token="t")
    assert asyncio.run(Credentials(both).authorization()) == {"Authorization": "Bearer t"}
