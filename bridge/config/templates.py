"""Templates of communities: what one gives is put under what the community says itself, before anything is read.

A template is a community without an id. It is put together with the community as the file has it, key by key: what the
community says wins. Groups and sub-communities are put together one by one. Sub-communities of a template get the
community's id before theirs (`year-1` for `springfield` is `springfield-year-1`), since ids are unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from bridge.config.nodes import Report, is_empty, join, line_of, shown_key, text_of
from bridge.config.readers import did_you_mean
from bridge.core.subcommunities import DEEPEST

USE = "use"
_PUT_TOGETHER = ("groups", "subcommunities")
_WITHIN = "subcommunities"


def put_in(root: Node | None, report: Report) -> Node | None:
    """The file with every `use: …` of a community carried out. An unknown template is a fault, and changes nothing."""
    if not isinstance(root, MappingNode):
        return root
    own = {text_of(key): value for key, value in _pairs(_value(root, "templates"))}
    templates = {**shipped(), **own}
    communities = _value(root, "communities")
    if not isinstance(communities, MappingNode):
        return root
    return _with_value(root, "communities", _all_of(communities, "communities", templates, report, ()))


@cache
def shipped() -> Mapping[str, Node]:
    """The templates that come with the service, by name."""
    text = (resources.files("bridge.config") / "templates.yaml").read_text(encoding="utf-8")
    return {text_of(key): value for key, value in _pairs(YAML(typ="safe", pure=True).compose(text))}


def _all_of(
    communities: MappingNode, path: str, templates: Mapping[str, Node], report: Report, used: tuple[str, ...]
) -> MappingNode:
    found = [
        (key, _one(text_of(key), value, join(path, shown_key(text_of(key))), templates, report, used))
        if isinstance(key, ScalarNode) else (key, value)
        for key, value in communities.value
    ]  # fmt: skip
    return _like(communities, found)


def _one(
    name: str, community: Node, path: str, templates: Mapping[str, Node], report: Report, used: tuple[str, ...]
) -> Node:
    """A community with its template under it, and the same for those within it."""
    if not isinstance(community, MappingNode) or path.count(f".{_WITHIN}") >= DEEPEST:
        return community
    wanted = _value(community, USE)
    while isinstance(wanted, ScalarNode) and not is_empty(wanted):
        template = text_of(wanted)
        report.lines.setdefault(join(path, USE), line_of(wanted))
        if template not in templates:
            known = ", ".join(sorted(templates))
            hint = did_you_mean(template, templates)
            report.fault(join(path, USE), f"there is no template {shown_key(template)!r}; there are: {known}{hint}")
            break
        if template in used:
            report.fault(join(path, USE), f"the template {template} uses itself")
            break
        given = templates[template]
        if given is shipped().get(template):
            given = _moved(given, wanted)
        community, used = _under(_renamed_within(given, name), community), (*used, template)
        wanted = _value(given, USE)
    within = _value(community, _WITHIN)
    if not isinstance(within, MappingNode):
        return community
    return _with_value(community, _WITHIN, _all_of(within, join(path, _WITHIN), templates, report, used))


def _under(template: Node, own: MappingNode, depth: int = 0) -> MappingNode:
    """What a template says, with what a community says itself in its place."""
    if not isinstance(template, MappingNode) or depth > DEEPEST:
        return own
    ours = {text_of(key): (key, value) for key, value in _pairs(own)}
    theirs = {text_of(key): (key, value) for key, value in _pairs(template)}
    together = []
    for key, value in own.value:
        name = text_of(key) if isinstance(key, ScalarNode) else ""
        both = name in theirs and name in _PUT_TOGETHER and isinstance(value, MappingNode)
        together.append((key, _one_by_one(theirs[name][1], value, depth) if both else value))
    together += [pair for name, pair in theirs.items() if name not in ours]
    return _like(own, together)


def _one_by_one(template: Node, own: MappingNode, depth: int) -> MappingNode:
    """Groups or sub-communities: each of ours over that of the template, and the template's others before them."""
    if not isinstance(template, MappingNode):
        return own
    ours = {text_of(key): (key, value) for key, value in _pairs(own)}
    found = []
    for key, value in _pairs(template):
        mine = ours.get(text_of(key))
        if mine is None or is_empty(mine[1]):
            found.append((key, value))
        else:
            found.append((mine[0], _under(value, mine[1], depth + 1) if isinstance(mine[1], MappingNode) else mine[1]))
    taken = {text_of(key) for key, _ in found}
    found += [(key, value) for key, value in own.value if not isinstance(key, ScalarNode) or text_of(key) not in taken]
    return _like(own, found)


def _renamed_within(template: Node, name: str) -> Node:
    """A template with the ids of its sub-communities made those of the community that uses it."""
    within = _value(template, _WITHIN)
    if not isinstance(template, MappingNode) or not isinstance(within, MappingNode):
        return template
    renamed = [(_renamed(key, name) if isinstance(key, ScalarNode) else key, value) for key, value in within.value]
    return _with_value(template, _WITHIN, _like(within, renamed))


def _renamed(key: ScalarNode, name: str) -> Node:
    return ScalarNode(key.tag, f"{name}-{key.value}", start_mark=key.start_mark, end_mark=key.end_mark)


def _moved(node: Node, where: Node) -> Node:
    """A copy of a node of ours, whose faults are told where the template is used."""
    if isinstance(node, ScalarNode):
        return ScalarNode(node.tag, node.value, start_mark=where.start_mark, end_mark=where.end_mark)
    if isinstance(node, MappingNode):
        pairs = [(_moved(key, where), _moved(value, where)) for key, value in node.value]
        return MappingNode(node.tag, pairs, start_mark=where.start_mark, end_mark=where.end_mark)
    values = [_moved(value, where) for value in node.value]
    return SequenceNode(node.tag, values, start_mark=where.start_mark, end_mark=where.end_mark)


def _pairs(node: Node | None) -> list[tuple[Node, Node]]:
    return [pair for pair in node.value if isinstance(pair[0], ScalarNode)] if isinstance(node, MappingNode) else []


def _value(node: Node, name: str) -> Node | None:
    return next((value for key, value in _pairs(node) if text_of(key) == name), None)


def _with_value(node: MappingNode, name: str, value: Node) -> MappingNode:
    return _like(
        node,
        [(key, value if isinstance(key, ScalarNode) and text_of(key) == name else old) for key, old in node.value],
    )


def _like(node: Node, value: list[tuple[Node, Node]]) -> MappingNode:
    return MappingNode(node.tag, value, start_mark=node.start_mark, end_mark=node.end_mark)
