"""Stored secrets: encrypted with Fernet, decrypted only to call a tracker or to check a webhook.

A secret is encrypted together with its binding: its purpose, the source, the source's kind and address. So it
opens nowhere else, whatever somebody changes in the database. What signs is such a secret too.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import select, text

from app.settings import Settings, WrongSetting
from mappings.sources.health import MOST_NAMED
from mappings.tables import InstallationRow, SourceRow, WebSessionRow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.ext.asyncio import AsyncSession

SecretName = Literal["credentials", "webhook_secret"]
NAMES: tuple[SecretName, ...] = ("credentials", "webhook_secret")
FORGET = "`northing db forget-secrets` drops what cannot be opened"
DROPPED = b""


class CannotDecrypt(Exception):
    """A stored secret cannot be used. `what_to_do` tells the operator of Northing how to repair it.

    `another_process_may`: no key of this process opens it; a process with other keys may open it.
    """

    def __init__(self, message: str, what_to_do: str, *, another_process_may: bool = False) -> None:
        super().__init__(message)
        self.message, self.what_to_do = message, what_to_do
        self.another_process_may = another_process_may

    @classmethod
    def without_key(cls) -> CannotDecrypt:
        return cls(
            "No key of this process opens the stored secret.",
            "Add the key used before to NORTHING_SECRET_KEY of every process, or send the secret again by"
            " PATCH of the source.",
            another_process_may=True,
        )

    @classmethod
    def elsewhere(cls) -> CannotDecrypt:
        return cls(
            "The stored secret was made for another source, kind or base_url: the database was changed.",
            "Find out who changed it, then send the secret again by PATCH of the source.",
        )

    @classmethod
    def dropped(cls) -> CannotDecrypt:
        return cls("The source's credentials were dropped.", "Send them again by PATCH of the source.")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a secret is stored and what it is for. `source`: the `uuid` of the source's row."""

    purpose: str
    source: str = ""
    kind: str = ""
    base_url: str = ""


def binding_of(source: SourceRow, purpose: SecretName) -> Binding:
    return Binding(purpose, source.uuid, source.kind, source.base_url)


SIGNING = Binding("signing")


def grant_binding(session_hash: bytes, issuer: str) -> Binding:
    """Of what an OpenID provider gave for one session of a person."""
    return Binding("grant", session_hash.hex(), "openid", issuer)


class SecretCipher:
    """Encrypts with the first key, decrypts with any of them. `named` says where the keys come from."""

    def __init__(self, keys: list[str], named: str = "NORTHING_SECRET_KEY") -> None:
        self.named = named
        self._first = Fernet(keys[0])
        self._all = MultiFernet([Fernet(key) for key in keys])

    def encrypt(self, secret: Any, binding: Binding) -> bytes:
        return self._all.encrypt(json.dumps({"binding": asdict(binding), "secret": secret}).encode())

    def decrypt(self, encrypted: bytes, binding: Binding) -> Any:
        """Raises `CannotDecrypt`."""
        held = self._opened(encrypted)
        if not isinstance(held, dict) or held.get("binding") != asdict(binding):
            raise CannotDecrypt.elsewhere()
        return held["secret"]

    def reencrypted(self, encrypted: bytes, binding: Binding) -> bytes | None:
        """The secret encrypted with the first key; None if it already is. Raises `CannotDecrypt`."""
        secret = self.decrypt(encrypted, binding)
        try:
            self._first.decrypt(encrypted)
        except InvalidToken:
            return self.encrypt(secret, binding)
        return None

    def resealed(self, encrypted: bytes, purpose: str, source: str) -> bytes | None:
        """As `reencrypted`, for a secret whose binding is known in part only."""
        held = self._opened(encrypted)
        named = held.get("binding") if isinstance(held, dict) else None
        if not isinstance(named, dict) or (named.get("purpose"), named.get("source")) != (purpose, source):
            raise CannotDecrypt.elsewhere()
        return self.reencrypted(encrypted, Binding(**named))

    def bound(self, encrypted: bytes, binding: Binding) -> bytes:
        """What was encrypted without a binding, encrypted for this one. Raises `CannotDecrypt`."""
        held = self._opened(encrypted)
        if isinstance(held, dict) and "binding" in held:
            raise CannotDecrypt.elsewhere()
        return self.encrypt(held, binding)

    def why_not(self, encrypted: bytes, binding: Binding) -> CannotDecrypt | None:
        """Why the secret cannot be decrypted; None where it can."""
        try:
            self.decrypt(encrypted, binding)
        except CannotDecrypt as error:
            return error
        return None

    def _opened(self, encrypted: bytes) -> Any:
        if encrypted == DROPPED:
            raise CannotDecrypt.dropped()
        try:
            return json.loads(self._all.decrypt(encrypted))
        except InvalidToken:
            raise CannotDecrypt.without_key() from None


