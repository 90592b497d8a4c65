"""`python -m connectors.sandbox` serves a tracker to other processes."""

import json
import subprocess
import sys

import httpx
import pytest


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (["jira", "--epics", "20"], "/rest/api/3/myself"),
        (["jira"], "/rest/api/3/myself"),
        (["github"], "/user"),
    ],
)
def test_a_tracker_in_a_process_of_its_own(arguments: list[str], path: str) -> None:
    command = [sys.executable, "-m", "connectors.sandbox", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            auth = (said["email"], said["token"]) if "email" in said else None
            headers = {} if auth else {"Authorization": f"Bearer {said['token']}"}
            answer = httpx.get(said["url"] + path, auth=auth, headers=headers, timeout=10)
            assert answer.status_code == 200
        finally:
            process.terminate()
