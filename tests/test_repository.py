"""What holds for the repository as a whole: its files, its locks, what it is packed into."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trove_classifiers  # which hatchling brings
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import migrations
from app.settings import Settings

ROOT = Path(__file__).parents[1]
CODE = ("app", "connectors", "mappings", "migrations")
LOCKS = ("requirements.lock", "requirements-dev.lock")
VERSIONS = Path(migrations.__file__).parent / "versions"


# --- files --------------------------------------------------------------------------------------


def _files() -> list[Path]:
    """What is tracked, or would be with the next commit."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a clone: git knows which files are part of the repository")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


UNWANTED = {
    # Written so that this file does not find itself.
    "a path of somebody's machine": r"(?<![\w.~-])/(?:home|root|Users|work)/[\w.]",
    "a package registry": r"pypi\.(?:org|python)|pythonhosted\.(?:org)|registry\.npm|--(?:extra-)?index-url",
    "unfinished work": r"(?:#|//|<!--|\{#)\s*(?:TO{1}DO|FIX{1}ME|X{3}|HACK)\b|NotImplemented{1}Error",
    "a merge gone wrong": r"^(?:<{7}|>{7}) ",
}


@pytest.mark.parametrize("what", UNWANTED)
def test_no_file_holds(what: str) -> None:
    pattern = re.compile(UNWANTED[what], re.MULTILINE)
    here, elsewhere = str(ROOT), "/".join(["", "home", "someone"])
    found = []
    for path in _files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for match in pattern.finditer(text.replace(f"{here}/", f"{elsewhere}/")):
            line = text.count("\n", 0, match.start()) + 1
            found.append(f"{path.relative_to(ROOT)}:{line}: {match.group()}")
    assert found == []


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("a path of somebody's machine", "open('/" + "home/someone/northing')"),
        ("a package registry", "--index" + "-url=https://mirror.example/simple"),
        ("unfinished work", "x = 1  # TO" + "DO: later"),
        ("unfinished work", "raise NotImplemented" + "Error"),
    ],
)
def test_it_would_be_found(what: str, line: str) -> None:
    assert re.search(UNWANTED[what], line, re.MULTILINE)


def test_no_module_is_longer_than_450_lines() -> None:
    """Migrations are exempt: they are written once and never read as a whole."""
    modules = [path for name in CODE for path in (ROOT / name).rglob("*.py") if VERSIONS not in path.parents]
    assert len(modules) > 50
    long = {str(path.relative_to(ROOT)): count for path in modules if (count := _lines(path)) > 450}
    assert long == {}


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_every_rule_that_a_line_is_excused_from_has_its_reason_beside_it() -> None:
    excused = re.compile(r"# noqa\b(?!: [A-Z]+\d+(?:, [A-Z]+\d+)*  # \S)")
    bare = []
    for path in (path for path in _files() if path.suffix == ".py" and path != Path(__file__)):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if excused.search(line):
                bare.append(f"{path.relative_to(ROOT)}:{number}")
    assert bare == []


def test_the_tests_are_flat_and_shadow_no_package() -> None:
    tests = ROOT / "tests"
    assert [path for path in tests.rglob("test_*.py") if path.parent != tests] == []
    assert not (tests / "__init__.py").exists()
    assert {path.name for path in tests.iterdir() if path.is_dir()}.isdisjoint(CODE)


def test_every_module_that_is_more_than_a_name_says_what_it_is_for() -> None:
    silent = []
    for name in CODE:
        for path in (ROOT / name).rglob("*.py"):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if tree.body and ast.get_docstring(tree) is None:
                silent.append(str(path.relative_to(ROOT)))
    assert silent == []


# --- locks --------------------------------------------------------------------------------------


