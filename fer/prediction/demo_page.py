"""What the demo's page shows, as HTML: the answer to a picture, and what is to be known of a model."""

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fer.prediction.annotate import CARDS, Shown, boxed, overlay

SIDE = 192
"""Side of a card's pictures in pixels."""
STYLE = """
.fer img.whole { display: block; max-width: 100%; max-height: 70vh; border-radius: 6px; }
.fer .face { display: flex; flex-wrap: wrap; gap: 12px; align-items: center; padding: 12px 0;
  border-top: 1px solid var(--border-color-primary); }
.fer .face img { width: 112px; height: 112px; border-radius: 6px; }
.fer .shares { flex: 1 1 260px; }
.fer .shares h3 { margin: 0 0 4px; font-size: var(--text-md); }
.fer .share { display: grid; grid-template-columns: 5.5em 1fr 3em; gap: 8px; align-items: center;
  line-height: 1.35; font-size: var(--text-sm); }
.fer .share b { font-weight: 400; text-align: right; }
.fer .track { height: 9px; border-radius: 3px; background: var(--border-color-primary); }
.fer .bar { display: block; height: 9px; border-radius: 3px; background: #0072B2; }
.dark .fer .bar { background: #56B4E9; }
.fer p { margin: 8px 0; }
.fer .quiet { opacity: 0.75; font-size: var(--text-sm); }
.fer .fault { border-left: 3px solid #D55E00; padding-left: 10px; }
.fer ul { margin: 4px 0; padding-left: 1.2em; list-style: disc; }
"""
"""Uses the page's own variables for colours, so it suits a dark page as well as a light one."""


def answer_page(picture: Image.Image, faces: Sequence[Shown], maps: Sequence[NDArray[np.float32]], told: str) -> str:
    """Return the picture with its faces marked, and a card for each of the first `CARDS`.

    Everything is inside the text, pictures too: nothing needs a file or another address.

    Args:
        picture: Upright, RGB.
        faces: What was found.
        maps: Saliency `(S, S)` in [0, 1] of the first faces; may be none.
        told: A line on who answered and how long it took.
    """
    count = f"{len(faces)} face{'s' * (len(faces) != 1)}" if faces else "No face found"
    parts = [_picture(boxed(picture, faces), "JPEG", "the picture, its faces marked", "whole")]
    parts.append(f'<p class="quiet">{count}. {escape(told)}</p>')
    if maps:
        parts.append('<p class="quiet">Orange: where the evidence for the answer lies, strongest on each face.</p>')
    for number, face in enumerate(faces[:CARDS], start=1):
        parts.append(_card(number, face, maps[number - 1] if number <= len(maps) else None))
    if len(faces) > CARDS:
        parts.append(f'<p class="quiet">And {len(faces) - CARDS} more faces, marked in the picture.</p>')
    return _block("".join(parts))


def fault_page(sentence: str) -> str:
    """Return why there is no answer."""
    return _block(f'<p class="fault">{escape(sentence)}</p>')


def model_page(what: str, terms: Sequence[str], limits: Sequence[str]) -> str:
    """Return what is to be known of a model before its answers are believed.

    Args:
        what: What it is, in a line.
        terms: The terms it inherits.
        limits: What it cannot do, a sentence or two each.
    """
    said = "; ".join(terms) or "it inherits none"
    items = "".join(f"<li>{escape(limit)}</li>" for limit in limits)
    return _block(f"<h2>About the model</h2><p>{escape(what)}</p><p>Terms: {escape(said)}</p><ul>{items}</ul>")


def _block(content: str) -> str:
    return f'<div class="fer">{content}</div>'


def _card(number: int, face: Shown, saliency: NDArray[np.float32] | None) -> str:
    crop = Image.fromarray(face.crop).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    pictures = _picture(crop, "JPEG", f"face {number}", "crop")
    if saliency is not None:
        pictures += _picture(overlay(face.crop, saliency, SIDE), "JPEG", f"evidence on face {number}", "map")
    shares = "".join(
        f'<div class="share"><span>{escape(name)}</span><span class="track"><span class="bar" '
        f'style="width:{100 * share:.1f}%"></span></span><b>{share:.0%}</b></div>'
        for name, share in face.probabilities.items()
    )
    title = f"<h3>{number}: {escape(face.expression)}</h3>"
    return f'<div class="face">{pictures}<div class="shares">{title}{shares}</div></div>'


def _picture(picture: Image.Image, kind: str, words: str, name: str) -> str:
    content = io.BytesIO()
    picture.save(content, kind, quality=88)
    encoded = base64.b64encode(content.getvalue()).decode()
    return f'<img class="{name}" alt="{escape(words)}" src="data:image/{kind.lower()};base64,{encoded}">'
