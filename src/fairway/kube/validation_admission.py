"""What the API refuses in webhook configurations and admission policies, in its own words. Pure.

Source: kubernetes `pkg/apis/admissionregistration/validation`; rules and message texts only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fairway.kube.objects import Obj, dig
from fairway.kube.refusals import FieldError, duplicate, invalid_value, required, unsupported
from fairway.kube.validation_shapes import one_of, selector, subdomain

Errors = Iterator[FieldError]

_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_VERSIONS = ("v1", "v1beta1")


def webhooks(obj: Obj) -> Errors:
    names: set[str] = set()
    for place, hook in enumerate(obj.get("webhooks") or ()):
        path, name = f"webhooks[{place}]", hook.get("name") or ""
        yield from _hook(hook, path)
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)


def _hook(hook: Mapping[str, Any], path: str) -> Errors:
    name = hook.get("name") or ""
    if not name:
        yield required(f"{path}.name")
    else:
        yield from subdomain(f"{path}.name", name)
        if name.count(".") < 2:
            yield invalid_value(f"{path}.name", name, "should be a domain with at least three segments separated by dots")
    for number, rule in enumerate(hook.get("rules") or ()):
        yield from rule_mistakes(rule, f"{path}.rules[{number}]")
    if hook.get("failurePolicy") not in ("Fail", "Ignore"):
        yield unsupported(f"{path}.failurePolicy", hook.get("failurePolicy") or "", ("Fail", "Ignore"))
    if hook.get("sideEffects") is None:
        yield required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun")
    elif hook["sideEffects"] not in ("None", "NoneOnDryRun"):
        yield unsupported(f"{path}.sideEffects", hook["sideEffects"], ("None", "NoneOnDryRun"))
    seconds = hook.get("timeoutSeconds")
    if isinstance(seconds, int) and not 1 <= seconds <= 30:
        yield invalid_value(f"{path}.timeoutSeconds", seconds, "the timeout value must be between 1 and 30 seconds")
    for field in ("namespaceSelector", "objectSelector"):
        yield from selector(f"{path}.{field}", hook.get(field))
    yield from client_config(hook.get("clientConfig") or {}, f"{path}.clientConfig")
    versions = hook.get("admissionReviewVersions") or ()
    if not versions:
        yield required(f"{path}.admissionReviewVersions", f"must specify one of {', '.join(_VERSIONS)}")
    elif not set(versions) & set(_VERSIONS):
        yield invalid_value(f"{path}.admissionReviewVersions", list(versions),
                            f"must include at least one of {', '.join(_VERSIONS)}")


def client_config(config: Mapping[str, Any], path: str) -> Errors:
    """Where a webhook is: a URL, or a Service."""
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(path, "exactly one of url or service is required")
    elif url is not None and not url.startswith("https://"):
        yield invalid_value(f"{path}.url", url.partition("://")[0], "'https' is the only allowed URL scheme; desired format: "
                            "https://host[/path]")
    elif service is not None:
        for field in ("name", "namespace"):
            if not service.get(field):
                yield required(f"{path}.service.{field}", f"service {field} is required")


def rule_mistakes(rule: Mapping[str, Any], path: str) -> Errors:
    operations = rule.get("operations") or ()
    if not operations:
        yield required(f"{path}.operations")
    for number, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            yield unsupported(f"{path}.operations[{number}]", operation, _OPERATIONS)
    for field in ("apiGroups", "apiVersions", "resources"):
        found = rule.get(field) or ()
        if not found:
            yield required(f"{path}.{field}")
        elif "*" in found and len(found) > 1 and field != "resources":
            yield invalid_value(f"{path}.{field}", list(found), "if '*' is present, must not specify other "
                                f"{'API groups' if field == 'apiGroups' else 'API versions'}")
    if rule.get("scope") not in (None, "*", "Cluster", "Namespaced"):
        yield unsupported(f"{path}.scope", rule["scope"], ("*", "Cluster", "Namespaced"))


def policy(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    validations, audits = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not audits:
        yield required("spec.validations", "validations or auditAnnotations must contain at least one item")
    if not dig(spec, "matchConstraints", "resourceRules"):
        yield required("spec.matchConstraints.resourceRules" if "matchConstraints" in spec else "spec.matchConstraints")
    for place, rule in enumerate(dig(spec, "matchConstraints", "resourceRules", default=[])):
        yield from rule_mistakes(rule, f"spec.matchConstraints.resourceRules[{place}]")
    for place, row in enumerate(validations):
        if not (row.get("expression") or "").strip():
            yield required(f"spec.validations[{place}].expression", "expression is not specified")
    yield from one_of("spec.failurePolicy", spec.get("failurePolicy"), ("Fail", "Ignore"))


def policy_binding(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    if not spec.get("policyName"):
        yield required("spec.policyName")
    actions = spec.get("validationActions") or ()
    if not actions:
        yield required("spec.validationActions", "at least one validation action is required")
    for place, action in enumerate(actions):
        if action not in ("Audit", "Deny", "Warn"):
            yield unsupported(f"spec.validationActions[{place}]", action, ("Audit", "Deny", "Warn"))
    if "Deny" in actions and "Warn" in actions:
        yield invalid_value("spec.validationActions", list(actions), "must not contain both Deny and Warn (repeating the same "
                            "validation failure information in the API response and headers serves no purpose)")
