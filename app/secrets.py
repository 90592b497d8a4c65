"""Stored secrets: encrypted with Fernet, decrypted only to call a tracker or to check a webhook."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from sqlalchemy import select

from app.settings import Settings, WrongSetting
from mappings.tables import SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


class CannotDecrypt(Exception):
    """None of the keys decrypts a stored secret; the source's credentials must be sent again."""


class SecretCipher:
    """Encrypts with the first key, decrypts with any of them."""

    def __init__(self, keys: list[str]) -> None:
        self._first = Fernet(keys[0])
        self._all = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: Any) -> bytes:
        return self._all.encrypt(json.dumps(secret).encode())

    def decrypt(self, encrypted: bytes) -> Any:
        """Raises `CannotDecrypt`."""
        try:
            return json.loads(self._all.decrypt(encrypted))
        except InvalidToken:
            raise CannotDecrypt("no key opens this secret") from None

    def reencrypted(self, encrypted: bytes) -> bytes | None:
        """The secret encrypted with the first key; None if it already is. Raises `CannotDecrypt`."""
        try:
            self._first.decrypt(encrypted)
            return None
        except InvalidToken:
            pass
        try:
            return self._all.rotate(encrypted)
        except InvalidToken:
            raise CannotDecrypt("no key opens this secret") from None


def cipher_for(settings: Settings) -> SecretCipher:
    """The cipher with the keys of the settings, else with the key kept in the data folder."""
    keys = [key.get_secret_value() for key in settings.secret_key]
    return SecretCipher(keys or [_kept_key(settings.data_dir / "secret.key")])


def _kept_key(path: Path) -> str:
    """The key in `path`, made once, readable by its owner alone, and never half written in a race."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, fresh = tempfile.mkstemp(prefix=_fresh_key(path), dir=path.parent)
        with os.fdopen(descriptor, "wb") as file:
            file.write(Fernet.generate_key())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, path)
        except (FileExistsError, FileNotFoundError):
            pass  # another process was first, and may have tidied up: its key is used
        finally:
            Path(fresh).unlink(missing_ok=True)
    for leftover in path.parent.glob(f"{_fresh_key(path)}*"):  # of a process that was killed meanwhile
        leftover.unlink(missing_ok=True)
    key = path.read_text().strip()
    try:
        Fernet(key)
    except ValueError:
        raise WrongSetting(f"{path} does not hold a Fernet key; restore it from a backup") from None
    return key


def _fresh_key(path: Path) -> str:
    """How the names of files begin that become the key; never those of a person's copies of it."""
    return f".{path.name}.new-"


async def reencrypt_secrets(session: AsyncSession, cipher: SecretCipher) -> list[str]:
    """Encrypt every stored secret with the first key; gives the names of sources that no key decrypts.

    Raises `WrongSetting` if the keys decrypt none of the stored secrets.
    """
    opened, unopened = 0, []
    sources = select(SourceRow).order_by(SourceRow.id).with_for_update(key_share=True)
    for source in await session.scalars(sources):
        try:
            reencrypted = cipher.reencrypted(source.credentials)
            source.credentials = reencrypted or source.credentials
            if source.webhook_secret is not None:
                reencrypted = cipher.reencrypted(source.webhook_secret)
                source.webhook_secret = reencrypted or source.webhook_secret
            opened += 1
        except CannotDecrypt:
            unopened.append(source.name)
            source.health_state = "failing"
            source.health_message = "The stored credentials cannot be opened with the present key."
            source.health_what_to_do = (
                "Send the credentials again, or add the old key to NORTHING_SECRET_KEY."
            )
    if unopened and not opened:
        raise WrongSetting(
            "NORTHING_SECRET_KEY opens none of the stored secrets; add the key that was used before"
        )
    return unopened
