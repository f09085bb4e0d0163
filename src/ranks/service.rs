//! Ranks that work for the others: each is asked in its turn by texts, answers them one after the other, and makes none of the calls that those make together.
//!
//! What is said goes through the store that all reach anyway, beside the calls: who asks and who answers need not come to anything at the same time. A
//! rank has one question under way with each of those that serve, so that a question and its answer take the place of the ones before, and the store
//! does not grow.

use super::c10d::Store;
use super::locked;
use crate::error::{Error, Result};
use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Between two looks at first, and after some time in which nothing came.
const PAUSES: [Duration; 2] = [Duration::from_micros(200), Duration::from_millis(10)];
/// How often a rank that waits looks whether another one has failed.
const FAILURES: Duration = Duration::from_millis(500);
/// Bytes of a value of the store, at most: libtorch takes 8 MiB.
const PART: usize = 1 << 20;
/// The counter of ranks that ask no more.
const OVER: &str = "over";

/// What another rank has failed by, where one has.
type Failed = Box<dyn Fn() -> Option<Error> + Send + Sync>;

/// The ranks that serve, as one of those that ask them reaches them.
pub struct Served {
    store: Mutex<Store>,
    /// Which rank asks.
    asker: usize,
    /// Those that serve.
    ranks: Range<usize>,
    /// How long an answer is waited for.
    limit: Mutex<Duration>,
    failed: Failed,
}

/// A rank that serves.
pub struct Service {
    store: Store,
    rank: usize,
    /// How many ranks ask.
    askers: usize,
    failed: Failed,
}

impl Served {
    pub(super) fn new(
        store: Store,
        asker: usize,
        ranks: Range<usize>,
        limit: Duration,
        failed: Failed,
    ) -> Self {
        Self { store: Mutex::new(store), asker, ranks, limit: Mutex::new(limit), failed }
    }

    /// How many ranks serve.
    pub fn count(&self) -> usize {
        self.ranks.len()
    }

    /// What is answered to each of `questions`: they are dealt to the ranks that serve in turn, each of which works on one of them at a time.
    ///
    /// # Errors
    /// [`Error::Ranks`] where no answer comes in time, or they cannot be reached; the failure of another rank, where there is one.
    pub fn ask(&self, questions: &[String]) -> Result<Vec<String>> {
        let store = locked(&self.store);
        let mut answers = Vec::with_capacity(questions.len());
        for dealt in questions.chunks(self.ranks.len()) {
            // Those that ask begin with different ones.
            let rank = |at: usize| self.ranks.start + (self.asker + at) % self.ranks.len();
            let mut under_way = Vec::with_capacity(dealt.len());
            for (at, question) in dealt.iter().enumerate() {
                let number =
                    self.put(&store, rank(at), question).map_err(|what| self.lost(rank(at), &what))?;
                under_way.push((rank(at), number));
            }
            for (rank, number) in under_way {
                answers.push(self.wait(&store, rank, number)?);
            }
        }
        Ok(answers)
    }

    /// Asks no more. Once none does, those that serve are done.
    pub fn leave(&self) {
        // Where the store is gone they hear of that.
        let _ = locked(&self.store).add(OVER, 1);
    }

    /// How long an answer is waited for from here on.
    pub(super) fn wait_at_most(&self, limit: Duration) {
        *locked(&self.limit) = limit;
    }

    /// Hands over a question; its number among those that this rank has asked that one.
    fn put(&self, store: &Store, rank: usize, question: &str) -> std::result::Result<i64, String> {
        let between = between(rank, self.asker);
        write(store, &format!("{between}/question"), question)?;
        let number = store.add(&format!("{between}/asked"), 1)?;
        store.add(&asked(rank), 1)?;
        Ok(number)
    }

    fn wait(&self, store: &Store, rank: usize, number: i64) -> Result<String> {
        let between = between(rank, self.asker);
        let (mut wait, limit) = (Wait::new(), *locked(&self.limit));
        loop {
            let answered =
                store.add(&format!("{between}/answered"), 0).map_err(|what| self.lost(rank, &what))?;
            if answered >= number {
                return read(store, &format!("{between}/answer")).map_err(|what| self.lost(rank, &what));
            }
            wait.pause(&self.failed)?;
            if wait.began.elapsed() > limit {
                let seconds = limit.as_secs();
                return Err(Error::Ranks(format!(
                    "rank {rank}, which serves the others (devices.reward_ranks), has not answered for {seconds} s (devices.timeout_s)"
                )));
            }
        }
    }

