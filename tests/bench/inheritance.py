"""How many rows the change of one parent's link reads and evaluates, among few epics and among many."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg

from tests.bench.northing import SOURCE, northing
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

CHILDREN, GRANDCHILDREN = 50, 3
BELOW = CHILDREN + CHILDREN * GRANDCHILDREN
# Of an epic below: as a child and with its parent, for the request and for the run that finds it; then with
# what is above it, its links, findings and notice, to be evaluated, recorded and released.
MOST_READS = 40.0
MOST_TIMES = 1.2
# In each of ten epics one is the parent of the other nine, all evaluated; the last of them are the line that
# is changed: one epic, its children and theirs.
_CROWD = """
    INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status, status_category,
        labels, assignees, components, parent_key, parent_remote_id, ticket_references, fields,
        tracker_created_at, tracker_updated_at, content_hash, read_at, alignment, evaluated_at,
        evaluated_version)
    SELECT sources.id, sources.tracker, 'r' || n, 'CROWD-' || n, 'CROWD', 'Part ' || n, 'https://t/' || n,
        'Epic', 'Open', 'todo', '{}', '{}', '{}', 'CROWD-' || above, 'r' || above, '{}', '{}',
        now(), now(), '', now(), 'unaligned', now(), 0
    FROM sources CROSS JOIN (
        SELECT n, CASE
            WHEN n <= %(crowd)s THEN nullif(n - n %% 10, n)
            WHEN n = %(crowd)s + 1 THEN NULL
            WHEN n <= %(crowd)s + 1 + %(children)s THEN %(crowd)s + 1
            ELSE %(crowd)s + 2 + (n - %(crowd)s - 2) %% %(children)s
        END AS above FROM generate_series(1, %(crowd)s + 1 + %(below)s) AS n
    ) AS numbered
"""
# Half of the crowd's parents have a link, which their children inherit.
_LINKS = """
    INSERT INTO links (epic_id, key_result_id, origin, why, inherited_from)
    SELECT epics.id, key_results.id, CASE WHEN above.id IS NULL THEN 'manual' ELSE 'inherited' END, '',
        above.id
    FROM epics LEFT JOIN epics AS above ON above.remote_id = epics.parent_remote_id
    JOIN key_results ON key_results.key = 'KR-1'
    WHERE substr(coalesce(above.remote_id, epics.remote_id), 2)::int %% 20 = 0
        AND substr(epics.remote_id, 2)::int <= %(crowd)s
"""
_READ = """
    SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_user_tables
    WHERE relname IN ('epics', 'links', 'findings', 'notices')
"""
_EVALUATED = "SELECT count(*) FROM epics WHERE evaluated_version > 0"
_ALIGNED = "SELECT count(*) FROM links WHERE key_result_id <> (SELECT id FROM key_results WHERE key = 'KR-1')"


@dataclass(frozen=True, slots=True)
class _Change:
    """What a change evaluated, linked and read."""

    evaluated: int
    linked: int
    read: int


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, few: int, many: int
) -> None:
    changes = []
    for crowd in (few, many):
        report.progress(f"one parent changed among {crowd:,} epics")
        with databases.fresh("inheritance") as url:
            changes.append(runner.run(_change(url, tracker, crowd)))
    small, large = changes
    report.section(f"One parent with {BELOW} epics below is linked, among {few:,} and among {many:,} epics")
    exact = (BELOW + 1, BELOW + 1)
    report.add(
        Line(
            "epics evaluated, and linked",
            f"{large.evaluated}, {large.linked}",
            f"{BELOW + 1} each",
            all((change.evaluated, change.linked) == exact for change in changes),
        )
    )
    each = large.read / (BELOW + 1)
    report.add(Line("rows read for each", f"{each:.1f}", f"at most {MOST_READS:g}", each <= MOST_READS))
    times = large.read / small.read
    figure = f"{large.read:,} / {small.read:,} = {times:.2f}"
    report.add(Line("rows read, many against few", figure, f"at most {MOST_TIMES:g}", times <= MOST_TIMES))


async def _change(url: str, tracker: Tracker, crowd: int) -> _Change:
    async with northing(url) as instance:
        await instance.set_up_goals()
        await instance.connect(SOURCE, tracker)
        await instance.work()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as rows:
        parameters = {"crowd": crowd, "children": CHILDREN, "below": BELOW}
        for statement in (_CROWD, _LINKS):
            await rows.execute(statement, parameters)
        await rows.execute("VACUUM ANALYZE")
    # A server process tells what it has read when it ends at the latest, so each looks at those before.
    before = await _number(url, _READ)
    async with northing(url) as instance:
        link = {"epic": {"source": SOURCE, "key": f"CROWD-{crowd + 1}"}, "key_result": "KR-2"}
        await instance.send("POST", "/links", link)
        await instance.work()
    read = await _number(url, _READ) - before
    return _Change(await _number(url, _EVALUATED), await _number(url, _ALIGNED), read)


async def _number(url: str, query: str) -> int:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as rows:
        found = await (await rows.execute(query)).fetchone()
    assert found is not None
    return int(found[0])
