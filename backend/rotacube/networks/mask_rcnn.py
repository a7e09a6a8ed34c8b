"""Mask R-CNN, the papers' comparison that finds objects instead of labelling pixels.

Source: He et al. 2017, with the feature pyramid of Lin et al. 2017: regions are proposed from anchors on the maps at
strides 4 to 32, each is classified and corrected from 7 x 7 cells, and its mask is drawn from 14 x 14. On ResNet-50 it
has the 44 M parameters of the Cube Kernel paper's table 3; on EfficientNet-Lite0 it can start from ImageNet weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rotacube.networks.boxes import areas, changed, changes, cut_out, overlap, suppressed, within
from rotacube.networks.deeplab import ResNet50
from rotacube.networks.layers import resized
from rotacube.networks.lite_unet import LiteUNet

STRIDES = (4, 8, 16, 32)
SIDES = (24, 48, 96, 192)
"""Pixels of a square anchor at each stride: roofs of 4 to 30 m at 0.15 m."""
RATIOS = (0.5, 1.0, 2.0)
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""Of a box's changes in the second stage."""
CELLS, MASK_CELLS = 7, 14
Losses = dict[str, Tensor]


class Objects(NamedTuple):
    """What is found on an image: boxes (N, 4), their scores (N,), best first, and masks (N, 28, 28) as chances."""

    boxes: Tensor
    scores: Tensor
    masks: Tensor

    def ids(self, height: int, width: int, threshold: float = 0.5) -> Tensor:
        """The objects on the image: (height, width) int32, a number an object, 0 elsewhere.

        Better ones lie on top; one of which they leave less than half is none (as Kirillov et al. 2019 put objects
        together).
        """
        ids = torch.zeros(height, width, dtype=torch.int32)
        for number in range(1, len(self.boxes) + 1):
            box, mask = self.boxes[number - 1], self.masks[number - 1]
            left, top = (max(0, int(v)) for v in box[:2].floor())
            right, bottom = min(width, int(box[2].ceil())), min(height, int(box[3].ceil()))
            if right <= left or bottom <= top:
                continue
            side = (box[2:] - box[:2]).clamp(min=1e-3)
            x = 2 * (torch.arange(left, right) + 0.5 - box[0]) / side[0] - 1
            y = 2 * (torch.arange(top, bottom) + 0.5 - box[1]) / side[1] - 1
            grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], -1)[None]
            drawn = F.grid_sample(mask[None, None].float(), grid, padding_mode="border", align_corners=False)[0, 0]
            own, window = drawn > threshold, ids[top:bottom, left:right]
            free = own & (window == 0)
            if free.sum() >= 0.5 * own.sum():
                window[free] = number
        return ids


class Pyramid(nn.Module):
    """Maps of equal width at strides 4 to 32, coarse ones added to fine ones."""

    def __init__(self, inputs: Sequence[int], width: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(n, width, 1) for n in inputs)
        self.smooth = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in inputs)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Join the backbone's maps, fine to coarse."""
        joined = [lateral(part) for lateral, part in zip(self.lateral, maps, strict=True)]
        for finer in range(len(joined) - 2, -1, -1):
            joined[finer] = joined[finer] + resized(joined[finer + 1], joined[finer].shape[2:])
        return [smooth(part) for smooth, part in zip(self.smooth, joined, strict=True)]


