"""Draw a face from facial action units, whose names stand in `parameters`; coordinates as in `head`."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageFilter

from fer.data.datasets.drawn.head import ACROSS, COS, SIDES, SIN, Head, draw_background, draw_hair, draw_head
from fer.data.datasets.drawn.parameters import Person, Scene, blend, shade

_SUPERSAMPLING = 2
# The half circle above a shape.
_ARC = np.sqrt(1 - ACROSS**2)


def render(
    person: Person,
    actions: Mapping[int, float],
    scene: Scene,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Image.Image:
    """Draw one face as an RGB picture.

    Args:
        person: Who is drawn.
        actions: Intensity in [0, 1] by action unit; absent units rest.
        scene: Pose, light and surroundings.
        size: Width and height in pixels.
        rng: Random generator of the noise and of the background's discs.
    """
    width, height = size
    canvas_size = (width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    canvas = Image.new("RGB", canvas_size, scene.background)
    head = Head(canvas, person, scene, actions)
    # From back to front, as later shapes cover earlier ones.
    draw_background(head, rng)
    draw_head(head)
    _draw_wrinkles(head)
    for side in SIDES:
        _draw_eye(head, side)
        _draw_brow(head, side)
    _draw_mouth(head)
    _draw_nose(head)
    draw_hair(head)
    return _photograph(canvas.reduce(_SUPERSAMPLING), scene, rng)


def _draw_wrinkles(head: Head) -> None:
    act, fold = head.act, head.skin(0.72)
    raised, lowered, wrinkled = act(1, 2), act(4), act(9)
    for row in range(3):
        # Across the forehead.
        if max(raised, 0.9 * head.person.age) > 0.35 + 0.1 * row:
            y = -0.62 - 0.09 * row - 0.06 * raised + 0.03 * ACROSS**2
            head.line(0.45 * ACROSS, y, fold, 0.02)
        # Beside the bridge of the nose.
        if wrinkled > 0.25 + 0.2 * row:
            top = -0.16 + 0.08 * row
            for side in SIDES:
                x = side * np.array([0.02, 0.14])
                head.line(x, np.array([top, top - 0.06]), fold, 0.025, lift=0.06)
    if act(17) > 0.3:
        head.line(0.14 * ACROSS, 0.93 - 0.05 * _ARC, fold, 0.03)
    for side in SIDES:
        if lowered > 0.3:
            x = side * np.array([0.06, 0.05])
            head.line(x, np.array([-0.42, -0.2]), fold, 0.025)
        _draw_cheek(head, side)


def _draw_cheek(head: Head, side: int) -> None:
    person = head.person
    smile, sneer = head.act(12), head.act(9, 10)
    if head.act(6) > 0.2:
        flush = blend(person.skin, (235, 100, 90), 0.25)
        head.patch(side * (0.45 + 0.17 * COS), 0.22 + 0.1 * SIN, flush)
        x = side * (person.eye_gap + 0.2 * ACROSS)
        head.line(x, 0.02 + 0.05 * _ARC, head.skin(0.72), 0.02)
    # The fold from the nose to the mouth's corner.
    depth = max(0.9 * smile, sneer, 0.6 * person.age)
    if depth > 0.2:
        along = np.array([0.0, 0.3, 0.65, 1.0])
        reach = person.mouth - 0.05 + 0.12 * smile + 0.06 * sneer
        x = side * (0.19 + reach * along**1.3)
        y = 0.27 - 0.07 * sneer + 0.3 * along
        head.line(x, y, head.skin(0.95 - 0.25 * depth), 0.03)


def _draw_eye(head: Head, side: int) -> None:
    person, act = head.person, head.act
    size, y = 0.9 * person.eye_size, -0.1
    wide, tight, squeezed = act(5), act(7), act(9)
    # Grief (units 1 and 4) pulls up the inner end of the lids.
    droop = 0.06 * min(act(1), act(4)) * (1 - wide) * ACROSS
    above = max(0.25, 1 + 0.75 * wide - 0.35 * tight - 0.25 * act(6, 9))
    below = max(0.1, 1 - 0.55 * tight - 0.75 * act(6) - 0.4 * squeezed)
    upper = y - size * 0.105 * above * _ARC**1.3 + droop
    lower = y + size * 0.07 * below * _ARC**1.5 + droop
    middle = side * person.eye_gap
    across = 0.18 * size * ACROSS
    x = side * (person.eye_gap + across)
    head.band(x, upper, lower, (245, 242, 238))
    # Iris and pupil, cut off by the lids.
    for radius, color in ((0.1, person.eye), (0.05, (15, 12, 12))):
        dx = size * radius * COS
        dy = size * radius * SIN
        top, bottom = (np.interp(side * dx, across, lid) for lid in (upper, lower))
        head.patch(middle + dx, np.clip(y - 0.01 + dy, top, bottom), color)
    head.line(x, upper, head.skin(0.28), 0.035)
    head.line(x, upper - 0.05 - 0.03 * wide, head.skin(0.75), 0.02)
    head.line(x, lower, head.skin(0.6), 0.018)
    if person.glasses:
        rim = (40, 36, 36)
        rim_y = y + 0.03 + 0.22 * SIN
        head.line(middle + 0.27 * COS, rim_y, rim, 0.03, lift=0.05)
        # The bridge over the nose lies further out.
        bridge = side * np.array([0.0, person.eye_gap - 0.27])
        head.line(bridge, y, rim, 0.03, lift=0.08)


def _draw_brow(head: Head, side: int) -> None:
    person, act = head.person, head.act
    along = np.linspace(0.0, 1.0, 8)
    inner, outer, lowered = act(1), act(2), act(4)
    y = person.brow_height - 0.06 * np.sin(np.pi * along**0.8)
    y = y + person.brow_tilt * (2 * along - 1)
    y = y - 0.17 * inner * (1 - along) ** 1.5 - 0.17 * outer * along**0.8
    y = y - 0.03 * inner * outer
    # Lowered brows come down more at their inner ends.
    y = y + lowered * (0.18 - 0.11 * inner) * (1 - 0.75 * along)
    y = y + 0.07 * act(9) * (1 - along)
    length = 0.47 + 0.03 * lowered
    x = side * (0.15 - 0.05 * lowered + length * along)
    thick = person.brow_thickness * (1.1 - 0.8 * along**2)
    color = shade(blend(person.hair, person.skin, 0.1), 0.8)
    head.band(x, y - thick, y + thick, color)


def _draw_mouth(head: Head) -> None:
    person, act = head.person, head.act
    smile, drop, stretch = act(12), act(26), act(20)
    tight, push = act(23), act(17)
    sneer = 0.08 * act(10) + 0.05 * act(9)
    half = person.mouth + 0.13 * smile + 0.14 * stretch - 0.08 * tight
    half -= 0.12 * drop * (1 - smile)
    corner = 0.64 - 0.15 * smile + 0.13 * act(15) + 0.04 * stretch
    corner = corner + 0.1 * drop - person.mouth_curve
    middle = 0.64 + 0.05 * smile - 0.06 * push - sneer
    parted = 0.1 * act(25) + 0.32 * drop + 0.07 * act(16)
    far, x = np.abs(ACROSS), half * ACROSS
    # Where the lips meet: the lower edge of the upper one, the upper edge of the lower one.
    upper = middle + (corner - middle) * far ** (2.2 - 0.6 * act(12, 15))
    upper -= 0.4 * sneer * np.sin(np.pi * far)
    lower = upper + parted * _ARC ** (1 - 0.5 * stretch) + 0.6 * sneer * _ARC
    if drop:
        # A dropped jaw opens the mouth between its corners, however far they are pulled up.
        deepest = lower + 0.3 * drop * (upper.min() - upper + 0.05) * _ARC
        lower = np.maximum(lower, deepest)
    lip = person.lips * (1 - 0.8 * tight) * _ARC
    color = blend(person.skin, (170, 50, 60), 0.55)
    # The upper lip is thinner in its middle.
    bow = 1 - 0.3 * np.exp(-((ACROSS / 0.2) ** 2))
    top = upper - 0.06 * lip * bow
    bottom = lower + (0.085 + 0.03 * push + 0.02 * act(16)) * lip
    head.band(x, top, bottom, color, lift=0.05)
    if (lower - upper).max() > 0.03:
        head.band(x, upper, lower, (60, 15, 20), lift=0.05)
        teeth = 0.04 + 0.06 * max(smile, act(10, 20))
        edge = np.minimum(upper + teeth, lower)
        head.band(x, upper, edge, (240, 238, 228), lift=0.05)
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
        rim_x = side * wing * np.array([0.6, 1.1, 1.05])
        rim_y = base - np.array([0, 0.04, 0.14])
        head.line(rim_x, rim_y, head.skin(0.7), 0.025)
        nostril_x = side * (0.5 * wing + 0.045 * COS)
        nostril_y = base - 0.01 + 0.02 * SIN
        head.patch(nostril_x, nostril_y, head.skin(0.4), lift=0.04)


def _photograph(image: Image.Image, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Add blur, light, colour cast and noise."""
    if scene.blur:
        image = image.filter(ImageFilter.GaussianBlur(scene.blur))
    width, height = image.size
    light_x, light_y = scene.light
    across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None] * light_x
    down = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None] * light_y
    light = (1 + across + down) * scene.gain
    pixels = np.asarray(image, dtype=np.float32) * light
    pixels *= np.asarray(scene.cast, dtype=np.float32)
    noise = rng.standard_normal((height, width, 1), dtype=np.float32)
    pixels += scene.noise * noise
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
