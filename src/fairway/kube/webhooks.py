"""Admission webhooks: others are asked about a write, before it is stored, and may change or refuse it.

Mutating ones first, one after the other, in the order of their configurations' names; one that asks for it is asked again when
a later one changed the object. Then the validating ones, all at once.
Source: kubernetes `apiserver/pkg/admission/plugin/webhook`.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from fairway.kube import cel
from fairway.kube.errors import ApiError, BadRequest
from fairway.kube.objects import Obj, meta_of
from fairway.kube.patches import json_patch
from fairway.kube.reviewed import Reviewed, concerns, conditions_hold, scope_of

_VERSIONS = ("v1", "v1beta1")
_LARGEST_ANSWER = 3 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a webhook listens. `host` and `port` are connected to; `name` is what its certificate must say."""

    url: str
    host: str = ""
    port: int = 0
    name: str = ""


Reach = Callable[[Mapping[str, Any]], Place]
"""From a clientConfig's `service` to where it is; `ApiError` where nobody answers for it."""


class NotAnswered(Exception):
    """The webhook could not be asked, or made no sense."""


class Webhooks:
    """Asks. `reach` finds Services."""

    def __init__(self, reach: Reach) -> None:
        self._reach = reach

    async def mutate(self, asked: Reviewed, configurations: Sequence[Obj], warnings: list[str]) -> Obj:
        """The object as the webhooks want it."""
        assert asked.new is not None
        hooks = _in_order(configurations)
        current, changed_by = asked.new, -1
        for turn in (1, 2):
            for place, hook in enumerate(hooks):
                again = turn == 2 and hook.get("reinvocationPolicy") == "IfNeeded" and place < changed_by
                if turn == 2 and not again:
                    continue
                after = await self._mutated(hook, asked.of(current), warnings)
                if after != current:
                    current, changed_by = after, place
        return current

    async def validate(self, asked: Reviewed, configurations: Sequence[Obj], warnings: list[str]) -> None:
        """Raises the first refusal."""
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(self._refusal(hook, asked, warnings)) for hook in _in_order(configurations)]
        for answer in answers:
            if (refusal := answer.result()) is not None:
                raise refusal

    async def _refusal(self, hook: Obj, asked: Reviewed, warnings: list[str]) -> ApiError | None:
        try:
            await self._answer(hook, asked, warnings)
        except ApiError as error:
            return error
        return None

    async def _mutated(self, hook: Obj, asked: Reviewed, warnings: list[str]) -> Obj:
        assert asked.new is not None
        answer = await self._answer(hook, asked, warnings)
        if answer is None or not answer.get("patch"):
            return asked.new
        try:
            operations = msgspec.json.decode(base64.b64decode(answer["patch"]))
            changed: Obj = json_patch.apply_operations(asked.new, operations)
        except (ValueError, msgspec.DecodeError, json_patch.PatchFailed) as error:
            raise ApiError(f'Internal error occurred: admission webhook "{hook["name"]}" attempted to modify the object, which '
                           f"failed: {error}") from error
        return changed

    async def _answer(self, hook: Obj, asked: Reviewed, warnings: list[str]) -> Obj | None:
        """The `response` of a webhook that allows; None where it was not asked. Raises its refusal."""
        name = hook["name"]
        if not concerns(hook, hook.get("rules"), asked):
            return None
        try:
            if not conditions_hold(hook.get("matchConditions"), scope_of(asked)):
                return None
            if asked.dry_run and hook.get("sideEffects") not in ("None", "NoneOnDryRun"):
                raise BadRequest(f'admission webhook "{name}" does not support dry run')
            answer = await self._asked(hook, asked)
        except (NotAnswered, cel.EvaluationError, cel.Unsupported) as error:
            if hook.get("failurePolicy") == "Ignore":
                return None
            raise ApiError(f'Internal error occurred: failed calling webhook "{name}": {error}', details={
                "causes": [{"message": f'failed calling webhook "{name}": {error}'}]}) from error
        warnings.extend(str(text) for text in answer.get("warnings") or ())
        if not answer.get("allowed"):
            raise _denied(name, answer.get("status") or {})
        return answer

    async def _asked(self, hook: Obj, asked: Reviewed) -> Obj:
        uid, seconds = str(uuid.uuid4()), int(hook.get("timeoutSeconds") or 10)
        version = next((v for v in hook.get("admissionReviewVersions") or () if v in _VERSIONS), "v1")
        review = {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "request": asked.request(uid)}
        body = await post(hook.get("clientConfig") or {}, review, seconds, self._reach)
        answer = body.get("response")
        if not isinstance(answer, dict):
            raise NotAnswered("webhook response was absent")
        if answer.get("uid") != uid:
            raise NotAnswered(f'expected response.uid="{uid}", got "{answer.get("uid", "")}"')
        return answer


def _in_order(configurations: Sequence[Obj]) -> list[Obj]:
    ordered = sorted(configurations, key=lambda one: str(meta_of(one)["name"]))
    return [hook for one in ordered for hook in one.get("webhooks") or ()]


def _denied(name: str, status: Mapping[str, Any]) -> ApiError:
    said = f'admission webhook "{name}" denied the request'
    message = status.get("message") or status.get("reason")
    code = max(int(status.get("code") or 0), 400)
    error = ApiError(f"{said}: {message}" if message else f"{said} without explanation", code=code,
                     details=status.get("details"))
    error.reason = str(status.get("reason") or "")
    return error


async def post(config: Mapping[str, Any], review: Obj, seconds: int, reach: Reach) -> Obj:
    """Send a review to a clientConfig's webhook; its answer. `NotAnswered` says why there is none."""
    place = Place(str(config["url"])) if config.get("url") else _reached(config.get("service") or {}, reach)
    url = place.url if not place.host else place.url.replace(place.name, f"{place.host}:{place.port}", 1)
    shown_url = f"{place.url}?timeout={seconds}s"
    headers = {"Content-Type": "application/json", **({"Host": place.name} if place.name else {})}
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)) as session,
            session.post(url, params={"timeout": f"{seconds}s"}, data=msgspec.json.encode(review), ssl=_trust(config),
                         server_hostname=place.name or None, allow_redirects=False, headers=headers) as answer,
        ):
            data = await answer.content.read(_LARGEST_ANSWER)
            if answer.status != 200:
                raise NotAnswered(f"the server responded with the status code {answer.status} but did not return more "
                                  "information")
    except TimeoutError:
        raise NotAnswered(f'failed to call webhook: Post "{shown_url}": context deadline exceeded') from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise NotAnswered(f'failed to call webhook: Post "{shown_url}": {error}') from error
    try:
        found = msgspec.json.decode(data)
    except msgspec.DecodeError as error:
        raise NotAnswered(f"the answer is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise NotAnswered("the answer is no object")
    return found


def _reached(service: Mapping[str, Any], reach: Reach) -> Place:
    try:
        return reach(service)
    except ApiError as error:
        raise NotAnswered(f"failed to call webhook: {error}") from error


def _trust(config: Mapping[str, Any]) -> ssl.SSLContext:
    bundle = config.get("caBundle")
    try:
        context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode() if bundle else None)
    except (ssl.SSLError, ValueError) as error:
        raise NotAnswered(f"unable to load root certificates: {error}") from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
