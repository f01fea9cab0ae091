"""The shapes that names, labels, ports and amounts must have, and the words for those that do not. Pure.

Source: kubernetes `apimachinery/pkg/util/validation`; rules and message texts only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from fairway.kube.refusals import FieldError, invalid_value, required, unsupported

Errors = Iterator[FieldError]

LONGEST_NAME, LONGEST_LABEL, LONGEST_PORT_NAME = 253, 63, 15
_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_SERVICE_NAME = re.compile(r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
_WILDCARD = re.compile(r"^\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_QUALIFIED = re.compile(r"^([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_CONFIG_KEY = re.compile(r"^[-._a-zA-Z0-9]+$")
_PERCENT = re.compile(r"^[0-9]+%$")

_LABEL_WORDS = ("a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
                "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
                "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')")
_SUBDOMAIN_WORDS = ("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
                    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
                    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
_SERVICE_WORDS = ("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
                  "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
                  "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')")
_WILDCARD_WORDS = ("a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must "
                   "consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. "
                   "'*.example.com', regex used for validation is '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?"
                   "(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')")
_QUALIFIED_WORDS = ("name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
                    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
                    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')")
_VALUE_WORDS = ("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
                "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
                "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')")
_CONFIG_KEY_WORDS = ("a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or "
                     "'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')")
_PERCENT_WORDS = ("a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex "
                  "used for validation is '[0-9]+%')")


def _shaped(path: str, value: str, shape: re.Pattern[str], words: str, longest: int) -> Errors:
    if len(value) > longest:
        yield invalid_value(path, value, f"must be no more than {longest} characters")
    if not shape.match(value):
        yield invalid_value(path, value, words)


def label_name(path: str, value: str) -> Errors:
    yield from _shaped(path, value, _LABEL, _LABEL_WORDS, LONGEST_LABEL)


def subdomain(path: str, value: str) -> Errors:
    yield from _shaped(path, value, _SUBDOMAIN, _SUBDOMAIN_WORDS, LONGEST_NAME)


def service_name(path: str, value: str) -> Errors:
    yield from _shaped(path, value, _SERVICE_NAME, _SERVICE_WORDS, LONGEST_LABEL)


def host(path: str, value: str) -> Errors:
    """A host of an Ingress, perhaps `*.example.com`."""
    if is_address(value):
        yield invalid_value(path, value, "must be a DNS name, not an IP address")
    if "*" in value:
        yield from _shaped(path, value, _WILDCARD, _WILDCARD_WORDS, LONGEST_NAME)
    else:
        yield from subdomain(path, value)


def path_segment(path: str, value: str) -> Errors:
    if value in (".", ".."):
        yield invalid_value(path, value, f"may not be '{value}'")
    for mark in ("/", "%"):
        if mark in value:
            yield invalid_value(path, value, f"may not contain '{mark}'")


def qualified(path: str, key: str) -> Errors:
    prefix, slash, name = key.rpartition("/")
    if slash and not prefix:
        yield invalid_value(path, key, "prefix part must be non-empty")
    elif slash and not _SUBDOMAIN.match(prefix):
        yield invalid_value(path, key, "prefix part " + _SUBDOMAIN_WORDS)
    if not name:
        yield invalid_value(path, key, "name part must be non-empty")
    elif len(name) > LONGEST_LABEL:
        yield invalid_value(path, key, f"name part must be no more than {LONGEST_LABEL} characters")
    if not _QUALIFIED.match(name):
        yield invalid_value(path, key, _QUALIFIED_WORDS)


def labels(path: str, found: Mapping[str, Any]) -> Errors:
    for key, value in found.items():
        yield from qualified(path, key)
        if len(value) > LONGEST_LABEL:
            yield invalid_value(path, value, f"must be no more than {LONGEST_LABEL} bytes")
        elif not _VALUE.match(value):
            yield invalid_value(path, value, _VALUE_WORDS)


def selector(path: str, found: Mapping[str, Any] | None) -> Errors:
    """A metav1.LabelSelector."""
    if found is None:
        return
    yield from labels(f"{path}.matchLabels", found.get("matchLabels") or {})
    for place, row in enumerate(found.get("matchExpressions") or ()):
        here, operator, values = f"{path}.matchExpressions[{place}]", row.get("operator"), row.get("values") or ()
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield FieldError(f"{here}.values", "Forbidden: may not be specified when `operator` is 'Exists' or "
                                 "'DoesNotExist'", "FieldValueForbidden")
        else:
            yield invalid_value(f"{here}.operator", operator or "", "not a valid selector operator")
        yield from qualified(f"{here}.key", str(row.get("key") or ""))
        for number, value in enumerate(values):
            if not _VALUE.match(value):
                yield invalid_value(f"{here}.values[{number}]", value, _VALUE_WORDS)


def config_key(path: str, key: str) -> Errors:
    if len(key) > LONGEST_NAME:
        yield invalid_value(path, key, f"must be no more than {LONGEST_NAME} characters")
    if not _CONFIG_KEY.match(key):
        yield invalid_value(path, key, _CONFIG_KEY_WORDS)
    elif key == ".":
        yield invalid_value(path, key, "must not be '.'")
    elif key.startswith(".."):
        yield invalid_value(path, key, "must not be '..'" if key == ".." else "must not start with '..'")


def not_negative(path: str, value: Any) -> Errors:
    if isinstance(value, int) and value < 0:
        yield invalid_value(path, value, "must be greater than or equal to 0")


def one_of(path: str, value: Any, words: Sequence[str]) -> Errors:
    if not value:
        yield required(path)
    elif value not in words:
        yield unsupported(path, value, words)


def port(path: str, value: Any) -> Errors:
    if not isinstance(value, int) or not 1 <= value <= 65535:
        yield invalid_value(path, value, "must be between 1 and 65535, inclusive")


def port_name(path: str, value: str) -> Errors:
    """An IANA_SVC_NAME."""
    if len(value) > LONGEST_PORT_NAME:
        yield invalid_value(path, value, f"must be no more than {LONGEST_PORT_NAME} characters")
    if not re.match(r"^[-a-z0-9]+$", value):
        yield invalid_value(path, value, "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search(r"[a-z]", value):
        yield invalid_value(path, value, "must contain at least one letter (a-z)")
    if "--" in value:
        yield invalid_value(path, value, "must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        yield invalid_value(path, value, "must not begin or end with a hyphen")


def port_or_name(path: str, value: Any) -> Errors:
    yield from port_name(path, value) if isinstance(value, str) else port(path, value)


def count_or_percent(path: str, value: Any) -> Errors:
    """A number that is not negative, or `25%`."""
    if isinstance(value, str):
        if not _PERCENT.match(value):
            yield invalid_value(path, value, _PERCENT_WORDS)
    else:
        yield from not_negative(path, value)


def at_most_everything(path: str, value: Any) -> Errors:
    if isinstance(value, str) and _PERCENT.match(value) and int(value[:-1]) > 100:
        yield invalid_value(path, value, "must not be greater than 100%")


def is_none(value: Any) -> bool:
    return value in (0, "0%")


def is_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True