    fn lost(&self, rank: usize, what: &str) -> Error {
        (self.failed)().unwrap_or_else(|| {
            Error::Ranks(format!("rank {rank}, which serves the others, cannot be reached: {what}"))
        })
    }
}

impl Service {
    pub(super) fn new(store: Store, rank: usize, askers: usize, failed: Failed) -> Self {
        Self { store, rank, askers, failed }
    }

    /// Answers what it is asked, until nobody asks any more.
    ///
    /// # Errors
    /// The failure of another rank; [`Error::Ranks`] where they cannot be reached.
    pub fn serve(&self, mut answer: impl FnMut(&str) -> String) -> Result<()> {
        let lost = |what: String| {
            let rank = self.rank;
            (self.failed)().unwrap_or_else(|| {
                Error::Ranks(format!("rank {rank} does not reach those that it serves: {what}"))
            })
        };
        let (mut answered, mut all) = (vec![0; self.askers], 0);
        let mut wait = Wait::new();
        loop {
            // One count says whether anybody has asked.
            if self.store.add(&asked(self.rank), 0).map_err(lost)? <= all {
                if self.store.add(OVER, 0).map_err(lost)? >= self.askers as i64 {
                    return Ok(());
                }
                wait.pause(&self.failed)?;
                continue;
            }
            for (asker, answered) in answered.iter_mut().enumerate() {
                let between = between(self.rank, asker);
                if self.store.add(&format!("{between}/asked"), 0).map_err(lost)? <= *answered {
                    continue;
                }
                let question = read(&self.store, &format!("{between}/question")).map_err(lost)?;
                write(&self.store, &format!("{between}/answer"), &answer(&question)).map_err(lost)?;
                self.store.add(&format!("{between}/answered"), 1).map_err(lost)?;
                *answered += 1;
                all += 1;
            }
            wait = Wait::new();
        }
    }
}

/// Looking for something that will come: ever less often.
struct Wait {
    began: Instant,
    looked: Instant,
    pause: Duration,
}

impl Wait {
    fn new() -> Self {
        let now = Instant::now();
        Self { began: now, looked: now, pause: PAUSES[0] }
    }

    /// Waits a little.
    ///
    /// # Errors
    /// What another rank has failed by meanwhile.
    fn pause(&mut self, failed: &Failed) -> Result<()> {
        std::thread::sleep(self.pause);
        self.pause = (self.pause * 2).min(PAUSES[1]);
        if self.looked.elapsed() > FAILURES {
            self.looked = Instant::now();
            return failed().map_or(Ok(()), Err);
        }
        Ok(())
    }
}

/// The counter of all questions to a rank.
fn asked(rank: usize) -> String {
    format!("{rank}/asked")
}

/// What the keys begin with of what `asker` and `rank` say to each other.
fn between(rank: usize, asker: usize) -> String {
    format!("{rank}/{asker}")
}

/// Writes a text in parts that the store takes.
fn write(store: &Store, key: &str, text: &str) -> std::result::Result<(), String> {
    let (mut rest, mut parts) = (text, 0);
    while !rest.is_empty() {
        let end = (0..=PART.min(rest.len())).rev().find(|&end| rest.is_char_boundary(end)).unwrap_or(0);
        let (part, behind) = rest.split_at(end);
        store.set(&format!("{key}/{parts}"), part)?;
        (rest, parts) = (behind, parts + 1);
    }
    store.set(key, &parts.to_string())
}

fn read(store: &Store, key: &str) -> std::result::Result<String, String> {
    let of = |key: &str| store.look(key)?.ok_or_else(|| format!("the store has no {key}"));
    let parts: usize = of(key)?.parse().map_err(|error| format!("{key}: {error}"))?;
    (0..parts).map(|part| of(&format!("{key}/{part}"))).collect()
}

impl fmt::Debug for Served {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "ranks {:?} that serve rank {}", self.ranks, self.asker)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "rank {} that serves {}", self.rank, self.askers)
    }
}

