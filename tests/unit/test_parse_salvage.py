"""One event that cannot be decoded does not take others with it."""

from __future__ import annotations

import orjson
import pytest

from bridge.intake.salvage import NotJson, dumps, loads


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize("spoilt", [nested(5000), r'"\ud800"', '{"a":' * 3000 + "1" + "}" * 3000, "1e999", "-1e999"])
def test_what_no_decoder_reads_is_left_out(spoilt: str) -> None:
    content = f'{{"membership": "join", "bad": {spoilt}}}'
    body = f'{{"events": [{{"content": {content}, "type": "a"}}, {{"type": "b"}}], "x": 1}}'
    events = [{"content": {"membership": "join"}, "type": "a"}, {"type": "b"}]
    assert loads(body.encode()) == {"events": events, "x": 1}


def test_strings_that_look_like_structure_are_left_alone() -> None:
    tricky = orjson.dumps({"a": 'x"],}{[\\', 'b\\"': ["]", {"}": ","}]}).decode()
    body = f'{{"events": [{tricky}, {{"bad": {nested(2000)}, "t": {tricky}}}]}}'
    assert loads(body.encode()) == {"events": [orjson.loads(tricky), {"bad": [], "t": orjson.loads(tricky)}]}


@pytest.mark.parametrize(
    "body",
    [b"", b"x", b"{", b"[]", b"3", b'"x"', b'{"a" 1}', b"{1:2}", b'{"a": 1}}', b"\xff", b'{"a": NaN}', b'{"a": 1, "b"}',
     b'{"a": 1,}', b'{"events": [}', b'{"events": nope}', b'{"events": [1, 2'],
)  # fmt: skip
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(NotJson):
        loads(body)


@pytest.mark.parametrize("depth", [100, 252, 253, 254, 300, 1000])
def test_what_was_decoded_can_be_stored(depth: int) -> None:
    deep = nested(depth)
    event = loads(f'{{"type": "t", "content": {{"body": "b", "deep": {deep}}}, "unsigned": {deep}}}'.encode())
    stored = loads(dumps(event))
    assert stored["type"] == "t"
    assert stored["content"]["body"] == "b"
