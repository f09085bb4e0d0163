//! Trees that branch where votes on a rubric's questions split: `[rollout.tree.schema]` (thought trees, Li et al. 2024, arXiv
//! 2406.19949).
//!
//! A level is a question. On each path it is answered `votes` times; every reply that was given becomes a branch, with a
//! rationale of its own. A path's text is the replies with their rationales and the mark that the rubric's formula gives them.

mod path;
mod rows;
mod synthetic;

use super::{TreeRollout, value};
use crate::ask::{Samples, TextModel, TextRequest};
use crate::data::template::Jinja;
use crate::data::{Prompt, rubrics};
use crate::endpoint::{Client, Endpoint};
use crate::engine::{Progress, Sampling, Statistics};
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::Format;
use crate::rationale::rubric::{Question, Rubric};
use crate::rollout::{Group, Prompted, SamplingContext, Seeds, Source, SourceSection, conversation};
use crate::section::{Misfit, broken, under};
use crate::seed::derive;
use path::{Path, filled, most_voted};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

pub(super) const ENDPOINT: &str = "rollout.tree.schema.endpoint";

/// How a rubric's questions are asked. The texts are Jinja templates over the row's columns and `prompt` (its last turn),
/// `question` (`name`, `ask`, `options`), `history` (the replies before, each with `name`, `ask`, `decision`, `rationale`),
/// `path` (the text so far), and where it is known `decision`, `rationale` or `mark`. What `ask` and `justify` give takes the
/// place of the prompt's last turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schema {
    /// A `.toml` or `.jsonl` file of rubrics, which rows name in their column `rubric`; none where rows bring theirs.
    pub rubrics: Option<PathBuf>,
    /// How often a question is answered on each path.
    pub votes: usize,
    /// Votes that a reply needs to become a branch; where none has so many, the most frequent reply does.
    pub min_votes: usize,
    /// Paths of a tree, at most: after each question those with the most votes, multiplied along the way, stay.
    pub paths: usize,
    /// Asks for a reply.
    pub ask: Jinja,
    /// Asks why the reply is so. Of what comes back the first line is the rationale.
    pub justify: Jinja,
    /// What a reply and its rationale add to the path's text.
    pub step: Jinja,
    /// What ends the text.
    pub end: Jinja,
    /// Longest reply, in tokens.
    pub vote_tokens: usize,
    /// Longest rationale, in tokens.
    pub rationale_tokens: usize,
    /// Where all paths of an answer come to the human mark, add one that does not: that with the most votes, as few of its
    /// replies altered as come to another mark. Nobody voted for these, and their reasons are asked for anew. Without it
    /// no preference is learned from such answers.
    pub synthetic: bool,
    /// Who answers, in place of the policy: `[rollout.tree.schema.endpoint]`.
    pub endpoint: Option<Endpoint>,
}

impl Default for Schema {
    fn default() -> Self {
        Self {
            rubrics: None,
            votes: 10,
            min_votes: 1,
            paths: 32,
            ask: "{{ prompt }}\n\n{% for step in history %}{{ step.ask }} {{ step.decision }}\n{% endfor %}\
                  {{ question.ask }}\nReply with {{ question.options | join(' or ') }} only."
                .into(),
            justify:
                "{{ prompt }}\n\n{% for step in history %}{{ step.ask }} {{ step.decision }}\n{% endfor %}\
                      {{ question.ask }} {{ decision }}\nSay in one sentence why, and quote the part of the \
                      answer that this rests on."
                    .into(),
            step: "{{ question.ask }} {{ decision }}. {{ rationale }}\n".into(),
            end: "#### {{ mark }}".into(),
            vote_tokens: 4,
            rationale_tokens: 120,
            synthetic: false,
            endpoint: None,
        }
    }
}

/// A tree over rubrics, with the endpoint that answers and the rubrics that rows name, where the section has them.
pub(super) struct RubricTree {
    section: TreeRollout,
    schema: Schema,
    client: Option<Client>,
    rubrics: Vec<Rubric>,
}

impl RubricTree {
    pub(super) fn open(section: &TreeRollout) -> Result<Self> {
        let schema = section.schema.as_deref().cloned().unwrap_or_default();
        let client = schema.endpoint.as_ref().map(|endpoint| endpoint.open(ENDPOINT)).transpose()?;
        let rubrics = schema.rubrics.as_ref().map(|file| rubrics::read(file)).transpose()?;
        Ok(Self { section: section.clone(), schema, client, rubrics: rubrics.unwrap_or_default() })
    }
}

