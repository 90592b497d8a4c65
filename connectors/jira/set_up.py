"""How a Jira site is made ready for Northing, in words. Pure.

https://support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account/ and
https://developer.atlassian.com/cloud/jira/platform/webhooks/
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.set_up import Page, Right, SetUp

if TYPE_CHECKING:
    from collections.abc import Sequence


def _token_page(base_url: str) -> Page:
    return Page("API tokens at Atlassian", "https://id.atlassian.com/manage-profile/security/api-tokens")


def _webhook_pages(base_url: str, projects: Sequence[str]) -> list[Page]:
    return [Page("Webhooks of this Jira", f"{base_url}/plugins/servlet/webhooks")]


SET_UP = SetUp(
    title="Jira",
    projects="projects",
    account="Make an account for Northing alone, with these rights in the projects that it is to read.",
    rights=(
        Right("Browse projects", "To read epics.", to_read=True),
        Right("Add comments", "To write the one comment."),
        Right("Edit own comments", "To change that comment, and the property that marks it."),
        Right(
            "Delete own comments",
            "Only to delete comments when a run is taken back; without it each becomes one line.",
        ),
    ),
    token_page=_token_page,
    token_steps=(
        "Sign in to Atlassian as that account.",
        "Choose “Create API token”, the one without scopes.",
        "Name it Northing, choose when it ends, copy it, and paste it here.",
    ),
    webhook_pages=_webhook_pages,
    webhook_steps=(
        "A Jira administrator makes one under Settings, System, WebHooks, with this address and secret.",
        "Its condition names the projects that are read.",
        "Its events: issue created, updated and deleted; comment created and updated.",
    ),
)
