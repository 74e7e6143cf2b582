"""`python -m bridge` is the same as the command `matrix-communities`."""

from bridge.cli.main import main

if __name__ == "__main__":
    main()
