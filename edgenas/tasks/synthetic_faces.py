"""Procedural faces: drawings with identity parameters that stay and nuisance parameters that change from image to image.

They rank networks as recognisers of unseen identities. A score on drawings is never a face accuracy.
Coordinates: x to the right and y down, -1..1 over the image; a face is about 1.2 wide and 1.6 high.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# name: (mean, deviation) of what makes a person.
IDENTITY: dict[str, tuple[float, float]] = {
    "face_width": (0.58, 0.045), "face_height": (0.76, 0.045), "jaw": (2.3, 0.3), "chin": (0.20, 0.07),
    "skin": (0.66, 0.12), "warmth": (0.10, 0.03), "cheek": (0.06, 0.04),
    "eye_distance": (0.26, 0.022), "eye_y": (-0.08, 0.03), "eye_size": (0.115, 0.013), "eye_shape": (0.52, 0.09),
    "eye_tilt": (0.0, 0.10), "iris": (0.25, 0.12),
    "brow_y": (-0.16, 0.02), "brow_size": (0.15, 0.02), "brow_thickness": (0.030, 0.009), "brow_tilt": (0.0, 0.13),
    "nose_length": (0.30, 0.035), "nose_width": (0.085, 0.017),
    "mouth_y": (0.42, 0.032), "mouth_width": (0.21, 0.028), "lips": (0.045, 0.011), "lip_tone": (0.16, 0.06),
    "hairline": (-0.50, 0.07), "hair": (0.30, 0.17), "hair_width": (1.10, 0.05), "beard": (0.0, 0.12),
}  # fmt: skip
# name: (mean, deviation) of what changes between two images of one person.
CONDITION: dict[str, tuple[float, float]] = {
    "yaw": (0.0, 0.20), "pitch": (0.0, 0.13), "roll": (0.0, 0.06), "zoom": (1.12, 0.03), "x": (0.0, 0.025), "y": (0.0, 0.025),
    "light": (0.0, 0.10), "light_y": (0.0, 0.06), "gain": (1.0, 0.11), "offset": (0.0, 0.03), "background": (0.5, 0.22),
    "smile": (0.02, 0.025), "mouth_open": (0.0, 0.02), "blink": (0.0, 0.11), "brow_raise": (0.0, 0.011),
    "noise": (0.022, 0.01), "blur": (0.0, 1.0), "cover": (0.0, 1.0), "cover_x": (0.0, 0.5), "cover_y": (0.0, 0.5),
    "cover_tone": (0.4, 0.25),
}  # fmt: skip
COVERED = 1.0  # the "cover" above which a bar hides part of the face: about 16 % of the images
CHUNK = 256  # images rendered at a time

Parameters = dict[str, Tensor]  # name -> (N, 1, 1)


def draw_faces(
    people: int, each: int, side: int, channels: int, seed: int, device: str | torch.device = "cpu"
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """((people * each, side, side, channels) images, identity of every image); equal arguments give equal faces on a device."""
    generator = torch.Generator().manual_seed(seed)
    identity = _drawn(IDENTITY, people, generator)
    condition = _drawn(CONDITION, people * each, generator)
    labels = np.repeat(np.arange(people), each)
    images = np.empty((people * each, side, side, channels), np.uint8)
    for rows, rendered in _chunks(identity, condition, labels, side, channels, seed, torch.device(device)):
        images[rows] = rendered.permute(0, 2, 3, 1).cpu().numpy()  # (n, C, S, S) -> (n, S, S, C)
    return images, labels


def _drawn(table: dict[str, tuple[float, float]], count: int, generator: torch.Generator) -> Tensor:
    """(count, parameters): normal, cut at two and a half deviations."""
    mean, deviation = torch.tensor(list(table.values())).T
    drawn: Tensor = mean + deviation * torch.randn(count, len(table), generator=generator).clamp(-2.5, 2.5)
    return drawn


def _chunks(
    identity: Tensor,
    condition: Tensor,
    labels: NDArray[np.int64],
    side: int,
    channels: int,
    seed: int,
    device: torch.device,
) -> Iterator[tuple[slice, Tensor]]:
    noise = torch.Generator(device).manual_seed(seed + 1)
    for start in range(0, len(labels), CHUNK):
        rows = slice(start, min(start + CHUNK, len(labels)))
        who = identity[torch.from_numpy(labels[rows])].to(device)
        yield rows, render(_named(IDENTITY, who), _named(CONDITION, condition[rows].to(device)), side, channels, noise)


def _named(table: dict[str, tuple[float, float]], values: Tensor) -> Parameters:
    return {name: values[:, column, None, None] for column, name in enumerate(table)}


def render(who: Parameters, how: Parameters, side: int, channels: int, noise: torch.Generator) -> Tensor:
    """(N, channels, side, side) uint8 on the parameters' device."""
    device = who["skin"].device
    axis = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
    sheet = Sheet(axis[None, None, :], axis[None, :, None], how, side, channels)
    skin = (who["skin"] + who["warmth"], who["skin"], who["skin"] - who["warmth"])
    _draw_head(sheet, who, skin)
    _draw_eyes(sheet, who, how, skin)
    _draw_nose(sheet, who, skin)
    _draw_mouth(sheet, who, how, skin)
    canvas = _photographed(sheet.canvas, sheet, how, noise)
    return (255 * canvas.clamp(0, 1)).round().to(torch.uint8)


