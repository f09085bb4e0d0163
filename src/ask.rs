//! Asking a model for text, whether it is behind an endpoint or loaded here.

use crate::data::tokenizer::Tokenizer;
use crate::data::{Example, Message, Prompt};
use crate::endpoint::{self, Choice, Client};
use crate::engine::{self, Completion, Progress, Sampling, Statistics, StopReason};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::seed;
use std::sync::Arc;

/// A model that can be asked for text.
#[derive(Clone, Copy)]
pub enum TextModel<'a> {
    /// One behind an endpoint, whose section says how it samples.
    Endpoint(&'a Client),
    /// One that is loaded, and how it samples.
    Local(&'a Policy, &'a Sampling),
}

/// What a model is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRequest {
    /// A text, which is a user's turn for an endpoint, or a conversation.
    pub prompt: Prompt,
    /// The row that it was made of: what that says of special tokens is text for a model that is loaded.
    pub about: Option<Arc<Example>>,
    /// What the answer has already begun with, which a model that is loaded goes on from. It is tokenised by itself, behind the prompt,
    /// and is no part of the answer.
    pub begun: String,
    /// How many answers are wanted.
    pub samples: Samples,
    /// Tells apart several askings of the same question.
    pub attempt: usize,
}

/// How many answers a question has, and what a loaded model draws them from. An endpoint draws as it likes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Samples {
    /// So many, drawn from the question and its attempt: what is asked in the same way is answered in the same way.
    Count(usize),
    /// One a seed.
    Seeds(Vec<u64>),
}

/// What a model said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answers {
    /// For each question, in order, as many texts as were asked for.
    pub choices: Vec<Vec<Choice>>,
    /// What a loaded model's tokens cost; an endpoint keeps figures of its own.
    pub statistics: Statistics,
}

/// What was read in the answers to some questions.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings<T> {
    /// For each question what was found, if anything was.
    pub found: Vec<Option<T>>,
    /// Answers in which nothing was found.
    pub unread: usize,
    /// The last of these.
    pub last_unread: String,
}

impl TextRequest {
    /// A question that wants one answer.
    pub fn new(prompt: Prompt) -> Self {
        Self { prompt, about: None, begun: String::new(), samples: Samples::Count(1), attempt: 0 }
    }

    /// A user's turn behind what the system says, if anything.
    pub fn user(system: Option<String>, text: String) -> Self {
        let system = system.map(|text| Message::new("system", text));
        Self::new(Prompt::Chat(system.into_iter().chain([Message::new("user", text)]).collect()))
    }

    /// What a loaded model goes on from.
    pub fn tokens(&self, tokenizer: &Tokenizer) -> Result<Vec<u32>> {
        let mut tokens = match &self.about {
            Some(row) => tokenizer.render_from(&self.prompt, row)?,
            None => tokenizer.render(&self.prompt)?,
        };
        if !self.begun.is_empty() {
            tokens.extend(tokenizer.encode(&self.begun)?);
        }
        Ok(tokens)
    }

    fn seeds(&self, tokens: &[u32]) -> Vec<u64> {
        match &self.samples {
            Samples::Seeds(seeds) => seeds.clone(),
            Samples::Count(count) => {
                let of: Vec<u64> = tokens.iter().map(|&id| u64::from(id)).collect();
                let question = seed::derive(&of);
                let draw = |sample| match self.attempt {
                    0 => seed::derive(&[question, sample]),
                    attempt => seed::derive(&[question, sample, attempt as u64]),
                };
                (0..*count as u64).map(draw).collect()
            }
        }
    }
}

impl Samples {
    fn count(&self) -> usize {
        match self {
            Self::Count(count) => *count,
            Self::Seeds(seeds) => seeds.len(),
        }
    }
}

impl TextModel<'_> {
    /// The answers to all of `questions`, each of at most `max_tokens` tokens, or what the model's own section says.
    ///
    /// # Errors
    /// An endpoint that fails for good, or is to go on from a begun answer ([`Error::Endpoint`]); what the sampler of a loaded
    /// model refuses, such as a question that its context has no room for.
    pub fn ask(
        &self,
        questions: &[TextRequest],
        max_tokens: Option<usize>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Answers> {
        match self {
            Self::Endpoint(client) => elsewhere(client, questions, max_tokens),
            Self::Local(policy, sampling) => {
                let most = max_tokens.unwrap_or(sampling.max_new_tokens);
                local(policy, &Sampling { max_new_tokens: most, ..(*sampling).clone() }, questions, progress)
            }
        }
    }

    /// Asks questions of one answer, up to `attempts` times each, until `read` finds something in what is said to the
    /// question of that index.
    ///
    /// # Errors
    /// As [`ask`](Self::ask). That nothing is found is none.
    pub fn read<T>(
        &self,
        questions: &[TextRequest],
        attempts: usize,
        read: impl Fn(usize, &str) -> Option<T>,
    ) -> Result<Readings<T>> {
        let found = questions.iter().map(|_| None).collect();
        let mut readings = Readings { found, unread: 0, last_unread: String::new() };
        for attempt in 0..attempts {
            let open: Vec<usize> = (0..questions.len()).filter(|&at| readings.found[at].is_none()).collect();
            let again = |&at: &usize| TextRequest { attempt, ..questions[at].clone() };
            let retried: Vec<TextRequest> = open.iter().map(again).collect();
            let answers = self.ask(&retried, None, &mut |_| {})?;
            for (at, choices) in open.into_iter().zip(answers.choices) {
                let said = choices.into_iter().next().map(|choice| choice.text).unwrap_or_default();
                readings.found[at] = read(at, &said);
                if readings.found[at].is_none() {
                    readings.unread += 1;
                    readings.last_unread = said;
                }
            }
        }
        Ok(readings)
    }
}

