//! The recipe's section of an endpoint, and the requests that it makes of questions.

use super::client::Client;
use super::{ChatRequest, secrets};
use crate::error::{Error, Result};
use crate::section::secret::{holds_a_key, is_a_key, queries_a_secret};
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

const LONGEST_TIMEOUT: f64 = 86_400.0;
const IN_THE_OPEN: &str = "a secret in a recipe would stand in the run's folder, in the cache and in logs";
const BY_ENVIRONMENT: &str = "put it into an environment variable and name that in api_key_env (`Basic …` and `Bearer …` are sent as they are)";

/// A model behind an endpoint, and how it is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Endpoint {
    /// Its base, such as `https://api.openai.com/v1` or `http://localhost:8000/v1`; `/chat/completions` is added. It holds no secret.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// The name of the environment variable that holds the key, which is sent as `Bearer KEY`; one that begins with `Basic ` or
    /// `Bearer ` is sent as it is. The key itself is never written anywhere.
    pub api_key_env: Option<String>,
    /// Softmax temperature.
    pub temperature: f64,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
    /// Further fields of every request, such as `{ top_p = 0.9, reasoning_effort = "low" }`.
    pub extra: Map<String, Value>,
    /// Seconds that one attempt may take, from connecting to the answer's last byte.
    pub timeout_s: f64,
    /// Further attempts after a 408, 409, 425, 429 or 5xx, a timeout, a broken connection, or a reply that is no answer: an error,
    /// nothing that can be read, an empty text, a refusal.
    pub retries: usize,
    /// Seconds before the first further attempt, twice as many before each next; the server's `Retry-After` where it
    /// says one, and a minute at most.
    pub backoff_s: f64,
    /// Requests under way at once. All sections that name the same url share it: a request goes out when fewer are under way there.
    pub concurrency: usize,
    /// Answers that one request asks for, at most (its `n`); 1 for servers that give one only. All at once by default.
    pub answers_per_request: Option<usize>,
    /// A folder that keeps every answer under a hash of the whole request, so that nothing is paid for twice.
    pub cache: Option<PathBuf>,
    /// Price of a million prompt tokens, for the figure `cost`.
    pub prompt_price: f64,
    /// Price of a million answer tokens.
    pub completion_price: f64,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            url: String::new(),
            model: String::new(),
            api_key_env: None,
            temperature: 1.0,
            max_tokens: 1024,
            extra: Map::new(),
            timeout_s: 120.0,
            retries: 5,
            backoff_s: 1.0,
            concurrency: 8,
            answers_per_request: None,
            cache: None,
            prompt_price: 0.0,
            completion_price: 0.0,
        }
    }
}