#[cfg(test)]
impl Served {
    /// One rank that asks and one that serves it, in one process.
    pub(crate) fn pair() -> (Self, Service) {
        let (mut served, mut services) = tests::meet(1, 1, || None);
        (served.remove(0), services.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const LIMIT: Duration = Duration::from_secs(60);

    /// So many that ask and that serve, behind a store of their own.
    pub(super) fn meet(
        askers: usize,
        servers: usize,
        failed: impl Fn() -> Option<Error> + Clone + Send + Sync + 'static,
    ) -> (Vec<Served>, Vec<Service>) {
        let (root, _) = Store::open("127.0.0.1", 0, true, LIMIT).unwrap();
        let root = Arc::new(Mutex::new(root));
        let store = || locked(&root).under("service").unwrap();
        let told = || -> Failed {
            // The store is there for as long as anybody is.
            let (root, failed) = (root.clone(), failed.clone());
            Box::new(move || {
                let _held = &root;
                failed()
            })
        };
        let ranks = askers..askers + servers;
        let served = (0..askers).map(|asker| Served::new(store(), asker, ranks.clone(), LIMIT, told()));
        let services = ranks.clone().map(|rank| Service::new(store(), rank, askers, told()));
        (served.collect(), services.collect())
    }

    #[test]
    fn each_hears_the_answers_to_its_own_questions_in_their_order() {
        let (served, services) = meet(3, 2, || None);
        let servers = services.into_iter().map(|service| {
            std::thread::spawn(move || {
                let mut count = 0;
                let answer = |question: &str| {
                    count += 1;
                    question.chars().rev().collect::<String>()
                };
                service.serve(answer).map(|()| count)
            })
        });
        let servers: Vec<_> = servers.collect();
        let askers = served.into_iter().enumerate().map(|(asker, served)| {
            std::thread::spawn(move || {
                for round in 0..4 {
                    let questions: Vec<String> = (0..5).map(|n| format!("{asker}:{round}:{n}é")).collect();
                    let backwards = |text: &String| text.chars().rev().collect::<String>();
                    let expected: Vec<String> = questions.iter().map(backwards).collect();
                    assert_eq!(served.ask(&questions).unwrap(), expected);
                }
                served.leave();
            })
        });
        askers.collect::<Vec<_>>().into_iter().for_each(|asker| asker.join().unwrap());
        let answered: Vec<i32> = servers.into_iter().map(|server| server.join().unwrap().unwrap()).collect();
        // 3 ranks, 4 rounds, 5 questions each; no one of the two had all the work.
        assert!(
            answered.iter().sum::<i32>() == 60 && answered.iter().all(|count| *count >= 20),
            "{answered:?}"
        );
    }

    /// A value of the store has 8 MiB at most, and letters of several bytes are not cut.
    #[test]
    fn long_texts_come_whole() {
        let (mut served, mut services) = meet(1, 1, || None);
        let service = services.remove(0);
        let server = std::thread::spawn(move || service.serve(|question| format!("{question}!")));
        let served = served.remove(0);
        let long = format!("a{}", "é€".repeat(2 * PART));
        for question in [long, String::new(), "short".into()] {
            assert!(served.ask(std::slice::from_ref(&question)).unwrap() == [format!("{question}!")]);
        }
        served.leave();
        server.join().unwrap().unwrap();
    }

    #[test]
    fn nobody_waits_for_who_has_failed() {
        let failure = || Some(Error::Elsewhere { rank: 2, code: 1, words: "it is gone".into() });
        let (served, services) = meet(1, 1, failure);
        for said in [services[0].serve(|_| panic!("asked")), served[0].ask(&["?".into()]).map(drop)] {
            assert_eq!(said.unwrap_err().to_string(), "rank 2 failed: it is gone");
        }
    }

    #[test]
    fn who_does_not_answer_is_named() {
        let (served, _services) = meet(1, 1, || None);
        served[0].wait_at_most(Duration::from_millis(20));
        let said = served[0].ask(&["?".into()]).unwrap_err().to_string();
        assert!(
            said.contains("rank 1, which serves the others (devices.reward_ranks), has not answered"),
            "{said}"
        );
    }
}
