"""A drawn head: its outline and pose, the projection of points on it into the picture, its hair and what is behind it.

Coordinates of a face: x to the viewer's right, y down, z towards the viewer; a face is about 1 wide from its middle and
reaches from y = -1.35 to 1.2.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fer.data.datasets.drawn.parameters import Color, Person, Scene, blend, random_color, shade

Array = npt.NDArray[np.float64]
Points = list[tuple[float, float]]

SIDES = (-1, 1)
# From side to side of a shape, and around one.
ACROSS = np.linspace(-1.0, 1.0, 13)
_TURN = np.linspace(0.0, 2 * np.pi, 13)
COS, SIN = np.cos(_TURN), np.sin(_TURN)
# A head is deeper than wide.
_DEPTH = 1.1
# Heights that are dense where the head's outline bends most.
_DOWN = np.sin(np.linspace(-0.5, 0.5, 29) * np.pi)


class Head:
    """A person's head in a scene, and the canvas it is drawn on.

    Args:
        image: The picture to draw on.
        person: Whose head.
        scene: Pose and light.
        actions: Intensity in [0, 1] by action unit; absent units rest.
    """

    def __init__(
        self,
        image: Image.Image,
        person: Person,
        scene: Scene,
        actions: Mapping[int, float],
    ) -> None:
        self.canvas = ImageDraw.Draw(image)
        self.size = image.size
        self.person = person
        self.scene = scene
        self.actions = actions
        # Scenes are in fractions of the shorter side, so that a face looks alike in every size.
        short = min(image.size)
        self.unit = scene.unit * short
        self.middle_x = image.width / 2 + scene.shift[0] * short
        self.middle_y = image.height / 2 + scene.shift[1] * short
        yaw = math.radians(scene.yaw)
        roll = math.radians(scene.roll)
        self.pitch = math.radians(scene.pitch)
        self.sin, self.cos = math.sin(yaw), math.cos(yaw)
        self.roll_sin, self.roll_cos = math.sin(roll), math.cos(roll)
        # An open mouth lowers the chin.
        self.chin = 1.2 + 0.17 * self.act(26)

    def act(self, *units: int) -> float:
        """Return the strongest intensity among action units."""
        return max(self.actions.get(unit, 0.0) for unit in units)

    def skin(self, factor: float) -> Color:
        """Return the person's skin, darkened or lightened."""
        return shade(self.person.skin, factor)

    def half_width(self, y: Array) -> Array:
        """Return the head's half width at heights `y`, seen from the front."""
        above = np.abs(y / 1.35) ** 2.3
        below = np.abs(y / self.chin) ** self.person.jaw
        rise = np.where(y < 0, above, below)
        return np.asarray(self.person.width * np.sqrt(np.clip(1 - rise, 0, 1)))

    def turned(self, half: Array) -> Array:
        """Return the turned head's half width, the shadow of an ellipse, from the frontal half width."""
        return half * math.sqrt(self.cos**2 + (_DEPTH * self.sin) ** 2)

    def hair_width(self, y: Array) -> Array:
        """Return the half width of the hair at heights `y`, as the viewer sees the turned head."""
        rise = np.minimum(1, np.abs(np.minimum(y, 0) / 1.42) ** 2.3)
        return 1.05 * self.turned(self.person.width * np.sqrt(1 - rise))

    def project(self, x: Array, y: Array | float, lift: Array | float = 0.0) -> Points:
        """Project points of the surface into the picture.

        Args:
            x: Across, seen from the front, (N,).
            y: Heights.
            lift: How far the points stand out of the surface.

        Returns:
            Pixels. Points turned away lie on the outline; where all are hidden there are none.
        """
        y = np.broadcast_to(y, x.shape)
        half = self.half_width(y)
        # The front of an ellipse around the neck.
        x = np.clip(x, -half, half)
        depth = _DEPTH * np.sqrt(half**2 - x**2)
        hidden = depth * self.cos < _DEPTH**2 * x * self.sin
        if hidden.all():
            return []
        outline = math.copysign(1.0, self.sin) * self.turned(half)
        # The lower face stands out towards the chin.
        forward = (0.12 * np.maximum(y, 0) + lift) * self.sin
        across = np.where(hidden, outline, x * self.cos + depth * self.sin)
        near = depth * self.cos - x * self.sin
        return self.pixels(forward + across, y - near * self.pitch)

    def pixels(self, x: Array, y: Array) -> Points:
        """Roll points of the picture plane, in face units, and convert them into pixels."""
        across = self.middle_x + self.unit * (x * self.roll_cos - y * self.roll_sin)
        down = self.middle_y + self.unit * (x * self.roll_sin + y * self.roll_cos)
        return list(zip(across.tolist(), down.tolist(), strict=True))

    def fill(self, points: Points, color: Color) -> None:
        """Draw a filled shape given in pixels; a hidden one has no points."""
        if points:
            self.canvas.polygon(points, fill=color)

    def patch(
        self,
        x: Array,
        y: Array,
        color: Color,
        lift: Array | float = 0.0,
    ) -> None:
        """Fill a closed shape on the face."""
        self.fill(self.project(x, y, lift), color)

    def band(
        self,
        x: Array,
        top: Array,
        bottom: Array,
        color: Color,
        lift: float = 0.0,
    ) -> None:
        """Fill the face between two lines over the same `x`."""
        self.patch(_closed(x, x), _closed(top, bottom), color, lift)

    def line(
        self,
        x: Array,
        y: Array | float,
        color: Color,
        width: float,
        lift: float = 0.0,
    ) -> None:
        """Draw a line on the face; `width` is in face units."""
        points = self.project(x, y, lift)
        if points:
            # Pillow draws nothing of width 0.
            self.canvas.line(points, fill=color, width=max(1, round(width * self.unit)))