impl Endpoint {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut wrong =
            |key: &str, message: &str, remedy: &str| found.push(Misfit::new(key, message, remedy));
        if let Err((message, remedy)) = self.usable_url() {
            wrong("url", message, remedy);
        }
        if self.model.is_empty() {
            wrong("model", "name the model that the endpoint is to use", "");
        }
        if self.api_key_env.as_ref().is_some_and(|name| !is_variable(name) || is_a_key(name)) {
            wrong("api_key_env", "it must be the name of an environment variable, not the key itself", "");
        }
        for key in ["model", "messages", "n"].iter().filter(|key| self.extra.contains_key(**key)) {
            wrong(&format!("extra.{key}"), "it is set by the program", "use the section's own keys");
        }
        if self.extra.get("stream").is_some_and(|stream| *stream != false) {
            wrong("extra.stream", "answers are read whole", "take it out");
        }
        let mut secrets = Vec::new();
        self.extra.iter().for_each(|(name, value)| {
            secrets::held("extra".into(), &json!({ name: value }), &mut secrets);
        });
        for path in secrets {
            // Begun with the key, so that the value is not repeated.
            wrong(&path, &format!("{path}: {IN_THE_OPEN}"), BY_ENVIRONMENT);
        }
        let counts = [
            ("max_tokens", self.max_tokens, 1, 10_000_000),
            ("concurrency", self.concurrency, 1, 1024),
            ("answers_per_request", self.answers_per_request.unwrap_or(1), 1, 1000),
            ("retries", self.retries, 0, 100),
        ];
        for (key, _, least, most) in counts.iter().filter(|(_, n, least, most)| !(least..=most).contains(&n))
        {
            wrong(key, &format!("it must be at least {least} and at most {most}"), "");
        }
        let numbers = [
            ("temperature", self.temperature, 100.0),
            ("backoff_s", self.backoff_s, 3600.0),
            ("prompt_price", self.prompt_price, 1e9),
            ("completion_price", self.completion_price, 1e9),
        ];
        for (key, _, most) in numbers.iter().filter(|(_, value, most)| !(0.0..=*most).contains(value)) {
            wrong(key, &format!("it must be a number of at least 0 and at most {most}"), "");
        }
        if !(1e-3..=LONGEST_TIMEOUT).contains(&self.timeout_s) {
            wrong("timeout_s", "it must be above 0, and a day (86400) at most", "such as 120");
        }
        found
    }

    /// Whether the url can be asked and holds no secret; what is wrong, and the remedy.
    fn usable_url(&self) -> std::result::Result<(), (&'static str, &'static str)> {
        let such_as = "such as \"http://localhost:8000/v1\"";
        if !(self.url.starts_with("http://") || self.url.starts_with("https://")) {
            return Err(("it must be an address", such_as));
        }
        let (rest, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let host = rest.split('/').nth(2).unwrap_or_default();
        let mut names = query.split('&').map(|field| field.split('=').next().unwrap_or_default());
        // Begun with the key, so that the value is not repeated.
        if host.contains('@') || names.any(queries_a_secret) || holds_a_key(&self.url) {
            return Err((
                "url: it holds a password or a key, which would stand in the run's folder",
                BY_ENVIRONMENT,
            ));
        }
        if self.address().parse::<ureq::http::Uri>().map_or(true, |url| url.host().is_none_or(str::is_empty))
        {
            return Err(("it must be an address", such_as));
        }
        Ok(())
    }

    /// Where questions are sent.
    pub(super) fn address(&self) -> String {
        let (base, query) =
            self.url.split_once('?').map_or((&self.url[..], None), |(base, query)| (base, Some(query)));
        let query = query.map_or(String::new(), |query| format!("?{query}"));
        format!("{}/chat/completions{query}", base.trim_end_matches('/'))
    }

    /// The same as an error; `section` is the recipe's name for it.
    ///
    /// # Errors
    /// [`Error::Recipe`], naming the keys and the remedies.
    pub fn validate(&self, section: &str) -> Result<()> {
        all_fit(section, self, self.check())
    }

    /// A client of it, with the key from the environment.
    ///
    /// # Errors
    /// [`Error::Recipe`] where a value is wrong or the variable with the key is not set.
    pub fn open(&self, section: &str) -> Result<Client> {
        self.validate(section)?;
        let unusable = |name: &String, what: &str| {
            Error::Recipe(format!(
                "{section}.api_key_env = {name:?}: that environment variable {what} of {}",
                self.url
            ))
        };
        let key = self.api_key_env.as_ref().map(|name| match std::env::var(name) {
            Ok(key) if key.trim().is_empty() => Err(unusable(name, "is empty; export it with the key")),
            Ok(key) if key.trim().chars().any(|c| c.is_control() || !c.is_ascii()) => {
                Err(unusable(name, "has a line break or a letter that no key has; export it with the key"))
            }
            Ok(key) => Ok(key.trim().to_owned()),
            Err(_) => Err(unusable(name, "is not set; export it with the key")),
        });
        Ok(Client::new(self, key.transpose()?))
    }

    /// A request's body.
    pub(super) fn body(&self, request: &ChatRequest) -> Value {
        let mut body = self.extra.clone();
        body.insert("model".into(), json!(self.model));
        body.insert("messages".into(), json!(request.messages));
        body.entry("temperature").or_insert(json!(self.temperature));
        // Servers that want `max_completion_tokens` refuse `max_tokens`: whoever names the one does not send the other.
        if !body.contains_key("max_completion_tokens") {
            body.entry("max_tokens").or_insert(json!(request.max_tokens.unwrap_or(self.max_tokens)));
        }
        if request.n != 1 {
            body.insert("n".into(), json!(request.n));
        }
        if let Some(seed) = request.seed {
            body.insert("seed".into(), json!(seed));
        }
        Value::Object(body)
    }

    /// A request as the server takes it: in several of `answers_per_request`, each with a place of its own in the cache.
    pub(super) fn parts(&self, request: &ChatRequest) -> Vec<ChatRequest> {
        let most = self.answers_per_request.unwrap_or(request.n).max(1);
        let count = request.n.div_ceil(most).max(1);
        let part = |part: usize| ChatRequest {
            n: most.min(request.n - part * most),
            seed: request.seed.map(|seed| seed.wrapping_add(part as u64)),
            attempt: request.attempt * count + part,
            ..request.clone()
        };
        (0..count).map(part).collect()
    }
}

