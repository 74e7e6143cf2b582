"""The reference of all chat commands as Markdown, out of their table: what docs/commands.md shows.

`python -m bridge.commands.reference docs/commands.md` writes it there, in the place of the one before.
"""

from __future__ import annotations

import sys
from pathlib import Path

from bridge.commands.row import Row
from bridge.commands.table import HELLO, TABLE
from bridge.core.access import NEEDED
from bridge.core.community import Role
from bridge.core.ids import CommunityId
from bridge.core.languages import DE, EN
from bridge.core.markup import plain

EXAMPLE = CommunityId("springfield")
HEAD = "| command | what it does | who may | example | also called |\n| --- | --- | --- | --- | --- |\n"
WHO_MAY = {
    Role.MEMBER: "members",
    Role.MODERATOR: "moderators in their groups, admins and owners",
    Role.ADMIN: "admins and owners",
    Role.OWNER: "owners",
}


def reference() -> str:
    """One row a command: form, purpose, who may, an example, its other names, whether a yes is asked for."""
    return HEAD + "".join(_line(row) for row in TABLE if row is not HELLO)


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


def put_into(page: str) -> str:
    """A page with the reference in the place of the table that begins as it does."""
    begin = page.index(HEAD)
    end = page.find("\n\n", begin)
    return page[:begin] + reference() + ("" if end < 0 else page[end + 1 :])


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(put_into(place.read_text(encoding="utf-8")), encoding="utf-8")
