//! The hub against a local server that answers as the hub does: download, cache, offline, refusals, broken transfers.

use crate::server::{Received, serve};
use rationale::data::hub::{DatasetId, Hub};
use rationale::data::{Data, Split};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

const FILES: [(&str, &str); 10] = [
    ("models/tiny/model/config.json", "{\"model_type\": \"llama\"}"),
    ("models/tiny/model/model.safetensors", "weights, or so they say"),
    ("models/tiny/model/tokenizer.json", "{}"),
    ("models/tiny/model/onnx/model.onnx", "not wanted"),
    ("datasets/tiny/data/main/train-00000-of-00001.jsonl", "{\"question\": \"1+1\", \"answer\": \"2\"}\n"),
    ("datasets/tiny/data/main/test-00000-of-00001.jsonl", "{\"question\": \"2+2\", \"answer\": \"4\"}\n"),
    (
        "datasets/tiny/carded/README.md",
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: rows/a-*\n  - split: test\n    \
         path: rows/b-*\n---\n",
    ),
    ("datasets/tiny/carded/rows/a-0.jsonl", "{\"question\": \"3+3\", \"answer\": \"6\"}\n"),
    ("datasets/tiny/carded/rows/b-0.jsonl", "{\"question\": \"4+4\", \"answer\": \"8\"}\n"),
    ("datasets/tiny/carded/other/train.jsonl", "{\"question\": \"5+5\", \"answer\": \"10\"}\n"),
];

struct Server {
    address: String,
    requests: Arc<AtomicUsize>,
    /// Cut the weights' body short, once without telling and for good.
    cut: Arc<AtomicBool>,
    authorizations: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let (requests, cut, authorizations): (Arc<AtomicUsize>, Arc<AtomicBool>, Arc<Mutex<Vec<String>>>) =
            Default::default();
        let (count, short, seen) = (requests.clone(), cut.clone(), authorizations.clone());
        let address = serve(move |received| {
            count.fetch_add(1, Ordering::SeqCst);
            seen.lock().expect("no panics").extend(received.header("authorization"));
            answer(received, short.load(Ordering::SeqCst))
        });
        Self { address, requests, cut, authorizations }
    }

    fn hub(&self, cache: &Path, offline: bool) -> Hub {
        Hub::at(cache.to_path_buf(), &self.address, Some("hf_secret".to_string()), offline)
    }
}

fn answer(received: &Received, cut: bool) -> (String, String) {
    let path = received.path.split('?').next().unwrap_or_default();
    let range = received.header("range").and_then(|range| {
        let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((from.parse().unwrap_or(0), to.parse::<usize>().ok()))
    });
    respond(path, range, cut)
}

fn respond(path: &str, range: Option<(usize, Option<usize>)>, cut: bool) -> (String, String) {
    let json = |status: &str, body: String| (format!("{status}\r\nContent-Length: {}", body.len()), body);
    if path.contains("gated") {
        return json("401 Unauthorized", "{}".to_string());
    }
    if let Some(repository) = path.strip_prefix("/api/").and_then(|rest| rest.split_once("/revision/")) {
        let prefix = format!("{}/", repository.0);
        let files: Vec<_> = FILES
            .iter()
            .filter_map(|(name, text)| Some((name.strip_prefix(&prefix)?, text.len())))
            .map(|(name, size)| serde_json::json!({"rfilename": name, "size": size}))
            .collect();
        return match files.is_empty() {
            true => json("404 Not Found", "{}".to_string()),
            false => json("200 OK", serde_json::json!({"sha": COMMIT, "siblings": files}).to_string()),
        };
    }
    let wanted = path.trim_start_matches('/').replacen(&format!("/resolve/{COMMIT}"), "", 1);
    let name = if wanted.starts_with("datasets/") { wanted } else { format!("models/{wanted}") };
    let Some((_, text)) = FILES.iter().find(|(known, _)| *known == name) else {
        return json("404 Not Found", String::new());
    };
    let (from, to) = range.unwrap_or((0, None));
    let to = to.unwrap_or(text.len() - 1).min(text.len() - 1);
    let body = text.get(from..=to).unwrap_or_default();
    let etag = format!("\"etag-{}\"", name.replace('/', "-"));
    let described =
        format!("ETag: {etag}\r\nx-repo-commit: {COMMIT}\r\nContent-Range: bytes {from}-{to}/{}", text.len());
    if cut && name.ends_with(".safetensors") && body.len() > 1 {
        // Without a Content-Length the client cannot know that this is not all.
        return (format!("206 Partial Content\r\n{described}"), body[..5].to_string());
    }
    (format!("206 Partial Content\r\n{described}\r\nContent-Length: {}", body.len()), body.to_string())
}

