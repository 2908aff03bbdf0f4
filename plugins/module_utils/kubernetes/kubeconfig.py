# Copyright (c) 2026, the groundwork.homelab authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a kubeconfig to a connection: whom to call, trusted how, as whom.

The ``kubernetes`` package reads the kubeconfig (contexts, several files, exec plugins, OIDC). It writes inline keys to
files, because Python's ``ssl`` takes them from files only: that happens in a directory of our own, which is gone
before this returns.
"""

from __future__ import annotations

import dataclasses
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
    """How to reach one cluster. ``headers`` hold a token or a password: never show them."""

    server: str
    namespace: str = "default"
    headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    tls: ssl.SSLContext | None = dataclasses.field(default=None, repr=False)
    server_name: str | None = None
    proxy: str | None = None
    source: str = ""

    def secrets(self) -> list[str]:
        return [word for value in self.headers.values() for word in value.split(" ")[-1:]]


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
    _must_exist(source)
    with LOADING:
        return _load(source, context)


def _load(source: str, context: str | None) -> Access:
    config_package, client_package = _packages()
    folder = tempfile.mkdtemp(prefix="groundwork-")
    try:
        loader = _loader(config_package, source, context, folder)
        configuration = client_package.Configuration()
        loader.load_and_set(configuration)
        return _access(configuration, loader, source)
    except config_package.ConfigException as error:
        raise _broken(source, str(error).replace("Invalid kube-config file. ", "")) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        # The text of these may quote what the file holds, so only their kind is told.
        raise _broken(source, f"its certificates, keys or entries cannot be read ({type(error).__name__})") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _must_exist(source: str) -> None:
    paths = [os.path.expanduser(path) for path in source.split(os.pathsep) if path]
    if not any(os.path.exists(path) for path in paths):
        raise InvalidInput(
            f"The kubeconfig {source} does not exist",
            hint="Set kubeconfig (or KUBECONFIG) to a file that the cluster's kubeconfig was written to.",
        )
    for path in paths:
        if os.path.exists(path) and not (os.path.isfile(path) and os.access(path, os.R_OK)):
            raise InvalidInput(f"The kubeconfig {path} is not a file that can be read")


def _packages() -> tuple[t.Any, t.Any]:
    try:
        # Only this part: the package as a whole takes a second to import.
        from kubernetes.client import configuration as client_package
        from kubernetes.config import kube_config as config_package
    except ImportError as error:
        raise MissingDependency("kubernetes", reason=str(error)) from None
    return config_package, client_package


def _loader(package: t.Any, source: str, context: str | None, folder: str) -> t.Any:
    import yaml

    try:
        merged = package.KubeConfigMerger(source)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        raise _broken(source, f"it is not valid YAML{place}") from None
    except (UnicodeDecodeError, AttributeError, TypeError):
        raise _broken(source, "it is not a mapping with clusters, contexts and users") from None
    if merged.config is None:
        raise _broken(source, "it is empty")
    return package.KubeConfigLoader(
        config_dict=merged.config, active_context=context, config_base_path=None, temp_file_path=folder
    )


def _access(configuration: t.Any, loader: t.Any, source: str) -> Access:
    server = str(configuration.host)
    if not server.startswith(("http://", "https://")):
        raise _broken(source, "its cluster names no server with http:// or https://")
    token = configuration.api_key.get("BearerToken")
    current = loader.current_context.get("context") or {}
    current = getattr(current, "value", current)
    return Access(
        server=server,
        namespace=current.get("namespace") or "default",
        headers={"authorization": token} if token else {},
        tls=_tls(configuration) if server.startswith("https://") else None,
        server_name=configuration.tls_server_name or None,
        proxy=getattr(loader, "proxy", None) or proxy_for(server),
        source=source,
    )


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


def _tls(configuration: t.Any) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert or None)
    # The API servers of home labs carry certificates of their own authorities, older ones without the extensions
    # that Python 3.13 began to insist on.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not configuration.verify_ssl:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    return context


def _broken(source: str, problem: str) -> InvalidInput:
    return InvalidInput(
        f"The kubeconfig {source} cannot be used: {problem}",
        hint="Write it anew (talos_kubeconfig does), or set context to one that it has.",
    )
