"""The ticket pages: what they show, what their forms do, and what they refuse."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from connectors.sandbox.company import github_host, jira_site
from connectors.sandbox.faults import first
from connectors.sandbox.github.page_backend import markdown
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker


@asynccontextmanager
async def browser(tracker: Tracker) -> AsyncIterator[httpx.AsyncClient]:
    async with serve(tracker) as url, httpx.AsyncClient(base_url=url, headers={"Origin": url}) as http:
        yield http


class Tags(HTMLParser):
    """The tags and attributes of a page: what a browser would act on."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.names: set[str] = set()
        self.scripts: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}
        if tag == "script":
            self.scripts.append(dict(attrs))


async def test_every_page_of_the_company_opens_and_holds_no_script_but_ours() -> None:
    for tracker in (JiraTracker(jira_site()), GitHubTracker(github_host())):
        async with browser(tracker) as http:
            index = await http.get("/")
            links = [part.partition('"')[0] for part in index.text.split('<a href="')[1:]]
            assert len(links) > 40
            for path in ["/", *links]:
                page = await http.get(path)
                assert page.status_code == 200, path
                scripts = [{"src": "/-/ticket.js", "defer": None}] if path != "/" else []
                assert Tags(page.text).scripts == scripts
                assert not {
                    name for name in Tags(page.text).names if name.startswith("on") or name == "style"
                }
                policy = page.headers["content-security-policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
            assert (await http.get("/-/style.css")).headers["content-type"].startswith("text/css")
            assert (await http.get("/-/ticket.js")).headers["content-type"].startswith("text/javascript")


async def test_a_person_edits_a_jira_ticket() -> None:
    site = JiraSite()
    site.add_project("SHOP", "Online shop")
    site.create("SHOP", "An epic & <b>more</b>", description="First line\nSecond line")
    async with browser(JiraTracker(site)) as http:
        page = (await http.get("/browse/SHOP-1")).text
        assert "An epic &amp; &lt;b&gt;more&lt;/b&gt;" in page
        assert "<p>First line</p><p>Second line</p>" in page
        text = "Why: money & time\r\n\r\nKey-Result: KR-4\r\n"
        answer = await http.post("/browse/SHOP-1", data={"do": "description", "text": text})
        assert (answer.status_code, answer.headers["location"]) == (303, "/browse/SHOP-1")
        assert site.issue("SHOP-1").description == {
            "type": "doc",
            "version": 1,
            "content": [adf.paragraph("Why: money & time"), adf.paragraph("Key-Result: KR-4")],
        }
        await http.post("/browse/SHOP-1", data={"do": "label", "text": "web, kr:KR-4, two words, web"})
        assert site.issue("SHOP-1").labels == ["web", "kr:KR-4", "two-words"]
        await http.post("/browse/SHOP-1", data={"do": "unlabel", "text": "kr:KR-4"})
        assert site.issue("SHOP-1").labels == ["web", "two-words"]
        for deed, status in (("close", "Done"), ("reopen", "To Do")):
            await http.post("/browse/SHOP-1", data={"do": deed})
            assert site.issue("SHOP-1").status.name == status
        await http.post("/browse/SHOP-1", data={"do": "comment", "text": "Done. <script>"})
        page = (await http.get("/browse/SHOP-1")).text
        assert "Done. &lt;script&gt;" in page
        assert "dev-lead" in page
        for data in (
            {"do": "comment", "text": " "},
            {"do": "label", "text": "x" * 51},
            {"do": "label", "text": " , "},
            {"do": "burn"},
        ):
            assert (await http.post("/browse/SHOP-1", data=data)).status_code == 400
        assert (await http.get("/browse/SHOP-99")).status_code == 404
        assert (await http.post("/browse/SHOP-99", data={"do": "comment", "text": "x"})).status_code == 404


async def test_a_ticket_has_the_look_of_its_tracker() -> None:
    """The fonts, spaces and colours in which people read a comment of ours."""
    github, jira = GitHubTracker(github_host()), JiraTracker(jira_site())
    for tracker, path, look in (
        (github, "/acme/docs/issues/4", "github"),
        (jira, "/browse/SHOP-1", "jira"),
    ):
        async with browser(tracker) as http:
            page, style = (await http.get(path)).text, (await http.get("/-/style.css")).text
        assert f'<div class="text {look} description">' in page
        for rule in (f"\n.{look} code {{", f"\n.{look} sub {{", f"\n.note:has(.{look}) {{"):
            assert rule in style


async def test_an_old_key_leads_to_the_new_page() -> None:
    site = JiraSite()
    site.add_project("SHOP", "Online shop")
    site.add_project("CORE", "Core")
    site.create("SHOP", "An epic")
    site.move("SHOP-1", "CORE")
    async with browser(JiraTracker(site)) as http:
        assert (await http.get("/browse/SHOP-1")).headers["location"] == "/browse/CORE-1"


async def test_a_person_edits_a_github_ticket() -> None:
    tracker = GitHubTracker(github_host())
    key, path = "acme/docs#4", "/acme/docs/issues/4"
    async with browser(tracker) as http:
        text = "# Why\r\n\r\n`Key-Result: KR-1` is only an example\r\n\r\nKey-Result: KR-8"
        assert (await http.post(path, data={"do": "description", "text": text})).status_code == 303
        assert tracker.host.issue(key).body == text.replace("\r\n", "\n")
        await http.post(path, data={"do": "label", "text": "good first"})
        await http.post(path, data={"do": "unlabel", "text": "writing"})
        await http.post(path, data={"do": "close"})
        assert "Reopen this ticket" in (await http.get(path)).text
        await http.post(path, data={"do": "reopen"})
        await http.post(path, data={"do": "comment", "text": "**Bold** words"})
        page = (await http.get(path)).text
    assert tracker.host.issue(key).labels == ["epic", "good first"]
    assert "<h1>Why</h1>" in page
    assert "<strong>Bold</strong> words" in page
    assert tracker.host.issue(key).state == "open"


def jira_with_one_comment() -> tuple[Tracker, str, str, list[Any]]:
    site = JiraSite()
    site.add_project("SHOP", "Online shop")
    issue = site.create("SHOP", "An epic")
    return JiraTracker(site), "/browse/SHOP-1", site.comment("SHOP-1", "Mine").id, issue.comments


def github_with_one_comment() -> tuple[Tracker, str, str, list[Any]]:
    host = github_host()
    issue = host.issue("acme/docs#4")
    return GitHubTracker(host), "/acme/docs/issues/4", str(host.comment(issue.key, "Mine").id), issue.comments


@pytest.mark.parametrize("made", [jira_with_one_comment, github_with_one_comment])
async def test_a_person_edits_and_deletes_comments_of_their_own(
    made: Callable[[], tuple[Tracker, str, str, list[Any]]],
) -> None:
    tracker, path, number, comments = made()
    edit = {"do": "edit-comment", "comment": number, "text": "Ours & <b>all</b>"}
    delete = {"do": "delete-comment", "comment": number}
    async with browser(tracker) as http:
        assert "delete-comment" not in (await http.get(f"{path}?as=passer-by")).text
        for form in (edit, delete):
            assert (await http.post(f"{path}?as=passer-by", data=form)).status_code == 403
            assert (await http.post(path, data={**form, "comment": "1"})).status_code == 403
        assert (await http.post(path, data={**edit, "text": " "})).status_code == 400
        assert "Mine" in (await http.get(path)).text
        assert (await http.post(path, data=edit)).status_code == 303
        page = (await http.get(path)).text
        assert "Ours &amp; &lt;b&gt;all&lt;/b&gt;</textarea>" in page
        assert (await http.post(path, data=delete)).status_code == 303
    assert comments == []


@pytest.mark.parametrize("made", [jira_with_one_comment, github_with_one_comment])
async def test_an_outsider_may_comment_and_no_more(
    made: Callable[[], tuple[Tracker, str, str, list[Any]]],
) -> None:
    tracker, path, _, comments = made()
    async with browser(tracker) as http:
        member, outsider = (await http.get(path)).text, (await http.get(f"{path}?as=passer-by")).text
        assert "Comment as dev-lead" in member
        assert "Comment as passer-by" in outsider
        for deed in ("description", "label", "unlabel", "close", "reopen"):
            assert (f'value="{deed}"' in member) or deed in {"reopen", "unlabel"}
            assert f'value="{deed}"' not in outsider
            answer = await http.post(f"{path}?as=passer-by", data={"do": deed, "text": "epic"})
            assert answer.status_code == 403
        answer = await http.post(f"{path}?as=passer-by", data={"do": "comment", "text": "/northing help"})
        assert (answer.status_code, answer.headers["location"]) == (303, f"{path}?as=passer-by")
        assert len(comments) == 2
        assert (await http.get(f"{path}?as=stranger")).headers["location"] == path
        assert (await http.post(f"{path}?as=stranger", data={"do": "close"})).status_code == 403


async def test_a_private_repository_has_no_outsiders() -> None:
    tracker = GitHubTracker(github_host())
    path = "/acme/mobile/issues/1"
    async with browser(tracker) as http:
        assert "passer-by" not in (await http.get(path)).text
        assert (await http.get(f"{path}?as=passer-by")).headers["location"] == path
        data = {"do": "comment", "text": "x"}
        assert (await http.post(f"{path}?as=passer-by", data=data)).status_code == 403


@pytest.mark.parametrize("made", [jira_with_one_comment, github_with_one_comment])
async def test_the_comments_can_be_had_alone(
    made: Callable[[], tuple[Tracker, str, str, list[Any]]],
) -> None:
    tracker, path, number, _ = made()
    async with browser(tracker) as http:
        part = (await http.get(path, params={"part": "comments"})).text
        whole = (await http.get(path)).text
    assert f'id="note-{number}"' in part
    assert part.strip() in whole
    assert "<html" not in part


@pytest.mark.skipif(
    shutil.which("chromium") is None, reason="needs chromium: install it, so that the command is found"
)
async def test_in_a_browser_an_answer_appears_by_itself(tmp_path: Path) -> None:
    """The page is opened, then the comment is written, deleted or edited before its next look."""
    tracker = JiraTracker(jira_site())
    site = tracker.site
    before = site.issue("SHOP-1").comments
    edited, deleted = before[0].id, before[1].id

    def meanwhile() -> None:
        site.comment("SHOP-1", "Aligned with KR-3", site.bot)
        site.edit_comment(edited, "Other words")
        site.delete_comment(deleted)

    tracker.faults.add("GET /browse/SHOP-1", first(meanwhile), skip=1)
    async with serve(tracker) as url:
        process = await asyncio.create_subprocess_exec(
            *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *(f"--user-data-dir={tmp_path}", "--virtual-time-budget=3000", "--dump-dom"),
            f"{url}/browse/SHOP-1",
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        shown = (await asyncio.wait_for(process.communicate(), 60))[0].decode()
    assert tracker.log.count("GET /browse/SHOP-1") >= 2
    assert "<p>Aligned with KR-3</p>" in shown
    assert "<p>Other words</p>" in shown
    assert f"note-{deleted}" not in shown
    assert '<small id="count">2</small>' in shown


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 303),
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
        ({}, 303),
    ],
)
async def test_forms_are_taken_from_our_own_pages_only(headers: dict[str, str], status: int) -> None:
    tracker = JiraTracker(jira_site())
    before = len(tracker.site.issue("SHOP-1").comments)
    async with browser(tracker) as http:
        answer = await http.post("/browse/SHOP-1", data={"do": "comment", "text": "x"}, headers=headers)
    assert answer.status_code == status
    assert len(tracker.site.issue("SHOP-1").comments) == before + (status == 303)


