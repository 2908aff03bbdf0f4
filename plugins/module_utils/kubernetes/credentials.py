# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""As whom a kubeconfig's user speaks to the server: a token, a password, a certificate, or what a program gives."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import typing as t

from .kubeconfig_files import Chosen, Object, Part, Unfit

#: Seconds that a program may take to give credentials: it may ask a server of its own.
PROGRAM_WITHIN = 60.0
#: Fields of a user whose credentials live for minutes or hours, and are then to be had anew from the same place.
GIVEN_ANEW = ("tokenFile", "exec", "auth-provider")


class Credentials(t.NamedTuple):
    """``authorization`` is the header; certificate and key are PEM."""

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""


def of(chosen: Chosen) -> Credentials | None:
    """The user's credentials. Nothing if only the package ``kubernetes`` can find them."""
    user = chosen.user
    certificate, key = user.pem("client-certificate"), user.pem("client-key")
    if bool(certificate) != bool(key):
        there, missing = ("client-key", "client-certificate") if key else ("client-certificate", "client-key")
        raise Unfit(f"its user has a {there}, but no {missing}")
    authorization = _authorization(user)
    if authorization or certificate:
        return Credentials(authorization, certificate, key)
    if user.content.get("auth-provider"):
        return None
    return _of_program(chosen) if user.content.get("exec") else Credentials()


def acting_as(user: Part) -> tuple[tuple[str, str], ...]:
    """The headers that tell the server to take us for somebody else, as ``kubectl --as`` sends them."""
    found = [(name, user.text(field)) for name, field in (("User", "as"), ("Uid", "as-uid"))]
    found += [("Group", group) for group in _texts(user, "as-groups")]
    extra = user.content.get("as-user-extra") or {}
    if not isinstance(extra, dict):
        raise Unfit("its user's as-user-extra is not a mapping")
    more = Part("user", extra, "")
    found += [(f"Extra-{name.lower()}", value) for name in extra for value in _texts(more, name)]
    return tuple((f"Impersonate-{name}", _header(f"as ({name})", value)) for name, value in found if value)


def _texts(part: Part, field: str) -> list[str]:
    found = part.content.get(field) or []
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise Unfit(f"its {part.what}'s {field} is not a list of texts")
    return found


def _authorization(user: Part) -> str:
    token = user.read("tokenFile").decode("utf-8", "replace").strip() or user.text("token").strip()
    if token:
        return f"Bearer {_header('token', token)}"
    name, password = user.text("username"), user.text("password")
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}" if name and password else ""


def _header(what: str, value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise Unfit(f"its user's {what} holds characters that no request can carry, such as line ends")
    return value


# -- programs --------------------------------------------------------------------------------------------------------


def _of_program(chosen: Chosen) -> Credentials:
    """What the credential plugin says. It never asks a person: nobody may be there."""
    config = chosen.user.content["exec"]
    plugin = Part("exec", config if isinstance(config, dict) else {}, chosen.user.folder)
    name, version = plugin.text("command"), plugin.text("apiVersion")
    if not name or not version:
        raise Unfit("its user's exec needs command and apiVersion")
    if plugin.text("interactiveMode") == "Always":
        raise Unfit(f"its program {name} wants to ask a person (interactiveMode: Always)")
    # As for kubectl: a path is relative to the kubeconfig's folder, a bare name is looked up.
    command = os.path.join(plugin.folder, name) if os.sep in name else name
    answer = _said(name, [command, *_texts(plugin, "args")], _environment(plugin, version, chosen), plugin)
    return _given(name, version, answer)


def _environment(plugin: Part, version: str, chosen: Chosen) -> dict[str, str]:
    spec: Object = {"interactive": False}
    if plugin.content.get("provideClusterInfo"):
        spec["cluster"] = _cluster(chosen.cluster)
    info = {"apiVersion": version, "kind": "ExecCredential", "spec": spec}
    more = plugin.content.get("env") or []
    try:
        given = {str(one["name"]): str(one["value"]) for one in more}
    except (TypeError, KeyError):
        raise Unfit("its exec's env is not a list of names and values") from None
    return {**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _cluster(cluster: Part) -> Object:
    """What a program is told of the cluster."""
    fields = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
    found = {field: cluster.content[field] for field in fields if field in cluster.content}
    for extension in cluster.content.get("extensions") or []:
        if isinstance(extension, dict) and extension.get("name") == "client.authentication.k8s.io/exec":
            found["config"] = extension.get("extension")
    return found


async def _run(command: list[str], environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit status, output and errors. Raises TimeoutError when it does not end in time, and ends it."""
    no, pipe = asyncio.subprocess.DEVNULL, asyncio.subprocess.PIPE
    running = await asyncio.create_subprocess_exec(*command, env=environment, stdin=no, stdout=pipe, stderr=pipe)
    try:
        output, errors = await asyncio.wait_for(running.communicate(), PROGRAM_WITHIN)
    except asyncio.TimeoutError as error:
        running.kill()
        await running.wait()
        raise TimeoutError from error
    return running.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace")


def _said(name: str, command: list[str], environment: dict[str, str], plugin: Part) -> str:
    try:
        status, output, errors = asyncio.run(_run(command, environment))
    except TimeoutError:
        raise Unfit(f"its program {name} did not end within {PROGRAM_WITHIN:g} s") from None
    except OSError as error:
        hint = plugin.text("installHint").strip()
        raise Unfit(f"its program {name} cannot be run: {error.strerror}" + (f" ({hint})" if hint else "")) from None
    if status:
        last = errors.strip().splitlines()[-1:]
        raise Unfit(f"its program {name} ended with {status}: {(last or ['it said nothing'])[0][:200]}")
    return output


def _given(name: str, version: str, answer: str) -> Credentials:
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("kind") != "ExecCredential" or found.get("apiVersion") != version:
        raise Unfit(f"its program {name} gave no ExecCredential of {version}")
    status = found.get("status")
    part = Part(f"program {name}", status if isinstance(status, dict) else {}, "")
    token = part.text("token").strip()
    certificate, key = part.text("clientCertificateData").encode(), part.text("clientKeyData").encode()
    if not token and not certificate:
        raise Unfit(f"its program {name} gave neither a token nor a certificate")
    if certificate and not key:
        raise Unfit(f"its program {name} gave a certificate without its key")
    return Credentials(f"Bearer {_header('token', token)}" if token else "", certificate, key)
