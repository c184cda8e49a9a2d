"""`attribution`: look up, enter or show who made the Wikimedia pictures and under which licences."""

from fer.attribution.credits import Credit, load_credits
from fer.attribution.update import credits_summary, enter, refresh, remove
from fer.config.data import AttributionConfig
from fer.errors import ConfigError
from fer.utils.paths import resolve_data_root

ENTRY_OPTIONS = ("author", "licence", "licence_url", "source", "title")


def run(config: AttributionConfig) -> dict[str, Credit]:
    """Fill the data root's record from Commons, enter a credit by hand, or only read; print what is known.

    Returns:
        The credits by place in the set.

    Raises:
        ConfigError: The contact that a look-up needs is missing or no plain text, or an option does not fit the action.
        DataError: Commons cannot be reached, or the record is damaged or cannot be written.
    """
    root = resolve_data_root(config.data_root)
    values = {name: getattr(config, name) for name in ENTRY_OPTIONS}
    given = {name: value for name, value in values.items() if value}
    # Whoever gives an option that the action ignores has mistaken the action, and would believe it done.
    if given and config.action != "set":
        option = next(iter(given))
        raise ConfigError(f"{option} belongs to `fer attribution set <picture>`, not to {config.action}")
    if config.file and config.action not in ("set", "unset"):
        raise ConfigError(f"{config.action} takes no picture: leave out {config.file!r}")
    if config.action == "refresh":
        refresh(root, config.contact)
    elif config.action == "set":
        enter(root, config.file, given)
    elif config.action == "unset":
        remove(root, config.file)
    credits = load_credits(root)
    # The others have said what they did, of one picture.
    if config.action in ("show", "refresh"):
        print(credits_summary(credits, root))
    return credits
