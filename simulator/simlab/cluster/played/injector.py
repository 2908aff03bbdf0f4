# SPDX-License-Identifier: GPL-3.0-or-later
"""cert-manager's injector: webhooks get the authority of their server."""

from __future__ import annotations

import copy
import typing as t

from .certificate_policy import GROUP
from .leading import leading
from .seat import Object, Seat
from .watching import Controller, Kind

FROM_SECRET, FROM_CERTIFICATE = f"{GROUP}/inject-ca-from-secret", f"{GROUP}/inject-ca-from"
ALLOWED = f"{GROUP}/allow-direct-injection"
_WEBHOOKS = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")


class Injector(Controller):
    """Definitions of resources with a conversion webhook too; APIServices and the API server's own authority are not."""

    name = "cert-manager's injector"
    kinds = (
        *(Kind("admissionregistration.k8s.io", name) for name in _WEBHOOKS),
        Kind("apiextensions.k8s.io", "customresourcedefinitions"),
        Kind(GROUP, "certificates", optional=True),
        Kind("", "secrets"),
    )

    async def reconcile(self) -> None:
        for plural in (*_WEBHOOKS, "customresourcedefinitions"):
            for found in self[plural]:
                authority = self._authority(found)
                changed = _with(found, authority) if authority else found
                if changed != found:
                    await self.client.call("PUT", self[plural].path_of(found), changed)

    def _authority(self, found: Object) -> str:
        """Base64 of PEM; "" while there is none."""
        notes = found["metadata"].get("annotations") or {}
        namespace, _, name = str(notes.get(FROM_SECRET) or "").partition("/")
        if name:
            secret = self["secrets"].get(namespace, name)
            allowed = ((secret or {}).get("metadata") or {}).get("annotations") or {}
            return _authority_in(secret) if allowed.get(ALLOWED) == "true" else ""
        namespace, _, name = str(notes.get(FROM_CERTIFICATE) or "").partition("/")
        certificate = self["certificates"].get(namespace, name) if name else None
        if certificate is None:
            return ""
        return _authority_in(self["secrets"].get(namespace, certificate["spec"]["secretName"]))


def _authority_in(secret: Object | None) -> str:
    return str(((secret or {}).get("data") or {}).get("ca.crt") or "")


def _with(found: Object, authority: str) -> Object:
    changed = copy.deepcopy(found)
    for one in changed.get("webhooks") or ():
        one.setdefault("clientConfig", {})["caBundle"] = authority
    conversion: t.Any = ((changed.get("spec") or {}).get("conversion") or {}).get("webhook")
    if conversion:
        conversion.setdefault("clientConfig", {})["caBundle"] = authority
    return changed


async def cainjector(seat: Seat) -> None:
    """One replica works."""
    async with leading(seat, "cert-manager-cainjector"):
        await Injector(seat).run()