fn elsewhere(client: &Client, questions: &[TextRequest], max_tokens: Option<usize>) -> Result<Answers> {
    let request = |question: &TextRequest| {
        if !question.begun.is_empty() {
            return Err(Error::Endpoint(format!("{client:?} cannot go on from an answer that has begun")));
        }
        let messages = match &question.prompt {
            Prompt::Text(text) => vec![Message::new("user", text)],
            Prompt::Chat(turns) => turns.clone(),
        };
        let (n, attempt) = (question.samples.count(), question.attempt);
        Ok(endpoint::ChatRequest { messages, n, seed: None, max_tokens, attempt })
    };
    let requests: Vec<endpoint::ChatRequest> = questions.iter().map(request).collect::<Result<_>>()?;
    let choices = client.ask(&requests)?.into_iter().map(|answer| answer.choices).collect();
    Ok(Answers { choices, statistics: Statistics::default() })
}

fn local(
    policy: &Policy,
    sampling: &Sampling,
    questions: &[TextRequest],
    progress: &mut dyn FnMut(&Progress),
) -> Result<Answers> {
    let request = |question: &TextRequest| {
        let prompt = question.tokens(&policy.tokenizer)?;
        Ok(engine::Request { seeds: question.seeds(&prompt), prompt })
    };
    let requests: Vec<engine::Request> = questions.iter().map(request).collect::<Result<_>>()?;
    let generated = policy.sampler().generate(&requests, sampling, progress)?;
    let choice = |said: Completion| {
        Choice::new(policy.tokenizer.decode(&said.tokens), said.stop == StopReason::Length)
    };
    let choices = generated.completions.into_iter().map(|all| all.into_iter().map(choice).collect());
    Ok(Answers { choices: choices.collect(), statistics: generated.statistics })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::policy::tests::tiny;

    fn scripted(say: impl Fn(&str, u64) -> String + Send + 'static) -> Policy {
        let mut policy = tiny(1, 2, 0);
        policy.sample_script(say);
        policy
    }

    #[test]
    fn a_loaded_model_reads_the_question_and_what_has_begun() {
        let policy = scripted(|read, seed| format!("<{read}>{seed}"));
        let sampling = Sampling::default();
        let model = TextModel::Local(&policy, &sampling);
        let of = |text: &str, begun: &str, samples| TextRequest {
            begun: begun.into(),
            samples,
            ..TextRequest::new(Prompt::Text(text.into()))
        };
        let questions = [of("q", " a", Samples::Seeds(vec![3, 4])), of("r", "", Samples::Seeds(vec![5]))];
        let said = |most| model.ask(&questions, most, &mut |_| {}).unwrap().choices;
        let whole = |text: &str| Choice::new(text, false);
        assert_eq!(said(None), [vec![whole("<q a>3"), whole("<q a>4")], vec![whole("<r>5")]]);
        let cut = |text: &str| Choice::new(text, true);
        assert_eq!(said(Some(2)), [vec![cut("<q"), cut("<q")], vec![cut("<r")]]);
    }

    /// Equal questions have equal seeds, each sample and each attempt its own.
    #[test]
    fn a_question_seeds_its_answers() {
        let policy = scripted(|_, seed| seed.to_string());
        let sampling = Sampling::default();
        let said = |text: &str, attempt| {
            let prompt = Prompt::Text(text.into());
            let question = TextRequest { samples: Samples::Count(2), attempt, ..TextRequest::new(prompt) };
            let answers = TextModel::Local(&policy, &sampling).ask(&[question], None, &mut |_| {}).unwrap();
            answers.choices[0].iter().map(|choice| choice.text.clone()).collect::<Vec<_>>()
        };
        assert_eq!(said("q", 0), said("q", 0));
        let ids: Vec<u64> = policy.tokenizer.encode("q").unwrap().into_iter().map(u64::from).collect();
        let expected = [0, 1].map(|sample| seed::derive(&[seed::derive(&ids), sample]).to_string());
        assert_eq!(said("q", 0), expected);
        let all: Vec<String> = [said("q", 0), said("q", 1), said("r", 0)].concat();
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    }

    /// The first question is read at once, the second never: three answers are unread.
    #[test]
    fn what_cannot_be_read_is_asked_again() {
        let policy = scripted(|read, _| if read == "yes" { "7".into() } else { format!("{read}?") });
        let sampling = Sampling::default();
        let questions = ["yes", "no"].map(|text| TextRequest::new(Prompt::Text(text.into())));
        let model = TextModel::Local(&policy, &sampling);
        let readings = model.read(&questions, 3, |_, said| said.parse::<u32>().ok()).unwrap();
        let expected = Readings { found: vec![Some(7), None], unread: 3, last_unread: "no?".into() };
        assert_eq!(readings, expected);
    }

    #[test]
    fn an_endpoint_does_not_go_on_from_a_begun_answer() {
        let endpoint = Endpoint { url: "http://x/v1".into(), model: "m".into(), ..Endpoint::default() };
        let client = endpoint.open("endpoint").unwrap();
        let question = TextRequest { begun: "a".into(), ..TextRequest::new(Prompt::Text("q".into())) };
        let error = TextModel::Endpoint(&client).ask(&[question], None, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("cannot go on from an answer that has begun"), "{error}");
    }
}
