"""What the configurations of all trackers have in common."""

from __future__ import annotations

import re
import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

_NAMES = {" ": "a blank", "\t": "a tab", "\n": "a line break", "\r": "a line break", "\u00a0": "a blank"}

# Of the other categories, those that show nothing: fillers, the empty braille cell, joiners, selectors.
_BLANK_LETTERS = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10)))


def hidden_end(secret: str) -> str | None:
    """What one does not see at an end of `secret`, in words; None where both ends show.

    A secret is never trimmed: whether the other side has such a character too cannot be known here.
    """
    for where, char in (("begins", secret[:1]), ("ends", secret[-1:])):
        # Category Z are separators, C are controls, format characters such as U+200B and U+FEFF, surrogates.
        if char and (unicodedata.category(char)[0] in "CZ" or char in _BLANK_LETTERS):
            named = _NAMES.get(char, f"the invisible character U+{ord(char):04X}")
            return f"{where} with {named}"
    return None


def _header_safe(secret: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", secret.get_secret_value()):
        raise PydanticCustomError("token", "must be printable ASCII without blanks; was it copied whole?")
    return secret


# A token that a connector sends in a header.
Token = Annotated[SecretStr, AfterValidator(_header_safe)]


def refuse_unsupported_type(model: str, data: Any, kind: str, why: str) -> Any:
    """`data` unchanged, unless its `type` is `kind`, which the API names and this build does not support.

    The models call this before their other checks, so that the person reads `why` and not the errors of the
    other fields. Raises `ValidationError` of the model `model`, on the field `type`.
    """
    if isinstance(data, dict) and data.get("type") == kind:
        error = PydanticCustomError("not_in_this_build", "{why}", {"why": why})
        raise ValidationError.from_exception_data(
            model, [InitErrorDetails(type=error, loc=("type",), input=kind)]
        )
    return data
