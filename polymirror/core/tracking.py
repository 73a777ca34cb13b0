"""Which tokens an engine may start to mirror: the rules that :meth:`polymirror.core.engine.Engine.track` goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polymirror.core.market import PAIR
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from polymirror.core.market import Market
    from polymirror.core.token import Token


def fresh_tokens(
    condition_id: str, asset_ids: Sequence[str], known: Mapping[str, Token], market: Market | None, max_tokens: int
) -> list[str]:
    """Return those of a market's tokens that are not ``known``, the tokens of all markets. Raises ConfigError.

    ``market`` is the market if it is known itself.
    """
    for asset_id in asset_ids:
        token = known.get(asset_id)
        if list(asset_ids).count(asset_id) > 1:
            raise ConfigError("asset_ids", asset_id, "each token once")
        if token is not None and token.market_id != condition_id:
            raise ConfigError("asset_ids", asset_id, f"no token of another market: {token.market_id} has it")
    fresh = [asset_id for asset_id in asset_ids if asset_id not in known]
    if len(known) + len(fresh) > max_tokens:
        raise ConfigError("tokens", len(known) + len(fresh), f"at most max_tokens={max_tokens}")
    if len(fresh) + (0 if market is None else len(market.tokens)) > PAIR:
        raise ConfigError("asset_ids", list(asset_ids), "the two tokens of one market")
    return fresh
