"""The server's connections: each wait for a client ends, and half requests shut out no whole one."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

from app.server.connections import HEAD_BYTES, OVERHEAD_BYTES, PIPELINED, ConnectionLimits, allowed
from app.webhooks.body_budget import BodyBudget
from app.webhooks.door import Intake
from tests.support.processes import environment
from tests.support.sockets import RawServer, raw_server
from tests.support.webhook_posts import EDITED, connect, headers
from tests.support.world import World

HALF_HEAD = b"POST /webhooks/github HTTP/1.1\r\nHost: northing\r\nX-Padding: "
PATIENT = ConnectionLimits(head_seconds=600, body_seconds=600, reading_seconds=600)
QUICK = ConnectionLimits(head_seconds=0.2, body_seconds=0.2, reading_seconds=0.2)
LARGE = 32 * 1024 * 1024


def request(path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"{method} {path} HTTP/1.1", "Host: northing", *lines))
    return head.encode() + b"\r\n" + body


def plain() -> FastAPI:
    """A small application: what is tested here lies before any."""
    app = FastAPI()

    @app.get("/small")
    async def small() -> PlainTextResponse:
        return PlainTextResponse("ok")

    @app.get("/large")
    async def large() -> PlainTextResponse:
        return PlainTextResponse("x" * LARGE)

    return app


@pytest.fixture
async def quick() -> AsyncIterator[RawServer]:
    """A server with very short limits."""
    async with raw_server(plain(), QUICK) as server:
        yield server


@pytest.fixture
async def patient() -> AsyncIterator[RawServer]:
    async with raw_server(plain(), PATIENT) as server:
        yield server


# --- each wait ends -------------------------------------------------------------------------------


async def test_a_head_that_does_not_come_is_not_waited_for(quick: RawServer) -> None:
    silent, half = await quick.connect(), await quick.connect(HALF_HEAD)
    assert await silent.rest() == b""
    answer = await half.rest()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"content-type: application/problem+json" in answer
    assert "head was not complete" in json.loads(answer.partition(b"\r\n\r\n")[2])["detail"]


@pytest.mark.parametrize(
    "start",
    [
        HALF_HEAD,
        b"\r\n",
        request("/small"),
        request("/small") + b"\r\n",
        request("/small") + HALF_HEAD,
        request("/nowhere", "Content-Length: 1000000", method="POST"),
        request("/small", "Transfer-Encoding: chunked") + b"5;",
    ],
)
async def test_a_byte_now_and_then_renews_no_limit(quick: RawServer, start: bytes) -> None:
    """Neither within a head, nor between two requests, nor within a body that nobody reads."""
    connection = await quick.connect(start)
    ended = asyncio.ensure_future(connection.rest())
    async with asyncio.timeout(30):
        while not ended.done():
            connection.send(b"\r\n" if start.endswith(b"\n") and b"Content-Length" not in start else b"x")
            await asyncio.wait({ended}, timeout=0.05)
    await quick.until(lambda: not quick.web.connections.open)


async def test_a_body_that_does_not_come_is_not_waited_for(
    world: World, intake: Intake, application: FastAPI
) -> None:
    await connect(world)
    lines = [f"{name}: {value}" for name, value in headers(b"").items()]
    token = f"Authorization: {world.api.headers['Authorization']}"
    async with raw_server(application, QUICK) as server:
        for path, given in (("/webhooks/github", lines), ("/api/v1/objectives", [token])):
            for length in ("Content-Length: 100", "Transfer-Encoding: chunked"):
                for expects in ((), ("Expect: 100-continue",)):
                    answer = await server.exchange(request(path, *given, length, *expects, method="POST"))
                    answer = answer.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
                    assert answer.startswith(b"HTTP/1.1 408 "), (path, length, answer)
                    assert b"connection: close" in answer
                    assert answer.count(b"HTTP/1.1 ") == 1
        assert intake.body_budget == BodyBudget()
    assert (await world.send("GET", "/objectives"))["items"] == []


async def test_a_client_that_does_not_read_is_not_waited_for(quick: RawServer) -> None:
    """Neither one that reads nothing, nor one that reads a byte now and then; one that reads gets all."""
    slow, silent = (socket.create_connection(("127.0.0.1", quick.port)) for _ in range(2))
    with closing(slow), closing(silent):
        for one in (slow, silent):
            one.sendall(request("/large"))
        await quick.until(lambda: len(quick.web.connections.open) == 2)
        while quick.web.connections.open:
            await asyncio.to_thread(slow.recv, 1)
    async with httpx.AsyncClient(base_url=quick.url) as client:
        assert len((await client.get("/large")).content) == LARGE


async def test_work_that_takes_long_is_no_wait_for_the_client() -> None:
    app, go_on = plain(), asyncio.Event()

    @app.post("/work")
    async def work() -> str:
        await go_on.wait()
        return "done"

    async with raw_server(app, QUICK) as server, httpx.AsyncClient(base_url=server.url) as client:
        answer = asyncio.create_task(client.post("/work", content=b"x" * 1000))
        late = await server.connect(HALF_HEAD)
        await late.rest()  # by now its own time is up as well
        await server.exchange(HALF_HEAD)
        go_on.set()
        assert (await answer).status_code == 200


# --- there are not too many --------------------------------------------------------------------------


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_half_requests_shut_out_no_webhook(world: World, application: FastAPI) -> None:
    await connect(world)
    body = json.dumps(EDITED).encode()
    async with raw_server(application, ConnectionLimits(connections=10)) as server:
        with_body = request("/webhooks/github", "Content-Length: 100", method="POST")
        async with httpx.AsyncClient(base_url=server.url) as client:  # what stays open is open from now on
            await client.post("/webhooks/github", content=body, headers=headers(body))
            await client.get("/readyz")
        await server.until(lambda: not server.web.connections.open)
        before = descriptors()
        async with AsyncExitStack() as server.exits:
            for number in range(40):
                await server.connect(HALF_HEAD if number % 2 else with_body)
            await server.until(lambda: len(server.web.connections.open) == 10)
            async with httpx.AsyncClient(base_url=server.url) as client:
                signed = headers(body, x_github_delivery="another")
                answer = await client.post("/webhooks/github", content=body, headers=signed)
                assert answer.status_code == 202, answer.text
                assert (await client.get("/readyz")).status_code == 200
            assert len(server.web.connections.open) <= 10
        await server.until(lambda: not server.web.connections.open)
        await server.until(lambda: descriptors() <= before)


async def test_where_all_are_worked_on_a_new_one_is_asked_to_come_again() -> None:
    app, go_on = plain(), asyncio.Event()

    @app.get("/work")
    async def work() -> str:
        await go_on.wait()
        return "done"

    async with raw_server(app, ConnectionLimits(connections=3)) as server:
        busy = [await server.connect(request("/work", "Connection: close")) for _ in range(3)]
        await server.until(lambda: len(server.web.server_state.tasks) == 3)
        refused = await server.exchange(b"")
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 10" in refused
        go_on.set()
        for connection in busy:
            assert b"done" in await connection.rest()


@pytest.mark.parametrize(
    ("soft", "hard", "then", "connections"),
    [
        (1024, 4096, 1280, 1024),
        (256, resource.RLIM_INFINITY, 1280, 1024),
        (1024, 1024, 1024, 768),
        (65536, 65536, 65536, 1024),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1024),
        (64, 128, 128, -128),
    ],
)
def test_descriptors_are_kept_for_all_that_is_no_client(
    soft: int, hard: int, then: int, connections: int
) -> None:
    assert allowed(soft, hard) == (then, connections)


def test_too_few_descriptors_stop_the_start_with_a_line(tmp_path: Path) -> None:
    env = environment(data_dir=str(tmp_path / "data"), port="0")
    command = ["sh", "-c", f"ulimit -n 200; exec {sys.executable} -m app serve"]
    ended = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "ulimit -n" in line
    assert not (tmp_path / "data").exists()


# --- oddities ------------------------------------------------------------------------------------

CHUNKED = "Transfer-Encoding: chunked"
ODD = {
    "a long line": (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "an address of a megabyte": (b"GET /" + b"x" * 1024**2 + b" HTTP/1.1\r\n", 0),
    "a long head": (request("/small", *["X-Long: " + "x" * 8000] * 5), 431),
    "a head without end": (request("/small")[:-2] + b"X-Long: " + b"x" * (HEAD_BYTES + 1), 431),
    "many headers": (request("/small", *["X-Many: 1"] * 101), 431),
    "two lengths": (request("/small", "Content-Length: 1", "Content-Length: 2"), 400),
    "length and chunks": (request("/small", "Content-Length: 4", CHUNKED, body=b"0\r\n\r\n"), 400),
    "chunks that are not last": (request("/small", "Transfer-Encoding: chunked, identity"), 400),
    "a wrong chunk": (request("/small", CHUNKED, "Connection: close", body=b"zz\r\n"), 400),
    "no path": (b"GET http://northing HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "the whole server": (b"OPTIONS * HTTP/1.1\r\nConnection: close\r\n\r\n", 404),
    "a tunnel": (b"CONNECT northing:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "bytes in the address": (b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "a folded header": (request("/small", "X-Folded: a\r\n b"), 400),
    "a version of its own": (b"GET /small HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    "not UTF-8 in the path": (request("/%ff%fe%00", "Connection: close"), 404),
    "an absolute address": (b"GET http://northing/small HTTP/1.1\r\nConnection: close\r\n\r\n", 200),
    "an old version": (b"GET /small HTTP/1.0\r\n\r\n", 200),
    "another protocol": (request("/small", "Upgrade: h2c", "Connection: upgrade, close"), 200),
}


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_request_ends_in_words(patient: RawServer, name: str) -> None:
    sent, status = ODD[name]
    answer = await patient.exchange(sent)
    if status:  # else so much comes that the words may be lost with the connection
        assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b" 500 " not in answer
    await patient.until(lambda: not patient.web.connections.open)


@pytest.mark.parametrize("kind", ["an extension", "a trailer", "trailers"])
async def test_what_is_no_content_of_a_body_is_bounded(patient: RawServer, kind: str) -> None:
    parts = {
        "an extension": (b"1;", b"x" * 1000),
        "a trailer": (b"0\r\nX-Long: ", b"x" * 1000),
        "trailers": (b"0\r\n", b"X-Many: 1\r\n" * 100),
    }
    first, more = parts[kind]
    connection = await patient.connect(request("/small", CHUNKED) + first)
    assert b" 200 " in await connection.answer()
    for _ in range(OVERHEAD_BYTES // 1000 + 2):
        connection.send(more)
    await connection.rest()
    await patient.until(lambda: not patient.web.connections.open)


async def test_a_trailer_is_no_header() -> None:
    app = plain()

    @app.post("/names")
    async def names(request: Request) -> list[str]:
        await request.body()
        return list(request.headers)

    async with raw_server(app, PATIENT) as server:
        chunks = b"1\r\nx\r\n0\r\nX-Hub-Signature-256: sha256=0\r\n\r\n"
        sent = request("/names", CHUNKED, "Connection: close", method="POST", body=chunks)
        assert (await server.exchange(sent)).endswith(b'["host","transfer-encoding","connection"]')


async def test_many_requests_at_once_on_one_connection_are_bounded(patient: RawServer) -> None:
    answered = await patient.exchange(request("/small") * PIPELINED + request("/small", "Connection: close"))
    assert answered.count(b"HTTP/1.1 200 ") == PIPELINED + 1
    many = await patient.connect(request("/small") * 5000)
    assert (await many.rest()).count(b"HTTP/1.1 200 ") < 5000
    await patient.until(lambda: not patient.web.connections.open)
