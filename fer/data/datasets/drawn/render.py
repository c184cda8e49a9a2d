"""Draws cartoon faces whose expressions follow from facial action units.

Coordinates of a face: x to the viewer's right, y down, z towards the viewer; a face is about 1 wide from its middle and
reaches from y = -1.35 to 1.2. Numbers given to `act` are action units; `actions` beside this module names their source.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from fer.data.datasets.drawn.actions import Color, Identity, Scene, blend, random_color, shade

_Array = npt.NDArray[np.float64]
_Points = list[tuple[float, float]]

_SUPERSAMPLING = 2
_DEPTH = 1.1  # A head is deeper than wide.
_ACROSS = np.linspace(-1.0, 1.0, 13)
_ARC = np.sqrt(1 - _ACROSS**2)
_TURN = np.linspace(0.0, 2 * np.pi, 13)
_COS, _SIN = np.cos(_TURN), np.sin(_TURN)
_DOWN = np.sin(np.linspace(-0.5, 0.5, 29) * np.pi)


def render(
    who: Identity, actions: Mapping[int, float], scene: Scene, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Draw one face.

    Args:
        who: The person.
        actions: Intensity in [0, 1] by action unit; absent units rest.
        scene: Pose, light and surroundings.
        size: Width and height in pixels.
        rng: Source of the noise and of the background's blobs.

    Returns:
        An RGB picture of `size`.
    """
    big = Image.new("RGB", (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), scene.background)
    face = _Face(ImageDraw.Draw(big), big.size, who, scene, actions)
    _draw_background(face, rng)
    _draw_head(face)
    _draw_wrinkles(face)
    for side in (-1, 1):
        _draw_eye(face, side)
        _draw_brow(face, side)
    _draw_mouth(face)
    _draw_nose(face)
    _draw_hair(face)
    return _develop(big.reduce(_SUPERSAMPLING), scene, rng)


class _Face:
    """A head's surface, the actions on it and the canvas it is drawn on."""

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        size: tuple[int, int],
        who: Identity,
        scene: Scene,
        actions: Mapping[int, float],
    ) -> None:
        self.canvas, self.size, self.who, self.scene, self.actions = canvas, size, who, scene, actions
        short = min(size)
        self.unit = scene.unit * short
        self.middle = (size[0] / 2 + scene.shift[0] * short, size[1] / 2 + scene.shift[1] * short)
        yaw, self.pitch, roll = (math.radians(angle) for angle in (scene.yaw, scene.pitch, scene.roll))
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)
        self.roll = (math.sin(roll), math.cos(roll))
        self.chin = 1.2 + 0.17 * self.act(26)

    def act(self, *units: int) -> float:
        """Return the strongest intensity among the units."""
        return max(self.actions.get(unit, 0.0) for unit in units)

    def half_width(self, y: _Array) -> _Array:
        """Return the head's half width at each height."""
        rise = np.where(y < 0, np.abs(y / 1.35) ** 2.3, np.abs(y / self.chin) ** self.who.jaw)
        return np.asarray(self.who.width * np.sqrt(np.clip(1 - rise, 0, 1)))

    def crown(self, y: _Array) -> _Array:
        """Return the half width of the hair at each height, seen from where the viewer is."""
        rise = np.minimum(1, np.abs(np.minimum(y, 0) / 1.42) ** 2.3)
        return 1.05 * self.reach(self.who.width * np.sqrt(1 - rise))

    def reach(self, half: _Array) -> _Array:
        """Return the turned head's half width, the shadow of an ellipse, from the frontal half width."""
        return half * math.sqrt(self.cos**2 + (_DEPTH * self.sin) ** 2)

    def at(self, x: _Array, y: _Array | float, lift: _Array | float = 0.0) -> _Points:
        """Project points of the face's surface; those turned away lie on the outline, and all hidden gives []."""
        y = np.broadcast_to(y, x.shape)
        half = self.half_width(y)
        x = np.clip(x, -half, half)
        deep = _DEPTH * np.sqrt(half**2 - x**2)
        hidden = deep * self.cos < _DEPTH**2 * x * self.sin
        if hidden.all():
            return []
        edge = math.copysign(1.0, self.sin) * self.reach(half)
        forward = (0.12 * np.maximum(y, 0) + lift) * self.sin
        near = deep * self.cos - x * self.sin
        return self.pixels(forward + np.where(hidden, edge, x * self.cos + deep * self.sin), y - near * self.pitch)

    def pixels(self, x: _Array, y: _Array) -> _Points:
        """Roll points of the picture plane and give them in pixels."""
        (sin, cos), unit = self.roll, self.unit
        across = self.middle[0] + unit * (x * cos - y * sin)
        down = self.middle[1] + unit * (x * sin + y * cos)
        return list(zip(across.tolist(), down.tolist(), strict=True))

    def fill(self, points: _Points, color: Color) -> None:
        """Draw a filled shape; a hidden one has no points."""
        if points:
            self.canvas.polygon(points, fill=color)

    def band(self, x: _Array, top: _Array, bottom: _Array, color: Color, lift: float = 0.0) -> None:
        """Fill the face between two lines over the same x."""
        self.fill(self.at(np.concatenate([x, x[::-1]]), np.concatenate([top, bottom[::-1]]), lift), color)

    def line(self, points: _Points, color: Color, width: float) -> None:
        """Draw a line whose width is in face units."""
        if points:
            self.canvas.line(points, fill=color, width=max(1, round(width * self.unit)))