def _closed(forth: Array, back: Array) -> Array:
    """Join one coordinate of two lines into a closed outline: along the first, and back along the second."""
    return np.concatenate([forth, back[::-1]])


def draw_background(head: Head, rng: np.random.Generator) -> None:
    """Draw discs, long hair, shoulders and neck, which are behind the face."""
    width, height = head.size
    for _ in range(head.scene.blobs):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        radius = rng.uniform(0.1, 0.4) * height
        disc = (x - radius, y - radius, x + radius, y + radius)
        head.canvas.ellipse(disc, fill=random_color(rng))
    # The body stays behind when the head turns.
    back = -0.25 * head.sin
    if head.person.long_hair:
        down = np.linspace(-1.42, 1.6, 12)
        half = 1.08 * head.hair_width(down)
        outline = head.pixels(_closed(half, -half) + 0.8 * back, _closed(down, down))
        head.fill(outline, shade(head.person.hair, 0.75))
    shoulders_x = np.array([-2.2, -1.5, -0.4, 0.4, 1.5, 2.2])
    shoulders_y = np.array([4, 1.75, 1.4, 1.4, 1.75, 4])
    head.fill(head.pixels(shoulders_x + back, shoulders_y), head.scene.clothes)
    neck_x = np.array([-0.45, 0.45, 0.5, 0, -0.5])
    neck_y = np.array([0.6, 0.6, 1.5, 1.75, 1.5])
    head.fill(head.pixels(neck_x + back, neck_y), head.skin(0.8))


def _draw_ear(head: Head, side: int) -> None:
    x = side * head.cos * head.person.width - 0.1 * head.sin
    for size, factor in ((1.0, 0.85), (0.6, 0.72)):
        outline = head.pixels(x + 0.13 * size * COS, 0.05 + 0.22 * size * SIN)
        head.fill(outline, head.skin(factor))


def draw_head(head: Head) -> None:
    """Draw ears, the head's outline with its shaded side, and a beard."""
    person = head.person
    # Of a turned head one ear is hidden, and the other lies over the hair, which is drawn later.
    if abs(head.sin) < 0.3:
        for side in SIDES:
            _draw_ear(head, side)
    y = np.where(_DOWN < 0, _DOWN * 1.35, _DOWN * head.chin)
    half = head.half_width(y)
    jaw = 0.12 * np.maximum(y, 0) * head.sin
    outline = _closed(jaw + head.turned(half), jaw - head.turned(half))
    head.fill(head.pixels(outline, _closed(y, y)), person.skin)
    dark = -1.0 if head.scene.light[0] > 0 else 1.0
    head.patch(_closed(dark * half, 0.74 * dark * half), _closed(y, y), head.skin(0.93))
    if person.beard:
        y = np.linspace(0.25, head.chin, 9)
        half = head.half_width(y)
        color = blend(person.skin, person.hair, 0.35 + 0.55 * person.beard)
        head.patch(_closed(half, -half), _closed(y, y), color)
        head.patch(0.7 * COS, 0.2 + 0.33 * SIN, person.skin)


def draw_hair(head: Head) -> None:
    """Draw the hair over the face, and the nearer ear of a turned head over the hair."""
    person, turn = head.person, abs(head.sin)
    hairline = person.hairline + 0.75 * np.abs(ACROSS) ** 3.5
    front = head.project(1.02 * person.width * ACROSS, hairline)
    # Where the nose points, hair ends at the forehead; at the back of the head it reaches down to the nape.
    ear = person.hairline + 0.7
    forehead, nape = ear - 0.7 * turn, ear + (0.5 - ear) * turn
    ends = (forehead, nape) if head.sin < 0 else (nape, forehead)
    left, right = (np.linspace(end, -1.42, 9) for end in ends)
    rise = head.pixels(-head.hair_width(left), left)
    fall = head.pixels(head.hair_width(right), right)
    head.fill(front[::-1] + rise + fall[::-1], person.hair)
    if turn >= 0.3:
        _draw_ear(head, -1 if head.sin > 0 else 1)
