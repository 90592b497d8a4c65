"""A tracker that wants our login elsewhere, or our terminal: both connectors against raw answers."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.base import BadPayload, ConnectorError, Rejected, Unauthorized
from connectors.registry import KINDS
from connectors.sandbox.faults import Action, answer_of
from tests.support.connector_calls import READS, WRITES, target
from tests.support.raw_host import AUTHORIZATION, READING, TOKEN, WRITING, Host, connector_on, host, walk
from tests.support.world import World

# --- our login goes nowhere else ---------------------------------------------------------------

# `{here}` is the tracker's own port, `{there}` that of the host that must hear nothing.
ELSEWHERE = [
    "http://127.0.0.1:{there}/x",
    "//127.0.0.1:{there}/x",
    "http://localhost:{there}/x",
    "http://localhost:{here}/x",
    "https://127.0.0.1:{here}/x",
    "http://127.0.0.1:{here}@127.0.0.1:{there}/x",
    "http://127.0.0.1:{there}\\@127.0.0.1:{here}/x",
    "http://127.0.0.1:{here}\\@127.0.0.1:{there}/x",
    "http://somebody:else@127.0.0.1:{here}/x",
    "http:\\\\127.0.0.1:{there}/x",
    "\thttp://127.0.0.1:{there}/x",
    "http://127.0.0.1:{there}?http://127.0.0.1:{here}/x",
    "http://[::ffff:127.0.0.1]:{there}/x",
    "ftp://127.0.0.1:{there}/x",
    "http://127.0.0.1:{there}0000/x",
    "http://[127.0.0.1]:{there}/x",
]


def assert_ours(heard: list[bytes], kind: str, at: Host) -> None:
    """Each request named this host and carried the login as it is, once."""
    for request in heard:
        lines = request.split(b"\r\n\r\n")[0].split(b"\r\n")
        fields = [line.partition(b": ")[::2] for line in lines[1:]]
        assert [v for n, v in fields if n.lower() == b"host"] == [f"127.0.0.1:{at.port}".encode()], request
        assert [v for n, v in fields if n.lower() == b"authorization"] == [AUTHORIZATION[kind]], request


@pytest.mark.parametrize("kind", KINDS)
async def test_no_redirect_takes_our_login_elsewhere(kind: str) -> None:
    """Nothing is sent there, nor asked of the tracker under another name or login."""
    tried = 0
    async with host() as tracker, host() as there:
        connector = connector_on(kind, tracker.url)
        for number, form in enumerate(ELSEWHERE):
            status = (301, 302, 303, 307, 308)[number % 5]
            tracker.says(f"{status} Moved", f"Location: {form.format(here=tracker.port, there=there.port)}")
            for call in (READING[number % 3], WRITING[number % 3]):
                tracker.heard.clear()
                with pytest.raises(ConnectorError):
                    await call(connector, kind)
                # A path of this very host may be asked for once more.
                assert 1 <= len(tracker.heard) <= (4 if form.startswith("\t") else 2), form
                assert_ours(tracker.heard, kind, tracker)
                tried += 1
        inspection = await connector.inspect()
        assert inspection.facts
        assert {fact.level for fact in inspection.facts} <= {"failed", "missing", "unknown"}
        await connector.aclose()
        assert (there.heard, tried) == ([], 2 * len(ELSEWHERE))


async def test_no_next_page_takes_our_login_elsewhere() -> None:
    async with host() as tracker, host() as there:
        connector = connector_on("github", tracker.url)
        for form in ELSEWHERE:
            if form.startswith("\t"):
                continue  # a header's value begins at its first mark, so this is the first form again
            address = form.format(here=tracker.port, there=there.port)
            tracker.says(
                "200 OK", f'Link: <{address}>; rel="next"', "Content-Type: application/json", body=b"[]"
            )
            tracker.heard.clear()
            with pytest.raises((Rejected, BadPayload)):
                await walk(connector, "github")
            assert 1 <= len(tracker.heard) <= 2, form  # two of them are taken for paths of this very host
            assert_ours(tracker.heard, "github", tracker)
        await connector.aclose()
        assert there.heard == []


def pointing(at: str, here: str) -> Action:
    """Every address in an answer, whatever member it stands in, leads to the other host."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        changed = re.sub(rb'"(self|nextPage|\w*url)": ?"[^"]*"', rb'"\1":"%s/x"' % at.encode(), body)
        changed = changed.replace(here.encode(), at.encode())
        await Response(changed, start["status"], media_type="application/json")(scope, receive, send)

    return act


@pytest.mark.parametrize("kind", KINDS)
async def test_no_address_in_an_answer_is_called(kind: str) -> None:
    async with target(kind) as on, host() as there:
        on.tracker.faults.add("*", pointing(there.url, "http://127.0.0.1"), times=None)
        for call in [*READS.values(), *WRITES.values()]:
            with suppress(ConnectorError):  # an issue whose address tells nothing is none
                await call(on)
        inspection = await on.connector.inspect()
        assert "ok" in {fact.level for fact in inspection.facts}
        assert len(on.tracker.log.entries) > 12
        assert there.heard == []


# --- the environment ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_netrc_never_takes_the_place_of_our_login(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login stranger password another-secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    async with host() as tracker:
        tracker.says("401 Unauthorized")
        connector = connector_on(kind, tracker.url)
        with pytest.raises(Unauthorized):
            await connector.account()
        await connector.aclose()
        assert len(tracker.heard) == 1
        assert_ours(tracker.heard, kind, tracker)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_proxy_of_the_environment_carries_what_is_encrypted_and_nothing_else(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with host() as tracker, host() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.lower(), proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        tracker.says("401 Unauthorized")
        proxy.says("502 Bad Gateway")
        outcomes = {}
        for url in (tracker.url, "https://tracker.acme.example/api/v3"):
            connector = connector_on(kind, url)
            with pytest.raises(ConnectorError) as caught:
                await connector.account()
            outcomes[url] = caught.value.code
            await connector.aclose()
        assert list(outcomes.values()) == ["unauthorized", "unavailable"]
        assert_ours(tracker.heard, kind, tracker)
        [asked] = proxy.heard
        assert asked.startswith(b"CONNECT tracker.acme.example:443 HTTP/1.")
        assert b"uthorization" not in asked
        assert TOKEN.encode() not in asked


# --- our people ---------------------------------------------------------------------------------

POISON = {"jira": "POST */search/jql", "github": "GET */repos/acme/shop/issues"}


@pytest.mark.parametrize("kind", KINDS)
async def test_words_of_a_refusal_are_shown_as_harmless_words_without_our_login(
    world: World, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A NUL and half a surrogate pair in an error once broke the run down: PostgreSQL takes neither."""
    bot = world.site.bot if kind == "jira" else world.host.bot
    message = r"no\u0000 \ud83d \u001b[2J \u202e<script>alert(1)</script> \nFAKE " + bot.token + "x" * 10_000
    body = f'{{"message": "{message}", "errorMessages": ["{message}"], "errors": {{"\\u0000": "{message}"}}}}'
    tracker = world.jira if kind == "jira" else world.github

    async def refuse(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await Response(body, 403, media_type="application/json")(scope, receive, send)

    tracker.faults.add(POISON[kind], refuse, times=None)
    await (
        world.connect_jira()
        if kind == "jira"
        else world.connect_github(scope={"repositories": ["acme/shop"]})
    )
    run: Any = await world.sync(kind)
    for words in (run["error"]["message"], (await world.health(kind))["message"]):
        assert "<script>alert(1)</script> FAKE …" in words
        assert words.isprintable()
        assert len(words) < 3_000
        assert bot.token not in words
    assert run["error"]["code"] != "internal"
    assert bot.token not in caplog.text
