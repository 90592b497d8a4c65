"""The login and the frame of a page, in a browser."""

from __future__ import annotations

import pytest

from tests.support.browser import Person
from tests.support.world import ADMIN_TOKEN


@pytest.mark.parametrize("person", ["desktop", "phone", "desktop dark", "phone dark"], indirect=True)
async def test_the_frame_has_no_serious_fault(person: Person) -> None:
    assert await person.faults() == []
    await person.page.get_by_text("admin").click()
    await person.page.get_by_role("button", name="Sign out").click()
    await person.page.wait_for_url(person.address + "/login")
    assert await person.faults() == []
    await person.page.get_by_label("Token").fill(ADMIN_TOKEN)
    await person.page.get_by_role("button", name="Sign in with the token").click()
    await person.page.wait_for_url(person.address + "/")
