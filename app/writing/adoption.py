"""Our comment on a ticket as the tracker shows it: which of several it is, and taking back the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from connectors.base import Comment, Connector, EpicRef, Gone, Marker, Rejected, Unauthorized
from mappings.notices.text import withdrawn_text

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class FoundComments:
    """`comment` carries our marker; a stranger's only where there is none of ours. `taken_back`: ids of
    others of ours, that were deleted or edited to one line."""

    comment: Comment | None
    withdrawn_ids: tuple[str, ...]


async def find_our_comment(
    connector: Connector, ref: EpicRef, marker: Marker, known: str | None
) -> FoundComments:
    """Of several of ours the one whose id is `known` stays, or else the oldest, and the others are taken
    back, as far as we are allowed to. Where the known one is gone none is found, and none taken back."""
    found = await connector.find_comments(ref, marker)
    stays = next((comment for comment in found if known in (None, comment.id)), None)
    if stays is None or not stays.ours:
        return FoundComments(stays, ())
    duplicates = [comment for comment in found if comment.ours and comment is not stays]
    return FoundComments(stays, await _withdraw_comments(connector, ref, marker, duplicates))


async def withdraw_all_comments(connector: Connector, ref: EpicRef, marker: Marker) -> None:
    """Somebody has deleted our comment: whatever else of ours stands there goes too.

    Raises `Gone` where the ticket itself is hidden from us, of whose comments trackers say the same.
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
        except Unauthorized:
            raise
        except Rejected as error:
            log.warning("second comment of ours stays", comment=comment.url, reason=error.message)
        else:
            withdrawn.append(comment.id)
            log.warning("second comment of ours taken back", comment=comment.url)
    return tuple(withdrawn)


async def _withdraw_comment(connector: Connector, ref: EpicRef, marker: Marker, comment: Comment) -> None:
    """We may edit our comments more often than delete them."""
    try:
        await connector.delete_comment(ref, comment.id)
    except Unauthorized:
        raise
    except Rejected:
        await connector.put_comment(ref, comment.id, withdrawn_text().document, marker)
