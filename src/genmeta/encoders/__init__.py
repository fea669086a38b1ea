"""Encoders: from labelled support evidence to context vectors."""

from genmeta.encoders.attentive import AttentiveEncoder, AttentiveReader
from genmeta.encoders.blank import BlankEncoder
from genmeta.encoders.norm_statistics import NormStatisticsEncoder
from genmeta.encoders.relation import RelationEncoder
from genmeta.encoders.set_encoder import SetEncoder
from genmeta.encoders.task_token import TaskToken

__all__ = [
    "AttentiveEncoder",
    "AttentiveReader",
    "BlankEncoder",
    "NormStatisticsEncoder",
    "RelationEncoder",
    "SetEncoder",
    "TaskToken",
]
