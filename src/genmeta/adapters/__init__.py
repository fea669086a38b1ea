"""Adapters: from a start to adapted weights."""

from genmeta.adapters.base import Adapter, SupportLoss
from genmeta.adapters.gradient import GradientAdapter
from genmeta.adapters.latent import LatentAdapter
from genmeta.adapters.none import NoAdapter
from genmeta.adapters.svgd import SVGDAdapter

__all__ = ["Adapter", "GradientAdapter", "LatentAdapter", "NoAdapter", "SVGDAdapter", "SupportLoss"]
