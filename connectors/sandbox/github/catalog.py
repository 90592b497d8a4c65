"""What a client requests before issues: its own account, repositories, types, labels and the rate limit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.sandbox.github.answers import Call, GitHubError, Handler
from connectors.sandbox.github.views import dump

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from connectors.sandbox.github.records import Repository

SORTS: dict[str, Callable[[Repository], Any]] = {
    "created": lambda repository: (repository.created, repository.id),
    "updated": lambda repository: (repository.created, repository.id),
    "pushed": lambda repository: (repository.created, repository.id),
    "full_name": lambda repository: repository.full_name.lower(),
}


def handlers() -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "/user", user),
        ("GET", "/user/repos", own_repositories),
        ("GET", "/meta", meta),
        ("GET", "/rate_limit", rate_limit),
        ("GET", "/orgs/{org}/repos", repositories),
        ("GET", "/orgs/{org}/issue-fields", issue_fields),
        ("GET", "/orgs/{org}/issue-types", issue_types),
        ("GET", "{repository}", repository),
        ("GET", "{repository}/labels/{name}", label),
    ]


async def user(call: Call) -> Response:
    return call.reply(call.views.me(call.known()))


async def meta(call: Call) -> Response:
    """Only an Enterprise Server reports its release."""
    release = call.host.release
    shown = {"verifiable_password_authentication": False}
    return call.reply(shown if release is None else shown | {"installed_version": release})


async def rate_limit(call: Call) -> Response:
    """This request does not count against the limit."""
    call.rate.used -= 1
    numbers = call.rate.numbers()
    return call.reply({"resources": {"core": numbers, "search": numbers}, "rate": numbers})


async def own_repositories(call: Call) -> Response:
    """The repositories that the token reaches."""
    call.known()
    call.accepted = "metadata=read"
    found = [one for one in call.host.repositories.values() if call.sees(one)]
    sort = call.choice("sort", "full_name", set(SORTS))
    direction = call.choice("direction", "asc" if sort == "full_name" else "desc", {"asc", "desc"})
    found.sort(key=SORTS[sort], reverse=direction == "desc")
    return call.page(found, lambda one: dump(call.views.repository(one)))


async def repositories(call: Call) -> Response:
    owner = _organization(call)
    kind = call.choice("type", "all", {"all", "public", "private", "forks", "sources", "member"})
    privacy = {"public": (False,), "private": (True,), "forks": ()}.get(kind, (False, True))
    found = [
        one
        for one in call.host.repositories.values()
        if one.owner.login == owner and one.private in privacy and call.sees(one)
    ]
    sort = call.choice("sort", "created", set(SORTS))
    direction = call.choice("direction", "asc" if sort == "full_name" else "desc", {"asc", "desc"})
    found.sort(key=SORTS[sort], reverse=direction == "desc")
    return call.page(found, lambda one: dump(call.views.repository(one)))


async def issue_types(call: Call) -> Response:
    _organization(call)
    if "issue_types" not in call.host.features:
        raise GitHubError(404, "Not Found")
    return call.reply([call.views.issue_type(kind) for kind in call.host.types.values()])


async def issue_fields(call: Call) -> Response:
    _organization(call)
    if "issue_fields" not in call.host.features:
        raise GitHubError(404, "Not Found")
    return call.reply([call.views.issue_field(one) for one in call.host.fields.values()])


async def repository(call: Call) -> Response:
    return call.reply(call.views.repository(call.repository(), full=True))


async def label(call: Call) -> Response:
    """One label; the case of its name does not matter. A label exists once it is on an issue."""
    repository = call.repository()
    call.must_read_issues(repository)
    requested = call.request.path_params["name"].lower()
    known = {*repository.labels, *(name for issue in repository.issues.values() for name in issue.labels)}
    for name in known:
        if name.lower() == requested:
            return call.reply(call.views.label(repository, name))
    raise GitHubError(404, "Not Found")


def _organization(call: Call) -> str:
    """The organisation that the path names, in any case; 404 for a person's account."""
    requested = call.request.path_params["org"].lower()
    for account in call.host.accounts.values():
        if account.login.lower() == requested and account.kind == "Organization":
            return account.login
    raise GitHubError(404, "Not Found")
