//! What a recipe's rows become: their texts and tokens, what is learned of them, how long they are, and what is left out.

use super::folders::Folders;
use super::models::{Models, Sought};
use super::tokenized::Tokenized;
use super::{Known, Looked, Ready, look};
use crate::data::hub::Hub;
use crate::data::{Example, Feedback, Prompt, Prompted, Split, Tokenizer};
use crate::error::{Error, Result};
use crate::log::terminal::shown;
use crate::model::Sequence;
use crate::nearest::{did_you_mean, list, nearest};
use crate::ranks::Local;
use crate::recipe::{Args, RULES, Recipe, Registry, Stage, references};
use crate::run::lengths::Lengths;
use std::fmt::Write;

/// What of the rows is asked for.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The stage; all of them where none is named.
    pub stage: Option<String>,
    /// How many rows are shown whole.
    pub rows: usize,
    /// The held-out rows in place of those for training.
    pub held_out: bool,
    /// Each token by itself, with its id.
    pub tokens: bool,
}

/// The text of a preview. Nothing is trained, and what is not on this machine is not fetched.
///
/// # Errors
/// All that is wrong with the recipe, as a dry run says it; a stage that there is not.
pub fn preview(args: &Args, registry: &Registry, asked_for: &Preview) -> Result<String> {
    let hub = Hub::from_env();
    let args = Args { dry_run: true, ..args.clone() };
    let Looked { recipe, mut trials, notes } = look(&args, registry, &hub, Local::ALONE)?;
    let Ready { stages, .. } = trials.swap_remove(0);
    let at_rest = hub.at_rest();
    let named: Vec<(Option<Stage>, Vec<String>)> =
        stages.iter().map(|stage| (Some(stage.clone()), vec![])).collect();
    let folders = Folders::new(&at_rest, false);
    let models = Models::new(&recipe, &named, &folders);
    let mut text = String::new();
    let mut found = false;
    for (table, stage) in recipe.stages().iter().zip(&stages) {
        if asked_for.stage.as_ref().is_some_and(|name| *name != table.name) {
            continue;
        }
        found = true;
        let waits: Vec<String> =
            references(&table.table, RULES.references).into_iter().map(|(path, _)| path).collect();
        let of = Of { name: &table.name, stage, waits: &waits, hub: &at_rest, seed: stages[0].run.seed };
        let (known, elsewhere) = match models.of(&stage.policy) {
            Sought::Known(known) => (Some(known), None),
            Sought::Elsewhere(model) => (None, Some(model)),
            _ => (None, None),
        };
        text += &of.text(known.as_deref(), elsewhere.as_deref(), asked_for)?;
        text.push('\n');
    }
    if !found {
        return Err(no_such_stage(&recipe, asked_for.stage.as_deref().unwrap_or_default()));
    }
    notes.iter().for_each(|note| text += &format!("note: {note}\n"));
    Ok(text)
}

fn no_such_stage(recipe: &Recipe, name: &str) -> Error {
    let names = || recipe.stages().iter().map(|stage| stage.name.as_str());
    let meant = did_you_mean(nearest(name, names()));
    Error::Recipe(format!("--stage {name}: there is no such stage{meant}; known: {}", list(names())))
}

/// A stage whose rows are shown.
struct Of<'a> {
    name: &'a str,
    stage: &'a Stage,
    waits: &'a [String],
    hub: &'a Hub,
    seed: u64,
}

