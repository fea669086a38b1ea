"""Whether adapting to a new domain will help, found out on the training domains: some are kept out, as a new one is.

Every network is trained anew, with its own settings, without a part of its training domains, and scored on that part;
part after part. That is model selection by leave-one-domain-out cross-validation (Gulrajani and Lopez-Paz, "In search
of lost domain generalization", 2021, https://arxiv.org/abs/2007.01434, section 3), here of the choice between adapting
and not adapting. The domains that are held out in earnest are held out of every one of these trainings too. It costs
as many trainings as there are parts; the check from unlabelled images, :mod:`genmeta.scenarios.domain_check`, none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genmeta.core.errors import UsageError
from genmeta.core.settings import TrainConfig
from genmeta.data.domains import DomainImages, open_domains
from genmeta.engine import Trained, train
from genmeta.engine.scores import Interval, paired
from genmeta.scenarios.domain import DomainScores
from genmeta.scenarios.protocols import Protocol, domain_rows


@dataclass(frozen=True)
class Rehearsal:
    """How rows did on training domains that were kept from them.

    Attributes:
        parts: names of the domains that were kept out together, part by part.
        accuracy: row -> domain -> mean accuracy, a fraction.
        scores: row -> what it scored on the domains held out in earnest.
        reference: the row that stays if no other did better.
    """

    parts: tuple[tuple[str, ...], ...]
    accuracy: Mapping[str, Mapping[str, float]]
    scores: Mapping[str, DomainScores]
    reference: str

    def gains(self, row: str) -> np.ndarray:
        """``[G]`` points over the reference on each domain that was kept out."""
        base = self.accuracy[self.reference]
        return np.array([100 * (value - base[domain]) for domain, value in self.accuracy[row].items()])

    def recommended(self) -> str:
        """The row of the highest mean over domains; the reference where it is level."""
        rows = [self.reference, *(row for row in self.accuracy if row != self.reference)]
        return max(rows, key=lambda row: float(self.gains(row).mean()))

    def summary(self) -> dict[str, object]:
        """Plain numbers: gains with intervals over domains, the row recommended, and how it came out in earnest."""
        base, right, total = self.scores[self.reference].accuracy, 0, 0
        for row, scores in self.scores.items():
            for domain, values in scores.accuracy.items():
                gap = paired(values, base[domain])
                if row != self.reference and abs(gap.mean) > gap.half_width:
                    total += 1
                    right += int(bool(self.gains(row).mean() > 0) == bool(gap.mean > 0))
        taken = self.scores[self.recommended()].accuracy
        followed = np.concatenate([taken[domain] - base[domain] for domain in base])
        return {
            "parts": [list(part) for part in self.parts],
            "gains": {row: Interval.of(self.gains(row)).rounded() for row in self.accuracy},
            "better_on": {row: int((self.gains(row) > 0).sum()) for row in self.accuracy},
            "recommended": self.recommended(),
            "domains_right": {"right": right, "of": total},
            "gain_followed": Interval.of(100 * followed).rounded(),
        }


def rehearse(
    trained: Mapping[str, Trained],
    scores: Mapping[str, DomainScores],
    reference: str,
    folder: Path,
    *,
    parts: int,
    shots: int = 50,
    queries: int = 50,
    steps: tuple[int, ...] = (0,),
    episodes: int = 20,
    seed: int = 0,
    threads: int = 0,
    labelled: bool = False,
    progress: bool = True,
) -> Rehearsal:
    """Trains every checkpoint anew without a part of its training domains and scores it there, part after part.

    Args:
        trained: row -> checkpoint, all of them trained on the same domains of the same data.
        scores: what the rows scored on the domains held out in earnest; no training looks at these.
        reference: the row of these scores that gains are over.
        folder: where the runs go; finished ones are reused, begun ones resumed.
        parts: number of parts; neighbours in the list of domains are kept out together.
        shots: as in scoring.
        queries: as in scoring; fewer where a training domain has fewer images.
        steps: as in scoring.
        episodes: as in scoring.
        seed: as in scoring.
        labelled: as in scoring.
        threads: CPU threads; 0 for torch's choice.
        progress: show bars.

    Raises:
        UsageError: checkpoints of other data or other domains than each other, or a number of parts that leaves
            nothing to train on or nothing to keep out.
    """
    settings = {row: TrainConfig(**each.config["training"]) for row, each in trained.items()}
    first = next(iter(settings.values()))
    for row, each in settings.items():
        if (each.data, each.hold_out) != (first.data, first.hold_out):
            raise UsageError(
                f"{row!r} was trained on other domains than {next(iter(settings))!r}, so they have none in common to "
                "rehearse on. Train both with the same --data and --hold-out."
            )
    config = next(iter(trained.values())).meta_learner.learner.config
    images = open_domains(first.data, size=config.size, channels=config.channels)
    sources = images.sources(first.hold_out)
    if not 2 <= parts <= len(sources):
        raise UsageError(
            f"--rehearse takes 2 up to the number of training domains, here {len(sources)}, got {parts}: each part of "
            "them is kept out once."
        )
    queries = min(queries, max(1, _fewest(images, sources) - shots))
    accuracy: dict[str, dict[str, float]] = {row: {} for row in scores}
    names = []
    for number, part in enumerate(np.array_split(sources, parts)):
        kept = tuple(images.domain_names[domain] for domain in part)
        names.append(kept)
        hold_out = ",".join((*filter(None, [first.hold_out]), *kept))
        again = {
            row: train(
                dataclasses.replace(
                    each, hold_out=hold_out, threads=threads, run=str(folder / f"part{number}" / row)
                ),
                resume=True,
                progress=progress,
            )
            for row, each in settings.items()
        }  # fmt: skip
        protocol = Protocol("domain", ",".join(kept), labelled=labelled)
        found = domain_rows(again, first.data, protocol, shots=shots, queries=queries, steps=steps, episodes=episodes,
                            seed=seed, progress=progress)  # fmt: skip
        for row, of_row in found.items():
            accuracy[row] |= {domain: float(values.mean()) for domain, values in of_row.accuracy.items()}
    return Rehearsal(tuple(names), accuracy, scores, reference)


def _fewest(images: DomainImages, domains: np.ndarray) -> int:
    return int(min((images.domains == domain).sum() for domain in domains))
