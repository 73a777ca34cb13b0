"""How many bundles may begin: of each market, and of all."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from polymirror.config import IncidentConfig

MINUTE: Final = 60.0


class Limits:
    """Counts the bundles that begin. Times in seconds on any one clock."""

    def __init__(self, config: IncidentConfig) -> None:
        self._config = config
        # When the newest ones began: of each market, and of all.
        self._began: dict[str, float] = {}
        self._minute: deque[float] = deque(maxlen=config.per_minute)

    def allow(self, market: str, now: float) -> bool:
        """Whether another bundle may begin; if so, it counts."""
        config, minute = self._config, self._minute
        if now - self._began.get(market, float("-inf")) < config.market_seconds:
            return False
        if len(minute) == config.per_minute and now - minute[0] < MINUTE:
            return False
        minute.append(now)
        self._began.pop(market, None)
        self._began[market] = now
        while now - self._began[next(iter(self._began))] >= config.market_seconds > 0:
            del self._began[next(iter(self._began))]
        return True
