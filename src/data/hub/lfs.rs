//! Large files by git-lfs: the hub says which it has not and where each goes, whole or in parts, and nothing of them is held in memory.

use super::local::Local;
use super::transfer::{Client, Content, Failure, Reply, Said, Sending, To, patiently, shown};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::cell::Cell;
use std::time::{Duration, Instant};
use ureq::http::Method;

/// Files that are asked about at once.
pub(super) const AT_ONCE: usize = 256;
const MEDIA: &str = "application/vnd.git-lfs+json";
/// Between two words on how far a file has come.
const BETWEEN: Duration = Duration::from_secs(20);

/// What was being done, and why it was not.
pub(super) type Stopped = (String, Failure);

#[derive(Deserialize)]
struct Told {
    objects: Vec<Object>,
}

/// What the hub says of a file: nothing is to be done where it names no actions.
#[derive(Deserialize)]
struct Object {
    oid: String,
    actions: Option<Actions>,
    error: Option<Wrong>,
}

#[derive(Deserialize)]
struct Actions {
    upload: Option<Action>,
    verify: Option<Action>,
}

/// An address, with the headers for it; or, of a file in parts, with the parts' size and addresses in place of headers.
#[derive(Deserialize)]
struct Action {
    href: String,
    #[serde(default)]
    header: Option<Map<String, Value>>,
}

#[derive(Deserialize)]
struct Wrong {
    code: u16,
    #[serde(default)]
    message: String,
}

/// Who sends, and whom it tells of it.
pub(super) struct Carrier<'a> {
    pub client: &'a Client,
    /// Where the hub is asked which it has not.
    pub address: &'a str,
    pub tell: &'a dyn Fn(&str),
}

impl Carrier<'_> {
    /// Brings all of them there.
    pub fn bring(&self, files: &[&Local]) -> Result<(), Stopped> {
        for some in files.chunks(AT_ONCE) {
            let told =
                self.ask(some).map_err(|failure| ("asking where large files go".to_owned(), failure))?;
            for file in some {
                let object = told.objects.iter().find(|object| object.oid == file.sha256);
                self.bring_one(file, object)
                    .map_err(|failure| (format!("sending {}", file.name), failure))?;
            }
        }
        Ok(())
    }

    fn ask(&self, files: &[&Local]) -> Result<Told, Failure> {
        let objects: Vec<Value> =
            files.iter().map(|file| json!({"oid": file.sha256, "size": file.size})).collect();
        let asked = json!({
            "operation": "upload",
            "transfers": ["basic", "multipart"],
            "objects": objects,
            "hash_algo": "sha256",
            "ref": {"name": "main"},
        });
        let told = self.post(self.address, &[], &asked, To::Hub)?;
        serde_json::from_str(&told.text)
            .map_err(|error| Failure::Refused(format!("what it says of large files cannot be read: {error}")))
    }

    fn bring_one(&self, file: &Local, object: Option<&Object>) -> Result<(), Failure> {
        let object = object.ok_or_else(|| Failure::Refused("the hub does not say where it goes".into()))?;
        if let Some(Wrong { code, message }) = &object.error {
            let words = self.client.words(message);
            return Err(Failure::Status(*code, Said { words, ..Said::default() }));
        }
        let actions = object.actions.as_ref();
        let Some(upload) = actions.and_then(|actions| actions.upload.as_ref()) else {
            (self.tell)(&format!("{}: its bytes are there already", file.name));
            return Ok(());
        };
        match upload.parts(file.size)? {
            None => self.put(&upload.href, &upload.headers(), file, (0, file.size)).map(drop)?,
            Some((size, parts)) => self.put_parts(upload, file, size, &parts)?,
        }
        if let Some(verify) = actions.and_then(|actions| actions.verify.as_ref()) {
            let has = json!({"oid": file.sha256, "size": file.size});
            self.post(&verify.href, &verify.headers(), &has, To::Witness)?;
        }
        (self.tell)(&format!("{}: sent", file.name));
        Ok(())
    }

    fn put_parts(&self, upload: &Action, file: &Local, size: u64, parts: &[String]) -> Result<(), Failure> {
        let mut came = Vec::new();
        for (place, address) in parts.iter().enumerate() {
            let from = place as u64 * size;
            let reply = self.put(address, &[], file, (from, size.min(file.size - from)))?;
            let etag = reply.etag.filter(|etag| !etag.is_empty()).ok_or_else(|| {
                Failure::Refused(format!("the store gives part {} no ETag to name it by", place + 1))
            })?;
            came.push(json!({"partNumber": place + 1, "etag": etag}));
        }
        let whole = json!({"oid": file.sha256, "parts": came});
        self.post(&upload.href, &[], &whole, To::Store).map(drop)
    }

    /// Sends a stretch of a file: its first byte, and how many.
    fn put(
        &self,
        address: &str,
        headers: &[(String, String)],
        file: &Local,
        (from, length): (u64, u64),
    ) -> Result<Reply, Failure> {
        let told = Cell::new(Instant::now());
        let count = |come: u64| {
            if told.get().elapsed() > BETWEEN {
                told.set(Instant::now());
                let million = |bytes: u64| bytes as f64 / 1e6;
                (self.tell)(&format!("{}: {:.1} of {:.1} MB", file.name, million(come), million(file.size)));
            }
        };
        let content = Content::Stretch { path: &file.path, from, length, count: &count };
        self.send(&Sending { method: Method::PUT, address, headers, content, to: To::Store })
    }

    fn post(
        &self,
        address: &str,
        named: &[(String, String)],
        body: &Value,
        to: To,
    ) -> Result<Reply, Failure> {
        let text = body.to_string();
        let media = ["Accept", "Content-Type"].map(|name| (name.to_owned(), MEDIA.to_owned()));
        let own = media
            .into_iter()
            .filter(|(own, _)| !named.iter().any(|(name, _)| name.eq_ignore_ascii_case(own)));
        let headers: Vec<(String, String)> = named.iter().cloned().chain(own).collect();
        let content = Content::Bytes(text.as_bytes());
        self.send(&Sending { method: Method::POST, address, headers: &headers, content, to })
    }

    /// Sends it, several times if need be. What a store says no to is not for the hub's token to change.
    fn send(&self, sending: &Sending) -> Result<Reply, Failure> {
        let sent = patiently(|| self.client.send(sending), Failure::passes);
        sent.map_err(|failure| match failure {
            Failure::Status(..) if sending.to == To::Store => {
                Failure::Broken(format!("{} answers: {failure}", shown(sending.address)))
            }
            other => other,
        })
    }
}

