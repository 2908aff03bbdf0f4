# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a kubeconfig to a connection: whom to call, trusted how, as whom.

Python's ``ssl`` takes client keys from files only, so inline ones are written to a folder of our own, which is gone before
this returns. The package ``kubernetes`` is asked where a user has an ``auth-provider`` (OIDC): its import takes longer than
most tasks.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import ipaddress
import os
import shutil
import ssl
import tempfile
import threading
import typing as t
import urllib.parse
import urllib.request

from ..errors import InvalidInput, MissingDependency
from ..tls import for_threads
from . import credentials
from .credentials import Credentials
from .kubeconfig_files import Chosen, Part, Unfit, choose

#: The package remembers the files that it wrote, for all threads: one at a time.
LOADING = threading.Lock()

DEFAULT_PATH = "~/.kube/config"

#: The connection options of the action group ``kubernetes``.
OPTIONS: dict[str, dict[str, t.Any]] = {
    "kubeconfig": {"type": "path"},
    "context": {"type": "str"},
    "api_timeout": {"type": "float", "default": 30.0},
}

#: Where the options come from when the task leaves them out, in this order.
ENVIRONMENT = {"kubeconfig": ("KUBECONFIG", "K8S_AUTH_KUBECONFIG"), "context": ("K8S_AUTH_CONTEXT",)}


@dataclasses.dataclass(frozen=True)
class Access:
    """How to reach one cluster. ``headers`` hold a token or a password: never show them. ``acting_as`` are headers, too, of
    which some come several times: as whom the server shall take us."""

    server: str
    namespace: str = "default"
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = dataclasses.field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = None
    source: str = ""
    acting_as: tuple[tuple[str, str], ...] = ()
    #: That of the client, in PEM.
    certificate: bytes = dataclasses.field(default=b"", repr=False)
    #: Reads the kubeconfig again, where its credentials are of a kind that is given anew from time to time.
    again: t.Callable[[], Access] | None = dataclasses.field(default=None, repr=False, compare=False)

    def secrets(self) -> list[str]:
        """What must never be shown: tokens and passwords, also those for a proxy."""
        password = urllib.parse.urlsplit(self.proxy or "").password
        found = [word for value in self.headers.values() for word in value.split(" ")[-1:]]
        return found + ([password, urllib.parse.unquote(password)] if password else [])


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The options, with their environment fallbacks, for a module's ``Spec``."""
    from ansible.module_utils.common.parameters import env_fallback

    spec = {name: dict(option) for name, option in OPTIONS.items()}
    for name, variables in ENVIRONMENT.items():
        spec[name]["fallback"] = (env_fallback, list(variables))
    return spec


def load(path: str | None, context: str | None) -> Access:
    """Read the kubeconfig. Raises :class:`InvalidInput` that names the file and what is wrong with it."""
    source = path or DEFAULT_PATH
    paths = _existing(source)
    try:
        chosen = choose(paths, context)
        given = credentials.of(chosen)
        if given is None:
            with LOADING:
                given = Credentials(_of_provider(source, context))
        access = _access(chosen, given, source)
    except Unfit as error:
        raise _broken(source, str(error)) from None
    if any(chosen.user.content.get(field) for field in credentials.GIVEN_ANEW):
        access = dataclasses.replace(access, again=functools.partial(load, path, context))
    return access


def _existing(source: str) -> list[str]:
    paths = [os.path.expanduser(path) for path in source.split(os.pathsep) if path]
    found = [path for path in paths if os.path.exists(path)]
    if not found:
        raise InvalidInput(
            f"The kubeconfig {source} does not exist",
            hint="Set kubeconfig (or KUBECONFIG) to a file that the cluster's kubeconfig was written to.",
        )
    for path in found:
        if not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise InvalidInput(f"The kubeconfig {path} is not a file that can be read")
    return found


