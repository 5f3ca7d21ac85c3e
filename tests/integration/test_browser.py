"""The page in a real Chromium, on one daemon that wants a token: what people do, and what others put into it."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

from tests.equipment.browser import LateAnswer, Visitor, accessibility_problems, chromium, drop, wait_for_toast
from tests.equipment.cluster import Buckets
from tests.equipment.daemon import Daemon, Folders, colour, coloured, photo
from tests.equipment.moto import moto_server
from tests.equipment.support import STUCK, wait_until

TOKEN = "a-token-for-tests-of-the-page"
LOOKS: dict[str, dict[str, Any]] = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True},
    "chinese": {"locale": "zh-CN"},
}
HOSTILE = (
    "<img src=x onerror=alert(1)>.png",
    'a" onload="alert(1).png',
    "\u202egnp.exe.png",
    "قميص أحمر 12.png",
    "👟 'new'.png",
)
"""Names that are HTML, end an attribute, turn the writing direction, or are in other scripts."""

Visit = Callable[..., Visitor]
_PASTE = """(bytes) => {
    const clipboardData = new DataTransfer();
    clipboardData.items.add(new File([new Uint8Array(bytes)], "image.png", { type: "image/png" }));
    dispatchEvent(new ClipboardEvent("paste", { clipboardData }));
}"""
_CLIPBOARD = """async () => {
    const [item] = await navigator.clipboard.read();
    return [...new Uint8Array(await (await item.getType("image/png")).arrayBuffer())];
}"""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    folders = Folders.below(tmp_path_factory.mktemp("page"))
    with Daemon(folders, "--page", "--rescan", "3600", model="fake:confidence=1", ALPHADROP_API_TOKEN=TOKEN) as daemon:
        daemon.wait_until_ready()
        yield daemon
        assert daemon.stop() == 0


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, daemon: Daemon) -> Iterator[Visit]:
    """Make visitors who have signed in. In the end, nothing has gone wrong, and nothing went to another host."""
    visitors: list[Visitor] = []

    def come(signed_in: bool = True, **options: object) -> Visitor:
        visitor = Visitor(browser, f"http://127.0.0.1:{daemon.port}", **options)
        visitors.append(visitor)
        if signed_in:
            assert visitor.context.request.post("/v1/session", data={"token": TOKEN}).ok
        return visitor

    yield come
    for visitor in visitors:
        visitor.close()
        assert visitor.problems == []
        assert visitor.hosts <= {f"127.0.0.1:{daemon.port}"}


def pictures(folder: Path, *names: str) -> list[Path]:
    """Pictures of different colours."""
    for number, name in enumerate(names):
        coloured(folder / name, colour(number))
    return [folder / name for name in names]


def only_these(page: Page) -> str:
    """Show what was dropped last, alone; returns its batch."""
    latest = page.get_by_role("button", name="Latest batch")
    latest.press("Enter")  # not a click: the uploads above it come and go, and move it away from the mouse
    expect(latest).to_have_attribute("aria-pressed", "true")
    return str(latest.get_attribute("data-batch"))


def count(page: Page, number: int) -> None:
    """Wait until the list has so many pictures."""
    expect(page.locator(".count")).to_have_text(f"{number:,} picture{'s' * (number != 1)}")


def show(page: Page, filter_: str) -> None:
    """Press one of the buttons above the grid."""
    page.get_by_role("group", name="Show", exact=True).get_by_role("button", name=filter_, exact=True).click()


def seen(page: Page, number: int) -> set[str]:
    """The names of so many pictures whose thumbnails are on the page, one windowful after the other."""
    names: set[str] = set()

    def look() -> bool:
        cards = page.locator(".card:has(img.here)")
        names.update(cards.locator(".card-name").all_inner_texts())
        page.mouse.wheel(0, 500)
        return len(names) >= number

    page.mouse.move(600, 600)
    wait_until(look, STUCK, "not every picture was ever in sight", pause=0.05)
    page.evaluate("scrollTo(0, 0)")
    return names


def test_fifty_pictures_and_a_folder_are_dropped_and_every_result_is_seen(
    visit: Visit, daemon: Daemon, tmp_path: Path
) -> None:
    many = pictures(tmp_path, *(f"p{number}.png" for number in range(50)))
    pictures(tmp_path / "shoes", "a.png", "b.png", "red/c.png", "red/deep/d.png")
    (tmp_path / "shoes" / "readme.txt").write_text("no picture")
    (tmp_path / "shoes" / ".DS_Store").write_text("nobody misses it")
    page = visit().open()
    drop(page, [*many, tmp_path / "shoes"])
    wait_for_toast(page, "54 pictures are being sent. 1 file that is no picture was left out.")
    batch = only_these(page)
    show(page, "Done")
    count(page, 54)
    names = {path.name for path in many} | {f"shoes/{n}" for n in ("a.png", "b.png", "red/c.png", "red/deep/d.png")}
    assert seen(page, 54) == names
    made = daemon.folders.sink / "uploads" / batch
    assert {path.relative_to(made).as_posix() for path in made.rglob("*.png")} == names


def test_pictures_and_folders_are_also_chosen_and_one_is_pasted(visit: Visit, tmp_path: Path) -> None:
    single, *_ = pictures(tmp_path, "single.png")
    pictures(tmp_path / "bags", "a.png", "small/b.png")
    page = visit().open()
    page.locator("input[data-input=files]").set_input_files(single)
    wait_for_toast(page, "1 picture is being sent.")
    page.locator("input[data-input=folder]").set_input_files(tmp_path / "bags")
    wait_for_toast(page, "2 pictures are being sent.")
    only_these(page)
    show(page, "Done")
    count(page, 2)
    assert seen(page, 2) == {"bags/a.png", "bags/small/b.png"}
    page.evaluate(_PASTE, list(single.read_bytes()))
    expect(page.get_by_role("button", name="Latest batch")).to_have_attribute("aria-pressed", "false")
    only_these(page)
    count(page, 1)
    assert re.fullmatch(r"pasted-\d\d-\d\d-\d\d\.png", seen(page, 1).pop())


def test_a_page_that_was_closed_in_the_middle_says_what_is_missing_and_goes_on(
    visit: Visit, daemon: Daemon, tmp_path: Path
) -> None:
    files = pictures(tmp_path, *(f"m{number}.png" for number in range(12)))
    visitor = visit()
    page = visitor.open()
    stalled: list[Route] = []

    def let_some_through(route: Route) -> None:
        done = int(re.findall(r"m(\d+)", route.request.url)[0]) < 5
        route.continue_() if done else stalled.append(route)

    page.route("**/v1/cutouts?path=m*", let_some_through)
    drop(page, files)
    batch = only_these(page)
    expect(page.get_by_text("5 of 12 sent")).to_be_visible()
    page.close()

    page = visitor.open()
    expect(page.get_by_text("7 pictures were not sent before this page was closed.")).to_be_visible()
    page.get_by_text("Which ones").click()
    expect(page.locator(".left-over li")).to_have_text([f"m{number}.png" for number in range(5, 12)])
    drop(page, files)
    wait_for_toast(page, "7 pictures are being sent. 5 were sent before.")
    assert only_these(page) == batch
    show(page, "Done")
    count(page, 12)
    expect(page.locator(".left-over")).to_have_count(0)
    assert len(list((daemon.folders.source / "uploads" / batch).iterdir())) == 12


def test_uploads_are_repeated_until_they_arrive_and_a_failed_one_when_somebody_says_so(
    visit: Visit, tmp_path: Path
) -> None:
    files = pictures(tmp_path, "busy.png", "down.png", "cut.png", "big.png")
    page = visit().open()
    answers = {"busy": [429], "down": [503, 503], "cut": [0], "big": [413]}

    def answer(route: Route) -> None:
        first = answers[re.findall(r"path=(\w+)", route.request.url)[0]]
        status = first.pop(0) if first else 200
        body = {"errors": [{"title": "Too large", "code": "x", "detail": "the picture has more than 64 MB"}]}
        if status == 0:
            route.abort("connectionreset")
        elif status == 200:
            route.continue_()
        else:
            route.fulfill(status=status, headers={"retry-after": "1"}, json=body)

    page.route("**/v1/cutouts?path=*", answer)
    drop(page, files)
    only_these(page)
    expect(page.get_by_text("3 of 4 sent, 1 failed")).to_be_visible()
    expect(page.get_by_text("Too large: the picture has more than 64 MB")).to_be_visible()
    page.get_by_role("button", name="Try big.png again").click()
    expect(page.locator(".uploads-head")).to_have_count(0)
    count(page, 4)


def test_a_picture_that_failed_is_tried_again_from_the_live_view(visit: Visit, daemon: Daemon, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(pictures(tmp_path, "whole.png")[0].read_bytes()[:60])
    page = visit().open()
    drop(page, [broken])
    batch = only_these(page)
    show(page, "Failed")
    count(page, 1)
    record = daemon.folders.sink / "_failed" / "uploads" / batch / "broken.png.json"
    first = identity(record)
    page.get_by_role("link", name="Live").click()
    failure = page.locator(".failures li", has_text="broken.png")
    expect(failure).to_contain_text("The file ends early or is damaged")
    failure.get_by_role("button", name="Try broken.png again").click()
    daemon.until(lambda: identity(record) not in (None, first), "it was never tried again")
    expect(failure).to_be_visible()
    coloured(daemon.folders.source / "uploads" / batch / "broken.png", colour(3))
    expect(failure).to_have_count(0)
    expect(page.locator(".tile", has_text="Health")).to_contain_text("Ready")
    page.get_by_role("link", name="Pictures").click()
    show(page, "Done")
    count(page, 1)


def identity(path: Path) -> tuple[int, int] | None:
    """Inode and time of a file: they change when it is written anew. None where there is none."""
    with suppress(FileNotFoundError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def test_three_are_reviewed_by_keyboard_and_the_decisions_are_in_the_sink(
    visit: Visit, daemon: Daemon, tmp_path: Path
) -> None:
    page = visit().open()
    drop(page, pictures(tmp_path, "r1.png", "r2.png", "r3.png"))
    batch = only_these(page)
    show(page, "Done")
    count(page, 3)
    page.route("**/v1/cutouts?order=worst*", lambda route: route.continue_(url=f"{route.request.url}&batch={batch}"))
    page.get_by_role("link", name="Review").click()
    name = page.locator(".review-name")
    decided: dict[str, str] = {}
    for key, verdict in (("a", "accepted"), ("x", "rejected")):
        expect(page.locator(".review-panel")).to_contain_text(f"{len(decided)} decided")
        last = name.inner_text()
        decided[last] = verdict
        page.keyboard.press(key)
        expect(name).not_to_have_text(last)
    output = daemon.folders.sink / "uploads" / batch / name.inner_text()
    before = output.stat().st_mtime_ns
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Make this picture again")
    dialog.get_by_label("Model").select_option("the same model")
    expect(dialog.get_by_role("button", name="Make again")).to_be_disabled()
    dialog.get_by_label("Outputs").select_option("cutout")
    dialog.get_by_role("button", name="Make again").press("Enter")
    wait_for_toast(page, "1 picture is being made again.")
    expect(page.get_by_text("Nothing to review")).to_be_visible()
    records = (daemon.folders.sink / "_alphadrop" / "review" / "uploads" / batch).iterdir()
    assert {path.name.removesuffix(".json"): json.loads(path.read_text())["verdict"] for path in records} == decided
    daemon.until(lambda: output.stat().st_mtime_ns > before, "it was never made again")


def test_the_zip_holds_the_bytes_of_the_sink(visit: Visit, daemon: Daemon, tmp_path: Path) -> None:
    page = visit().open()
    drop(page, pictures(tmp_path, "z1.png", "z2.png", "z3.png"))
    batch = only_these(page)
    show(page, "Done")
    count(page, 3)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download this batch").click()
    made = daemon.folders.sink / "uploads" / batch
    assert contents(download.value.path()) == {path.name: path.read_bytes() for path in made.iterdir()}
    page.get_by_role("checkbox", name="Select z2.png").check()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download 1").click()
    assert contents(download.value.path()) == {"z2.png": (made / "z2.png").read_bytes()}


def pixels(data: bytes) -> bytes:
    """Those of a picture that can be seen: a browser writes the others of a copied picture as it likes."""
    with Image.open(io.BytesIO(data)) as image:
        return bytes(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA")).tobytes())


def contents(path: Path) -> dict[str, bytes]:
    """The files of a zip, by name without folders."""
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        assert archive.testzip() is None
        return {name.rpartition("/")[2]: archive.read(name) for name in archive.namelist()}


def test_a_picture_is_compared_enlarged_and_saved_by_keyboard_alone(
    visit: Visit, daemon: Daemon, tmp_path: Path
) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"]).open()
    drop(page, pictures(tmp_path, "k1.png", "k2.png"))
    batch = only_these(page)
    show(page, "Done")
    count(page, 2)
    first, second = listed(page, batch)
    expect(page.locator(".card.done .card-name")).to_have_text([first, second])
    page.locator(".card-open").first.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".compare-after.here")).to_have_count(1)
    expect(dialog.get_by_role("heading")).to_have_text(first)
    page.keyboard.press("4")
    expect(dialog.get_by_role("button", name="400 %")).to_have_attribute("aria-pressed", "true")
    assert dialog.locator(".compare-after").bounding_box()["width"] == pytest.approx(4 * 48)  # type: ignore[index]
    page.keyboard.press("g")
    expect(dialog.get_by_role("button", name="On white")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("]")
    expect(dialog.get_by_role("slider")).to_have_value("550")
    made = (daemon.folders.sink / "uploads" / batch / first).read_bytes()
    with page.expect_download() as download:
        page.keyboard.press("d")
    assert download.value.path().read_bytes() == made
    page.keyboard.press("c")
    wait_for_toast(page, "The cut-out is on the clipboard.")
    assert pixels(bytes(page.evaluate(_CLIPBOARD))) == pixels(made)
    page.keyboard.press("ArrowRight")
    expect(dialog.get_by_role("heading")).to_have_text(second)
    page.keyboard.press("a")
    expect(dialog.get_by_role("button", name="Accept")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(".card-open").nth(1)).to_be_focused()
    expect(page.locator(".card", has_text="Accepted")).to_have_count(1)


def listed(page: Page, batch: str) -> list[str]:
    """The names of a batch's finished pictures in the order of the daemon's own list."""
    items = page.context.request.get("/v1/cutouts", params={"batch": batch, "status": "done"}).json()["items"]
    return [item["name"] for item in items]


def test_news_of_the_picture_that_is_shown_change_neither_its_enlargement_nor_the_focus(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit().open()
    drop(page, pictures(tmp_path, "n1.png"))
    batch = only_these(page)
    show(page, "Done")
    count(page, 1)
    card = page.locator(".card-open")
    card.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.locator(".compare-after.here")).to_have_count(1)
    page.keyboard.press("2")
    twice = dialog.get_by_role("button", name="200 %")
    expect(twice).to_have_attribute("aria-pressed", "true")
    dialog.get_by_role("button", name="Download").focus()
    item = page.context.request.get("/v1/cutouts", params={"batch": batch}).json()["items"][0]["id"]
    assert page.context.request.post(f"/v1/cutouts/{item}/accept", headers={"X-Alphadrop": "page"}).ok
    expect(dialog.get_by_role("button", name="Accept")).to_have_attribute("aria-pressed", "true")
    expect(twice).to_have_attribute("aria-pressed", "true")
    expect(dialog.get_by_role("button", name="Download")).to_be_focused()


def test_a_drop_is_not_lost_where_the_page_is_drawn_anew_under_the_pointer(visit: Visit, tmp_path: Path) -> None:
    page = visit().open()
    drop(page, pictures(tmp_path, "d1.png"), meanwhile="dispatchEvent(new Event('hashchange'))")
    wait_for_toast(page, "1 picture is being sent.")


def test_uploads_are_stopped_by_a_press_that_lasts_longer_than_one_is_sent(visit: Visit, tmp_path: Path) -> None:
    page = visit().open()
    drop(page, pictures(tmp_path, "first.png"))  # the page of a newcomer changes its layout with the first picture
    expect(page.locator(".card").first).to_be_visible()
    expect(page.locator(".uploads-head")).to_have_count(0)
    held: list[Route] = []
    page.route("**/v1/cutouts?path=*", lambda route: held.append(route))
    drop(page, pictures(tmp_path, *(f"s{number}.png" for number in range(6))))
    stop = page.get_by_role("button", name="Stop")
    stop.hover()
    page.mouse.down()
    held[0].continue_()
    expect(page.get_by_text("1 of 6 sent")).to_be_visible()
    page.mouse.up()
    expect(page.locator(".uploads-head")).to_have_count(0)
    only_these(page)
    count(page, 1)


def test_names_of_files_are_shown_as_text(visit: Visit, tmp_path: Path) -> None:
    pictures(tmp_path / "evil", *HOSTILE)
    visitor = visit()
    page = visitor.open()
    drop(page, [tmp_path / "evil"])
    only_these(page)
    show(page, "Done")
    count(page, len(HOSTILE))
    assert seen(page, len(HOSTILE)) == {f"evil/{name.replace(chr(0x202E), '_')}" for name in HOSTILE}
    for number in range(len(HOSTILE)):
        page.locator(".card-open").nth(number).click()
        expect(page.get_by_role("dialog").locator(".compare-before.here")).to_have_count(1)
        page.keyboard.press("Escape")
    page.get_by_role("link", name="Review").click()
    expect(page.locator(".review-name")).to_be_visible()


def test_a_token_is_asked_for_and_a_wrong_one_refused(visit: Visit) -> None:
    page = visit(signed_in=False).open()
    page.get_by_label("Token").fill("guessed-by-somebody-else")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The daemon does not accept this token.")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".pulse")).to_have_attribute("data-state", "live")


def test_a_newcomer_is_told_what_to_do(visit: Visit) -> None:
    page = visit().open("live")
    page.route("**/v1/cutouts?*", lambda route: route.fulfill(json={"items": [], "next": None, "total": 0}))
    page.get_by_role("link", name="Pictures").click()
    expect(page.get_by_role("heading", name="Drop pictures or a folder anywhere on this page")).to_be_visible()
    expect(page.locator(".steps h2")).to_have_text(["Drop", "Watch", "Take"])
    page.get_by_role("link", name="Review").click()
    expect(page.get_by_role("heading", name="Nothing to review")).to_be_visible()


def test_ten_thousand_pictures_are_few_elements(visit: Visit) -> None:
    page = visit().open("live")
    page.route("**/v1/cutouts?*", ten_thousand)
    page.route("**/thumbnail*", lambda route: route.fulfill(body="", content_type="image/webp"))
    page.get_by_role("link", name="Pictures").click()
    count(page, 10_000)
    page.mouse.move(600, 600)
    page.locator(".card-open").first.focus()

    def reached() -> bool:
        page.keyboard.press("End")
        return page.locator(".cell").last.get_attribute("aria-posinset") == "10000"

    wait_until(reached, STUCK, "the last picture was never in sight")
    expect(page.get_by_role("button", name="10000.png, Done")).to_be_focused()
    assert page.evaluate("document.querySelectorAll('*').length") < 2_000


def ten_thousand(route: Route) -> None:
    """Answer for a list of that length."""
    query = parse_qs(urlsplit(route.request.url).query)
    start = int(query.get("cursor", ["0"])[0])
    end = min(start + 2_000, 10_000)
    known = {
        "batch": "b",
        "status": "done",
        "outputs": [],
        "original": "/v1/o",
        "thumbnail": "/v1/thumbnail",
        "score": 0.9,
    }
    items = [{**known, "id": f"i{n}", "key": f"{n}.png", "name": f"{n}.png"} for n in range(start + 1, end + 1)]
    route.fulfill(json={"items": items, "next": str(end) if end < 10_000 else None, "total": 10_000})


def test_news_that_overtake_an_answer_are_not_forgotten(visit: Visit, tmp_path: Path) -> None:
    page = visit().open()
    early, late, later = pictures(tmp_path, "early.png", "late.png", "later.png")
    drop(page, [early])
    batch = only_these(page)
    expect(page.locator(".card.done")).to_have_count(1)
    answer = LateAnswer(page, "*/v1/cutouts?*status=done*")
    show(page, "Done")
    answer.wait(page)
    send(page, late, batch)
    expect(page.locator(".card.done .card-name")).to_have_text(["late.png", "early.png"])
    answer.let_go()
    send(page, later, batch)
    expect(page.locator(".card.done .card-name")).to_have_text(["later.png", "late.png", "early.png"])
    count(page, 3)


def test_the_answer_to_an_upload_that_comes_after_its_cut_out_changes_nothing(visit: Visit, tmp_path: Path) -> None:
    page = visit().open()
    slow, quick = pictures(tmp_path, "slow.png", "quick.png")
    answer = LateAnswer(page, "*/v1/cutouts?path=slow*")
    drop(page, [slow])
    batch = only_these(page)
    expect(page.locator(".card.done")).to_have_count(1)
    answer.let_go()
    expect(page.locator(".uploads-head")).to_have_count(0)
    send(page, quick, batch)
    expect(page.locator(".card.done .card-name")).to_have_text(["quick.png", "slow.png"])


def send(page: Page, picture: Path, batch: str) -> None:
    """Add a picture to a batch, beside the page."""
    assert page.context.request.post(
        "/v1/cutouts",
        params={"path": picture.name, "batch": batch},
        data=picture.read_bytes(),
        headers={"Content-Type": "image/png", "X-Alphadrop": "page"},
    ).ok


def test_a_lost_connection_comes_back_and_nothing_is_missed(visit: Visit, daemon: Daemon) -> None:
    visitor = visit()
    page = visitor.open()
    pulse = page.locator(".pulse")
    expect(pulse).to_have_attribute("data-state", "live")
    page.route("**/v1/{events,status}", lambda route: route.abort())
    page.evaluate(
        "import(document.querySelector('link[href$=\"stream.js\"]').href).then(({ stream }) => stream.open())"
    )
    expect(pulse).to_have_text("Reconnecting …")
    coloured(daemon.folders.source / "unseen.png", colour(9))
    page.unroute("**/v1/{events,status}")
    expect(pulse).to_have_attribute("data-state", "live")
    expect(page.locator(".card", has_text="unseen.png")).to_contain_text("Done")


@pytest.mark.parametrize("look", LOOKS)
def test_axe_finds_no_serious_fault(visit: Visit, daemon: Daemon, look: str) -> None:
    coloured(daemon.folders.source / f"axe-{look}.png", colour(1))
    (daemon.folders.source / f"axe-{look}-broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    page = visit(**LOOKS[look]).open()
    title = "审核" if look == "chinese" else "Review"
    expect(page.locator(".card.done img.here").first).to_be_visible()
    expect(page.locator(".card.rejected").first).to_be_visible()
    found = {"pictures": accessibility_problems(page)}
    page.locator(".card.done .card-open").first.click()
    expect(page.get_by_role("dialog").locator(".compare-after.here")).to_have_count(1)
    found["viewer"] = accessibility_problems(page)
    page.keyboard.press("Escape")
    page.get_by_role("link", name=title).click()
    expect(page.locator(".review-name, .empty h1").locator("visible=true")).to_be_visible()
    found["review"] = accessibility_problems(page)
    page.goto("/#live")
    expect(page.locator(".failures li").first).to_be_visible()
    found["live"] = accessibility_problems(page)
    assert found == {view: [] for view in found}
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")


def test_source_and_sink_may_be_buckets(browser: Browser, tmp_path: Path) -> None:
    moto = moto_server()
    bucket, client = moto.bucket(), moto.client()

    def objects(prefix: str) -> dict[str, bytes]:
        """The bytes of the objects below a prefix, by the rest of their keys."""
        keys = [entry["Key"] for entry in client.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", ())]
        return {key.removeprefix(prefix): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}

    buckets = Buckets(tmp_path, (f"s3://{bucket}/in", f"s3://{bucket}/out"))
    broken = tmp_path / "broken.png"
    broken.write_bytes(photo(colour(1))[:60])
    with Daemon(buckets, "--page", "--rescan", "3600", **moto.variables) as daemon:
        daemon.wait_until_ready()
        visitor = Visitor(browser, f"http://127.0.0.1:{daemon.port}")
        page = visitor.open()
        drop(page, [*pictures(tmp_path, "b1.png", "b2.png"), broken])
        batch = only_these(page)
        show(page, "Done")
        count(page, 2)
        assert seen(page, 2) == {"b1.png", "b2.png"}
        sent, made = objects(f"in/uploads/{batch}/"), objects(f"out/uploads/{batch}/")
        assert sent.keys() == {"b1.png", "b2.png", "broken.png"} and made.keys() == {"b1.png", "b2.png"}
        with page.expect_download() as download:
            page.get_by_role("link", name="Download this batch").click()
        assert contents(download.value.path()) == made
        page.get_by_role("button", name="b1.png, Done").click()
        with page.expect_download() as download:
            page.keyboard.press("d")
        assert download.value.path().read_bytes() == made["b1.png"]
        page.keyboard.press("a")
        accept = page.get_by_role("dialog").get_by_role("button", name="Accept")
        expect(accept).to_have_attribute("aria-pressed", "true")
        assert json.loads(objects(f"out/_alphadrop/review/uploads/{batch}/")["b1.png.json"])["verdict"] == "accepted"
        page.keyboard.press("Escape")
        client.put_object(Bucket=bucket, Key=f"in/uploads/{batch}/broken.png", Body=photo(colour(3)))
        page.get_by_role("link", name="Live").click()
        page.get_by_role("button", name="Try broken.png again").click()
        expect(page.locator(".failures li")).to_have_count(0)
        daemon.until(lambda: "broken.png" in objects(f"out/uploads/{batch}/"), "it was never tried again")
        assert objects("out/_failed/") == {}
        visitor.close()
        assert visitor.problems == []


def test_the_language_follows_the_browser_until_somebody_switches(visit: Visit) -> None:
    visitor = visit(locale="zh-CN")
    page = visitor.open("review")
    expect(page).to_have_title("审核 · alphadrop")
    page.get_by_label("Language").select_option("en")
    expect(page).to_have_title("Review · alphadrop")
    page.reload()
    expect(page).to_have_title("Review · alphadrop")
    assert page.evaluate("document.documentElement.lang") == "en"
