# SPDX-License-Identifier: GPL-3.0-or-later
"""Parameters out of a request, answers into JSON."""

from __future__ import annotations

import json
import re
import typing as t
import urllib.parse

import aiohttp.web

from .api import Upload
from .errors import ApiError, Failure


class Unreadable(ApiError):
    """A body that the server's own parser gives up on: no JSON answer."""

    def __init__(self, text: str) -> None:
        super().__init__(500, text)


_FORM = "application/x-www-form-urlencoded"


async def read(request: aiohttp.web.BaseRequest) -> tuple[dict[str, t.Any], Upload | None]:
    """All parameters as text (lists as lists, no value as None) and the file of an upload. Raises ApiError."""
    if request.method in ("GET", "DELETE", "HEAD"):
        return _form(request.query_string), None
    body = await request.read()
    kind = request.headers.get("Content-Type", "")
    if kind.startswith("multipart/form-data"):
        return _multipart(body, kind)
    if not kind or kind.startswith(_FORM):
        return _form(body.decode("utf-8", "replace")), None
    if kind.startswith("application/json"):
        return _json(body), None
    raise ApiError(506, f"upload 'Content-Type '{kind}' not implemented")


def _form(text: str) -> dict[str, t.Any]:
    params: dict[str, t.Any] = {}
    for part in re.split("[&;]", text) if text else []:
        if not part:
            continue
        raw, equals, value = part.partition("=")
        name = urllib.parse.unquote_plus(raw)
        decoded = urllib.parse.unquote_plus(value) if equals else None
        if name in params:
            before = params[name] if isinstance(params[name], list) else [params[name]]
            params[name] = [*before, decoded]
        else:
            params[name] = decoded
    return params


def _json(body: bytes) -> dict[str, t.Any]:
    try:
        decoded = json.loads(body or b"{}", parse_float=str)
    except json.JSONDecodeError as error:
        rest = error.doc[error.pos :] or "(end of string)"
        where = "at /usr/share/perl5/PVE/APIServer/AnyEvent.pm line 934."
        raise Unreadable(f'\'"\' expected, at character offset {error.pos} (before "{rest}") {where}') from None
    if not isinstance(decoded, dict):
        raise Failure("unable to parse JSON body - got no object")
    return {name: _plain(value) for name, value in decoded.items()}


def _plain(value: t.Any) -> t.Any:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, dict) else str(value)


def _multipart(body: bytes, kind: str) -> tuple[dict[str, t.Any], Upload | None]:
    match = re.search(r"boundary=\"?([^\";]+)", kind)
    if match is None:
        raise ApiError(400, "Bad Request")
    params: dict[str, t.Any] = {}
    upload: Upload | None = None
    for part in body.split(b"--" + match[1].encode())[1:]:
        head, _, content = part.lstrip(b"\r\n").partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is None:
            continue
        file = re.search(rb'filename="([^"]*)"', head)
        content = content.removesuffix(b"\r\n")
        if file is not None:
            upload = Upload(file[1].decode(), content)
            params["filename"] = upload.filename
        elif upload is not None:
            raise ApiError(400, "Bad Request")  # the file has to come last
        else:
            params[name[1].decode()] = content.decode()
    _check_order(params)
    return params, upload


def _check_order(params: dict[str, t.Any]) -> None:
    """The real parser reads the fields in one order only: content, algorithm, checksum, file."""
    order = [name for name in params if name in ("content", "checksum-algorithm", "checksum", "filename")]
    if order != sorted(order, key=["content", "checksum-algorithm", "checksum", "filename"].index):
        raise ApiError(400, "Bad Request")


def respond(body: t.Any, status: int = 200, reason: str = "OK") -> aiohttp.web.Response:
    line = reason.partition("\n")[0].replace("\r", " ")
    return aiohttp.web.Response(
        status=status,
        reason=line,
        body=json.dumps(body, separators=(",", ":")).encode(),
        headers={
            "Content-Type": "application/json;charset=UTF-8",
            "Cache-Control": "max-age=0",
            "Pragma": "no-cache",
            "Server": "pve-api-daemon/3.0",
        },
    )


def download(name: str, text: str) -> aiohttp.web.Response:
    """A file, as browsers save it."""
    return aiohttp.web.Response(text=text, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def empty(status: int, reason: str, text: str = "") -> aiohttp.web.Response:
    """An answer that is not JSON."""
    return aiohttp.web.Response(status=status, reason=reason.replace("\n", " "), text=text)