async def test_sync_now_calls_and_shows_the_answer() -> None:
    calls = []

    async def sync_now() -> str:
        calls.append(1)
        return "1 comment <resolved>"

    async with browser(JiraTracker(jira_site(), sync_now=sync_now)) as http:
        assert "Sync now" in (await http.get("/browse/SHOP-1")).text
        answer = await http.post("/-/sync", data={"back": "/browse/SHOP-1"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/browse/SHOP-1?synced=1")
        assert "1 comment &lt;resolved&gt;" in (await http.get(answer.headers["location"])).text
        assert "resolved" not in (await http.get("/browse/SHOP-1")).text
        assert (
            'name="back" value="/browse/SHOP-1?as=passer-by"'
            in (await http.get("/browse/SHOP-1?as=passer-by")).text
        )
        answer = await http.post("/-/sync", data={"back": "/browse/SHOP-1?as=passer-by"})
        assert answer.headers["location"] == "/browse/SHOP-1?as=passer-by&synced=1"
        for back in ("//evil.example/", "https://evil.example", "/\\evil.example"):
            answer = await http.post("/-/sync", data={"back": back})
            assert answer.headers["location"] == "/?synced=1"
        assert (await http.post("/-/sync", headers={"Origin": "http://evil.example"})).status_code == 403
    assert len(calls) == 5
    async with browser(JiraTracker(jira_site())) as http:
        assert "Sync now" not in (await http.get("/")).text
        assert (await http.post("/-/sync")).status_code == 404


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<!-- northing:notice -->\n<!-- northing:id 1/2 -->\nWords", "<p>Words</p>\n"),
        ("Words <!-- hidden --> more", "<p>Words  more</p>\n"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a <img src=x onerror=alert(1)> b", "<p>a &lt;img src=x onerror=alert(1)&gt; b</p>\n"),
        (
            "<!-- a --><script>alert(1)</script> -->",
            "&lt;script&gt;alert(1)&lt;/script&gt; --&gt;",
        ),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("![pixel](https://evil.example/p.png)", "<p>pixel</p>\n"),
        ("`<!-- shown -->`", "<p><code>&lt;!-- shown --&gt;</code></p>\n"),
    ],
)
def test_markdown_is_shown_safely(text: str, html: str) -> None:
    assert markdown(text) == html


def test_adf_is_shown_safely() -> None:
    link = {"type": "link", "attrs": {"href": "javascript:alert(1)"}}
    good = {"type": "link", "attrs": {"href": 'https://acme.example/?a="b'}}
    small = {"type": "subsup", "attrs": {"type": "sub"}}
    document = {
        "type": "doc",
        "version": 1,
        "content": [
            {
                "type": "paragraph",
                "content": [
                    {"type": "text", "text": "<b>", "marks": [{"type": "strong"}]},
                    {"type": "hardBreak"},
                    {"type": "text", "text": "bad", "marks": [link]},
                    {"type": "text", "text": "good", "marks": [good]},
                    {"type": "mention", "attrs": {"id": "1", "text": "@<i>"}},
                    {"type": "text", "text": "<i>", "marks": [good, small]},
                    {"type": "text", "text": "2", "marks": [{"type": "subsup", "attrs": {"type": "sup"}}]},
                ],
            },
            {"type": "bulletList", "content": [{"type": "listItem", "content": [adf.paragraph("one")]}]},
            {"type": "codeBlock", "content": [{"type": "text", "text": "<x>"}]},
        ],
    }
    assert adf.to_html(document) == (
        "<p><strong>&lt;b&gt;</strong><br>bad"
        '<a href="https://acme.example/?a=&#34;b" rel="noreferrer">good</a>@&lt;i&gt;'
        '<sub><a href="https://acme.example/?a=&#34;b" rel="noreferrer">&lt;i&gt;</a></sub><sup>2</sup></p>'
        "<ul><li><p>one</p></li></ul><pre><code>&lt;x&gt;</code></pre>"
    )
    assert adf.to_text(document) == "<b>\nbadgood@<i><i>2\none\n<x>"
