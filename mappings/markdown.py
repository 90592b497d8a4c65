"""Texts from people as Markdown that shows them as they are. Pure."""

from __future__ import annotations

import re

from mappings.files.harmless import visible

_SPECIAL = re.compile(r"([\\`*_\[\]#|~$])")
_AS_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_AT_THE_START = re.compile(r"^(\d{1,9}(?=[.)](?:\s|$))|(?=[-+=]))")
# An invisible character that no line breaks at: what it parts is no mention and no address any more.
_JOINER = "\u2060"
_MENTION = re.compile(r"@(?=\w)")
_ADDRESS = re.compile(r"(?i)\b(https?|ftp|mailto|xmpp):")
_WWW = re.compile(r"(?i)\b(www)\.")


def plain_text(text: str | None) -> str:
    """The text in one line as Markdown shows it letter by letter: no link, mention, table or HTML comes of
    it, and nothing that controls a terminal."""
    line = " ".join(visible(text or "").split())
    line = "".join(_AS_ENTITIES.get(letter, letter) for letter in line)
    line = _SPECIAL.sub(r"\\\1", line)
    line = _ADDRESS.sub(rf"\1{_JOINER}:", line)
    line = _WWW.sub(rf"\1{_JOINER}.", line)
    line = _MENTION.sub(f"@{_JOINER}", line)
    return _AT_THE_START.sub(r"\1\\", line)
