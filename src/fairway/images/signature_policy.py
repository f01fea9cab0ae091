"""Which images must be signed to run: `image-policy.yaml` of the state folder.

    images:
    - match: registry.example.com/shop/**     # * is no slash, ** is anything
      keys: [cosign.pub]                      # files beside this one, or PEM texts; one of them is enough
      annotations: {stage: tested}            # what the signature must hold besides
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives.asymmetric import ec

from fairway.images.layout import BadBlob, Layout
from fairway.images.reference import Reference
from fairway.images.signatures import BadKey, NotSigned, public_key, verify


class PolicyMistake(ValueError):
    """What is wrong in the file, where, and the mend."""


@dataclass(frozen=True)
class Rule:
    match: str
    keys: tuple[ec.EllipticCurvePublicKey, ...]
    annotations: Mapping[str, str]

    def concerns(self, name: str) -> bool:
        pattern = "".join(".*" if part == "**" else "[^/]*" if part == "*" else re.escape(part)
                          for part in re.split(r"(\*\*|\*)", self.match))
        return re.fullmatch(pattern, name) is not None


def read_policy(file: Path) -> tuple[Rule, ...]:
    """Empty where there is no file: then every image may run. Raises `PolicyMistake`."""
    if not file.is_file():
        return ()
    try:
        written = yaml.safe_load(file.read_text())
    except yaml.YAMLError as error:
        raise PolicyMistake(f"{file}: it is no YAML: {error}") from None
    entries = written.get("images") if isinstance(written, dict) else None
    if not isinstance(entries, list):
        raise PolicyMistake(f"{file}: a mapping with a list `images` is needed")
    return tuple(_rule(entry, f"{file}: images[{number}]", file.parent) for number, entry in enumerate(entries))


def _rule(entry: Any, where: str, folder: Path) -> Rule:
    if not isinstance(entry, dict) or set(entry) - {"match", "keys", "annotations"}:
        raise PolicyMistake(f"{where}: a mapping of match, keys and annotations is needed")
    keys, annotations = entry.get("keys"), entry.get("annotations") or {}
    if not isinstance(entry.get("match"), str) or not isinstance(keys, list) or not keys or not isinstance(annotations, dict):
        raise PolicyMistake(f"{where}: match needs a pattern of names, keys at least one public key, annotations a mapping")
    try:
        pems = [key.encode() if "BEGIN" in key else (folder / key).read_bytes() for key in map(str, keys)]
        return Rule(entry["match"], tuple(map(public_key, pems)), {str(k): str(v) for k, v in annotations.items()})
    except (BadKey, OSError) as error:
        raise PolicyMistake(f"{where}: {error}") from None


def refusal(rules: Sequence[Rule], reference: Reference, layout: Layout, digest: str) -> str:
    """Why the image may not run; "" where it may. Every rule that concerns its name must be met."""
    for rule in rules:
        if not rule.concerns(reference.name):
            continue
        try:
            verify(layout, digest, rule.keys, rule.annotations)
        except (NotSigned, BadBlob) as error:
            return (f"image {reference} must be signed ({rule.match} in image-policy.yaml): {error}; sign it: "
                    f"fairway image sign {reference.name}@{digest} --key KEY")
    return ""
