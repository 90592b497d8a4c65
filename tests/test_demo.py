"""`northing demo` from outside: its story, a second start, the button on a tracker's page, its end."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from app.demo.run import LOG_BYTES
from app.demo_company.client import synced_sentence
from app.demo_company.ticket import plain_text
from app.embedded import acquire
from tests.support.processes import LONGEST, data_folder, environment, northing, started, wait_for_output

WARNING = "Which key result does this epic serve?"
THANKS = "Aligned with KR-1 (Checkout conversion from 2.4 to 3.2 %). Thank you."


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with data_folder() as made:
        yield made


def test_it_tells_the_whole_story_and_ends(folder: Path, tmp_path: Path) -> None:
    # Settings of a real installation beside it are none of its business.
    other = {"database_url": "postgresql://nobody@127.0.0.1:1/x", "secret_key": "", "public_url": "http://x"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        env = environment(data_dir=str(folder), port=str(port), **other)
        # Nor are the proxies of the machine, in a form that Docker Desktop sets.
        env |= {"http_proxy": "http://127.0.0.1:1", "NO_PROXY": "fd07:b51a:cc66:f0::/64"}
        ended = northing("demo", "--exit", env=env, cwd=tmp_path, fresh=True)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    story = ended.stdout
    assert "\x1b" not in story
    assert max(len(line) for line in story.splitlines()) <= 100
    assert "60 epics seen" in story
    assert re.search(r"acme-jira +SHOP +12 +8 +3 +1\n", story)
    assert re.search(r"acme-github +acme/docs +5 +3 +1 +1\n", story)
    posted = int(re.search(r"(\d+) comments posted", story)[1])  # type: ignore[index]
    assert story.count("focusedCommentId=") + story.count("#issuecomment-") == posted == 8
    assert "Then all of GitHub goes live, and 5 comments are held, none of them posted\n" in story
    assert len(re.findall(r"\n    acme/(?:mobile|platform)#\d+(?=\n)", story)) == 5
    reported = re.split(r"─ The (?:same )?comment .*?─+╮", story)[1:]
    assert [WARNING in text for text in reported] == [True, False, True, False]
    assert THANKS in reported[1]
    assert "Disputed; waiting for a decision." in reported[3]
    assert re.search(r"acme/docs#\d+ is disputed \(This is how we write\); an editor ", story)
    assert re.search(r"SHOP-\d+ is waived until 20\d\d-\d\d-\d\d \(it is an idea of the spring fair, ", story)
    assert re.search(r"CORE-\d+ is snoozed until 20\d\d-\d\d-\d\d ", story)
    sentence = (
        r"Now (\d+) of (\d+) open epics are aligned \((\d+)%\), and (\d+) of these \((\d+)%\) are steered:"
    )
    found = re.search(sentence, story)
    assert found is not None, story
    aligned, counted, rate, steered, share = map(int, found.groups())
    assert 0 < steered < aligned < counted
    assert (rate, share) == (round(100 * aligned / counted), round(100 * steered / aligned))
    assert left_behind(folder) == []


def test_a_second_one_serves_until_told_to_stop(folder: Path, tmp_path: Path) -> None:
    with (folder / "demo.log").open("a") as long_log:
        long_log.truncate(LOG_BYTES + 1)
    with started("demo", env=environment(data_dir=str(folder), port="0"), cwd=tmp_path) as process:
        lines = wait_for_output(process, "Ctrl-C ends")
        place = {
            name: value
            for line in lines
            if (found := re.fullmatch(r"  (\S.*?)  +(\S+)", line))
            for name, value in [found.groups()]
        }
        api = place["Northing's API"].removesuffix("/docs")
        assert place["the overview"] == f"{api}/"
        headers = {"Authorization": f"Bearer {place['sign in with']}"}
        (notice, *_) = httpx.get(
            f"{api}/api/v1/notices?state=posted&source=acme-jira", headers=headers
        ).json()["items"]
        mend_on_the_page(place["Jira, simulated"], notice["epic"]["key"], notice["url"])
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LONGEST)
        assert (process.returncode, errors) == (0, "")
    assert left_behind(folder) == []
    log = Path(place["its log"]).read_text()
    assert "\0" not in log  # a long one is begun anew
    assert "ticket written" in log
    assert place["sign in with"] not in log
    assert not any(place["sign in with"] in value for name, value in place.items() if name != "sign in with")


def mend_on_the_page(site: str, key: str, comment: str) -> None:
    """What a person does in a browser: change the description, see the comment answer; then `Sync now`, which
    finds nothing more to do."""
    sent_from_there = {"Origin": site.removesuffix("/")}
    with httpx.Client(base_url=site, headers=sent_from_there, follow_redirects=True, timeout=60) as browser:
        change = {"do": "description", "text": "Key-Result: KR-1"}
        assert browser.post(f"/browse/{key}", data=change).is_success
        deadline = time.monotonic() + LONGEST
        while "Thank you." not in browser.get(comment).text:
            assert time.monotonic() < deadline, "the comment does not answer"
            time.sleep(0.05)
        assert WARNING not in browser.get(comment).text
        answer = browser.post("/-/sync", data={"back": f"/browse/{key}"})
        shown = re.search(r'role="status">(.*?)</p>', answer.text)
        assert shown is not None, answer.text
        assert shown[1] == "Synced: no comment had to change."


def left_behind(folder: Path) -> list[str]:
    """Databases of a demo, and the mark of a running server."""
    if (folder / "postgresql/cluster/postmaster.pid").exists():
        return ["a running server"]
    with acquire(folder) as server, psycopg.connect(server.url("postgres")) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'northing%'")
        return [name for (name,) in names]


@pytest.mark.parametrize(
    ("writes", "sentence"),
    [
        ({}, "Synced: no comment had to change."),
        ({"resolved": 1}, "Synced: 1 comment resolved."),
        ({"posted": 2, "edited": 1}, "Synced: 2 comments posted, 1 comment edited."),
        ({"held": 1, "failed": 1}, "Synced: 1 comment held, 1 comment failed."),
    ],
)
def test_the_answer_to_the_button(writes: dict[str, int], sentence: str) -> None:
    none = dict.fromkeys(("posted", "edited", "resolved", "held", "failed"), 0)
    assert synced_sentence({"writes": {**none, **writes}}) == sentence


def test_a_comment_in_words() -> None:
    def text(value: str) -> dict[str, object]:
        return {"type": "text", "text": value}

    def paragraph(*content: object) -> dict[str, object]:
        return {"type": "paragraph", "content": list(content)}

    item = {"type": "listItem", "content": [paragraph(text("one"), {"type": "hardBreak"}, text("more"))]}
    document = {
        "type": "doc",
        "content": [
            paragraph(text("Why"), text("?")),
            {"type": "bulletList", "content": [item, item]},
            {"type": "codeBlock", "content": [text("a\nb")]},
            paragraph(),
        ],
    }
    assert plain_text(document) == "Why?\n\n• one\n  more\n• one\n  more\n\n    a\n    b\n\n"
