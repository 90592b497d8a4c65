"""The demo's company, where it is loaded into this installation."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from mappings.tables.base import Base, Claimed, one_of


class DemoCompanyRow(Claimed, Base):
    """One row while the company is loaded or being loaded, or since it could not be; else none.

    `made` names all that loading made: `things`, a list of kind, id and name in the order in which they were
    made; `pending`, kind and name of the one that was asked for last, null where it is among the things; and
    `scopes`, those of the policy. The claim is of the process that runs the simulated trackers. `token_id` is
    the token with which it calls the API, null once that is deleted; `caller`, as the audit log names it.
    `remove_asked_by`: who wants it removed by the process that loads it. `detail`: why it failed.
    """

    __tablename__ = "demo_company"
    __table_args__ = (
        CheckConstraint("id = 1", name="one_row"),
        one_of("state", ("loading", "loaded", "failed")),
    )

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    state: Mapped[str]
    step: Mapped[str]
    steps_done: Mapped[int]
    made: Mapped[dict[str, Any]]
    token_id: Mapped[int | None] = mapped_column(BigInteger)
    caller: Mapped[str]
    loaded_by: Mapped[str]
    remove_asked_by: Mapped[str | None]
    detail: Mapped[str | None]
    started_at: Mapped[datetime]
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]
