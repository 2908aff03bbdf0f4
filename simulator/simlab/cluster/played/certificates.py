# SPDX-License-Identifier: GPL-3.0-or-later
"""The played cert-manager: issuers, Certificates, CertificateRequests, orders; with real keys and certificates."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import functools
import secrets as random
import typing as t

from cryptography import x509

from ..client import APPLY, KubeError
from ..events import Events
from ..node_status import timestamp
from ..pki import KeyPair
from . import issuers, signing
from .certificate_policy import (
    GROUP,
    ISSUER_GROUP,
    ISSUER_KIND,
    ISSUER_NAME,
    NAME,
    differences,
    issuer_of,
    renewal,
    violation,
)
from .certificate_requests import ACME, Requests
from .conditions import Condition, condition, find, generation, merged, write_status
from .leading import leading
from .seat import Object, Seat
from .watching import Controller, Kind

MANAGER = "cert-manager-certificates-issuing"
REVISION, KEY_NOTE = f"{GROUP}/certificate-revision", f"{GROUP}/private-key-secret-name"
#: Seconds of lab time until an issuance that failed is tried again; doubled each time, up to the second.
BACKOFF, BACKOFF_LIMIT = 3600.0, 32 * 3600.0
_UP_TO_DATE = "Certificate is up to date and has not expired"


class CertManager(Controller):
    """``authority`` signs for ACME issuers: the lab's test CA, which the lab's machines trust. None: they are not ready."""

    name = "cert-manager"
    kinds = (
        *(Kind(GROUP, name) for name in ("certificates", "certificaterequests", "issuers", "clusterissuers")),
        *(Kind(ACME, name) for name in ("orders", "challenges")),
        Kind("", "secrets"),
    )

    def __init__(self, seat: Seat, authority: KeyPair | None = None) -> None:
        super().__init__(seat)
        self.authority = authority
        self._scale = seat.node.time_scale if seat.node is not None else 1.0
        self._requests = Requests(self)
        self._tellers: dict[str, Events] = {}
        self._once: set[tuple[str, str, str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due: list[float] = []  # seconds until something is to be looked at again

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    async def reconcile(self) -> None:
        self._due = []
        for plural in ("issuers", "clusterissuers"):
            await self.each(self[plural], functools.partial(self._issuer, plural))
        try:
            await self.each(self["certificaterequests"], self._requests.look_at)
        finally:
            staying = [one for one in self["certificates"] if not one["metadata"].get("deletionTimestamp")]
            await self.each(staying, self._certificate)
        if self._timer is not None:
            self._timer.cancel()
        later = asyncio.get_running_loop().call_later
        self._timer = later(min([86400.0, *self._due]), self.again) if self._due else None

    # --- for its parts
    def now(self) -> str:
        return timestamp()

    async def tell(self, part: str, about: Object, kind: str, reason: str, message: str) -> None:
        teller = self._tellers.setdefault(part, Events(self.client, "", f"cert-manager-{part}"))
        await teller.record(about, kind, reason, message)

    async def tell_once(self, part: str, about: Object, kind: str, reason: str, message: str) -> None:
        key = (about["metadata"]["uid"], reason, message)
        if key not in self._once:
            self._once.add(key)
            await self.tell(part, about, kind, reason, message)

    async def create(self, plural: str, body: Object) -> Object:
        path = self[plural].path(body["metadata"]["namespace"])
        made = await self.client.call("POST", path, body)
        self[plural].objects[(body["metadata"]["namespace"], body["metadata"]["name"])] = made
        return made

    async def remove(self, plural: str, found: Object) -> None:
        with contextlib.suppress(KubeError):
            await self.client.call("DELETE", self[plural].path_of(found))

    # --- issuers
    async def _issuer(self, plural: str, issuer: Object) -> None:
        place = issuer["metadata"].get("namespace") or self.seat.namespace
        state = issuers.state(issuer, place, self["secrets"].objects, acme=self.authority is not None)
        if state.ready and issuers.kind_of(issuer) == "acme":
            await self._account_key(issuer, place)
        before = (issuer.get("status") or {}).get("conditions")
        told = condition("Ready", state.ready, state.reason, state.message, generation(issuer))
        status = {"conditions": merged(before, [told]), **state.extra}
        changed = find(before, "Ready").get("message") != state.message
        if await write_status(self.client, self[plural], issuer, status, "cert-manager") and changed and state.message:
            kind = "Normal" if state.ready else "Warning"
            await self.tell(plural, issuer, kind, state.reason, state.message)

    async def _account_key(self, issuer: Object, namespace: str) -> None:
        """The account's private key, in the Secret that the issuer names."""
        name = (issuer["spec"]["acme"].get("privateKeySecretRef") or {}).get("name")
        if not name or self["secrets"].get(namespace, name) is not None:
            return
        key = await asyncio.to_thread(signing.new_key, {})
        data = {"tls.key": signing.encoded(signing.key_pem(key, {}))}
        meta = {"name": name, "namespace": namespace}
        await self.create("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})

    # --- certificates
    async def _certificate(self, certificate: Object) -> None:
        meta, spec = certificate["metadata"], certificate["spec"]
        secret = self["secrets"].get(meta["namespace"], spec["secretName"])
        wrong = violation(certificate, secret)
        if wrong is None and secret is not None:
            await self._is_ready(certificate, secret)
            return
        if wrong is None:
            return
        renewing = wrong[0] == "Renewing"  # it is good until it has expired
        unready = condition("Ready", False, *wrong, generation(certificate))
        ready = condition("Ready", True, "Ready", _UP_TO_DATE, generation(certificate)) if renewing else unready
        if self._backs_off(certificate):
            await self._write(certificate, [ready])
            return
        issuing = condition("Issuing", True, *wrong, generation(certificate))
        before = find((certificate.get("status") or {}).get("conditions"), "Issuing")
        if before.get("status") != "True":
            await self.tell("certificates-trigger", certificate, "Normal", "Issuing", wrong[1])
        try:
            await self._issue(certificate, [ready, issuing])
        except ValueError as error:
            await self._write(certificate, [ready, issuing])
            await self.tell_once("certificates-key-manager", certificate, "Warning", "BadConfig", str(error))

    async def _is_ready(self, certificate: Object, secret: Object) -> None:
        found = x509.load_pem_x509_certificates(signing.secret_text(secret, "tls.crt").encode())[0]
        when = renewal(certificate, found)
        self._due.append(max(1.0, (when - datetime.datetime.now(datetime.timezone.utc)).total_seconds()))
        times = {
            "notBefore": timestamp(found.not_valid_before_utc),
            "notAfter": timestamp(found.not_valid_after_utc),
            "renewalTime": timestamp(when),
        }
        told = [condition("Ready", True, "Ready", _UP_TO_DATE, generation(certificate))]
        await self._write(certificate, told, drop="Issuing", nextPrivateKeySecretName=None, **times)

    async def _write(self, certificate: Object, told: list[Condition], drop: str = "", **more: t.Any) -> None:
        old = [one for one in (certificate.get("status") or {}).get("conditions") or () if one["type"] != drop]
        status = {"conditions": merged(old, told), **more}
        await write_status(self.client, self["certificates"], certificate, status, "cert-manager")

    def _backs_off(self, certificate: Object) -> bool:
        """After a failure: until its time has come, or the Certificate was changed."""
        status = certificate.get("status") or {}
        issuing = find(status.get("conditions"), "Issuing")
        if not status.get("lastFailureTime") or issuing.get("observedGeneration") != generation(certificate):
            return False
        if issuing.get("status") == "True":
            return False
        attempts = int(status.get("failedIssuanceAttempts") or 1)
        wait = min(BACKOFF * 2 ** (attempts - 1), BACKOFF_LIMIT) * self._scale
        failed = datetime.datetime.fromisoformat(str(status["lastFailureTime"]).replace("Z", "+00:00"))
        rest = wait - (datetime.datetime.now(datetime.timezone.utc) - failed).total_seconds()
        if rest > 0:
            self._due.append(rest)
        return bool(rest > 0)

    async def _issue(self, certificate: Object, told: list[Condition]) -> None:
        """The next step: a key, a request, its result. Raises ValueError for a spec that cannot be."""
        key = await self._next_key(certificate, told)
        request = await self._request(certificate, key)
        if request is None:
            return
        ready = find((request.get("status") or {}).get("conditions"), "Ready")
        if ready.get("reason") in ("Failed", "Denied"):
            await self._failed(certificate, told, ready)
        elif ready.get("status") == "True":
            await self._issued(certificate, told, request, key)

    async def _next_key(self, certificate: Object, told: list[Condition]) -> signing.Key:
        """The key of the issuance under way, kept in a Secret of its own."""
        meta, spec = certificate["metadata"], certificate["spec"]
        name = (certificate.get("status") or {}).get("nextPrivateKeySecretName")
        kept = self["secrets"].get(meta["namespace"], name) if name else None
        if kept is not None:
            await self._write(certificate, told)
            key = signing.load_key(signing.secret_text(kept, "tls.key"))
            if signing.fits(key, spec):
                return key
            await self.remove("secrets", kept)
        key = await asyncio.to_thread(signing.new_key, spec)
        signing.request(key, spec)  # a spec that cannot be is refused before anything is written
        name = f"{meta['name'][:52]}-{random.token_hex(3)[:5]}"
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "labels": {f"{GROUP}/next-private-key": "true", f"controller.{GROUP}/fao": "true"},
                "ownerReferences": [_owner(certificate)],
            },
            "data": {"tls.key": signing.encoded(signing.key_pem(key, spec))},
        }
        await self.create("secrets", body)
        text = f'Stored new private key in temporary Secret resource "{name}"'
        await self.tell("certificates-key-manager", certificate, "Normal", "Generated", text)
        await self._write(certificate, told, nextPrivateKeySecretName=name)
        return key

    async def _request(self, certificate: Object, key: signing.Key) -> Object | None:
        """The CertificateRequest of the issuance under way; None while one that does not fit goes."""
        meta, spec, status = certificate["metadata"], certificate["spec"], certificate.get("status") or {}
        revision = int(status.get("revision") or 0) + 1
        name = f"{meta['name']}-{revision}"
        found = self["certificaterequests"].get(meta["namespace"], name)
        if found is not None:
            if _is_for(found, spec, key):
                return found
            if not found["metadata"].get("deletionTimestamp"):
                await self.remove("certificaterequests", found)
            return None
        notes = {NAME: meta["name"], REVISION: str(revision), KEY_NOTE: status.get("nextPrivateKeySecretName") or ""}
        body: Object = {
            "apiVersion": f"{GROUP}/v1",
            "kind": "CertificateRequest",
            "metadata": {
                "name": name,
                "namespace": meta["namespace"],
                "annotations": notes,
                "labels": meta.get("labels") or {},
                "ownerReferences": [_owner(certificate)],
            },
            "spec": {"request": signing.encoded(signing.request(key, spec)), "issuerRef": spec["issuerRef"]}
            | {name: spec[name] for name in ("duration", "isCA", "usages") if name in spec},
        }
        made = await self.create("certificaterequests", body)
        text = f'Created new CertificateRequest resource "{name}"'
        await self.tell("certificates-request-manager", certificate, "Normal", "Requested", text)
        return made

    async def _failed(self, certificate: Object, told: list[Condition], ready: t.Mapping[str, t.Any]) -> None:
        attempts = int((certificate.get("status") or {}).get("failedIssuanceAttempts") or 0) + 1
        text = f"The certificate request has failed to complete and will be retried: {ready.get('message')}"
        issuing = condition("Issuing", False, str(ready["reason"]), text, generation(certificate))
        more: Object = {
            "lastFailureTime": self.now(),
            "failedIssuanceAttempts": attempts,
            "nextPrivateKeySecretName": None,
        }
        await self._forget_key(certificate)
        await self._write(certificate, [*told[:1], issuing], **more)
        await self.tell(MANAGER.removeprefix("cert-manager-"), certificate, "Warning", str(ready["reason"]), text)

    async def _issued(self, certificate: Object, told: list[Condition], request: Object, key: signing.Key) -> None:
        meta, spec = certificate["metadata"], certificate["spec"]
        await self._store(certificate, request, key)
        revision = int(request["metadata"]["annotations"][REVISION])
        more: Object = {"revision": revision, "lastFailureTime": None, "failedIssuanceAttempts": None}
        await self._forget_key(certificate)
        await self._write(certificate, told[:1], drop="Issuing", nextPrivateKeySecretName=None, **more)
        text = "The certificate has been successfully issued"
        await self.tell(MANAGER.removeprefix("cert-manager-"), certificate, "Normal", "Issuing", text)
        limit = int(spec.get("revisionHistoryLimit") or 1)
        for old in self["certificaterequests"]:
            notes = old["metadata"].get("annotations") or {}
            same = old["metadata"]["namespace"] == meta["namespace"] and notes.get(NAME) == meta["name"]
            if same and int(notes.get(REVISION) or 0) <= revision - limit:
                await self.remove("certificaterequests", old)

    async def _store(self, certificate: Object, request: Object, key: signing.Key) -> None:
        """Key, certificate and authority into the Secret that the Certificate names."""
        meta, spec, status = certificate["metadata"], certificate["spec"], request["status"]
        name, kind, group = issuer_of(spec)
        template = spec.get("secretTemplate") or {}
        have = self["secrets"].get(meta["namespace"], spec["secretName"])
        notes = {NAME: meta["name"], ISSUER_NAME: name, ISSUER_KIND: kind, ISSUER_GROUP: group}
        notes |= {f"{GROUP}/common-name": spec.get("commonName") or ""}
        notes |= {f"{GROUP}/alt-names": ",".join(spec.get("dnsNames") or ())}
        notes |= {f"{GROUP}/ip-sans": ",".join(spec.get("ipAddresses") or ())}
        data = {"tls.crt": status["certificate"], "tls.key": signing.encoded(signing.key_pem(key, spec))}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": (have or {}).get("type") or "kubernetes.io/tls",
            "metadata": {
                "name": spec["secretName"],
                "namespace": meta["namespace"],
                "annotations": {**(template.get("annotations") or {}), **notes},
                "labels": {**(template.get("labels") or {}), f"controller.{GROUP}/fao": "true"},
            },
            "data": data | ({"ca.crt": status["ca"]} if status.get("ca") else {}),
        }
        path = self["secrets"].path(meta["namespace"], spec["secretName"])
        query = {"fieldManager": MANAGER, "force": "true"}
        made = await self.client.call("PATCH", path, body, content_type=APPLY, query=query)
        self["secrets"].objects[(meta["namespace"], spec["secretName"])] = made

    async def _forget_key(self, certificate: Object) -> None:
        name = (certificate.get("status") or {}).get("nextPrivateKeySecretName")
        kept = self["secrets"].get(certificate["metadata"]["namespace"], name) if name else None
        if kept is not None:
            await self.remove("secrets", kept)


def _is_for(request: Object, spec: Object, key: signing.Key) -> bool:
    """Whether a CertificateRequest asks for what the Certificate says, with this key."""
    wanted = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    same = all(request["spec"].get(name) == spec.get(name) for name in ("duration", "isCA"))
    mine = wanted.public_key() == key.public_key() and not differences(spec, wanted)
    return same and mine and issuer_of(request["spec"]) == issuer_of(spec)


def _owner(certificate: Object) -> Object:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "Certificate",
        "name": certificate["metadata"]["name"],
        "uid": certificate["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


async def cert_manager(seat: Seat) -> None:
    """cert-manager's controller; one replica works."""
    async with leading(seat, "cert-manager"):
        await CertManager(seat, seat.node.authority if seat.node is not None else None).run()
