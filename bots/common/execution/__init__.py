"""Sending orders: one protocol, on paper and for real. See :mod:`bots.common.execution.base` first."""
