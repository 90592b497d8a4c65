"""What all tables share: the naming of constraints, the types, and a few kinds of column."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ColumnElement,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    any_,
    bindparam,
    func,
    literal,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

GOAL_STATES = ("draft", "active", "achieved", "missed", "archived")
READING_MODES = ("incremental", "full")
UNFINISHED_STATES = ("running", "waiting", "stalled")


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  # SQLAlchemy's own declaration point
        datetime: DateTime(timezone=True),
        date: Date(),
        str: Text(),
        int: Integer(),
        bytes: LargeBinary(),
        dict[str, Any]: JSONB(none_as_null=True),
        list[str]: ARRAY(Text()),
    }


class Claimed:
    """Work for one worker at a time: `claimed_by` names the claim, which ends at `claimed_until` unless it is
    renewed before (`mappings.leases`)."""

    id: Mapped[int]
    claimed_by: Mapped[str | None]
    claimed_until: Mapped[datetime | None]


def identity() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=True), primary_key=True)


def belongs_to(target: str, *, ondelete: str = "CASCADE", primary_key: bool = False) -> Mapped[Any]:
    return mapped_column(BigInteger, ForeignKey(target, ondelete=ondelete), primary_key=primary_key)


def stamped() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


def one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({quoted})", name=column)


def among(column: Any, ids: Iterable[int]) -> ColumnElement[bool]:
    """`column` is one of `ids`, passed as one array: a list would need one query parameter for each id."""
    is_one: ColumnElement[bool] = column == any_(literal(list(ids), ARRAY(BigInteger)))
    return is_one


def among_ids(column: Any) -> ColumnElement[bool]:
    """As `among`, for a statement that is made once and executed with `{"ids": [...]}`."""
    is_one: ColumnElement[bool] = column == any_(bindparam("ids", type_=ARRAY(BigInteger)))
    return is_one
