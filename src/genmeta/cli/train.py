"""``genmeta train``."""

from __future__ import annotations

import sys
from dataclasses import fields

from genmeta.cli.commands import Train
from genmeta.cli.output import console, print_json
from genmeta.core.settings import TrainConfig
from genmeta.engine import train
from genmeta.engine.checkpoint import MODEL
from genmeta.learners import PRETRAINED
from genmeta.methods import METHODS, make_options


def run(command: Train) -> None:
    """Trains and says where the checkpoint is."""
    values = {field.name: getattr(command, field.name) for field in fields(TrainConfig)}
    config = TrainConfig(**{**values, "options": command.flags.options()})
    if config.scenario == "domain" and not config.hold_out:
        print("warning: without --hold-out no domain is left to score this training on", file=sys.stderr)
    warn_of_an_untrained_body(config)
    trained = train(config, resume=command.resume)
    if "result" not in trained.config:
        return  # one of several processes; the leader speaks for all
    path = f"{config.run}/{MODEL}"
    if command.json:
        print_json({**trained.config, "schema": "genmeta.training/1", "checkpoint": path})
        return
    result = trained.config["result"]
    console().print(f"{trained.method}: {result['steps']} steps in {result['seconds']:.0f} s, checkpoint {path}")


def warn_of_an_untrained_body(config: TrainConfig) -> None:
    """Says it where rows would be learned on a random network that nothing trains."""
    if config.init or config.learner in PRETRAINED or ":" in config.learner or config.method not in METHODS:
        return
    method = METHODS[config.method]
    stays = config.freeze_learner or not getattr(make_options(method, config.options), "train_body", True)
    if stays and method.objective is not None:
        said = "the body stays as it is and was never trained: name a trained one with --init"
        print(f"warning: {config.method}: {said}", file=sys.stderr)
