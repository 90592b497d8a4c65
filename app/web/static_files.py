"""The style sheet, the scripts and the mark, from memory.

Their addresses stay the same with every release, so a browser asks each time whether it has the newest: by a
tag of the contents, which costs no more than a short answer. They are sent compressed where it takes that.
Pages are not: each holds a secret against forgery beside words from its address, and the length of what is
compressed together would tell of the secret.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    compressed: bytes
    media_type: str
    tag: str


class StaticFiles:
    """An application of its own, to be mounted: GET and HEAD of the files in one folder, by their names."""

    def __init__(self, folder: Path) -> None:
        self._files = {path.name: _read(path) for path in folder.iterdir() if path.is_file()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = scope["path"].rpartition("/static/")[2]
        await self._answer(name, scope["method"], Headers(scope=scope))(scope, receive, send)

    def _answer(self, name: str, method: str, asked: Headers) -> Response:
        if method not in ("GET", "HEAD"):
            return PlainTextResponse("Method Not Allowed", 405, {"Allow": "GET, HEAD"})
        file = self._files.get(name)
        if file is None:
            return PlainTextResponse("Not Found", 404)
        packed = "gzip" in asked.get("accept-encoding", "")
        tag = f'"{file.tag}-gzip"' if packed else f'"{file.tag}"'
        headers = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        # A proxy may have made the tag a weak one; it may also ask for several.
        if tag in (one.strip().removeprefix("W/") for one in asked.get("if-none-match", "").split(",")):
            return Response(status_code=304, headers=headers)
        if packed:
            headers["Content-Encoding"] = "gzip"
        return Response(file.compressed if packed else file.content, 200, headers, file.media_type)


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(
        content,
        gzip.compress(content, mtime=0),
        mimetypes.guess_type(path.name)[0] or "application/octet-stream",
        hashlib.sha256(content).hexdigest()[:16],
    )
