"""What a person may do with a file: change all that its lines say in one transaction, or nothing.

The lines are read before (`mappings.imports.read`), in a thread: a long file must not keep the process from
other work. What a line may do is what the operation on one goal or link does, and is audited the same.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from mappings.imports.columns import KEY_RESULTS, LINKS, OBJECTIVES
from mappings.imports.goals import import_key_results, import_objectives
from mappings.imports.links import import_links

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.imports.outcome import Imported
    from mappings.imports.read import Lines

_IMPORTS = {
    OBJECTIVES.name: import_objectives,
    KEY_RESULTS.name: import_key_results,
    LINKS.name: import_links,
}


async def import_lines(
    session: AsyncSession, file: Lines, now: datetime, *, dry_run: bool = False, partial: bool = False
) -> Imported:
    """The result of each line. `dry_run` changes nothing; `partial` applies the lines that are not wrong.

    Raises `NotApplied`, with the results, where lines are wrong, `partial` does not ask for the others, and
    what is done must be rolled back.
    """
    return await _IMPORTS[file.kind.name](session, file, now, dry_run=dry_run, partial=partial)
