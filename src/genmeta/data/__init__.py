"""Readers of images grouped by class; every one gives an `ImageClasses`."""

from genmeta.data.classes import ImageClasses
from genmeta.data.opening import available, open_dataset
from genmeta.data.registry import DatasetInfo
from genmeta.data.spec import DataSpec

__all__ = ["DataSpec", "DatasetInfo", "ImageClasses", "available", "open_dataset"]
