//! Sending a model to the hub, against a local server that answers as the hub does and a store beside it: regular and large files, parts,
//! what is there already, broken uploads, refusals, redirects, and whom the token is shown to.

use crate::program::Program;
use crate::recipes::Tiny;
use crate::server::{Received, json, serve};
use rationale::data::hub::{Hub, Sent};
use rationale::digest::hexadecimal;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

const TOKEN: &str = "hf_write";
/// Larger files go in parts of so many bytes, or a quarter of theirs.
const PART: usize = 10;

/// What the hub and its store hold, and what they were asked.
#[derive(Default)]
struct Held {
    repos: BTreeMap<String, Repo>,
    /// Names that datasets have.
    taken: Vec<String>,
    /// Large files by their SHA-256.
    store: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<(String, usize), Vec<u8>>,
    /// Method and path of every request to the hub, and of every one to the store.
    asked: Vec<String>,
    put: Vec<String>,
    /// What the store was shown that it must not see.
    shown: Vec<String>,
    /// Requests that are not answered any more: how many are left of those whose address has this in it.
    broken: Option<(String, usize)>,
    /// Where requests with this in their address are sent on to.
    moved: Option<(String, String)>,
    /// There is no room for large files.
    full: bool,
}

#[derive(Default)]
struct Repo {
    private: bool,
    commits: usize,
    files: BTreeMap<String, File>,
}

#[derive(Clone, PartialEq, Debug)]
enum File {
    Plain(Vec<u8>),
    Large(String),
}

/// A hub and its store.
struct Fake {
    address: String,
    held: Arc<Mutex<Held>>,
}

impl Fake {
    fn start() -> Self {
        let held: Arc<Mutex<Held>> = Arc::default();
        let of_store = held.clone();
        let store = serve(move |received| at_store(&mut of_store.lock().unwrap(), received));
        let of_hub = held.clone();
        let address = serve(move |received| at_hub(&mut of_hub.lock().unwrap(), received, &store));
        Self { address, held }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap()
    }

    fn hub(&self, token: Option<&str>, offline: bool) -> Hub {
        Hub::at("nowhere".into(), &self.address, token.map(str::to_owned), offline).patient(2.0)
    }

    fn send(&self, folder: &Path, private: bool) -> rationale::Result<Sent> {
        let mut target = self.hub(Some(TOKEN), false).target("me/mine", private)?;
        target.create()?;
        target.send(folder, &|_| ())
    }

    /// The requests whose address has this in it.
    fn asked(&self, part: &str) -> usize {
        self.held().asked.iter().filter(|asked| asked.contains(part)).count()
    }

    /// What the store was sent since this was last asked.
    fn put(&self) -> Vec<String> {
        std::mem::take(&mut self.held().put)
    }
}

fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn git_name(bytes: &[u8]) -> String {
    let whole = [format!("blob {}\0", bytes.len()).as_bytes(), bytes].concat();
    hexadecimal(&sha1::Sha1::digest(&whole))
}

