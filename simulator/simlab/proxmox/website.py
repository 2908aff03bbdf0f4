# SPDX-License-Identifier: GPL-3.0-or-later
"""A small web server with a few files, as stood beside the recorded Proxmox VE."""

from __future__ import annotations

import socket
import typing as t

import aiohttp.web

_TYPES = {"iso": "application/x-iso9660-image", "gz": "application/gzip"}
_LISTING = """<!DOCTYPE HTML>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Directory listing for /dir/</title>
</head>
<body>
<h1>Directory listing for /dir/</h1>
<hr>
<ul>
</ul>
<hr>
</body>
</html>
"""


async def serve(sock: socket.socket, files: t.Mapping[str, bytes]) -> aiohttp.web.ServerRunner:
    """Serve ``files`` by name, and ``dir/``, a directory; ``cleanup`` ends it."""

    async def handle(request: aiohttp.web.BaseRequest) -> aiohttp.web.Response:
        name = request.path.lstrip("/")
        if name == "dir":
            return aiohttp.web.Response(status=301, headers={"Location": "/dir/"})
        if name == "dir/":
            return aiohttp.web.Response(text=_LISTING, content_type="text/html")
        if name not in files:
            return aiohttp.web.Response(status=404, reason="File not found")
        kind = _TYPES.get(name.rpartition(".")[2], "application/octet-stream")
        return aiohttp.web.Response(body=files[name], content_type=kind)

    runner = aiohttp.web.ServerRunner(aiohttp.web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await aiohttp.web.SockSite(runner, sock).start()
    return runner
