"""Sample the parameters of drawn faces: person, facial action units, and scene.

Action units and their numbers are those of the Facial Action Coding System (Ekman and Friesen 1978; Ekman, Friesen and
Hager 2002), their combinations by emotion those of its EMFACS subset. The ones drawn here:

    1 inner brow raiser    6 cheek raiser       12 lip corner puller        20 lip stretcher
    2 outer brow raiser    7 lid tightener      15 lip corner depressor     23 lip tightener
    4 brow lowerer         9 nose wrinkler      16 lower lip depressor      25 lips part
    5 upper lid raiser    10 upper lip raiser   17 chin raiser              26 jaw drop
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Color = tuple[int, int, int]

PROTOTYPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "surprise": ((1, 2, 5, 26), (1, 2, 5, 25, 26)),
    "fear": ((1, 2, 4, 5, 7, 20, 26), (1, 2, 4, 5, 20, 25)),
    "disgust": ((9, 15, 16), (9, 10, 17), (9, 10, 16, 25)),
    "happiness": ((6, 12), (6, 12, 25)),
    "sadness": ((1, 4, 15), (1, 4, 15, 17)),
    "anger": ((4, 5, 7, 23), (4, 5, 7, 10, 25)),
    "neutral": ((),),
}
"""Action units of each expression, in variants (EMFACS)."""

_UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 15, 16, 17, 20, 23, 25, 26)
_SKINS = ((255, 224, 196), (241, 194, 155), (224, 172, 125), (198, 134, 86), (141, 85, 50), (92, 58, 40))
_HAIRS = ((30, 24, 22), (70, 44, 28), (120, 78, 40), (205, 165, 95), (150, 60, 30), (170, 170, 172))
_GREY = (190, 190, 190)
_EYES = ((70, 45, 25), (60, 100, 150), (70, 115, 75), (110, 120, 130))


class Person:
    """A random person: what stays the same from picture to picture.

    Lengths are in face units (see `head`), `age` and `beard` in [0, 1].

    Args:
        rng: Random generator.
        female: Decides on beard and hair; None leaves it to the generator.
    """

    # The order of the draws is part of the drawn set: another order gives other faces.
    def __init__(self, rng: np.random.Generator, female: bool | None = None) -> None:
        if female is None:
            female = rng.random() < 0.5
        self.age = rng.beta(1.2, 2.2)
        grey = rng.random() < self.age - 0.4
        self.hair = _GREY if grey else _choice(rng, _HAIRS)
        self.skin = shade(_choice(rng, _SKINS), rng.uniform(0.92, 1.06))
        self.eye = _choice(rng, _EYES)
        self.width = rng.uniform(0.84, 1.0)
        self.jaw = rng.uniform(1.9, 2.6 if female else 3.2)
        self.eye_size = rng.uniform(0.85, 1.2)
        self.eye_gap = rng.uniform(0.36, 0.43)
        self.brow_height = rng.uniform(-0.42, -0.33)
        self.brow_tilt = rng.normal(0, 0.02)
        self.brow_thickness = rng.uniform(0.03, 0.05 if female else 0.075)
        self.nose = rng.uniform(0.8, 1.25)
        self.mouth = rng.uniform(0.27, 0.38)
        self.mouth_curve = rng.normal(0, 0.015)
        self.lips = rng.uniform(0.6, 1.4)
        self.hairline = rng.uniform(-0.95, -0.7)
        self.long_hair = rng.random() < (0.75 if female else 0.08)
        shaven = female or rng.random() < 0.65
        self.beard = 0.0 if shaven else rng.uniform(0.3, 1.0)
        self.glasses = rng.random() < 0.12


@dataclass(frozen=True)
class Scene:
    """How a face is shown.

    Attributes:
        yaw: Turn of the head in degrees; positive turns the nose to the viewer's right.
        pitch: Nod in degrees.
        roll: Tilt in degrees.
        unit: Length of a face unit as a fraction of the picture's shorter side.
        shift: Offset (x, y) from the picture's middle, as such fractions.
        light: Gradients (x, y) of brightness.
        gain: Factor of brightness.
        cast: Factors of red, green and blue.
        background: Colour behind the person.
        clothes: Colour of the shoulders.
        blobs: Number of discs in the background.
        noise: Standard deviation in grey levels.
        blur: Radius in pixels.
    """

    yaw: float
    pitch: float
    roll: float
    unit: float
    shift: tuple[float, float]
    light: tuple[float, float]
    gain: float
    cast: tuple[float, float, float]
    background: Color
    clothes: Color
    blobs: int = 0
    noise: float = 2.5
    blur: float = 0.0


def random_actions(
    rng: np.random.Generator,
    expression: str,
    strength: tuple[float, float] = (0.55, 1.0),
) -> dict[int, float]:
    """Sample one showing of an expression.

    Args:
        rng: Random generator.
        expression: One of `EXPRESSIONS`.
        strength: Range of the whole expression's strength.

    Returns:
        Intensities in [0, 1] by action unit.
    """
    # One strength for all units, as a face smiles weakly or strongly as a whole; each then varies by itself.
    variants = PROTOTYPES[expression]
    overall = rng.uniform(*strength)
    actions = {}
    # Units of other expressions join in and some of its own stay out, so that the classes overlap as real ones do.
    for unit in _UNITS:
        if rng.random() < 0.06:
            actions[unit] = rng.uniform(0.0, 0.35)
    for unit in variants[rng.integers(len(variants))]:
        stays_out = rng.random() < 0.06
        factor = 0.0 if stays_out else rng.uniform(0.7, 1.3)
        actions[unit] = min(1.0, overall * factor)
    return actions


def wild_scene(rng: np.random.Generator, variation: float = 1.0) -> Scene:
    """Sample a scene as on the internet; `variation` scales how far pose, light and noise go."""
    # Faces stand a little above the middle, as in cropped portraits.
    shift_x = rng.normal(0, 0.015 * variation)
    shift_y = rng.normal(0, 0.015 * variation) - 0.07
    # Most people look at the camera; a few look well away.
    looks_away = rng.random() < 0.08 * variation
    return Scene(
        yaw=rng.uniform(-80, 80) if looks_away else rng.normal(0, 10 * variation),
        pitch=rng.normal(0, 5 * variation),
        roll=rng.normal(0, 3 * variation),
        unit=0.425 + rng.uniform(-0.025, 0.025) * variation,
        shift=(shift_x, shift_y),
        light=(
            rng.normal(0, 0.18 * variation),
            rng.normal(0, 0.1 * variation),
        ),
        gain=rng.uniform(1 - 0.35 * variation, 1.1),
        cast=(
            rng.normal(1, 0.05 * variation),
            rng.normal(1, 0.05 * variation),
            rng.normal(1, 0.05 * variation),
        ),
        background=random_color(rng),
        clothes=random_color(rng),
        blobs=int(rng.integers(0, 5)),
        noise=rng.uniform(2, 7 * variation),
        blur=max(0.0, rng.uniform(-0.8, 1.0 * variation)),
    )


def studio_scene(rng: np.random.Generator, yaw: float) -> Scene:
    """Sample a scene as in KDEF: even light, plain background, grey shirt, and a head turned by `yaw` degrees."""
    return Scene(
        yaw=yaw + rng.normal(0, 2),
        pitch=rng.normal(0, 2),
        roll=rng.normal(0, 1.5),
        unit=rng.uniform(0.35, 0.37),
        # A turned head stands beside the picture's middle, since it turns about the neck.
        shift=(
            -0.08 * math.sin(math.radians(yaw)) + rng.normal(0, 0.01),
            rng.normal(0, 0.01) + 0.02,
        ),
        light=(rng.normal(0, 0.04), -0.05),
        gain=rng.uniform(0.92, 1.0),
        cast=(1.04, 1.0, 0.92),
        background=(206, 200, 186),
        clothes=(128, 130, 132),
    )


def shade(color: Color, factor: float) -> Color:
    """Darken or lighten a colour by a factor."""
    red, green, blue = (min(255, int(channel * factor)) for channel in color)
    return red, green, blue


def blend(color: Color, other: Color, fraction: float) -> Color:
    """Mix two colours; `fraction` in [0, 1] is the second one's."""
    red, green, blue = (int(a + (b - a) * fraction) for a, b in zip(color, other, strict=True))
    return red, green, blue


def random_color(rng: np.random.Generator) -> Color:
    """Sample a colour, neither black nor white."""
    red, green, blue = (int(channel) for channel in rng.integers(20, 235, 3))
    return red, green, blue


def _choice(rng: np.random.Generator, colors: Sequence[Color]) -> Color:
    return colors[int(rng.integers(len(colors)))]
