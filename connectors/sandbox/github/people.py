"""What accounts may do in a repository, and their reactions to comments.

See https://docs.github.com/rest/collaborators/collaborators and https://docs.github.com/rest/reactions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.sandbox.github.answers import Call, GitHubError, Handler, invalid
from connectors.sandbox.github.comments import comment_of_repository
from connectors.sandbox.github.records import ROLES
from connectors.sandbox.github.views import REACTIONS

if TYPE_CHECKING:
    from starlette.responses import Response

# `permission` knows no others: it shows triage as read, and maintain as write.
LEGACY = {"pull": "read", "triage": "read", "push": "write", "maintain": "write", "admin": "admin"}
NAMES = {"pull": "read", "push": "write"}


def handlers() -> list[tuple[str, str, Handler]]:
    reactions = "{repository}/issues/comments/{comment:int}/reactions"
    return [
        ("GET", "{repository}/collaborators/{login}/permission", permission),
        ("POST", reactions, react),
        ("DELETE", reactions + "/{reaction:int}", take_back),
    ]


async def permission(call: Call) -> Response:
    repository = call.repository()
    call.known()
    account = call.host.accounts.get(call.request.path_params["login"])
    role = call.host.role(repository, account) if account else None
    if account is None or role is None:
        raise GitHubError(404, "Not Found")
    name = role.name or NAMES.get(role.base, role.base)
    rights = {one: ROLES.index(one) <= ROLES.index(role.base) for one in ROLES}
    user = call.views.user(account) | {"permissions": rights, "role_name": name}
    return call.reply({"permission": LEGACY[role.base], "role_name": name, "user": user})


async def react(call: Call) -> Response:
    """201 for a new reaction, 200 for one that is there already."""
    issue, comment = comment_of_repository(call)
    call.must_write(issue.repository)
    content = (await call.body()).get("content")
    if content not in REACTIONS:
        raise invalid("Reaction", "content")
    made, is_new = call.host.react(comment.id, content, call.known())
    return call.reply(call.views.reaction(made), 201 if is_new else 200)


async def take_back(call: Call) -> Response:
    issue, comment = comment_of_repository(call)
    call.must_write(issue.repository)
    found = [one for one in comment.reactions if one.id == call.request.path_params["reaction"]]
    if not found or found[0].account != call.viewer:
        raise GitHubError(404, "Not Found")
    comment.reactions.remove(found[0])
    return call.done()
