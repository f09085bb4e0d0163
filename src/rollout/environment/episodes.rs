//! The episodes of a sampling: which program has each, what was said in it, what it came to.

use super::section::{EnvironmentRollout, OBSERVATION};
use crate::data::{Example, Message, Prompt, Prompted, Tokenizer};
use crate::engine::StopReason;
use crate::error::{Error, Result};
use crate::program::{Form, Program, beside};
use crate::rollout::turns::{Answer, Partner, Path, placed};
use crate::rollout::{Rollout, Seeds};
use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// A line to the environment.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Line {
    Reset { episode: u64, id: String, seed: u64, columns: Map<String, Value> },
    Step { episode: u64, action: String },
    Close { episode: u64 },
}

/// What the environment says.
#[derive(Debug, Clone, PartialEq)]
struct Reply {
    observation: Option<String>,
    reward: f64,
    done: bool,
}

const REPLY: Form<Reply> =
    Form { written: "{\"observation\": TEXT or null, \"reward\": NUMBER, \"done\": true or false}", read };

fn read(reply: &Value) -> Option<Reply> {
    let reply = reply.as_object()?;
    let known = |name: &str| reply.get(name).filter(|value| !value.is_null());
    let observation = match known("observation") {
        None => None,
        Some(text) => Some(text.as_str()?.to_owned()),
    };
    let reward = known("reward").map_or(Some(0.0), Value::as_f64).filter(|reward| reward.is_finite())?;
    let done = known("done").map_or(Some(false), Value::as_bool)?;
    Some(Reply { observation, reward, done })
}

/// An episode.
#[derive(Debug, Clone, Default)]
struct Episode {
    /// What the environment knows it by.
    number: u64,
    /// What its steps were worth so far.
    reward: f64,
    turns: usize,
    /// Whether the environment said that it is over.
    done: bool,
}

/// The episodes of a sampling, prompt by prompt.
pub struct Episodes<'a> {
    section: &'a EnvironmentRollout,
    programs: &'a mut [Program],
    tokenizer: &'a Tokenizer,
    size: usize,
    episodes: Vec<Episode>,
    /// Of each prompt, what is put behind a turn.
    templates: Vec<String>,
    stops: Vec<String>,
}

impl<'a> Episodes<'a> {
    /// Not begun yet.
    pub fn new(
        section: &'a EnvironmentRollout,
        programs: &'a mut [Program],
        tokenizer: &'a Tokenizer,
        size: usize,
    ) -> Self {
        let stops = section.until.clone();
        Self { section, programs, tokenizer, size, episodes: vec![], templates: vec![], stops }
    }

    /// Begins `size` episodes of each prompt. The prompts as the policy reads them: with what the environment says first behind each.
    ///
    /// # Errors
    /// An environment that fails, or begins the episodes of a group differently; a prompt that leaves no room in a context of so many tokens.
    pub fn begin(&mut self, prompts: &[Prompted], seeds: &Seeds, context: usize) -> Result<Vec<Prompted>> {
        // Numbers that other languages read exactly. None is counted, so that a run that is resumed has those that it would have had.
        let number = |at: usize| seeds.draw(at / self.size, &[u64::MAX, (at % self.size) as u64]) >> 11;
        let episodes = 0..prompts.len() * self.size;
        self.episodes = episodes.map(|at| Episode { number: number(at), ..Episode::default() }).collect();
        let reset = |at: usize| {
            let place = at / self.size;
            let row = &prompts[place].example;
            let seed = seeds.draw(place, &[u64::MAX]) >> 11;
            let columns = self.section.program.as_ref().map(|program| program.told(row)).unwrap_or_default();
            (at, Line::Reset { episode: self.episodes[at].number, id: row.id.clone(), seed, columns })
        };
        let lines = (0..self.episodes.len()).map(reset).collect();
        let replies = self.ask(lines)?;
        let mut begun = Vec::with_capacity(prompts.len());
        for (prompted, own) in prompts.iter().zip(replies.chunks(self.size)) {
            if let Some(at) = own.iter().position(|reply| reply.observation != own[0].observation) {
                return Err(Error::Tool(format!(
                    "{}: rollout.environment: episode {} of its group began otherwise than the first; a group is several tries of one question: \
                     let what begins an episode depend on its `seed` alone",
                    prompted.example,
                    at + 1
                )));
            }
            begun.push(self.asked(prompted, own[0].observation.as_deref(), context)?);
        }
        self.templates = begun.iter().map(|prompted| self.template(prompted)).collect::<Result<_>>()?;
        Ok(begun)
    }

    /// Turns in all, and episodes that the environment ended.
    pub fn figures(&self) -> (f64, f64) {
        let turns: usize = self.episodes.iter().map(|episode| episode.turns).sum();
        (turns as f64, self.episodes.iter().filter(|episode| episode.done).count() as f64)
    }

    /// What is answered to each line, of which each is sent to the program that has its episode.
    fn ask(&mut self, lines: Vec<(usize, Line)>) -> Result<Vec<Reply>> {
        let count = self.programs.len();
        let mut batches: Vec<(Vec<usize>, Vec<Line>)> = vec![Default::default(); count];
        for (order, (at, line)) in lines.into_iter().enumerate() {
            let (orders, own) = &mut batches[at % count];
            orders.push(order);
            own.push(line);
        }
        let answered = beside(self.programs, |at, program| match batches[at].1.is_empty() {
            true => Ok(vec![]),
            false => program.ask(&batches[at].1, &REPLY),
        });
        let mut replies = Vec::new();
        for ((orders, _), answers) in batches.iter().zip(answered) {
            let answers = answers.map_err(|error| Error::Tool(format!("rollout.environment: {error:#}")))?;
            replies.extend(orders.iter().copied().zip(answers));
        }
        replies.sort_by_key(|(order, _)| *order);
        Ok(replies.into_iter().map(|(_, reply)| reply).collect())
    }

