"""What a worker needs to know about gevent, where the app has patched the standard library with it."""

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
