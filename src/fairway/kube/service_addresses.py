"""Addresses of Services: from 127.32.0.0/12, chosen by name so that a Service made again answers where it did.

The API gives one to every new Service that is to have one, in the step in which it is stored, so that two never get the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable
from ipaddress import IPv4Network

from fairway.kube.objects import Obj, spec_of
from fairway.kube.refusals import FieldError, invalid_value

NETWORK = IPv4Network("127.32.0.0/12")
"""A million addresses, apart from those of pods (127.64.0.0/10)."""


def allocate(namespace: str, service: str, taken: Container[str], *, seed: str = "") -> str:
    """The first free address in the order that the name gives. `seed` keeps two platforms of one machine apart."""
    size = NETWORK.num_addresses - 2
    digest = hashlib.sha256(f"{seed}|{namespace}|{service}".encode()).digest()
    start = int.from_bytes(digest[:8], "big") % size
    for step in range(size):
        address = str(NETWORK.network_address + 1 + (start + step) % size)
        if address not in taken:
            return address
    raise ValueError(f"no address is left in {NETWORK}")


def taken_by(services: Iterable[Obj]) -> set[str]:
    return {str(address) for obj in services if (address := spec_of(obj).get("clusterIP")) not in (None, "", "None")}


def complete(service: Obj, others: Iterable[Obj], *, seed: str) -> None:
    """Give `service` an address where it has none and is to have one, and the fields that go with it. Changes `service`."""
    spec, meta = service["spec"], service["metadata"]
    if spec.get("type") == "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            spec.pop(name, None)
        return
    if not spec.get("clusterIP"):
        listed = spec.get("clusterIPs") or [""]
        spec["clusterIP"] = listed[0] or allocate(meta.get("namespace", ""), meta["name"], taken_by(others), seed=seed)
    spec["clusterIPs"] = [spec["clusterIP"]]
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    spec.setdefault("ipFamilies", ["IPv4"])


def refusal(service: Obj, others: Iterable[Obj]) -> FieldError | None:
    """An address that was asked for and is somebody else's."""
    address = spec_of(service).get("clusterIP")
    if address not in (None, "", "None") and address in taken_by(others):
        why = f"failed to allocate IP {address}: provided IP is already allocated"
        return invalid_value("spec.clusterIPs", [address], why)
    return None
