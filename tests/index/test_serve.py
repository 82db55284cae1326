"""The server: answers as search does, to those it should, within its limits; its description and its page are right."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from PIL import Image

import likewise
from likewise.errors import InputError
from likewise.index import Index, open_index
from likewise.index.answers import answers
from likewise.index.embedding.embed import embed
from likewise.serving.app import application
from likewise.serving.limits import Limits
from likewise.serving.together import Together
from likewise.verbs.using.search import search
from likewise.verbs.using.serve import serve
from tests.browser import barriers, chromium, page  # noqa: F401  # fixtures
from tests.index.conftest import write_images
from tests.processes import PATIENCE, forks


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Twelve images by a run that reads words, though it has hardly learned them."""
    folder = tmp_path_factory.mktemp("served")
    for number, path in enumerate(write_images(folder / "images", 12)):
        path.with_suffix(".txt").write_text(f"tile {number % 3}", encoding="utf-8")
    likewise.train(
        folder / "images", method="clipdistill", epochs=1, out=folder / "run", encoder="resnet10", width=8,
        image_size=16, batch_size=6, words=4, text_width=16, text_layers=1, targets="none", quiet=True, report=False,
    )  # fmt: skip
    embed(folder / "run", folder / "images", to=folder / "x.index")
    return open_index(folder / "x.index")


def client(index: Index, **asked: Any) -> Any:
    from starlette.testclient import TestClient

    return TestClient(application(index, **asked))


def test_answers_are_those_of_search(held: Index) -> None:
    http = client(held)
    image = Path(held.paths[3])
    posted = http.post("/search", params={"k": 3}, content=image.read_bytes())
    assert posted.status_code == 200
    assert posted.json() == search(held, image, k=3).to_json()
    assert http.get("/search", params={"id": "003.png", "k": 2}).json() == search(held, "id:003.png", k=2).to_json()
    thumbnail = Image.open(io.BytesIO(http.get("/image", params={"id": "003.png"}).content))
    assert thumbnail.format == "JPEG"
    assert http.get("/health").json() == {"rows": 12, "fingerprint": held.fingerprint, "words": True}


def test_words_find_what_search_finds_by_them(held: Index, index: Index) -> None:
    expected = search(held, text="tile 1", k=4, where="path like '%.png'").to_json()
    asked = {"text": "tile 1", "k": 4, "where": "path like '%.png'"}
    http = client(held)
    assert http.get("/search", params=asked).json() == expected
    words = {"content-type": "text/plain; charset=utf-8"}
    sent = http.post("/search", params={"k": 4}, content=b"tile 1", headers=words)
    assert [one["id"] for one in sent.json()["results"]] == [one["id"] for one in expected["results"]]
    assert http.post("/search", content=b"\xff\xfe", headers=words).status_code == 400
    without = client(index)
    assert without.get("/health").json()["words"] is False
    refused = without.get("/search", params={"text": "red"})
    assert refused.status_code == 400
    assert "does not say which run" in refused.json()["error"]


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has `side` x `side` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/search", b"", 400),
        ("POST", "/search", b"no image", 415),
        ("POST", "/search", bomb(50_000), 413),
        ("POST", "/search", bomb(9_000), 413),
        ("POST", "/search", b"x" * 30_000, 413),
        ("POST", "/search?k=0", bomb(4), 400),
        ("GET", "/search?id=003.png&k=9999", None, 400),
        ("GET", "/search?id=003.png&where=nothing", None, 400),
        ("GET", "/search", None, 400),
        ("GET", "/search?id=003.png&text=red", None, 400),
        ("GET", "/search?text=" + "red" * 2000, None, 413),
        ("GET", "/search?id=nobody", None, 404),
        ("GET", "/image?id=/etc/passwd", None, 404),
        ("GET", "/image?id=../../etc/passwd", None, 404),
        ("GET", "/etc/passwd", None, 404),
        ("DELETE", "/search", None, 405),
    ],
)
def test_what_cannot_be_is_refused_in_json(
    held: Index, method: str, path: str, sent: bytes | None, status: int
) -> None:
    answer = client(held, limits=Limits(bytes=20_000)).request(method, path, content=sent)
    assert answer.status_code == status
    assert list(answer.json()) == ["error"]


def test_others_need_the_token_and_the_right_name(held: Index) -> None:
    token = "a" * 20
    http = client(held, token=token)
    assert http.get("/health").status_code == 401
    assert http.get("/health", headers={"authorization": f"Bearer {token}"}).status_code == 200
    assert http.get("/health", params={"token": token[:-1] + "b"}).status_code == 401
    assert client(held).get("/health", headers={"host": "evil.example"}).status_code == 400
    with pytest.raises(InputError, match="--token"):
        serve(held, host="0.0.0.0")
    with pytest.raises(InputError, match="can be guessed"):
        serve(held, token="short")


