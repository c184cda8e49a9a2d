"""The surface of a drawn head: its outline, its pose, and the projection of points on it into the picture.

Coordinates of a face: x to the viewer's right, y down, z towards the viewer; a face is about 1 wide from its middle and
reaches from y = -1.35 to 1.2.
"""

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from fer.data.datasets.drawn.parameters import Color, Person, Scene, shade

Array = npt.NDArray[np.float64]
Points = list[tuple[float, float]]

# A head is deeper than wide.
_DEPTH = 1.1


class Head:
    """A person's head in a scene, and the canvas it is drawn on.

    Args:
        image: The picture to draw on.
        person: Whose head.
        scene: Pose and light.
        actions: Intensity in [0, 1] by action unit; absent units rest.
    """

    def __init__(self, image: Image.Image, person: Person, scene: Scene, actions: Mapping[int, float]) -> None:
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

    def patch(self, x: Array, y: Array, color: Color, lift: Array | float = 0.0) -> None:
        """Fill a closed shape on the face."""
        self.fill(self.project(x, y, lift), color)

    def band(self, x: Array, top: Array, bottom: Array, color: Color, lift: float = 0.0) -> None:
        """Fill the face between two lines over the same `x`."""
        self.patch(closed(x, x), closed(top, bottom), color, lift)

    def line(self, x: Array, y: Array | float, color: Color, width: float, lift: float = 0.0) -> None:
        """Draw a line on the face; `width` is in face units."""
        points = self.project(x, y, lift)
        if points:
            # Pillow draws nothing of width 0.
            self.canvas.line(points, fill=color, width=max(1, round(width * self.unit)))


def closed(forth: Array, back: Array) -> Array:
    """Join one coordinate of two lines into a closed outline: along the first, and back along the second."""
    return np.concatenate([forth, back[::-1]])