class MaskRCNN(nn.Module):
    """Finds objects of one class.

    Args:
        bands: input bands.
        backbone: "resnet50" as in the paper's comparison, or "lite".
        width: channels of the pyramid.
        hidden: of the second stage.
    """

    stride = 32

    def __init__(
        self,
        bands: int,
        *,
        backbone: Literal["resnet50", "lite"] = "resnet50",
        width: int = 256,
        hidden: int = 1024,
    ) -> None:
        super().__init__()
        if backbone == "lite":
            self.lite = LiteUNet(bands, 1)
            self.lite.decoder, self.lite.head = nn.ModuleList(), nn.Identity()
            inputs = [24, 40, 112, 320]
        else:
            self.resnet = ResNet50(bands, (64, 128, 256, 512), dilated=False)
            inputs = [256, 512, 1024, 2048]
        self.backbone = backbone
        self.pyramid = Pyramid(inputs, width)
        self.propose = nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.ReLU())
        self.objectness = nn.Conv2d(width, len(RATIOS), 1)
        self.moves = nn.Conv2d(width, 4 * len(RATIOS), 1)
        self.second = nn.Sequential(
            nn.Flatten(), nn.Linear(width * CELLS**2, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.score, self.correct = nn.Linear(hidden, 1), nn.Linear(hidden, 4)
        draw: list[nn.Module] = []
        for _ in range(4):
            draw += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.draw = nn.Sequential(*draw, nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU(), nn.Conv2d(width, 1, 1))
        for layer in (self.objectness, self.moves, self.score, self.correct):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def maps(self, images: Tensor) -> list[Tensor]:
        """The pyramid (B, width, H / stride, W / stride) at each of `STRIDES`.

        Raises:
            ValueError: height or width is no multiple of 32.
        """
        height, width = images.shape[2:]
        if height % self.stride or width % self.stride:
            raise ValueError(f"This network takes a multiple of {self.stride} pixels a side, not {height} x {width}.")
        found = self.lite.encode(images)[1:] if self.backbone == "lite" else self.resnet.every(images)
        pyramid: list[Tensor] = self.pyramid(found)
        return pyramid

    def forward(self, images: Tensor, *, most: int = 300, score: float = 0.3, same: float = 0.5) -> list[Objects]:
        """Find objects.

        Args:
            images: (B, bands, H, W).
            most: objects an image.
            score: of the least sure one.
            same: two boxes that overlap by more are one object.
        """
        pyramid = self.maps(images)
        anchors, chances, moves = self._proposals(pyramid)
        found = []
        for image in range(len(images)):
            boxes = self._best(anchors, chances[image], moves[image], images.shape[2:], 4 * most, most * 2)
            owners = torch.full((len(boxes),), image, device=boxes.device)
            hidden = self.second(self._cells(pyramid, boxes, owners, CELLS))
            scores = self.score(hidden)[:, 0].float().sigmoid()
            boxes = within(changed(boxes, self.correct(hidden).float(), WEIGHTS), *images.shape[2:])
            sure = (scores >= score) & (areas(boxes) >= 4)
            boxes, scores = boxes[sure], scores[sure]
            kept = suppressed(boxes, scores, same)[:most]
            boxes, scores = boxes[kept], scores[kept]
            masks = self.draw(self._cells(pyramid, boxes, owners[: len(boxes)], MASK_CELLS))[:, 0]
            found.append(Objects(boxes, scores, masks.float().sigmoid()))
        return found

    def losses(self, images: Tensor, objects: Sequence[tuple[Tensor, Tensor]]) -> Losses:
        """What training minimises: of proposals "objectness" and "moves", of regions "score", "correct" and "draw".

        Args:
            images: (B, bands, H, W).
            objects: of each image boxes (N, 4) and masks (N, H, W), 0 or 1.
        """
        pyramid = self.maps(images)
        anchors, chances, moves = self._proposals(pyramid)
        total: dict[str, list[Tensor]] = {name: [] for name in ("objectness", "moves", "score", "correct", "draw")}
        for image, (boxes, masks) in enumerate(objects):
            own, shift = chances[image], moves[image]
            matched, best = _match(anchors, boxes, 0.3, 0.6, force=True)
            chosen = _sample(matched, 256, 0.5)
            hit = chosen & (matched == 1)
            total["objectness"].append(F.binary_cross_entropy_with_logits(own[chosen], matched[chosen].float()))
            total["moves"].append(_pull(shift[hit], boxes, best[hit], anchors[hit], (1, 1, 1, 1), int(chosen.sum())))
            with torch.no_grad():
                regions = self._best(anchors, own, shift, images.shape[2:], 1000, 500)
                regions = torch.cat([regions, boxes])
                matched, best = _match(regions, boxes, 0.5, 0.5, force=False)
                chosen = _sample(matched, 128, 0.25)
                regions, matched, best = regions[chosen], matched[chosen], best[chosen]
            owners = torch.full((len(regions),), image, device=images.device)
            hidden = self.second(self._cells(pyramid, regions, owners, CELLS))
            score = self.score(hidden)[:, 0].float()
            total["score"].append(F.binary_cross_entropy_with_logits(score, matched.float()))
            hit = matched == 1
            total["correct"].append(
                _pull(self.correct(hidden).float()[hit], boxes, best[hit], regions[hit], WEIGHTS, len(regions))
            )
            drawn = self.draw(self._cells(pyramid, regions[hit], owners[hit], MASK_CELLS))[:, 0].float()
            if len(drawn):
                rows = torch.arange(len(drawn), device=drawn.device)
                truth = cut_out(masks[best[hit]][:, None].float(), regions[hit], rows, drawn.shape[-1], 1)[:, 0]
                total["draw"].append(F.binary_cross_entropy_with_logits(drawn, (truth > 0.5).float()))
            else:
                total["draw"].append(drawn.sum())
        return {name: torch.stack(parts).mean() for name, parts in total.items()}

    def _proposals(self, pyramid: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Anchors (A, 4), their logits (B, A) and changes (B, A, 4), of all levels."""
        anchors, chances, moves = [], [], []
        for level, stride, side in zip(pyramid, STRIDES, SIDES, strict=True):
            seen = self.propose(level)
            batch, _, height, width = level.shape
            chances.append(self.objectness(seen).float().permute(0, 2, 3, 1).reshape(batch, -1))
            moves.append(self.moves(seen).float().permute(0, 2, 3, 1).reshape(batch, -1, 4))
            anchors.append(_anchors(height, width, stride, side, level.device))
        return torch.cat(anchors), torch.cat(chances, 1), torch.cat(moves, 1)

    @staticmethod
    @torch.no_grad()
    def _best(anchors: Tensor, chances: Tensor, moves: Tensor, size: Sequence[int], before: int, most: int) -> Tensor:
        """The likeliest regions (N, 4), `most` at the end, out of the `before` likeliest anchors."""
        first = chances.topk(min(before, len(chances))).indices
        boxes = within(changed(anchors[first], moves[first]), size[0], size[1])
        large = areas(boxes) >= 4
        boxes, scores = boxes[large], chances[first][large]
        return boxes[suppressed(boxes, scores, 0.7)[:most]]

    @staticmethod
    def _cells(pyramid: Sequence[Tensor], boxes: Tensor, owners: Tensor, size: int) -> Tensor:
        """What lies under boxes, each on the level whose anchors are as large as it is."""
        side = areas(boxes).clamp(min=1).sqrt()
        level = (side / SIDES[0]).log2().round().clamp(0, len(STRIDES) - 1).long()
        found = pyramid[0].new_zeros(len(boxes), pyramid[0].shape[1], size, size)
        for number, (part, stride) in enumerate(zip(pyramid, STRIDES, strict=True)):
            here = level == number
            if here.any():
                found[here] = cut_out(part, boxes[here], owners[here], size, stride)
        return found


def _anchors(height: int, width: int, stride: int, side: int, device: torch.device) -> Tensor:
    """(height * width * ratios, 4), in the order of a map's pixels."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    middle = (torch.stack([x, y], -1) + 0.5) * stride
    half = torch.tensor([[side * ratio**0.5, side / ratio**0.5] for ratio in RATIOS]) / 2
    low, high = middle[:, :, None] - half, middle[:, :, None] + half
    return torch.cat([low, high], -1).reshape(-1, 4).to(device)


def _match(boxes: Tensor, truth: Tensor, low: float, high: float, *, force: bool) -> tuple[Tensor, Tensor]:
    """1 for boxes that overlap a true one by `high`, 0 for those under `low`, -1 between; and which true one it is.

    With `force` the boxes that overlap a true one best are matched to it however little that is.
    """
    matched = torch.zeros(len(boxes), dtype=torch.long, device=boxes.device)
    if not len(truth):
        return matched, matched
    shares = overlap(boxes, truth)
    most, best = shares.max(1)
    matched[most >= low] = -1
    matched[most >= high] = 1
    if force:
        own = (shares == shares.amax(0)) & (shares > 0)
        matched[own.any(1)] = 1
        best = torch.where(own.any(1), own.float().argmax(1), best)
    return matched, best


def _sample(matched: Tensor, count: int, share: float) -> Tensor:
    """A random choice of `count` at most, of which the hits are `share` at most."""
    chosen = torch.zeros(len(matched), dtype=torch.bool, device=matched.device)
    hits, others = (torch.nonzero(matched == value)[:, 0] for value in (1, 0))
    hits = hits[torch.randperm(len(hits), device=hits.device)[: int(count * share)]]
    others = others[torch.randperm(len(others), device=others.device)[: count - len(hits)]]
    chosen[torch.cat([hits, others])] = True
    return chosen


def _pull(found: Tensor, truth: Tensor, which: Tensor, anchors: Tensor, weights: Sequence[float], count: int) -> Tensor:
    """Smooth L1 of changes to those that would bring anchors to the true boxes."""
    if not len(found):
        return found.sum()
    wanted = changes(truth[which], anchors, weights)
    return F.smooth_l1_loss(found, wanted, beta=1 / 9, reduction="sum") / max(1, count)
