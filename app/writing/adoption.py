"""Finds our comment on a ticket by its marker. If there are several, keeps one and withdraws the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from connectors.base import Blocked, Comment, Connector, EpicRef, Gone, Rejected
from mappings.notices.text import withdrawn_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.marker import Marker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FoundComments:
    """`comment`: the one with our marker; by a former account only where the present one has none.
    `withdrawn_ids`: ids of our other comments, which were deleted or edited to one line."""

    comment: Comment | None
    withdrawn_ids: tuple[str, ...]


async def find_our_comment(
    connector: Connector, ref: EpicRef, marker: Marker, known: str | None
) -> FoundComments:
    """Of several comments of ours, keep the one whose id is `known`, or the oldest where `known` is None. One
    by a former account counts where the present one has none: it is edited where the tracker allows that.

    Withdraw the others as far as the tracker allows it. Where the known one is gone, find and withdraw none.
    """
    found = await connector.find_comments(ref, marker)
    stays = next((comment for comment in found if known in (None, comment.id)), None)
    if stays is None or not stays.ours:
        return FoundComments(stays, ())
    duplicates = [comment for comment in found if comment.ours and comment is not stays]
    return FoundComments(stays, await _withdraw_comments(connector, ref, marker, duplicates))


async def withdraw_all_comments(connector: Connector, ref: EpicRef, marker: Marker) -> None:
    """A person has deleted our comment: withdraw every other comment of ours on the ticket too.

    Raises `Gone` where the ticket itself is hidden from us: trackers answer the same for its comments.
    """
    found = await connector.find_comments(ref, marker)
    await _withdraw_comments(connector, ref, marker, [comment for comment in found if comment.ours])


async def _withdraw_comments(
    connector: Connector, ref: EpicRef, marker: Marker, comments: Sequence[Comment]
) -> tuple[str, ...]:
    withdrawn = []
    for comment in comments:
        try:
            await _withdraw_comment(connector, ref, marker, comment)
        except Gone:
            log.info("comment was gone already", comment=comment.url)
        except Blocked:
            raise
        except Rejected as error:
            log.warning("second comment not withdrawn", comment=comment.url, reason=error.message)
        else:
            withdrawn.append(comment.id)
            log.warning("second comment withdrawn", comment=comment.url)
    return tuple(withdrawn)


async def _withdraw_comment(connector: Connector, ref: EpicRef, marker: Marker, comment: Comment) -> None:
    """Delete the comment, or edit it to one line: more accounts may edit their comments than delete them."""
    try:
        await connector.delete_comment(ref, comment.id)
    except Blocked:
        raise
    except Rejected:
        await connector.put_comment(ref, comment.id, withdrawn_text().document, marker)