# --- keys -------------------------------------------------------------------------------------


def kept_key_path(settings: Settings) -> Path:
    return settings.data_dir / "secret.key"


def cipher_for(settings: Settings) -> SecretCipher:
    """The cipher with the keys of the settings, else with the one in the data folder, made if missing."""
    keys = [key.get_secret_value() for key in settings.secret_key]
    if keys:
        return SecretCipher(keys)
    path = kept_key_path(settings)
    return SecretCipher([_kept_key(path)], str(path))


def lacks_key(settings: Settings) -> bool:
    """Whether there is no key yet, neither in the settings nor in the data folder."""
    return not settings.secret_key and not kept_key_path(settings).exists()


def missing_key(settings: Settings) -> WrongSetting:
    return WrongSetting(
        f"{kept_key_path(settings)} is missing, and the database beside it holds secrets that only this key"
        f" opens; put it back from a backup. If it is lost, {FORGET}"
    )


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


Purpose = Literal["cursor", "marker", "why"]


class SigningKeys:
    """What this process signs with, once a start has opened it; a key of its own for each purpose."""

    def __init__(self) -> None:
        self._keys: dict[Purpose, bytes] | None = None

    def open(self, secret: bytes) -> None:
        # Derived once: each list needs one, and to derive it takes longer than to sign a cursor.
        self._keys = {purpose: _derived(secret, purpose) for purpose in get_args(Purpose)}

    def key(self, purpose: Purpose) -> bytes:
        """32 bytes."""
        if self._keys is None:
            raise RuntimeError("nothing can be signed before the start has opened the signing key")
        return self._keys[purpose]


def _derived(secret: bytes, purpose: Purpose) -> bytes:
    info = f"northing {purpose}".encode()
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(secret)


# --- what is stored -----------------------------------------------------------------------------


def stored_secrets(sources: list[SourceRow]) -> Iterator[tuple[SourceRow, SecretName, bytes]]:
    for source in sources:
        for name in NAMES:
            encrypted = getattr(source, name)
            if encrypted is not None and encrypted != DROPPED:
                yield source, name, encrypted


async def holds_secrets(session: AsyncSession) -> bool:
    """Whether the database holds anything that a key has to open."""
    signed = select(InstallationRow.id).where(InstallationRow.signing_key.is_not(None)).exists()
    return bool(await session.scalar(select(signed | select(SourceRow.id).exists())))


async def _locked_rows(session: AsyncSession) -> tuple[InstallationRow, list[SourceRow]]:
    """The installation, made where it is missing, and all sources."""
    await session.execute(
        text("INSERT INTO installation (id, uuid) VALUES (1, :uuid) ON CONFLICT DO NOTHING"),
        {"uuid": str(uuid4())},
    )
    installation = (await session.scalars(select(InstallationRow).with_for_update())).one()
    sources = select(SourceRow).order_by(SourceRow.id).with_for_update(key_share=True)
    return installation, list(await session.scalars(sources))


