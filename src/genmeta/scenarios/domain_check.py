"""Whether adapting to a new domain will help, told before a single label of it is seen.

Adaptation to a domain can hurt (Gulrajani and Lopez-Paz, "In search of lost domain generalization", 2021,
https://arxiv.org/abs/2007.01434, and ARM on FMoW in Koh et al., "WILDS", 2021, https://arxiv.org/abs/2012.07421). The
check predicts the accuracy of every network on a new domain from its unlabelled images and recommends the best: the
share of images whose confidence is above a threshold that was set on images of the *training* domains, such that there
the share is the accuracy. Garg, Balakrishnan, Lipton, Neyshabur and Sedghi, "Leveraging unlabeled data to predict
out-of-distribution performance" (average thresholded confidence), 2022 (https://arxiv.org/abs/2201.04234). A domain is
read from one half of its images and judged by the other, and the other way round.
How often it is right is measured, and is little: see ``docs/scenarios.md``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genmeta.core.errors import UsageError
from genmeta.core.randomness import seeded
from genmeta.core.types import IGNORE, Examples, Task
from genmeta.data.domains import DomainImages
from genmeta.engine.evaluation import episodes as listed
from genmeta.engine.scores import Interval, paired
from genmeta.methods import MetaLearner
from genmeta.scenarios.domain import DomainScores
from genmeta.tasks.domains import KEEP, DomainTasks

#: Episodes of training domains that a threshold is set on.
SOURCE_EPISODES = 40


def source_threshold(
    meta_learner: MetaLearner, data: DomainImages, sources: np.ndarray, *, shots: int, steps: int = 0, seed: int = 0
) -> float:
    """The confidence above which as many held-out images of the training domains lie as are answered rightly.

    Args:
        meta_learner: that was trained on these domains.
        data: all domains.
        sources: numbers of those it was trained on; no other is looked at.
        shots: images that a domain is read from.
        steps: adaptation steps.
        seed: of the episodes.
    """
    # a domain keeps one image in so many for this
    fewest = int(min((data.domains == number).sum() for number in sources)) // KEEP
    tasks = DomainTasks(data, sources, "val", shots=shots, queries=max(1, min(20, fewest)))
    task = listed(tasks, 0, SOURCE_EPISODES, seed)
    confidence, guess = _confidence(meta_learner, task, steps)
    error = 1.0 - float((guess == task.query.labels).double().mean())
    return float(np.quantile(confidence.numpy(), error))


def estimated_accuracy(
    meta_learner: MetaLearner, images: Tensor, threshold: float, *, classes: int, steps: int = 0
) -> float:
    """The predicted accuracy on a domain, a fraction, from its unlabelled images.

    Args:
        meta_learner: to be judged.
        images: ``[N C H W]``, two or more of the domain.
        threshold: from :func:`source_threshold`.
        classes: size of the label set.
        steps: adaptation steps.

    Raises:
        UsageError: fewer than two images.
    """
    if len(images) < 2:
        raise UsageError(f"A domain is judged by images that it is not read from: give two or more, got {len(images)}.")
    halves, above = (images[::2], images[1::2]), []
    for shown, asked in (halves, halves[::-1]):
        blank = [torch.full((1, len(part)), IGNORE) for part in (shown, asked)]
        task = Task(
            Examples(shown[None], blank[0]), Examples(asked[None], blank[1]), classes, torch.arange(classes)[None]
        )
        above.append(_confidence(meta_learner, task, steps)[0] > threshold)
    return float(torch.cat([part.flatten() for part in above]).double().mean())


def _confidence(meta_learner: MetaLearner, task: Task, steps: int) -> tuple[Tensor, Tensor]:
    """``[T N]`` largest probability and the class it belongs to, for every query image."""
    meta_learner.eval()
    parts = []
    with torch.no_grad():
        for at in range(task.n_tasks):
            one = task.slice(at, at + 1)
            outputs, *_ = meta_learner.answers(one, steps, seeded("check", at))
            parts.append(torch.softmax(meta_learner.pooled(outputs[steps], 1).double(), -1).max(-1))
    return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


@dataclass(frozen=True)
class Check:
    """What was predicted of held-out domains, and how it came out.

    Attributes:
        estimates: row -> domain -> ``[E]`` predicted accuracies, a fraction.
        scores: row -> what it really scored on the same episodes.
        reference: the row that stays if no other is predicted to be better.
    """

    estimates: Mapping[str, Mapping[str, np.ndarray]]
    scores: Mapping[str, DomainScores]
    reference: str

    def recommended(self) -> dict[str, str]:
        """Domain -> the row of the highest prediction over all its episodes; the reference where it is level."""
        domains = self.estimates[self.reference]
        rows = [self.reference, *(row for row in self.estimates if row != self.reference)]
        return {domain: max(rows, key=lambda row: float(self.estimates[row][domain].mean())) for domain in domains}

    def summary(self) -> dict[str, object]:
        """Plain numbers: per domain what was predicted and recommended; over all how often it was right."""
        hits: list[np.ndarray] = []
        followed: list[np.ndarray] = []
        always: dict[str, list[np.ndarray]] = {row: [] for row in self.estimates}
        base = self.scores[self.reference].accuracy
        for domain, truth in base.items():
            predicted = np.stack([self.estimates[row][domain] for row in always])
            real = np.stack([self.scores[row].accuracy[domain] for row in always])
            home = list(always).index(self.reference)
            predicted[home] += 1e-9  # where it is level, nothing is recommended
            for row, name in enumerate(always):
                always[name].append(real[row] - truth)
                if row != home:
                    told, came = predicted[row] - predicted[home], real[row] - real[home]
                    hits.append((told > 0)[came != 0] == (came > 0)[came != 0])
            followed.append(real[predicted.argmax(0), np.arange(real.shape[1])] - truth)
        right = np.concatenate(hits).astype(float) if hits else np.empty(0)
        return {
            "recommended": self.recommended(),
            "predicted": {
                row: {domain: Interval.of(100 * values).rounded() for domain, values in each.items()}
                for row, each in self.estimates.items()
            },
            "episodes_right": Interval.of(100 * right).rounded(),
            "gain_followed": Interval.of(100 * np.concatenate(followed)).rounded(),
            "gain_always": {name: Interval.of(100 * np.concatenate(gains)).rounded() for name, gains in always.items()},
            "domains_right": self._domains_right(),
        }

    def _domains_right(self) -> dict[str, int]:
        """Of the pairs of a row and a domain that really differ from the reference: how many were foretold."""
        right = total = 0
        for row, scores in self.scores.items():
            for domain, values in scores.accuracy.items():
                gap = paired(values, self.scores[self.reference].accuracy[domain])
                if row == self.reference or not abs(gap.mean) > gap.half_width:
                    continue
                told = self.estimates[row][domain].mean() - self.estimates[self.reference][domain].mean()
                total += 1
                right += int(bool(told > 0) == bool(gap.mean > 0))
        return {"right": right, "of": total}


def check_domains(
    rows: Mapping[str, tuple[MetaLearner, int]],
    scores: Mapping[str, DomainScores],
    data: DomainImages,
    sources: np.ndarray,
    held_out: np.ndarray,
    *,
    reference: str,
    shots: int,
    queries: int,
    episodes: int,
    seed: int = 0,
) -> Check:
    """Predicts every row's accuracy on held-out domains from the support images of the very episodes it was scored on.

    Args:
        rows: row -> meta-learner and adaptation steps.
        scores: row -> its scores.
        data: all domains.
        sources: numbers of the domains that were trained on.
        held_out: numbers of the domains that were scored.
        reference: row that stays where nothing better is foretold.
        shots: as in scoring.
        queries: as in scoring.
        episodes: as in scoring.
        seed: as in scoring.
    """
    estimates: dict[str, dict[str, np.ndarray]] = {}
    for name, (meta_learner, steps) in rows.items():
        half = max(1, shots // 2)
        threshold = source_threshold(meta_learner, data, sources, shots=half, steps=steps, seed=seed)
        estimates[name] = {}
        for number in held_out:
            tasks = DomainTasks(data, np.array([number]), "all", shots=shots, queries=queries)
            support = listed(tasks, 0, episodes, seed).support.images
            estimates[name][data.domain_names[number]] = np.array(
                [
                    estimated_accuracy(meta_learner, images, threshold, classes=tasks.n_classes, steps=steps)
                    for images in support
                ]
            )
    return Check(estimates, scores, reference)
