"""Writes a migration with what Alembic finds: the tables' classes compared with a migrated database."""

from __future__ import annotations

import re
import subprocess
import sys
from argparse import Namespace
from datetime import date
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import Script, ScriptDirectory

import migrations
from app.database import sqlalchemy_url
from mappings.tables import Base

SCRIPTS = Path(migrations.__file__).parent
PYPROJECT = SCRIPTS.parent / "pyproject.toml"
NAME = re.compile(r"[a-z][a-z0-9_]{2,39}")


def _is_ours(thing: Any, name: str | None, kind: str, reflected: bool, compared: Any) -> bool:
    """procrastinate brings its own tables, and no classes for them."""
    return not (kind == "table" and (name or "").startswith("procrastinate_"))


COMPARISON = {"compare_type": True, "compare_server_default": True, "include_object": _is_ours}


def write_migration(name: str, url: str, today: date, scripts: Path = SCRIPTS) -> Path:
    """Write the next migration below `scripts` and return its path.

    `name` is the end of the file's name, such as `add_reviews`. `url` is a database at the newest migration;
    it is not changed. Raises `ValueError` for another form of name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a migration; write NAME=add_reviews, say")
    config = Config(cmd_opts=Namespace(quiet=True))
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.attributes["url"] = sqlalchemy_url(url)
    config.attributes["comparison"] = {**COMPARISON, "target_metadata": Base.metadata}
    head = ScriptDirectory.from_config(config).get_current_head()
    assert head is not None
    revision = f"{today:%Y_%m_%d}_{int(head[-4:]) + 1:04}"
    message = name.replace("_", " ").capitalize()
    script = command.revision(config, message, autogenerate=True, rev_id=revision)
    assert isinstance(script, Script)
    path = Path(script.path)
    _tidy(path)
    return path


def _tidy(path: Path) -> None:
    """Take out Alembic's own comments, and give the file the form of the others."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(
        "".join(line for line in lines if not line.lstrip().startswith("# ###")), encoding="utf-8"
    )
    for action in (["check", "--fix", "--select", "I"], ["format"]):
        subprocess.run(
            [sys.executable, "-m", "ruff", *action, "--quiet", "--config", str(PYPROJECT), str(path)],
            check=True,
        )
