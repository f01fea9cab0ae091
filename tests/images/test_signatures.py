"""Signatures: what cosign's specification asks for, checked by openssl, carried by registries, and required by a policy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fairway.connections import must_be_signed
from fairway.images.attach import signature_tag
from fairway.images.credentials import Account, remember
from fairway.images.distribution import Remote
from fairway.images.layout import Descriptor, encode
from fairway.images.pulling import NotPulled, PulledImages, Wish
from fairway.images.reference import parse_reference
from fairway.images.registry import LocalRegistry
from fairway.images.signature_policy import PolicyMistake, read_policy
from fairway.images.signatures import BadKey, NotSigned, new_keys, private_key, public_key, sign, verify
from fairway.images.transfer import push
from tests.images.servers import TOKEN, debians
from tests.images.test_transfer import image

NAME = "registry.example.com/shop/app:1"


def fairway(folder: Path, *words: str, code: int = 0, **environment: str) -> str:
    env = {**os.environ, "FAIRWAY_STATE": str(folder / "state"), "HOME": str(folder), **environment}
    done = subprocess.run([str(Path(sys.executable).with_name("fairway")), *words], cwd=folder, env=env, capture_output=True,
                          text=True, timeout=60)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def made(folder: Path) -> Descriptor:
    """An image in the embedded registry."""
    layout = LocalRegistry(folder / "state" / "registry").layout("registry.example.com/shop/app")
    found = image(layout)
    layout.tag("1", found)
    return found


def test_the_commands_make_what_cosign_specifies_and_openssl_finds_it_good(tmp_path: Path) -> None:
    found = made(tmp_path)
    assert "is not encrypted" in fairway(tmp_path, "image", "keys", "--out", "plain")
    fairway(tmp_path, "image", "keys", FAIRWAY_KEY_PASSWORD="hunter2")
    assert (tmp_path / "cosign.key").stat().st_mode & 0o777 == 0o600
    assert "exists already" in fairway(tmp_path, "image", "keys", code=1)
    assert "its password is that of" in fairway(tmp_path, "image", "sign", NAME, "--key", "cosign.key", code=1)
    said = fairway(tmp_path, "image", "sign", NAME, "--key", "cosign.key", "-a", "stage=tested", COSIGN_PASSWORD="hunter2")
    tag = f"sha256-{found.digest.removeprefix('sha256:')}.sig"
    assert f"registry.example.com/shop/app:{tag}" in said
    layout = LocalRegistry(tmp_path / "state" / "registry").layout("registry.example.com/shop/app")
    manifest = layout.read_json(layout.manifests()[tag].digest)
    [layer] = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
    payload = layout.read(layer["digest"])
    assert json.loads(payload) == {
        "critical": {"identity": {"docker-reference": "registry.example.com/shop/app"},
                     "image": {"docker-manifest-digest": found.digest}, "type": "cosign container image signature"},
        "optional": {"stage": "tested"}}
    (tmp_path / "payload").write_bytes(payload)
    (tmp_path / "signature").write_bytes(base64.b64decode(layer["annotations"]["dev.cosignproject.cosign/signature"]))
    if shutil.which("openssl"):
        argv = ["openssl", "dgst", "-sha256", "-verify", "cosign.pub", "-signature", "signature", "payload"]
        assert subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True).stdout.strip() == "Verified OK"
    assert "1 signature stands" in fairway(tmp_path, "image", "verify", NAME, "--key", "cosign.pub", "-a", "stage=tested")
    assert "1 signature stands" in fairway(tmp_path, "image", "verify", NAME, "--key", "plain.pub", "--key", "cosign.pub")
    assert "it was made with another key" in fairway(tmp_path, "image", "verify", NAME, "--key", "plain.pub", code=1)
    other = fairway(tmp_path, "image", "verify", NAME, "--key", "cosign.pub", "-a", "stage=built", code=1)
    assert "does not hold stage=built" in other
    assert tag not in fairway(tmp_path, "image", "list"), "a signature is no image"
    assert LocalRegistry(tmp_path / "state" / "registry").resolve(parse_reference(NAME)) == found


def test_a_signature_that_openssl_made_stands(tmp_path: Path) -> None:
    """The other way round: key, payload and signature by openssl, as a signer of somebody else's would."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    registry, reference = LocalRegistry(tmp_path / "registry"), parse_reference(NAME)
    layout = registry.layout(reference.name)
    found = image(layout)
    script = ("openssl ecparam -genkey -name prime256v1 -noout -out k && openssl ec -in k -pubout -out k.pub && "
              "openssl dgst -sha256 -sign k -out s p")
    payload = encode({"critical": {"identity": {"docker-reference": ""}, "image": {"docker-manifest-digest": found.digest},
                                   "type": "cosign container image signature"}, "optional": None})
    (tmp_path / "p").write_bytes(payload)
    subprocess.run(["sh", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    blob = layout.write(payload, "application/vnd.dev.cosign.simplesigning.v1+json")
    signature = base64.b64encode((tmp_path / "s").read_bytes()).decode()
    layer = {**blob.as_json(), "annotations": {"dev.cosignproject.cosign/signature": signature}}
    config = layout.write(b"{}", "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    document = {"schemaVersion": 2, "mediaType": kind, "config": config.as_json(), "layers": [layer]}
    layout.tag(signature_tag(found.digest), layout.write(encode(document), kind))
    assert len(verify(layout, found.digest, [public_key((tmp_path / "k.pub").read_bytes())])) == 1
    again = sign(layout, reference, found.digest, private_key(new_keys(b"")[0], b""), {})
    assert len(layout.read_json(again.digest)["layers"]) == 2, "signatures add up"


def test_a_signature_of_another_image_does_not_stand(tmp_path: Path) -> None:
    reference = parse_reference(NAME)
    layout = LocalRegistry(tmp_path).layout(reference.name)
    one, other = image(layout, b"one"), image(layout, b"other")
    private, public = new_keys(b"")
    stolen = sign(layout, reference, one.digest, private_key(private, b""), {})
    layout.tag(signature_tag(other.digest), stolen)
    with pytest.raises(NotSigned, match=f"a good signature, but of {one.digest}, not of this image"):
        verify(layout, other.digest, [public_key(public)])
    with pytest.raises(NotSigned, match="has no signature"):
        verify(layout, image(layout, b"third").digest, [public_key(public)])


def test_keys_that_cannot_be_used_say_why() -> None:
    with pytest.raises(BadKey, match="cosign's own encryption is not read"):
        private_key(b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nx\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----", b"x")
    with pytest.raises(BadKey, match=r"a PEM file such as cosign\.pub is needed"):
        public_key(b"no key")
    private, public = new_keys(b"secret")
    with pytest.raises(BadKey, match="cannot be read"):
        private_key(private, b"wrong")
    with pytest.raises(BadKey, match="cannot be read"):
        private_key(public, b"")


def test_a_node_runs_what_the_policy_wants_signed_only_with_a_signature(tmp_path: Path) -> None:
    async def story() -> None:
        private, public = new_keys(b"")
        (tmp_path / "team.pub").write_bytes(public)
        policy = tmp_path / "image-policy.yaml"
        async with debians(tmp_path, locked=True) as host:
            registry, reference = LocalRegistry(tmp_path / "made"), parse_reference(f"{host}/team/app:1")
            layout = registry.layout(reference.name)
            found = image(layout)
            layout.tag("1", found)

            async def publish() -> None:
                async with Remote.open(host, "team/app", account=Account("somebody", TOKEN)) as remote:
                    await push(registry, reference, remote)

            def node(name: str) -> PulledImages:
                remember(host, Account("somebody", TOKEN), tmp_path / name / "accounts.json")
                return PulledImages(LocalRegistry(tmp_path / name / "registry"), LocalRegistry(tmp_path / name / "pulled"),
                                    tmp_path / name / "unpacked", lambda: [tmp_path / name / "accounts.json"],
                                    iter(range(1000)).__next__, must_be_signed(policy))

            one = node("one")
            await publish()
            assert (await one.ensure(str(reference), Wish())).digest == found.digest, "there is no policy yet"
            policy.write_text(f"images: [{{match: '{host}/team/*', keys: [team.pub], annotations: {{stage: tested}}}}]")
            for wish in (Wish(), Wish("Never")):
                with pytest.raises(NotPulled, match=r"must be signed .*: sha256:\w+ has no signature; sign it") as refused:
                    await one.ensure(str(reference), wish)
                assert refused.value.reason == "SignatureValidationFailed"
            sign(layout, reference, found.digest, private_key(private, b""), {"stage": "built"})
            await publish()
            with pytest.raises(NotPulled, match="does not hold stage=tested"):
                await one.ensure(str(reference), Wish())
            sign(layout, reference, found.digest, private_key(private, b""), {"stage": "tested"})
            await publish()
            assert (await one.ensure(str(reference), Wish())).digest == found.digest, "its signature was fetched after it"
            assert (await node("two").ensure(str(reference), Wish())).digest == found.digest
            mine = LocalRegistry(tmp_path / "one" / "registry").layout(f"{host}/team/own")
            mine.tag("1", image(mine))
            with pytest.raises(NotPulled, match="must be signed"):
                await one.ensure(f"{host}/team/own:1", Wish())
            policy.write_text("images: [{match: x}]")
            with pytest.raises(NotPulled, match=r"which images must be signed is not known: .*images\[0\]: match needs"):
                await one.ensure(str(reference), Wish())

    asyncio.run(story())


@pytest.mark.parametrize(("name", "concerned"), [
    ("registry.example.com/shop/app", True), ("registry.example.com/shop/deep/app", True), ("registry.example.com/shop", False),
    ("registry-example.com/shop/app", False), ("docker.io/library/nginx", True), ("docker.io/library/redis", False)])
def test_patterns_of_a_policy(tmp_path: Path, name: str, concerned: bool) -> None:
    key = new_keys(b"")[1].decode().replace("\n", "\\n")
    file = tmp_path / "image-policy.yaml"
    patterns = ("registry.example.com/shop/**", "docker.io/*/ng*")
    file.write_text("images:\n" + "".join(f'- {{match: "{pattern}", keys: ["{key}"]}}\n' for pattern in patterns))
    assert any(rule.concerns(name) for rule in read_policy(file)) == concerned
    file.write_text("images: [{match: x, keys: [nowhere.pub]}]")
    with pytest.raises(PolicyMistake, match=r"images\[0\]: .*nowhere\.pub"):
        read_policy(file)
