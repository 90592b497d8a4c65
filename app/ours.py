"""Our comment on a ticket as the tracker shows it: which of several it is, and taking back the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from connectors.base import Comment, Connector, EpicRef, Gone, Marker, Rejected, Unauthorized
from mappings import notice

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Found:
    """`comment` carries our marker; a stranger's only where there is none of ours. `taken_back`: ids of
    others of ours, that were deleted or edited to one line."""

    comment: Comment | None
    taken_back: tuple[str, ...]


async def find(connector: Connector, ref: EpicRef, marker: Marker, known: str | None) -> Found:
    """Of several of ours the one whose id is `known` stays, or else the oldest, and the others are taken
    back, as far as we are allowed to. Where the known one is gone none is found, and none taken back."""
    found = await connector.find_comments(ref, marker)
    stays = next((comment for comment in found if known in (None, comment.id)), None)
    if stays is None or not stays.ours:
        return Found(stays, ())
    doubles = [comment for comment in found if comment.ours and comment is not stays]
    return Found(stays, await _take_back(connector, ref, marker, doubles))


async def take_back_all(connector: Connector, ref: EpicRef, marker: Marker) -> None:
    """Somebody has deleted our comment: whatever else of ours stands there goes too.

    Raises `Gone` where the ticket itself is hidden from us, of whose comments trackers say the same.
    """
    found = await connector.find_comments(ref, marker)
    await _take_back(connector, ref, marker, [comment for comment in found if comment.ours])


async def _take_back(
    connector: Connector, ref: EpicRef, marker: Marker, comments: Sequence[Comment]
) -> tuple[str, ...]:
    taken = []
    for comment in comments:
        try:
            await _take_one_back(connector, ref, marker, comment)
        except Gone:
            log.info("comment was gone already", comment=comment.url)
        except Unauthorized:
            raise
        except Rejected as error:
            log.warning("second comment of ours stays", comment=comment.url, reason=error.message)
        else:
            taken.append(comment.id)
            log.warning("second comment of ours taken back", comment=comment.url)
    return tuple(taken)


async def _take_one_back(connector: Connector, ref: EpicRef, marker: Marker, comment: Comment) -> None:
    """We may edit our comments more often than delete them."""
    try:
        await connector.delete_comment(ref, comment.id)
    except Unauthorized:
        raise
    except Rejected:
        await connector.put_comment(ref, comment.id, notice.withdrawn().document, marker)