def _locked(name: str) -> dict[str, tuple[str, int]]:
    """Package to (version, number of hashes)."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    packages: dict[str, tuple[str, int]] = {}
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            requirement = Requirement(line.split(" --hash", 1)[0].strip())
            version = str(requirement.specifier).removeprefix("==")
            packages[canonicalize_name(requirement.name)] = (version, line.count("--hash=sha256:"))
    return packages


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_file_pins_and_hashes_every_package_and_names_no_index(name: str) -> None:
    packages = _locked(name)
    assert len(packages) > 40
    assert [package for package, (version, hashes) in packages.items() if not version or not hashes] == []
    lines = (ROOT / name).read_text().splitlines()
    assert [line for line in lines if re.match(r"\s*(-|https?:)(?!-hash)", line)] == []


def test_the_locks_hold_what_pyproject_asks_for_and_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime, dev = _locked("requirements.lock"), _locked("requirements-dev.lock")
    groups = project["dependency-groups"]
    expected = {
        "requirements.lock": [*project["project"]["dependencies"], *groups["build"]],
        "requirements-dev.lock": groups["dev"],
    }
    for name, requirements in expected.items():
        packages = _locked(name)
        for requirement in map(Requirement, requirements):
            version, _ = packages[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version, prereleases=True), (name, str(requirement))
    differing = {package for package in runtime.keys() & dev.keys() if runtime[package] != dev[package]}
    assert differing == set()
    assert runtime.keys() <= dev.keys()


# --- packaging ----------------------------------------------------------------------------------


def test_the_wheel_holds_every_file_of_the_packages_and_the_licence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    [wheel] = tmp_path.glob("northing-*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {path.relative_to(ROOT) for path in _files()}
    expected = {path.as_posix() for path in ours if path.parts[0] in CODE}
    assert any(name.endswith(".html") for name in expected)
    assert expected <= packed
    assert {name for name in packed if not name.startswith("northing-")} == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in packed)


def test_the_classifiers_exist_and_agree_with_the_rest() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    given = project["classifiers"]
    assert [one for one in given if one not in trove_classifiers.classifiers] == []
    assert given == sorted(given)
    assert [one for one in given if one.startswith("License ::")] == [], "the licence is an SPDX expression"
    versions = re.findall(r"Python :: 3\.(\d+)", " ".join(given))
    assert project["requires-python"] == f">=3.{min(versions, key=int)}"
    assert project["keywords"] == sorted(set(project["keywords"]))
    assert all((ROOT / package / "py.typed").exists() for package in CODE), "Typing :: Typed"


def test_the_image_is_built_from_every_package_and_the_runtime_lock_alone() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    let_in = set(re.findall(r"^!(\w+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    assert packages == set(CODE) == copied == let_in - {"LICENSE"}
    assert "requirements-dev" not in (ROOT / "Dockerfile").read_text()


def test_what_docker_sets_are_settings_and_compose_brings_no_secret() -> None:
    known = {f"NORTHING_{name.upper()}" for name in Settings.model_fields}
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    environment: dict[str, str] = services["northing"]["environment"]
    assert environment.keys() <= known
    assert (
        set(re.findall(r"^\s+(?:ENV )?(NORTHING_\w+)=", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
        <= known
    )
    for name, value in {**environment, **services["database"]["environment"]}.items():
        if re.search(r"PASSWORD|SECRET|TOKEN|DATABASE_URL", name):
            assert re.search(r"\$\{\w+:\?[^}]+\}", value), name
    assert services["northing"]["depends_on"] == {"database": {"condition": "service_healthy"}}
    assert "healthcheck" in services["database"]


PINNED = re.compile(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}")


def _services() -> dict[str, dict[str, Any]]:
    services: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return services


def test_every_base_image_has_a_tag_and_a_digest_and_a_way_to_renew_it() -> None:
    dockerfile, compose = (ROOT / "Dockerfile").read_text(), (ROOT / "compose.yaml").read_text()
    [base] = re.findall(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert PINNED.fullmatch(base)
    assert set(re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)) == {"${PYTHON}"}
    foreign = [service["image"] for service in _services().values() if "build" not in service]
    assert foreign
    assert [image for image in foreign if not PINNED.fullmatch(image)] == []
    for image, text in [(base, dockerfile), *((image, compose) for image in foreign)]:
        assert f"docker buildx imagetools inspect {image.split('@')[0]} " in text


# What each image writes to, besides its standard output.
WRITTEN = {
    "northing": {"/tmp", "/var/lib/northing"},
    "database": {"/tmp", "/var/lib/postgresql", "/var/run/postgresql"},
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_service_writes_only_to_its_volume_and_to_memory(name: str) -> None:
    service = _services()[name]
    assert service["read_only"] is True
    volumes = dict(entry.split(":")[::-1] for entry in service["volumes"])
    in_memory = dict(entry.split(":", 1) for entry in service["tmpfs"])
    assert volumes == {f"/var/lib/{'postgresql' if name == 'database' else name}": name}
    assert volumes.keys() | in_memory.keys() == WRITTEN[name]
    assert not volumes.keys() & in_memory.keys()
    assert [path for path, options in in_memory.items() if "size=" not in options] == []


def test_the_image_writes_nowhere_but_where_compose_lets_it() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    final = dockerfile[dockerfile.rindex("\nFROM ") :]
    variables = dict(re.findall(r"^(?:ENV| {3,}) ?(\w+)=(\S+)", final, re.MULTILINE))
    named = {*re.findall(r"^(?:VOLUME|WORKDIR) (\S+)$", final, re.MULTILINE), variables["NORTHING_DATA_DIR"]}
    named |= set(re.findall(r"--home-dir (\S+)", final))
    assert named == WRITTEN["northing"] - {"/tmp"}
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"


@pytest.mark.parametrize("name", WRITTEN)
def test_a_service_has_limits_and_no_privileges(name: str) -> None:
    service = _services()[name]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 1000
    assert 0 < service["ulimits"]["nofile"] <= 65536
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    # The image of Northing names its own user.
    user = (
        service.get("user")
        or re.findall(r"^USER (\S+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[-1]
    )
    assert user == {"northing": "northing", "database": "postgres"}[name]


def test_both_services_have_a_health_check() -> None:
    assert re.search(r"^HEALTHCHECK .*\n? *CMD", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert _services()["database"]["healthcheck"]["test"][1] == "pg_isready"
    assert "healthcheck" not in _services()["northing"], "the image brings its own"


# --- continuous integration ---------------------------------------------------------------------


def test_the_database_tests_are_chosen_by_their_marker() -> None:
    run = (ROOT / ".ci" / "run").read_text()
    assert "-m database" in run
    assert "tests/test_" not in run
    mark = "pytestmark = pytest.mark.database"
    marked = {
        path.stem for path in (ROOT / "tests").glob("test_*.py") if mark in path.read_text().splitlines()
    }
    assert {"test_migrations", "test_api_lists", "test_evaluation_races", "test_sync_incremental"} <= marked
    assert len(marked) >= 15
    assert run.rstrip().endswith("exec make test"), "its last lines are pytest's own"
