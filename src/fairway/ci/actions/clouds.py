"""Log-ins of clouds and clusters: the variables and outputs that later steps read. Nobody is asked for anything."""

from __future__ import annotations

import base64
import binascii
import json

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use

_ACCOUNT = "000000000000"


async def aws(use: Use) -> None:
    """Keys are handed on; a role cannot be assumed without a provider of identities."""
    region = use.text("aws-region")
    if not region:
        raise ActionFailed("input 'aws-region' is required")
    key, secret = use.text("aws-access-key-id"), use.text("aws-secret-access-key")
    if use.text("role-to-assume") and not key:
        use.neutral("a role cannot be assumed here: AWS_* hold no real credentials")
        key, secret = "AKIAFAIRWAYLOCALONLY", "local-only"
    if not key or not secret:
        raise ActionFailed("Credentials could not be loaded: give the secrets with --secret AWS_ACCESS_KEY_ID=… and "
                           "AWS_SECRET_ACCESS_KEY=…, or as secrets of the repository")
    use.mask(secret)
    for name, value in {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": region,
                        "AWS_DEFAULT_REGION": region, "AWS_SESSION_TOKEN": use.text("aws-session-token")}.items():
        if value:
            use.set_env(name, value)
    role = use.text("role-to-assume").split(":")
    use.output("aws-account-id", role[4] if len(role) > 4 else _ACCOUNT)


async def ecr(use: Use) -> None:
    """The registry's name, as images are named after it; they go to the embedded registry."""
    region = use.variables().get("AWS_REGION", "us-east-1")
    accounts = use.listed("registries") or [_ACCOUNT]
    registry = "public.ecr.aws" if use.text("registry-type") == "public" else f"{accounts[0]}.dkr.ecr.{region}.amazonaws.com"
    use.output("registry", registry)
    use.notice(f"images of this run go to the embedded registry: no login to {registry} is needed")


async def google(use: Use) -> None:
    credentials = use.text("credentials_json")
    path = use.temp / "gha-creds.json"
    path.write_text(credentials or json.dumps({"type": "external_account", "audience": use.text("workload_identity_provider")}))
    path.chmod(0o600)
    if credentials:
        use.mask(credentials)
    else:
        use.neutral("there is no identity provider here: the credentials open nothing")
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "GOOGLE_GHA_CREDS_PATH"):
        use.set_env(name, str(path))
    use.output("credentials_file_path", str(path))
    use.output("project_id", use.text("project_id"))


async def azure(use: Use) -> None:
    use.neutral("there is no Azure here: later `az` commands see whoever is logged in on this machine")


async def kube_context(use: Use) -> None:
    """KUBECONFIG for the steps that follow, from a kubeconfig, or a server and a token."""
    text = use.text("kubeconfig")
    if text:
        if "apiVersion" not in text:
            try:
                text = base64.b64decode(text, validate=True).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise ActionFailed("input 'kubeconfig' is neither a kubeconfig nor base64 of one") from None
    elif use.text("k8s-url"):
        token = use.text("k8s-secret")
        use.mask(token)
        text = json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "default", "clusters": [
            {"name": "default", "cluster": {"server": use.text("k8s-url")}}], "users": [
            {"name": "default", "user": {"token": token}}], "contexts": [
            {"name": "default", "context": {"cluster": "default", "user": "default"}}]})
    else:
        raise ActionFailed("input 'kubeconfig' is required; give the secret that it reads with --secret NAME=…")
    path = use.temp / "kubeconfig"
    path.write_text(text)
    path.chmod(0o600)
    use.set_env("KUBECONFIG", str(path))
    use.log(f"KUBECONFIG is {path}")


_AWS = dict.fromkeys(("aws-region", "role-to-assume", "aws-access-key-id", "aws-secret-access-key", "aws-session-token",
                      "role-session-name", "role-duration-seconds", "audience", "mask-aws-account-id"), "")
CLOUDS = (
    BuiltIn("aws-actions/configure-aws-credentials", _AWS, aws, takes_more=True),
    BuiltIn("aws-actions/amazon-ecr-login", {"registries": "", "registry-type": "private", "mask-password": "",
                                             "skip-logout": ""}, ecr),
    BuiltIn("google-github-actions/auth", {"credentials_json": "", "workload_identity_provider": "", "project_id": "",
                                           "service_account": ""}, google, takes_more=True),
    BuiltIn("azure/login", {"creds": ""}, azure, takes_more=True),
    BuiltIn("azure/k8s-set-context", {"method": "kubeconfig", "kubeconfig": "", "k8s-url": "", "k8s-secret": "", "context": "",
                                      "cluster-type": "generic"}, kube_context, takes_more=True),
)
