"""All pages behind the login, as one router."""

from __future__ import annotations

from app.web import (
    allocation,
    audit,
    audit_log,
    conflicts,
    decisions,
    deliveries,
    epic,
    epics,
    first_run,
    goals,
    imports,
    notices,
    outcomes,
    overview,
    priorities,
    review,
    review_item,
    reviews,
    roadmap,
    rules,
    runs,
    signed,
    sources,
    tokens,
    undo,
)
from app.web.router import PagesRouter

router = PagesRouter(include_in_schema=False)
router.larger_forms = {"/import": imports.LARGEST_FORM}
for module in (
    overview,
    first_run,
    signed,
    epics,
    epic,
    undo,
    goals,
    roadmap,
    outcomes,
    allocation,
    priorities,
    reviews,
    review_item,
    review,
    decisions,
    conflicts,
    audit,
    rules,
    notices,
    sources,
    runs,
    deliveries,
    imports,
    audit_log,
    tokens,
):
    router.include_router(module.router)
