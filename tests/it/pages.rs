//! The pages that users read: all are in the table of contents, their links lead somewhere, and their recipes are recipes.

use crate::compare::files;
use crate::program::Program;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::thread;

const CONTENTS: &str = "docs/SUMMARY.md";

/// What the recipes of the pages read, a row or two of each.
const FILES: [(&str, &str); 11] = [
    (
        "train.jsonl",
        "{\"question\": \"3 + 4?\", \"rationale\": \"3 + 4 = 7\", \"answer\": \"7\"}\n\
         {\"question\": \"9 - 2?\", \"rationale\": \"9 - 2 = 7\", \"answer\": \"7\"}\n",
    ),
    ("test.jsonl", "{\"question\": \"5 + 1?\", \"rationale\": \"5 + 1 = 6\", \"answer\": \"6\"}\n"),
    ("pairs.jsonl", "{\"prompt\": \"3 + 4?\", \"chosen\": \"7\", \"rejected\": \"8\"}\n"),
    ("held-out-pairs.jsonl", "{\"prompt\": \"1 + 4?\", \"chosen\": \"5\", \"rejected\": \"8\"}\n"),
    (
        "steps.jsonl",
        "{\"question\": \"3 + 4 + 1?\", \"steps\": [\"3 + 4 = 7\", \"7 + 1 = 9\"], \"first_error\": 1}\n",
    ),
    (
        "held-out-steps.jsonl",
        "{\"question\": \"3 + 4 + 2?\", \"steps\": [\"3 + 4 = 7\", \"7 + 2 = 9\"], \"first_error\": -1}\n\
         {\"question\": \"3 + 4 + 5?\", \"steps\": [\"3 + 4 = 8\", \"8 + 5 = 13\"], \"first_error\": 0}\n",
    ),
    ("choices.jsonl", CHOICES),
    ("held-out-choices.jsonl", CHOICES),
    ("marked.jsonl", "{\"question\": \"Why light?\", \"answer\": \"1\", \"rubric\": \"photosynthesis\"}\n"),
    (
        "rubrics.toml",
        "name = \"photosynthesis\"\nformula = \"total\"\n[[questions]]\nname = \"light\"\nask = \"Is it said?\"\n",
    ),
    ("hedging.py", ""),
];

const CHOICES: &str = "{\"question\": \"What falls?\", \"choices\": [\"rain\", \"sun\"], \"rationales\": [\"it is wet\", \"it is warm\"], \"answer\": \"rain\"}\n";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(page: &Path) -> String {
    fs::read_to_string(root().join(page)).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// All pages, from the root: those of the root itself, of docs/, and the README.md of each folder of figures, recipes and runs.
fn pages() -> BTreeSet<PathBuf> {
    let names = |folder: &str| {
        let entries = fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
        entries.map(|name| Path::new(folder).join(name)).collect::<Vec<_>>()
    };
    let is_page = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "md");
    let readmes =
        names("benches").into_iter().chain(["benches".into(), "recipes".into(), "checkpoints".into()]);
    let readmes =
        readmes.map(|folder: PathBuf| folder.join("README.md")).filter(|page| root().join(page).is_file());
    names("").into_iter().chain(names("docs")).filter(is_page).chain(readmes).collect()
}

/// A page's lines outside of blocks of code, and what stands between single backticks left out.
fn prose(text: &str) -> String {
    let mut code = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            code = !code;
        } else if !code {
            // Every second part stands in backticks; the title of a link that is code keeps its brackets.
            line.split('`').step_by(2).for_each(|part| kept.push_str(part));
            kept.push('\n');
        }
    }
    kept
}

/// The links of a page to files, as they are written.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let inline = prose.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link);
    // `[word]: page.md` on a line of its own, for `[text][word]`.
    let named = prose.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    let inside = |link: &&str| !link.contains(':') && !link.starts_with('#') && !link.contains(' ');
    inline.chain(named.map(|(_, link)| link)).filter(inside).map(String::from).collect()
}

/// Where a page's link leads, from the root, and the place on that page.
fn target(page: &Path, link: &str) -> (PathBuf, Option<String>) {
    let (path, place) = link.split_once('#').map_or((link, None), |(path, place)| (path, Some(place.into())));
    let mut way = PathBuf::new();
    for part in page.parent().unwrap().join(path).components() {
        match part {
            Component::ParentDir => assert!(way.pop(), "{}: {link} leads out of the project", page.display()),
            part => way.push(part),
        }
    }
    (way, place)
}

/// What code hosts and mdBook call a heading.
fn places(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    let name = |heading: &str| {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
            .collect::<String>()
            .replace(' ', "-")
    };
    headings.map(name).collect()
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    let contents = Path::new(CONTENTS);
    let listed: BTreeSet<PathBuf> =
        links(&read(contents)).iter().map(|link| target(contents, link).0).collect();
    let missing: Vec<_> =
        pages().into_iter().filter(|page| page != contents && !listed.contains(page)).collect();
    assert!(missing.is_empty(), "{CONTENTS} does not have {missing:?}");
}

/// The recipes that are shipped, by name.
fn recipe_names() -> Vec<String> {
    let entries = fs::read_dir(root().join("recipes")).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter_map(|name| Some(name.to_str()?.strip_suffix(".toml")?.to_owned())).collect()
}

