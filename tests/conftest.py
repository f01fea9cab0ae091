"""What every test is watched for, besides what it asserts."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from fairway.kube.store import Version


@pytest.fixture(autouse=True)
def _nobody_changes_what_is_stored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The store and all caches share their objects, so whoever changes one in place changes it for everybody: every version is
    compared with the text that it had when it was written, at the moment when another one takes its place."""
    begin, give_up = Version.__init__, Version.keep_text
    changed: list[str] = []

    def init(self: Version, revision: int, obj: dict[str, object], raw: bytes | None = None) -> None:
        begin(self, revision, obj, raw)
        assert self.raw

    def keep_text(self: Version) -> None:
        if self._obj is not None and msgspec.json.encode(self._obj) != self.raw:
            changed.append(f"{self.raw.decode()}\nis now\n{msgspec.json.encode(self._obj).decode()}")
        give_up(self)

    monkeypatch.setattr(Version, "__init__", init)
    monkeypatch.setattr(Version, "keep_text", keep_text)
    yield
    assert not changed, "a stored object was changed in place:\n" + changed[0]