def _both(left: _Array, right: _Array) -> _Array:
    """Return one closed outline's coordinate from its two sides, each from top to bottom."""
    return np.concatenate([left, right[::-1]])


def _draw_background(face: _Face, rng: np.random.Generator) -> None:
    who, back, (wide, high) = face.who, -0.25 * face.sin, face.size
    for _ in range(face.scene.blobs):
        x, y, radius = rng.uniform(0, wide), rng.uniform(0, high), rng.uniform(0.1, 0.4) * high
        face.canvas.ellipse((x - radius, y - radius, x + radius, y + radius), fill=random_color(rng))
    if who.long_hair:
        down = np.linspace(-1.42, 1.6, 12)
        half = 1.08 * face.crown(down)
        face.fill(face.pixels(_both(half, -half) + 0.8 * back, _both(down, down)), shade(who.hair, 0.75))
    shoulders = np.array([-2.2, -1.5, -0.4, 0.4, 1.5, 2.2]), np.array([4, 1.75, 1.4, 1.4, 1.75, 4])
    face.fill(face.pixels(shoulders[0] + back, shoulders[1]), face.scene.clothes)
    neck = np.array([-0.45, 0.45, 0.5, 0, -0.5]), np.array([0.6, 0.6, 1.5, 1.75, 1.5])
    face.fill(face.pixels(neck[0] + back, neck[1]), shade(who.skin, 0.8))


def _draw_ear(face: _Face, side: int) -> None:
    x = side * face.cos * face.who.width - 0.1 * face.sin
    for size, factor in ((1.0, 0.85), (0.6, 0.72)):
        face.fill(face.pixels(x + 0.13 * size * _COS, 0.05 + 0.22 * size * _SIN), shade(face.who.skin, factor))


def _draw_head(face: _Face) -> None:
    who = face.who
    if abs(face.sin) < 0.3:
        _draw_ear(face, -1)
        _draw_ear(face, 1)
    y = np.where(_DOWN < 0, _DOWN * 1.35, _DOWN * face.chin)
    half = face.half_width(y)
    jaw = 0.12 * np.maximum(y, 0) * face.sin
    face.fill(face.pixels(_both(jaw + face.reach(half), jaw - face.reach(half)), _both(y, y)), who.skin)
    dark = -1.0 if face.scene.light[0] > 0 else 1.0
    face.fill(face.at(_both(dark * half, 0.74 * dark * half), _both(y, y)), shade(who.skin, 0.93))
    if who.beard:
        y = np.linspace(0.25, face.chin, 9)
        half = face.half_width(y)
        face.fill(face.at(_both(half, -half), _both(y, y)), blend(who.skin, who.hair, 0.35 + 0.55 * who.beard))
        face.fill(face.at(0.7 * _COS, 0.2 + 0.33 * _SIN), who.skin)


def _draw_wrinkles(face: _Face) -> None:
    fold, age, raised = shade(face.who.skin, 0.72), face.who.age, face.act(1, 2)
    for row in range(3):
        if max(raised, 0.9 * age) > 0.35 + 0.1 * row:
            face.line(face.at(0.45 * _ACROSS, -0.62 - 0.09 * row - 0.06 * raised + 0.03 * _ACROSS**2), fold, 0.02)
        if face.act(9) > 0.25 + 0.2 * row:
            y = -0.16 + 0.08 * row
            for side in (-1, 1):
                face.line(face.at(side * np.array([0.02, 0.14]), np.array([y, y - 0.06]), 0.06), fold, 0.025)
    if face.act(17) > 0.3:
        face.line(face.at(0.14 * _ACROSS, 0.93 - 0.05 * _ARC), fold, 0.03)
    for side in (-1, 1):
        if face.act(4) > 0.3:
            face.line(face.at(side * np.array([0.06, 0.05]), np.array([-0.42, -0.2])), fold, 0.025)
        _draw_cheek(face, side)


