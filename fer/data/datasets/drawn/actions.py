"""Who is drawn, what the face does and how it is shown: the chances behind the drawn demo set.

The action units and their numbers are those of the Facial Action Coding System (Ekman and Friesen 1978; Ekman, Friesen
and Hager 2002); the combinations per emotion are those of its EMFACS subset.
"""

import math
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
"""Action units per expression, with variants (EMFACS)."""

_UNITS = sorted({unit for variants in PROTOTYPES.values() for variant in variants for unit in variant})
_SKINS = ((255, 224, 196), (241, 194, 155), (224, 172, 125), (198, 134, 86), (141, 85, 50), (92, 58, 40))
_HAIRS = ((30, 24, 22), (70, 44, 28), (120, 78, 40), (205, 165, 95), (150, 60, 30), (170, 170, 172))
_EYES = ((70, 45, 25), (60, 100, 150), (70, 115, 75), (110, 120, 130))


@dataclass(frozen=True)
class Identity:
    """What stays of a person from picture to picture; lengths in face units, `age` and `beard` in [0, 1]."""

    skin: Color
    hair: Color
    eye: Color
    width: float
    jaw: float
    eye_size: float
    eye_gap: float
    brow_height: float
    brow_tilt: float
    brow_thickness: float
    nose: float
    mouth: float
    mouth_curve: float
    lips: float
    hairline: float
    long_hair: bool
    age: float
    beard: float
    glasses: bool


@dataclass(frozen=True)
class Scene:
    """How a face is shown.

    Angles in degrees (positive yaw turns the nose to the viewer's right), `unit` and `shift` as shares of the picture's
    shorter side, `light` as brightness gradients, `noise` in grey levels, `blur` in pixels.
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
    blobs: int
    noise: float
    blur: float


def random_identity(rng: np.random.Generator, female: bool | None = None) -> Identity:
    """Invent a person; `female` decides beard and long hair, or chance when it is None."""
    female = bool(rng.random() < 0.5) if female is None else female
    age = float(rng.beta(1.2, 2.2))
    hair = (190, 190, 190) if rng.random() < age - 0.4 else _HAIRS[rng.integers(len(_HAIRS))]
    skin = _SKINS[rng.integers(len(_SKINS))]
    return Identity(
        skin=shade(skin, float(rng.uniform(0.92, 1.06))),
        hair=hair,
        eye=_EYES[rng.integers(len(_EYES))],
        width=float(rng.uniform(0.84, 1.0)),
        jaw=float(rng.uniform(1.9, 2.6 if female else 3.2)),
        eye_size=float(rng.uniform(0.85, 1.2)),
        eye_gap=float(rng.uniform(0.36, 0.43)),
        brow_height=float(rng.uniform(-0.42, -0.33)),
        brow_tilt=float(rng.normal(0, 0.02)),
        brow_thickness=float(rng.uniform(0.03, 0.05 if female else 0.075)),
        nose=float(rng.uniform(0.8, 1.25)),
        mouth=float(rng.uniform(0.27, 0.38)),
        mouth_curve=float(rng.normal(0, 0.015)),
        lips=float(rng.uniform(0.6, 1.4)),
        hairline=float(rng.uniform(-0.95, -0.7)),
        long_hair=bool(rng.random() < (0.75 if female else 0.08)),
        age=age,
        beard=0.0 if female or rng.random() < 0.65 else float(rng.uniform(0.3, 1.0)),
        glasses=bool(rng.random() < 0.12),
    )


def random_actions(
    rng: np.random.Generator, expression: str, strength: tuple[float, float] = (0.55, 1.0)
) -> dict[int, float]:
    """Return intensities in [0, 1] of the action units of one showing of an expression.

    Units vary in strength together and singly, some stay out, and some that belong to other expressions join in, so
    that the classes overlap.

    Args:
        rng: Source of chance.
        expression: One of `EXPRESSIONS`.
        strength: Range of the whole expression's strength.
    """
    variants = PROTOTYPES[expression]
    whole = rng.uniform(*strength)
    actions = {unit: float(rng.uniform(0.0, 0.35)) for unit in _UNITS if rng.random() < 0.06}
    for unit in variants[rng.integers(len(variants))]:
        share = 0.0 if rng.random() < 0.06 else rng.uniform(0.7, 1.3)
        actions[unit] = float(min(1.0, whole * share))
    return actions


def wild_scene(rng: np.random.Generator, spread: float = 1.0) -> Scene:
    """Return a scene as on the internet; `spread` scales how far pose, light and noise go."""
    x, y = rng.normal(0, 0.015 * spread, 2)
    return Scene(
        # Most people look at the camera; a few look well away.
        yaw=float(rng.uniform(-80, 80) if rng.random() < 0.08 * spread else rng.normal(0, 10 * spread)),
        pitch=float(rng.normal(0, 5 * spread)),
        roll=float(rng.normal(0, 3 * spread)),
        unit=float(0.425 + rng.uniform(-0.025, 0.025) * spread),
        shift=(float(x), float(y) - 0.07),
        light=(float(rng.normal(0, 0.18 * spread)), float(rng.normal(0, 0.1 * spread))),
        gain=float(rng.uniform(1 - 0.35 * spread, 1.1)),
        cast=_cast(rng, 0.05 * spread),
        background=random_color(rng),
        clothes=random_color(rng),
        blobs=int(rng.integers(0, 5)),
        noise=float(rng.uniform(2, 7 * spread)),
        blur=float(max(0.0, rng.uniform(-0.8, 1.0 * spread))),
    )


def studio_scene(rng: np.random.Generator, yaw: float) -> Scene:
    """Return a scene as in KDEF: even light, plain background, grey shirt and a head turned by `yaw` degrees."""
    return Scene(
        yaw=yaw + float(rng.normal(0, 2)),
        pitch=float(rng.normal(0, 2)),
        roll=float(rng.normal(0, 1.5)),
        unit=float(rng.uniform(0.35, 0.37)),
        shift=(-0.08 * math.sin(math.radians(yaw)) + float(rng.normal(0, 0.01)), float(rng.normal(0, 0.01)) + 0.02),
        light=(float(rng.normal(0, 0.04)), -0.05),
        gain=float(rng.uniform(0.92, 1.0)),
        cast=(1.04, 1.0, 0.92),
        background=(206, 200, 186),
        clothes=(128, 130, 132),
        blobs=0,
        noise=2.5,
        blur=0.0,
    )


def shade(color: Color, factor: float) -> Color:
    """Return a colour made darker or lighter by a factor."""
    red, green, blue = (min(255, int(part * factor)) for part in color)
    return red, green, blue


def blend(one: Color, other: Color, share: float) -> Color:
    """Return a colour between two; `share` in [0, 1] is the second one's."""
    red, green, blue = (int(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def random_color(rng: np.random.Generator) -> Color:
    """Return a random colour, neither black nor white."""
    red, green, blue = (int(part) for part in rng.integers(20, 235, 3))
    return red, green, blue


def _cast(rng: np.random.Generator, spread: float) -> tuple[float, float, float]:
    red, green, blue = (float(part) for part in rng.normal(1, spread, 3))
    return red, green, blue
