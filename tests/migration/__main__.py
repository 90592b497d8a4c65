"""`make migration NAME=add_reviews`: the file is a proposal, to be read and completed before it is kept."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

from app.database import migrate
from app.embedded import acquire
from tests.migration.proposal import write_migration
from tests.support.processes import data_folder


def main(name: str) -> int:
    logging.getLogger("alembic").setLevel(logging.ERROR)
    with data_folder() as folder, acquire(folder, durable=False) as server:
        server.create_database("proposal")
        url = server.url("proposal")
        migrate(url)
        try:
            path = write_migration(name, url, datetime.now(UTC).date())
        except ValueError as error:
            sys.stderr.write(f"{error}\n")
            return 2
    if "op." not in path.read_text(encoding="utf-8"):
        sys.stdout.write("The tables' classes and the schema agree, so the migration does nothing yet.\n")
    sys.stdout.write(f"{path.relative_to(Path.cwd())}: complete it, and say in its first line why.\n")
    return 0


if __name__ == "__main__":
    sys.exit(main("".join(sys.argv[1:])))
