"""docker/login-action: a login where images are really pushed to. setup-buildx-action, setup-qemu-action: nothing to set up
here, and it is said."""

from __future__ import annotations

from pathlib import Path

from fairway.ci.actions.builtin import ActionFailed, BuiltIn, Use
from fairway.images.credentials import Account, forget, remember
from fairway.images.reach import PUSH_TO, is_reached


async def login(use: Use) -> None:
    password = use.text("password")
    if password:
        use.mask(password)
    registry = use.text("registry") or "docker.io"
    if bool(use.text("username")) != bool(password) and not password:
        use.warn("username is given without a password")
    if not is_reached(registry, use.variables()):
        use.notice(f"images of this run go to the embedded registry: no login to {registry} is needed ({PUSH_TO} names "
                   "registries that are really pushed to)")
        return
    from fairway.images.distribution import RegistryError, Remote  # HTTP, which most runs do not need

    account = Account(use.text("username"), password)
    try:
        async with Remote.open(registry, "", account=account) as remote:
            await remote.ping()
    except RegistryError as error:
        raise ActionFailed(str(error)) from None
    accounts = use.run.folders.home / ".docker" / "config.json"
    remember(registry, account, accounts)
    use.log("Login Succeeded!")
    if use.text("logout") != "false":
        use.at_end("Run docker/login-action", lambda: _logout(registry, accounts))


async def _logout(registry: str, accounts: Path) -> None:
    forget(registry, accounts)


async def setup_buildx(use: Use) -> None:
    use.notice("images are built without a daemon here: there is no builder to set up")
    for name, value in {"name": "fairway", "driver": "fairway", "platforms": "linux/amd64", "endpoint": "",
                        "status": "running", "flags": ""}.items():
        use.output(name, value)


async def setup_qemu(use: Use) -> None:
    use.notice("images are built for this machine's platform only: emulation is not set up")
    use.output("platforms", "linux/amd64")


LOGIN = BuiltIn("docker/login-action", {"registry": "", "username": "", "password": "", "scope": "", "ecr": "auto",
                                        "logout": "true", "registry-auth": ""}, login)
SETUP_BUILDX = BuiltIn(
    "docker/setup-buildx-action",
    {"version": "", "driver": "", "driver-opts": "", "buildkitd-flags": "", "buildkitd-config": "",
     "buildkitd-config-inline": "", "config": "", "config-inline": "", "install": "", "use": "", "endpoint": "",
     "platforms": "", "append": "", "cache-binary": "", "cleanup": "", "keep-state": "", "name": ""},
    setup_buildx,
)
SETUP_QEMU = BuiltIn("docker/setup-qemu-action", {"image": "", "platforms": "", "cache-image": "true"}, setup_qemu)
