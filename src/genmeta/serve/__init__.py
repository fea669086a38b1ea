"""The web page: show a few images of each class, adapt, try it on new ones."""

from __future__ import annotations

from genmeta.serve.limits import Limits

__all__ = ["Limits"]
