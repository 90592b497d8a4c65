"""Settings from the environment and `.env`. A wrong one stops the start with one line that names it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from connectors.addresses import is_loopback, split_address
from connectors.config import hidden_end

OneRole = Literal["viewer", "editor", "admin"]
_ROLE_AT_END = re.compile(r"(.+):(viewer|editor|admin)", re.DOTALL)
_BASE_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/*")


class WrongSetting(Exception):
    """One line that names the setting and says what to do."""


def default_data_dir() -> Path:
    """As root `/var/lib/northing`, else the platform's folder for user data."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/northing")
    return user_data_path("northing", appauthor=False)


class Settings(BaseSettings):
    """Every setting of the contract; the names are `NORTHING_` and the field's in capitals."""

    model_config = SettingsConfigDict(
        env_prefix="NORTHING_",
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        hide_input_in_errors=True,
    )

    database_url: SecretStr | None = None
    listen_url: SecretStr | None = None
    data_dir: Path = Field(default_factory=default_data_dir)
    admin_token: SecretStr | None = None
    secret_key: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str = ""
    why_links: Literal["signed", "login"] = "signed"
    ca_bundle: Path | None = None
    oidc_issuer: str | None = None
    oidc_client_id: str | None = None
    oidc_client_secret: SecretStr | None = None
    oidc_roles: Annotated[dict[str, OneRole] | None, NoDecode] = None
    log_format: Literal["console", "json"] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )

    @field_validator("database_url", "listen_url", "admin_token", "oidc_client_secret")
    @classmethod
    def _shows_its_ends(cls, value: SecretStr | None) -> SecretStr | None:
        hidden = None if value is None else hidden_end(value.get_secret_value())
        if hidden is not None:
            raise ValueError(f"{hidden}; take that out, and out of every copy of it")
        return value

    @field_validator("database_url", "listen_url")
    @classmethod
    def _is_postgresql(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        if re.search(r"[\s\x00-\x20\x7f]", value.get_secret_value()):
            raise ValueError("has a blank or a line break inside; write one of the password as %20")
        try:
            url = make_url(value.get_secret_value())
        except ArgumentError:
            raise ValueError("is not a URL; write postgresql://user:password@host/database") from None
        if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise ValueError("must be a PostgreSQL URL; write postgresql://user:password@host/database")
        hidden = hidden_end((url.password or "").strip(" "))
        if hidden is not None:
            raise ValueError(f"has a password that {hidden}; take that out")
        if not url.database:
            raise ValueError("names no database; write postgresql://user:password@host/database")
        return value

    @field_validator("admin_token")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 16:
            raise ValueError("must have at least 16 characters")
        return value

    @field_validator("secret_key", mode="before")
    @classmethod
    def _split_keys(cls, value: Any) -> Any:
        if isinstance(value, str):
            hidden = hidden_end(value)
            if hidden is not None:
                raise ValueError(f"{hidden}; take that out")
            return tuple(part.strip(" ") for part in value.split(",") if part.strip(" "))
        return value

    @field_validator("secret_key")
    @classmethod
    def _are_fernet_keys(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for key in value:
            # Strictly: base64 passes over what does not belong to it, such as a control character.
            if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", key.get_secret_value()):
                hidden = hidden_end(key.get_secret_value())
                raise ValueError(
                    f"has a key that {hidden}; take that out"
                    if hidden
                    else "must be one or more Fernet keys (32 bytes, URL-safe base64), comma-separated"
                )
        return value

    @field_validator("public_url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        parts = split_address(value)
        if value and (parts is None or not parts.hostname or parts.username is not None or " " in value):
            raise ValueError(
                "must name a host, without a login or a blank; write https://northing.example.com"
            )
        if (value and not _BASE_PATH.fullmatch(urlsplit(value).path)) or "?" in value or "#" in value:
            raise ValueError("may end with a path of letters, digits, . _ ~ and -, and with nothing else")
        return value.rstrip("/")

    @field_validator("oidc_issuer")
    @classmethod
    def _is_an_issuer(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = split_address(value)
        if parts is None or not parts.hostname or parts.username is not None or parts.query or parts.fragment:
            raise ValueError("must be the provider's address; write https://login.example.com/realms/acme")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(value)):
            raise ValueError("must start with https://, for what the provider answers is trusted")
        return value.strip()

    @field_validator("oidc_roles", mode="before")
    @classmethod
    def _split_roles(cls, value: Any) -> Any:
        return _roles_by_group(value) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.database_url is not None and not self.secret_key:
            raise ValueError(
                "NORTHING_SECRET_KEY is required with NORTHING_DATABASE_URL: "
                "set it to a Fernet key and keep it safe, it opens the stored credentials"
            )
        if self.listen_url is not None and self.database_url is None:
            raise ValueError("NORTHING_LISTEN_URL needs NORTHING_DATABASE_URL as well")
        given = {
            "NORTHING_OIDC_ISSUER": self.oidc_issuer,
            "NORTHING_OIDC_CLIENT_ID": self.oidc_client_id,
            "NORTHING_OIDC_CLIENT_SECRET": self.oidc_client_secret,
            "NORTHING_OIDC_ROLES": self.oidc_roles,
        }
        missing = [name for name, value in given.items() if not value]
        if 0 < len(missing) < len(given):
            there = next(name for name, value in given.items() if value)
            raise ValueError(f"{missing[0]} is missing: it is required with {there}")
        return self

    @property
    def links_base(self) -> str:
        """The address that links in comments start with, without a slash at the end.

        No link can lead to `0.0.0.0` or `::`: without NORTHING_PUBLIC_URL loopback addresses replace them.
        """
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104  # compared, not listened on
        host = f"[{host}]" if ":" in host else host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def base_path(self) -> str:
        """The path of `links_base`, below which every address of ours lies; empty at the root of a host."""
        return urlsplit(self.links_base).path


def _roles_by_group(text: str) -> dict[str, str]:
    """Of `group:role,…`. A group's name may hold colons, and commas in a distinguished name (`cn=a,ou=b`)."""
    found: dict[str, str] = {}
    begun = ""
    for part in text.split(","):
        whole = begun + part
        named = _ROLE_AT_END.fullmatch(whole.strip())
        if named is None:
            if "=" not in part:
                raise ValueError(
                    "must be group:role pairs, separated by commas; a role is viewer, editor or admin"
                )
            begun = f"{whole},"
            continue
        group, begun = named[1].strip(), ""
        if group in found:
            raise ValueError(f"names the group {group[:100]!r} twice")
        found[group] = named[2]
    if begun.strip():
        raise ValueError("ends with a group that has no role; write group:role")
    return found


def load(**overrides: Any) -> Settings:
    """The settings in force. Raises `WrongSetting` with one line that says what to do."""
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
        location = "_".join(str(part) for part in first["loc"][:1])
        raise WrongSetting(f"NORTHING_{location.upper()} {message}" if location else message) from None
