"""Encoders: from labelled support evidence to context vectors."""

from genmeta.encoders.blank import BlankEncoder
from genmeta.encoders.set_encoder import SetEncoder

__all__ = ["BlankEncoder", "SetEncoder"]
