"""One Adam for the learner, one for each further player; what they step on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Part(Protocol):
    """A loss to back-propagate; :class:`genmeta.methods.objectives.Loss` is one."""

    @property
    def value(self) -> Tensor: ...
    @property
    def logs(self) -> Mapping[str, float | Tensor]: ...
    @property
    def share(self) -> float: ...
    @property
    def player(self) -> str: ...
    @property
    def closes(self) -> bool: ...


class Player(Protocol):
    """Parameters with an optimiser of their own; :class:`genmeta.methods.objectives.PlayerConfig` is one."""

    @property
    def parameters(self) -> list[nn.Parameter]: ...
    @property
    def lr(self) -> float: ...
    @property
    def betas(self) -> tuple[float, float]: ...


class Optimisers:
    """The learner's optimiser, under the name ``learner``, and those of the other players.

    Args:
        module: everything that has trainable parameters; what belongs to no player is the learner's.
        players: parameters that an optimiser of their own moves.
        lr: peak learning rate of the learner's.
        clip: largest norm of a gradient.
    """

    def __init__(self, module: nn.Module, players: Mapping[str, Player], lr: float, clip: float) -> None:
        others = {id(p) for player in players.values() for p in player.parameters}
        self.parameters = {"learner": [p for p in module.parameters() if p.requires_grad and id(p) not in others]}
        self.clip = clip
        self._of = {"learner": torch.optim.Adam(self.parameters["learner"], lr=lr)}
        for name, player in players.items():
            self.parameters[name] = player.parameters
            self._of[name] = torch.optim.Adam(player.parameters, lr=player.lr, betas=player.betas)
        self._rates = {name: optimizer.param_groups[0]["lr"] for name, optimizer in self._of.items()}

    def set_rate(self, fraction: float) -> None:
        """Sets every learning rate to a fraction of its peak."""
        for name, optimizer in self._of.items():
            optimizer.param_groups[0]["lr"] = self._rates[name] * fraction

    def step(self, player: str) -> bool:
        """Clips the gradient and steps on it, unless it is not finite; says whether it stepped."""
        norm = torch.nn.utils.clip_grad_norm_(self.parameters[player], self.clip)
        if finite := math.isfinite(norm.item()):
            self._of[player].step()
        # a critic's loss also reaches the learner and the other way round: each step starts clean
        self._of[player].zero_grad()
        return finite

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts."""
        return {name: optimizer.state_dict() for name, optimizer in self._of.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up what :meth:`state_dict` gave."""
        for name, optimizer in self._of.items():
            optimizer.load_state_dict(state[name])
