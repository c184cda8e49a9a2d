"""Draw a face from facial action units, whose names stand in `parameters`; coordinates as in `surface`."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageFilter

from fer.data.datasets.drawn.parameters import Person, Scene, blend, random_color, shade
from fer.data.datasets.drawn.surface import Head, closed

_SUPERSAMPLING = 2
_SIDES = (-1, 1)
# From side to side, and the half circle above it.
_ACROSS = np.linspace(-1.0, 1.0, 13)
_ARC = np.sqrt(1 - _ACROSS**2)
_TURN = np.linspace(0.0, 2 * np.pi, 13)
_COS, _SIN = np.cos(_TURN), np.sin(_TURN)
# Heights that are dense where the head's outline bends most.
_DOWN = np.sin(np.linspace(-0.5, 0.5, 29) * np.pi)


def render(
    person: Person, actions: Mapping[int, float], scene: Scene, size: tuple[int, int], rng: np.random.Generator
) -> Image.Image:
    """Draw one face as an RGB picture.

    Args:
        person: Who is drawn.
        actions: Intensity in [0, 1] by action unit; absent units rest.
        scene: Pose, light and surroundings.
        size: Width and height in pixels.
        rng: Random generator of the noise and of the background's discs.
    """
    canvas = Image.new("RGB", (size[0] * _SUPERSAMPLING, size[1] * _SUPERSAMPLING), scene.background)
    head = Head(canvas, person, scene, actions)
    # From back to front, as later shapes cover earlier ones.
    _draw_background(head, rng)
    _draw_head(head)
    _draw_wrinkles(head)
    for side in _SIDES:
        _draw_eye(head, side)
        _draw_brow(head, side)
    _draw_mouth(head)
    _draw_nose(head)
    _draw_hair(head)
    return _photograph(canvas.reduce(_SUPERSAMPLING), scene, rng)


def _draw_background(head: Head, rng: np.random.Generator) -> None:
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
        outline = head.pixels(closed(half, -half) + 0.8 * back, closed(down, down))
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
        head.fill(head.pixels(x + 0.13 * size * _COS, 0.05 + 0.22 * size * _SIN), head.skin(factor))


def _draw_head(head: Head) -> None:
    person = head.person
    # Of a turned head one ear is hidden, and the other lies over the hair, which is drawn later.
    if abs(head.sin) < 0.3:
        for side in _SIDES:
            _draw_ear(head, side)
    y = np.where(_DOWN < 0, _DOWN * 1.35, _DOWN * head.chin)
    half = head.half_width(y)
    jaw = 0.12 * np.maximum(y, 0) * head.sin
    outline = closed(jaw + head.turned(half), jaw - head.turned(half))
    head.fill(head.pixels(outline, closed(y, y)), person.skin)
    dark = -1.0 if head.scene.light[0] > 0 else 1.0
    head.patch(closed(dark * half, 0.74 * dark * half), closed(y, y), head.skin(0.93))
    if person.beard:
        y = np.linspace(0.25, head.chin, 9)
        half = head.half_width(y)
        color = blend(person.skin, person.hair, 0.35 + 0.55 * person.beard)
        head.patch(closed(half, -half), closed(y, y), color)
        head.patch(0.7 * _COS, 0.2 + 0.33 * _SIN, person.skin)


def _draw_wrinkles(head: Head) -> None:
    fold = head.skin(0.72)
    raised, lowered, wrinkled = head.act(1, 2), head.act(4), head.act(9)
    for row in range(3):
        # Across the forehead.
        if max(raised, 0.9 * head.person.age) > 0.35 + 0.1 * row:
            y = -0.62 - 0.09 * row - 0.06 * raised + 0.03 * _ACROSS**2
            head.line(0.45 * _ACROSS, y, fold, 0.02)
        # Beside the bridge of the nose.
        if wrinkled > 0.25 + 0.2 * row:
            top = -0.16 + 0.08 * row
            for side in _SIDES:
                head.line(side * np.array([0.02, 0.14]), np.array([top, top - 0.06]), fold, 0.025, lift=0.06)
    if head.act(17) > 0.3:
        head.line(0.14 * _ACROSS, 0.93 - 0.05 * _ARC, fold, 0.03)
    for side in _SIDES:
        if lowered > 0.3:
            head.line(side * np.array([0.06, 0.05]), np.array([-0.42, -0.2]), fold, 0.025)
        _draw_cheek(head, side)


def _draw_cheek(head: Head, side: int) -> None:
    person = head.person
    smile, sneer = head.act(12), head.act(9, 10)
    if head.act(6) > 0.2:
        flush = blend(person.skin, (235, 100, 90), 0.25)
        head.patch(side * (0.45 + 0.17 * _COS), 0.22 + 0.1 * _SIN, flush)
        head.line(side * (person.eye_gap + 0.2 * _ACROSS), 0.02 + 0.05 * _ARC, head.skin(0.72), 0.02)
    # The fold from the nose to the mouth's corner.
    depth = max(0.9 * smile, sneer, 0.6 * person.age)
    if depth > 0.2:
        along = np.array([0.0, 0.3, 0.65, 1.0])
        x = 0.19 + (person.mouth - 0.05 + 0.12 * smile + 0.06 * sneer) * along**1.3
        y = 0.27 - 0.07 * sneer + 0.3 * along
        head.line(side * x, y, head.skin(0.95 - 0.25 * depth), 0.03)


def _draw_eye(head: Head, side: int) -> None:
    person = head.person
    size, y = 0.9 * person.eye_size, -0.1
    wide, tight, squeezed = head.act(5), head.act(7), head.act(9)
    # Grief (units 1 and 4) pulls up the inner end of the lids.
    droop = 0.06 * min(head.act(1), head.act(4)) * (1 - wide) * _ACROSS
    above = max(0.25, 1 + 0.75 * wide - 0.35 * tight - 0.25 * head.act(6, 9))
    below = max(0.1, 1 - 0.55 * tight - 0.75 * head.act(6) - 0.4 * squeezed)
    upper = y - size * 0.105 * above * _ARC**1.3 + droop
    lower = y + size * 0.07 * below * _ARC**1.5 + droop
    middle = side * person.eye_gap
    across = 0.18 * size * _ACROSS
    x = side * (person.eye_gap + across)
    head.band(x, upper, lower, (245, 242, 238))
    # Iris and pupil, cut off by the lids.
    for radius, color in ((0.1, person.eye), (0.05, (15, 12, 12))):
        dx = size * radius * _COS
        dy = size * radius * _SIN
        top, bottom = (np.interp(side * dx, across, lid) for lid in (upper, lower))
        head.patch(middle + dx, np.clip(y - 0.01 + dy, top, bottom), color)
    head.line(x, upper, head.skin(0.28), 0.035)
    head.line(x, upper - 0.05 - 0.03 * wide, head.skin(0.75), 0.02)
    head.line(x, lower, head.skin(0.6), 0.018)
    if person.glasses:
        rim = (40, 36, 36)
        head.line(middle + 0.27 * _COS, y + 0.03 + 0.22 * _SIN, rim, 0.03, lift=0.05)
        head.line(side * np.array([0.0, person.eye_gap - 0.27]), y, rim, 0.03, lift=0.08)


def _draw_brow(head: Head, side: int) -> None:
    person = head.person
    along = np.linspace(0.0, 1.0, 8)
    inner, outer, lowered = head.act(1), head.act(2), head.act(4)
    y = person.brow_height - 0.06 * np.sin(np.pi * along**0.8) + person.brow_tilt * (2 * along - 1)
    y = y - 0.17 * inner * (1 - along) ** 1.5 - 0.17 * outer * along**0.8 - 0.03 * inner * outer
    y = y + lowered * (0.18 - 0.11 * inner) * (1 - 0.75 * along) + 0.07 * head.act(9) * (1 - along)
    x = side * (0.15 - 0.05 * lowered + (0.47 + 0.03 * lowered) * along)
    thick = person.brow_thickness * (1.1 - 0.8 * along**2)
    color = shade(blend(person.hair, person.skin, 0.1), 0.8)
    head.band(x, y - thick, y + thick, color)


def _draw_mouth(head: Head) -> None:
    person = head.person
    smile, drop, stretch = head.act(12), head.act(26), head.act(20)
    tight, push = head.act(23), head.act(17)
    sneer = 0.08 * head.act(10) + 0.05 * head.act(9)
    half = person.mouth + 0.13 * smile + 0.14 * stretch - 0.08 * tight - 0.12 * drop * (1 - smile)
    corner = 0.64 - 0.15 * smile + 0.13 * head.act(15) + 0.04 * stretch + 0.1 * drop - person.mouth_curve
    middle = 0.64 + 0.05 * smile - 0.06 * push - sneer
    parted = 0.1 * head.act(25) + 0.32 * drop + 0.07 * head.act(16)
    far, x = np.abs(_ACROSS), half * _ACROSS
    # Where the lips meet: the lower edge of the upper one, the upper edge of the lower one.
    upper = middle + (corner - middle) * far ** (2.2 - 0.6 * head.act(12, 15)) - 0.4 * sneer * np.sin(np.pi * far)
    lower = upper + parted * _ARC ** (1 - 0.5 * stretch) + 0.6 * sneer * _ARC
    if drop:
        lower = np.maximum(lower, lower + 0.3 * drop * (upper.min() - upper + 0.05) * _ARC)
    lip = person.lips * (1 - 0.8 * tight) * _ARC
    color = blend(person.skin, (170, 50, 60), 0.55)
    top = upper - 0.06 * lip * (1 - 0.3 * np.exp(-((_ACROSS / 0.2) ** 2)))
    bottom = lower + (0.085 + 0.03 * push + 0.02 * head.act(16)) * lip
    head.band(x, top, bottom, color, lift=0.05)
    if (lower - upper).max() > 0.03:
        head.band(x, upper, lower, (60, 15, 20), lift=0.05)
        teeth = 0.04 + 0.06 * max(smile, head.act(10, 20))
        head.band(x, upper, np.minimum(upper + teeth, lower), (240, 238, 228), lift=0.05)
    else:
        head.line(x, upper, shade(color, 0.5), 0.03, lift=0.05)
    # The shadow under the lip.
    head.line(x[4:9], bottom[4:9] + 0.05, head.skin(0.82), 0.025)


def _draw_nose(head: Head) -> None:
    nose = head.person.nose
    up = 0.07 * head.act(9) + 0.02 * head.act(10)
    wing = 0.15 * nose + 0.03 * head.act(9, 12)
    tip, base = 0.27 - 0.6 * up, 0.36 - up
    # The side turned away first: the nearer one covers its part of the ridge.
    far = 1 if head.sin > 0 else -1
    for side in (far, -far):
        x = side * np.array([0.0, 0.0, 0.0, 0.6 * wing, wing, 0.05])
        y = np.array([-0.16, tip, base, base, base - 0.07, -0.16])
        lift = np.array([0.02, 0.27 * nose, 0.06, 0.06, 0.03, 0.01])
        lit = side * head.scene.light[0] > 0
        head.patch(x, y, head.skin(1.02 if lit else 0.9), lift)
        rim = side * wing * np.array([0.6, 1.1, 1.05])
        head.line(rim, base - np.array([0, 0.04, 0.14]), head.skin(0.7), 0.025)
        head.patch(side * (0.5 * wing + 0.045 * _COS), base - 0.01 + 0.02 * _SIN, head.skin(0.4), lift=0.04)


def _draw_hair(head: Head) -> None:
    person, turn = head.person, abs(head.sin)
    front = head.project(1.02 * person.width * _ACROSS, person.hairline + 0.75 * np.abs(_ACROSS) ** 3.5)
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


def _photograph(image: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Add blur, light, colour cast and noise."""
    if scene.blur:
        image = image.filter(ImageFilter.GaussianBlur(scene.blur))
    width, height = image.size
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] * scene.light[0]
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] * scene.light[1]
    pixels = np.asarray(image, dtype=np.float32) * ((1 + across + down) * scene.gain)
    pixels *= np.asarray(scene.cast, dtype=np.float32)
    pixels += scene.noise * rng.standard_normal((height, width, 1), dtype=np.float32)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
