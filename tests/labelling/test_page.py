"""The page in a browser with real keys: saved at each key, whatever happens to pages and to the server."""

from __future__ import annotations

import contextlib
import csv
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from likewise.cli import main
from likewise.data import open_source
from likewise.errors import InputError
from likewise.labelling.server import Server
from likewise.verbs.labelling.label import serving, session
from tests.browser import barriers, opened


@pytest.fixture
def picks(photos: Path, tmp_path: Path) -> Path:
    """Six images of two colours."""
    paths = [f"photos/{colour}/00{number}.png" for number in range(3) for colour in ("red", "blue")]
    path = tmp_path / "picks.csv"
    path.write_text("path,reason\n" + "".join(f'{one},"far, and dense"\n' for one in paths))
    return path


@contextlib.contextmanager
def running(picks: Path, **how: Any) -> Iterator[Server]:
    """A server in a thread."""
    with session(picks, **how) as (work, _), serving(work, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def labels(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["path"]: row["label"] for row in csv.DictReader(file)}


def saved(page: Any, words: str) -> None:
    """Wait until the page says how many are labelled."""
    page.wait_for_function("words => document.getElementById('progress').textContent.includes(words)", arg=words)


def counts(path: Path) -> dict[str, int]:
    every = list(labels(path).values())
    return {name: every.count(name) for name in sorted(set(every))}


def test_keys_label_skip_undo_and_zoom(picks: Path, tmp_path: Path) -> None:
    out = tmp_path / "picks-labelled.csv"
    with running(picks, classes=["red", "blue"]) as server, opened(server.address) as seen:
        page = seen.page
        page.wait_for_selector("figure.focus")
        assert page.locator("figure.chosen").count() == 6  # all six look alike enough for one group of nine
        assert barriers(page) == []
        names = page.locator("figure").evaluate_all("all => all.map(one => one.title)")
        for place, name in enumerate(names):  # leave the blue ones
            if "blue" in name:
                page.keyboard.press(" ")
            if place < 5:
                page.keyboard.press("ArrowRight")
        page.keyboard.press("1")
        saved(page, "3 of 6 labelled")
        assert all((name == "red") == ("red" in path) for path, name in labels(out).items())
        page.keyboard.press("2")
        saved(page, "6 of 6 labelled")
        assert counts(out) == {"blue": 3, "red": 3}
        assert page.locator("#done").is_visible()
        page.keyboard.press("u")
        saved(page, "3 of 6 labelled")
        page.keyboard.press("a")  # one by one
        page.wait_for_function("() => document.querySelectorAll('figure.chosen').length === 1")
        page.keyboard.press("s")
        saved(page, "1 skipped")
        page.keyboard.press("n")
        page.keyboard.type("navy <b> blue")
        page.keyboard.press("Enter")
        saved(page, "4 of 6 labelled")
        assert counts(out) == {"": 2, "navy <b> blue": 1, "red": 3}
        assert page.locator("#classes li").nth(2).locator("b").inner_text() == "navy <b> blue"
        page.keyboard.press("7")
        page.wait_for_selector("#error:visible")
        page.keyboard.press("n")
        page.keyboard.type("nan")
        page.keyboard.press("Enter")
        page.wait_for_function("() => document.getElementById('error').textContent.includes('no label')")
        page.keyboard.press("z")
        page.wait_for_function("() => document.getElementById('large').naturalWidth > 0")
        page.keyboard.press("Escape")
        assert page.locator("#zoom").is_hidden()
        assert all(address.startswith(server.address) for address in seen.requests)
        assert [one for one in seen.errors if "400" not in one and "404" not in one] == []
    source = open_source(out)  # what `train` and all other verbs read
    assert source.labels is not None
    assert (source.class_names, int((source.labels < 0).sum())) == (("navy <b> blue", "red"), 2)
    assert list(csv.reader(out.read_text().splitlines()))[1][1] == "far, and dense"


def test_two_tabs_and_a_reload(picks: Path, tmp_path: Path) -> None:
    out = tmp_path / "picks-labelled.csv"
    with running(picks, classes=["red", "blue"]) as server, opened(server.address) as seen:
        context = seen.page.context.browser.new_context()
        left, right = context.new_page(), context.new_page()
        for page in (left, right):
            page.goto(server.address)
            page.wait_for_selector("figure.focus")
        right.keyboard.press("a")
        right.keyboard.press("2")
        saved(right, "1 of 6 labelled")
        saved(left, "1 of 6 labelled")  # seen within two seconds
        left.keyboard.press("1")  # the five that are left
        saved(left, "6 of 6 labelled")
        right.keyboard.press("u")  # its own key, not the later one of the other page
        saved(right, "5 of 6 labelled")
        assert counts(out) == {"": 1, "red": 5}
        left.reload()
        saved(left, "5 of 6 labelled")
        left.keyboard.press("u")
        saved(left, "0 of 6 labelled")
        assert counts(out) == {"": 6}


def started(picks: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    """The command itself, and the address that it prints."""
    words = [sys.executable, "-m", "likewise", "label", str(picks), "--no-browser", "--port", str(port)]
    process = subprocess.Popen([*words, "--classes", "red", "blue"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().split()[-1]


def test_nothing_is_lost_by_kill_9(picks: Path, tmp_path: Path) -> None:
    """The server is killed after a key; a page that is open goes on with the next server, also with waiting keys."""
    out = tmp_path / "picks-labelled.csv"
    process, address = started(picks, 0)
    try:
        with opened(address) as seen:
            page = seen.page
            page.wait_for_selector("figure.focus")
            page.keyboard.press("a")
            page.keyboard.press("1")
            saved(page, "1 of 6 labelled")
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
            assert counts(out) == {"": 5, "red": 1}
            page.keyboard.press("2")
            page.wait_for_selector("#saved.failed")
            process, again = started(picks, int(address.rsplit(":", 1)[1].strip("/")))
            assert again == address
            saved(page, "2 of 6 labelled")
            assert counts(out) == {"": 4, "blue": 1, "red": 1}
        process.send_signal(signal.SIGINT)
        assert "2 of 6 images" in process.communicate(timeout=120)[0]
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def asked(server: Server, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """One request."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    content = body if isinstance(body, str | None) else json.dumps(body)
    connection.request(method, path, content, {"Content-Type": "application/json", **headers})
    answer = connection.getresponse()
    found = answer.read()
    connection.close()
    return answer.status, json.loads(found) if answer.headers.get_content_type() == "application/json" else found


def test_other_sites_and_nonsense_are_refused(picks: Path, tmp_path: Path) -> None:
    good = {"id": "1", "tab": "t", "kind": "label", "rows": [0], "label": "red"}
    with running(picks) as server:
        assert asked(server, "GET", "/list", Host="evil.example")[0] == 403
        assert asked(server, "POST", "/act", good, Origin="http://evil.example")[0] == 403
        assert asked(server, "POST", "/act", good, **{"Content-Type": "text/plain"})[0] == 404
        assert asked(server, "GET", "/../../etc/passwd")[0] == 404
        assert asked(server, "GET", "/image/small/6")[0] == 404
        for bad in (
            "{", [], {}, {**good, "rows": [6]}, {**good, "rows": [True]}, {**good, "rows": []}, {**good, "label": " "},
            {**good, "kind": "remove"}, {**good, "id": 3},
        ):  # fmt: skip
            status, told = asked(server, "POST", "/act", bad)
            assert status == 400
            assert told["error"]
        assert asked(server, "GET", "/state")[1]["revision"] == 0
        assert asked(server, "POST", "/act", good)[1]["labels"] == {"0": "red"}
        assert asked(server, "POST", "/act", good)[1]["revision"] == 1  # the same key
        assert asked(server, "GET", "/state?revision=1")[1] is None
        assert asked(server, "GET", "/image/small/0")[1].startswith(b"\x89PNG")
        assert not server.server_address[0].startswith("0")
        with pytest.raises(InputError, match="another process"), session(picks):
            pass


def test_the_folder_that_one_is_in_has_a_name(picks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path / "photos")
    with session(".") as (_, out):
        assert out == tmp_path / "photos-labelled.csv"


def test_lists_with_labels_and_missing_images(picks: Path, tmp_path: Path) -> None:
    picks.write_text("path,label\nphotos/red/000.png,red\nphotos/gone.png,\nphotos/blue/000.png,\n")
    (tmp_path / "else").mkdir()
    out = tmp_path / "else" / "out.csv"
    with running(picks, out=out) as server:
        assert asked(server, "GET", "/state")[1]["labels"] == {"0": "red"}
        assert asked(server, "GET", "/image/small/1")[0] == 422
        asked(server, "POST", "/act", {"id": "1", "tab": "t", "kind": "label", "rows": [2], "label": "blue"})
    assert list(labels(out).values()) == ["red", "", "blue"]
    assert len(open_source(out)) == 3  # paths are right from the other folder, too
    assert open_source(out).file(0) == str(tmp_path / "photos" / "red" / "000.png")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing.csv"], "no list"),
        (["picks.csv", "--classes", "nan"], "another class name"),
        (["picks.csv", "--labels", "speces"], "speces"),
        (["picks.csv", "--together", "reson"], "did you mean 'reason'"),
        (["picks.csv", "--out", "taken.csv"], "exists"),
        (["picks.csv", "--out", "picks.csv"], "not written over"),
        (["picks.csv", "--out", "no/where.csv"], "cannot be written"),
        (["picks.csv", "--port", "70000"], "65535"),
        (["some.npz"], "files of its own"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, picks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import numpy as np

    (tmp_path / "taken.csv").write_text("mine")
    np.savez(tmp_path / "some.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    began = time.monotonic()
    assert main(["label", *words, "--no-browser"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert time.monotonic() - began < 30
    assert (tmp_path / "taken.csv").read_text() == "mine"
