from __future__ import annotations

import time

import pytest

from examples.linkcheck import pages

URL = "http://h/docs/page.html"


def links(html: str) -> dict[str, list[str]]:
    return pages.read(html, URL).links


def test_links_of_every_kind_are_found() -> None:
    html = """
        <a href=one.html>1</a> <A HREF='two.html'>2</A> <img src="i.png" srcset="j.png 1x, k.png 2x">
        <link rel="stylesheet" href="s.css"><script src="s.js"></script>
        <iframe src=f.html></iframe> <video poster="v.jpg"><source src="v.webm"></video>
    """
    paths = [url.removeprefix("http://h") for url in links(html)]
    assert sorted(paths) == sorted(
        f"/docs/{name}"
        for name in (
            "one.html",
            "two.html",
            "i.png",
            "j.png",
            "k.png",
            "s.css",
            "s.js",
            "f.html",
            "v.jpg",
            "v.webm",
        )
    )


@pytest.mark.parametrize(
    "html",
    [
        "<!-- <a href=x.html> -->",
        "<script>document.write('<a href=\"x.html\">')</script>",
        "<style>/* <a href=x.html> */</style>",
        "<title><a href=x.html></title>",
        '<a title="<a href=x.html>">',
        "<a data-href=x.html>",
        '<a href="mailto:me@h">',
        '<a href="javascript:x()">',
        '<img src="data:image/png;base64,AAAA">',
        '<link rel="preconnect" href="https://fonts.example">',
        "&lt;a href=x.html&gt;",
    ],
)
def test_what_is_no_link_is_left_alone(html: str) -> None:
    assert links(html) == {}


def test_fragments_are_gathered_by_page() -> None:
    hrefs = ("x.html#b", "x.html#a", "x.html", "#here", "#top", "y.html#")
    html = "".join(f'<a href="{href}">' for href in hrefs)
    assert links(html) == {
        "http://h/docs/x.html": ["", "a", "b"],
        URL: ["", "here"],
        "http://h/docs/y.html": [""],
    }


def test_a_base_moves_relative_links() -> None:
    assert links('<base href="/other/"><a href="x.html">') == {"http://h/other/x.html": [""]}


def test_entities_and_quoting_are_undone() -> None:
    assert links('<a href="x?a=1&amp;b=2#caf%C3%A9">') == {"http://h/docs/x?a=1&b=2": ["café"]}


def test_anchors_are_ids_and_names() -> None:
    page = pages.read("<h1 id=one>x</h1><a name='two'></a><meta name=three><div class=id></div>", URL)
    assert page.anchors == ["one", "two"]


@pytest.mark.parametrize(
    "html",
    [
        '<p class="x" id=y>',
        "<p class='x' id=y>",
        '<p class="a>b" id=y>',
        "<i>x</i><!d><P ID = 'y' >",
        "a < b <p id=y",
    ],
)
def test_an_anchor_is_found_whatever_surrounds_it(html: str) -> None:
    assert pages.read(html, URL).anchors == ["y"]


def test_a_host_without_a_path_is_its_root() -> None:
    assert links('<a href="http://other">') == {"http://other/": [""]}


def test_an_address_that_makes_no_sense_is_kept_to_be_reported() -> None:
    assert links('<a href="http://[oops/x">') == {"http://[oops/x": [""]}


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<p>",
        "</p>",
        "text ",
        '<p class="',
        '<p class="x" ',
        "<a ",
        "<a '",
        '<a "',
        "<!--",
        "<script>",
        "<a href=x ",
        "<a href='x",
    ],
)
def test_a_broken_page_costs_no_more_time_than_a_sound_one(piece: str) -> None:
    began = time.monotonic()
    pages.read(piece * 200_000, URL)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("é".encode(), None),
        ("é".encode("latin-1"), "latin-1"),
        ('<meta charset="iso-8859-1">é'.encode("latin-1"), None),
        ("é".encode(), "no-such-charset"),
    ],
)
def test_text_is_decoded_as_it_says(body: bytes, charset: str | None) -> None:
    assert pages.text_of(body, charset).endswith("é")