def _of_provider(source: str, context: str | None) -> str:
    """The header that the package ``kubernetes`` finds for an ``auth-provider``."""
    try:
        # Only this part: the package as a whole takes a second to import.
        client_package: t.Any = importlib.import_module("kubernetes.client.configuration")
        config_package: t.Any = importlib.import_module("kubernetes.config.kube_config")
    except ImportError as error:
        raise MissingDependency("kubernetes", reason=str(error)) from None
    folder = tempfile.mkdtemp(prefix="groundwork-")
    try:
        merged = config_package.KubeConfigMerger(source)
        loader = config_package.KubeConfigLoader(
            config_dict=merged.config, active_context=context, config_base_path=None, temp_file_path=folder
        )
        configuration = client_package.Configuration()
        loader.load_and_set(configuration)
        found = configuration.api_key.get("BearerToken")
    except Exception as error:  # What it raises depends on the provider, and may quote what the file holds.
        raise Unfit(f"its user's auth-provider gives no token ({type(error).__name__})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if not found:
        raise Unfit("its user's auth-provider gives no token")
    return str(found)


def _access(chosen: Chosen, given: Credentials, source: str) -> Access:
    cluster = chosen.cluster
    server = cluster.text("server").rstrip("/")
    if not server.startswith(("http://", "https://")):
        raise Unfit("its cluster names no server with http:// or https://")
    if not _is_address(server):
        raise Unfit(f"its cluster's server {server!r} is not an address")
    return Access(
        server=server,
        namespace=chosen.namespace,
        headers={"authorization": given.authorization} if given.authorization else {},
        tls=_tls(cluster, given) if server.startswith("https://") else None,
        server_name=cluster.text("tls-server-name") or None,
        proxy=_proxy(cluster.text("proxy-url") or proxy_for(server)),
        source=source,
        acting_as=credentials.acting_as(chosen.user),
        certificate=given.certificate,
    )


def _proxy(address: str | None) -> str | None:
    if address and not address.startswith(("http://", "https://")):
        raise Unfit("its proxy is neither http:// nor https://")
    if address and not _is_address(address):
        raise Unfit("its proxy is not an address")
    return address


def _is_address(url: str) -> bool:
    """Whether there is a host in it, a port that may be one, and nothing that no address has."""
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and parts.port != 0 and url.isascii() and not any(map(str.isspace, url))
    except ValueError:
        return False


def proxy_for(server: str) -> str | None:
    """The environment's proxy for this server; nothing where ``NO_PROXY`` (names, suffixes, networks) exempts it."""
    parts = urllib.parse.urlsplit(server)
    proxy = urllib.request.getproxies_environment().get(parts.scheme)
    host = parts.hostname or ""
    if not proxy or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    exempt = urllib.request.getproxies_environment().get("no", "").split(",")
    return None if any(_in_network(host, entry.strip()) for entry in exempt) else proxy


def _in_network(host: str, entry: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _tls(cluster: Part, given: Credentials) -> ssl.SSLContext:
    authority = cluster.pem("certificate-authority")
    try:
        context = for_threads(ssl.create_default_context(cadata=authority.decode() if authority else None))
    except (ssl.SSLError, ValueError):
        raise Unfit("its cluster's certificate-authority cannot be read: it is not a certificate in PEM") from None
    # The API servers of home labs carry certificates of their own authorities, older ones without the extensions
    # that Python 3.13 began to insist on.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if cluster.flag("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if given.certificate:
        _present(context, given)
    return context


def _present(context: ssl.SSLContext, given: Credentials) -> None:
    """The client certificate, with its key."""

    def passphrase() -> str:
        # Otherwise OpenSSL asks whoever sits at the terminal.
        raise Unfit("its user's client key has a passphrase, and nobody is there to be asked for it")

    folder = tempfile.mkdtemp(prefix="groundwork-")
    try:
        path = os.path.join(folder, "client.pem")
        with open(path, "wb") as file:
            file.write(given.certificate.rstrip() + b"\n" + given.key)
        context.load_cert_chain(path, password=passphrase)
    except (ssl.SSLError, OSError, ValueError):
        raise Unfit("its user's client certificate and key cannot be read, or do not belong together") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _broken(source: str, problem: str) -> InvalidInput:
    return InvalidInput(
        f"The kubeconfig {source} cannot be used: {problem}",
        hint="Write it anew (talos_kubeconfig does), or set context to one that it has.",
    )
