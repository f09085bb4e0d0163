//! Paths to a wrong mark that nobody voted for, where votes gave none: what the thought trees' program did before it had
//! enough split votes.

use super::path::Path;
use super::{Aim, LevelPrompt, Trees, reason};
use crate::error::{Error, Result};
use crate::rationale::number;
use crate::rollout::{Fork, Vote};
use crate::seed::derive;

/// What is said to each question, a text a seed.
pub(super) type Ask<'a> = dyn FnMut(&[LevelPrompt]) -> Result<Vec<Vec<String>>> + 'a;

/// A path that is led to another mark.
struct Turned<'a> {
    /// The path that it follows.
    own: &'a Path,
    /// All its replies in the end.
    replies: Vec<usize>,
    path: Path,
}

impl Turned<'_> {
    /// Takes the next reply; whether that is another than the path's own.
    fn reply(&mut self, level: usize, marks: f64, nodes: &mut usize) -> bool {
        let (reply, own) = (self.replies[level], self.own.forks[level]);
        let altered = reply != self.own.replies[level];
        if self.path.replies == self.own.replies[..level] && !altered {
            self.path.node = own.node;
        } else {
            *nodes += 1;
            self.path.node = *nodes;
        }
        self.path.replies.push(reply);
        let vote = own.vote.map(|vote| Vote { marks, ..vote });
        self.path.forks.push(Fork { copies: if altered { 0 } else { own.copies }, vote, ..own });
        altered
    }
}

impl Trees<'_> {
    /// A wrong path of each tree all of whose paths come to the gold mark. `nodes` counts each tree's nodes, `ask` says why
    /// an altered reply is so.
    pub(super) fn wrong(&self, paths: &[Path], nodes: &mut [usize], ask: &mut Ask) -> Result<Vec<Path>> {
        let mut all = Vec::new();
        for (tree, nodes) in nodes.iter().enumerate() {
            all.extend(self.turned(tree, paths, *nodes)?);
        }
        for level in 0..self.depth() {
            let mut altered = Vec::new();
            let unfinished = all.iter_mut().filter(|turned| level < turned.replies.len());
            let open: Vec<&mut Turned> = unfinished.collect();
            let mut rest = Vec::new();
            for turned in open {
                let question = self.question(turned.own, level);
                let marks = question.options[turned.replies[level]].marks;
                if turned.reply(level, marks, &mut nodes[turned.own.tree]) {
                    altered.push(turned.path.clone());
                    rest.push((turned, true));
                } else {
                    rest.push((turned, false));
                }
            }
            let mut reasons = ask(&self.level_prompts(&altered, level, Aim::Reason)?)?.into_iter();
            for (turned, altered) in rest {
                let reasons = if altered { reasons.next().unwrap_or_default() } else { vec![] };
                let known = turned.own.history[level]["rationale"].as_str().unwrap_or_default();
                let rationale = if altered { reason(&reasons) } else { known };
                let (tree, question) = (turned.own.tree, self.question(turned.own, level));
                turned.path.add(&self.prompts[tree].example, question, rationale, &self.section.step)?;
            }
        }
        Ok(all.into_iter().map(|turned| turned.path).collect())
    }

    /// The path of `tree` with the most votes and the replies that it is to have instead; none where a path is wrong already, or
    /// the mark is not known.
    fn turned<'p>(&self, tree: usize, paths: &'p [Path], nodes: usize) -> Result<Option<Turned<'p>>> {
        let (example, rubric) = (&self.prompts[tree].example, &self.rubrics[tree]);
        let wrong = |what: String| Error::Data(format!("{}: {what}", example));
        let (Some(gold), of_tree) = (&example.answer, paths.iter().filter(|path| path.tree == tree)) else {
            return Ok(None);
        };
        let mut heaviest: Option<&Path> = None;
        for path in of_tree {
            if !number::equal(&rubric.mark(&path.replies).map_err(wrong)?.to_string(), gold) {
                return Ok(None);
            }
            if heaviest.is_none_or(|known| path.weight > known.weight) {
                heaviest = Some(path);
            }
        }
        let Some(own) = heaviest else { return Ok(None) };
        // The place of votes on a question behind the last one, which nobody casts.
        let draw = derive(&[self.seeds.draw(tree, &[2 * nodes as u64 + 2]), 0]);
        let replies = rubric.altered(&own.replies, draw).map_err(wrong)?;
        Ok(replies.map(|replies| Turned { own, replies, path: Path::root(tree) }))
    }
}
