"""Services as processes: each job its own PostgreSQL and Redis, by name or by port."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from fairway.ci.services import ServiceError, ServiceWish, running_services
from fairway.ci.services.names import hosts_text, namespace_command, rewritten
from fairway.ci.services.programs import postgres_folders, redis_program
from fairway.ci.services.wish import PortMap, port_maps
from tests.ci.test_steps import job, run

PING = """
import os, socket, sys
host, _, port = sys.argv[1].partition(":")
with socket.create_connection((host, int(port)), 5) as redis:
    redis.sendall(b"PING\\r\\n")
    print(redis.recv(64).decode().strip())
"""
needs_redis = pytest.mark.skipif(not redis_program(), reason="no redis-server here")
needs_postgres = pytest.mark.skipif(not postgres_folders(), reason="no PostgreSQL here")
needs_names = pytest.mark.skipif(not namespace_command(), reason="no mount namespaces here")


@needs_redis
def test_a_job_reaches_its_redis_by_the_port_that_it_maps(tmp_path: Path) -> None:
    steps = """
      - run: |
          cat > ping.py <<'EOF'
""" + "".join(f"          {line}\n" for line in PING.splitlines()) + """          EOF
          python3 ping.py localhost:${{ job.services.redis.ports['6379'] }}
          python3 ping.py "$ADDRESS"
"""
    ran = run(tmp_path, job(steps, more="    env: {ADDRESS: 'localhost:6379'}\n"
                                        "    services: {redis: {image: 'redis:7', ports: ['6379:6379']}}\n"))
    assert ran.decision.phase == "Succeeded", ran.lines
    assert ran.lines.count("+PONG") == 2, ran.lines


@needs_postgres
def test_a_job_has_a_database_with_the_user_and_password_of_its_service(tmp_path: Path) -> None:
    said: list[str] = []

    async def main() -> str:
        wish = ServiceWish("postgres:16-alpine", ("db",), {"POSTGRES_USER": "shop", "POSTGRES_PASSWORD": "s3cret",
                                                           "POSTGRES_DB": "orders"})
        async with running_services([wish], tmp_path, said.append, "test", by_name=True) as started:
            host, port = started.ports["db"]["5432"], started.hosts
            assert port is None or "db" in port.read_text()
            address = said[-1].rpartition(" ")[2]
            assert host == "5432"
            program = next(iter(postgres_folders().values())) / "psql"
            psql = [str(program), "-h", address.partition(":")[0], "-U", "shop", "-tAc", "select current_database()", "orders"]
            process = await asyncio.create_subprocess_exec(*psql, env={"PGPASSWORD": "s3cret"}, stdout=asyncio.subprocess.PIPE)
            answer, _ = await process.communicate()
            wrong = await asyncio.create_subprocess_exec(*psql, env={"PGPASSWORD": "no"}, stderr=asyncio.subprocess.DEVNULL)
            assert await wrong.wait() != 0
            return answer.decode().strip()

    assert asyncio.run(main()) == "orders"


@needs_redis
@needs_names
def test_two_jobs_may_mean_the_same_name_and_port(tmp_path: Path) -> None:
    async def one(number: int) -> tuple[str, str]:
        wish = ServiceWish("valkey/valkey:8", ("cache",))
        async with running_services([wish], tmp_path / str(number), lambda text: None, "test", by_name=True) as started:
            argv = started.wrapped(["python3", "-c", PING, "cache:6379"])
            process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
            answer, _ = await process.communicate()
            assert started.hosts is not None
            return answer.decode().strip(), started.hosts.read_text().partition(" ")[0]

    async def main() -> list[tuple[str, str]]:
        return list(await asyncio.gather(one(1), one(2)))

    answers = asyncio.run(main())
    assert [answer for answer, _ in answers] == ["+PONG", "+PONG"]
    assert answers[0][1] != answers[1][1]


def test_what_is_no_service_is_told(tmp_path: Path) -> None:
    async def start(wish: ServiceWish) -> None:
        async with running_services([wish], tmp_path, lambda text: None, "test", by_name=False):
            raise AssertionError("it started")

    with pytest.raises(ServiceError, match="set POSTGRES_PASSWORD" if postgres_folders() else "not on this machine"):
        asyncio.run(start(ServiceWish("postgres:16", ("db",))))
    with pytest.raises(ServiceError, match="'a:b' is not a port"):
        port_maps(ServiceWish("redis", ("r",), ports=("a:b",)))
    wish = ServiceWish("redis", ("r",), ports=("127.0.0.1:80:6379/tcp", "6379"))
    assert port_maps(wish) == (PortMap(80, 6379), PortMap(0, 6379))


def test_names_in_variables_are_replaced_where_they_do_not_lead_there_by_themselves() -> None:
    places = {("postgres", 5432): ("127.130.0.9", 5432), ("localhost", 6379): ("127.0.0.1", 40001)}
    assert rewritten("postgresql://a:b@postgres:5432/app", places) == "postgresql://a:b@127.130.0.9:5432/app"
    assert rewritten("postgresql://a:b@postgres/app", places) == "postgresql://a:b@127.130.0.9/app"
    assert rewritten("redis://localhost:6379/0 localhost:63790", places) == "redis://127.0.0.1:40001/0 localhost:63790"
    assert rewritten("postgres", places) == "127.130.0.9"
    assert rewritten("my-postgres:5432", places) == "my-postgres:5432"
    assert hosts_text({"db": "127.130.0.9"}, "127.130.0.8").startswith(
        "127.130.0.9 db\n127.130.0.8 localhost\n127.0.0.1 localhost\n")