/// Letters, digits and `_`, as a shell allows.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(keys: &str) -> Endpoint {
        toml::from_str(&format!("url = 'http://x/v1'\nmodel = 'm'\n{keys}")).unwrap()
    }

    #[test]
    fn the_section_is_checked() {
        let message = |keys: &str| section(keys).validate("reward.judge").unwrap_err().to_string();
        let several = section("concurrency = 0\ntimeout_s = 0").check();
        assert_eq!(
            several.iter().map(|misfit| &misfit.key[..]).collect::<Vec<_>>(),
            ["concurrency", "timeout_s"]
        );
        assert!(!message("api_key_env = 'sk-abc'").contains("sk-abc"), "a key is not repeated");
        assert!(message("concurrency = 0").contains("reward.judge.concurrency = 0"));
        assert!(
            message("api_key_env = 'sk-abc'")
                .contains("the name of an environment variable, not the key itself")
        );
        // Some keys could be names of variables.
        let told = message("api_key_env = 'hf_abcdefghijklmnopqrst'");
        assert!(told.contains("not the key itself") && !told.contains("hf_abc"), "{told}");
        assert!(message("timeout_s = 0").contains("timeout_s = 0"));
        assert!(message("prompt_price = -1").contains("prompt_price = -1"));
        assert!(message("extra.n = 3").contains("extra.n"));
        let error = Endpoint::default().validate("x").unwrap_err();
        assert!(error.to_string().contains("x.url") && error.exit_code() == 2);
        assert!(toml::from_str::<Endpoint>("temprature = 1").is_err());
    }

    #[test]
    fn an_address_with_a_secret_is_refused_and_not_repeated() {
        for url in [
            "http://u:SECRET@x/v1",
            "http://x/v1?code=SECRET",
            "http://x/v1?a=b&user_token=SECRET",
            "http://x/v1/sk-SECRETabcdefghijklmnop",
            "http://x/v1/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.SECRET/y",
            "http://x/v1?v=sk-SECRETabcdefghijklmnop",
        ] {
            let endpoint = Endpoint { url: url.into(), ..section("") };
            let told = endpoint.validate("reward.judge").unwrap_err().to_string();
            assert!(told.contains("it holds a password or a key") && told.contains("api_key_env"), "{told}");
            assert!(!told.contains("SECRET"), "{told}");
        }
        let usable =
            ["http://x:8000/v1", "https://x.azure.com/openai/deployments/sk-learn?api-version=2024-02-01"];
        for url in usable {
            Endpoint { url: url.into(), ..section("") }.validate("reward.judge").unwrap();
        }
    }

    #[test]
    fn the_body_has_what_the_recipe_says_and_no_more() {
        let endpoint = section("temperature = 0.5\nmax_tokens = 7\nextra = { top_p = 0.9 }");
        let body = endpoint.body(&ChatRequest::user("Hi".into()));
        let expected = json!({"top_p": 0.9, "model": "m", "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0.5, "max_tokens": 7});
        assert_eq!(body, expected);
        let other = section("extra.max_completion_tokens = 9");
        let body = other.body(&ChatRequest { n: 3, seed: Some(5), ..ChatRequest::user("Hi".into()) });
        assert_eq!(
            (&body["n"], &body["seed"], &body["max_completion_tokens"]),
            (&json!(3), &json!(5), &json!(9))
        );
        assert!(body.get("max_tokens").is_none());
    }
}
