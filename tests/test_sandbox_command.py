"""`python -m connectors.sandbox` serves a tracker to other processes."""

import json
import subprocess
import sys
import time

import httpx
import pytest


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["jira", "--epics", "20"], "/rest/api/3/myself"),
        (["jira"], "/rest/api/3/myself"),
        (["github"], "/user"),
        (["github", "--epics", "7", "--latency", "1"], "/repos/acme/crowd/issues?state=all"),
    ],
)
def test_a_tracker_in_a_process_of_its_own(arguments: list[str], path: str) -> None:
    command = [sys.executable, "-m", "connectors.sandbox", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            message = json.loads(process.stdout.readline())
            auth = (message["email"], message["token"]) if "email" in message else None
            headers = {} if auth else {"Authorization": f"Bearer {message['token']}"}
            answer = httpx.get(message["url"] + path, auth=auth, headers=headers, timeout=10)
            assert answer.status_code == 200
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
    assert "--latency" in done.stderr
