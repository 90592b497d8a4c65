"""Roles, and the least role for each operation of the API."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import structlog

from mappings.tables import ROLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

log = structlog.get_logger()

Role = Literal["viewer", "editor", "admin"]

# Each operation of /api/v1, by its path below that and its method, with the least role that may do it.
OPERATIONS: dict[str, dict[str, Role]] = {
    "/sources": {"GET": "viewer", "POST": "admin"},
    "/sources/{name}": {"GET": "viewer", "PATCH": "admin", "DELETE": "admin"},
    "/sources/{name}/sync": {"POST": "admin"},
    "/sources/{name}/check": {"POST": "admin"},
    "/runs": {"GET": "viewer"},
    "/runs/{id}": {"GET": "viewer"},
    "/runs/{id}/accept-removals": {"POST": "admin"},
    "/runs/{id}/withdraw": {"POST": "editor"},
    "/cycles": {"GET": "viewer", "POST": "editor"},
    "/cycles/{key}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/objectives": {"GET": "viewer", "POST": "editor"},
    "/objectives/{key}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/objectives/{key}/key-results": {"POST": "editor"},
    "/key-results": {"GET": "viewer"},
    "/key-results/{key}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/key-results/{key}/check-ins": {"GET": "viewer", "POST": "editor"},
    "/key-results/{key}/agreements": {"GET": "viewer", "POST": "editor"},
    "/rules": {"GET": "viewer", "POST": "editor"},
    "/rules/preview": {"POST": "viewer"},
    "/rules/order": {"PUT": "editor"},
    "/rules/{id}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/links": {"GET": "viewer", "POST": "editor"},
    "/links/bulk": {"POST": "editor"},
    "/links/{id}": {"DELETE": "editor"},
    "/import/objectives": {"POST": "editor"},
    "/import/key-results": {"POST": "editor"},
    "/import/links": {"POST": "editor"},
    "/export/objectives": {"GET": "viewer"},
    "/export/key-results": {"GET": "viewer"},
    "/export/links": {"GET": "viewer"},
    "/export/epics": {"GET": "viewer"},
    "/epics": {"GET": "viewer"},
    "/epics/{source}/{key}": {"GET": "viewer"},
    "/epics/{source}/{key}/suggestions": {"GET": "viewer"},
    "/epics/{source}/{key}/suggestions/{key_result}/reject": {"POST": "editor", "DELETE": "editor"},
    "/epics/{source}/{key}/value": {"GET": "viewer", "PUT": "editor"},
    "/epics/{source}/{key}/stage": {"GET": "viewer", "PUT": "editor"},
    "/reviews/{id}/decisions": {"POST": "editor"},
    "/conflicts/{id}/decisions": {"POST": "editor"},
    "/decisions": {"GET": "viewer"},
    "/decisions/{id}": {"GET": "viewer"},
    "/decisions/{id}/undo": {"POST": "editor"},
    "/findings": {"GET": "viewer"},
    "/findings/{id}/waive": {"POST": "editor"},
    "/findings/{id}/snooze": {"POST": "editor"},
    "/findings/{id}/reopen": {"POST": "editor"},
    "/findings/{id}/uphold": {"POST": "editor"},
    "/findings/{id}/dismiss": {"POST": "editor"},
    "/notices": {"GET": "viewer"},
    "/notices/approve": {"POST": "editor"},
    "/notices/withdraw": {"POST": "editor"},
    "/policy": {"GET": "viewer", "PUT": "editor", "PATCH": "editor"},
    "/reports/coverage": {"GET": "viewer"},
    "/reports/audit": {"GET": "viewer"},
    "/reviews": {"GET": "viewer", "POST": "editor"},
    "/reviews/{id}": {"GET": "viewer", "PATCH": "editor"},
    "/reviews/{id}/close": {"POST": "editor"},
    "/reviews/{id}/epics": {"GET": "viewer"},
    "/reviews/{id}/items": {"POST": "editor"},
    "/reviews/{id}/items/{item_id}": {"PATCH": "editor"},
    "/reviews/{id}/pack": {"GET": "viewer"},
    "/reports/priorities": {"GET": "viewer"},
    "/criteria": {"GET": "viewer", "PUT": "editor"},
    "/epics/{source}/{key}/scores": {"GET": "viewer", "PUT": "editor"},
    "/conflicts": {"GET": "viewer", "POST": "editor"},
    "/conflicts/{id}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/deliveries": {"GET": "viewer"},
    "/deliveries/{id}": {"GET": "admin"},
    "/deliveries/{id}/replay": {"POST": "admin"},
    "/tokens": {"GET": "admin", "POST": "admin"},
    "/tokens/{id}": {"DELETE": "admin"},
    "/audit-log": {"GET": "admin"},
}


def role_for(method: str, path: str) -> Role:
    """The least role for an operation; `admin` for one that `OPERATIONS` does not list."""
    return OPERATIONS.get(path, {}).get(method, "admin")


def highest_role(roles: Mapping[str, Role], groups: Iterable[str]) -> Role | None:
    """The highest role that one of a person's groups gives; None where none gives any."""
    given = [roles[group] for group in groups if group in roles]
    return max(given, key=ROLES.index, default=None)


@dataclass(frozen=True)
class Caller:
    """The caller of the API. `who` is its name in the audit log."""

    who: str
    role: Role

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)