fn cache() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a file")
}

#[test]
fn a_model_is_downloaded_once_and_then_read_from_the_cache() {
    let (server, cache) = (Server::start(), cache());
    let folder = server.hub(cache.path(), false).model("tiny/model").expect("it downloads");
    assert_eq!(text(&folder.join("model.safetensors")), "weights, or so they say");
    assert!(!folder.join("onnx").exists(), "only what a model needs");
    let before = server.requests.load(Ordering::SeqCst);
    assert_eq!(server.hub(cache.path(), false).model("tiny/model").expect("it is there"), folder);
    assert_eq!(server.requests.load(Ordering::SeqCst), before + 1, "one look at the commit, no file");
    assert_eq!(server.hub(cache.path(), true).model("tiny/model").expect("offline too"), folder);
    assert_eq!(server.requests.load(Ordering::SeqCst), before + 1, "offline asks nobody");
    assert_eq!(server.authorizations.lock().expect("no panics")[0], "Bearer hf_secret");
    assert!(!format!("{:?}", server.hub(cache.path(), true)).contains("secret"));
}

#[test]
fn a_cached_model_serves_while_the_hub_is_unreachable() {
    let (server, cache) = (Server::start(), cache());
    let folder = server.hub(cache.path(), false).model("tiny/model").expect("it downloads");
    let nobody = Hub::at(cache.path().to_path_buf(), "http://127.0.0.1:1", None, false);
    assert_eq!(nobody.model("tiny/model").expect("from the cache"), folder);
    let error = nobody.model("tiny/other").expect_err("not in the cache").to_string();
    assert!(error.contains("cannot be reached"), "{error}");
}

