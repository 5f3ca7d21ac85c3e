"""Decide by colour what the network leaves undecided on a plain background, such as a paper sweep in a shop's studio.

Where the background is plain, its colour at every place is known from the pixels around the object. A broad area of
which the network is not sure is then background if it has just that colour (what shows between a parachute's lines),
and object if it is neither that colour nor a shadow on it (a peacock's tail). Edges, hair and thin parts are never
broad, so they stay as the network and the edge head have them, and so do pictures whose background is not plain.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.models.islands import CLEAR
from inference.neighbourhoods import covered, local_mean, mean_around, widest

UNDECIDED = 2.1875
"""A pixel is undecided where its logit is nearer to 0: where alpha is between 0.1 and 0.9."""
BROAD = 2
"""An undecided area is broad where a square of twice this and a pixel, of the coarse matte's, fits into it."""
BACKGROUND, AROUND = -4.0, 2
"""A pixel is sure background where no logit up to so many pixels away reaches this, an alpha of 0.02."""
CELL, REACH = 4, 17
"""The background's colour is averaged over cells of this side, and over this many cells across."""
MATCHES, PLAIN = 0.02, 0.85
"""A background is plain if this part of its sure pixels differs by less than this, of 0..1, from its local colour."""
ENOUGH = 0.15
"""The least part of a picture that must be sure background."""
SAME = 0.04
"""Largest difference from the local background's colour, of 0..1, at which an undecided area is cleared."""
KEPT, RAISED = 1.375, -0.875
"""Pixels with a logit above the first (alpha 0.8) are not cleared, and those below the second (0.3) not filled."""
TINTED, DARK, DARKER, TEXTURED = 0.12, 0.3, 0.25, 0.06
"""What no shadow does to a background: another tint, of 0..1; less than this part of its light, if that is darker by at
least the third number; this contrast."""
FILLED = 4.0
"""The least logit of what is filled: alpha 0.98."""


def decide_by_background(logits: Tensor, batch: Tensor, one_by_one: bool) -> Tensor:
    """Clear or fill broad undecided areas of logits B x 1 x h x w, for pictures B x 3 x 2h x 2w in 0..1.

    Returns logits of the same shape and type. `one_by_one` is for a CPU: the logits are changed in place, and pictures
    without such areas cost a fraction of a millisecond. Else all pictures take the same few launches, and nothing
    waits for the device.
    """
    undecided = logits.abs() < UNDECIDED
    if not one_by_one:
        return _decided(logits, batch, undecided.float(), pooled=True)
    blocks = F.avg_pool2d(undecided.float(), BROAD + 1)  # a square that fits somewhere covers one of these blocks
    for index in (blocks.flatten(1).amax(1) == 1).nonzero().flatten().tolist():
        one = slice(index, index + 1)
        logits[one] = _decided(logits[one], batch[one], undecided[one].float(), pooled=False)
    return logits


def _decided(logits: Tensor, batch: Tensor, undecided: Tensor, pooled: bool) -> Tensor:
    broad = widest(covered(undecided, BROAD, pooled), BROAD, pooled) == 1
    picture = F.avg_pool2d(batch.float(), 2)
    sure = (widest(logits, AROUND, pooled) < BACKGROUND).float()
    behind = local_background(picture, sure, pooled)
    brighter = picture - behind
    difference = brighter.abs().amax(1, keepdim=True)
    count = sure.sum((1, 2, 3), keepdim=True)
    matching = ((difference < MATCHES) * sure).sum((1, 2, 3), keepdim=True)
    ours = broad & (count > ENOUGH * sure[0].numel()) & (matching > PLAIN * count)
    if not pooled and not ours.any():
        return logits
    same = torch.maximum(difference, mean_around(difference, 1, pooled)) < SAME
    cleared = ours & same & (logits < KEPT)
    filled = ours & (difference > SAME) & (logits > RAISED) & no_shadow(picture, behind, brighter, pooled)
    return torch.where(filled, logits.clamp(min=FILLED), logits).masked_fill_(cleared, CLEAR)


def local_background(picture: Tensor, sure: Tensor, pooled: bool) -> Tensor:
    """The mean colour of sure background near every pixel, B x 3 x h x w; far from all of it the picture's own mean."""
    cells = F.avg_pool2d(torch.cat((sure, sure * picture), 1), CELL)
    far = 0.02  # what the whole picture's mean counts beside a neighbourhood that is all background
    sums = local_mean(cells, REACH, pooled).add_(cells.mean((2, 3), keepdim=True), alpha=far)
    mean = sums[:, 1:] / (sums[:, :1] + 1e-6)
    return F.interpolate(mean, size=picture.shape[-2:], mode="bilinear", align_corners=False)


def no_shadow(picture: Tensor, behind: Tensor, brighter: Tensor, pooled: bool) -> Tensor:
    """Where the picture is not the background in less light: tinted, too dark, or textured; B x 1 x h x w, bool.

    `brighter` is the difference of the two.
    """
    light = (picture * behind).sum(1, keepdim=True) / (behind * behind).sum(1, keepdim=True).clamp_(min=1e-4)
    dark = (light < DARK) & (brighter.amin(1, keepdim=True) < -DARKER)  # on black, a ratio says nothing
    tint = torch.addcmul(picture, light.clamp(0, 1.1), behind, value=-1).square_().sum(1, keepdim=True)
    grey = picture.mean(1, keepdim=True)
    mean, squares = mean_around(torch.cat((grey, grey * grey), 1), 2, pooled).chunk(2, 1)
    # The least contrast all around, with its sign turned: the contrast of an edge reaches two pixels to each side.
    smoothest = widest(mean * mean - squares, 2, pooled)
    return (tint > TINTED**2) | dark | (smoothest < -(TEXTURED**2))
