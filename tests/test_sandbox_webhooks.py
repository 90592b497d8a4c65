"""The simulated trackers' webhooks: signed, in order, logged, sent again, and what stops them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send as SendMessage

from connectors.sandbox import faults
from connectors.sandbox.company import github_host, jira_site
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve, serve_in_thread
from connectors.sandbox.tracker import Tracker
from tests.support.webhook_posts import signature
from tests.support.webhook_receiver import SECRET, Receiver

Both = tuple[Tracker, Receiver, httpx.AsyncClient]


@asynccontextmanager
async def connected(tracker: Tracker, receiver: Receiver) -> AsyncIterator[httpx.AsyncClient]:
    """Both served, the webhook set over HTTP, and a client that may do what Northing may."""
    if isinstance(tracker, JiraTracker):
        auth, headers = (tracker.site.bot.email, tracker.site.bot.token), {}
    else:
        assert isinstance(tracker, GitHubTracker)
        auth, headers = None, {"Authorization": f"Bearer {tracker.host.bot.token}"}
    async with (
        serve(receiver) as there,
        serve(tracker) as url,
        httpx.AsyncClient(base_url=url, timeout=10, auth=auth, headers=headers) as http,
    ):
        answer = await http.put("/-/webhook", json={"url": f"{there}/webhooks/acme", "secret": SECRET})
        assert answer.status_code == 204
        yield http


async def test_jira_signs_and_names_its_webhooks() -> None:
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    async with connected(tracker, receiver) as http:
        made = await http.post("/rest/api/3/issue/SHOP-1/comment", json={"body": adf.from_text("Ours")})
        await http.put("/rest/api/3/issue/SHOP-1", json={"fields": {"labels": ["a"]}})
        await http.delete(f"/rest/api/3/issue/SHOP-1/comment/{made.json()['id']}")
        await http.delete("/rest/api/3/issue/SHOP-1")
        await tracker.webhook_sender.idle()
    events = [one.payload["webhookEvent"] for one in receiver.got]
    assert events == ["comment_created", "jira:issue_updated", "comment_deleted", "jira:issue_deleted"]
    assert receiver.got[0].payload["comment"]["author"]["accountId"] == tracker.site.bot.account_id
    assert receiver.got[1].payload["user"]["accountId"] == tracker.site.bot.account_id
    for one in receiver.got:
        assert one.path == "/webhooks/acme"
        assert one.headers["x-hub-signature"] == signature(one.body, SECRET)
        assert one.headers["x-atlassian-webhook-flow"] == "Primary"
        assert one.headers["content-type"] == "application/json"
        assert "x-atlassian-webhook-retry" not in one.headers
    assert len({one.headers["x-atlassian-webhook-identifier"] for one in receiver.got}) == 4


async def test_github_signs_and_names_its_webhooks() -> None:
    tracker, receiver = GitHubTracker(github_host()), Receiver()
    async with connected(tracker, receiver) as http:
        issue = "/repos/acme/docs/issues/1"
        made = (await http.post(f"{issue}/comments", json={"body": "Ours"})).json()
        await http.patch(f"/repos/acme/docs/issues/comments/{made['id']}", json={"body": "Aligned"})
        await http.patch(issue, json={"state": "closed", "labels": ["epic", "search", "new"]})
        await http.post("/repos/acme/docs/issues", json={"title": "New", "type": "Epic"})
        await tracker.webhook_sender.idle()
    assert [(one.event, one.action, one.status) for one in tracker.webhook_sender.sent] == [
        ("issue_comment", "created", 202),
        ("issue_comment", "edited", 202),
        ("issues", "labeled", 202),
        ("issues", "closed", 202),
        ("issues", "opened", 202),
        ("issues", "typed", 202),
    ]
    for one in receiver.got:
        assert one.payload["sender"]["login"] == "northing-bot"
        assert one.headers["x-hub-signature-256"] == signature(one.body, SECRET)
        assert one.headers["user-agent"].startswith("GitHub-Hookshot/")
        assert one.headers["x-github-hook-id"].isdigit()
        assert str(uuid.UUID(one.headers["x-github-delivery"])) == one.headers["x-github-delivery"]
    assert len({one.headers["x-github-delivery"] for one in receiver.got}) == 6


async def test_the_vendors_own_example_of_a_signature() -> None:
    """https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks"""
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    async with connected(tracker, receiver):
        tracker.webhook_sender.send("SHOP-1", "comment_created", None, b"Hello World!")
        await tracker.webhook_sender.idle()
    (sent,) = receiver.got
    example = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
    assert sent.headers["x-hub-signature"] == example


async def test_pull_requests_tell_of_their_comments_alone() -> None:
    tracker, receiver = GitHubTracker(github_host()), Receiver()
    pull = next(one for one in tracker.host.repository("acme/docs").issues.values() if one.pull_request)
    async with connected(tracker, receiver):
        tracker.host.edit(pull.key, title="New words", labels=["epic"], state="closed")
        tracker.host.comment(pull.key, "Merged")
        tracker.host.create("acme/docs", "Another", pull_request=True)
        await tracker.webhook_sender.idle()
    assert [one.headers["x-github-event"] for one in receiver.got] == ["issue_comment"]
    assert "pull_request" in receiver.got[0].payload["issue"]


async def test_an_older_server_knows_no_types() -> None:
    host = GitHubHost(features=())
    host.add_repository("acme/shop")
    tracker = GitHubTracker(host)
    async with connected(tracker, Receiver()):
        issue = host.create("acme/shop", "An issue", type="Epic")
        host.edit(issue.key, type=None)
        await tracker.webhook_sender.idle()
    assert [one.action for one in tracker.webhook_sender.sent] == ["opened"]


async def test_an_edit_that_changes_nothing_tells_nothing() -> None:
    jira, github, receiver = JiraTracker(jira_site()), GitHubTracker(github_host()), Receiver()
    async with connected(jira, receiver), connected(github, Receiver()):
        jira.site.edit("SHOP-1", summary=jira.site.issue("SHOP-1").summary)
        issue = github.host.issue("acme/docs#1")
        assert not issue.body
        github.host.edit(issue.key, title=issue.title, body="", labels=list(issue.labels), state=issue.state)
        await jira.webhook_sender.idle()
        await github.webhook_sender.idle()
    assert (jira.webhook_sender.sent, github.webhook_sender.sent) == ([], [])


async def test_webhooks_of_one_ticket_keep_their_order_and_do_not_hold_up_others() -> None:
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    release = asyncio.Event()

    async def wait(app: ASGIApp, scope: Scope, receive: Receive, send: SendMessage) -> None:
        await release.wait()
        await receiver.inbox(scope, receive, send)

    receiver.faults.add("POST *", wait)
    async with connected(tracker, receiver):
        tracker.site.edit("SHOP-1", summary="first")
        tracker.site.edit("SHOP-1", summary="second")
        tracker.site.comment("SHOP-1", "third")
        async with asyncio.timeout(30):
            while not receiver.log.count("POST *"):  # the first waits there
                await asyncio.sleep(0)
            tracker.site.edit("SHOP-2", summary="other")
            while not receiver.got:
                await asyncio.sleep(0)
        assert receiver.got[0].payload["issue"]["key"] == "SHOP-2"
        release.set()
        await tracker.webhook_sender.idle()
    words = [one.payload["issue"]["fields"]["summary"] for one in receiver.got]
    assert words == ["other", "first", "second", "second"]
    assert receiver.got[3].payload["webhookEvent"] == "comment_created"


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (faults.answer(500), 500),
        (faults.answer(429), 429),
        (faults.answer(302, headers={"Location": "/x"}), 302),
    ],
)
async def test_a_refused_webhook_is_logged_and_can_be_sent_again(trouble: faults.Action, status: int) -> None:
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    receiver.faults.add("POST *", trouble)
    async with connected(tracker, receiver) as http:
        tracker.site.comment("SHOP-1", "x")
        await tracker.webhook_sender.idle()
        [logged] = (await http.get("/-/deliveries")).json()
        assert logged == {
            "id": tracker.webhook_sender.sent[0].id, "event": "comment_created", "action": None,
            "attempts": 1, "status": status, "error": "",
        }  # fmt: skip
        assert receiver.got == []  # nobody comes back by himself
        again = await http.post(f"/-/deliveries/{logged['id']}")
        assert (again.status_code, again.json()["id"]) == (202, logged["id"])
        await tracker.webhook_sender.idle()
        [logged] = (await http.get("/-/deliveries")).json()
        assert (logged["attempts"], logged["status"]) == (2, 202)
        assert (await http.post("/-/deliveries/none")).status_code == 404
    assert receiver.got[0].body == tracker.webhook_sender.sent[0].body
    assert receiver.got[0].headers["x-atlassian-webhook-retry"] == "1"
    assert receiver.got[0].headers["x-atlassian-webhook-identifier"] == logged["id"]


async def test_a_receiver_that_drops_the_line_is_logged() -> None:
    tracker, receiver = GitHubTracker(github_host()), Receiver()
    receiver.faults.add("POST *", faults.drop())
    async with connected(tracker, receiver):
        tracker.host.comment("acme/docs#1", "x")
        await tracker.webhook_sender.idle()
        assert tracker.webhook_sender.sent[0].status is None
        assert tracker.webhook_sender.sent[0].error != ""
        delivered = tracker.webhook_sender.send_again(tracker.webhook_sender.sent[0].id)
        await tracker.webhook_sender.idle()
        assert delivered is not None
        assert (delivered.status, delivered.error) == (202, "")
    assert receiver.got[0].headers["x-github-delivery"] == delivered.id


async def test_a_muted_hook_loses_webhooks_and_a_stopped_one_has_none() -> None:
    tracker, receiver = GitHubTracker(github_host()), Receiver()
    async with connected(tracker, receiver) as http:
        tracker.webhook_sender.muted = True
        tracker.host.comment("acme/docs#1", "lost")
        tracker.webhook_sender.muted = False
        tracker.host.comment("acme/docs#1", "heard")
        await tracker.webhook_sender.idle()
        assert (await http.delete("/-/webhook")).status_code == 204
        tracker.host.comment("acme/docs#1", "after")
        assert (await http.post(f"/-/deliveries/{tracker.webhook_sender.sent[0].id}")).status_code == 404
        await tracker.webhook_sender.idle()
    assert [one.payload["comment"]["body"] for one in receiver.got] == ["heard"]


async def test_a_hook_without_a_secret_does_not_sign() -> None:
    tracker, receiver = GitHubTracker(github_host()), Receiver()
    async with connected(tracker, receiver):
        assert tracker.webhook_sender.url is not None
        tracker.webhook_sender.set(tracker.webhook_sender.url, "")
        tracker.host.comment("acme/docs#1", "x")
        await tracker.webhook_sender.idle()
    assert not any("signature" in name for name in receiver.got[0].headers)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"url": "http://127.0.0.1:1/x", "secret": "s"}, 204),
        ({"url": "https://localhost/x", "secret": "s"}, 204),
        ({"url": "http://[::1]:8000/x", "secret": "s"}, 204),
        ({"url": "https://acme.example/x", "secret": "s"}, 422),
        ({"url": "http://127.0.0.1.acme.example/x", "secret": "s"}, 422),
        ({"url": "http://localhost@acme.example/x", "secret": "s"}, 422),
        ({"url": "http://10.0.0.1/x", "secret": "s"}, 422),
        ({"url": "http://0.0.0.0/x", "secret": "s"}, 422),
        ({"url": "ftp://127.0.0.1/x", "secret": "s"}, 422),
        ({"url": "http://127.0.0.1:99999999/x", "secret": "s"}, 422),
        ({"url": "http://[::1", "secret": "s"}, 422),
        ({"url": "", "secret": "s"}, 422),
        ({"url": "http://127.0.0.1/x"}, 400),
        ({"url": "http://127.0.0.1/x", "secret": 5}, 400),
        ({"url": "http://127.0.0.1/x", "secret": "s", "events": []}, 400),
        ([], 400),
    ],
)
async def test_a_webhook_goes_to_this_machine_only(body: object, status: int) -> None:
    tracker = JiraTracker()
    async with serve(tracker) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.put("/-/webhook", json=body)).status_code == status
    assert (tracker.webhook_sender.url is not None) == (status == 204)


Send = Callable[[httpx.AsyncClient, str, dict[str, str]], Awaitable[httpx.Response]]
CONTROLS: list[Send] = [
    lambda http, id, headers: http.put(
        "/-/webhook", json={"url": "http://127.0.0.1:1/", "secret": "s"}, headers=headers
    ),
    lambda http, id, headers: http.delete("/-/webhook", headers=headers),
    lambda http, id, headers: http.post(f"/-/deliveries/{id}", headers=headers),
    lambda http, id, headers: http.delete("/-/requests", headers=headers),
]


@pytest.mark.parametrize("send", CONTROLS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "evil.example"},
    ],
)
async def test_pages_of_other_sites_control_nothing(send: Send, headers: dict[str, str]) -> None:
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    async with connected(tracker, receiver) as http:
        tracker.site.comment("SHOP-1", "x")
        await tracker.webhook_sender.idle()
        await http.get("/rest/api/3/myself")
        sender, (sent,) = tracker.webhook_sender, tracker.webhook_sender.sent
        before = (sender.url, sender.secret, sent.attempts, tracker.log.count())
        assert (await send(http, sent.id, headers)).status_code == 403
        await sender.idle()
        assert (sender.url, sender.secret, sent.attempts, tracker.log.count()) == before
        assert (await send(http, sent.id, {})).is_success
        await sender.idle()
        assert (sender.url, sender.secret, sent.attempts, tracker.log.count()) != before


async def test_what_is_no_json_is_refused() -> None:
    async with serve(JiraTracker()) as url, httpx.AsyncClient(base_url=url) as http:
        assert (await http.put("/-/webhook", content=b"{")).status_code == 400


async def test_a_server_that_stops_lets_go_of_a_receiver_that_hangs() -> None:
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    receiver.faults.add("POST *", faults.hang(), times=None)
    async with serve(receiver) as there:
        async with serve(tracker):
            tracker.webhook_sender.set(there, SECRET)
            tracker.site.comment("SHOP-1", "x")
            async with asyncio.timeout(30):
                while not receiver.log.count("POST *"):
                    await asyncio.sleep(0)
        await tracker.webhook_sender.idle()
        assert (tracker.webhook_sender.sent[0].status, tracker.webhook_sender.sent[0].error) == (
            None,
            "",
        )
        tracker.site.comment("SHOP-1", "nobody listens")
        assert len(tracker.webhook_sender.sent) == 1
        receiver.faults.clear()
        async with serve(tracker):  # a tracker that comes back keeps its webhook
            tracker.site.comment("SHOP-1", "again")
            await tracker.webhook_sender.idle()
    assert [one.payload["comment"]["body"] for one in receiver.got] == ["again"]


def test_a_tracker_in_a_thread_sends_too() -> None:
    tracker, receiver = JiraTracker(jira_site()), Receiver()
    bot = tracker.site.bot
    with serve_in_thread(receiver) as there, serve_in_thread(tracker) as url:
        httpx.put(f"{url}/-/webhook", json={"url": there, "secret": SECRET})
        body = {"body": adf.from_text("x")}
        made = httpx.post(f"{url}/rest/api/3/issue/SHOP-1/comment", json=body, auth=(bot.email, bot.token))
        assert made.status_code == 201
        for _ in range(1000):
            if httpx.get(f"{url}/-/deliveries").json()[0]["status"] == 202:
                break
    (sent,) = receiver.got
    assert sent.payload["webhookEvent"] == "comment_created"


async def test_a_page_tells_too() -> None:
    tracker, receiver = GitHubTracker(github_host()), Receiver()
    async with connected(tracker, receiver) as http:
        origin = {"Origin": str(http.base_url).rstrip("/")}
        page = "/acme/docs/issues/1?as=passer-by"
        data = {"do": "comment", "text": "/northing link KR-3"}
        assert (await http.post(page, data=data, headers=origin)).status_code == 303
        await tracker.webhook_sender.idle()
    payload = receiver.got[0].payload
    assert (payload["sender"]["login"], payload["comment"]["author_association"]) == ("passer-by", "NONE")
