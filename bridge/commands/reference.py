"""The reference of all chat commands as Markdown, out of their table: what docs/commands.md shows.

`python -m bridge.commands.reference` prints it.
"""

from __future__ import annotations

from bridge.commands.row import Row
from bridge.commands.table import HELLO, TABLE
from bridge.core.access import NEEDED
from bridge.core.community import Role
from bridge.core.ids import CommunityId
from bridge.core.languages import DE, EN
from bridge.core.markup import plain

EXAMPLE = CommunityId("springfield")
WHO_MAY = {Role.MEMBER: "members", Role.MODERATOR: "moderators", Role.ADMIN: "admins and owners", Role.OWNER: "owners"}


def reference() -> str:
    """One row a command: form, purpose, who may, an example, its other names, whether a yes is asked for."""
    head = "| command | what it does | who may | example | also called |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(_line(row) for row in TABLE if row is not HELLO)


def _line(row: Row) -> str:
    purpose = plain(row.explain(EN).purpose)
    if row.confirm is not None:
        purpose += "; asks for a yes"
    german = row.called(DE)
    others = [f"`{german}` (German)"] if german != row.name else []
    others += [f"`{name}`" for name in row.all_names if name not in (row.name, german)]
    cells = [
        f"`{row.form()}`",
        purpose,
        WHO_MAY[NEEDED[row.deed]],
        f"`{plain(row.example(EN, EXAMPLE if row.about == 'one' else None))}`",
        ", ".join(others),
    ]
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    print(reference(), end="")
