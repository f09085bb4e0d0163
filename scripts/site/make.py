"""make.py [FOLDER]: the pages of docs/SUMMARY.md as a site in FOLDER (target/site), by mdBook.

The pages stay where they are. They are laid out as they lie here, with the pictures and files that they link to, and mdBook makes
HTML of that; so a link works in the site as it does on the code host. A link that leads nowhere, before or after, is exit code 1,
and what is missing to build is exit code 2.
"""

import html.parser
import os
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
SITE = pathlib.Path("scripts/site")
SUMMARY = pathlib.Path("docs/SUMMARY.md")
# The release that the pages have been looked at with.
MDBOOK = "0.5.4"
LINK = re.compile(r"(!?\[[^\]]*\])\(([^)\s]+)\)")
ELSEWHERE = re.compile(r"[a-z]+:")


def main(folder: pathlib.Path) -> None:
    os.chdir(ROOT)
    work = pathlib.Path("target/site-pages")
    shutil.rmtree(work, ignore_errors=True)
    pages = lay_out(work / "src")
    shutil.copy(SITE / "book.toml", work)
    shutil.copy(SITE / "site.css", work)
    subprocess.run([mdbook(), "build", work], check=True)
    built = work / "html"
    stop_at(broken(built))
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(built, folder)
    print(f"site: {len(pages)} pages in {folder}: open {folder}/index.html")


def lay_out(source: pathlib.Path) -> list[pathlib.Path]:
    """Copies the pages of the table of contents and what they link to; the pages."""
    contents = SUMMARY.read_text()
    pages = [target for target, _ in links(SUMMARY, contents)]
    wrong = [f"{SUMMARY}: there is no {page}" for page in pages if not page.is_file()]
    files = set(pages)
    for page in (page for page in pages if page.is_file()):
        for target, link in links(page, page.read_text()):
            if not target.is_file():
                wrong.append(f"{page}: ({link}) is no file")
            elif target.suffix == ".md" and target not in pages:
                wrong.append(f"{page}: ({link}) is a page that {SUMMARY} does not have")
            files.add(target)
    stop_at(wrong)
    for file in files:
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, source / file)
    # mdBook wants the table of contents above all pages.
    moved = LINK.sub(lambda match: f"{match[1]}({inside(SUMMARY, match[2])[0]})", contents)
    (source / "SUMMARY.md").write_text(moved)
    return pages


def links(page: pathlib.Path, text: str) -> list[tuple[pathlib.Path, str]]:
    """The files that a page links to, from the root, with the link as it is written; what stands in code is none."""
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)
    found = (match[2] for match in LINK.finditer(text))
    return [inside(page, link) for link in found if not ELSEWHERE.match(link) and not link.startswith("#")]


def inside(page: pathlib.Path, link: str) -> tuple[pathlib.Path, str]:
    path = urllib.parse.unquote(link.partition("#")[0])
    return pathlib.Path(os.path.normpath(page.parent / path)), link


def mdbook() -> str:
    """mdBook of the PATH, or else one of our own, which is compiled once."""
    own = pathlib.Path("target/mdbook")
    found = shutil.which("mdbook") or shutil.which("mdbook", path=own / "bin")
    if found:
        return found
    if not shutil.which("cargo"):
        print(f"site: neither mdbook nor cargo is on the PATH: cargo install mdbook --version {MDBOOK}", file=sys.stderr)
        sys.exit(2)
    print(f"site: mdbook is not on the PATH: compiling mdbook {MDBOOK} into {own}, once; it takes some minutes")
    wanted = ["mdbook", "--version", MDBOOK, "--locked", "--no-default-features", "--features", "search"]
    if subprocess.run(["cargo", "install", *wanted, "--root", own]).returncode:
        print(f"site: mdbook could not be compiled; put a release of it (such as {MDBOOK}) on the PATH", file=sys.stderr)
        sys.exit(2)
    return str(own / "bin/mdbook")


class Page(html.parser.HTMLParser):
    """What a page of HTML links to, and the names of its places."""

    def __init__(self, path: pathlib.Path) -> None:
        super().__init__()
        self.to: list[str] = []
        self.places = {""}
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.to.append(value)
            elif name in ("id", "name") and value:
                self.places.add(value)


def broken(site: pathlib.Path) -> list[str]:
    """Links of the built pages to what is not there."""
    pages = {path: Page(path) for path in site.rglob("*.html")}
    wrong = []
    for path, page in pages.items():
        for link in page.to:
            if ELSEWHERE.match(link) or link.startswith("//"):
                continue
            to, _, place = link.partition("#")
            target = path.parent / urllib.parse.unquote(to) if to else path
            target = pathlib.Path(os.path.normpath(target))
            if not target.is_file():
                wrong.append(f"{path.relative_to(site)}: ({link}) leads nowhere")
            elif target in pages and urllib.parse.unquote(place) not in pages[target].places:
                wrong.append(f"{path.relative_to(site)}: ({link}): the page has no such place")
    return sorted(set(wrong))


def stop_at(wrong: list[str]) -> None:
    for line in wrong:
        print(f"site: {line}", file=sys.stderr)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "target/site"))
