"""Prometheus metrics of a mirror, under the name by which users import them. Needs the extra ``metrics``."""

from polymirror.status.metrics import MirrorMetrics

__all__ = ["MirrorMetrics"]