/// The bytes that base64 says.
fn decoded(text: &str) -> Vec<u8> {
    const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for letter in text.trim_end_matches('=').chars() {
        bits = bits << 6 | LETTERS.find(letter).expect("a letter of base64") as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    bytes
}

/// An answer that is none: the client does not know whether it was heard.
fn nothing() -> (String, String) {
    (String::new(), String::new())
}

/// Whether this request is one that is not answered.
fn breaks(held: &mut Held, path: &str) -> bool {
    match &mut held.broken {
        Some((part, left)) if *left > 0 && path.contains(part.as_str()) => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

fn commit_name(commits: usize) -> String {
    format!("{commits:040x}")
}

fn said(status: &str, words: &str) -> (String, String) {
    let (head, body) = json(status, json!({ "error": words }));
    (format!("{head}\r\nX-Error-Message: {words}"), body)
}

fn at_hub(held: &mut Held, received: &Received, store: &str) -> (String, String) {
    let path = received.path.split('?').next().unwrap().to_owned();
    held.asked.push(format!("{} {path}", received.method));
    let authorization = received.header("authorization");
    // Its address is its own secret.
    if let Some(oid) = path.strip_prefix("/done/") {
        held.shown.extend(authorization);
        return done(held, oid, &serde_json::from_slice(&received.bytes).unwrap());
    }
    match authorization.as_deref() {
        Some("Bearer hf_write") => {}
        Some("Bearer hf_read") if received.method == "GET" => {}
        Some("Bearer hf_read") => return said("403 Forbidden", "You don't have the rights, hf_read"),
        _ => return said("401 Unauthorized", "Invalid credentials in Authorization header"),
    }
    if let Some((_, to)) = held.moved.clone().filter(|(part, _)| path.contains(part.as_str())) {
        return (format!("307 Temporary Redirect\r\nLocation: {to}\r\nContent-Length: 0"), String::new());
    }
    if !path.contains("/commit/") && breaks(held, &path) {
        return nothing();
    }
    let body: Value = serde_json::from_slice(&received.bytes).unwrap_or_default();
    if path == "/api/repos/create" {
        let name = format!("{}/{}", body["organization"].as_str().unwrap(), body["name"].as_str().unwrap());
        if held.taken.contains(&name) || held.repos.contains_key(&name) {
            return said("409 Conflict", "You already created this repo");
        }
        assert_eq!(body["type"], "model");
        let private = body["private"] == true;
        held.repos.insert(name, Repo { private, commits: 1, ..Repo::default() });
        return json("200 OK", json!({"url": "…"}));
    }
    if path == "/verify" {
        let oid = body["oid"].as_str().unwrap();
        assert_eq!(held.store[oid].len() as u64, body["size"].as_u64().unwrap());
        return json("200 OK", "{}");
    }
    if let Some(name) = path.strip_suffix(".git/info/lfs/objects/batch") {
        assert!(held.repos.contains_key(name.trim_start_matches('/')));
        assert_eq!(received.header("accept").as_deref(), Some("application/vnd.git-lfs+json"));
        assert_eq!(body["operation"], "upload");
        let objects = body["objects"].as_array().unwrap();
        let home = format!("http://{}", received.header("host").unwrap());
        let told = |object: &Value| batched(held, object, &home, store);
        let objects: Vec<Value> = objects.iter().map(told).collect();
        return json("200 OK", json!({"transfer": "basic", "objects": objects}));
    }
    let Some((name, rest)) = path.strip_prefix("/api/models/").and_then(|rest| {
        let end = rest.match_indices('/').nth(1)?.0;
        Some((rest[..end].to_owned(), rest[end + 1..].to_owned()))
    }) else {
        return said("404 Not Found", "no such address");
    };
    if !held.repos.contains_key(&name) {
        let (head, body) = said("404 Not Found", "Repository not found");
        return (format!("{head}\r\nX-Error-Code: RepoNotFound"), body);
    }
    match rest.as_str() {
        "revision/main" => json("200 OK", listed(held, &name)),
        "preupload/main" => {
            let mode = |file: &Value| {
                assert_eq!(file["sample"] == "", file["size"] == 0);
                let path = file["path"].as_str().unwrap();
                let large = path.ends_with(".safetensors");
                let mode = if large { "lfs" } else { "regular" };
                json!({"path": path, "uploadMode": mode, "shouldIgnore": path.ends_with(".log"), "oid": null})
            };
            let files: Vec<Value> = body["files"].as_array().unwrap().iter().map(mode).collect();
            json("200 OK", json!({ "files": files }))
        }
        "commit/main" => {
            assert_eq!(received.header("content-type").as_deref(), Some("application/x-ndjson"));
            let answer = committed(held, &name, &received.body);
            // What is broken here has been done.
            if breaks(held, &path) { nothing() } else { answer }
        }
        other => panic!("{other}"),
    }
}

fn listed(held: &Held, name: &str) -> Value {
    let repo = &held.repos[name];
    let files = repo.files.iter().map(|(name, file)| match file {
        File::Plain(bytes) => json!({"rfilename": name, "size": bytes.len(), "blobId": git_name(bytes)}),
        File::Large(oid) => {
            let size = held.store[oid].len();
            json!({"rfilename": name, "size": size, "blobId": "of-the-pointer", "lfs": {"sha256": oid, "size": size}})
        }
    });
    let files: Vec<Value> = files.collect();
    json!({"sha": commit_name(repo.commits), "private": repo.private, "siblings": files})
}

fn batched(held: &Held, object: &Value, home: &str, store: &str) -> Value {
    let (oid, size) = (object["oid"].as_str().unwrap(), object["size"].as_u64().unwrap() as usize);
    let mut told = json!({"oid": oid, "size": size});
    if held.full {
        told["error"] = json!({"code": 422, "message": "Your private storage limit is reached"});
    } else if !held.store.contains_key(oid) {
        told["actions"] = match size > PART {
            false => json!({
                "upload": {"href": format!("{store}/whole/{oid}?signature=1"), "header": {"X-Named": "yes"}},
                "verify": {"href": format!("{home}/verify")},
            }),
            true => {
                let part = PART.max(size.div_ceil(4));
                let mut header =
                    serde_json::Map::from_iter([("chunk_size".to_owned(), part.to_string().into())]);
                for number in 1..=size.div_ceil(part) {
                    let address = format!("{store}/part/{oid}/{number}?signature=1");
                    header.insert(number.to_string(), address.into());
                }
                json!({"upload": {"href": format!("{home}/done/{oid}?signature=1"), "header": header}})
            }
        };
    }
    told
}

fn committed(held: &mut Held, name: &str, body: &str) -> (String, String) {
    let lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["key"], "header");
    assert!(!lines[0]["value"]["summary"].as_str().unwrap().is_empty());
    let known = &held.store;
    let mut files = BTreeMap::new();
    for line in &lines[1..] {
        let (value, path) = (&line["value"], line["value"]["path"].as_str().unwrap().to_owned());
        let file = match line["key"].as_str().unwrap() {
            "file" => File::Plain(decoded(value["content"].as_str().unwrap())),
            "lfsFile" => {
                let oid = value["oid"].as_str().unwrap().to_owned();
                assert!(
                    value["algo"] == "sha256" && known.contains_key(&oid),
                    "it was committed before it came"
                );
                File::Large(oid)
            }
            other => panic!("{other}"),
        };
        files.insert(path, file);
    }
    let repo = held.repos.get_mut(name).unwrap();
    if lines[0]["value"]["parentCommit"] != commit_name(repo.commits).as_str() {
        return said("412 Precondition Failed", "A commit has happened since.");
    }
    repo.commits += 1;
    repo.files.extend(files);
    json("200 OK", json!({"success": true, "commitOid": commit_name(repo.commits)}))
}

fn done(held: &mut Held, oid: &str, body: &Value) -> (String, String) {
    let mut whole = Vec::new();
    for (place, part) in body["parts"].as_array().unwrap().iter().enumerate() {
        assert_eq!(
            (&part["partNumber"], &part["etag"]),
            (&json!(place + 1), &json!(format!("\"etag-{}\"", place + 1)))
        );
        whole.extend(held.parts[&(oid.to_owned(), place + 1)].clone());
    }
    assert_eq!((body["oid"].as_str(), sha256(&whole).as_str()), (Some(oid), oid));
    held.store.insert(oid.to_owned(), whole);
    json("200 OK", "{}")
}

fn at_store(held: &mut Held, received: &Received) -> (String, String) {
    let path = received.path.split('?').next().unwrap().to_owned();
    held.shown.extend(received.header("authorization"));
    assert_eq!(received.method, "PUT");
    assert!(received.header("transfer-encoding").is_none(), "a store wants to know how long it is");
    if breaks(held, &path) {
        return nothing();
    }
    held.put.push(path.clone());
    if let Some((_, to)) = held.moved.clone().filter(|(part, _)| path.contains(part.as_str())) {
        return (
            format!("307 Temporary Redirect\r\nLocation: {to}{path}\r\nContent-Length: 0"),
            String::new(),
        );
    }
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = match parts[..] {
        ["whole", oid] => {
            assert_eq!(received.header("x-named").as_deref(), Some("yes"));
            assert_eq!(sha256(&received.bytes), oid);
            held.store.insert(oid.to_owned(), received.bytes.clone());
            0
        }
        ["part", oid, number] => {
            let number: usize = number.parse().unwrap();
            held.parts.insert((oid.to_owned(), number), received.bytes.clone());
            number
        }
        _ => panic!("{path}"),
    };
    (format!("200 OK\r\nETag: \"etag-{number}\"\r\nContent-Length: 0"), String::new())
}

/// A folder with a small text, a small large file and a larger one, none of whose bytes are text.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("config.json", "{\"model_type\": \"llama\", \"é\": 1}".as_bytes());
    write("empty.safetensors", b"");
    write("a.safetensors", b"\x00\xff\xfe seven");
    write("b.safetensors", &(0..35).map(|byte| byte * 7).collect::<Vec<u8>>());
    folder
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn a_folder_comes_there_in_one_commit_and_nothing_of_it_twice() {
    let (fake, folder) = (Fake::start(), folder());
    let sent = fake.send(folder.path(), true).unwrap();
    let expected = Sent { commit: Some(commit_name(2)), files: 4, bytes: 32 + 9 + 35, others: vec![] };
    assert_eq!(sent, expected);
    let large = ["a.safetensors", "b.safetensors"].map(|name| sha256(&read(folder.path(), name)));
    {
        let held = fake.held();
        let repo = &held.repos["me/mine"];
        assert!(repo.private);
        assert_eq!(repo.files["config.json"], File::Plain(read(folder.path(), "config.json")));
        // A store takes no file without bytes.
        assert_eq!(repo.files["empty.safetensors"], File::Plain(vec![]));
        assert_eq!(repo.files["a.safetensors"], File::Large(large[0].clone()));
        assert_eq!(held.store[&large[1]], read(folder.path(), "b.safetensors"));
        assert_eq!(held.shown, [""; 0], "the token is for the hub alone");
    }
    let parts = (1..=4).map(|part| format!("/part/{}/{part}", large[1]));
    let expected: Vec<String> = std::iter::once(format!("/whole/{}", large[0])).chain(parts).collect();
    assert_eq!(fake.put(), expected);
    assert_eq!(
        (fake.asked("/verify"), fake.asked("/done/"), fake.asked("POST /api/repos/create")),
        (1, 1, 1)
    );

    // The same again: it is looked at, and that is all.
    let sent = fake.send(folder.path(), true).unwrap();
    assert_eq!((sent.commit, sent.files, sent.bytes), (None, 0, 0));
    assert_eq!((fake.asked("/commit/"), fake.asked("POST /api/repos/create"), fake.put().len()), (1, 1, 0));

    // One file is another, one has another's bytes, which the store has, and one is gone from the folder.
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    std::fs::rename(folder.path().join("a.safetensors"), folder.path().join("c.safetensors")).unwrap();
    let target = fake.hub(Some(TOKEN), false).target("me/mine", false).unwrap();
    let compared = target.compare(folder.path()).unwrap();
    let new: Vec<&str> =
        compared.iter().filter(|file| !file.is_there).map(|file| file.name.as_str()).collect();
    assert_eq!(
        (new, target.exists(), target.has("a.safetensors")),
        (vec!["c.safetensors", "config.json"], true, true)
    );
    let sent = fake.send(folder.path(), false).unwrap();
    assert_eq!(
        (sent.commit, sent.files, sent.others),
        (Some(commit_name(3)), 2, vec!["a.safetensors".to_owned()])
    );
    assert_eq!(fake.put().len(), 0);
    assert_eq!(fake.held().repos["me/mine"].files["config.json"], File::Plain(b"{}".to_vec()));
}

#[test]
fn an_upload_that_is_cut_goes_on() {
    let (fake, folder) = (Fake::start(), folder());
    // Once more is enough for one part.
    let first = sha256(&read(folder.path(), "a.safetensors"));
    let second = sha256(&read(folder.path(), "b.safetensors"));
    let third_part = format!("/part/{second}/3");
    fake.held().broken = Some((third_part.clone(), 3));
    let error = fake.send(folder.path(), false).unwrap_err();
    let said = error.to_string();
    assert!(
        said.contains("sending b.safetensors") && said.contains("run again") && error.exit_code() == 2,
        "{said}"
    );
    assert!(!said.contains("signature") && !said.contains(TOKEN), "{said}");
    assert_eq!((fake.asked("/commit/"), fake.held().repos["me/mine"].files.len()), (0, 0));
    assert!(fake.put().contains(&format!("/whole/{first}")));
    fake.held().broken = Some((third_part, 1));
    let told = Mutex::new(Vec::new());
    let target = fake.hub(Some(TOKEN), false).target("me/mine", false).unwrap();
    target.send(folder.path(), &|text| told.lock().unwrap().push(text.to_owned())).unwrap();
    let parts: Vec<String> = (1..=4).map(|part| format!("/part/{second}/{part}")).collect();
    assert_eq!(fake.put(), parts, "what has arrived whole is not sent again");
    let told = told.into_inner().unwrap();
    assert_eq!(told, ["a.safetensors: its bytes are there already", "b.safetensors: sent"]);
    assert_eq!(fake.held().repos["me/mine"].files.len(), 4);
}

#[test]
fn a_commit_whose_answer_is_lost_is_found() {
    let (fake, folder) = (Fake::start(), folder());
    fake.held().broken = Some(("/commit/".into(), 1));
    let sent = fake.send(folder.path(), false).unwrap();
    // The second attempt does not fit on the first one's commit.
    assert_eq!((sent.commit, fake.asked("/commit/")), (Some(commit_name(2)), 2));
    assert_eq!(fake.held().repos["me/mine"].commits, 2);

    // Of others it is said.
    let target = fake.hub(Some(TOKEN), false).target("me/mine", false).unwrap();
    fake.held().repos.get_mut("me/mine").unwrap().commits += 1;
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let said = target.send(folder.path(), &|_| ()).unwrap_err().to_string();
    assert!(
        said.contains("others have changed it since it was looked at (A commit has happened since.)"),
        "{said}"
    );
}

#[test]
fn what_the_hub_refuses_is_said_with_what_to_do() {
    let (fake, folder) = (Fake::start(), folder());
    let push = |token: Option<&str>, name: &str, private: bool| {
        let sent = fake.hub(token, false).target(name, private).and_then(|mut target| {
            target.create()?;
            target.send(folder.path(), &|_| ())
        });
        let error = sent.expect_err("it is refused");
        let said = error.to_string();
        assert_eq!(error.exit_code(), 2, "{said}");
        assert!(token.is_none_or(|token| !said.contains(token)), "{said}");
        said
    };
    let said = push(None, "me/mine", false);
    assert!(said.contains("there is no token") && said.contains("HF_TOKEN"), "{said}");
    let said = push(Some("hf_old"), "me/mine", false);
    assert!(said.contains("does not take the token (Invalid credentials in Authorization header)"), "{said}");
    let said = push(Some("hf_read"), "me/mine", false);
    assert!(said.contains("may not write there (You don't have the rights, (the token))"), "{said}");
    for name in ["mine", "me/mine@v1", "me/../x", "a/b/c"] {
        assert!(push(Some(TOKEN), name, false).contains(&format!("--push {name}: ")), "{name}");
    }
    fake.held().taken.push("me/data".into());
    let said = push(Some(TOKEN), "me/data", false);
    assert!(said.contains("no model which the token may see, such as a dataset or a space"), "{said}");
    fake.held().repos.insert("me/open".into(), Repo { commits: 1, ..Repo::default() });
    let said = push(Some(TOKEN), "me/open", true);
    assert!(said.contains("everybody sees it") && said.contains("leave --private out"), "{said}");
    fake.held().full = true;
    let said = push(Some(TOKEN), "me/open", false);
    assert!(said.contains("there is no room for it (Your private storage limit is reached)"), "{said}");
    fake.held().full = false;
    std::fs::write(folder.path().join("x.log"), "not wanted").unwrap();
    let said = push(Some(TOKEN), "me/open", false);
    assert!(said.contains("its .gitignore leaves out x.log"), "{said}");
    assert_eq!(fake.asked("/commit/"), 0);

    let offline = fake.hub(Some(TOKEN), true).target("me/mine", false).err().expect("it is off").to_string();
    assert!(offline.contains("HF_HUB_OFFLINE is set"), "{offline}");
    let nobody = Hub::at("nowhere".into(), "http://127.0.0.1:1", Some(TOKEN.into()), false);
    let said = nobody.target("me/mine", false).err().expect("nobody is there").to_string();
    assert!(said.contains("http://127.0.0.1:1 cannot be reached"), "{said}");
}

#[test]
fn redirects_keep_what_is_sent_from_others() {
    let (fake, folder) = (Fake::start(), folder());
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let (stranger, held) = (heard.clone(), fake.held.clone());
    let other = serve(move |received| {
        stranger.lock().unwrap().push(received.path.clone());
        // What the hub named for its store is nothing to another.
        assert_eq!((received.header("authorization"), received.header("x-named")), (None, None));
        held.lock().unwrap().store.insert(sha256(&received.bytes), received.bytes.clone());
        ("200 OK\r\nContent-Length: 0".into(), String::new())
    });
    // The hub's own requests stay with it.
    fake.held().moved = Some(("/preupload/".into(), format!("{other}/api/models/me/mine/preupload/main")));
    let said = fake.send(folder.path(), false).unwrap_err().to_string();
    assert!(
        said.contains(&format!("it sends on to {other}/api")) && said.contains("not the hub itself"),
        "{said}"
    );
    assert_eq!(*heard.lock().unwrap(), [""; 0]);
    // On the hub itself they go on, with the token, as those of a repository that has another name now.
    fake.held().repos.insert("me/new".into(), Repo { commits: 1, ..Repo::default() });
    fake.held().moved = Some(("/me/mine/preupload/".into(), "/api/models/me/new/preupload/main".into()));
    fake.send(folder.path(), false).unwrap();
    assert_eq!(fake.asked("/me/new/preupload/"), 1);
    // A store may send on, and the token goes nowhere.
    std::fs::write(folder.path().join("a.safetensors"), "another").unwrap();
    fake.held().moved = Some(("/whole/".into(), other.clone()));
    fake.send(folder.path(), false).unwrap();
    let oid = sha256(b"another");
    assert_eq!(*heard.lock().unwrap(), [format!("/whole/{oid}")]);
    let held = fake.held();
    assert_eq!((&held.repos["me/mine"].files["a.safetensors"], held.shown.len()), (&File::Large(oid), 0));
}

#[test]
fn a_run_is_exported_to_the_hub() {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    program.train(&["-q"]).success();
    let fake = Fake::start();
    let environment = [
        ("HF_ENDPOINT", fake.address.as_str()),
        ("HF_TOKEN", TOKEN),
        ("HF_HUB_OFFLINE", "0"),
        ("NO_PROXY", "127.0.0.1"),
    ];
    let export = |arguments: &[&str]| {
        program.verb_with(&[&["export", "out", "--push", "me/mine"], arguments].concat(), &environment)
    };
    let said = export(&["--dry-run", "--private"]).success();
    for part in [
        "/me/mine (would be made, and others would not see it)",
        "model.safetensors",
        "README.md",
        "would send 7 files, ",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert_eq!((fake.asked("POST"), fake.put().len()), (0, 0));
    let said = export(&["deep/model"]).success();
    assert!(said.lines().any(|line| line.starts_with("deep/model: ")), "{said}");
    let sent = said.lines().find(|line| line.contains("/me/mine: ")).unwrap_or_else(|| panic!("{said}"));
    assert!(sent.contains(" weights of out/sft-step-000003, 7 files sent ("), "{sent}");
    assert!(!said.contains(TOKEN) && !said.contains("signature"), "{said}");
    let card = {
        let held = fake.held();
        let repo = &held.repos["me/mine"];
        let Some(File::Large(oid)) = repo.files.get("model.safetensors") else {
            panic!("{:?}", repo.files.keys())
        };
        assert_eq!(
            held.store[oid],
            std::fs::read(program.out().join("../deep/model/model.safetensors")).unwrap()
        );
        let Some(File::Plain(card)) = repo.files.get("README.md") else { panic!("{:?}", repo.files.keys()) };
        String::from_utf8(card.clone()).unwrap()
    };
    for part in [
        "library_name: transformers",
        "# mine",
        "stage `sft`, 3 steps",
        "held-out rows of `addition`",
        "| accuracy |",
    ] {
        assert!(card.contains(part), "{part} is not in\n{card}");
    }
    let folder = program.out().canonicalize().unwrap();
    assert!(!card.contains(&*folder.parent().unwrap().to_string_lossy()), "{card}");

    // A card that is there stays, the rest is there already; what was exported is a model like others, with its card.
    let repo = |fake: &Fake| fake.held().repos["me/mine"].files.clone();
    fake.held()
        .repos
        .get_mut("me/mine")
        .unwrap()
        .files
        .insert("README.md".into(), File::Plain(b"# By hand".to_vec()));
    fake.put();
    let said = export(&[]).success();
    assert!(said.contains("all of it was there already"), "{said}");
    assert_eq!((&repo(&fake)["README.md"], fake.put().len()), (&File::Plain(b"# By hand".to_vec()), 0));
    program.write("deep/model/README.md", "# Mine\n");
    program.verb_with(&["export", "deep/model", "--push", "me/other"], &environment).success();
    assert_eq!(fake.held().repos["me/other"].files["README.md"], File::Plain(b"# Mine\n".to_vec()));

    let said = program.verb_with(&["export", "out"], &environment).code(2);
    assert!(said.contains("<DIR>"), "{said}");
    let (mut other, wrong) = (environment, "hf_old");
    other[1].1 = wrong;
    let said = program.verb_with(&["export", "out", "--push", "me/mine"], &other).code(2);
    assert!(said.contains("does not take the token") && !said.contains(wrong), "{said}");
}

const SUMS: &str = r#"
[run]
steps = 3
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 20
eval = 4
[policy.sampling]
max_new_tokens = 8
[policy.lora]
rank = 2
[eval]
at_start = false
[loop.sft]
"#;
