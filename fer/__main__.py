"""`python -m fer`: the command line without an installed script."""

from fer.cli import main

if __name__ == "__main__":
    main()
