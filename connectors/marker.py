"""What tells our comment on a ticket from all others."""

from __future__ import annotations

import hmac
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marker:
    """Tells our comment from all others: it names the installation and the epic.

    `digest` signs it for this ticket; the keys are the caller's. To find comments: `former_digests` are those
    of ids that the ticket had before, `accounts` the ids of all accounts that wrote, or write, as Northing.
    """

    installation: str
    epic: int
    digest: str = ""
    former_digests: tuple[str, ...] = ()
    accounts: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.installation}/{self.epic} {self.digest}".rstrip()

    def is_by_us(self, author: str | None, account: str) -> bool:
        """Whether `author` is the `account` that Northing is signed in as, or was."""
        return author == account or author in self.accounts

    def fits(self, found: str | None, author: str | None, account: str) -> bool:
        """Whether a comment on this epic's ticket with the marker `found` counts as the epic's notice.

        It does if we signed it for this ticket and wrote it. The epic that it names may be another one: the
        ticket was transferred, or its source was deleted and created again. A marker without a digest, of a
        version that did not sign, counts if we wrote it.
        """
        named, _, digest = (found or "").partition(" ")
        if named.rpartition("/")[0] != self.installation or not self.is_by_us(author, account):
            return False
        given = digest.encode("utf-8", "surrogatepass")
        known = (self.digest, *self.former_digests)
        return not digest or any(hmac.compare_digest(given, one.encode()) for one in known)
