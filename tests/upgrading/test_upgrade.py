"""An index is given another encoder's vectors while it is in use: every id once, after every crash, and back."""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likewise import load
from likewise.cli import main
from likewise.encoders import Encoder, EncoderSpec, build, save_encoder
from likewise.errors import InputError
from likewise.index import Index, Space, create, open_index
from likewise.index.answers import answer
from likewise.index.duplicates import duplicates
from likewise.index.embedding.embed import embed
from likewise.teachers import of_index
from likewise.upgrading import journal as journals
from likewise.upgrading import planning
from likewise.upgrading.refreshing import Budget
from likewise.upgrading.sheet import plan_sheet
from likewise.verbs.keeping.export import export
from likewise.verbs.using import upgrade as verb
from likewise.verbs.using.upgrade import upgrade
from tests.docs.runner import make_photos
from tests.processes import PATIENCE, forks

SPEC = EncoderSpec(name="resnet10t", width=8, stem="small", image_size=16)


QUICK = functools.partial(plan_sheet, forms=("ridge",))
"""The plan with the adapter that takes no time."""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "plan_sheet", QUICK)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 images, an index of them by `old`, and encoders: a near one (comparable), a free one, and a longer one."""
    folder = tmp_path_factory.mktemp("upgrade")
    make_photos(folder / "photos", count=20)
    old = build(SPEC, seed=1).eval()
    near = build(SPEC, seed=1).eval()
    with torch.no_grad():
        for weight in near.parameters():
            weight.add_(0.002 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(3)))
    encoders = {
        "old": old,
        "near": near,
        "free": build(SPEC, seed=2).eval(),
        "longer": build(EncoderSpec(name="resnet10t", width=16, stem="small", image_size=16), seed=2).eval(),
    }
    for name, encoder in encoders.items():
        save_encoder(encoder, folder / name / "encoder.safetensors")
    paths = sorted((folder / "photos").rglob("*.png"))
    index = create(folder / "photos.index", Space.of_encoder(old), encoder=old)
    index.append(
        [f"{path.parent.name}/{path.name}" for path in paths],
        old.embed(paths).numpy(),
        paths=[str(path) for path in paths],
        columns={"label": [path.parent.name for path in paths]},
    )
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A fresh copy of the index; its images and encoders stay where they are."""
    shutil.copytree(made / "photos.index", tmp_path / "photos.index")
    return tmp_path / "photos.index"


def to(made: Path, name: str) -> str:
    return str(made / name / "encoder.safetensors")


def vectors_by(made: Path, name: str, index: Index) -> np.ndarray[Any, Any]:
    vectors = load(to(made, name)).embed([Path(path) for path in index.paths]).numpy()
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)  # type: ignore[no-any-return]


def check_whole(index: Index, made: Path, name: str, ids: list[str]) -> None:
    """Every id once, all rows of one version, and their vectors those of that encoder."""
    assert index.ids == ids
    assert len(set(index.versions.tolist())) == 1
    np.testing.assert_allclose(index.vectors(), vectors_by(made, name, index), atol=1e-5)


# The plan ------------------------------------------------------------------------------------------------------------