    /// A prompt with what the environment says first behind it: in a conversation, in its last turn.
    fn asked(&self, prompted: &Prompted, said: Option<&str>, context: usize) -> Result<Prompted> {
        let Some(said) = said.filter(|said| !said.is_empty()) else { return Ok(prompted.clone()) };
        let behind = |text: &str, between: &str| match text.is_empty() {
            true => said.to_owned(),
            false => format!("{text}{between}{said}"),
        };
        let prompt = match &prompted.example.prompt {
            Prompt::Text(text) => Prompt::Text(behind(text, "")),
            Prompt::Chat(turns) => {
                let mut turns = turns.clone();
                match turns.last_mut().filter(|last| last.role == "user") {
                    Some(last) => last.content = behind(&last.content, "\n\n"),
                    None => turns.push(Message::new("user", said)),
                }
                Prompt::Chat(turns)
            }
        };
        let example = Arc::new(Example { prompt, ..(*prompted.example).clone() });
        let tokens = self.tokenizer.render_example(&example)?;
        if tokens.len() >= context {
            return Err(Error::Data(format!(
                "{example}: with what the environment says first its prompt has {} tokens, and the model's context {context}; let it say less, or take \
                 a model with a longer context",
                tokens.len()
            )));
        }
        Ok(Prompted { example, tokens, ..prompted.clone() })
    }

    /// What is put behind a turn of this prompt's episodes.
    fn template(&self, prompted: &Prompted) -> Result<String> {
        match (&self.section.observation, &prompted.example.prompt) {
            (Some(template), _) => Ok(template.clone()),
            (None, Prompt::Text(_)) => Ok(format!("\n{OBSERVATION}\n")),
            (None, Prompt::Chat(_)) => between_turns(self.tokenizer),
        }
    }

    fn at(&self, path: &Path) -> usize {
        path.prompt * self.size + path.sample
    }

    /// What the policy did: what it has written since it was told something, without the text that ends a turn.
    fn action(&self, path: &Path) -> String {
        let mut written = path.written(self.tokenizer);
        if let StopReason::StopString(stop) = path.last()
            && let Some(kept) = written.strip_suffix(stop.as_str()).map(str::len)
        {
            written.truncate(kept);
        }
        written
    }
}

impl Partner for Episodes<'_> {
    fn stops(&self) -> &[String] {
        &self.stops
    }

    fn waits(&self, stop: &StopReason) -> bool {
        match stop {
            StopReason::Eos(_) => true,
            StopReason::StopString(text) => self.stops.contains(text),
            StopReason::Length => false,
        }
    }

    fn answer(&mut self, paths: &[&Path]) -> Result<Vec<Answer>> {
        let step = |path: &&Path| {
            let at = self.at(path);
            (at, Line::Step { episode: self.episodes[at].number, action: self.action(path) })
        };
        let lines = paths.iter().map(step).collect();
        let replies = self.ask(lines)?;
        let mut answers = Vec::with_capacity(paths.len());
        for (path, reply) in paths.iter().zip(replies) {
            let at = self.at(path);
            let episode = &mut self.episodes[at];
            episode.reward += reply.reward;
            episode.turns += 1;
            episode.done = reply.done;
            if reply.done || episode.turns >= self.section.turns {
                answers.push(Answer::End);
                continue;
            }
            let said = reply.observation.unwrap_or_default();
            let template = ended(self.tokenizer, &self.templates[path.prompt], path.last());
            answers.push(Answer::Given(placed(self.tokenizer, template, OBSERVATION, &said)?));
        }
        Ok(answers)
    }

    /// With what the episode came to; one that is not done is closed first.
    fn tell(&mut self, path: &Path, rollout: Rollout) -> Result<Rollout> {
        let at = self.at(path);
        if !self.episodes[at].done {
            let closed = self.ask(vec![(at, Line::Close { episode: self.episodes[at].number })])?;
            self.episodes[at].reward += closed.iter().map(|reply| reply.reward).sum::<f64>();
        }
        Ok(Rollout { episode: Some(self.episodes[at].reward), ..rollout })
    }
}

/// What is put behind a turn without the token that ends it, where the policy has written that.
pub(super) fn ended<'t>(tokenizer: &Tokenizer, template: &'t str, last: &StopReason) -> &'t str {
    let StopReason::Eos(id) = last else { return template };
    let name = tokenizer.name_of(*id);
    match template.split_once(name.as_str()) {
        Some((before, behind)) if before.trim().is_empty() && behind.contains(OBSERVATION) => behind,
        _ => template,
    }
}

/// What the chat template writes behind what the assistant says, up to where it says the next thing, with a user's turn between.
pub(super) fn between_turns(tokenizer: &Tokenizer) -> Result<String> {
    const SAID: &str = "zq7";
    let turns = [("user", "a"), ("assistant", SAID), ("user", OBSERVATION)];
    let turns = turns.map(|(role, content)| Message::new(role, content));
    let written = tokenizer.render_chat(&turns, true)?;
    match written.split_once(SAID) {
        Some((_, behind)) if behind.contains(OBSERVATION) => Ok(behind.to_owned()),
        _ => Err(Error::Recipe(
            "rollout.environment: the model's chat template does not write turns one after the other; set rollout.environment.observation".into(),
        )),
    }
}
