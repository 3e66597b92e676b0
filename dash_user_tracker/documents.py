"""What a document request says about who asked for it."""

from __future__ import annotations

import functools
import re
from urllib.parse import urlsplit

from .addresses import is_local
from .request import Environ, Observation

_ROBOT = re.compile(
    r"(?<!\bcu)bot\b|bot[/;-]|crawl|spider|slurp|probe|monitor|healthcheck|health-check|uptime|pingdom|lighthouse|preview|"
    r"facebookexternalhit|python-|curl/|wget/|httpclient|java/|go-http|okhttp|axios/|libwww|scrapy",
    re.IGNORECASE,
)


def is_prefetch(observation: Observation) -> bool:
    """The browser fetched ahead (Fetch Metadata's ``Sec-Purpose``, and what older ones sent)."""
    return "prefetch" in observation.purpose or "preview" in observation.purpose


def is_proxied(environ: Environ) -> bool:
    """A proxy stands between, so Host need not be what the browser asked: nginx puts its upstream's name in."""
    # HTTP/1.0 is what nginx speaks to its upstream unless told otherwise, and no browser. The rest proxies add.
    return (
        "HTTP_X_FORWARDED_FOR" in environ
        or "HTTP_X_FORWARDED_HOST" in environ
        or "HTTP_X_FORWARDED_PROTO" in environ
        or "HTTP_X_REAL_IP" in environ
        or "HTTP_FORWARDED" in environ
        or "HTTP_VIA" in environ
        or environ.get("SERVER_PROTOCOL") == "HTTP/1.0"
    )


def is_foreign(environ: Environ) -> bool:
    """A post without Fetch Metadata comes from a page of another host, by its Origin or else its Referer.

    By the name alone: a proxy may leave the port out of Host, as nginx's ``$host`` does. Behind one that may have
    changed the name it cannot be told; what is not known is not foreign.
    """
    source = environ.get("HTTP_ORIGIN") or environ.get("HTTP_REFERER")
    if not source or is_proxied(environ):
        return False
    try:
        name = urlsplit(source).hostname
        host = urlsplit(f"//{environ.get('HTTP_HOST') or environ.get('SERVER_NAME')}").hostname
    except ValueError:
        return True
    return name != host


@functools.lru_cache(512)
def is_robot(user_agent: str | None) -> bool:
    """The User-Agent is not a browser's, or it names a robot."""
    return not user_agent or not user_agent.startswith("Mozilla/") or _ROBOT.search(user_agent) is not None


def left_to_script(observation: Observation) -> bool:
    """A browser shows this document, so its page script tells the view.

    Browsers name the destination in ``Sec-Fetch-Dest``, but only to origins they trust
    (https and loopback: Fetch Metadata, 2.1): over plain HTTP to another name their
    User-Agent has to do. A proxy may have made that name a local one.
    """
    if observation.fetch_dest is not None:
        return True  # a browser asked; a document runs the script, anything else is no page
    named = observation.proxied or not is_local(observation.host)
    return observation.scheme == "http" and named and not is_robot(observation.user_agent)
