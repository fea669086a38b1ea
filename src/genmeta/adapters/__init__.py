"""Adapters: from a start to adapted weights."""

from genmeta.adapters.base import Adapter, SupportLoss
from genmeta.adapters.gradient import GradientAdapter
from genmeta.adapters.none import NoAdapter

__all__ = ["Adapter", "GradientAdapter", "NoAdapter", "SupportLoss"]
