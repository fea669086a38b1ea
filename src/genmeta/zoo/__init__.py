"""Pretrained checkpoints: those that come with the package, files, and the Hugging Face Hub."""

from genmeta.zoo.finding import find, from_pretrained
from genmeta.zoo.hub import push_to_hub
from genmeta.zoo.shipped import Checkpoint, list_checkpoints

__all__ = ["Checkpoint", "find", "from_pretrained", "list_checkpoints", "push_to_hub"]
