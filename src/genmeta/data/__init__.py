"""Readers: of images grouped by class (`ImageClasses`), and of images of several objects (`SceneSource`)."""

from genmeta.data.classes import ImageClasses
from genmeta.data.opening import available, open_dataset, open_scenes
from genmeta.data.registry import DatasetInfo
from genmeta.data.scene_source import SceneSource
from genmeta.data.spec import DataSpec

__all__ = ["DataSpec", "DatasetInfo", "ImageClasses", "SceneSource", "available", "open_dataset", "open_scenes"]
