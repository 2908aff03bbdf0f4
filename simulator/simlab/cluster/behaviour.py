# SPDX-License-Identifier: GPL-3.0-or-later
"""How played containers behave."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass
class Behaviours:
    """What the lab's settings say of containers; changes take effect at the next look.

    ``images`` maps an image prefix to ``ImagePullBackOff``, ``CrashLoopBackOff`` or ``NotReady``. A pod's annotations
    ``simlab/behaviour`` (one of those) and ``simlab/ready-after`` (seconds, lab time) say it for one pod.
    """

    images: dict[str, str] = dataclasses.field(default_factory=dict)
    ready_after: float = 2.0  # seconds of lab time from scheduling to Ready
    job_after: float = 2.0  # and from Running to Succeeded, for pods that end
