"""`northing db forget-secrets`: drops the stored secrets that no present key opens."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.fernet import Fernet

from app.secrets import SecretCipher, cipher_for, kept_key_path, lacks_key, unopened_secrets
from app.server.server import database_url, open_runtime
from app.settings import Settings
from mappings.audit import COMMAND_LINE

SIGNING_LOST = (
    "The signing key: it is made anew at the next start. A comment of ours whose id is not stored is then not"
    " known again."
)


async def forget_secrets(settings: Settings, print_line: Callable[[str], None], *, drop: bool) -> int:
    """0 if nothing is left that no key opens, else 1. Raises what `open_runtime` raises."""
    async with (
        database_url(settings) as url,
        open_runtime(settings, url, cipher=_cipher(settings, drop=drop)) as runtime,
    ):
        async with runtime.transaction(COMMAND_LINE) as session:
            found = await unopened_secrets(session, runtime.cipher, drop=drop)
        for source, name in found:
            print_line(f"{source}: {name}" if name is not None else SIGNING_LOST)
        if not found:
            print_line(f"{runtime.cipher.named} opens every stored secret; nothing is dropped.")
        elif drop:
            print_line("These are dropped. Start Northing and send them again by PATCH of each source.")
        else:
            print_line("No key opens these. To drop them for good, run this again with --yes.")
    return 0 if drop or not found else 1


def _cipher(settings: Settings, *, drop: bool) -> SecretCipher:
    """The cipher with the present keys. To list what is lost, none is made in the place of a missing key: a
    person may still find that one and put it back."""
    if drop or not lacks_key(settings):
        return cipher_for(settings)
    return SecretCipher([Fernet.generate_key().decode()], str(kept_key_path(settings)))