impl Action {
    /// The headers that it names.
    fn headers(&self) -> Vec<(String, String)> {
        let named = self.header.iter().flatten();
        named.map(|(name, value)| (name.clone(), text(value))).collect()
    }

    /// The size of parts and the address of each, in order, where a file of so many bytes goes in parts.
    fn parts(&self, bytes: u64) -> Result<Option<(u64, Vec<String>)>, Failure> {
        let named = || self.header.iter().flatten();
        let Some((_, size)) = named().find(|(name, _)| *name == "chunk_size") else { return Ok(None) };
        let mut parts: Vec<(u64, String)> =
            named().filter_map(|(name, value)| Some((name.parse().ok()?, text(value)))).collect();
        parts.sort();
        match text(size).parse::<u64>() {
            Ok(size) if size > 0 && bytes.div_ceil(size) == parts.len() as u64 => {
                Ok(Some((size, parts.into_iter().map(|(_, address)| address).collect())))
            }
            _ => Err(Failure::Refused(format!(
                "the hub wants its {bytes} bytes in {} parts of {} bytes, which does not come out even",
                parts.len(),
                text(size)
            ))),
        }
    }
}

/// What is written in a place where a text belongs.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_taken_in_the_order_of_their_numbers() {
        let action = |header: Value| -> Action {
            serde_json::from_value(json!({"href": "https://hub.co/done", "header": header})).unwrap()
        };
        let parts = |header: Value, bytes| action(header).parts(bytes);
        let three = json!({"chunk_size": "10", "10": "c", "2": "b", "1": "a"});
        let (size, all) = parts(three.clone(), 21).ok().unwrap().unwrap();
        assert_eq!((size, all), (10, ["a", "b", "c"].map(str::to_owned).to_vec()));
        assert!(parts(json!({"chunk_size": 10, "1": "a"}), 10).ok().unwrap().is_some());
        for (header, bytes) in
            [(three, 31), (json!({"chunk_size": "0"}), 5), (json!({"chunk_size": "x", "1": "a"}), 5)]
        {
            let failure = parts(header, bytes).err().unwrap();
            assert!(failure.to_string().contains("does not come out even"), "{failure}");
        }
        let whole = action(json!({"x-amz-acl": "private", "size": 3}));
        assert!(whole.parts(5).ok().unwrap().is_none());
        let named = [("x-amz-acl", "private"), ("size", "3")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(whole.headers(), named);
        assert!(action(Value::Null).headers().is_empty());
    }
}
