# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rehearsal says at its end: for people, and as JSON."""

from __future__ import annotations

import collections
import json
import pathlib
import typing as t

from .runs import Run


def write(path: pathlib.Path, lab: str, runs: t.Sequence[Run]) -> None:
    """``{"lab", "runs": […]}``; the shape of a run is :meth:`simlab.runs.Run.report`."""
    data = {"lab": lab, "runs": [run.report() for run in runs]}
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def text(runs: t.Sequence[Run], status: t.Mapping[str, t.Any]) -> str:
    """Some lines for each run, then what the lab is like now."""
    lines = [line for run in runs for line in [*_run(run), ""]]
    return "\n".join([*lines, *_lab(status), ""])


def _run(run: Run) -> list[str]:
    how = " --check" if run.check else ""
    outcome = "ok" if run.exit_status == 0 else f"failed (exit status {run.exit_status})"
    counts = f"(ok={run.ok} changed={run.changed} failed={run.failed})"
    lines = [f"Rehearsal of {run.playbook}{how}: {outcome} in {run.seconds:.1f} s {counts}"]
    if run.layers:
        lines.append("  layers    " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in run.layers))
    counted = [
        f"{api} {counts['reads']} reads, {counts['writes']} writes" + _refused(counts)
        for api, counts in run.requests.items()
        if any(counts.values())
    ]
    lines.append("  requests  " + ("; ".join(counted) or "none"))
    made = collections.defaultdict(list)
    for change in run.changes:
        made[change["action"]].append(change["resource"])
    verb = "would " if run.check else ""
    lines += [f"  {verb + action:<9} {_shortened(resources)}" for action, resources in made.items()]
    return lines


def _refused(counts: t.Mapping[str, int]) -> str:
    return f" ({counts['refused']} refused)" if counts["refused"] else ""


def _shortened(resources: list[str], limit: int = 8) -> str:
    more = f" and {len(resources) - limit} more" if len(resources) > limit else ""
    return ", ".join(resources[:limit]) + more


def _lab(status: t.Mapping[str, t.Any]) -> list[str]:
    lines = [f"Lab {status['lab']} now"]
    for guest in status["guests"]:
        addresses = [address for nic in guest["nics"].values() for address in nic.get("addresses", ())]
        system = guest["system"] or {}
        what = " ".join(str(system[key]) for key in ("os", "version", "stage") if system.get(key)) or guest["console"]
        lines.append(
            f"  VM {guest['vmid']} {guest['name']} on {guest['node']}: {', '.join(addresses) or 'no address'}; {what}"
        )
    for node, ready in (status.get("kubernetes") or {}).get("nodes", {}).items():
        lines.append(f"  node {node}: {'Ready' if ready else 'not Ready'}")
    if len(lines) == 1:
        lines.append("  no guest has power")
    return lines