#[test]
fn a_local_folder_is_itself() {
    let folder = cache();
    let hub = Hub::at(folder.path().join("cache"), "http://127.0.0.1:1", None, false);
    let name = folder.path().display().to_string();
    assert_eq!(hub.model(&name).expect("a folder"), folder.path());
    let error = hub.model("/no/such/folder").expect_err("nothing there").to_string();
    assert!(error.contains("neither a folder here nor a model of the hub"), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let (server, cache) = (Server::start(), cache());
    let refused = |offline, name: &str| {
        server.hub(cache.path(), offline).model(name).expect_err("it is refused").to_string()
    };
    let error = refused(false, "tiny/gated");
    assert!(error.contains("HF_TOKEN") && !error.contains("hf_secret"), "{error}");
    assert!(refused(false, "tiny/missing").contains("no such repository"));
    assert!(refused(true, "tiny/model").contains("HF_HUB_OFFLINE"));
}

#[test]
fn a_broken_transfer_leaves_nothing_that_counts_as_whole() {
    let (server, cache) = (Server::start(), cache());
    server.cut.store(true, Ordering::SeqCst);
    let error = server.hub(cache.path(), false).model("tiny/model").expect_err("cut short").to_string();
    assert!(error.contains("model.safetensors") && error.contains("run again"), "{error}");
    assert!(
        server.hub(cache.path(), true).model("tiny/model").is_err(),
        "offline does not take it for whole"
    );
    server.cut.store(false, Ordering::SeqCst);
    let folder = server.hub(cache.path(), false).model("tiny/model").expect("it downloads");
    assert_eq!(text(&folder.join("model.safetensors")), "weights, or so they say");
}

#[test]
fn a_datasets_splits_are_read() {
    let (server, cache) = (Server::start(), cache());
    let hub = server.hub(cache.path(), false);
    let data: Data =
        toml::from_str("train = 'hub:tiny/data:main'\neval = 'hub:tiny/data'").expect("a section");
    let train = data.load(Split::Train, &hub, 0).expect("the train split");
    assert_eq!(train.examples[0].answer.as_deref(), Some("2"));
    assert_eq!(
        data.load(Split::Eval, &hub, 0).expect("the test split").examples[0].answer.as_deref(),
        Some("4")
    );
    let id = DatasetId::parse("hub:tiny/data/dev").expect("a name");
    let error = hub.dataset(&id, Split::Eval).expect_err("no such split").to_string();
    assert!(error.contains("no .parquet, .jsonl or .json file of split dev"), "{error}");
}

#[test]
fn a_datasets_card_says_which_files_are_a_splits() {
    let (server, cache) = (Server::start(), cache());
    for offline in [false, true] {
        let hub = server.hub(cache.path(), offline);
        let rows = |source: &str| {
            let files = hub.dataset(&DatasetId::parse(source)?, Split::Train)?;
            Ok::<_, rationale::Error>(files.iter().map(|file| text(file)).collect::<String>())
        };
        for source in ["hub:tiny/carded", "hub:tiny/carded:default", "hub:tiny/carded:default/train"] {
            assert!(rows(source).expect(source).contains("3+3"), "{source}");
        }
        assert!(rows("hub:tiny/carded:default/test").expect("another split").contains("4+4"));
        let error = rows("hub:tiny/carded:default/dev").expect_err("no such split").to_string();
        assert!(
            error.contains("it has test, train: name one, as in hub:tiny/carded:default/test"),
            "{error}"
        );
        let error = rows("hub:tiny/carded:hard").expect_err("no such config").to_string();
        assert!(
            error.contains("its configs are default: name one, as in hub:tiny/carded:default"),
            "{error}"
        );
    }
}

/// A hub whose listing names one file `config.json` of `SIZE` bytes and weights, and whose files are answered by `answer`.
fn hostile(answer: impl Fn(&Received) -> (String, String) + Send + Sync + 'static) -> String {
    serve(move |received| match received.path.starts_with("/api/") {
        true => {
            let files = serde_json::json!([{"rfilename": "config.json", "size": 10}, {"rfilename": "model.safetensors", "size": 10}]);
            let body = serde_json::json!({"sha": COMMIT, "siblings": files}).to_string();
            (format!("200 OK\r\nContent-Length: {}", body.len()), body)
        }
        false => answer(received),
    })
}

fn refused_by(endpoint: &str, cache: &Path) -> String {
    let hub = Hub::at(cache.to_path_buf(), endpoint, Some("hf_secret".into()), false).patient(0.3);
    let error = hub.model("tiny/model").expect_err("it is refused").to_string();
    assert!(!error.contains("hf_secret") && !error.contains("internal"), "{error}");
    error
}

/// All files below a folder.
fn all_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

#[test]
fn what_a_hub_says_names_no_file_outside_the_cache() {
    let folder = cache();
    let outside = folder.path().join("outside").display().to_string();
    let absolute = format!("\"{outside}\"");
    let headers = [
        format!("ETag: {absolute}\r\nX-Repo-Commit: {COMMIT}"),
        format!("ETag: \"../../../../outside\"\r\nX-Repo-Commit: {COMMIT}"),
        format!("X-Linked-ETag: {absolute}\r\nETag: \"a\"\r\nX-Repo-Commit: {COMMIT}"),
        format!("ETag: \"a\"\r\nX-Repo-Commit: {outside}"),
        "ETag: \"a\"\r\nX-Repo-Commit: ../../../outside".to_owned(),
        format!("X-Repo-Commit: {COMMIT}"),
    ];
    for header in headers {
        let said = header.clone();
        let endpoint =
            hostile(move |_| (format!("200 OK\r\n{said}\r\nContent-Length: 10"), "0123456789".into()));
        let error = refused_by(&endpoint, &folder.path().join("cache/hub"));
        assert!(error.contains("config.json is not taken from"), "{header}: {error}");
        assert_eq!(all_files(folder.path()), [""; 0].map(std::path::PathBuf::from), "{header}");
    }
    let listing = serve(|_| ("200 OK".into(), r#"{"sha": "../../outside", "siblings": []}"#.into()));
    assert!(refused_by(&listing, &folder.path().join("cache/hub")).contains("which is none"));
    assert_eq!(all_files(folder.path()), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn the_token_goes_to_the_hub_alone() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let store = serve(move |received| {
        heard.lock().unwrap().push(received.header("authorization"));
        ("200 OK\r\nETag: \"of-the-store\"\r\nContent-Length: 10".into(), "0123456789".into())
    });
    let (own, heard) = (Arc::new(Mutex::new(Vec::new())), seen.clone());
    let asked = own.clone();
    let endpoint = hostile(move |received| {
        asked.lock().unwrap().push(received.header("authorization"));
        let name = received.path.rsplit('/').next().unwrap();
        let head = format!(
            "302 Found\r\nX-Linked-ETag: \"tag-{name}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Length: 0"
        );
        (format!("{head}\r\nLocation: {store}/{name}?signature=1"), String::new())
    });
    let cache = cache();
    let hub = Hub::at(cache.path().to_path_buf(), &endpoint, Some("hf_secret".into()), false);
    let folder = hub.model("tiny/model").expect("it downloads");
    assert_eq!(text(&folder.join("config.json")), "0123456789");
    let blob = folder.join("config.json").canonicalize().unwrap();
    assert!(blob.ends_with("models--tiny--model/blobs/tag-config.json"), "{blob:?}");
    assert_eq!(*heard.lock().unwrap(), [None, None]);
    assert!(own.lock().unwrap().iter().all(|header| header.as_deref() == Some("Bearer hf_secret")));
}

#[test]
fn a_hub_has_limits() {
    let cache = cache();
    let start = std::time::Instant::now();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = refused_by(&format!("http://{}", silent.local_addr().unwrap()), cache.path());
    assert!(error.contains("it said nothing for 0.3 s"), "{error}");
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let around = hostile(move |received| {
        counted.fetch_add(1, Ordering::SeqCst);
        (format!("302 Found\r\nLocation: {}\r\nContent-Length: 0", received.path), String::new())
    });
    assert!(refused_by(&around, cache.path()).contains("sends on more than 10 times"));
    assert_eq!(count.load(Ordering::SeqCst), 11);
    let nowhere = hostile(|_| ("302 Found\r\nContent-Length: 0".into(), String::new()));
    assert!(refused_by(&nowhere, cache.path()).contains("it sends on to \"\", which is no address"));
    let file =
        hostile(|_| ("302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0".into(), String::new()));
    assert!(refused_by(&file, cache.path()).contains("which is no"));
    let endless =
        hostile(|_| (format!("200 OK\r\nETag: \"a\"\r\nX-Repo-Commit: {COMMIT}"), "0".repeat(1 << 20)));
    assert!(refused_by(&endless, cache.path()).contains("sends more than its 10 bytes"));
    let parts = all_files(cache.path()).into_iter().filter(|path| !path.to_string_lossy().ends_with(".lock"));
    assert_eq!(parts.count(), 0);
    assert!(start.elapsed() < std::time::Duration::from_secs(8));
}

#[test]
fn a_download_goes_on_where_it_broke_off() {
    let (server, cache) = (Server::start(), cache());
    let blobs = cache.path().join("models--tiny--model/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    // What there is of it is not asked for again, which the change in it shows; a part longer than the file is.
    std::fs::write(blobs.join("etag-models-tiny-model-model.safetensors.part"), "WEIGHTS").unwrap();
    std::fs::write(blobs.join("etag-models-tiny-model-config.json.part"), "x".repeat(99)).unwrap();
    let folder = server.hub(cache.path(), false).model("tiny/model").expect("it downloads");
    assert_eq!(text(&folder.join("model.safetensors")), "WEIGHTS, or so they say");
    assert_eq!(text(&folder.join("config.json")), "{\"model_type\": \"llama\"}");
}

#[test]
fn several_may_download_at_once() {
    let (server, cache) = (Server::start(), cache());
    std::thread::scope(|scope| {
        let load = || server.hub(cache.path(), false).model("tiny/model").expect("it downloads");
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(load)).collect();
        for thread in threads {
            assert_eq!(text(&thread.join().unwrap().join("model.safetensors")), "weights, or so they say");
        }
    });
}

/// A listing of which a byte comes now and then is given up as a whole.
#[test]
fn a_listing_that_drips_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let hub = Hub::at(cache.path().to_path_buf(), &format!("http://{address}"), None, false).patient(0.2);
    let began = std::time::Instant::now();
    let said = hub.model("owner/name").unwrap_err().to_string();
    assert!(said.contains("its listing was not whole after 1.2"), "{said}");
    assert!(began.elapsed().as_secs() < 20);
}
