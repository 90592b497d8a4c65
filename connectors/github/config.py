"""The configuration of a GitHub source."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from connectors.config import PlanFieldName, ProjectNames, Token, refuse_unsupported_type

_OWNER = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,99})"
FULL_NAME = rf"{_OWNER}/[A-Za-z0-9._-]{{1,100}}"


def _real_repository(name: str) -> str:
    if name.partition("/")[2] in {".", ".."}:
        raise PydanticCustomError("repository", "is not a repository; give OWNER/NAME")
    return name


Repository = Annotated[str, Field(pattern=rf"^{FULL_NAME}$"), AfterValidator(_real_repository)]
Organization = Annotated[str, Field(pattern=rf"^{_OWNER}$")]
# PostgreSQL, where the configuration is stored, accepts no NUL.
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]+$")]


class GitHubCredentials(BaseModel):
    """A personal access token, classic or fine-grained: Issues read and write, Metadata read.

    https://docs.github.com/authentication/keeping-your-account-and-data-secure/managing-your-personal-access-tokens
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["token"] = Field(description="`token`: a personal access token.")
    token: Token = Field(description="The token; never returned.")

    @model_validator(mode="before")
    @classmethod
    def _not_yet(cls, data: Any) -> Any:
        return refuse_unsupported_type(
            cls.__name__,
            data,
            "app",
            'app credentials (GitHub App) are not in this build; use "token" with a personal access token',
        )


class GitHubScope(ProjectNames):
    """Which repositories a source reads."""

    repositories: list[Repository] = Field(
        default_factory=list, max_length=1_000, description="Repositories as OWNER/NAME."
    )
    organizations: list[Organization] = Field(
        default_factory=list,
        max_length=1_000,
        description="Organisations with all repositories that are not archived; name others in repositories.",
    )

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.repositories and not self.organizations:
            raise PydanticCustomError("scope", "name at least one repository or organization")
        return self

    def covers(self, project: str, remote_id: str | None = None) -> bool:
        """Whether the repository `owner/name` is in scope: by its name, or through its organisation."""
        owner = project.lower().partition("/")[0]
        return owner in map(str.lower, self.organizations) or self._named(
            self.repositories, project, remote_id
        )


class GitHubEpics(BaseModel):
    """Which issues are epics: those that fit any of the selectors. Pull requests are never epics.

    If no selector is given, issues with the label `epic` are epics.
    """

    model_config = ConfigDict(extra="forbid")

    labels: list[Name] = Field(
        default_factory=lambda: ["epic"], max_length=100, description="Label names, in any case."
    )
    issue_types: list[Name] = Field(
        default_factory=list, max_length=100, description="The organisation's issue type names, in any case."
    )
    with_sub_issues: bool = Field(False, strict=True, description="Issues that have sub-issues.")
    key_result_field: Name | None = Field(
        None,
        description="The issue field in which issues name key results: its name, in any case, or its id.",
    )
    start_field: PlanFieldName | None = Field(
        None,
        description="The date issue field of an epic's planned first day: its name, in any case, or its id. "
        "Null: none.",
        examples=["Start date"],
    )
    due_field: PlanFieldName | None = Field(
        None,
        description="The date issue field of an epic's planned last day: its name, in any case, or its id. "
        "Null: the due day of its milestone.",
        examples=["Target date"],
    )
    points_field: PlanFieldName | None = Field(
        None,
        description="The number issue field of an epic's story points: its name, in any case, or its id. "
        "Null: none.",
        examples=["Estimate"],
    )

    @model_validator(mode="after")
    def _any_selector(self) -> Self:
        if "labels" not in self.model_fields_set and (self.issue_types or self.with_sub_issues):
            self.labels = []  # only the given selectors, without the default label
        if not (self.labels or self.issue_types or self.with_sub_issues):
            raise PydanticCustomError("epics", "give labels, issue_types or with_sub_issues")
        return self
