"""What a worker needs to know about the server that it lives in."""

from __future__ import annotations

import logging
import sys
import weakref

log = logging.getLogger("dash_user_tracker")


def prepare() -> None:
    """Start gevent's native thread for looking up names now, in a worker that is a greenlet.

    Its first lookup would start it, and that fails in a process that is ending: events
    of an app that is stopped in its first second could not be delivered.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading") or not monkey.is_module_patched("socket"):
        return
    # Finalizers run where the first one of a process put them: urllib3's have to come before greenlet's own end.
    weakref.finalize(prepare, int)
    try:
        sys.modules["gevent"].get_hub().threadpool.apply(int)
    except Exception:  # a warm-up that fails is no reason not to deliver
        log.debug("gevent's threads could not be started", exc_info=True)


def runs_threads() -> bool:
    """False below a uWSGI that runs threads only while a request does: before 2.0.27, unless told otherwise."""
    uwsgi = sys.modules.get("uwsgi")  # uWSGI's own, there is no such file
    return bool(getattr(uwsgi, "has_threads", True))
