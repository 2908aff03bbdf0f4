# SPDX-License-Identifier: GPL-3.0-or-later
"""ApplyConfiguration: modes, dry runs, trying, staging, what needs a reboot."""

from __future__ import annotations

import asyncio
import dataclasses
import typing as t

from grpclib import Status

from . import configdiff, documents, publish, refusals, sequences, validation
from .configtypes import go_duration
from .machineconfig import MachineConfig
from .refusals import Refusal

if t.TYPE_CHECKING:
    from .runtime import Runtime

MODES = ("REBOOT", "AUTO", "NO_REBOOT", "STAGED", "TRY")
_DEFAULT_TRY = 60.0
_NO_REBOOT = "Applied configuration without a reboot"
_DETAILS = {
    "REBOOT": "Applied configuration with a reboot",
    "NO_REBOOT": _NO_REBOOT,
    "TRY": _NO_REBOOT,
    "STAGED": "Staged configuration to be applied after the next reboot",
}
_LOCKED = (
    "configuration was already applied and node is rebooting, cannot apply more configuration changes until next reboot"
)
_NO_V1ALPHA1 = (
    "the applied machine configuration doesn't contain v1alpha1 config, "
    "did you mean to patch the machine config instead?"
)
_OLD_MAINTENANCE_DRY_RUN = "Dry run summary:\nNode is running in maintenance mode and does not have a config yet"


@dataclasses.dataclass(frozen=True)
class Wanted:
    text: bytes
    mode: str
    dry_run: bool
    timeout: float | None  # of a TRY, seconds


@dataclasses.dataclass(frozen=True)
class Answer:
    mode: str
    details: str
    warnings: tuple[str, ...] = ()


async def apply(runtime: Runtime, wanted: Wanted, *, maintenance: bool) -> Answer:
    if runtime.locked:
        raise refusals.precondition(_LOCKED)
    if runtime.applying:
        raise refusals.precondition("another apply configuration is already in progress")
    runtime.applying = True
    try:
        return await _apply(runtime, wanted, maintenance)
    finally:
        runtime.applying = False


async def _apply(runtime: Runtime, wanted: Wanted, maintenance: bool) -> Answer:
    config = _decoded(wanted.text)
    if not config.complete and not (maintenance and runtime.node.version.maintenance_apid):
        raise refusals.invalid(_NO_V1ALPHA1)
    mode = _mode_in_maintenance(runtime, wanted.mode) if maintenance else wanted.mode
    try:
        warnings = validation.validate(config, runtime.node.version, runtime.node.mode)
    except validation.Invalid as error:
        runtime.events.tell("ConfigValidationErrorEvent", error=str(error))
        raise refusals.invalid(str(error)) from None
    reboot_for = "" if maintenance else configdiff.needs_reboot(runtime.config, config)
    mode = _chosen(mode, reboot_for)
    if wanted.dry_run:
        return _dry_run(runtime, mode, config, maintenance)
    return await _APPLY[mode](runtime, config, wanted, warnings, reboot_for, maintenance)


def _decoded(text: bytes) -> MachineConfig:
    try:
        return documents.load(text)
    except documents.ConfigError as error:
        raise refusals.invalid(str(error)) from None


def _mode_in_maintenance(runtime: Runtime, mode: str) -> str:
    if runtime.node.version.maintenance_apid:
        return "NO_REBOOT" if mode in ("REBOOT", "AUTO") else mode
    if mode in ("NO_REBOOT", "STAGED"):
        text = f"apply configuration --mode='{mode.lower().replace('_', '-')}' is not supported in maintenance mode"
        raise Refusal(Status.UNIMPLEMENTED, text)
    return mode


def _chosen(mode: str, reboot_for: str) -> str:
    """AUTO becomes what the change needs; a mode without a reboot refuses a change that needs one."""
    if mode == "AUTO":
        return "REBOOT" if reboot_for else "NO_REBOOT"
    if mode in ("NO_REBOOT", "TRY") and reboot_for:
        raise refusals.invalid(reboot_for)
    return mode


