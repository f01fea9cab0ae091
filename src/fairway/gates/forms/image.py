"""What a build says of an image: `fairway image build --metadata-file`, or an OCI image manifest. Bytes and seconds."""

from __future__ import annotations

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, loaded, misread

_KEYS = {"size": "fairway.image.size", "build": "fairway.build.seconds"}


def read_image(text: str) -> Measured:
    body = loaded(text)
    if not isinstance(body, dict):
        raise Unreadable("neither a build's metadata nor an image manifest")
    try:
        if isinstance(body.get("layers"), list):
            return Measured({"size": float(sum(int(layer["size"]) for layer in body["layers"]))})
        values = {ours: float(body[theirs]) for ours, theirs in _KEYS.items() if theirs in body}
    except NOT_AS_EXPECTED as error:
        raise misread("build", error) from None
    if not values:
        raise Unreadable("it names no size and no time: give what `fairway image build --metadata-file` wrote, or the manifest")
    return Measured(values, dict.fromkeys(values, str(body.get("containerimage.digest", ""))[:19]))