/// Merges have left a second heading with nothing below it.
#[test]
fn every_part_of_the_index_has_recipes_and_a_heading_of_its_own() {
    let index = read(Path::new("recipes/README.md"));
    let mut headings = BTreeSet::new();
    for part in index.split("\n## ").skip(1) {
        let (heading, below) = part.split_once('\n').unwrap_or((part, ""));
        assert!(headings.insert(heading), "two parts are called {heading}");
        assert!(below.contains("\n| [`"), "no recipe stands below {heading}");
    }
    assert!(headings.len() > 5, "only {headings:?} were found");
}

/// `train list` reads the same rows.
#[test]
fn every_recipe_stands_in_the_index_with_all_its_columns() {
    let index = read(Path::new("recipes/README.md"));
    let rows: Vec<&str> = index.lines().filter(|line| line.starts_with("| [`")).collect();
    let cells = |row: &str| row.trim_start_matches('|').matches('|').count();
    let ragged: Vec<_> = rows.iter().filter(|row| cells(row) != 6).collect();
    assert!(ragged.is_empty(), "{ragged:#?}");
    for name in recipe_names() {
        let of = rows.iter().filter(|row| row.starts_with(&format!("| [`{name}`]({name}.toml)"))).count();
        assert_eq!(of, 1, "rows of {name}");
    }
}

/// A method is a row with as many cells as its table's head has; recipes that are no method stand in the last table.
#[test]
fn every_recipe_stands_in_the_table_of_methods() {
    let page = read(Path::new("docs/methods.md"));
    let missing: Vec<_> = recipe_names()
        .into_iter()
        .filter(|name| !page.contains(&format!("[`{name}`](../recipes/{name}.toml)")))
        .collect();
    assert!(missing.is_empty(), "docs/methods.md does not have {missing:?}");
    for table in page.split("\n## ").skip(1) {
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with('|')).collect();
        let cells = |row: &&str| row.matches('|').count();
        let ragged: Vec<_> = rows.iter().filter(|row| cells(row) != cells(&rows[0])).collect();
        assert!(ragged.is_empty(), "{ragged:#?}");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages() {
        for link in links(&read(&page)) {
            let (file, place) = target(&page, &link);
            let there = root().join(&file).is_file()
                && place.is_none_or(|place| places(&read(&file)).contains(&place));
            followed += 1;
            if !there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(followed > 200, "only {followed} links were found");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A kind of fault is held by a test that is there, or by a module that has some.
#[test]
fn every_test_that_a_page_names_is_there() {
    let mut known = BTreeSet::new();
    for path in ["src", "tests/it"].iter().flat_map(|folder| files(&root().join(folder))) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let functions = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
        known.extend(functions.map(str::to_owned));
        known.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    let page = read(Path::new("docs/reliability.md"));
    let is_name = |text: &&str| {
        text.contains("::") && text.chars().all(|c| c.is_ascii_lowercase() || "_:0123456789".contains(c))
    };
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    let last = |name: &str| name.trim_end_matches(':').rsplit("::").next().unwrap_or_default().to_owned();
    let missing: Vec<&&str> = named.iter().filter(|name| !known.contains(&last(name))).collect();
    assert!(named.len() > 80, "only {} tests were found", named.len());
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The recipes of a page with the lines that they begin on: `toml` is one, `toml added` further lines of the one before (or of the
/// file that it names); `toml file` is none.
fn recipes(page: &Path) -> Vec<(usize, String)> {
    let text = read(page);
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(told) = line.strip_prefix("```toml") else { continue };
        let block: Vec<&str> =
            lines.by_ref().map(|(_, line)| line).take_while(|line| !line.starts_with("```")).collect();
        let before = match told.trim().split_once(' ').unwrap_or((told.trim(), "")) {
            ("", _) => String::new(),
            ("added", "") => found.last().expect("there is a recipe to add to").1.clone(),
            ("added", file) => read(Path::new(file)),
            ("file", _) => continue,
            other => panic!("{}:{}: {other:?} is no kind of block", page.display(), at + 1),
        };
        found.push((at + 1, format!("{before}\n{}\n", block.join("\n"))));
    }
    found
}

#[test]
fn every_recipe_of_a_page_passes_a_dry_run() {
    let all: Vec<(PathBuf, usize, String)> = pages()
        .into_iter()
        .flat_map(|page| recipes(&page).into_iter().map(move |(line, text)| (page.clone(), line, text)))
        .collect();
    assert!(all.len() > 20, "only {} recipes were found", all.len());
    let refused = |(page, line, recipe): &(PathBuf, usize, String)| {
        let program = Program::new(recipe);
        FILES.iter().for_each(|(name, rows)| program.write(name, rows));
        let (code, said) = program
            .train_with(&["--dry-run"], &[("OPENAI_API_KEY", "none"), ("HF_HUB_OFFLINE", "1")])
            .parts();
        (code != Some(0)).then(|| format!("{}:{line}: {said}", page.display()))
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let parts: Vec<_> = all.chunks(all.len().div_ceil(4)).collect();
        let threads: Vec<_> = parts
            .into_iter()
            .map(|part| scope.spawn(move || part.iter().filter_map(refused).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
