"""The configuration of a Jira source."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from connectors.config import PlanFieldName, ProjectNames, Token, refuse_unsupported_type

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL, where the configuration is stored, accepts no NUL
_QUOTED = re.compile(r"""(["'])(?:\\.|(?!\1).)*\1""", re.DOTALL)


def _sound_jql(jql: str) -> str:
    """The condition, if it can be put in parentheses and has no order. Raises `PydanticCustomError`.

    It must not close the parentheses that Northing puts around it.
    """
    bare = _QUOTED.sub('""', jql)
    if not bare.strip():
        raise PydanticCustomError("jql", "is empty; leave it out, or use null")
    if re.search(r"\border\s+by\b", bare, re.IGNORECASE):
        raise PydanticCustomError("jql", "must not have ORDER BY; Northing uses its own order")
    depth = 0
    for char in bare.replace('""', ""):
        if char in "\"'":
            raise PydanticCustomError("jql", "has a quotation mark that is never closed")
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth < 0:
            break
    if depth:
        raise PydanticCustomError("jql", "has parentheses that do not pair")
    return jql.strip()


PROJECT_KEY = r"[A-Za-z][A-Za-z0-9_]{0,254}"
ProjectKey = Annotated[str, Field(pattern=rf"^{PROJECT_KEY}$"), AfterValidator(str.upper)]
FieldId = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.]{0,254}$")]
FieldName = Annotated[str, Field(min_length=1, max_length=255, pattern=_NO_NUL)]


class JiraCredentials(BaseModel):
    """A Jira Cloud user's e-mail address and classic (unscoped) API token.

    https://support.atlassian.com/atlassian-account/docs/manage-api-tokens-for-your-atlassian-account/
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["api_token"] = Field(description="`api_token`: Jira Cloud, e-mail address and API token.")
    email: str = Field(
        pattern=r"^[!-9;-~]+@[!-9;-~]+$", description="The e-mail address of the token's account."
    )
    token: Token = Field(description="The API token; never returned.")

    @model_validator(mode="before")
    @classmethod
    def _not_yet(cls, data: Any) -> Any:
        return refuse_unsupported_type(
            cls.__name__,
            data,
            "bearer",
            "bearer credentials (Jira Data Center) are not in this build;"
            ' use "api_token" with a Jira Cloud site',
        )


class JiraScope(ProjectNames):
    """Which tickets a source reads."""

    projects: list[ProjectKey] | None = Field(
        None,
        min_length=1,
        max_length=1_000,
        description="Project keys; null is every project the account can browse.",
    )
    jql: Annotated[str, Field(max_length=5_000, pattern=_NO_NUL), AfterValidator(_sound_jql)] | None = Field(
        None, description="An additional condition in JQL, without ORDER BY."
    )

    def covers(self, project: str, remote_id: str | None = None) -> bool:
        """Whether the project is in scope; the further condition `jql` is not evaluated."""
        return self.projects is None or self._named(self.projects, project, remote_id)


class JiraEpics(BaseModel):
    """Which tickets of the scope are epics."""

    model_config = ConfigDict(extra="forbid")

    issue_types: list[Annotated[str, Field(min_length=1, max_length=255, pattern=_NO_NUL)]] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Issue type names; null is every type on hierarchy level 1.",
    )
    fields: list[FieldId] = Field(
        default_factory=list, max_length=50, description="Custom field ids that rules may use."
    )
    key_result_field: FieldName | None = Field(
        None, description="The field in which tickets name key results: its name, in any case, or its id."
    )
    start_field: PlanFieldName | None = Field(
        None,
        description="The date field of an epic's planned first day: its name, in any case, or its id. Null: "
        "none.",
        examples=["Start date"],
    )
    due_field: PlanFieldName | None = Field(
        None,
        description="The date field of an epic's planned last day: its name, in any case, or its id. Null: "
        "Jira's own due date.",
        examples=["Target end"],
    )
    points_field: PlanFieldName | None = Field(
        None,
        description="The number field of an epic's story points: its name, in any case, or its id. Null: "
        "none.",
        examples=["Story point estimate"],
    )
