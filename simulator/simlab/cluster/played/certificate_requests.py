# SPDX-License-Identifier: GPL-3.0-or-later
"""CertificateRequests of the played cert-manager: approved, and signed by what their issuer names."""

from __future__ import annotations

import base64
import typing as t
import zlib

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from . import issuers, signing
from .certificate_policy import GROUP, issuer_of
from .conditions import Condition, condition, find, holds, merged, write_status
from .seat import Object
from .signing import Signer

if t.TYPE_CHECKING:
    from .certificates import CertManager

ACME = "acme.cert-manager.io"
READY = "Certificate fetched from issuer successfully"
_KEY_NOTE = f"{GROUP}/private-key-secret-name"


class _Pending(Exception):
    """``reason`` is the event's, the condition's is Pending."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Failed(_Pending):
    """For good."""


class Requests:
    """Of one :class:`~simlab.cluster.played.certificates.CertManager`."""

    def __init__(self, manager: CertManager) -> None:
        self.manager = manager

    async def look_at(self, request: Object) -> None:
        conditions = (request.get("status") or {}).get("conditions") or []
        ready = find(conditions, "Ready")
        if request["metadata"].get("deletionTimestamp") or ready.get("reason") in ("Issued", "Failed", "Denied"):
            return
        if issuer_of(request["spec"])[2] != GROUP:
            return  # of another project's issuer
        if holds(conditions, "Denied"):
            await self._write(
                request, [_unready("Denied", "The CertificateRequest was denied by an approval controller")]
            )
            return
        told: list[Condition] = []
        if not holds(conditions, "Approved"):
            text = "Certificate request has been approved by cert-manager.io"
            told.append(condition("Approved", True, GROUP, text))
            await self.manager.tell("certificaterequests-approver", request, "Normal", GROUP, text)
        try:
            certificate, authority = await self._signed(request)
        except _Failed as error:
            told.append(_unready("Failed", str(error)))
            await self._write(request, told, failureTime=self.manager.now())
            await self.manager.tell("certificaterequests-issuer", request, "Warning", error.reason, str(error))
        except _Pending as error:
            told.append(_unready("Pending", str(error)))
            await self._write(request, told)
            if ready.get("reason") != "Pending":
                await self.manager.tell("certificaterequests-issuer", request, "Normal", error.reason, str(error))
        else:
            told.append(condition("Ready", True, "Issued", READY))
            made = {"certificate": signing.encoded(certificate)} | (
                {"ca": signing.encoded(authority)} if authority else {}
            )
            await self._write(request, told, **made)
            await self.manager.tell("certificaterequests-issuer", request, "Normal", "CertificateIssued", READY)

    async def _write(self, request: Object, told: list[Condition], **more: t.Any) -> None:
        conditions = merged((request.get("status") or {}).get("conditions"), told)
        collection = self.manager["certificaterequests"]
        await write_status(self.manager.client, collection, request, {"conditions": conditions, **more}, "cert-manager")

    # --- signing
    async def _signed(self, request: Object) -> tuple[str, str]:
        """The chain, and the authority ("" when that is not told). Raises _Pending, _Failed."""
        issuer, namespace = self._issuer(request)
        text = base64.b64decode(request["spec"]["request"]).decode()
        try:
            kind = issuers.kind_of(issuer)
            if kind == "ca":
                return self._by_authority(request, text, issuer, namespace)
            if kind == "selfSigned":
                return self._by_itself(request, text)
            return await self._by_acme(request, text, issuer, namespace), ""
        except ValueError as error:
            raise _Failed("SigningError", f"Error signing certificate: {error}") from None

    def _issuer(self, request: Object) -> tuple[Object, str]:
        """The issuer, and the namespace of its Secrets."""
        name, kind, _ = issuer_of(request["spec"])
        place = request["metadata"]["namespace"] if kind == "Issuer" else ""
        found = self.manager[f"{kind.lower()}s"].get(place, name) if kind in ("Issuer", "ClusterIssuer") else None
        if found is None:
            text = f'Referenced "{kind}" not found: {kind.lower()}.cert-manager.io "{name}" not found'
            raise _Pending("IssuerNotFound", text)
        if not holds((found.get("status") or {}).get("conditions"), "Ready"):
            raise _Pending("IssuerNotReady", "Referenced issuer does not have a Ready status condition")
        return found, place or self.manager.seat.namespace

    def _by_authority(self, request: Object, text: str, issuer: Object, namespace: str) -> tuple[str, str]:
        secrets = self.manager["secrets"].objects
        try:
            signer = issuers.ca_signer(issuer, namespace, secrets)
        except KeyError:
            name = issuer["spec"]["ca"]["secretName"]
            text = f'Referenced secret {namespace}/{name} not found: secrets "{name}" not found'
            raise _Pending("SecretMissing", text) from None
        made = signing.sign(text, request["spec"], signer)
        secret = secrets[(namespace, issuer["spec"]["ca"]["secretName"])]
        own = signer.certificate.public_bytes(serialization.Encoding.PEM).decode()
        return made, signing.secret_text(secret, "ca.crt") or own

    def _by_itself(self, request: Object, text: str) -> tuple[str, str]:
        meta = request["metadata"]
        name = (meta.get("annotations") or {}).get(_KEY_NOTE)
        if not name:
            raise _Failed(
                "MissingAnnotation", f'Annotation "{_KEY_NOTE}" missing or reference empty: secret name missing'
            )
        secret = self.manager["secrets"].get(meta["namespace"], name)
        if secret is None:
            text = f'Referenced secret {meta["namespace"]}/{name} not found: secrets "{name}" not found'
            raise _Pending("MissingSecret", text)
        made = signing.sign(text, request["spec"], None, signing.load_key(signing.secret_text(secret, "tls.key")))
        return made, made

    # --- ACME, played: the lab's own authority signs
    async def _by_acme(self, request: Object, text: str, issuer: Object, namespace: str) -> str:
        wanted = x509.load_pem_x509_csr(text.encode())
        name = signing.common_name(wanted)
        if name and name not in signing.names_of(wanted):
            raise _Failed(
                "InvalidOrder",
                "The CSR PEM requests a commonName that is not present in the list of dnsNames or ipAddresses. If a "
                "commonName is set, ACME requires that the value is also present in the list of dnsNames or ipAddresses: "
                f'"{name}" does not exist in {sorted(signing.names_of(wanted))} or []',
            )
        order = await self._order(request, wanted)
        try:
            found = issuers.challenges(issuer, wanted, namespace, self.manager["secrets"].objects)
        except issuers.NoSolver as error:
            text = f"Failed to determine a valid solver configuration for the set of domains on the Order: {error}"
            await self.manager.tell_once("orders", order, "Warning", "Solver", text)
            found = None
        waiting = found is None or any(one.wrong for one in found)
        await self._challenges(order, issuer, (found or []) if waiting else [])
        if waiting:
            await self._order_status(order, {"state": "pending"})
            place = f"{order['metadata']['namespace']}/{order['metadata']['name']}"
            raise _Pending("OrderPending", f'Waiting on certificate issuance from order {place}: "pending"')
        usages = [*signing.DEFAULT_USAGES, "server auth"]
        made = signing.sign(text, {**request["spec"], "usages": usages, "isCA": False}, self._authority())
        await self._order_status(order, {"state": "valid", "certificate": signing.encoded(made)})
        await self.manager.tell_once("orders", order, "Normal", "Complete", "Order completed successfully")
        return made

    def _authority(self) -> Signer:
        pair = self.manager.authority
        if pair is None:
            raise ValueError("the simulated lab has no certificate authority here")
        certificate = x509.load_pem_x509_certificate(pair.certificate.encode())
        return Signer(certificate, signing.load_key(pair.key), pair.certificate)

    async def _order(self, request: Object, wanted: x509.CertificateSigningRequest) -> Object:
        meta, spec = request["metadata"], request["spec"]
        name = f"{meta['name']}-{zlib.crc32(spec['request'].encode())}"
        found = self.manager["orders"].get(meta["namespace"], name)
        if found is not None:
            return found
        body = {
            "apiVersion": f"{ACME}/v1",
            "kind": "Order",
            "metadata": {"name": name, "namespace": meta["namespace"], "ownerReferences": [_owner(request)]},
            "spec": {
                "request": spec["request"],
                "issuerRef": spec["issuerRef"],
                "dnsNames": sorted(signing.names_of(wanted)),
            }
            | ({"commonName": signing.common_name(wanted)} if signing.common_name(wanted) else {}),
        }
        made = await self.manager.create("orders", body)
        text = f"Created Order resource {meta['namespace']}/{name}"
        await self.manager.tell("certificaterequests-issuer-acme", request, "Normal", "OrderCreated", text)
        return made

    async def _order_status(self, order: Object, status: Object) -> None:
        await write_status(self.manager.client, self.manager["orders"], order, status, "cert-manager")

    async def _challenges(self, order: Object, issuer: Object, wanted: list[issuers.Challenge]) -> None:
        """Challenge objects for what is waited for, and no others."""
        meta, collection = order["metadata"], self.manager["challenges"]
        mine = {
            one["metadata"]["name"]: one
            for one in collection
            if one["metadata"]["namespace"] == meta["namespace"]
            and any(owner["uid"] == meta["uid"] for owner in one["metadata"].get("ownerReferences") or ())
        }
        names = set()
        for one in wanted:
            name = f"{meta['name']}-{zlib.crc32(one.name.encode() + bytes([one.wildcard]))}"
            names.add(name)
            found = mine.get(name) or await self.manager.create("challenges", _challenge(order, issuer, name, one))
            state = {"processing": True, "presented": not one.wrong, "reason": one.wrong, "state": "pending"}
            await write_status(self.manager.client, collection, found, state, "cert-manager")
            if one.wrong:
                text = f"Error presenting challenge: {one.wrong}"
                await self.manager.tell_once("challenges", found, "Warning", "PresentError", text)
        for name in mine.keys() - names:
            await self.manager.remove("challenges", mine[name])


def _challenge(order: Object, issuer: Object, name: str, one: issuers.Challenge) -> Object:
    meta = order["metadata"]
    place = str(issuer["spec"]["acme"]["server"]).rpartition("/")[0]
    digest = f"{zlib.crc32(name.encode()):08x}"
    return {
        "apiVersion": f"{ACME}/v1",
        "kind": "Challenge",
        "metadata": {"name": name, "namespace": meta["namespace"], "ownerReferences": [_owner(order)]},
        "spec": {
            "authorizationURL": f"{place}/authz/{digest}",
            "dnsName": one.name,
            "wildcard": one.wildcard,
            "issuerRef": order["spec"]["issuerRef"],
            "key": digest,
            "solver": one.solver,
            "token": digest,
            "type": one.kind,
            "url": f"{place}/chall/{digest}",
        },
    }


def _owner(found: Object) -> Object:
    return {
        "apiVersion": found["apiVersion"],
        "kind": found["kind"],
        "name": found["metadata"]["name"],
        "uid": found["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _unready(reason: str, message: str) -> Condition:
    return condition("Ready", False, reason, message)
