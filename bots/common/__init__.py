"""What any bot on the mirror needs and no strategy knows: oracles, execution, risk, state, notifications, preflight."""
