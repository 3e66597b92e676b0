"""From the request thread to the repository: a bounded queue and one worker for each process."""

from __future__ import annotations

from .delivery import Delivery as Delivery
from .spool import Spooling as Spooling