impl Source for RubricTree {
    fn section(&self) -> &dyn SourceSection {
        &self.section
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let SamplingContext { policy, sampling, format, nonce, .. } = *context;
        let client = self.client.as_ref();
        let grower = Grower { policy, client, sampling, rubrics: &self.rubrics, nonce };
        let (mut groups, statistics, counts) =
            grow(&grower, prompts, &self.schema, format, &context.seeds, context.progress)?;
        context.report_all("tree", &counts.figures());
        match client {
            Some(client) => context.report_all("remote", &client.figures()),
            None => context.report(&statistics),
        }
        context.tokens += statistics.decoded_tokens;
        context.scorer.score(&mut groups)?;
        groups.iter_mut().for_each(|group| value(group, self.section.value));
        Ok(groups)
    }
}

/// What grows trees.
#[derive(Clone, Copy)]
pub struct Grower<'a> {
    /// The policy, whose tokens a path's text becomes.
    pub policy: &'a Policy,
    /// Who answers in its place.
    pub client: Option<&'a Client>,
    /// How the policy samples.
    pub sampling: &'a Sampling,
    /// Rubrics that rows name.
    pub rubrics: &'a [Rubric],
    /// Tells apart several requests for one prompt, for the endpoint's cache.
    pub nonce: usize,
}

/// What became of the questions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct VoteCounts {
    /// Votes.
    pub votes: usize,
    /// Of these, replies that are none of the options.
    pub invalid: usize,
    /// Questions asked on a path.
    pub questions: usize,
    /// Of these, answered in more than one way.
    pub split: usize,
    /// Paths that ended because no vote was valid.
    pub lost: usize,
    /// Paths left out because others have more votes.
    pub pruned: usize,
    /// Paths made up to come to a wrong mark.
    pub synthetic: usize,
}

impl VoteCounts {
    /// The figures by name: shares of votes and of questions, and numbers of paths.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let share = |part: usize, whole: usize| part as f64 / whole.max(1) as f64;
        let all = [
            ("invalid_votes", share(self.invalid, self.votes)),
            ("split_questions", share(self.split, self.questions)),
            ("lost_paths", self.lost as f64),
            ("pruned_paths", self.pruned as f64),
            ("synthetic_paths", self.synthetic as f64),
        ];
        all.map(|(name, value)| (name.to_string(), value)).to_vec()
    }
}

impl Schema {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = broken(&[
            ((1..=10_000).contains(&self.votes), "votes", "it must be at least 1 and at most 10000"),
            (self.min_votes > 0, "min_votes", "it must be at least 1"),
            (self.paths > 0, "paths", "it must be at least 1"),
            (self.vote_tokens > 0, "vote_tokens", "it must be at least 1"),
            (self.rationale_tokens > 0, "rationale_tokens", "it must be at least 1"),
        ]);
        let texts =
            [("ask", &self.ask), ("justify", &self.justify), ("step", &self.step), ("end", &self.end)];
        for (key, text) in texts {
            if let Err(error) = text.check() {
                found.push(Misfit::new(key, format!("its template cannot be read: {error}"), ""));
            }
        }
        found.extend(under("endpoint", self.endpoint.iter().flat_map(Endpoint::check)));
        found
    }
}

/// Grows a tree for each prompt; `seeds` draw the policy's randomness. A group's rollouts are its paths, not yet scored.
pub fn grow(
    grower: &Grower,
    prompts: &[Prompted],
    section: &Schema,
    format: &Format,
    seeds: &Seeds,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Vec<Group>, Statistics, VoteCounts)> {
    let rubrics = prompts.iter().map(|p| rubrics::of(&p.example, grower.rubrics)).collect::<Result<_>>()?;
    let trees = Trees { grower, prompts, section, rubrics, seeds };
    let mut paths: Vec<Path> = (0..prompts.len()).map(Path::root).collect();
    let mut nodes = vec![0; prompts.len()];
    let (mut statistics, mut counts) = (Statistics::default(), VoteCounts::default());
    for level in 0..trees.depth() {
        let (going_on, ended): (Vec<Path>, Vec<Path>) =
            paths.into_iter().partition(|path| level < trees.rubrics[path.tree].questions.len());
        let batch = trees.level_prompts(&going_on, level, Aim::Reply)?;
        let said = grower.say(&batch, section.vote_tokens, progress, &mut statistics)?;
        let branches = |(path, said): (&Path, Vec<String>)| {
            path.branches(trees.question(path, level), &said, section.min_votes, &mut counts)
        };
        let children: Vec<Path> = going_on.iter().zip(said).flat_map(branches).collect();
        let mut children = most_voted(children, section.paths, &mut counts);
        for child in &mut children {
            nodes[child.tree] += 1;
            child.node = nodes[child.tree];
        }
        let batch = trees.level_prompts(&children, level, Aim::Reason)?;
        let reasons = grower.say(&batch, section.rationale_tokens, progress, &mut statistics)?;
        for (child, reasons) in children.iter_mut().zip(reasons) {
            child.add(
                &prompts[child.tree].example,
                trees.question(child, level),
                reason(&reasons),
                &section.step,
            )?;
        }
        paths = ended;
        paths.extend(children);
    }
    if section.synthetic {
        let mut ask =
            |batch: &[LevelPrompt]| grower.say(batch, section.rationale_tokens, progress, &mut statistics);
        let wrong = trees.wrong(&paths, &mut nodes, &mut ask)?;
        counts.synthetic = wrong.len();
        paths.extend(wrong);
    }
    Ok((trees.groups(paths, format)?, statistics, counts))
}