def _dry_run(runtime: Runtime, mode: str, config: MachineConfig, maintenance: bool) -> Answer:
    if maintenance and not runtime.node.version.maintenance_apid:
        return Answer(mode, _OLD_MAINTENANCE_DRY_RUN)
    diff = configdiff.diff(runtime.config, config) or "No changes."
    details = f"Dry run summary:\n{_DETAILS[mode]} (skipped in dry-run).\nConfig diff:\n\n{diff}"
    return Answer(mode, details)


_Warnings = tuple[str, ...]


async def _without_reboot(
    runtime: Runtime,
    config: MachineConfig,
    wanted: Wanted,
    warnings: _Warnings,
    reason: str,
    maintenance: bool,
) -> Answer:
    _cancel_try(runtime)
    _persist(runtime, config)
    _activate(runtime, config, maintenance)
    return Answer("NO_REBOOT", _NO_REBOOT, warnings)


async def _staged(
    runtime: Runtime,
    config: MachineConfig,
    wanted: Wanted,
    warnings: _Warnings,
    reason: str,
    maintenance: bool,
) -> Answer:
    _persist(runtime, config)
    publish.configuration(runtime)
    return Answer("STAGED", _DETAILS["STAGED"], warnings)


async def _with_reboot(
    runtime: Runtime,
    config: MachineConfig,
    wanted: Wanted,
    warnings: _Warnings,
    reason: str,
    maintenance: bool,
) -> Answer:
    _cancel_try(runtime)
    _persist(runtime, config)
    publish.configuration(runtime)
    runtime.locked = True
    sequences.take_over(runtime, sequences.reboot(runtime, ""))
    # The reason is only told to those who left the choice to the node.
    details = _DETAILS["REBOOT"] + (f": {reason}" if reason and wanted.mode == "AUTO" else "")
    return Answer("REBOOT", details, warnings)


async def _tried(
    runtime: Runtime,
    config: MachineConfig,
    wanted: Wanted,
    warnings: _Warnings,
    reason: str,
    maintenance: bool,
) -> Answer:
    _cancel_try(runtime)
    timeout = wanted.timeout or _DEFAULT_TRY
    before = runtime.config
    runtime.trying = runtime.run(_revert(runtime, before, timeout, maintenance))
    _activate(runtime, config, maintenance)
    note = f"\nThe config is applied in 'try' mode and will be automatically reverted back in {go_duration(timeout)}"
    return Answer("TRY", _NO_REBOOT + note, warnings)


_APPLY = {
    "NO_REBOOT": _without_reboot,
    "STAGED": _staged,
    "REBOOT": _with_reboot,
    "TRY": _tried,
}


def _persist(runtime: Runtime, config: MachineConfig) -> None:
    runtime.node.storage.write_config(config.text)
    runtime.persistent, runtime.applied = config, True


def _activate(runtime: Runtime, config: MachineConfig, maintenance: bool) -> None:
    """Make it the active configuration: at once where resources show it, the rest in a task."""
    if not maintenance:
        runtime.config = config
        publish.configuration(runtime)
        runtime.run(_take_effect(runtime, config))
    elif config.complete:
        runtime.run(sequences.leave_maintenance(runtime, config))
    else:
        runtime.config = config
        publish.configuration(runtime)
        runtime.run(sequences.renew_maintenance(runtime))


async def _take_effect(runtime: Runtime, config: MachineConfig) -> None:
    """A configuration applied to a running node: addresses, names, certificate, what runs."""
    await asyncio.sleep(0.02)
    await sequences.bring_up_network(runtime)
    publish.configuration(runtime)
    await runtime.node.renew_certificate(runtime)
    publish.members(runtime)
    if runtime.workload is not None:
        await runtime.workload.reconfigure(config)


async def _revert(runtime: Runtime, before: MachineConfig | None, timeout: float, maintenance: bool) -> None:
    await asyncio.sleep(timeout)
    runtime.trying = None
    if maintenance:
        # As in life: the node has left maintenance, and without a configuration apid has no certificate any more.
        runtime.config = before
        await runtime.node.stop_api(at_once=True)
        runtime.services.health("apid", False, "failed to get API service config")
        return
    if before is not None:
        _activate(runtime, before, maintenance=False)


def _cancel_try(runtime: Runtime) -> None:
    trying, runtime.trying = runtime.trying, None
    if trying is not None:
        trying.cancel()
