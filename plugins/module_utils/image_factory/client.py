# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an Image Factory: which schematics, versions and extensions it knows, and whether it makes an image of them."""

from __future__ import annotations

import json
import os
import typing as t
import urllib.parse

from ..errors import HomelabError, InvalidInput, NotFound, Refused, ServerFault
from ..waiting import Backoff, Deadline, no_progress, retry
from ..web import CONNECT, connections, unreachable, verification
from .builds import Build, Factory
from .schematics import canonical

if t.TYPE_CHECKING:
    import urllib3

#: Seconds to go on when the factory is not reachable or asks for patience.
PATIENCE = 10.0

_AUTHORITY = "Give the authority that signed it as ca_path of the factory."
_WRONG_SERVER = "Is url the address of a Talos Image Factory?"


class Client:
    """Requests that may all be repeated. ``timeout`` in seconds for one answer; an image that was never built takes
    minutes. ``limit`` is the name of the option that says so."""

    def __init__(
        self,
        factory: Factory,
        *,
        timeout: float,
        limit: str = "timeout",
        progress: t.Callable[[str], None] = no_progress,
    ) -> None:
        if factory.ca_path and not os.access(factory.ca_path, os.R_OK):
            raise InvalidInput(f"ca_path {factory.ca_path} of the Image Factory cannot be read")
        self.factory = factory
        self._timeout, self._limit, self._progress = timeout, limit, progress
        self._pool: urllib3.HTTPConnectionPool | None = None

    def register(self, build: Build) -> None:
        """It is the same request however often it is made. Raises when the factory's id is not ours."""
        asked = f"register the schematic {build.id[:12]}…"
        text = self._text("POST", "/schematics", asked, data=canonical(build.schematic).encode())
        found = _decoded(text)
        number = found.get("id") if isinstance(found, dict) else None
        if number != build.id:
            raise Refused(
                asked,
                of=str(self.factory),
                answer=f"it calls the schematic {number!r}, it should be {build.id}",
                hint=f"{_WRONG_SERVER} If so, please report the schematic.",
            )

    def knows(self, number: str) -> bool:
        """Whether a schematic is registered there."""
        try:
            self._text("GET", f"/schematics/{number}", f"look for the schematic {number[:12]}…")
        except NotFound:
            return False
        return True

    def versions(self) -> list[str]:
        """The versions of Talos that it builds."""
        asked = "list the versions of Talos"
        found = self._json("/versions", asked)
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise self._nonsense(asked)
        return found

    def extensions(self, version: str) -> list[str]:
        """The names of the official system extensions for a version."""
        asked = f"list the extensions for Talos {version}"
        found = self._json(f"/version/{version}/extensions/official", asked)
        if not isinstance(found, list) or not all(isinstance(one, dict) and "name" in one for one in found):
            raise self._nonsense(asked)
        return [str(one["name"]) for one in found]

    def builds(self, url: str) -> None:
        """Ask for the head of an image, which makes the factory build it. Raises its words when it does not."""
        path = url.removeprefix(self.factory.url)
        asked = f"see the image {path.rpartition('/')[2]}"
        try:
            self._text("HEAD", path, asked)
        except (NotFound, Refused):
            self._text("GET", path, asked)  # the head has no words

    def _json(self, path: str, asked: str) -> t.Any:
        found = _decoded(self._text("GET", path, asked))
        if found is None:
            raise self._nonsense(asked)
        return found

    def _nonsense(self, asked: str) -> HomelabError:
        return ServerFault(asked, of=str(self.factory), answer="an answer of another form", hint=_WRONG_SERVER)

    def _text(self, method: str, path: str, asked: str, **more: t.Any) -> str:
        return retry(
            lambda: self._once(method, path, asked, **more),
            deadline=Deadline(PATIENCE),
            when=lambda error: error.retryable and error.details.get("again", True),
            progress=self._progress,
            backoff=Backoff(first=0.3, factor=2, most=3.0),
        )

    def _once(self, method: str, path: str, asked: str, data: bytes | None = None) -> str:
        # One pool for one address: whoever asks twice, asks over the same connection.
        self._pool = self._pool or connections(
            self.factory.url, verification(self.factory.validate_certs, self.factory.ca_path), 1
        )
        import urllib3

        try:
            answer = self._pool.request(
                method,
                urllib.parse.urlsplit(self.factory.url).path + path,
                body=data,
                headers={"Content-Type": "application/yaml"} if data else {},
                timeout=urllib3.Timeout(connect=min(self._timeout, CONNECT), read=self._timeout),
                redirect=False,
                retries=False,
                preload_content=False,
            )
            # Images are often somewhere else, and never read here.
            if path.startswith("/image/") and answer.status in (200, 302, 303, 307):
                answer.close()
                return ""
            return self._judged(answer.status, answer.reason or "", answer.data.decode("utf-8", "replace"), asked)
        except (urllib3.exceptions.HTTPError, UnicodeError) as error:
            raise unreachable(
                error,
                asked=asked,
                of=str(self.factory),
                timeout=self._timeout,
                limit=self._limit,
                authority=_AUTHORITY,
            ) from error

    def _judged(self, status: int, reason: str, text: str, asked: str) -> str:
        if status in (200, 201):
            return text
        words = f"{status} {text.strip()[:300] or reason}"
        if status == 404:
            raise NotFound(asked, of=str(self.factory), answer=words)
        if status >= 500 or status == 429:
            raise ServerFault(asked, of=str(self.factory), answer=words)
        hint = _WRONG_SERVER if 300 <= status < 400 else "Does this factory know every extension of the schematic?"
        raise Refused(asked, of=str(self.factory), answer=words, hint=hint)


def _decoded(text: str) -> t.Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
