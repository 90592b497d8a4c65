"""The bench's own tools: what they count, and what they say of it."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from itertools import islice

import pytest
from fastapi import FastAPI, Request, Response

from app.server.server import WebServer, open_listener
from connectors.registry import KINDS
from connectors.sandbox.company.bulk import add_epics
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.webhooks import signed
from tests.bench import bare
from tests.bench.door import _bodies, _requests
from tests.bench.load import Line as Connection, drive, request
from tests.bench.northing import SECRET
from tests.bench.report import Report, ratio, spread
from tests.bench.servers import Tracker


@pytest.mark.parametrize(
    ("target", "met", "code"),
    [
        ({"least": 0.5}, True, 0),
        ({"least": 0.6}, False, 1),
        ({"most": 0.5}, True, 0),
        ({"most": 0.4}, False, 1),
        ({}, None, 0),
    ],
)
def test_a_target_is_for_the_median_of_the_ratios(
    target: dict[str, float], met: bool | None, code: int
) -> None:
    out = io.StringIO()
    report = Report(out)
    report.add(line := ratio("a line", [1, 5, 90], [4, 10, 100], **target))
    assert (line.figure, line.met) == ("0.50 (0.25, 0.90)", met)
    assert report.close() == code
    assert ("MISSED" in out.getvalue()) == (code == 1)


def test_a_spread_names_the_unit_once() -> None:
    assert spread([3000, 1000, 2000], "{:,.0f}", "/s") == "2,000 /s (1,000, 3,000)"


async def test_the_bare_ways_ask_for_the_pages_that_a_sync_asks_for() -> None:
    """Else the tracker would make them while a sync is measured, and they would not be the same."""
    site = JiraSite()
    add_epics(site, bare.PROJECT, 3)
    jira = KINDS["jira"]
    async with serve(JiraTracker(site)) as url:
        tracker = Tracker(url, site.bot.token, 3, site.bot.email)
        await asyncio.to_thread(bare.fetch_and_decode, tracker)
        connector = jira.connect(
            url,
            jira.credentials.model_validate(tracker.credentials),
            jira.scope.model_validate({}),
            jira.epics.model_validate({}),
        )
        try:
            (project,) = await connector.projects()
            pages = [page async for page in connector.changed_since(project, None)]
        finally:
            await connector.aclose()
    assert sum(len(page.epics) for page in pages) == 3
    assert [len(issue.rendered) for issue in site.issues.values()] == [1, 1, 1]


@asynccontextmanager
async def _server(received: list[bytes]) -> AsyncIterator[str]:
    """Takes a body it has not seen with 202, and answers one that it has with 409."""
    app = FastAPI()

    @app.post("/door")
    async def door(request: Request) -> Response:
        body = await request.body()
        received.append(body)
        return Response(b"x" * len(body), 409 if body in received[:-1] else 202)

    @app.get("/page")
    async def page() -> str:
        return "a page"

    with closing(open_listener("127.0.0.1", 0)) as listener:
        async with WebServer(app).serving(listener):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_every_request_is_sent_once_and_counted() -> None:
    received: list[bytes] = []
    async with _server(received) as url:
        # Answers longer than a packet come in parts.
        bodies = (b"%d." % number * 5_000 for number in range(10**9))
        load = await drive(url, (request("POST", f"{url}/door", [], body) for body in bodies), 4, 0.3)
    assert load.accepted == len(received) > 4
    assert load.seconds >= 0.3
    assert load.per_second == pytest.approx(load.accepted / load.seconds)


async def test_another_answer_than_202_ends_the_load() -> None:
    received: list[bytes] = []
    async with _server(received) as url:
        same = iter(lambda: request("POST", f"{url}/door", [], b"again"), None)
        with pytest.raises(RuntimeError, match=r"not accepted: b'HTTP/1.1 409"):
            await drive(url, same, 2, 30)


async def test_a_round_trip_is_asked_on_one_connection() -> None:
    async with _server([]) as url:
        line = await Connection.to(url)
        try:
            question = request("GET", f"{url}/page", [])
            assert all([0 < await line.ask(question) < 30 for _ in range(3)])
            with pytest.raises(RuntimeError, match=r"not answered: b'HTTP/1.1 404"):
                await line.ask(request("GET", f"{url}/nowhere", []))
        finally:
            await line.close()


def test_deliveries_are_signed_of_ten_kilobytes_and_new_each_time() -> None:
    bodies = _bodies()
    ids = set()
    for whole in islice(_requests("http://127.0.0.1/webhooks/hub", bodies), len(bodies) * 2):
        head, _, body = whole.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
        assert 9_000 < len(body) == int(headers["Content-Length"]) < 12_000
        assert signed(SECRET, body, headers["X-Hub-Signature-256"])
        ids.add(headers["X-GitHub-Delivery"])
    assert len(ids) == len(bodies) * 2
