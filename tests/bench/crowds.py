"""Many epics, made once for every part: in a simulated tracker, and in a database that has read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import psycopg

from tests.bench import bare
from tests.bench.first_sync import first_sync
from tests.bench.report import Report
from tests.bench.servers import Databases, Tracker, tracker


class Crowds:
    """By the number of epics. Each is made when it is first asked for, and stays until `stack` is closed."""

    def __init__(self, stack: ExitStack, databases: Databases, report: Report) -> None:
        self._stack = stack
        self._databases = databases
        self._report = report
        self._trackers: dict[int, Tracker] = {}
        self._filled: set[int] = set()

    def tracker(self, epics: int) -> Tracker:
        """A Jira that has shown each of its pages once, which it keeps: what is measured is not its work."""
        if epics not in self._trackers:
            self._report.progress(f"a tracker with {epics:,} epics")
            made = self._stack.enter_context(tracker(epics))
            bare.fetch_and_decode(made)
            self._trackers[epics] = made
        return self._trackers[epics]

    def keep(self, name: str, epics: int) -> None:
        """The database `name` has read them all, and nothing uses it: rename it, to be copied from now on."""
        if epics in self._filled:
            return
        with psycopg.connect(self._databases.url(name), autocommit=True, connect_timeout=10) as rows:
            rows.execute("VACUUM ANALYZE")
        self._databases.rename(name, _name(epics))
        self._filled.add(epics)

    @contextmanager
    def filled(self, name: str, epics: int) -> Iterator[str]:
        """The URL of a new database that has read them all, by the set-up of `Northing.set_up`."""
        if epics not in self._filled:
            crowd = self.tracker(epics)
            self._report.progress(f"a database with {epics:,} epics")
            with self._databases.fresh("filling") as url:
                first_sync(url, crowd)
                self.keep("filling", epics)
        with self._databases.fresh(name, template=_name(epics)) as url:
            yield url


def _name(epics: int) -> str:
    return f"filled_{epics}"