def _draw_cheek(face: _Face, side: int) -> None:
    who, smile, sneer = face.who, face.act(12), face.act(9, 10)
    if face.act(6) > 0.2:
        flush = blend(who.skin, (235, 100, 90), 0.25)
        face.fill(face.at(side * (0.45 + 0.17 * _COS), 0.22 + 0.1 * _SIN), flush)
        face.line(face.at(side * (who.eye_gap + 0.2 * _ACROSS), 0.02 + 0.05 * _ARC), shade(who.skin, 0.72), 0.02)
    depth = max(0.9 * smile, sneer, 0.6 * who.age)
    if depth > 0.2:
        along = np.array([0.0, 0.3, 0.65, 1.0])
        x = 0.19 + (who.mouth - 0.05 + 0.12 * smile + 0.06 * sneer) * along**1.3
        face.line(face.at(side * x, 0.27 - 0.07 * sneer + 0.3 * along), shade(who.skin, 0.95 - 0.25 * depth), 0.03)


def _draw_eye(face: _Face, side: int) -> None:
    who, size, y = face.who, 0.9 * face.who.eye_size, -0.1
    wide, tight = face.act(5), face.act(7)
    droop = 0.06 * min(face.act(1), face.act(4)) * (1 - wide) * _ACROSS
    above = max(0.25, 1 + 0.75 * wide - 0.35 * tight - 0.25 * face.act(6, 9))
    below = max(0.1, 1 - 0.55 * tight - 0.75 * face.act(6) - 0.4 * face.act(9))
    upper, lower = y - size * 0.105 * above * _ARC**1.3 + droop, y + size * 0.07 * below * _ARC**1.5 + droop
    x, middle = side * (who.eye_gap + 0.18 * size * _ACROSS), side * who.eye_gap
    face.band(x, upper, lower, (245, 242, 238))
    for radius, color in ((0.1, who.eye), (0.05, (15, 12, 12))):
        dx, dy = size * radius * _COS, size * radius * _SIN
        top, bottom = (np.interp(side * dx, 0.18 * size * _ACROSS, lid) for lid in (upper, lower))
        face.fill(face.at(middle + dx, np.clip(y - 0.01 + dy, top, bottom)), color)
    face.line(face.at(x, upper), shade(who.skin, 0.28), 0.035)
    face.line(face.at(x, upper - 0.05 - 0.03 * wide), shade(who.skin, 0.75), 0.02)
    face.line(face.at(x, lower), shade(who.skin, 0.6), 0.018)
    if who.glasses:
        face.line(face.at(middle + 0.27 * _COS, y + 0.03 + 0.22 * _SIN, 0.05), (40, 36, 36), 0.03)
        face.line(face.at(side * np.array([0.0, who.eye_gap - 0.27]), y, 0.08), (40, 36, 36), 0.03)


def _draw_brow(face: _Face, side: int) -> None:
    who, along = face.who, np.linspace(0.0, 1.0, 8)
    inner, outer, lowered = face.act(1), face.act(2), face.act(4)
    y = who.brow_height - 0.06 * np.sin(np.pi * along**0.8) + who.brow_tilt * (2 * along - 1)
    y = y - 0.17 * inner * (1 - along) ** 1.5 - 0.17 * outer * along**0.8 - 0.03 * inner * outer
    y = y + lowered * (0.18 - 0.11 * inner) * (1 - 0.75 * along) + 0.07 * face.act(9) * (1 - along)
    x = side * (0.15 - 0.05 * lowered + (0.47 + 0.03 * lowered) * along)
    thick = who.brow_thickness * (1.1 - 0.8 * along**2)
    face.band(x, y - thick, y + thick, shade(blend(who.hair, who.skin, 0.1), 0.8))