/// The rationale in what was said: its first line.
fn reason(reasons: &[String]) -> &str {
    reasons.first().and_then(|text| text.trim().lines().next()).unwrap_or_default().trim()
}

/// All trees under way.
struct Trees<'a> {
    grower: &'a Grower<'a>,
    prompts: &'a [Prompted],
    section: &'a Schema,
    /// One a prompt.
    rubrics: Vec<Rubric>,
    seeds: &'a Seeds,
}

/// What is to be found out.
#[derive(Clone, Copy, PartialEq)]
enum Aim {
    Reply,
    Reason,
}

/// A question to somebody.
struct LevelPrompt<'a> {
    prompted: &'a Prompted,
    text: String,
    seeds: Vec<u64>,
}

impl Trees<'_> {
    /// The most questions of a rubric.
    fn depth(&self) -> usize {
        self.rubrics.iter().map(|rubric| rubric.questions.len()).max().unwrap_or(0)
    }

    fn question(&self, path: &Path, level: usize) -> &Question {
        &self.rubrics[path.tree].questions[level]
    }

    fn level_prompts(&self, paths: &[Path], level: usize, aim: Aim) -> Result<Vec<LevelPrompt<'_>>> {
        let (key, template, count) = match aim {
            Aim::Reply => ("ask", &self.section.ask, self.section.votes),
            Aim::Reason => ("justify", &self.section.justify, 1),
        };
        let prompt = |path: &Path| {
            let (prompted, question) = (&self.prompts[path.tree], self.question(path, level));
            let decision = (aim == Aim::Reason).then(|| path.decision(question));
            let known = path.known(&prompted.example, question, decision.as_slice());
            let place = 2 * path.node + usize::from(aim == Aim::Reason);
            let seed = self.seeds.draw(path.tree, &[place as u64]);
            let draw = |sample| derive(&[seed, sample]);
            Ok(LevelPrompt {
                prompted,
                text: filled(key, template, &prompted.example, &known)?,
                seeds: (0..count as u64).map(draw).collect(),
            })
        };
        paths.iter().map(prompt).collect()
    }

    /// The trees' paths as rollouts.
    fn groups(&self, paths: Vec<Path>, format: &Format) -> Result<Vec<Group>> {
        let mut groups: Vec<Group> =
            self.prompts.iter().map(|prompted| Group::of(prompted, vec![])).collect();
        for path in paths {
            let (tree, prompted) = (path.tree, &self.prompts[path.tree]);
            let rubric = &self.rubrics[tree];
            groups[tree].rollouts.push(path.rollout(
                prompted,
                rubric,
                &self.section.end,
                self.grower.policy,
                format,
            )?);
        }
        Ok(groups)
    }
}

impl Grower<'_> {
    /// What is said to each question, a text a seed.
    fn say(
        &self,
        batch: &[LevelPrompt],
        most: usize,
        progress: &mut dyn FnMut(&Progress),
        statistics: &mut Statistics,
    ) -> Result<Vec<Vec<String>>> {
        let question = |question: &LevelPrompt| {
            let prompt = &question.prompted.example.prompt;
            let prompt = match prompt {
                Prompt::Text(_) => Prompt::Text(question.text.clone()),
                Prompt::Chat(_) => Prompt::Chat(conversation(prompt, None, Some(question.text.clone()))),
            };
            let samples = Samples::Seeds(question.seeds.clone());
            let about = Some(question.prompted.example.clone());
            TextRequest { samples, about, attempt: self.nonce, ..TextRequest::new(prompt) }
        };
        let questions: Vec<TextRequest> = batch.iter().map(question).collect();
        let mut sampling = self.sampling.clone();
        sampling.stop.push("\n".into());
        let model = match self.client {
            Some(client) => TextModel::Endpoint(client),
            None => TextModel::Local(self.policy, &sampling),
        };
        let answers = model.ask(&questions, Some(most), progress)?;
        statistics.add(&answers.statistics);
        let texts = answers.choices.into_iter().map(|all| all.into_iter().map(|one| one.text).collect());
        Ok(texts.collect())
    }
}

#[cfg(test)]
mod tests;