Colour = tuple[Tensor, Tensor, Tensor]


class Sheet:
    """A canvas (N, C, S, S) in the face's own coordinates: posed, then painted part by part."""

    def __init__(self, x: Tensor, y: Tensor, how: Parameters, side: int, channels: int) -> None:
        self.raw_x, self.raw_y, self.channels = x, y, channels
        self.sharpness = 0.7 * side
        cos, sin = torch.cos(how["roll"]), torch.sin(how["roll"])
        x, y = (x - how["x"]) / how["zoom"], (y - how["y"]) / how["zoom"]
        self.x = (cos * x + sin * y) / torch.cos(how["yaw"])  # (N, S, S); a turned head is narrower
        self.y = (cos * y - sin * x) / torch.cos(how["pitch"])
        self.yaw, self.pitch = how["yaw"], how["pitch"]
        self.canvas = how["background"][:, None].expand(-1, channels, *self.x.shape[1:]).clone()

    def at(self, x: Tensor | float, y: Tensor | float, depth: float) -> tuple[Tensor, Tensor]:
        """Coordinates relative to a part; parts that stand out (depth) move most when the head turns."""
        return self.x - x - depth * torch.sin(self.yaw), self.y - y - depth * torch.sin(self.pitch)

    def ellipse(self, x: Tensor, y: Tensor, a: Tensor, b: Tensor, power: Tensor | float = 2.0) -> Tensor:
        """Soft mask (N, S, S) of |x/a|^p + |y/b|^p < 1."""
        reach = ((x / a).abs().clamp_min(1e-4) ** power + (y / b).abs().clamp_min(1e-4) ** power) ** (1 / power)
        inside = torch.sigmoid((1 - reach) * torch.minimum(a, b) * self.sharpness)
        return inside * torch.sigmoid((1.1 * a - x.abs()) * self.sharpness)  # thin shapes end where they should

    def paint(self, mask: Tensor, colour: Colour) -> None:
        red, green, blue = colour
        if self.channels == 1:
            inks = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]  # (N, 1, ., .)
        else:
            inks = torch.stack([part.expand_as(red) for part in (red, green, blue)], 1)
        self.canvas = torch.lerp(self.canvas, inks.expand_as(self.canvas), mask[:, None])


def _draw_head(sheet: Sheet, who: Parameters, skin: Colour) -> None:
    width, height = who["face_width"], who["face_height"]
    hair = (who["hair"] * 1.05, who["hair"] * 0.95, who["hair"] * 0.85)
    x, y = sheet.at(0.0, -0.12, -0.1)
    sheet.paint(sheet.ellipse(x, y, width * who["hair_width"], height * 0.96), hair)
    x, y = sheet.at(0.0, 0.0, 0.0)
    narrowed = x / (1 - who["chin"] * (y / height).clamp(0, 1.2))  # cheeks run together towards the chin
    face = sheet.ellipse(narrowed, y, width, height, who["jaw"])
    below_hair = torch.sigmoid((y - who["hairline"] + 0.25 * (x / width) ** 2) * sheet.sharpness)
    sheet.paint(face * below_hair, skin)
    for side in (-1, 1):
        x, y = sheet.at(side * 0.32, 0.18, 0.1)
        shade = torch.exp(-(x**2 + y**2) / 0.03) * face
        sheet.paint(shade * who["cheek"].clamp_min(0) * 4, _scaled(skin, 0.8))
    x, y = sheet.at(0.0, 0.62, 0.15)
    stubble = face * torch.sigmoid((y + 0.28 - 0.5 * (x / width) ** 2) * 12)
    sheet.paint(stubble * who["beard"].clamp(0, 0.3) * 3, hair)