impl Of<'_> {
    /// Its rows by a `known` model, or by none where it is still `elsewhere`.
    fn text(&self, known: Option<&Known>, elsewhere: Option<&str>, asked_for: &Preview) -> Result<String> {
        let (stage, method) = (self.stage, self.stage.method.name());
        let split = if asked_for.held_out { Split::Eval } else { Split::Train };
        let mut out = format!("stage `{}` (loop.{method}): ", self.name);
        let path = format!("data.{}", split.key());
        if !stage.data.has(split) || (split == Split::Train && !stage.needs().rows) {
            return Ok(out + "it reads no such rows\n");
        }
        if let Some(waits) = self.waits.iter().find(|waits| **waits == path) {
            return Ok(
                out + &format!("{waits} is what an earlier stage writes; it is there once that has run\n")
            );
        }
        let rows = stage.data.load(split, self.hub, self.seed)?;
        let (name, read) = (rows.name.clone(), rows.examples.len());
        let rows = if split == Split::Train { self.learned(rows)? } else { rows };
        let count = rows.examples.len();
        let _ = writeln!(out, "{count} {} of {name}", if count == 1 { "row" } else { "rows" });
        if count != read {
            let _ = writeln!(out, "  made of the {read} rows that were read");
        }
        let Some(Known { tokenizer, shape }) = known else {
            out += "  the model is not on this machine yet: texts stand without its template, tokens are not known\n";
            if let Some(model) = elsewhere {
                let _ = writeln!(out, "  `train sample {model} --prompt hello` fetches it, as a run does");
            }
            for (at, row) in rows.examples.iter().take(asked_for.rows).enumerate() {
                let _ = write!(out, "\n  {}. {}", at + 1, in_words(row));
            }
            return Ok(out);
        };
        let lengths = Lengths::of(stage, shape.context());
        let tokenized = Tokenized::of(&rows, (split, true), &lengths, tokenizer)?;
        for sentence in tokenized.too_long(&lengths)? {
            let _ = writeln!(out, "  {sentence}; left out");
        }
        let first = rows.examples.first().map(|row| Prompted::of(row, tokenizer)).transpose()?;
        let whole = split == Split::Train && first.is_some_and(|first| self.learns(tokenizer, &first));
        let what = if whole { "tokens of prompt and completion" } else { "tokens of the prompt" };
        out += &histogram(what, &tokenized.lengths());
        for (at, row) in rows.examples.iter().take(asked_for.rows).enumerate() {
            let question = Prompted::of(row, tokenizer)?;
            out += &format!("\n  {}. {}", at + 1, self.row(tokenizer, &question, split, asked_for.tokens)?);
        }
        Ok(out)
    }

    /// The rows that the method makes its steps of.
    fn learned(&self, rows: crate::data::Dataset) -> Result<crate::data::Dataset> {
        let mut setup = self.stage.setup(rows, self.hub, self.seed);
        self.stage.method.build(&mut setup)?;
        Ok(setup.rows)
    }

    fn learns(&self, tokenizer: &Tokenizer, row: &Prompted) -> bool {
        self.stage.method.learned_of(tokenizer, row).is_ok_and(|learned| !learned.is_empty())
    }

    fn row(&self, tokenizer: &Tokenizer, row: &Prompted, split: Split, by_token: bool) -> Result<String> {
        let written = |sequence: &Sequence| match by_token {
            true => tokens(tokenizer, sequence),
            false => marked(tokenizer, sequence),
        };
        let mut out = format!("{}\n", row.example);
        let learned = match split {
            Split::Train => self.stage.method.learned_of(tokenizer, row)?,
            Split::Eval => vec![],
        };
        for learned in &learned {
            let sequence = &learned.sequence;
            let (all, some) = (sequence.tokens.len(), sequence.learned());
            out += &format!(
                "     {}: {all} tokens, {some} learned\n{}",
                learned.called,
                indented(&written(sequence))
            );
        }
        if learned.is_empty() {
            let prompt = Sequence::read_only(row.tokens.clone());
            let count = row.tokens.len();
            out += &format!("     prompt: {count} tokens\n{}", indented(&written(&prompt)));
            let traits = self.stage.rollout.traits();
            if let (Some(size), true, Split::Train) = (traits.size, self.stage.needs().rollouts, split) {
                let most = self.stage.policy.sampling.max_new_tokens;
                out += &format!(
                    "     {size} completions of at most {most} tokens are sampled and learned from\n"
                );
            }
        }
        for line in self.stage.method.read_of(row, &self.stage.data.format) {
            out += &indented(&line);
        }
        if let Some(gold) = row.example.gold() {
            out += &format!("     gold answer: {gold}\n");
        }
        Ok(out)
    }
}

/// A row without a tokenizer: its prompt, turn by turn, and the completions that it has.
fn in_words(row: &Example) -> String {
    let mut out = format!("{row}\n");
    let mut add = |name: &str, text: &str| out += &format!("     {name}:\n{}", indented(text));
    match &row.prompt {
        Prompt::Text(text) => add("prompt", text),
        Prompt::Chat(turns) => turns.iter().for_each(|turn| add(&turn.role, &turn.content)),
    }
    match &row.feedback {
        Some(Feedback::Pair { chosen, rejected, .. }) => {
            add("chosen", &chosen.text);
            add("rejected", &rejected.text);
        }
        Some(Feedback::Label { completion, good: true, .. }) => add("good completion", &completion.text),
        Some(Feedback::Label { completion, .. }) => add("bad completion", &completion.text),
        None => row.completion.iter().for_each(|text| add("completion", text)),
    }
    if let Some(gold) = row.gold() {
        out += &format!("     gold answer: {gold}\n");
    }
    out
}

