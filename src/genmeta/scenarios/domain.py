"""The domain scenario: a network meets a domain it was never trained on, and sees a few of its images, unlabelled.

Scores are the average and the worst accuracy over the held-out domains, as in Zhang et al., "Adaptive risk
minimization", 2021 (https://arxiv.org/abs/2007.02931); ``erm`` belongs in every table (Gulrajani and Lopez-Paz, "In
search of lost domain generalization", 2021, https://arxiv.org/abs/2007.01434).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from genmeta.core.errors import UsageError
from genmeta.data.domains import DomainImages
from genmeta.engine.evaluation import evaluate
from genmeta.engine.progress import ProgressBar
from genmeta.engine.scores import Interval, StepScores, paired
from genmeta.methods import MetaLearner
from genmeta.tasks.domains import DomainTasks

#: Resamplings of the episodes behind the interval of a difference of worst domains.
RESAMPLINGS = 2000


@dataclass(frozen=True)
class DomainScores:
    """Scores on ``G`` held-out domains, ``E`` episodes of each.

    Attributes:
        accuracy: domain -> ``[E]``, fraction in [0, 1].
        nll: domain -> ``[E]``, nats per query image.
        ece: domain -> expected calibration error in [0, 1].
        milliseconds: to adapt to a domain, median.
    """

    accuracy: Mapping[str, np.ndarray]
    nll: Mapping[str, np.ndarray]
    ece: Mapping[str, float]
    milliseconds: float

    @property
    def average(self) -> np.ndarray:
        """``[E]`` mean over domains."""
        return np.mean(list(self.accuracy.values()), axis=0)

    @property
    def worst(self) -> tuple[str, np.ndarray]:
        """The domain of the lowest mean accuracy, and its ``[E]`` accuracies."""
        name = min(self.accuracy, key=lambda domain: float(self.accuracy[domain].mean()))
        return name, self.accuracy[name]

    def summary(self) -> dict[str, object]:
        """Plain numbers, accuracies in percent."""
        name, worst = self.worst
        return {
            "average": Interval.of(100 * self.average).rounded(),
            "worst": {"domain": name, **Interval.of(100 * worst).rounded()},
            "nll": round(float(np.mean([values.mean() for values in self.nll.values()])), 4),
            "ece": round(100 * float(np.mean(list(self.ece.values()))), 2),
            "adaptation_ms": round(self.milliseconds, 2),
            "domains": {name: Interval.of(100 * values).rounded() for name, values in self.accuracy.items()},
        }


def score_domains(
    meta_learner: MetaLearner,
    data: DomainImages,
    held_out: np.ndarray,
    *,
    shots: int = 50,
    queries: int = 50,
    steps: int = 0,
    episodes: int = 20,
    seed: int = 0,
    labelled: bool = False,
    progress: bool = False,
    title: str = "domains",
) -> DomainScores:
    """Scores a meta-learner on each held-out domain; equal seeds give every method equal episodes.

    Args:
        meta_learner: from a method of the domain scenario.
        data: all domains.
        held_out: numbers of the domains to score on.
        shots: images of the domain that are shown, whatever their classes.
        queries: images of the domain to classify.
        steps: adaptation steps, on the entropy of the shown images (on their labels if ``labelled``).
        episodes: of each domain.
        seed: names the list of episodes.
        labelled: tell the shown images' classes.
        progress: show a bar.
        title: of the bar.
    """
    scores: dict[str, StepScores] = {}
    with ProgressBar(title, len(held_out), show=progress) as bar:
        for done, number in enumerate(held_out):
            tasks = DomainTasks(data, np.array([number]), "all", shots=shots, queries=queries, labelled=labelled)
            evaluation = evaluate(meta_learner, tasks, n_tasks=episodes, steps=(steps,), seed=seed, time_tasks=3)
            scores[data.domain_names[number]] = evaluation[steps]
            bar.update(done + 1)
    return DomainScores(
        {name: s.accuracy for name, s in scores.items()},
        {name: s.nll for name, s in scores.items()},
        {name: s.ece for name, s in scores.items()},
        1000 * float(np.median([s.seconds for s in scores.values()])),
    )


def worst_difference(first: DomainScores, second: DomainScores, seed: int = 0) -> Interval:
    """Worst-domain accuracy of ``first`` less that of ``second`` in points, with a bootstrap interval over episodes.

    The worst domain may be another for each; both are found anew in each resampling, of the same episodes for both
    (Efron and Tibshirani, "An introduction to the bootstrap", 1993).

    Raises:
        UsageError: the two were scored on other domains or episodes.
    """
    a, b = (np.stack([s.accuracy[name] for name in sorted(s.accuracy)]) for s in (first, second))
    if a.shape != b.shape or sorted(first.accuracy) != sorted(second.accuracy):
        raise UsageError("Worst domains can be compared only on the same domains and episodes.")
    picks = np.random.default_rng(seed).integers(0, a.shape[1], (RESAMPLINGS, a.shape[1]))
    drawn = a[:, picks].mean(2).min(0) - b[:, picks].mean(2).min(0)
    low, high = np.quantile(drawn, (0.025, 0.975))
    return Interval(100 * float(a.mean(1).min() - b.mean(1).min()), 50 * float(high - low))


def domain_json(
    scores: Mapping[str, DomainScores], reference: str, protocol: Mapping[str, object]
) -> dict[str, object]:
    """The documented, stable object of a comparison on domains; see ``docs/result-files.md``."""
    base = scores[reference]
    return {
        "schema": "genmeta.domains/1",
        "protocol": dict(protocol),
        "reference": reference,
        "methods": {
            name: {
                **each.summary(),
                "paired_difference": {
                    "average": paired(each.average, base.average).rounded(),
                    "worst": worst_difference(each, base).rounded(),
                },
            }
            for name, each in scores.items()
        },
    }