def _draw_eyes(sheet: Sheet, who: Parameters, how: Parameters, skin: Colour) -> None:
    size = who["eye_size"]
    opening = size * who["eye_shape"] * (1 - how["blink"].abs()).clamp_min(0.15)
    hair = _scaled((who["hair"],) * 3, 0.8)
    for side in (-1, 1):
        x, y = sheet.at(side * who["eye_distance"], who["eye_y"], 0.2)
        y = y + side * x * who["eye_tilt"]
        white = sheet.ellipse(x, y, size, opening)
        sheet.paint(sheet.ellipse(x, y, size * 1.25, opening * 1.5), _scaled(skin, 0.85))
        sheet.paint(white, (0.93 + 0 * size,) * 3)
        iris = sheet.ellipse(x, y, size * 0.48, size * 0.48) * white
        sheet.paint(iris, (who["iris"], who["iris"] * 1.1, who["iris"] * 1.3))
        sheet.paint(sheet.ellipse(x, y, size * 0.2, size * 0.2) * white, (0.05 + 0 * size,) * 3)
        x, y = sheet.at(side * who["eye_distance"], who["eye_y"] + who["brow_y"] - how["brow_raise"], 0.2)
        y = y - side * x * who["brow_tilt"] + 1.2 * x**2
        sheet.paint(sheet.ellipse(x, y, who["brow_size"], who["brow_thickness"], 3.0), hair)


def _draw_nose(sheet: Sheet, who: Parameters, skin: Colour) -> None:
    tip = who["eye_y"] + who["nose_length"]
    x, y = sheet.at(0.0, tip - 0.12, 0.3)
    sheet.paint(0.5 * sheet.ellipse(x, y, who["nose_width"] * 0.5, who["nose_length"] * 0.5), _scaled(skin, 1.12))
    x, y = sheet.at(0.0, tip, 0.38)
    sheet.paint(0.7 * sheet.ellipse(x, y, who["nose_width"], who["nose_width"] * 0.55), _scaled(skin, 0.84))
    for side in (-1, 1):
        x, y = sheet.at(side * who["nose_width"] * 0.5, tip + 0.015, 0.38)
        sheet.paint(sheet.ellipse(x, y, who["nose_width"] * 0.22, who["nose_width"] * 0.16), _scaled(skin, 0.35))


def _draw_mouth(sheet: Sheet, who: Parameters, how: Parameters, skin: Colour) -> None:
    x, y = sheet.at(0.0, who["mouth_y"], 0.24)
    width = who["mouth_width"] * (1 + how["smile"])
    y = y + how["smile"] * (2 * (x / width) ** 2 - 1)
    gap = how["mouth_open"].clamp_min(0)
    lips = (skin[0] - 0.3 * who["lip_tone"], skin[1] - who["lip_tone"], skin[2] - who["lip_tone"])
    sheet.paint(sheet.ellipse(x, y, width, who["lips"] + gap), lips)
    sheet.paint(sheet.ellipse(x, y, width * 0.92, 0.008 + gap), _scaled(lips, 0.4))


def _photographed(canvas: Tensor, sheet: Sheet, how: Parameters, noise: torch.Generator) -> Tensor:
    """Light, a bar in front, blur and sensor noise over the canvas (N, C, S, S)."""
    light = 1 + how["light"] * sheet.raw_x * 1.5 + how["light_y"] * sheet.raw_y * 1.5
    canvas = canvas * (how["gain"] * light)[:, None] + how["offset"][:, None]
    hidden = torch.sigmoid((0.16 - (sheet.raw_y - how["cover_y"]).abs()) * sheet.sharpness)
    hidden = hidden * torch.sigmoid((0.45 - (sheet.raw_x - how["cover_x"]).abs()) * sheet.sharpness)
    hidden = hidden * (how["cover"] > COVERED)
    canvas = torch.lerp(canvas, how["cover_tone"][:, None].expand_as(canvas), hidden[:, None])
    softer = torch.nn.functional.avg_pool2d(canvas, 3, stride=1, padding=1, count_include_pad=False)
    canvas = torch.lerp(canvas, softer, how["blur"].abs().clamp(0, 1)[:, None])
    speckle = torch.randn(canvas.shape, generator=noise, device=canvas.device)
    return canvas + how["noise"].abs()[:, None] * speckle


def _scaled(colour: tuple[Tensor, ...], factor: float) -> Colour:
    red, green, blue = (part * factor for part in colour)
    return red, green, blue
