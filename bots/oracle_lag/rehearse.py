"""Live trading rehearsed: what of this bot's settings differs on ``polymirror serve`` besides the wallet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from bots.common.operate import rehearse

if TYPE_CHECKING:
    from bots.common.operate.rehearse import Rehearsal
    from bots.oracle_lag.config import BotSettings


def rehearsal(settings: BotSettings, url: str) -> Rehearsal[BotSettings]:
    """Point everything at a venue of ``polymirror serve``. Raises SettingsError when there is none, MissingExtra."""
    return rehearse.rehearsal(
        settings,
        url,
        lambda where: {
            "oracle": evolve(settings.oracle, source="rtds", url=where["rtds"]),
            "telegram_chat": "",
        },
    )