def test_a_plan_changes_nothing(made: Path, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()}
    assert main(["upgrade", str(place), "--to", to(made, "near"), "--plan", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {arm["name"] for arm in told["arms"]} >= {"keep", "compatible", "ridge", "re-embed"}
    assert [point[0] for point in told["curve"]] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert {path.name: path.read_bytes() for path in place.iterdir() if path.is_file()} == before


def test_what_is_planned_is_what_is_found_afterwards(made: Path, place: Path) -> None:
    done = upgrade(place, to=to(made, "near"), gate=-1.0)
    assert done.sheet is not None
    whole = done.sheet.arm("re-embed")
    assert whole is not None
    index = open_index(place)
    hits = index.search(index.vectors(), k=2).hits
    label = dict(zip(index.ids, index.columns["label"].tolist(), strict=True))
    right = [label[found[1].id] == label[found[0].id] for found in hits]
    assert np.mean(right) == pytest.approx(whole.new_old, abs=0.02)
    assert done.curve[-1].found == pytest.approx(whole.new_old, abs=1e-6)


def test_a_worse_encoder_is_refused_and_nothing_is_changed(
    made: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "plan_sheet", _worse(QUICK))
    with pytest.raises(InputError, match=r"refused: re-embedding changes what is found by .* nothing was changed"):
        upgrade(place, to=to(made, "free"))
    assert not (place / "upgrade").exists()
    check_whole(open_index(place), made, "old", open_index(place).ids)


def test_a_plan_names_only_an_upgrade_that_its_gate_lets_through(
    made: Path, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planning, "plan_sheet", _worse(QUICK))
    plan = ["upgrade", str(place), "--to", to(made, "free"), "--plan"]
    assert main(plan) == 0
    assert "next " not in capsys.readouterr().out
    assert main([*plan, "--gate", "-1", "--order", "unpopular"]) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("next ")
    assert "--order unpopular" in line
    assert main(shlex.split(line)[2:]) == 0
    assert "40 of 40 rows are new" in capsys.readouterr().out


def _worse(plan: Any) -> Any:
    """The plan of an encoder whose vectors are noise."""
    draw = torch.Generator().manual_seed(0)
    return lambda old, new, *given, **more: plan(old, torch.randn(new.shape, generator=draw), *given, **more)


def test_the_page_shows_the_arms_the_curve_and_examples(made: Path, place: Path, tmp_path: Path) -> None:
    upgrade(place, to=to(made, "free"), plan=True, html=tmp_path / "plan.html")
    page = (tmp_path / "plan.html").read_text()
    for words in ("Ways to the new encoder", "re-embed", "While vectors are replaced", "Queries before and after"):
        assert words in page
    assert page.count("data:image/jpeg;base64,") > 10
    assert 'class="same"' in page
    upgrade(place, to=to(made, "free"), plan=True, html=tmp_path / "none.html", labels="none")
    assert 'class="same"' not in (tmp_path / "none.html").read_text()
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


# The refresh ---------------------------------------------------------------------------------------------------------


def test_all_rows_get_the_new_vectors_by_id(made: Path, place: Path) -> None:
    index = open_index(place)
    ids, columns = index.ids, index.columns["label"].tolist()
    done = upgrade(index, to=to(made, "near"), gate=-1.0)
    assert done.done is not None
    assert (done.done.refreshed, done.done.paused, done.done.lost) == (40, False, 0)
    fresh = open_index(place)
    check_whole(fresh, made, "near", ids)
    assert fresh.columns["label"].tolist() == columns
    assert fresh.search(fresh.paths[3], k=1).hits[0][0].id == ids[3]


def test_a_budget_pauses_and_the_same_call_goes_on_in_the_order(made: Path, place: Path) -> None:
    ids = open_index(place).ids
    first = upgrade(place, to=to(made, "near"), gate=-1.0, budget="25%")
    assert first.done is not None
    assert (first.done.refreshed, first.done.paused) == (10, True)
    index = open_index(place)
    assert sorted(index.versions.tolist()).count(1) == 10
    journal = journals.read(index)
    assert journal is not None
    assert set(np.flatnonzero(index.versions == 1)) == set(journal.ordered()[:10].tolist())
    second = upgrade(place, to=to(made, "near"))
    assert second.done is not None
    assert (second.done.refreshed, second.done.new, second.done.paused) == (30, 40, False)
    check_whole(open_index(place), made, "near", ids)


def test_a_stop_ends_after_the_batch(made: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verb.refresh.__kwdefaults__, "batch", 8)
    done = upgrade(place, to=to(made, "near"), gate=-1.0, stop=lambda: True)
    assert done.done is not None
    assert (done.done.refreshed, done.done.paused) == (8, True)


def _killed_at(moment: int, place: Path, target: str) -> None:
    """Upgrade in batches of eight, and end without a word at the moment-th flush to the disk."""
    verb.refresh.__kwdefaults__["batch"], planning.plan_sheet = 8, QUICK
    whole, seen = os.fsync, [0]

    def flush(descriptor: int) -> None:
        seen[0] += 1
        if seen[0] == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        whole(descriptor)

    os.fsync = flush
    upgrade(place, to=target, gate=-1.0)


@pytest.mark.parametrize("moment", [1, 8, 14, 25])
def test_kill_9_at_any_moment_leaves_every_id_once(made: Path, place: Path, moment: int) -> None:
    ids = open_index(place).ids
    child = forks().Process(target=_killed_at, args=(moment, place, to(made, "near")), daemon=True)
    child.start()
    child.join(PATIENCE)
    assert child.exitcode in {-signal.SIGKILL, 0}
    between = open_index(place)
    assert between.ids == ids
    assert between.search(between.paths[5], k=1).hits[0][0].id == ids[5]
    upgrade(place, to=to(made, "near"), gate=-1.0) if set(between.versions.tolist()) != {1} else None
    check_whole(open_index(place), made, "near", ids)


def test_queries_are_answered_at_every_moment(made: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(verb.refresh.__kwdefaults__, "batch", 2)
    reader, stop, answers, faults = open_index(place), threading.Event(), [0], []
    ids, query = reader.ids, reader.paths[7]

    def ask() -> None:
        while not stop.is_set():
            reader.refresh()
            try:
                found = reader.search(query, k=3).hits[0]
                if len(found) != 3 or found[0].id != ids[7]:
                    faults.append(str(found))
            except Exception as error:  # noqa: BLE001  # whatever a query fails with is what this test is about
                faults.append(repr(error))
            answers[0] += 1

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        upgrade(place, to=to(made, "near"), gate=-1.0)
    finally:
        stop.set()
        asking.join()
    assert faults == []
    assert answers[0] > 5


def test_an_encoder_that_is_not_compatible_is_searched_beside_the_old(made: Path, place: Path) -> None:
    for name in ("free", "longer"):
        copy = place.with_name(f"{name}.index")
        shutil.copytree(place, copy)
        done = upgrade(copy, to=to(made, name), gate=-1.0, budget="50%", labels="none")
        assert not done.compatible
        index = open_index(copy)
        for row in (0, 11, 39):  # of both versions
            found = index.search(index.paths[row], k=15).hits[0]
            assert index.ids[row] in {hit.id for hit in found}
            assert {hit.version for hit in found} == {0, 1}
        upgrade(copy, to=to(made, name))
        check_whole(open_index(copy), made, name, open_index(place).ids)


def test_an_encoder_in_an_onnx_file_is_found_where_it_lies(made: Path, place: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    export(made / "near", format="onnx", out=tmp_path / "near.onnx")
    upgrade(place, to=tmp_path / "near.onnx", gate=-1.0)
    index = open_index(place)
    assert index.search(index.paths[3], k=1).hits[0][0].id == index.ids[3]


# Back ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [None, "30%"])
def test_a_rollback_gives_every_old_vector_back(made: Path, place: Path, budget: str | None) -> None:
    before = open_index(place)
    vectors, ids, fingerprint = before.vectors().copy(), before.ids, before.fingerprint
    upgrade(place, to=to(made, "near"), gate=-1.0, budget=budget)
    assert open_index(place).fingerprint != fingerprint
    done = upgrade(place, rollback=True)
    assert done.rolled_back == (40 if budget is None else 12)
    index = open_index(place)
    assert index.ids == ids
    assert index.fingerprint == fingerprint
    np.testing.assert_allclose(index.vectors(), vectors, atol=1e-7)
    assert index.search(index.paths[2], k=1).hits[0][0].id == ids[2]
    with pytest.raises(InputError, match="has no upgrade that could be taken back"):
        upgrade(place, rollback=True)
    again = upgrade(place, to=to(made, "near"), gate=-1.0)
    assert again.done is not None
    assert not again.done.paused
    check_whole(open_index(place), made, "near", ids)


def test_a_chain_of_three_encoders(made: Path, place: Path) -> None:
    ids = open_index(place).ids
    for name in ("near", "free", "longer"):
        upgrade(place, to=to(made, name), gate=-1.0, labels="none")
        check_whole(open_index(place), made, name, ids)


# What cannot be ------------------------------------------------------------------------------------------------------


def test_errors_are_one_line(made: Path, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(*words: str) -> str:
        assert main(["upgrade", *words]) == 2
        said = capsys.readouterr().err.strip()
        assert "\n" not in said
        return said

    where = str(place)
    assert "name the new encoder with --to" in told(where)
    assert "does not exist" in told(str(tmp_path / "none.index"), "--to", to(made, "near"))
    assert "are of this encoder already" in told(where, "--to", to(made, "old"))
    assert "has no upgrade that could be taken back" in told(where, "--rollback")
    assert "takes no new encoder and no plan" in told(where, "--plan", "--rollback")
    assert "leave --budget, --gate out" in told(where, "--rollback", "--gate", "0", "--budget", "25%")
    with pytest.raises(InputError, match="unknown order 'most'"):
        upgrade(place, to=to(made, "near"), order="most")  # type: ignore[arg-type]
    assert "there is no folder" in told(where, "--to", to(made, "near"), "--html", str(tmp_path / "none" / "x.html"))
    assert "budget='much'" in told(where, "--to", to(made, "near"), "--budget", "much")
    assert "has no column 'kind'" in told(where, "--to", to(made, "near"), "--labels", "kind", "--plan")
    assert "is an image of" in told(where, "--to", to(made, "near"), "--data", str(made / "photos" / "bars"))
    upgrade(place, to=to(made, "near"), gate=-1.0, budget="10%")
    assert "is under way" in told(where, "--to", to(made, "free"))
    assert "between two encoders" in told(where, "--to", to(made, "near"), "--plan")
    (place / "upgrade" / "state.json").write_text("{")
    assert "is damaged" in told(where, "--to", to(made, "near"))
    state = {"format": 99}
    (place / "upgrade" / "state.json").write_text(json.dumps(state))
    assert "newer version" in told(where, "--rollback")


def _second(place: Path, target: str) -> None:
    planning.plan_sheet = QUICK
    try:
        upgrade(place, to=target, gate=-1.0)
    except InputError as error:
        os._exit(3 if "only one process" in str(error) else 4)


def test_a_second_writer_is_refused(made: Path, place: Path) -> None:
    with open_index(place).writing():
        child = forks().Process(target=_second, args=(place, to(made, "near")), daemon=True)
        child.start()
        child.join(PATIENCE)
    assert child.exitcode == 3


def test_images_that_are_gone_keep_their_old_vectors(made: Path, place: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(made / "photos", photos)
    (photos / "bars" / "000.png").unlink()
    (photos / "bars" / "001.png").write_bytes(b"no image")
    done = upgrade(place, to=to(made, "near"), gate=-1.0, data=str(photos))
    assert done.done is not None
    assert (done.done.refreshed, done.done.lost) == (38, 2)
    assert sorted(open_index(place).versions.tolist()).count(0) == 2


@pytest.mark.parametrize(
    ("text", "rows", "seconds"),
    [("100", 100, None), ("25%", 10, None), ("90s", None, 90.0), ("1.5m", None, 90.0), (None, None, None)],
)
def test_budgets(text: str | None, rows: int | None, seconds: float | None) -> None:
    assert Budget.parse(text, 40) == Budget(rows=rows, seconds=seconds)


def test_an_encoder_with_a_neck_is_told_from_one_with_another(made: Path) -> None:
    from likewise.encoders.neck import with_neck

    spaces = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        encoder = with_neck(build(SPEC, seed=1), 12)
        assert isinstance(encoder, Encoder)
        spaces.append(Space.of_encoder(encoder.eval(), measured=False))
    assert spaces[0].fingerprint != spaces[1].fingerprint


# What happens meanwhile ----------------------------------------------------------------------------------------------


def test_an_index_that_changes_while_it_is_planned_is_left_as_it_is(
    made: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile(*given: Any, **more: Any) -> Any:
        open_index(place).remove([open_index(place).ids[0]])
        return QUICK(*given, **more)

    monkeypatch.setattr(planning, "plan_sheet", meanwhile)
    with pytest.raises(InputError, match="was changed meanwhile"):
        upgrade(place, to=to(made, "near"), gate=-1.0)
    monkeypatch.setattr(planning, "plan_sheet", QUICK)
    ids = open_index(place).ids
    check_whole(open_index(place), made, "old", ids)
    upgrade(place, to=to(made, "near"), gate=-1.0)
    check_whole(open_index(place), made, "near", ids)


def test_rows_of_the_old_encoder_that_are_added_meanwhile_are_refreshed_too(made: Path, place: Path) -> None:
    upgrade(place, to=to(made, "near"), gate=-1.0, budget="25%")
    index = open_index(place)
    paths = index.paths[:2]
    old = load(to(made, "old")).embed([Path(path) for path in paths]).numpy()
    index.append(["late/a", "late/b"], old, space=index.spaces[0], paths=paths, columns={"label": ["bars", "bars"]})
    done = upgrade(place, to=to(made, "near"))
    assert done.done is not None
    assert (done.done.refreshed, done.done.paused) == (32, False)
    check_whole(open_index(place), made, "near", index.ids)


def test_a_rollback_embeds_what_has_no_old_vector_by_the_old_encoder(made: Path, place: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(made / "photos", photos)
    embed(made / "old", photos, to=tmp_path / "x.index", labels="folders")
    ids = open_index(tmp_path / "x.index").ids
    upgrade(tmp_path / "x.index", to=to(made, "near"), gate=-1.0)
    shutil.copy(photos / "bars" / "003.png", photos / "bars" / "new.png")
    shutil.copy(photos / "discs" / "004.png", photos / "discs" / "005.png")  # a row's image is another one now
    embed(made / "near", photos, to=tmp_path / "x.index", labels="folders")
    done = upgrade(tmp_path / "x.index", rollback=True)
    assert done.rolled_back == 41
    check_whole(open_index(tmp_path / "x.index"), made, "old", [*ids, "bars/new.png"])
    again = embed(made / "old", photos, to=tmp_path / "x.index", labels="folders")
    assert (again.embedded, again.skipped) == (0, 41)


def test_a_rollback_gives_the_lengths_back(made: Path, place: Path) -> None:
    norms = open_index(place).norms
    assert abs(norms - 1).max() > 0.01
    upgrade(place, to=to(made, "near"), gate=-1.0)
    upgrade(place, rollback=True)
    np.testing.assert_allclose(open_index(place).norms, norms, rtol=1e-5)


def test_the_same_call_goes_on_with_images_that_are_back(made: Path, place: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    shutil.copytree(made / "photos", photos)
    (photos / "bars" / "000.png").rename(tmp_path / "away.png")
    upgrade(place, to=to(made, "near"), gate=-1.0, data=str(photos))
    assert sorted(open_index(place).versions.tolist()).count(0) == 1
    with pytest.raises(InputError, match="go on with --to"):
        upgrade(place, to=to(made, "free"), gate=-1.0)
    (tmp_path / "away.png").rename(photos / "bars" / "000.png")
    upgrade(place, to=to(made, "near"), data=str(photos))
    check_whole(open_index(place), made, "near", open_index(place).ids)


def test_the_page_of_an_upgrade_that_goes_on_is_that_of_its_plan(made: Path, place: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.html", tmp_path / "second.html"
    upgrade(place, to=to(made, "near"), gate=-1.0, budget="25%", html=first)
    upgrade(place, to=to(made, "near"), html=second)
    assert second.read_bytes() == first.read_bytes()
    assert b"Ways to the new encoder" in second.read_bytes()


def test_a_row_is_searched_for_among_all_while_there_are_two_encoders(made: Path, place: Path) -> None:
    upgrade(place, to=to(made, "free"), gate=-1.0, budget="50%", labels="none")
    index = open_index(place)
    for number in (0, 1):
        row = int(np.flatnonzero(index.versions == number)[0])
        told = answer(index, f"id:{index.ids[row]}", k=39)
        assert told.exact
        assert {hit.version for hit in told.hits} == {0, 1}
        assert sorted([index.ids[row], *(hit.id for hit in told.hits)]) == sorted(index.ids)


def test_the_encoder_of_an_index_is_that_of_its_rows(made: Path, place: Path) -> None:
    def kept() -> Path:
        return Path(of_index(str(place), "old"))

    upgrade(place, to=to(made, "near"), gate=-1.0, budget="50%")
    with pytest.raises(InputError, match="holds vectors of 2 encoders"):
        kept()
    upgrade(place, to=to(made, "near"))
    assert kept().parent.name == "space-1"
    upgrade(place, rollback=True)
    assert kept().parent.name == "space-0"


def test_near_duplicates_are_not_looked_for_among_vectors_of_two_encoders(made: Path, place: Path) -> None:
    upgrade(place, to=to(made, "free"), gate=-1.0, budget="50%", labels="none")
    assert "an upgrade is not finished" in duplicates(open_index(place)).how


def test_an_upgrade_keeps_the_plan_that_it_was_begun_with(made: Path, place: Path) -> None:
    upgrade(place, to=to(made, "near"), gate=-1.0, order="popular", budget="25%")
    others: list[dict[str, Any]] = [{"gate": 0}, {"order": "best"}, {"labels": "none"}, {"sample": 30}, {"seed": 1}]
    for other in others:
        (name,) = other
        with pytest.raises(InputError, match=rf"was begun with --{name} .*, not {other[name]}, .* leave --{name} out"):
            upgrade(place, to=to(made, "near"), **other)
    assert sorted(open_index(place).versions.tolist()).count(1) == 10
    done = upgrade(place, to=to(made, "near"), gate=-1, order="popular", labels="label", sample=10_000, seed=0)
    assert done.done is not None
    assert done.done.new == 40


def test_an_upgrade_that_another_process_began_meanwhile_is_not_begun_again(
    made: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = open_index(place).vectors().copy()

    def meanwhile(*given: Any, **more: Any) -> Any:
        monkeypatch.setattr(planning, "plan_sheet", QUICK)
        upgrade(place, to=to(made, "near"), gate=-1.0, budget="25%")
        return QUICK(*given, **more)

    monkeypatch.setattr(planning, "plan_sheet", meanwhile)
    with pytest.raises(InputError, match="was changed meanwhile"):
        upgrade(place, to=to(made, "near"), gate=-1.0)
    upgrade(place, rollback=True)
    np.testing.assert_allclose(open_index(place).vectors(), vectors, atol=1e-7)


def test_an_upgrade_goes_on_and_back_from_another_folder(
    made: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    upgrade(place, to=to(made, "near"), gate=-1.0, data="photos", budget="25%")
    monkeypatch.chdir(tmp_path)
    upgrade(place, to=to(made, "near"))
    check_whole(open_index(place), made, "near", open_index(place).ids)
