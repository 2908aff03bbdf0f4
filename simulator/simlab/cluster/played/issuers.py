# SPDX-License-Identifier: GPL-3.0-or-later
"""Issuers of the played cert-manager: whether each is ready, and what it signs with."""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t

from .signing import Signer, is_ca, names_of, secret_text, signer_of

Object = t.Mapping[str, t.Any]
Secrets = t.Mapping[tuple[str, str], Object]
KINDS = ("acme", "ca", "selfSigned", "vault", "venafi")
#: Parts of a DNS-01 solver that name a Secret.
_TOKENS = ("apiTokenSecretRef", "apiKeySecretRef", "serviceAccountSecretRef", "tokenSecretRef", "clientSecretSecretRef")


@dataclasses.dataclass(frozen=True)
class State:
    """Of an issuer: the Ready condition; ``extra`` more of its status."""

    ready: bool
    reason: str
    message: str
    extra: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)


def kind_of(issuer: Object) -> str:
    """Of :data:`KINDS`, "" for none."""
    return next((kind for kind in KINDS if issuer["spec"].get(kind) is not None), "")


def state(issuer: Object, namespace: str, secrets: Secrets, *, acme: bool) -> State:
    """Whether an issuer can work. ``namespace``: where its Secrets are; ``acme``: whether the lab has a CA for it."""
    kind, spec = kind_of(issuer), issuer["spec"]
    if kind == "selfSigned":
        return State(True, "IsReady", "")
    if kind == "ca":
        return _ca(str(spec["ca"].get("secretName")), namespace, secrets)
    if kind == "acme" and acme:
        server = str(spec["acme"].get("server") or "")
        if not server.startswith("https://"):
            return State(False, "InvalidURL", f"Failed to parse existing ACME server URI {server!r}")
        uri = f"{server.rpartition('/')[0]}/acct/{issuer['metadata']['uid'][:8]}"
        extra = {"acme": {"uri": uri, "lastRegisteredEmail": str(spec["acme"].get("email") or "")}}
        text = "The ACME account was registered with the ACME server"
        return State(True, "ACMEAccountRegistered", text, extra)
    if kind == "acme":
        text = "Failed to register ACME account: the simulated lab has no certificate authority here"
        return State(False, "ErrRegisterACMEAccount", text)
    return State(
        False, "ErrInitIssuer", f"Error initializing issuer: the simulated lab does not play {kind or 'such'} issuers"
    )


def _ca(name: str, namespace: str, secrets: Secrets) -> State:
    wrong = "Error getting keypair for CA issuer: "
    secret = secrets.get((namespace, name))
    if secret is None:
        return State(False, "ErrGetKeyPair", f'{wrong}secrets "{name}" not found')
    try:
        signer = signer_of(secret)
    except (ValueError, TypeError, IndexError):
        text = (
            f"{wrong}error decoding certificate PEM block" if secret_text(secret, "tls.crt") else f"{wrong}no data for"
        )
        return State(False, "ErrGetKeyPair", f"{text} \"tls.crt\" in secret '{namespace}/{name}'")
    if not is_ca(signer.certificate):
        return State(False, "ErrInvalidKeyPair", f"{wrong}certificate is not a CA")
    return State(True, "KeyPairVerified", "Signing CA verified")


def ca_signer(issuer: Object, namespace: str, secrets: Secrets) -> Signer:
    """Raises ValueError, KeyError."""
    return signer_of(secrets[(namespace, issuer["spec"]["ca"]["secretName"])])


# --- ACME
@dataclasses.dataclass(frozen=True)
class Challenge:
    """One name of an order. ``kind`` is ``DNS-01`` or ``HTTP-01``; ``wrong`` why it is not presented, "" when it is."""

    name: str
    wildcard: bool
    kind: str
    solver: t.Mapping[str, t.Any]
    wrong: str


class NoSolver(Exception):
    """In cert-manager's words."""


def challenges(issuer: Object, request: t.Any, namespace: str, secrets: Secrets) -> list[Challenge]:
    """What an ACME server would want for a signing request. Raises NoSolver."""
    return [_challenge(issuer, name, namespace, secrets) for name in sorted(names_of(request))]


def _challenge(issuer: Object, name: str, namespace: str, secrets: Secrets) -> Challenge:
    plain, wildcard = name.removeprefix("*."), name.startswith("*.")
    best: tuple[int, Object] | None = None
    for solver in issuer["spec"]["acme"].get("solvers") or ():
        if wildcard and "dns01" not in solver:
            continue
        rank = _rank(solver.get("selector") or {}, name, plain)
        if rank is not None and (best is None or rank > best[0]):
            best = (rank, solver)
    if best is None:
        raise NoSolver("no configured challenge solvers can be used for this challenge")
    solver = best[1]
    kind = "DNS-01" if "dns01" in solver else "HTTP-01"
    return Challenge(plain, wildcard, kind, solver, _unpresented(solver.get("dns01") or {}, namespace, secrets))


def _rank(selector: Object, name: str, plain: str) -> int | None:
    """How well a solver's selector fits a name: none at all, everything, a zone, exactly."""
    if name in (selector.get("dnsNames") or ()):
        return 1000
    zones = [zone for zone in selector.get("dnsZones") or () if plain == zone or fnmatch.fnmatch(plain, f"*.{zone}")]
    if zones:
        return max(len(zone) for zone in zones)
    return None if selector.get("dnsNames") or selector.get("dnsZones") else 0


def _unpresented(dns01: Object, namespace: str, secrets: Secrets) -> str:
    """A provider's Secret that is missing is the reason that a challenge waits."""
    for provider in dns01.values():
        for part in _TOKENS:
            reference = provider.get(part) if isinstance(provider, dict) else None
            if not reference:
                continue
            secret = secrets.get((namespace, reference["name"]))
            if secret is None:
                return f'error getting {part.removesuffix("SecretRef")}: secrets "{reference["name"]}" not found'
            if reference.get("key") and reference["key"] not in (secret.get("data") or {}):
                return f"specified key {reference['key']!r} not found in secret {namespace}/{reference['name']}"
    return ""
