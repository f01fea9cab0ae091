"""Images as a node has them: from the embedded registry, else pulled from the registry that their name names.

This machine is the registry of whatever was pushed to it. Everything else lies in a folder of its own, so that the policy
`Always` can ask again what a tag means now. Pods that ask for one image at once share one pull.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fairway.images.credentials import Account, BadCredentials, account_of
from fairway.images.distribution import Denied, NotThere, RegistryError, Remote
from fairway.images.layout import BadBlob, Layout
from fairway.images.platforms import NoPlatform, own_platform
from fairway.images.pull_accounts import accounts_for
from fairway.images.reference import Reference, parse_reference
from fairway.images.registry import LocalRegistry, UnknownImage
from fairway.images.transfer import Moved, pull
from fairway.images.unpack import EmbeddedImages, UnpackedImage

Policy = Literal["Always", "IfNotPresent", "Never"]
Tell = Callable[[str, str], None]
"""(reason, message) of an event, in the kubelet's words."""
Refusal = Callable[[Reference, Layout, str], str]


def nobody(reason: str, message: str) -> None:
    return


def anything(reference: Reference, layout: Layout, digest: str) -> str:
    return ""


class NotPulled(Exception):
    """`reason` is the kubelet's: ErrImagePull, ErrImageNeverPull, SignatureValidationFailed."""

    def __init__(self, message: str, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Wish:
    """How an image is wanted. `auths` are those of the pod's pull secrets."""

    policy: Policy = "IfNotPresent"
    auths: tuple[Mapping[str, Any], ...] = ()
    tell: Tell = field(default=nobody, compare=False)


class PulledImages:
    """`accounts` gives the files in which this machine's own accounts are; `clock` seconds; `refusal` says why an image that is
    here (its reference, layout and digest) may not run."""

    def __init__(self, registry: LocalRegistry, pulled: LocalRegistry, unpacked: Path, accounts: Callable[[], Sequence[Path]],
                 clock: Callable[[], float], refusal: Refusal = anything) -> None:
        self._refusal, self._embedded = refusal, registry
        self._here = EmbeddedImages(registry, unpacked)
        self._registry = pulled
        self._pulled = EmbeddedImages(pulled, unpacked)
        self._accounts, self._clock = accounts, clock
        self._busy: dict[tuple[str, str], asyncio.Task[Moved]] = {}

    async def ensure(self, reference: str, wish: Wish) -> UnpackedImage:
        """Raises `BadReference`, `NotPulled`, `BadBlob`, `Unpackable`."""
        parsed = parse_reference(reference)
        try:
            await self._check(self._embedded, parsed)
            return await self._here.ensure(reference)
        except UnknownImage as unknown:
            not_here = str(unknown)
        present = wish.policy != "Always" and self._has(parsed)
        if present and not (why := await self._why_not(self._registry, parsed)):
            return await self._pulled.ensure(reference)
        if present and wish.policy == "Never":
            raise NotPulled(why, "SignatureValidationFailed")
        if wish.policy == "Never":
            raise NotPulled(f'Container image "{reference}" is not present with pull policy of Never', "ErrImageNeverPull")
        wish.tell("Pulling", f'Pulling image "{reference}"')
        begun = self._clock()
        moved = await self._joined(parsed, wish, not_here)
        await self._check(self._registry, parsed)
        found = await self._pulled.ensure(reference)
        took = f"{self._clock() - begun:.3f}s"
        size = sum(part.size for part in self._registry.layout(parsed.name).parts(self._image(parsed, found.digest)))
        wish.tell("Pulled", f'Successfully pulled image "{reference}" in {took} ({took} including waiting). Image size: '
                  f"{size} bytes{'' if moved.sent else ', all of them present already'}.")
        return found

    async def _why_not(self, registry: LocalRegistry, reference: Reference) -> str:
        found = registry.resolve(reference)
        return await asyncio.to_thread(self._refusal, reference, registry.layout(reference.name), found.digest)

    async def _check(self, registry: LocalRegistry, reference: Reference) -> None:
        if why := await self._why_not(registry, reference):
            raise NotPulled(why, "SignatureValidationFailed")

    def _has(self, reference: Reference) -> bool:
        try:
            self._registry.resolve(reference)
        except UnknownImage:
            return False
        return True

    def _image(self, reference: Reference, digest: str) -> Any:
        return self._registry.resolve(reference.with_digest(digest))

    async def _joined(self, reference: Reference, wish: Wish, not_here: str) -> Moved:
        """One pull for all that want the same with the same accounts; it goes on when one of them no longer waits."""
        key = (str(reference), repr(wish.auths))
        task = self._busy.get(key)
        if task is None:
            fetching = self._fetched(reference, wish.auths, not_here)
            task = self._busy[key] = asyncio.create_task(fetching, name=f"pull {reference}")
            task.add_done_callback(lambda done: (self._busy.pop(key, None), done.cancelled() or done.exception()))
        return await asyncio.shield(task)

    async def _fetched(self, reference: Reference, auths: tuple[Mapping[str, Any], ...], not_here: str) -> Moved:
        try:
            own = account_of(reference.registry, self._accounts())
        except BadCredentials as error:
            raise NotPulled(str(error)) from None
        given: list[Account | None] = [*accounts_for(reference, auths), *([own] if own is not None else [])]
        denied: Denied | None = None
        for account in given or [None]:
            try:
                async with Remote.open(reference.registry, reference.repository, account=account) as remote:
                    return await pull(remote, reference, self._registry, own_platform(platform.machine()))
            except Denied as error:
                denied = error
            except (RegistryError, NoPlatform, BadBlob) as error:
                raise NotPulled(_words(reference, error, not_here)) from error
        assert denied is not None
        raise NotPulled(_words(reference, denied, not_here)) from denied


def _words(reference: Reference, error: Exception, not_here: str) -> str:
    """As containerd and the kubelet say it, and what we know besides."""
    resolving = f'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}"'
    match error:
        case NotThere():
            said = f"rpc error: code = NotFound desc = {resolving}: {reference}: not found"
        case Denied():
            said = (f"rpc error: code = Unknown desc = {resolving}: pull access denied, repository does not exist or may "
                    f"require authorization: {error}; or give the pod an imagePullSecret")
        case NoPlatform():
            said = (f'rpc error: code = NotFound desc = failed to pull and unpack image "{reference}": no match for platform '
                    f"in manifest: not found ({error})")
        case _:
            said = f"rpc error: code = Unknown desc = {resolving}: failed to do request: {error}"
    return f"{said}. Nor is it in this machine's registry: {not_here}"
