# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a Proxmox VE API is reached and who asks: the options that all modules of the group share."""

from __future__ import annotations

import dataclasses
import os
import re
import typing as t

from ansible.module_utils.basic import env_fallback

from ...errors import InvalidInput
from ...web import verification


def _option(environment: str, **more: t.Any) -> dict[str, t.Any]:
    return {"fallback": (env_fallback, [environment]), **more}


#: In the words of ``AnsibleModule``; the documentation is the doc fragment ``proxmox``.
ARGUMENTS: dict[str, dict[str, t.Any]] = {
    "api_host": _option("PROXMOX_HOST", type="str"),
    "api_port": _option("PROXMOX_PORT", type="int", default=8006),
    "api_user": _option("PROXMOX_USER", type="str"),
    "api_password": _option("PROXMOX_PASSWORD", type="str", no_log=True),
    "api_token_id": _option("PROXMOX_TOKEN_ID", type="str", no_log=False),
    "api_token_secret": _option("PROXMOX_TOKEN_SECRET", type="str", no_log=True),
    "validate_certs": _option("PROXMOX_VALIDATE_CERTS", type="bool", default=True),
    "ca_path": _option("PROXMOX_CA_PATH", type="path"),
    "api_timeout": {"type": "float", "default": 30.0},
    "task_timeout": {"type": "float", "default": 600.0},
}

_USER = re.compile(r"[^\s:/!]+@[A-Za-z][A-Za-z0-9.\-_]+")  # the last @ is before the realm
_TOKEN = re.compile(r"[A-Za-z][A-Za-z0-9.\-_]+")
#: It goes into a header.
_SECRET = re.compile(r"[\x21-\x7e]+")


@dataclasses.dataclass(frozen=True)
class Connection:
    """One API and one identity. Times in seconds. ``token`` is empty when a password logs in."""

    host: str
    user: str
    port: int = 8006
    token: str = ""
    token_secret: str = dataclasses.field(default="", repr=False)
    password: str = dataclasses.field(default="", repr=False)
    validate_certs: bool = True
    ca_path: str = ""
    api_timeout: float = 30.0
    task_timeout: float = 600.0

    @classmethod
    def of(cls, params: t.Mapping[str, t.Any]) -> Connection:
        """From a module's validated parameters. Raises :class:`InvalidInput` naming the option."""
        user, token = _identity(params)
        connection = cls(
            host=_host(params.get("api_host")),
            user=user,
            port=_port(params.get("api_port")),
            token=token,
            token_secret=params.get("api_token_secret") or "",
            password="" if token else params.get("api_password") or "",
            validate_certs=params.get("validate_certs", True),
            ca_path=_readable(params.get("ca_path") or ""),
            api_timeout=_positive("api_timeout", params.get("api_timeout", 30.0)),
            task_timeout=_positive("task_timeout", params.get("task_timeout", 600.0)),
        )
        connection._check_credentials()
        return connection

    @property
    def address(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"https://{host}:{self.port}"

    @property
    def who(self) -> str:
        return f"{self.user}!{self.token}" if self.token else self.user

    @property
    def verify(self) -> bool | str:
        """What ``requests`` is given with every request, so that its environment cannot override it."""
        return verification(self.validate_certs, self.ca_path)

    def _check_credentials(self) -> None:
        if self.token and not self.token_secret:
            raise InvalidInput(
                f"api_token_secret is missing for the token {self.who}",
                hint="Set it, or the environment variable PROXMOX_TOKEN_SECRET.",
            )
        if self.token and not _SECRET.fullmatch(self.token_secret):
            raise InvalidInput(
                f"api_token_secret of the token {self.who} has a character that no secret has",
                hint="Is there a space or a line break at its end? It is what Proxmox VE showed once.",
            )
        if not self.token and not self.password:
            raise InvalidInput(
                f"Nothing proves who {self.user} is: neither api_token_id with api_token_secret nor api_password is set",
                hint="Set them, or PROXMOX_TOKEN_ID and PROXMOX_TOKEN_SECRET (or PROXMOX_PASSWORD).",
            )


def _identity(params: t.Mapping[str, t.Any]) -> tuple[str, str]:
    user, token = params.get("api_user") or "", params.get("api_token_id") or ""
    if "!" in token:
        owner, token = token.split("!", 1)
        if user and user != owner:
            raise InvalidInput(f"api_user is {user}, but api_token_id names a token of {owner}", hint="Leave one out.")
        user = owner
    if not user:
        raise InvalidInput("api_user is missing", hint="Set it, or the environment variable PROXMOX_USER.")
    if not _USER.fullmatch(user):
        raise InvalidInput(f"api_user {user!r} is no user of a realm", hint="Write user@realm, for example root@pam.")
    if token and not _TOKEN.fullmatch(token):
        raise InvalidInput(f"api_token_id {token!r} is no name of a token", hint="Write name, or user@realm!name.")
    return user, token


def _host(host: str | None) -> str:
    if not host:
        raise InvalidInput("api_host is missing", hint="Set it, or the environment variable PROXMOX_HOST.")
    bare = host.strip("[]")
    if "/" in bare or (bare.count(":") == 1):
        raise InvalidInput(
            f"api_host {host!r} is no name or address", hint="Write the host alone; the port is api_port."
        )
    return bare


def _port(port: int | None) -> int:
    if port is None or not 1 <= port <= 65535:
        raise InvalidInput(f"api_port {port} is no port", hint="Proxmox VE listens on 8006.")
    return port


def _positive(option: str, seconds: float) -> float:
    if seconds <= 0:
        raise InvalidInput(f"{option} is {seconds:g} seconds", hint="Choose a time above 0.")
    return seconds


def _readable(path: str) -> str:
    if path and not os.access(path, os.R_OK):
        raise InvalidInput(f"ca_path {path} cannot be read", hint="Give a PEM file with the authorities to trust.")
    return path
