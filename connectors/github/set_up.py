"""How a GitHub host is made ready for Northing, in words. Pure.

https://docs.github.com/authentication/keeping-your-account-and-data-secure/managing-your-personal-access-tokens
and https://docs.github.com/webhooks/using-webhooks/creating-webhooks
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.set_up import Page, Right, SetUp

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_PAGES = 5


def web_site(base_url: str) -> str:
    """Where people open the host whose API is at `base_url`."""
    scheme, _, rest = base_url.partition("://")
    host = rest.removesuffix("/api/v3")
    if host == "api.github.com" or host.endswith(".ghe.com"):
        host = host.removeprefix("api.")
    return f"{scheme}://{host}"


def _token_page(base_url: str) -> Page:
    return Page(
        "New fine-grained token at GitHub", f"{web_site(base_url)}/settings/personal-access-tokens/new"
    )


def _webhook_pages(base_url: str, projects: Sequence[str]) -> list[Page]:
    site, pages = web_site(base_url), []
    for name in projects[:MOST_PAGES]:
        owner, _, repository = name.partition("/")
        if repository in ("", "*"):
            url = f"{site}/organizations/{owner}/settings/hooks/new"
            pages.append(Page(f"New webhook of {owner}", url))
        else:
            pages.append(Page(f"New webhook of {name}", f"{site}/{name}/settings/hooks/new"))
    if len(projects) > MOST_PAGES:
        pages.append(Page(f"and {len(projects) - MOST_PAGES} more, or one for the whole organisation"))
    return pages


SET_UP = SetUp(
    title="GitHub",
    projects="repositories",
    account="Make a fine-grained token for the repositories that are to be read, with these permissions.",
    rights=(
        Right(
            "Issues", "Read and write. Read-only is enough in shadow, where nothing is written.", to_read=True
        ),
        Right("Metadata", "Read-only. GitHub adds it by itself.", to_read=True),
    ),
    token_page=_token_page,
    token_steps=(
        "Choose your organisation as the resource owner, and only the repositories that are to be read.",
        "Under Repository permissions set Issues to “Read and write”, and nothing else.",
        "Generate the token, copy it, and paste it here.",
    ),
    webhook_pages=_webhook_pages,
    webhook_steps=(
        "An owner of the repository or organisation makes a webhook with this address and secret.",
        "Its content type is application/json.",
        "Its events: Issues, Issue comments, Sub-issues; Labels, Milestones and Repositories, which report"
        " renames.",
    ),
)