def test_no_answer_in_time_is_said(held: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    from likewise.serving import app

    monkeypatch.setattr(app, "answers", lambda *_, **__: time.sleep(1))
    answer = client(held, limits=Limits(seconds=0.1)).get("/search", params={"id": "003.png"})
    assert answer.status_code == 503


def test_what_waits_is_answered_together_and_one_that_cannot_be_harms_no_other() -> None:
    together, started, go_on = [], threading.Event(), threading.Event()

    def answer(key: str, questions: Sequence[int]) -> list[int]:
        together.append((key, list(questions)))
        started.set()
        go_on.wait(30)
        if 13 in questions:
            raise InputError("no")
        return [2 * one for one in questions]

    async def ask() -> list[int | BaseException]:
        asked: Together[str, int, int] = Together(answer, most=3)
        first = asyncio.create_task(asked.ask("a", 0))
        await asyncio.to_thread(started.wait)
        others = [asyncio.create_task(asked.ask(*one)) for one in [("a", 1), ("b", 5), ("a", 13), ("a", 2), ("a", 3)]]
        gone = asyncio.create_task(asked.ask("b", 6))
        await asyncio.sleep(0.01)
        gone.cancel()
        go_on.set()
        return await asyncio.gather(first, *others, return_exceptions=True)

    found = asyncio.run(ask())
    assert [str(one) for one in found] == ["0", "2", "10", "no", "4", "6"]
    alone = [("a", [1]), ("a", [13]), ("a", [2])]
    assert together == [("a", [0]), ("a", [1, 13, 2]), *alone, ("b", [5]), ("a", [3])]


def test_several_queries_at_once_find_what_each_finds_alone(held: Index) -> None:
    rows = [f"id:{one}" for one in held.ids[:4]]
    found = answers(held, [*rows, "id:nobody"], k=3)
    assert found[4] is None
    assert [one.to_json() for one in found[:4] if one] == [search(held, row, k=3).to_json() for row in rows]
    images = [Image.open(path) for path in held.paths[:3]]
    several = [[hit.id for hit in one.hits] for one in answers(held, images, k=3) if one]
    assert several == [[hit.id for hit in search(held, path, k=3).hits] for path in held.paths[:3]]


def test_a_change_is_seen_by_the_next_request(held: Index) -> None:
    http = client(open_index(held.path))
    other = open_index(held.path)
    other.append(["fresh"], held.vectors()[:1])
    assert http.get("/health").json()["rows"] == 13
    other.remove(["fresh"])
    assert http.get("/health").json()["rows"] == 12


def test_it_does_what_its_description_says(held: Index) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    import hypothesis

    schema = schemathesis.openapi.from_asgi("/openapi.json", application(held))
    tried = []

    for operation in schema.get_all_operations():
        hypothesis.given(case=operation.ok().as_strategy())(
            hypothesis.settings(
                max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
            )(_checked(tried))
        )()
    assert 200 in tried
    assert len(tried) > 20


def _checked(tried: list[int]) -> Any:
    from schemathesis.specs.openapi.checks import positive_data_acceptance

    def check(case: Any) -> None:
        answer = case.call()
        # A condition can be a text and name no column: that is told with 400.
        case.validate_response(answer, excluded_checks=[positive_data_acceptance])
        tried.append(answer.status_code)

    return check


@pytest.fixture
def address(held: Index) -> Iterator[str]:
    pytest.importorskip("uvicorn")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = forks().Process(target=serve, args=(held.path,), kwargs={"port": port, "quiet": True}, daemon=True)
    server.start()
    while server.is_alive():
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            break
        time.sleep(0.05)
    yield f"http://127.0.0.1:{port}/"
    assert server.is_alive()
    server.terminate()
    server.join(PATIENCE)


def test_the_page_finds_what_is_chosen_and_asks_nobody_else(held: Index, address: str, page: Any) -> None:  # noqa: F811
    page.goto(address)
    page.wait_for_selector("#about:has-text('12 images')")
    page.set_input_files("#file", held.paths[5])
    page.click("button.go")
    page.wait_for_selector("#found img[src^=blob]")
    assert page.inner_text("#found figcaption >> nth=0").endswith("005.png")
    assert barriers(page) == []
    chosen = page.inner_text("#found figcaption >> nth=1").split()[-1]
    page.click("#found figure >> nth=1")
    page.wait_for_selector(f"#found:has(figcaption):not(:has(figcaption:has-text('{chosen}')))")
    page.fill("#words", "tile 2")
    page.click("button.go")
    page.wait_for_selector("#said:has-text('every row')")
    page.fill("#words", "")
    page.set_input_files("#file", held.paths[5])
    page.fill("#where", "label = ")
    page.click("button.go")
    page.wait_for_selector("#said:has-text('condition')")
    assert not page.complaints
    assert all(one.startswith((address, "blob:", "data:")) for one in page.requested)
