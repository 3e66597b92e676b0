"""Which site a visit came from."""

from __future__ import annotations

from urllib.parse import urlsplit


def referrer_site(referrer: str | None, address: str | None) -> str | None:
    """The host that *referrer* names, None where it is that of *address* itself, or none.

    Lower case, without port and ``www.``. *address* is where the view was (``base_url``).
    """
    site = _host(referrer)
    return site if site != _host(address) else None


def _host(url: str | None) -> str | None:
    if not url:
        return None
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return None
    if not host:
        return None
    return host[4:] if host.startswith("www.") and len(host) > 4 else host
