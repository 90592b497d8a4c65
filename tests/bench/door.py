"""How many webhooks a second Northing takes in, against a bare route that commits a row of the same size.

Each server is a process of its own; this process only sends. What is taken in is not worked on.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count

import psycopg

from connectors.sandbox.company.bulk import add_issues
from connectors.sandbox.github.changes import Change
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.views import Views, dump
from connectors.sandbox.github.webhooks import payload
from tests.bench.load import Load, drive, request
from tests.bench.northing import SECRET, northing, serving
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, program

LEAST_OF_BARE = 0.8
CONNECTIONS = (8, 32)
WARM_UP_SECONDS = 0.5
SOURCE, REPOSITORY = "hub", "acme/crowd"
TICKETS = 50  # as many different bodies


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """A server that is sent webhooks, the rows it has, and all that it has accepted so far."""

    name: str
    url: str
    database: str
    table: str
    requests: Iterator[bytes]


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, rounds: int, seconds: float
) -> None:
    """A round is, at 8 and at 32 connections, Northing and then the bare route, or the other way round."""
    bodies = _bodies()
    rates: dict[tuple[int, str], list[float]] = {(n, d): [] for n in CONNECTIONS for d in ("ours", "bare")}
    with ExitStack() as stack:
        doors = [_ours(stack, runner, databases, bodies), _bare(stack, databases, bodies)]
        sent = {door.name: _drive(runner, door, 8, WARM_UP_SECONDS).accepted for door in doors}
        for number in range(1, rounds + 1):
            report.progress(f"webhook intake, round {number} of {rounds}")
            for connections in CONNECTIONS:
                for door in doors:
                    load = _drive(runner, door, connections, seconds)
                    rates[connections, door.name].append(load.per_second)
                    sent[door.name] += load.accepted
            doors.reverse()  # who comes second finds the database with more to do
        for door in doors:
            _all_stored(door, sent[door.name])
    size = sum(map(len, bodies)) / len(bodies) / 1000
    report.section(f"Webhook intake, payloads of {size:.1f} KB: median of {rounds} rounds (lowest, highest)")
    for connections in CONNECTIONS:
        ours, bare = rates[connections, "ours"], rates[connections, "bare"]
        at = f"{connections} connections"
        report.add(Line(f"Northing, at {at}", spread(ours, "{:,.0f}", "/s")))
        report.add(Line(f"a bare route that commits the same body, at {at}", spread(bare, "{:,.0f}", "/s")))
        report.add(ratio(f"Northing against the bare route, at {at}", ours, bare, least=LEAST_OF_BARE))


def _drive(runner: asyncio.Runner, door: _Endpoint, connections: int, seconds: float) -> Load:
    return runner.run(drive(door.url, door.requests, connections, seconds))


def _ours(stack: ExitStack, runner: asyncio.Runner, databases: Databases, bodies: list[bytes]) -> _Endpoint:
    database = stack.enter_context(databases.fresh("intake"))
    runner.run(_connect(database))
    url = stack.enter_context(serving(database, worker=False))
    return _Endpoint("ours", url, database, "deliveries", _requests(f"{url}/webhooks/{SOURCE}", bodies))


def _bare(stack: ExitStack, databases: Databases, bodies: list[bytes]) -> _Endpoint:
    database = stack.enter_context(databases.fresh("bare_door", migrated=False))
    url = stack.enter_context(program("tests.bench.bare_route", database)).strip()
    return _Endpoint("bare", url, database, "bare", _requests(f"{url}/bare", bodies))


async def _connect(database: str) -> None:
    """A source that takes webhooks; its tracker is never called."""
    async with northing(database) as instance:
        await instance.send(
            "POST",
            "/sources",
            {
                "name": SOURCE,
                "kind": "github",
                "base_url": "http://127.0.0.1:9",
                "credentials": {"type": "token", "token": "of-nobody"},
                "scope": {"repositories": [REPOSITORY]},
                "webhook_secret": SECRET,
                "schedule": {"every": None, "full": None},
            },
        )


def _bodies() -> list[bytes]:
    """What GitHub sends when tickets get a label."""
    host = GitHubHost()
    add_issues(host, REPOSITORY, TICKETS)
    views = Views(
        "https://github.com", "https://api.github.com", host.features, host.association, host.fields
    )
    lead = host.account("dev-lead")
    issues = host.repository(REPOSITORY).issues.values()
    changes = [Change("issues", "labeled", issue, lead, {"label": "epic"}) for issue in issues]
    return [dump(payload(views, change)) for change in changes]


def _requests(url: str, bodies: list[bytes]) -> Iterator[bytes]:
    """The same deliveries without end, each time under new ids; the signatures are made beforehand."""
    wholes = [request("POST", url, _headers(body), body) for body in bodies]
    halves = [whole.split(b"ID-OF-DELIVERY", 1) for whole in wholes]
    for number in count():
        before, after = halves[number % len(halves)]
        yield b"%b%036d%b" % (before, number, after)


def _headers(body: bytes) -> list[tuple[str, str]]:
    return [
        ("User-Agent", "GitHub-Hookshot/0a1b2c3"),
        ("Accept", "*/*"),
        ("Content-Type", "application/json"),
        ("X-GitHub-Delivery", "ID-OF-DELIVERY"),
        ("X-GitHub-Event", "issues"),
        ("X-Hub-Signature-256", "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()),
    ]


def _all_stored(door: _Endpoint, sent: int) -> None:
    with psycopg.connect(door.database, connect_timeout=10) as connection:
        row = connection.execute(f"SELECT count(*) FROM {door.table}").fetchone()
    assert row is not None
    if row[0] != sent:
        raise RuntimeError(f"{sent} webhooks were accepted, {row[0]} rows are in {door.table}")
