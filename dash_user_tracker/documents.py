"""What a document request says about who asked for it."""

from __future__ import annotations

import functools
import re

from .addresses import is_local
from .request import Observation

_ROBOT = re.compile(
    r"(?<!\bcu)bot\b|bot[/;-]|crawl|spider|slurp|probe|monitor|healthcheck|health-check|uptime|pingdom|lighthouse|preview|"
    r"facebookexternalhit|python-|curl/|wget/|httpclient|java/|go-http|okhttp|axios/|libwww|scrapy",
    re.IGNORECASE,
)


def is_prefetch(observation: Observation) -> bool:
    """The browser fetched ahead (Fetch Metadata's ``Sec-Purpose``, and what older ones sent)."""
    return "prefetch" in observation.purpose or "preview" in observation.purpose


@functools.lru_cache(512)
def is_robot(user_agent: str | None) -> bool:
    """The User-Agent is not a browser's, or it names a robot."""
    return not user_agent or not user_agent.startswith("Mozilla/") or _ROBOT.search(user_agent) is not None


def left_to_script(observation: Observation) -> bool:
    """A browser shows this document, so its page script tells the view.

    Browsers name the destination in ``Sec-Fetch-Dest``, but only to origins they trust
    (https and loopback: Fetch Metadata, 2.1): over plain HTTP to another name their
    User-Agent has to do.
    """
    if observation.fetch_dest is not None:
        return True  # a browser asked; a document runs the script, anything else is no page
    return observation.scheme == "http" and not is_local(observation.host) and not is_robot(observation.user_agent)
