"""Training of a head on the features of frozen encoders: scores fall with what was done to a product.

All variants of a product share its content, and the loss takes out what they share, so the head learns what
damage looks like and not which products we happened to have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adgauge.training.data import Groups
from adgauge.training.losses import difference_loss, level_loss, ranking_loss
from adgauge.training.recipe import Optimization, Targets

COMBINATIONS = 4
"""Rows of a product in which picture and text are both damaged."""


@dataclass(frozen=True)
class Standardizer:
    """Features less their mean, by their standard deviation; folded into the head when it is trained."""

    mean: Tensor
    std: Tensor

    @staticmethod
    def of(groups: Groups) -> Standardizer:
        """Statistics over all variants; features that hardly vary are not blown up."""
        flat = torch.from_numpy(groups.features).flatten(0, 1)
        return Standardizer(flat.mean(0), flat.std(0).clamp_min(1e-2))

    def __call__(self, features: Tensor) -> Tensor:
        """Any [..., D]."""
        return (features - self.mean) / self.std


@dataclass(frozen=True)
class Variants:
    """Standardized features [G, N, D] and drops [G, N] of one modality."""

    features: Tensor
    drops: Tensor

    @staticmethod
    def of(groups: Groups, standardize: Standardizer) -> Variants:
        """Groups as training sees them."""
        features = standardize(torch.from_numpy(groups.features))
        return Variants(features, torch.from_numpy(groups.drops))

    def __getitem__(self, chosen: Tensor) -> Variants:
        return Variants(self.features[chosen], self.drops[chosen])

    def shifted(self, reach: float, noise: float) -> Variants:
        """Each group moved a random way towards another one, so that content tells nothing about damage."""
        towards = torch.randperm(len(self.features))
        share = reach * torch.rand(len(self.features), 1, 1)
        centre, drop = self.features.mean(1, keepdim=True), self.drops.mean(1, keepdim=True)
        shift = share * (centre[towards] - centre) + noise * torch.randn_like(centre)
        return Variants(self.features + shift, self.drops + share[..., 0] * (drop[towards] - drop))


def train_head(
    head: nn.Module,
    pictures: Variants,
    texts: Variants,
    no_image: Tensor,
    targets: Targets,
    optimization: Optimization,
) -> list[float]:
    """AdamW with a one-cycle schedule over the picture groups; returns the mean loss of each epoch."""
    size = min(optimization.groups_per_batch, len(pictures.features))
    steps = len(pictures.features) // size
    optimizer = torch.optim.AdamW(
        head.parameters(), optimization.learning_rate, weight_decay=optimization.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, optimization.learning_rate, total_steps=optimization.epochs * steps
    )
    head.train()
    losses = []
    for _ in range(optimization.epochs):
        total = 0.0
        for chosen in torch.randperm(len(pictures.features))[: steps * size].view(steps, size):
            paired = torch.randint(len(texts.features), (size,))
            features, drops = compose(pictures[chosen], texts[paired], no_image, targets, optimization)
            loss = _loss(head(features)[..., 0], targets.clean - targets.scale * drops, optimization)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
            total += loss.item()
        losses.append(total / steps)
    head.eval()
    return losses


def compose(
    pictures: Variants, texts: Variants, no_image: Tensor, targets: Targets, optimization: Optimization
) -> tuple[Tensor, Tensor]:
    """Joint features [G, R, I + T] and drops [G, R] of G products, each a picture group and a text group.

    The rows of a product: every picture with the clean text, every text with the clean picture, some pairs
    of both damaged, and the clean text without a picture. Drops add up.
    """
    pictures = pictures.shifted(optimization.picture_shift, optimization.shared_noise)
    texts = texts.shifted(optimization.text_shift, 0.0)
    looks, reads = pictures.drops.shape[1], texts.drops.shape[1]
    picture = torch.cat((torch.arange(looks), torch.zeros(reads), torch.randint(looks, (COMBINATIONS,))))
    text = torch.cat((torch.zeros(looks), torch.arange(reads), torch.randint(reads, (COMBINATIONS,))))
    picture, text = picture.long(), torch.cat((text, torch.zeros(1))).long()
    absent = no_image.expand(len(pictures.features), 1, -1)
    seen = nn.functional.dropout(pictures.features[:, picture], optimization.feature_dropout)
    read = nn.functional.dropout(texts.features[:, text], optimization.feature_dropout)
    lost = torch.full((len(pictures.drops), 1), targets.no_image)
    features = torch.cat((torch.cat((seen, absent), dim=1), read), dim=-1)
    return features, torch.cat((pictures.drops[:, picture], lost), dim=1) + texts.drops[:, text]


def _loss(scores: Tensor, targets: Tensor, optimization: Optimization) -> Tensor:
    return (
        difference_loss(scores, targets, optimization.smooth_beta)
        + optimization.level_weight * level_loss(scores, targets, optimization.smooth_beta)
        + optimization.ranking_weight * ranking_loss(scores, targets)
    )


@torch.no_grad()
def fold(head: nn.Module, standardize: Sequence[Standardizer]) -> None:
    """Make the head's first layer take raw features: W(x - mean)/std + b = (W/std)x + (b - (W/std)mean)."""
    first = next(module for module in head.modules() if isinstance(module, nn.Linear))
    first.weight.div_(torch.cat([scale.std for scale in standardize]))
    first.bias.sub_(first.weight @ torch.cat([scale.mean for scale in standardize]))
