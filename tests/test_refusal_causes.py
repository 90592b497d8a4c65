"""What a refusal or a limit is told by: the vendors' words and headers, and what each lets the caller do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import Blocked, ConnectorError, Gone, Rejected, Unanswered, Unauthorized, Unavailable
from connectors.github import errors as github
from connectors.jira import errors as jira

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WEB = "https://github.com"


def on_github(
    status: int, body: Any, headers: dict[str, str] | None = None, web: str = WEB, *, write: bool = True
) -> ConnectorError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = github.error_of(status, headers or {}, content, write=write, now=NOW, web=web)
    assert found is not None
    return found


def on_jira(
    status: int, body: Any, headers: dict[str, str] | None = None, *, write: bool = True
) -> ConnectorError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = jira.error_of(status, headers or {}, content, write=write, now=NOW)
    assert found is not None
    return found


def assert_limit(found: ConnectorError, tracker: str, seconds: int) -> None:
    assert type(found) is Unavailable  # not `Unanswered`: a write has changed nothing
    assert (found.message, found.retry_after) == (f"{tracker} limits our requests.", seconds)


# --- limits -------------------------------------------------------------------------------------

QUICKLY = "was submitted too quickly after a previous comment"
DOCS = "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api"
GITHUB_LIMITS: list[tuple[int, Any]] = [
    (403, {"message": "You have triggered an abuse detection mechanism. Please wait a few minutes."}),
    (403, {"message": "You have triggered an abuse detection mechanism and have been temporarily blocked from"
           " content creation. Please retry your request again later."}),
    (403, {"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}),
    (403, {"message": "You've exceeded a secondary rate limit. See GitHub's docs."}),
    (403, {"message": "API rate limit exceeded for user ID 1."}),
    (403, {"message": "API rate limit exceeded for installation ID 1."}),
    (403, {"message": "Sorry.", "documentation_url": "https://developer.github.com/v3/#abuse-rate-limits"}),
    (403, {"message": "Sorry.", "documentation_url": f"{DOCS}#about-secondary-rate-limits"}),
    (403, {"errors": [{"type": "RATE_LIMITED", "message": "Sorry."}]}),
    (403, b"<html><h1>Whoa there!</h1><p>You have triggered an abuse detection mechanism.</p></html>"),
    (403, b"Too Many Requests"),
    (422, {"message": "Validation Failed", "errors": [QUICKLY]}),
    (422, {"message": "Validation Failed", "errors": [{"resource": "IssueComment", "code": "unprocessable",
                                                       "field": "data", "message": QUICKLY}]}),
    (422, {"message": f"Validation Failed: {QUICKLY}"}),
    (422, {"message": "API rate limit exceeded"}),
    (409, {"message": "You have exceeded a secondary rate limit"}),
    (503, b"<h1>Rate limit exceeded</h1>"),
    (400, {"message": "Please wait a few minutes before you try again."}),
    (403, {"message": "Content creation is temporarily blocked"}),
    (403, {"message": "Secondary limit reached, retry later"}), (403, {"message": "Please try again later."}),
    (403, {"message": "Request quota exhausted for request"}),
    (403, {"message": "The account has exceeded its monthly API quota"}),
    (429, {"message": "Anything"}), (429, b""),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body"), GITHUB_LIMITS)
def test_each_wording_of_githubs_limits_is_a_limit(status: int, body: Any) -> None:
    for write in (False, True):
        found = on_github(status, body, write=write)
        assert_limit(found, "GitHub", 60)
        named = on_github(status, body, {"retry-after": "240"}, write=write)
        assert_limit(named, "GitHub", 240)


JIRA_LIMITS: list[tuple[int, Any, dict[str, str]]] = [
    (429, {"errorMessages": ["Rate limit exceeded."]}, {"ratelimit-reason": "jira-burst-based"}),
    (429, b"", {"ratelimit-reason": "jira-per-issue-on-write"}),
    (429, b"<html>Too many requests</html>", {}),
    (403, b"<html>Rate limit exceeded</html>", {}),
    (403, {"message": "Rate limit exceeded for this API token"}, {}),
    (403, {}, {"ratelimit-reason": "jira-quota-global-based"}),
    (503, {"message": "Too many requests, please slow down"}, {}),
    (503, b"upstream: request throttled", {}),
]


@pytest.mark.parametrize(("status", "body", "headers"), JIRA_LIMITS)
def test_each_wording_of_jiras_limits_is_a_limit(status: int, body: Any, headers: dict[str, str]) -> None:
    for write in (False, True):
        found = on_jira(status, body, headers, write=write)
        assert_limit(found, "Jira", 60)
        spent = headers | {"ratelimit": '"jira-quota-global-based";r=0;t=600'}
        named = on_jira(status, body, spent, write=write)
        assert_limit(named, "Jira", 600)


def test_words_that_people_chose_stop_no_other_tickets() -> None:
    for name in "`acme/billing`", "'Payment by card'", "'LICENSE'":
        for status in (403, 404):
            for answer in on_github, on_jira:
                found = answer(status, {"message": f"{name} was archived so is read-only."})
                assert not isinstance(found, Blocked)
                assert status == 404 or "rchive" in found.what_to_do


def test_words_that_people_chose_make_no_limit() -> None:
    names = "`rate-limit-inc/abuse-detection`", "'rate limit'"
    for name in names:
        assert isinstance(on_github(403, {"message": f"You may not write in {name}."}), Rejected)
        assert isinstance(on_jira(403, {"errorMessages": [f"You may not write in {name}."]}), Rejected)
    jql = {"errorMessages": ["The value 'x' does not exist: labels = rate limit"]}
    assert isinstance(on_jira(400, jql, write=False), jira.Unsuited)
    assert type(on_github(502, {"message": "API rate limit exceeded"})) is Unanswered  # it may be done
    assert type(on_github(503, {"message": "Sorry"}, {"retry-after": "9"})) is Unanswered
    later = "Service temporarily unavailable. Please try again later."
    assert type(on_github(503, {"message": later})) is Unanswered
    assert type(on_jira(503, {"errorMessages": [later]})) is Unanswered


# --- refusals by cause ---------------------------------------------------------------------------

ALLOW_LIST = (
    "Although you appear to have the correct authorization credentials, the `acme` organization has an IP"
    " allow"
    " list enabled, and your IP address is not permitted to access this resource."
)
PERMISSIONS = "Issues read and write"
GITHUB_CAUSES = [
    (True, 403, "Resource protected by organization SAML enforcement. You must grant your Personal Access"
     " token"
     " access to this organization.", "single sign-on"),
    (True, 403, ALLOW_LIST, "IP allow list"),
    (True, 403, ALLOW_LIST.replace("your IP address", "192.0.2.1"), "IP allow list"),
    (True, 403, "The 'acme' organization forbids access via a fine-grained personal access tokens if the"
     " token's"
     " lifetime is greater than 90 days. Please adjust your token's lifetime at the following URL:"
     " https://github.com/settings/personal-access-tokens/1", "lives no longer than GitHub says"),
    (True, 403, "The 'Acme Corp' enterprise forbids access via a personal access token (classic) if the"
     " token's"
     " lifetime is greater than 8 days.", "lives no longer than GitHub says"),
    (True, 403, "`acme` forbids access via a personal access token (classic). Please use a GitHub App,"
     " OAuth App,"
     " or a personal access token with fine-grained permissions.", "fine-grained token"),
    (True, 403, "`acme` forbids access via a fine-grained personal access token.", "kind that the"
     " organisation"),
    (True, 403, "Although you appear to have the correct authorization credentials, the `acme`"
     " organization has"
     " enabled OAuth App access restrictions, meaning that data access to third-parties is limited.",
      "approve"),
    (True, 403, "Sorry. Your account was suspended.", "restore the account"),
    (True, 403, "This installation has been suspended", "unsuspend"),
    (True, 403, "Unauthorized: As an Enterprise Managed User, you cannot access this content", "enterprise"),
    (True, 403, "At least one email address must be verified to do that.", "Verify the e-mail"),
    (True, 403, "Due to U.S. trade controls law restrictions, your access is restricted.", "Only GitHub"),
    (True, 403, "The spending limit of the account is reached.", "billing settings"),
    (True, 403, "Request forbidden by administrative rules. Please make sure your request has a User-Agent"
     " header", "User-Agent"),
    (False, 403, "Resource not accessible by personal access token", PERMISSIONS),
    (False, 403, "Resource not accessible by integration", PERMISSIONS),
    (False, 403, "Must have admin rights to Repository.", "the role in the repository"),
    (False, 403, "Must have push access", "the role in the repository"),
    (False, 403, "Unable to create comment because issue is locked.", "Unlock the conversation"),
    (False, 403, "This conversation has been locked as off-topic and limited to collaborators.", "Unlock"),
    (False, 403, "Repository was archived so is read-only.", "Unarchive"),
    (False, 403, "Repository has been locked for migration.", "migration"),
    (False, 403, "An owner of this repository has limited the ability to comment to users that are"
     " collaborators"
     " on this repository.", "who may comment"),
    (False, 403, "Interactions on this repository have been restricted to prior contributors.", "who may"
     " comment"),
    (False, 422, "Validation Failed: User is blocked", "Unblock the account"),
    (False, 403, "You have been blocked by the owner of this repository.", "Unblock the account"),
    (False, 403, "Commenting is disabled on issues with more than 2500 comments", "no further comment"),
    (False, 403, "Repository access blocked", "Only GitHub can lift this"),
]  # fmt: skip


@pytest.mark.parametrize(("everywhere", "status", "message", "to_do"), GITHUB_CAUSES)
def test_githubs_refusals_are_told_by_their_cause(
    everywhere: bool, status: int, message: str, to_do: str
) -> None:
    found = on_github(status, {"message": message, "documentation_url": "https://docs.github.com/rest"})
    assert isinstance(found, Rejected)
    assert (isinstance(found, Blocked), found.code) == (everywhere, "blocked" if everywhere else "rejected")
    assert message in found.message
    assert to_do in found.what_to_do
    assert (PERMISSIONS in found.what_to_do) == (to_do == PERMISSIONS)
    if status == 403:
        assert isinstance(found, github.Forbidden)
        assert on_github(403, {"message": message}, {"retry-after": "5"}).code == "unavailable"


def test_what_has_no_named_cause_is_left_to_githubs_words() -> None:
    found = on_github(403, {"message": "Something that nobody has met yet."})
    assert found.what_to_do.startswith("See what GitHub says")
    assert "northing check" in on_github(403, b"").what_to_do
    assert "Issues" not in found.what_to_do + on_github(403, b"").what_to_do
    assert on_github(451, {"message": "Repository access blocked"}).what_to_do.startswith("Only GitHub")
    assert isinstance(on_github(451, {"message": "Repository access blocked"}), Gone)
    assert on_github(401, {"message": "Bad credentials"}).message == "GitHub does not accept the token."
    assert "has expired" in on_github(401, {"message": "The token has expired."}).message


@pytest.mark.parametrize(
    ("header", "shown"),
    [
        ("issues=write", "issues=write"),
        ("issues=write; pull_requests=write", "issues=write; pull_requests=write"),
        ("issues=write,metadata=read", "issues=write,metadata=read"),
        ("<script>", None), ("issues=write\x1b[2J", None), ("a=b;" * 500, None), ("", None),
    ],
)  # fmt: skip
def test_the_permission_that_github_names_is_the_advice(header: str, shown: str | None) -> None:
    message = {"message": "Resource not accessible by personal access token"}
    what_to_do = on_github(403, message, {"x-accepted-github-permissions": header}).what_to_do
    assert (shown or PERMISSIONS) in what_to_do
    assert what_to_do.isprintable()
    other = on_github(403, {"message": "Else"}, {"x-accepted-github-permissions": "issues=write"}).what_to_do
    assert "issues=write" not in other


SSO = "https://github.com/orgs/acme/sso?authorization_request=AZSCKL4U2YX"
SHOWN = [
    (f"required; url={SSO}", WEB, SSO),
    (f"required;url={SSO}", WEB, SSO),
    ("required; url=https://GitHub.com/orgs/acme/sso", WEB, "https://GitHub.com/orgs/acme/sso"),
    ("required; url=https://git.acme.com/orgs/a/sso", "https://git.acme.com",
     "https://git.acme.com/orgs/a/sso"),
    ("required; url=https://git.acme.com:8443/s", "https://git.acme.com:8443", "https://git.acme.com:8443/s"),
    (f"required; url={SSO.replace('https:', 'http:')}", WEB, None),
    (f"required; url={SSO}", "https://git.acme.com", None),
    (f"required; url={SSO}", "", None),
    ("required; url=https://github.com.evil.example/x", WEB, None),
    ("required; url=https://github.com:444/x", WEB, None),
    ("required; url=https://github.com@evil.example/x", WEB, None),
    ("required; url=https://evil.example\\@github.com/x", WEB, None),
    ("required; url=javascript:alert(1)//github.com", WEB, None),
    ("required; url=https://github.com/\x1b[2J", WEB, None),
    ("required; url=https://github.com/\u202ex", WEB, None),
    ("required; url=https://github.com/a b", WEB, None),
    (f"required; url=https://github.com/{'x' * 5000}", WEB, None),
    ("required; url=", WEB, None), ("required", WEB, None), ("required; url=https://[", WEB, None),
]  # fmt: skip


@pytest.mark.parametrize(("header", "web", "address"), SHOWN)
@pytest.mark.parametrize("status", [403, 404])
def test_the_address_of_single_sign_on_is_shown_if_it_is_githubs_own(
    status: int, header: str, web: str, address: str | None
) -> None:
    found = on_github(status, {"message": "Not Found"}, {"x-github-sso": header}, web)
    assert isinstance(found, Blocked)
    assert "single sign-on" in found.what_to_do
    assert found.what_to_do.isprintable()
    assert found.what_to_do.endswith(f": {address}") if address else "://" not in found.what_to_do


def test_only_a_partial_list_leaves_something_out() -> None:
    assert github.leaves_out({"x-github-sso": "partial-results; organizations=21955855,20582480"})
    assert not github.leaves_out({"x-github-sso": f"required; url={SSO}"})
    assert not github.leaves_out({})


BROWSE, COMMENT = "Browse Projects", "Add Comments"
JIRA_CAUSES = [
    (True, 403, "The IP address has been rejected because it is not on the allowed list. See your admin"
     " for more"
     " information.", "IP allowlist"),
    (True, 403, "Failed to parse Connect Session Auth Token", "e-mail address and a whole API token"),
    (True, 404, "Site temporarily unavailable", "whether the site and the account are active"),
    (True, 403, "This site has been deactivated.", "whether the site and the account are active"),
    (True, 503, "Your subscription has been suspended", "whether the site and the account are active"),
    (True, 403, "User is not licensed to use this product", "access to Jira"),
    (True, 403, "You do not have permission to use Jira", "access to Jira"),
    (True, 403, "XSRF check failed", "proxy changes the headers"),
    (False, 413, "The issue has reached the limit on comments.", "no further comment"),
    (False, 403, "Issue SHOP-1 is archived.", "from the archive"),
    (False, 400, "You do not have the permission to comment on this issue.", COMMENT),
    (False, 403, "Missing permission ADD_COMMENTS", COMMENT),
    (False, 403, "You do not have permission to edit comment with id: 5.", "Edit Own Comments"),
    (False, 403, "You do not have permission to delete comment with id: 5.", "Delete Own Comments"),
    (False, 403, "You do not have the permission to see the specified issue.", BROWSE),
    (False, 403, "This issue is not editable in its workflow status.", "jira.issue.editable"),
]  # fmt: skip


@pytest.mark.parametrize(("everywhere", "status", "message", "to_do"), JIRA_CAUSES)
@pytest.mark.parametrize("form", ["errorMessages", "error", "message"])
def test_jiras_refusals_are_told_by_their_cause(
    form: str, everywhere: bool, status: int, message: str, to_do: str
) -> None:
    found = on_jira(status, {form: [message] if form == "errorMessages" else message, "errors": {}})
    assert isinstance(found, Rejected)
    assert isinstance(found, Blocked) == everywhere
    assert message in found.message
    assert to_do in found.what_to_do


DENIED = [
    (401, {}, {}, "new API token"),
    (403, {}, {"x-seraph-loginreason": "AUTHENTICATION_DENIED"}, "CAPTCHA"),
    (403, {}, {"x-authentication-denied-reason": "CAPTCHA_CHALLENGE; login-url=https://x/login.jsp"},
     "CAPTCHA"),
    (401, {"message": "Basic authentication with passwords is deprecated."}, {}, "takes no password"),
    (401, {"code": 401, "message": "Unauthorized; scope does not match"}, {}, "without scopes"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "headers", "to_do"), DENIED)
def test_what_jira_says_of_a_login(status: int, body: Any, headers: dict[str, str], to_do: str) -> None:
    found = on_jira(status, body, headers)
    assert isinstance(found, Unauthorized)
    assert to_do in found.what_to_do


def test_what_has_no_named_cause_is_left_to_jiras_words() -> None:
    found = on_jira(403, {"errorMessages": ["Something that nobody has met yet."]})
    assert found.what_to_do.startswith("See what Jira says")
    assert not isinstance(found, Blocked)
    assert "northing check" in on_jira(403, b"").what_to_do
    assert "permission" not in found.what_to_do + on_jira(403, b"").what_to_do
    assert isinstance(on_jira(404, {"errorMessages": ["Issue does not exist."]}), Gone)