async def prepare_secrets(session: AsyncSession, cipher: SecretCipher) -> bytes:
    """Encrypt every stored secret with the first key; what signs, made where it is missing.

    The start that makes it also binds secrets that were stored without a binding; no later one takes such a
    secret. Raises `WrongSetting` if any stored secret cannot be opened.
    """
    installation, sources = await _locked_rows(session)
    unopened: list[str] = []
    elsewhere = False
    unbound = installation.signing_key is None and not any(
        cipher.why_not(encrypted, binding_of(source, name)) is None
        for source, name, encrypted in stored_secrets(sources)
    )
    for source, name, encrypted in stored_secrets(sources):
        binding = binding_of(source, name)
        try:
            new = cipher.bound(encrypted, binding) if unbound else cipher.reencrypted(encrypted, binding)
        except CannotDecrypt as error:
            unopened.append(f"{name} of {source.name}")
            elsewhere = elsewhere or not error.another_process_may
        else:
            setattr(source, name, new or encrypted)
    opened = len(list(stored_secrets(sources))) - len(unopened)
    signing: bytes | None = None
    if installation.signing_key is None:
        signing = secrets.token_bytes(32)
        installation.signing_key = cipher.encrypt(base64.b64encode(signing).decode(), SIGNING)
    else:
        try:
            signing = base64.b64decode(cipher.decrypt(installation.signing_key, SIGNING))
            new = cipher.reencrypted(installation.signing_key, SIGNING)
            installation.signing_key = new or installation.signing_key
            opened += 1
        except CannotDecrypt:
            unopened.append("the signing key")
    if unopened or signing is None:
        raise _refusal(cipher, unopened, opened, elsewhere=elsewhere)
    await _prepare_grants(session, cipher)
    return signing


async def _prepare_grants(session: AsyncSession, cipher: SecretCipher) -> None:
    """As the other secrets; but a session whose grant does not open ends: its person can sign in again."""
    rows = select(WebSessionRow).where(WebSessionRow.grant.is_not(None)).order_by(WebSessionRow.id)
    for row in await session.scalars(rows.with_for_update(skip_locked=True)):
        assert row.grant is not None
        try:
            new = cipher.resealed(row.grant, "grant", row.hash.hex())
        except CannotDecrypt:
            await session.delete(row)
        else:
            row.grant = new or row.grant


def _refusal(cipher: SecretCipher, unopened: list[str], opened: int, *, elsewhere: bool) -> WrongSetting:
    shown = ", ".join(unopened[:MOST_NAMED])
    shown += f" and {len(unopened) - MOST_NAMED} more" if len(unopened) > MOST_NAMED else ""
    if elsewhere:
        return WrongSetting(
            f"Made for another source, kind or base_url, or for none: {shown}; somebody changed the database."
            f" Put back what was there, or {FORGET}"
        )
    how_many = f"not all of the stored secrets ({shown})" if opened else "none of the stored secrets"
    return WrongSetting(
        f"{cipher.named} opens {how_many}; add the key that was used before. If it is lost, {FORGET}"
    )


async def unopened_secrets(
    session: AsyncSession, cipher: SecretCipher, *, drop: bool
) -> list[tuple[str, SecretName | None]]:
    """What the keys do not open: the source's name and which of its secrets; None for what signs.

    With `drop` it is dropped: each source then asks for its credentials, and what signs is made anew.
    """
    installation, sources = await _locked_rows(session)
    found: list[tuple[str, SecretName | None]] = []
    if installation.signing_key is not None and cipher.why_not(installation.signing_key, SIGNING):
        found.append(("what signs", None))
        installation.signing_key = None if drop else installation.signing_key
    bound = installation.signing_key is not None or bool(found)
    for source, name, encrypted in list(stored_secrets(sources)):
        binding = binding_of(source, name)
        error = cipher.why_not(encrypted, binding)
        if error is None or (not bound and _can_be_bound(cipher, encrypted, binding)):
            continue
        found.append((source.name, name))
        if drop:
            setattr(source, name, DROPPED if name == "credentials" else None)
            dropped = CannotDecrypt.dropped()
            source.health_state, source.health_message = "failing", dropped.message
            source.health_what_to_do = dropped.what_to_do
            source.version += 1
    return found


def _can_be_bound(cipher: SecretCipher, encrypted: bytes, binding: Binding) -> bool:
    try:
        cipher.bound(encrypted, binding)
    except CannotDecrypt:
        return False
    return True