def _draw_mouth(face: _Face) -> None:
    who, smile, drop = face.who, face.act(12), face.act(26)
    tight, push = face.act(23), face.act(17)
    sneer = 0.08 * face.act(10) + 0.05 * face.act(9)
    half = who.mouth + 0.13 * smile + 0.14 * face.act(20) - 0.08 * tight - 0.12 * drop * (1 - smile)
    corner = 0.64 - 0.15 * smile + 0.13 * face.act(15) + 0.04 * face.act(20) + 0.1 * drop - who.mouth_curve
    middle = 0.64 + 0.05 * smile - 0.06 * push - sneer
    parted = 0.1 * face.act(25) + 0.32 * drop + 0.07 * face.act(16)
    far, x = np.abs(_ACROSS), half * _ACROSS
    upper = middle + (corner - middle) * far ** (2.2 - 0.6 * face.act(12, 15)) - 0.4 * sneer * np.sin(np.pi * far)
    lower = upper + parted * _ARC ** (1 - 0.5 * face.act(20)) + 0.6 * sneer * _ARC
    if drop:
        lower = np.maximum(lower, lower + 0.3 * drop * (upper.min() - upper + 0.05) * _ARC)
    lip, color = who.lips * (1 - 0.8 * tight) * _ARC, blend(who.skin, (170, 50, 60), 0.55)
    top = upper - 0.06 * lip * (1 - 0.3 * np.exp(-((_ACROSS / 0.2) ** 2)))
    bottom = lower + (0.085 + 0.03 * push + 0.02 * face.act(16)) * lip
    face.band(x, top, bottom, color, 0.05)
    if (lower - upper).max() > 0.03:
        face.band(x, upper, lower, (60, 15, 20), 0.05)
        teeth = 0.04 + 0.06 * max(smile, face.act(10, 20))
        face.band(x, upper, np.minimum(upper + teeth, lower), (240, 238, 228), 0.05)
    else:
        face.line(face.at(x, upper, 0.05), shade(color, 0.5), 0.03)
    face.line(face.at(x[4:9], bottom[4:9] + 0.05), shade(who.skin, 0.82), 0.025)


def _draw_nose(face: _Face) -> None:
    who, up = face.who, 0.07 * face.act(9) + 0.02 * face.act(10)
    wing = 0.15 * who.nose + 0.03 * face.act(9, 12)
    tip, base = 0.27 - 0.6 * up, 0.36 - up
    far = 1 if face.sin > 0 else -1
    for side in (far, -far):
        x = side * np.array([0.0, 0.0, 0.0, 0.6 * wing, wing, 0.05])
        y = np.array([-0.16, tip, base, base, base - 0.07, -0.16])
        lift = np.array([0.02, 0.27 * who.nose, 0.06, 0.06, 0.03, 0.01])
        face.fill(face.at(x, y, lift), shade(who.skin, 1.02 if side * face.scene.light[0] > 0 else 0.9))
        rim = face.at(side * wing * np.array([0.6, 1.1, 1.05]), base - np.array([0, 0.04, 0.14]))
        face.line(rim, shade(who.skin, 0.7), 0.025)
        nostril = face.at(side * (0.5 * wing + 0.045 * _COS), base - 0.01 + 0.02 * _SIN, 0.04)
        face.fill(nostril, shade(who.skin, 0.4))


def _draw_hair(face: _Face) -> None:
    who, turn = face.who, abs(face.sin)
    front = face.at(1.02 * who.width * _ACROSS, who.hairline + 0.75 * np.abs(_ACROSS) ** 3.5)
    # Where the nose points, hair ends at the forehead; at the back of the head it reaches down to the nape.
    ear = who.hairline + 0.7
    ends = (ear - 0.7 * turn, ear + (0.5 - ear) * turn)
    left, right = (np.linspace(end, -1.42, 9) for end in (ends if face.sin < 0 else ends[::-1]))
    rise, fall = face.pixels(-face.crown(left), left), face.pixels(face.crown(right), right)
    face.fill(front[::-1] + rise + fall[::-1], who.hair)
    if turn >= 0.3:
        _draw_ear(face, -1 if face.sin > 0 else 1)


def _develop(image: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Add light, colour cast, blur and noise."""
    if scene.blur:
        image = image.filter(ImageFilter.GaussianBlur(scene.blur))
    wide, high = image.size
    across = np.linspace(-1, 1, wide, dtype=np.float32)[None, :, None] * scene.light[0]
    down = np.linspace(-1, 1, high, dtype=np.float32)[:, None, None] * scene.light[1]
    pixels = np.asarray(image, dtype=np.float32) * ((1 + across + down) * scene.gain)
    pixels *= np.asarray(scene.cast, dtype=np.float32)
    pixels += scene.noise * rng.standard_normal((high, wide, 1), dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
