"""A source as a person wants it to be: how it becomes what its operations take, and a connector to check it.

The API and the command line make their sources of it. Its secrets are in plain text, so it is never stored,
shown or logged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import SecretStr

from app.secrets import NAMES as SECRETS, Binding, SecretName
from connectors.addresses import is_loopback
from connectors.registry import KINDS, tracker_id
from mappings.policy.names import NO_NAMES, NamedProjects
from mappings.sources import operations
from mappings.sources.values import SourceValues, TrackerFacts

if TYPE_CHECKING:
    from datetime import datetime

    from pydantic import BaseModel
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from app.secrets import SecretCipher
    from connectors.base import Connector


@dataclass(frozen=True)
class SourceDraft:
    """`credentials`, `scope` and `epics` are models of the kind; `schedule` and `notices` JSON objects.
    `named`: the projects that names of the scope are known to mean."""

    name: str
    kind: str
    base_url: str
    credentials: BaseModel = field(repr=False)
    scope: Any
    epics: BaseModel
    schedule: dict[str, Any]
    notices: dict[str, Any]
    webhook_secret: SecretStr | None = None
    named: NamedProjects = field(default_factory=lambda: NO_NAMES)

    @property
    def plain_credentials(self) -> dict[str, Any]:
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in self.credentials
        }

    def sealed(self, cipher: SecretCipher, name: SecretName, binding: Binding) -> Any:
        """That secret, encrypted for its binding; None where there is none."""
        if name == "credentials":
            return cipher.encrypt(self.plain_credentials, binding)
        return (
            None
            if self.webhook_secret is None
            else cipher.encrypt(self.webhook_secret.get_secret_value(), binding)
        )

    def values(self, credentials: bytes, webhook_secret: bytes | None) -> SourceValues:
        """With the secrets as they are to be stored."""
        tracker = tracker_id(self.kind, self.base_url)
        return SourceValues(
            name=self.name,
            base_url=self.base_url,
            facts=TrackerFacts(tracker, is_loopback(self.base_url), self.scope.following(self.named)),
            credentials=credentials,
            credentials_type=self.plain_credentials["type"],
            webhook_secret=webhook_secret,
            scope=self.scope.model_dump(mode="json"),
            epics=self.epics.model_dump(mode="json"),
            schedule=self.schedule,
            notices=self.notices,
        )


async def create_from_draft(
    runtime: Runtime, session: AsyncSession, draft: SourceDraft, now: datetime
) -> operations.ChangedSource:
    """Make the source. Raises as `operations.create_source` does."""
    uuid = str(uuid4())
    credentials, secret = (
        draft.sealed(runtime.cipher, name, Binding(name, uuid, draft.kind, draft.base_url))
        for name in SECRETS
    )
    values = draft.values(credentials, secret)
    return await operations.create_source(session, draft.kind, values, now, uuid=uuid)


async def connect_draft(runtime: Runtime, draft: SourceDraft) -> Connector:
    """A connector for the source as it would be; it sends no request yet."""
    async with runtime.sessions() as session:
        now = await runtime.now(session)
    return KINDS[draft.kind].connect(
        draft.base_url,
        draft.credentials,
        draft.scope.following(draft.named),
        draft.epics,
        runtime.timeouts,
        runtime.clock.running_from(now),
        runtime.network,
    )
