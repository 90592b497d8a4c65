"""What the health of a source says: each thing that may be the matter, and all of them together."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import psycopg
import pytest
from sqlalchemy import Select, literal_column, select, update

from app.runtime import Runtime
from app.webhooks import door
from app.webhooks.door import Intake
from mappings.sources.health import HealthConcern, HealthFacts, HealthInput, assess_health
from mappings.tables import DeliveryRow, HeldRemovalRow, NoticeRow, RateLimitRow, SourceProjectRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.evaluations import NOW
from tests.support.webhook_posts import SECRET, connect, post
from tests.support.world import World

READ = HealthConcern("ok", "The last sync read everything.")
DEAD = HealthConcern("failing", "The token is dead.", "Make another.")
HELD = HealthConcern("degraded", "7 of 9 are gone.", "Or POST /api/v1/runs/4/accept-removals.")
WELL = HealthInput("acme", has_secret=True, refused_at=None, last_run=READ)
AGO = timedelta(minutes=10)

CASES: list[tuple[str, HealthInput, HealthFacts, str, str, str]] = [
    ("all is well", WELL, HealthFacts(), "ok", "read everything", ""),
    ("never read", replace(WELL, last_run=HealthConcern("unknown", "")), HealthFacts(), "unknown", "", ""),
    ("credentials", replace(WELL, last_run=DEAD), HealthFacts(), "failing", "token is dead", "Make another"),
    ("nobody works", WELL, HealthFacts(has_worker=False, due_since=NOW - AGO), "failing",
     "due since 2026-11-16 11:50 UTC and no worker", "northing worker"),
    ("nobody works, not long", WELL, HealthFacts(has_worker=False, due_since=NOW), "ok",
     "read everything", ""),
    ("nothing to do", WELL, HealthFacts(has_worker=False), "ok", "read everything", ""),
    ("late, and worked on", WELL, HealthFacts(due_since=NOW - AGO), "ok", "read everything", ""),
    ("signature", replace(WELL, refused_at=NOW - AGO), HealthFacts(last_delivery_at=NOW - 2 * AGO),
     "degraded", "refused, last at 2026-11-16 11:50 UTC, for their signature", "the same secret"),
    ("signature, mended", replace(WELL, refused_at=NOW - AGO), HealthFacts(last_delivery_at=NOW), "ok",
     "read everything", ""),
    ("signature, long ago", replace(WELL, refused_at=NOW - 7 * AGO), HealthFacts(), "ok",
     "read everything", ""),
    ("no secret", replace(WELL, has_secret=False, refused_at=NOW - AGO), HealthFacts(), "degraded",
     "no webhook_secret", "PATCH of webhook_secret"),
    ("unknown", WELL, HealthFacts(unknown_deliveries=3), "ok", "of the past 90 days: 3 webhooks.",
     "update Northing"),
    ("failed", WELL, HealthFacts(failed_deliveries=2), "degraded", "of the past 7 days: 2 webhooks.",
     "source=acme&state=failed"),
    ("waiting", WELL, HealthFacts(webhooks_wait=("GitHub limits us.", NOW)), "degraded",
     "wait until 2026-11-16 12:00 UTC: GitHub limits us.", "tried again"),
    ("stopped", WELL, HealthFacts(paused_projects=(("SHOP", "It is archived."),)), "degraded",
     "written in SHOP, where the tracker takes no comments: It is archived.", "PATCH"),
    ("stopped in many", WELL, HealthFacts(paused_projects=tuple((f"P{n}", "No.") for n in range(5))),
     "degraded", "P0, P1, P2 and 2 more", "a day"),
    ("guard", WELL, HealthFacts(held_by_guard=((12, 20), (13, 5))), "degraded",
     "Held by the guard until a person has looked at them: 25 new comments.",
     'approve {"run": 12}, {"run": 13}'),
    ("removals", WELL, HealthFacts(removals=((4, 7),)), "degraded",
     "Kept, though a full run did not find them any more: 7 epics.",
     "POST /api/v1/runs/4/accept-removals"),
    ("removals, said by the run", replace(WELL, last_run=HELD), HealthFacts(removals=((4, 7),)), "degraded",
     "7 of 9 are gone.", "runs/4/accept-removals"),
    ("clock behind", WELL, HealthFacts(clock_ahead=-7200.0), "degraded", "120 minutes behind ours", "NTP"),
    ("clock ahead", WELL, HealthFacts(clock_ahead=301.0), "degraded", "5 minutes ahead of ours", "NTP"),
    ("clock well", WELL, HealthFacts(clock_ahead=-299.0), "ok", "read everything", ""),
]  # fmt: skip


@pytest.mark.parametrize(("case", "source", "facts", "state", "message", "what_to_do"), CASES)
def test_each_is_said_with_the_way_out(
    case: str, source: HealthInput, facts: HealthFacts, state: str, message: str, what_to_do: str
) -> None:
    health = assess_health(source, facts, NOW)
    assert health.state == state, case
    assert message in health.message
    assert (health.message == "") == (message == "")
    assert what_to_do in health.what_to_do
    assert (health.what_to_do == "") == (what_to_do == "")


SECOND = timedelta(seconds=1)
BOUNDS: list[tuple[str, HealthInput, HealthFacts, str]] = [
    ("work due for two minutes", WELL, HealthFacts(has_worker=False, due_since=NOW - 120 * SECOND),
     "failing"),
    ("and a second less", WELL, HealthFacts(has_worker=False, due_since=NOW - 119 * SECOND), "ok"),
    ("a signature refused an hour ago", replace(WELL, refused_at=NOW - 6 * AGO), HealthFacts(), "degraded"),
    ("and a second longer", replace(WELL, refused_at=NOW - 6 * AGO - SECOND), HealthFacts(), "ok"),
    ("a valid webhook at the same moment", replace(WELL, refused_at=NOW - AGO),
     HealthFacts(last_delivery_at=NOW - AGO), "degraded"),
    ("a valid webhook a second later", replace(WELL, refused_at=NOW - AGO),
     HealthFacts(last_delivery_at=NOW - AGO + SECOND), "ok"),
    ("a secret taken away, and valid webhooks before that",
     replace(WELL, has_secret=False, refused_at=NOW - AGO),
     HealthFacts(last_delivery_at=NOW - AGO), "degraded"),
    ("a clock five minutes ahead", WELL, HealthFacts(clock_ahead=300.0), "ok"),
    ("and a little more", WELL, HealthFacts(clock_ahead=300.5), "degraded"),
    ("a clock five minutes behind", WELL, HealthFacts(clock_ahead=-300.0), "ok"),
    ("and a little more behind", WELL, HealthFacts(clock_ahead=-300.5), "degraded"),
    ("a clock that is right", WELL, HealthFacts(clock_ahead=0.0), "ok"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "facts", "state"), [row[1:] for row in BOUNDS], ids=[row[0] for row in BOUNDS]
)
def test_where_a_problem_begins(source: HealthInput, facts: HealthFacts, state: str) -> None:
    assert assess_health(source, facts, NOW).state == state


LATE = "Work is due since 2026-11-16 11:50 UTC and no worker is alive to do it."
REMOVALS = "Kept, though a full run did not find them any more: {}."
GUARD = "Held by the guard until a person has looked at them: {}."
PAUSED = "Nothing is written in {}, where the tracker takes no comments: No."
MESSAGES: list[tuple[str, HealthConcern, HealthFacts, str]] = [
    ("only what was read", READ, HealthFacts(), READ.message),
    ("a remark beside what was read", READ, HealthFacts(unknown_deliveries=1),
     f"{READ.message} With an event this version does not know, of the past 90 days: 1 webhook."),
    ("a problem instead of what was read", READ, HealthFacts(failed_deliveries=1),
     "Not processed, of the past 7 days: 1 webhook."),
    ("a source that was never read, and a problem", HealthConcern("unknown", "Not read yet."),
     HealthFacts(failed_deliveries=1), "Not processed, of the past 7 days: 1 webhook. Not read yet."),
    ("no worker before what else fails", DEAD, HealthFacts(has_worker=False, due_since=NOW - AGO),
     f"{LATE} The token is dead."),
    ("the same words once", DEAD, HealthFacts(webhooks_wait=("The token is dead.", NOW)),
     "The token is dead. Webhooks wait until 2026-11-16 12:00 UTC: The token is dead."),
    ("removals of two runs", READ, HealthFacts(removals=((4, 1), (5, 2))), REMOVALS.format("3 epics")),
    ("removals of two runs, one named by the last run", HELD, HealthFacts(removals=((4, 1), (5, 1))),
     f"7 of 9 are gone. {REMOVALS.format('1 epic')}"),
    ("one comment", READ, HealthFacts(held_by_guard=((1, 1),)), GUARD.format("1 new comment")),
    ("comments of a run that is gone", READ, HealthFacts(held_by_guard=((None, 2), (1, 3))),
     GUARD.format("5 new comments")),
    ("three projects", READ, HealthFacts(paused_projects=tuple((f"P{n}", "No.") for n in range(3))),
     PAUSED.format("P0, P1, P2")),
    ("four projects", READ, HealthFacts(paused_projects=tuple((f"P{n}", "No.") for n in range(4))),
     PAUSED.format("P0, P1, P2 and 1 more")),
    ("two projects: the message of the first", READ,
     HealthFacts(paused_projects=(("SHOP", "No."), ("CORE", "Another."))), PAUSED.format("SHOP, CORE")),
    ("a clock behind", READ, HealthFacts(clock_ahead=-330.0),
     "The tracker's clock is 6 minutes behind ours, which is the database's."),
]  # fmt: skip


@pytest.mark.parametrize(
    ("last_run", "facts", "message"), [row[1:] for row in MESSAGES], ids=[row[0] for row in MESSAGES]
)
def test_the_whole_message(last_run: HealthConcern, facts: HealthFacts, message: str) -> None:
    assert assess_health(replace(WELL, last_run=last_run), facts, NOW).message == message


def test_what_to_do_names_the_runs_that_a_person_can_name() -> None:
    guard = assess_health(WELL, HealthFacts(held_by_guard=((None, 2), (1, 3))), NOW)
    assert guard.what_to_do.endswith('POST /api/v1/notices/approve {"run": 1} releases them.')
    removals = assess_health(WELL, HealthFacts(removals=((4, 1), (5, 2))), NOW)
    assert removals.what_to_do.endswith(
        "an admin allows it with POST /api/v1/runs/4/accept-removals, POST /api/v1/runs/5/accept-removals."
    )


def test_problems_of_one_severity_come_in_a_fixed_order() -> None:
    everything = HealthFacts(
        has_worker=False,
        due_since=NOW - AGO,
        unknown_deliveries=1,
        failed_deliveries=1,
        webhooks_wait=("GitHub limits us.", NOW),
        paused_projects=(("SHOP", "It is archived."),),
        held_by_guard=((1, 1),),
        removals=((2, 6),),
        clock_ahead=1000.0,
    )
    found = assess_health(replace(WELL, refused_at=NOW, last_run=DEAD), everything, NOW)
    assert [one.message.split()[0] for one in found.concerns] == [
        "Work", "The", "Kept,", "Nothing", "Held", "Webhooks", "Webhooks", "Not", "The", "With",
    ]  # fmt: skip
    assert [one.message for one in found.concerns if one.message.startswith("Webhooks are refused")]
    assert found.message == " ".join(one.message for one in found.concerns)


def test_the_worst_comes_first_and_nothing_is_left_out() -> None:
    facts = HealthFacts(
        unknown_deliveries=1,
        failed_deliveries=1,
        held_by_guard=((1, 1),),
        clock_ahead=1000.0,
        removals=((2, 6),),
    )
    health = assess_health(replace(WELL, last_run=DEAD), facts, NOW)
    assert health.state == "failing"
    assert health.message.startswith("The token is dead. Kept, though")
    assert [one.state for one in health.concerns] == ["failing"] + ["degraded"] * 4 + ["ok"]
    assert all(
        one.message in health.message and one.what_to_do in health.what_to_do for one in health.concerns
    )
    # That all was read is no answer to what is the matter.
    assert READ.message not in assess_health(WELL, facts, NOW).message


# --- as it is stored ----------------------------------------------------------------------------


async def test_a_wrong_signature_is_said_until_a_right_one_comes(
    world: World, intake: Intake, clock: Clock
) -> None:
    await connect(world)
    await world.sync("github")
    for _ in range(3):
        assert (await post(world, secret="wrong")).status_code == 401
    await intake.write_counts_now()
    found = await world.health("github")
    assert (found["state"], "signature does not fit" in found["message"]) == ("degraded", True)
    clock.advance(seconds=5)
    assert (await post(world)).status_code == 202
    assert (await world.health("github"))["state"] == "ok"


async def test_a_valid_webhook_ends_the_message_of_a_refusal_that_is_written_after_it(
    world: World, intake: Intake
) -> None:
    await connect(world)
    await world.sync("github")
    assert (await post(world, secret="wrong")).status_code == 401
    assert (await post(world)).status_code == 202
    await intake.write_counts_now()
    assert (await world.health("github"))["state"] == "ok"


async def test_a_hostile_sender_costs_one_write_a_minute(
    world: World, runtime: Runtime, intake: Intake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(world)

    async def row() -> tuple[datetime | None, str]:
        """When a signature was last refused, and the transaction that wrote it."""
        await intake.write_counts_now()
        written: Select[datetime | None, str] = select(
            SourceRow.signature_refused_at, literal_column("xmin::text")
        )
        async with runtime.sessions() as session:
            at, transaction = (await session.execute(written)).one()
            return at, transaction

    async def refused(count: int) -> tuple[datetime | None, str]:
        clock.advance(seconds=1)
        for _ in range(count):
            assert (await post(world, secret="wrong")).status_code == 401
        return await row()

    def is_of_now(at: datetime | None) -> bool:
        """It is written a moment later."""
        return at is not None and timedelta(0) <= clock.now - at < timedelta(minutes=1)

    first = await refused(1)
    assert is_of_now(first[0])
    assert [await refused(5), await refused(1)] == [first, first]
    assert door.LOG_SECONDS == 60
    monkeypatch.setattr(door, "LOG_SECONDS", 0.0)  # as after that minute, by a clock that no test sets
    clock.advance(minutes=2)
    assert is_of_now((await refused(1))[0])


async def test_refused_signatures_are_counted_by_hour_and_day(
    world: World, intake: Intake, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "LOG_SECONDS", 0.0)
    await connect(world)
    first = clock.now
    for minutes in (0, 90, 5):
        clock.advance(minutes=minutes)
        for _ in range(2):
            assert (await post(world, secret="wrong")).status_code == 401
        await intake.write_counts_now()
    health = await world.health("github")
    counted = {"hour": 4, "day": 6, "since": first.isoformat().replace("+00:00", "Z")}
    assert health["refused_signatures"] == counted
    since = f"{first:%Y-%m-%d %H:%M} UTC"
    assert f"4 in the past hour, 6 in the past day, since {since}." in health["message"]
    clock.advance(hours=26)
    assert (await world.health("github"))["refused_signatures"]["day"] == 0


async def test_work_that_is_due_while_no_worker_is_alive_is_said(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    await world.connect_jira()
    await world.send("POST", "/sources/jira/sync")
    clock.advance(minutes=3)
    found = await world.health()
    assert found["state"] == "failing"
    assert "no worker is alive" in found["message"]
    assert "northing worker" in found["what_to_do"]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
        assert (await world.health())["state"] == "unknown"
        # As the dead leave it.
        connection.execute("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '61 s'")
        assert (await world.health())["state"] == "failing"
    await later(world, runtime, clock)
    assert (await world.health())["state"] == "ok"


async def test_what_waits_in_the_rows_is_said(world: World, runtime: Runtime, clock: Clock) -> None:
    """The rows as the guard, the drop guard, the inbox and refused writes leave them."""
    world.site.create("SHOP", "One")
    world.site.create("SHOP", "Two")
    await world.no_grace()
    await world.connect_jira(webhook_secret=SECRET)
    run = await world.sync("jira")
    paused = {"writes_paused_at": clock.now, "writes_paused_reason": "It is archived."}
    async with runtime.sessions.begin() as session:
        source_id = (await session.scalars(select(SourceRow.id))).one()
        await session.execute(update(NoticeRow).values(state="held", reason="guard"))
        await session.execute(update(SourceProjectRow).values(paused))
        await session.execute(update(RateLimitRow).values(clock_ahead=900))
        session.add(HeldRemovalRow(run_id=run["id"], remote_id="x"))
        for state, members in (
            ("failed", {}),
            ("ignored", {"reason": "unknown"}),
            ("received", {"due_at": clock.now + timedelta(minutes=5), "error": {"message": "Wait."}}),
        ):
            received = {"event": "e", "received_at": clock.now, "state": state, **members}
            session.add(DeliveryRow(source_id=source_id, remote_id=state, **received))
    found = await world.health()
    assert (found["state"], found["unknown_deliveries"]) == ("degraded", 1)
    for words in (
        "did not find them any more: 1 epic.", "Nothing is written in SHOP", "It is archived.",
        "looked at them: 2 new comments.", "Webhooks wait until", "Wait.",
        "past 7 days: 1 webhook.", "15 minutes ahead", "past 90 days: 1 webhook.",
    ):  # fmt: skip
        assert words in found["message"]
    clock.advance(days=8)
    assert "past 7 days" not in (await world.health())["message"]
