"""Configurations of the commands that deal with data sets and their credits."""

from dataclasses import dataclass

from fer.config import options
from fer.config.options import option


@dataclass(frozen=True)
class PrepareConfig:
    """Bring a data set into the common tree, check it and write its manifest."""

    dataset: str = options.dataset(
        help=f"{options.DATASET_HELP}; folder: pictures of your own that are no set yet, with source and name",
    )
    source: str = options.path(
        "",
        "the download: a folder, an archive or, for folder, a CSV; empty: the set's usual places",
    )
    data_root: str = options.data_root()
    # Of a set of one's own, which nobody else has described.
    name: str = option("", "folder: what the set is called from now on, such as mine")
    map: str = option("", "folder: what classes show, such as rage:anger,7:neutral,contempt:none; empty: as named")
    split: str = option(
        "auto",
        "folder: auto (as its owner split it, else 20 % test, 10 % of the rest validation), or all for one",
        choices=options.SPLIT_CHOICES,
    )
    terms: str = option("", "folder: what its pictures may be used for, for the model card")
    showable: bool = option(False, "folder: whether figures and reports may show its pictures")
    # It moves accuracy on photographs by tens of points, so every set is framed alike.
    framing: str = option(
        "auto",
        "auto: cut pictures to the detected face, upright; none: stretch them, as in 2021",
        choices=options.FRAMINGS,
    )
    scale: float = options.scale()
    # Free licences ask for credits wherever a picture is shown.
    allow_unattributed: bool = option(False, "show Wikimedia pictures even while authors or licences are unresolved")
    config: str = options.config()


@dataclass(frozen=True)
class DataConfig:
    """List the data sets, your own among them: in which state each is, where it was looked for, how to get it."""

    data_root: str = options.data_root()
    config: str = options.config()


@dataclass(frozen=True)
class AttributionConfig:
    """Look up who made the Wikimedia pictures, under which licences, enter it by hand, or show what is known."""

    action: str = option(
        "show",
        "what to do, also as the first word",
        choices=("show", "refresh", "set", "unset"),
    )
    file: str = option(
        "",
        "set, unset: the picture, such as 6/Sword_of_Anger.jpg, also as the second word",
    )
    author: str = option("", "set: who made the picture, as they ask to be named")
    licence: str = option("", "set: its short name, such as CC BY-SA 3.0")
    licence_url: str = option("", "set: web address of the licence's text")
    source: str = option("", "set: web address of the page that names author and licence")
    title: str = option("", "set: its title; given alone, the one under which refresh looks it up")
    data_root: str = options.data_root()
    # Wikimedia blocks clients that nobody answers for.
    contact: str = option("", "page or e-mail by which Wikimedia can reach you; empty: $FER_CONTACT")
    config: str = options.config()
