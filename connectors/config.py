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


# A token that is sent in a header.
Token = Annotated[SecretStr, AfterValidator(_header_safe)]


def refuse_type(model: str, data: Any, kind: str, why: str) -> Any:
    """`data` as it came, unless its `type` is `kind`, which the contract names and this build has not.

    Called before other checks, so that the person reads `why` and not what is wrong with the rest.
    Raises `ValidationError` of the model named, on the field `type`.
    """
    if isinstance(data, dict) and data.get("type") == kind:
        error = PydanticCustomError("not_in_this_build", "{why}", {"why": why})
        raise ValidationError.from_exception_data(
            model, [InitErrorDetails(type=error, loc=("type",), input=kind)]
        )
    return data
