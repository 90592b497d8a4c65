"""The epic's page: for who has the token, with everything from outside escaped."""

from __future__ import annotations

from tests.support.world import World

HOSTILE = '<script>alert("x")</script> & co'


async def test_page_says_why_and_escapes(world: World) -> None:
    world.host.create("acme/shop", HOSTILE, labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    token = world.api.headers.pop("Authorization").removeprefix("Bearer ")
    page = await world.api.get("/epics/github/acme%2Fshop%231", auth=("anybody", token))
    assert page.status_code == 200
    assert "No key result is linked." in page.text
    assert "<script>" not in page.text
    assert "&lt;script&gt;" in page.text
    assert page.headers["content-security-policy"].startswith("default-src 'none'")


async def test_page_needs_the_token(world: World) -> None:
    del world.api.headers["Authorization"]
    for auth in (None, ("anybody", "wrong")):
        answer = await world.api.get("/epics/github/acme%2Fshop%231", auth=auth)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")


async def test_page_takes_a_token_of_any_role_while_it_holds(world: World) -> None:
    world.host.create("acme/shop", "An epic", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    roles = ("viewer", "editor", "admin")
    made = [await world.send("POST", "/tokens", {"name": role, "role": role}) for role in roles]
    admin = world.api.headers.pop("Authorization")
    for one in made:
        path, auth = "/epics/github/acme%2Fshop%231", ("anybody", one["token"])
        assert (await world.api.get(path, auth=auth)).status_code == 200, one["role"]
        gone = await world.api.delete(f"/api/v1/tokens/{one['id']}", headers={"Authorization": admin})
        assert gone.status_code == 204
        assert (await world.api.get(path, auth=auth)).status_code == 401, one["role"]


async def test_page_of_an_unknown_epic(world: World) -> None:
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    token = world.api.headers.pop("Authorization").removeprefix("Bearer ")
    answer = await world.api.get("/epics/github/acme%2Fshop%239", auth=("anybody", token))
    assert (answer.status_code, "acme/shop#9" in answer.json()["detail"]) == (404, True)


async def test_stylesheet_is_served(world: World) -> None:
    answer = await world.api.get("/static/northing.css")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")