/// The text of a sequence, what is learned in ⟦ ⟧.
fn marked(tokenizer: &Tokenizer, sequence: &Sequence) -> String {
    let (mut out, mut at) = (String::new(), 0);
    for span in sequence.spans() {
        out += &names(tokenizer, &sequence.tokens[at..span.start]);
        out += &format!("⟦{}⟧", names(tokenizer, &sequence.tokens[span.clone()]));
        at = span.end;
    }
    out + &names(tokenizer, &sequence.tokens[at..])
}

/// The text of tokens, special ones by their names.
fn names(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    // What is written as nothing is special; the others are decoded together, since a character may be several of them.
    let is_special = |id: &u32| tokenizer.decode(&[*id]).is_empty();
    let of = |piece: &[u32]| match is_special(&piece[0]) {
        true => piece.iter().map(|id| tokenizer.name_of(*id)).collect(),
        false => tokenizer.decode(piece),
    };
    ids.chunk_by(|a, b| is_special(a) == is_special(b)).map(of).collect()
}

/// Each token on its own, learned ones marked.
fn tokens(tokenizer: &Tokenizer, sequence: &Sequence) -> String {
    let learned = |at: usize| sequence.spans().iter().any(|span| span.contains(&at));
    let one = |(at, id): (usize, &u32)| {
        let text = names(tokenizer, &[*id]);
        let text = format!("{id}:{text:?}");
        if learned(at) { format!("⟦{text}⟧") } else { text }
    };
    sequence.tokens.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("       {}\n", shown(line))).collect()
}

/// How long the sequences are: the least, the middle, nine tenths, the most, and bars.
fn histogram(what: &str, sizes: &[usize]) -> String {
    const BINS: usize = 8;
    const WIDTH: usize = 40;
    let mut sorted = sizes.to_vec();
    sorted.sort_unstable();
    let (Some(least), Some(most)) = (sorted.first(), sorted.last()) else { return String::new() };
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
    let mut out =
        format!("  {what}: {least} to {most}, half up to {}, nine in ten up to {}\n", at(0.5), at(0.9));
    let width = (most - least + 1).div_ceil(BINS).max(1);
    let mut counts = [0usize; BINS];
    sizes.iter().for_each(|size| counts[(size - least) / width] += 1);
    let highest = counts.iter().copied().max().unwrap_or(1).max(1);
    for (bin, count) in counts.iter().enumerate() {
        let (from, to) = (least + bin * width, least + (bin + 1) * width - 1);
        if from > *most {
            break;
        }
        let bar = "█".repeat((count * WIDTH).div_ceil(highest));
        let _ = writeln!(out, "  {:>12}  {bar} {count}", format!("{from}–{}", to.min(*most)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_counted_in_equal_steps() {
        // 1 to 16 in steps of 2: two sizes in each of 8.
        let text = histogram("tokens", &(1..=16).collect::<Vec<_>>());
        assert!(text.starts_with("  tokens: 1 to 16, half up to 9, nine in ten up to 15\n"), "{text}");
        assert_eq!(text.matches(&format!("{} 2\n", "█".repeat(40))).count(), 8, "{text}");
        assert!(histogram("tokens", &[5, 5, 5]).contains("5–5"));
        assert_eq!(histogram("tokens", &[]), "");
    }

    #[test]
    fn what_is_learned_is_marked_and_special_tokens_are_named() {
        let tokenizer = Tokenizer::characters("ab").unwrap();
        let sequence = Sequence::of_spans(vec![0, 1, 0, tokenizer.eos()], std::iter::once(2..4)).unwrap();
        assert_eq!(marked(&tokenizer, &sequence), "ab⟦a<eos>⟧");
        assert_eq!(tokens(&tokenizer, &sequence), "0:\"a\" 1:\"b\" ⟦0:\"a\"⟧ ⟦2:\"<eos>\"⟧");
    }
}
