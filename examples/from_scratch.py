"""The idea of the library in a hundred lines of torch: a generator writes a classifier's weights from a few images.

    sample tasks -> train the generator -> a new task -> it writes the start and the step sizes -> a few steps -> score

Tasks are 3-way 1-shot on scikit-learn's handwritten digits. The generator is trained on the digits 0 to 6, each also
mirrored and turned (56 classes), and scored on 7, 8 and 9. Takes under half a minute on one core.
"""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

WAYS, SHOTS, QUERIES, INNER_STEPS = 3, 1, 5, 3


def classes(digits: list[int], symmetries: bool) -> list[torch.Tensor]:
    """Images [n 1 8 8] of every class; a mirrored or turned digit counts as a class of its own."""
    images, labels = load_digits().images / 16, load_digits().target
    found = []
    for digit in digits:
        own = torch.tensor(images[labels == digit], dtype=torch.float32)[:, None]
        for turn in range(4 if symmetries else 1):
            found.append(own.rot90(turn, (2, 3)))
            if symmetries:
                found.append(own.rot90(turn, (2, 3)).flip(3))
    return found


def sample(source: list[torch.Tensor], rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """A task: support images [K*S 1 8 8] and query images [K*Q 1 8 8], class by class."""
    chosen = [source[int(k)] for k in torch.randperm(len(source), generator=rng)[:WAYS]]
    drawn = [own[torch.randperm(len(own), generator=rng)[: SHOTS + QUERIES]] for own in chosen]
    return torch.cat([d[:SHOTS] for d in drawn]), torch.cat([d[SHOTS:] for d in drawn])


class Learner(nn.Module):
    """The network whose classifier is written: images to features of length 1."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1), nn.GroupNorm(8, width), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(4 * width, width),
        )  # fmt: skip

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return F.normalize(self.net(images), dim=-1)


class Generator(nn.Module):
    """Writes, for each class, its row of weights θ₀ and a step size for every one of them, from its mean feature.

    One function writes every row, so the classes' order and number do not matter.
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2 * width, 64), nn.GELU(), nn.Linear(64, 2 * width))
        self.temperature = nn.Parameter(torch.tensor(10.0))
        nn.init.zeros_(self.net[-1].weight)  # begins as a prototype classifier with equal step sizes
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = features.unflatten(0, (WAYS, SHOTS)).mean(1)
        context = torch.cat([means, means.mean(0).expand_as(means)], -1)
        correction, log_steps = self.net(context).chunk(2, -1)
        return self.temperature * (means + correction), log_steps.exp()


def adapt(rows: torch.Tensor, step_sizes: torch.Tensor, features: torch.Tensor, steps: int) -> list[torch.Tensor]:
    """θ_{j+1} = θ_j − α ⊙ ∇L_S(θ_j), differentiable; the whole way θ₀ … θ_steps."""
    targets, way = torch.arange(WAYS).repeat_interleave(SHOTS), [rows]
    for _ in range(steps):
        rows = way[-1] if way[-1].requires_grad else way[-1].requires_grad_()
        loss = F.cross_entropy(features @ rows.T, targets)
        way.append(rows - step_sizes * torch.autograd.grad(loss, rows, create_graph=True)[0])
    return way


def main() -> None:
    rng = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    train, test = classes([0, 1, 2, 3, 4, 5, 6], symmetries=True), classes([7, 8, 9], symmetries=False)
    learner, generator = Learner(), Generator()
    optimiser = torch.optim.Adam([*learner.parameters(), *generator.parameters()], lr=3e-3)
    targets = torch.arange(WAYS).repeat_interleave(QUERIES)
    for step in range(400):  # meta-training: the query loss after adaptation trains the generator
        loss = torch.zeros(())
        for _ in range(4):
            support, query = sample(train, rng)
            features, asked = learner(torch.cat([support, query])).split([len(support), len(query)])
            rows = adapt(*generator(features), features, INNER_STEPS)[-1]
            loss = loss + F.cross_entropy(asked @ rows.T, targets) / 4
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 100 == 0:
            print(f"meta-step {step:3}  query loss {loss.item():.3f}")
    right = {"generated start": torch.zeros(INNER_STEPS + 1), "zero start": torch.zeros(INNER_STEPS + 1)}
    for _ in range(300):  # meta-testing: digits never seen in training
        support, query = sample(test, rng)
        features, asked = learner(support).detach(), learner(query).detach()
        rows, step_sizes = (written.detach() for written in generator(features))
        for name, start in (("generated start", rows), ("zero start", torch.zeros_like(rows))):
            way = adapt(start, step_sizes, features, INNER_STEPS)
            right[name] += torch.stack([((asked @ rows.T).argmax(1) == targets).float().mean() for rows in way]) / 300
    for name, accuracies in right.items():
        print(f"{name:16}", "  ".join(f"{k} steps: {100 * a:.1f} %" for k, a in enumerate(accuracies.tolist())))


if __name__ == "__main__":
    main()
