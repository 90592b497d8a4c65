"""What the configurations of all trackers have in common."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, SecretStr, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError


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
