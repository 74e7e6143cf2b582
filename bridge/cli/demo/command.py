"""placeholder"""


def demo() -> None:
    """Show the main job on a private homeserver."""
