# SPDX-License-Identifier: GPL-3.0-or-later
"""The played Talos node: what boots from a Talos image, keeps its state on its disk and serves the Talos API."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import typing as t

from ..contracts import BootImage, Disk, Machine
from ..faults import Faults
from ..ledger import Ledger
from . import handlers, pki, sequences, server
from .router import Router
from .runtime import Runtime
from .settings import Settings
from .storage import Storage
from .versions import PLAYED, Version

_LOG = logging.getLogger(__name__)
_PORT = 50000
_PLATFORM_MODES = {"nocloud": "cloud", "metal": "metal", "container": "container"}


class TalosNode:
    """Implements :class:`simlab.contracts.OperatingSystem`.

    ``disk`` is what was booted from, ``image`` what lies there. Booted from an ISO, the node keeps its state on the
    first disk that is none, and the installer writes there.
    """

    def __init__(
        self,
        machine: Machine,
        disk: Disk,
        image: BootImage,
        *,
        ledger: Ledger,
        faults: Faults,
        settings: Settings,
    ) -> None:
        self.machine = machine
        self.image = image
        self.version = Version(image.version)
        if self.version.minor not in PLAYED:
            known = ", ".join(f"{major}.{minor}" for major, minor in PLAYED)
            raise ValueError(f"Talos {image.version} is not simulated; simulated: {known}")
        handlers.load()
        self.storage = Storage(_system_disk(machine, disk))
        self.ledger = ledger
        self.faults = faults
        self.settings = settings
        self.problems: list[str] = []
        self._runtime: Runtime | None = None
        self._api: server.ApiServer | None = None
        self._main: asyncio.Task[None] | None = None

    # --- OperatingSystem
    async def boot(self) -> None:
        self.settings.registry.up(self)
        self._main = asyncio.get_running_loop().create_task(sequences.power_on(self))

    async def power_off(self) -> None:
        self.settings.registry.down(self)
        await self.stop_api(at_once=True)
        runtime, self._runtime = self._runtime, None
        await self._end_main()
        if runtime is not None:
            runtime.cancel()
            if runtime.workload is not None:
                await runtime.workload.power_off()

    async def shut_down(self) -> None:
        if self._runtime is not None:
            self._runtime.set_stage("shutting down")
            with contextlib.suppress(Exception):
                await sequences.stop_everything(self._runtime, "shutdown")
        await self.power_off()

    async def links_changed(self) -> None:
        if self._runtime is not None and self._runtime.network.links:  # before that, booting will see the new ones
            await sequences.bring_up_network(self._runtime)

    def describe(self) -> dict[str, t.Any]:
        runtime = self._runtime
        if runtime is None:
            return {
                "os": "talos",
                "version": self.version.tag,
                "stage": "off",
                "problems": self.problems[-5:],
            }
        found = {
            "os": "talos",
            "version": self.version.tag,
            "schematic": self.image.schematic,
            "stage": runtime.stage,
            "ready": not runtime.unmet(),
            "hostname": runtime.hostname,
            "addresses": self.addresses(),
            "type": runtime.config.machine_type if runtime.config and runtime.config.complete else None,
            "services": {service.id: service.state for service in runtime.services.all()},
            "problems": [reason for _, reason in runtime.unmet()] + self.problems[-5:],
        }
        if runtime.workload is not None:
            found["kubernetes"] = runtime.workload.describe()
        return found

    # --- what others ask
    @property
    def runtime(self) -> Runtime:
        """The present boot; there is one as long as the API answers."""
        if self._runtime is None:
            raise RuntimeError("the machine has no power")
        return self._runtime

    @property
    def powered(self) -> bool:
        return self._runtime is not None

    @property
    def mode(self) -> str:
        """The platform's mode: ``metal`` needs an install section, ``cloud`` does not."""
        return _PLATFORM_MODES.get(self.image.platform, "cloud")

    @property
    def serving(self) -> bool:
        """Whether the API answers as a configured node's."""
        return self._api is not None and self._api.mutual

    @property
    def control_plane(self) -> bool:
        config = self._runtime.config if self._runtime else None
        return config is not None and config.control_plane

    @property
    def cluster_key(self) -> str:
        config = self._runtime.config if self._runtime else None
        return config.cluster_key if config is not None else ""

    @property
    def endpoint_host(self) -> str:
        config = self._runtime.config if self._runtime else None
        return config.endpoint_host if config is not None else ""

    @property
    def hostname(self) -> str:
        return self._runtime.hostname if self._runtime else ""

    def addresses(self) -> list[str]:
        """All addresses without prefix, virtual ones that are held included."""
        return [*self._runtime.network.addresses, *self._runtime.held] if self._runtime else []

    def virtual_wanted(self) -> list[str]:
        return sequences.virtual_wanted(self._runtime) if self._runtime else []

    def known_missing(self, path: str) -> bool:
        """Whether a file is there on a real node, and only the simulation lacks it."""
        return path.startswith(("/etc/", "/proc/", "/sys/", "/system/", "/usr/"))

    def problem(self, text: str, error: BaseException | None = None) -> None:
        _LOG.error("%s: %s", self.machine.guest.name, text, exc_info=error)
        self.problems.append(text)

    # --- boots
    def begin(self) -> Runtime:
        """A new boot: nothing of the one before is left."""
        self._runtime = Runtime(self)
        return self._runtime

    def restart(self) -> None:
        """Boot again in a task of its own (the caller belongs to the boot that ends)."""
        if self._main is not None and self._main is not asyncio.current_task():
            self._main.cancel()
        self._main = asyncio.get_running_loop().create_task(sequences.power_on(self))

    def halt(self) -> None:
        """The machine has shut itself down; the hypervisor hears of it."""
        self.settings.registry.down(self)
        self._runtime = None
        self.machine.powered_off()

    # --- API
    async def serve_maintenance(self, runtime: Runtime) -> None:
        """Serve the maintenance API; if it is served already, with another certificate of this boot's CA."""
        runtime.maintenance_ca = runtime.maintenance_ca or pki.maintenance_ca()
        sans = [*runtime.network.addresses, "127.0.0.1", "::1"]
        leaf = pki.server(runtime.maintenance_ca, "maintenance-service.talos.dev", [runtime.hostname], sans)
        if self._api is not None and not self._api.mutual:
            self._api.renew(leaf, ())
        else:
            await self._serve(server.maintenance_context(leaf), mutual=False)

    async def serve_mutual(self, runtime: Runtime) -> None:
        """Serve with a certificate of the machine CA. Raises ValueError when the config holds no usable CA."""
        context = server.mutual_context(*self._identity(runtime))
        await self._serve(context, mutual=True)

    def _identity(self, runtime: Runtime) -> tuple[pki.Pair, list[bytes]]:
        if runtime.config is None:
            raise ValueError("no machine configuration")
        ca = sequences.issuing_ca(self, runtime.config)
        names = [str(name) for name in runtime.config.get("machine.certSANs", [])]
        dns = [name for name in names if not _is_ip(name)]
        addresses = [
            *self.addresses(),
            "127.0.0.1",
            *(name for name in names if _is_ip(name)),
        ]
        addresses += [address for address in sequences.virtual_wanted(runtime) if address not in addresses]
        leaf = pki.server(
            ca,
            runtime.hostname,
            dict.fromkeys([runtime.hostname, *dns]),
            dict.fromkeys(addresses),
        )
        return leaf, runtime.config.accepted_cas()

    async def renew_certificate(self, runtime: Runtime) -> None:
        """After a change of the configuration: another certificate, for new connections."""
        if self._api is None or not self._api.mutual:
            return
        with contextlib.suppress(ValueError):
            leaf, accepted = self._identity(runtime)
            self._api.renew(leaf, accepted)

    async def _serve(self, context: t.Any, *, mutual: bool) -> None:
        await self.stop_api(at_once=False)
        listener = self.machine.namespace.listen("0.0.0.0", _PORT)
        self._api = server.ApiServer(Router(self, maintenance=not mutual), mutual=mutual)
        await self._api.serve(listener, context)

    async def stop_api(self, *, at_once: bool) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.stop(at_once=at_once)

    async def _end_main(self) -> None:
        main, self._main = self._main, None
        if main is not None and main is not asyncio.current_task():
            main.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await main


def _system_disk(machine: Machine, booted: Disk) -> Disk:
    if not booted.cdrom and (booted.image is None or booted.image.medium == "disk"):
        return booted
    return next((disk for disk in machine.guest.disks if not disk.cdrom and disk.slot != booted.slot), booted)


def _is_ip(text: str) -> bool:
    return text.replace(".", "").isdigit() or ":" in text
