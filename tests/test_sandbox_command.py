"""`python -m connectors.sandbox` serves a tracker to other processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import httpx
import pytest

from connectors.sandbox.company import github_host, jira_site

SEARCH = "/rest/api/3/search/jql?jql=project%20%3D%20CROWD&maxResults=100"


@pytest.mark.parametrize(
    ("arguments", "path", "shown"),
    [
        (["jira", "--epics", "20"], SEARCH, 20),
        (["jira"], "/rest/api/3/issue/SHOP-1/comment", len(jira_site().issue("SHOP-1").comments)),
        (["github"], "/repos/acme/docs/issues/1/comments", len(github_host().issue("acme/docs#1").comments)),
    ],
)
def test_a_tracker_in_a_process_of_its_own(arguments: list[str], path: str, shown: int) -> None:
    """One project with so many epics, or the invented company."""
    command = [sys.executable, "-m", "connectors.sandbox", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            message = json.loads(process.stdout.readline())
            auth = (message["email"], message["token"]) if "email" in message else None
            headers = {} if auth else {"Authorization": f"Bearer {message['token']}"}
            answer = httpx.get(message["url"] + path, auth=auth, headers=headers, timeout=10)
            assert answer.status_code == 200
            body = answer.json()
            listed = body if isinstance(body, list) else body.get("issues", body.get("comments"))
            assert len(listed) == shown
        finally:
            process.terminate()


async def test_a_slow_tracker_and_a_repository_full_of_epics() -> None:
    command = [sys.executable, "-m", "connectors.sandbox", "github", "--epics", "12", "--latency", "150"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            message = json.loads(process.stdout.readline())
            assert set(message) == {"url", "token"}
            headers = {"Authorization": f"Bearer {message['token']}"}
            query: dict[str, str | int] = {"state": "all", "labels": "epic", "per_page": 100}
            async with httpx.AsyncClient(base_url=message["url"], headers=headers, timeout=10) as http:
                begun = time.perf_counter()
                answer = await http.get("/repos/acme/crowd/issues", params=query)
                took = time.perf_counter() - begun
                # The controls are no part of the tracker's API.
                assert (await http.get("/-/requests")).json()["total"] == 1
        finally:
            process.terminate()
    assert took >= 0.15
    assert len(answer.json()) == 12
    assert {one["state"] for one in answer.json()} == {"open", "closed"}


@pytest.mark.parametrize("latency", ["-1", "inf", "nan", "soon"])
def test_a_latency_is_a_number_of_milliseconds(latency: str) -> None:
    command = [sys.executable, "-m", "connectors.sandbox", "jira", f"--latency={latency}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "argument --latency: invalid" in done.stderr or "--latency is a number of" in done.stderr
