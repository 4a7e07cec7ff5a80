"""``python -m nakamura_misaki`` is the command ``nakamura-misaki``."""

from nakamura_misaki.adapters.primary.cli.main import main

if __name__ == "__main__":
    main()
