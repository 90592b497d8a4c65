"""Pages of Jira's searches that were asked for before the caller has room for them."""

from __future__ import annotations

from concurrent.futures import Future
from time import monotonic

import pytest

from connectors.base import Unavailable
from connectors.clock import utc_now
from connectors.jira.transport import Begun, JiraTransport
from connectors.network import DIRECT
from connectors.timeouts import TIMEOUTS
from tests.support.jira_answers import SITE, TOKEN


async def test_an_answer_that_has_come_is_taken_however_late() -> None:
    """The caller stores the pages before, which may take longer than a request may."""
    transport = JiraTransport(SITE, "bot@acme.com", TOKEN, TIMEOUTS, utc_now, DIRECT)
    long_ago = monotonic() - 2 * TIMEOUTS.total
    page: Future[int] = Future()
    with pytest.raises(Unavailable, match="within"):
        await transport.ended(Begun("search/jql", page, long_ago))
    answered: Future[int] = Future()
    answered.set_result(1)
    assert await transport.ended(Begun("search/jql", answered, long_ago)) == 1
    await transport.aclose()
