"""Secrets in logs: every usual form is masked, whole texts and pieces alike, and ordinary text is left alone."""

from __future__ import annotations

import base64
import json
import random
import shlex
from urllib.parse import quote

import pytest

from fairway.secrets.masking import Masker
from fairway.secrets.redaction import redacted

SECRET = "s3cr3t/pass+word & 'more\"\\x"


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        base64.b64encode(SECRET.encode()).decode(),
        base64.b64encode(f"user:{SECRET}".encode()).decode(),
        base64.b64encode(f"u:{SECRET}!".encode()).decode(),
        base64.b64encode(f"us:{SECRET}??".encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        quote(SECRET, safe=""),
        quote(SECRET),
        json.dumps({"password": SECRET}),
        shlex.quote(SECRET),
        SECRET.encode().hex(),
    ],
)
def test_no_form_of_a_secret_gets_through(text: str) -> None:
    shown = Masker([SECRET]).mask(f"before {text} after")
    assert "***" in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")
    for left in (SECRET[3:15], base64.b64encode(SECRET.encode()).decode()[4:16], quote(SECRET, safe="")[5:20]):
        assert left not in shown


def test_each_line_of_a_key_is_a_secret() -> None:
    masker = Masker(["-----BEGIN KEY-----\nAAAAB3NzaC1yc2E\nzzzzQQQQ\n-----END KEY-----\n"])
    assert masker.mask("found AAAAB3NzaC1yc2E in the log") == "found *** in the log"


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_blank_values_are_no_secrets(value: str) -> None:
    assert Masker([value]).mask("a b\nc") == "a b\nc"


def test_masks_are_added_while_a_job_runs() -> None:
    masker = Masker()
    text = "token is hunter2hunter2"
    assert masker.mask(text) == text
    masker.add("hunter2hunter2")
    assert masker.mask(text) == "token is ***"


def test_the_longest_secret_wins() -> None:
    assert Masker(["pass", "password", "word1"]).mask("password1 pass") == "***1 ***"


def test_a_stream_shows_what_the_whole_text_would_show() -> None:
    """Wherever the text is cut, nothing of a secret gets out and nothing else is lost."""
    chance = random.Random(5)
    secrets = ["hunter2!", "abcabcabd", "line one\nline two", "éàü-key"]
    masker = Masker(secrets)
    for _ in range(300):
        words = [chance.choice([*secrets, "abcabc", "hunter", "plain text\n", "é", "a"]) for _ in range(12)]
        text = "".join(words)
        stream, position, shown = masker.stream(), 0, []
        while position < len(text):
            size = chance.randint(1, 6)
            shown.append(stream.feed(text[position : position + size]))
            position += size
        shown.append(stream.close())
        assert "".join(shown) == masker.mask(text), words
        assert not any(secret in "".join(shown) for secret in secrets)


def test_a_stream_holds_back_only_what_may_be_a_secret() -> None:
    stream = Masker(["hunter2"]).stream()
    assert stream.feed("building…\n") == "building…\n"
    assert stream.feed("user hun") == "user "
    assert stream.feed("dred\n") == "hundred\n"
    assert stream.feed("pw hunter") == "pw "
    assert stream.feed("2 ok\n") == "*** ok\n"
    assert stream.close() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET / Authorization: Bearer abc.def-123", "GET / Authorization: Bearer ***"),
        ('{"authorization": "Basic dXNlcjpwYXNz"}', '{"authorization": "Basic ***"}'),
        ("cloning https://bob:hunter2@git.example.com/x.git", "cloning https://bob:***@git.example.com/x.git"),
        ("cloning https://ghp_0123456789abcdef0123@github.com/x", "cloning https://***@github.com/x"),
        ("postgresql+asyncpg://shop:p%40ss@db:5432/shop", "postgresql+asyncpg://shop:***@db:5432/shop"),
        ("POST /hook?token=abc123&x=1", "POST /hook?token=***&x=1"),
        ("Set-Cookie: session=abc; Path=/", "Set-Cookie: ***"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeK done", "jwt *** done"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
         "-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----"),
        ("authorization of the release: http://shop.local:8080/a@b", "authorization of the release: http://shop.local:8080/a@b"),
        ("see https://example.com/a:b and bearer of news", "see https://example.com/a:b and bearer of news"),
    ],
)  # fmt: skip
def test_credentials_by_their_place(text: str, expected: str) -> None:
    assert redacted(text) == expected
