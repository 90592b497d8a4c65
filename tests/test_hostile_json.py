"""Bodies that nobody in his right mind sends to the API: refused in words, by a documented status."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.support.fuzzer import a_company
from tests.support.world import World


def nested(opening: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + b"1" + closing * depth


LABELS = ["x"] * 100_000
HOSTILE: dict[str, bytes] = {
    "nothing": b"",
    "not JSON": b"not JSON",
    "lists 10,000 deep": nested(b"[", b"]", 10_000),
    "objects 10,000 deep": nested(b'{"a":', b"}", 10_000),
    "cut off 10,000 deep": b'{"when":' + b"[" * 10_000,
    "NaN": b'{"title": NaN, "weight": NaN, "value": NaN, "confidence": NaN, "priority": NaN}',
    "Infinity": b'{"title": "x", "weight": Infinity, "value": -Infinity, "priority": Infinity}',
    "beyond 64 bits": b'{"title": "x", "weight": 1e400, "priority": %d, "value": 1e309}' % 2**70,
    "a number of 5,000 digits": b'{"title": "x", "priority": %s}' % (b"9" * 5_000),
    "duplicate keys": b'{"title": "x", "title": {"a": 1}, "name": "a", "name": ["b"]}',
    "null bytes": b'{"title": "a\\u0000b", "name": "a\\u0000b", "key": "\\u0000"}',
    "a raw null byte": b'{"title": "a\x00b"}',
    "half a surrogate pair": b'{"title": "\\ud800", "name": "\\udfff", "key_result": "\\ud83d"}',
    "surrogates in the names": b'{"\\ud800": 1, "a\\u0000": 2}',
    "latin-1": b'{"title": "caf\xe9"}',
    "UTF-16": '{"title": "x"}'.encode("utf-16"),
    "UTF-8 cut in two": '{"title": "é"}'.encode()[:-3],
    "a byte order mark": b'\xef\xbb\xbf{"title": "x"}',
    "60,000 characters": json.dumps({name: "x" * 60_000 for name in ("title", "name", "key")}).encode(),
    "100,000 labels": json.dumps({"when": {"label": LABELS}, "exempt": {"labels": LABELS}}).encode(),
    "20,000 members": json.dumps({f"member {number}": number for number in range(20_000)}).encode(),
}  # fmt: skip
# Where documents have members of any shape, and where one is not known.
for _name in ("when", "scope", "quiet_hours", "other"):
    for _opening, _closing, _depth in ((b'{"all": [', b"]}", 300), (b'{"not":', b"}", 900)):
        _body = b'{"%s": %s}' % (_name.encode(), nested(_opening, _closing, _depth))
        HOSTILE[f"{_name}, {_depth} deep"] = _body


async def operations_with_bodies(world: World) -> list[tuple[str, str, dict[str, Any]]]:
    document = (await world.api.get("/openapi.json")).json()
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if "requestBody" in operation and path.startswith("/api/v1")
    ]


def address(path: str) -> str:
    """That of something that is there."""
    known = {"/sources/": "jira", "/objectives/": "O-1", "/key-results/": "KR-1", "/cycles/": "Q1"}
    there = next((key for start, key in known.items() if start in path), "1")
    if path.startswith("/api/v1/epics/"):
        path, there = path.replace("{source}", "jira"), "SHOP-1"
    for name in ("name", "key", "id", "item_id"):
        path = path.replace(f"{{{name}}}", there)
    return path


async def test_every_operation_refuses_hostile_json_in_words(world: World) -> None:
    await a_company(world)
    wrong = []
    for method, path, operation in await operations_with_bodies(world):
        refused = 0
        for name, body in HOSTILE.items():
            headers = {"content-type": "application/json"}
            answer = await world.api.request(method, address(path), content=body, headers=headers)
            if answer.status_code >= 500 or str(answer.status_code) not in operation["responses"]:
                wrong.append((method, path, name, answer.status_code, answer.text[:200]))
            elif answer.is_error:
                refused += 1
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.json()["detail"]
                assert len(answer.content) < 20_000, (path, name, len(answer.content))
        assert refused >= len(HOSTILE) - 4, path  # two of them are simply JSON
    assert wrong == []


@pytest.mark.parametrize("declares_length", [True, False])
async def test_a_body_beyond_a_megabyte_is_refused_while_it_comes(
    api: httpx.AsyncClient, declares_length: bool
) -> None:
    sent = 0

    async def endless() -> Any:
        nonlocal sent
        while True:
            sent += 1
            yield b" " * 300_000

    length = {"content-length": str(2**40)} if declares_length else {}
    headers = {"content-type": "application/json", **length}
    answer = await api.post("/api/v1/objectives", content=endless(), headers=headers)
    assert (answer.status_code, sent) == (413, 0 if declares_length else 4)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == "A body may have 1 MB at most here."
    assert answer.headers["connection"] == "close"


async def test_a_megabyte_is_taken(api: httpx.AsyncClient) -> None:
    body = json.dumps({"title": "A long body"}).encode()
    padded = body + b" " * (1024 * 1024 - len(body))
    headers = {"content-type": "application/json"}
    assert (await api.post("/api/v1/objectives", content=padded, headers=headers)).status_code == 201
    answer = await api.post("/api/v1/objectives", content=padded + b" ", headers=headers)
    assert answer.status_code == 413


async def test_a_length_that_is_no_number_counts_for_nothing(api: httpx.AsyncClient) -> None:
    for length in (b"\xb2", b"-5", b"1e3", b"9" * 5_000, b""):
        headers = [(b"content-type", b"application/json"), (b"content-length", length)]
        answer = await api.post("/api/v1/objectives", content=b'{"title": "x"}', headers=headers)
        assert answer.status_code == 201, answer.text
