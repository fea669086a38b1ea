"""Encoders: from labelled support evidence to context vectors."""

from genmeta.encoders.set_encoder import SetEncoder

__all__ = ["SetEncoder"]
