# SPDX-License-Identifier: GPL-3.0-or-later
"""T1 to T3: nodes that are as wanted, configs that are rendered and checked, and facts of many nodes. There is no peer that
runs here: talosctl would be one more process a node."""

from __future__ import annotations

import typing as t

from played_talos import PlayedTalos, delay
from rows import Json, Row, Settings

NODES = (1, 10, 50)


def rows(settings: Settings, chosen: t.Collection[str]) -> t.Iterator[Row]:
    counts = dict.fromkeys(settings.of(number, least=1) for number in NODES)
    with PlayedTalos(max(counts)) as played:
        for milliseconds in settings.delays:
            played.call(delay, milliseconds)
            for count in counts:
                if "T1" in chosen:
                    yield nothing_to_do(played, count, milliseconds)
                if "T3" in chosen:
                    yield facts(played, count, milliseconds)
        if "T2" in chosen:
            for count in counts:
                yield rendered(played, count)


def _of(played: PlayedTalos, count: int) -> Json:
    return {**played.cluster, "nodes": played.cluster["nodes"][:count]}


def nothing_to_do(played: PlayedTalos, count: int, milliseconds: int) -> Row:
    ran = played.run({"groundwork.homelab.talos_apply_config": {**_of(played, count), "wait_timeout": 300}})
    aim = "nothing written, as the configs are those of the nodes"
    met = ran.cost.writes == 0 and ran.results[0]["changes"] == []
    return Row("T1", f"{_nodes(count)} as wanted", milliseconds, ran.cost, aim=aim, met=met)


def rendered(played: PlayedTalos, count: int) -> Row:
    """To files in a new directory: all of them are written."""
    dest = str(played.folder / f"configs-{count}")
    ran = played.run({"groundwork.homelab.talos_config": {**_of(played, count), "dest": dest}})
    aim = "all configs made without asking anybody"
    met = ran.cost.reads == 0 and len(ran.results[0]["changes"]) == count
    return Row("T2", f"configs of {_nodes(count)} rendered, checked, written", 0, ran.cost, aim=aim, met=met)


def facts(played: PlayedTalos, count: int, milliseconds: int) -> Row:
    nodes = [{key: node[key] for key in ("name", "address")} for node in played.cluster["nodes"][:count]]
    ran = played.run({"groundwork.homelab.talos_info": {"nodes": nodes, "on_error": "fail"}})
    aim = "every node told, nothing written"
    met = len(ran.results[0]["nodes"]) == count and ran.cost.writes == 0
    return Row("T3", f"facts of {_nodes(count)}", milliseconds, ran.cost, aim=aim, met=met)


def _nodes(count: int) -> str:
    return "a node" if count == 1 else f"{count} nodes"
