# SPDX-License-Identifier: GPL-3.0-or-later
"""Git repositories over smart HTTP, by ``git http-backend``: for fetching only.

A Git repository is served as it is (what is committed). Any other folder is served as if it had been committed just
now, on the branch ``main``: so a lab rehearses a GitOps tree before it is pushed anywhere.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pathlib
import typing as t

from aiohttp import web

_SERVICES = ("/info/refs", "/git-upload-pack", "/git-receive-pack")
#: Nothing of the user's own Git settings counts here, and each commit of one content is the same commit.
_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "simulated lab",
    "GIT_AUTHOR_EMAIL": "lab@invalid",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "simulated lab",
    "GIT_COMMITTER_EMAIL": "lab@invalid",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}
_BRANCH = "main"


class GitFailed(Exception):
    """The text is Git's own."""


class GitSite:
    """The repositories below a folder. ``scratch`` is a directory for those that are made of plain folders."""

    def __init__(self, folder: pathlib.Path, scratch: pathlib.Path) -> None:
        self._folder, self._scratch = folder.resolve(), scratch
        self._one = asyncio.Lock()

    def asked(self, request: web.Request) -> tuple[pathlib.Path, str] | None:
        """The folder and the service that a Git client asks for, None for another request."""
        for service in _SERVICES:
            if request.path.endswith(service):
                place = request.path.removesuffix(service).strip("/")
                for name in (place, place.removesuffix(".git")):
                    found = (self._folder / name).resolve()
                    if found.is_dir() and found.is_relative_to(self._folder):
                        return found, service
        return None

    async def answer(self, request: web.Request, folder: pathlib.Path, service: str) -> web.StreamResponse:
        if service == "/git-receive-pack" or request.query.get("service") == "git-receive-pack":
            return web.Response(status=403, text="the lab's Git repositories are for fetching only\n")
        try:
            repository = await self._repository(folder, fresh=service == "/info/refs")
            return await _backend(request, repository, service)
        except GitFailed as error:
            return web.Response(status=500, text=f"{error}\n")

    async def _repository(self, folder: pathlib.Path, *, fresh: bool) -> pathlib.Path:
        if (folder / ".git").exists() or ((folder / "HEAD").is_file() and (folder / "objects").is_dir()):
            return folder
        made = self._scratch / hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        async with self._one:
            if fresh or not made.exists():
                await _commit(folder, made)
        return made


async def _commit(folder: pathlib.Path, repository: pathlib.Path) -> None:
    """The folder's content as the branch's newest commit; nothing happens when it is that already."""
    place = {"GIT_DIR": str(repository), "GIT_WORK_TREE": str(folder)}
    if not repository.exists():
        await _git("init", "--quiet", "--bare", f"--initial-branch={_BRANCH}", str(repository))
        await _git("config", "core.bare", "false", place=place)
    await _git("add", "--all", "--force", ".", place=place, cwd=folder)
    tree = await _git("write-tree", place=place)
    head = await _git("rev-parse", "--verify", "--quiet", f"{_BRANCH}^{{commit}}", place=place, check=False)
    if head and await _git("rev-parse", f"{head}^{{tree}}", place=place) == tree:
        return
    parents = ["-p", head] if head else []
    commit = await _git("commit-tree", tree, *parents, "-m", "as it lies in the folder", place=place)
    await _git("update-ref", f"refs/heads/{_BRANCH}", commit, place=place)


async def _git(
    *words: str, place: t.Mapping[str, str] | None = None, cwd: pathlib.Path | None = None, check: bool = True
) -> str:
    process = await asyncio.create_subprocess_exec(
        "git",
        *words,
        env={**os.environ, **_ENVIRONMENT, **(place or {})},
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate()
    if process.returncode != 0 and check:
        raise GitFailed(f"git {words[0]}: {errors.decode(errors='replace').strip()}")
    return out.decode().strip()


async def _backend(request: web.Request, repository: pathlib.Path, service: str) -> web.Response:
    """One request through CGI."""
    body = await request.read()
    env = {**os.environ, **_ENVIRONMENT}
    env |= {
        "GIT_PROJECT_ROOT": str(repository),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": service,
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": request.remote or "127.0.0.1",
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
    }
    process = await asyncio.create_subprocess_exec(
        "git",
        "http-backend",
        env=env,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, errors = await process.communicate(body)
    head, found, content = out.partition(b"\r\n\r\n")
    if not found:
        raise GitFailed(f"git http-backend: {errors.decode(errors='replace').strip()}")
    pairs = [line.partition(": ")[::2] for line in head.decode().split("\r\n")]
    status = next((int(value.split()[0]) for name, value in pairs if name.lower() == "status"), 200)
    headers = [(name, value) for name, value in pairs if name.lower() != "status"]
    return web.Response(status=status, headers=headers, body=content)
