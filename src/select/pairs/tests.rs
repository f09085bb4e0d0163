//! Literal pairs.

use super::*;

fn candidate<'a>(reward: f64, correct: Option<bool>, text: &'a str, tokens: &'a [u32]) -> Candidate<'a> {
    let rating = text.rsplit(' ').next().and_then(|word| word.parse().ok());
    Candidate { reward, correct, text, tokens, rating, ..Candidate::default() }
}

/// Two right, two wrong, one without verdict. Words in common: "a b c 5" with "a b c 7" three of four, and so on.
fn group() -> Vec<Candidate<'static>> {
    vec![
        candidate(1.0, Some(true), "a b c 5", &[1, 2, 3, 5]),
        candidate(0.1, Some(false), "a x y z 9", &[1, 8, 8, 9]),
        candidate(0.9, Some(true), "q 5", &[4, 5]),
        candidate(0.2, Some(false), "a b c 7", &[1, 2, 3, 7]),
        candidate(0.5, None, "n", &[6]),
    ]
}

fn built(recipe: &str, group: &[Candidate]) -> Built {
    let pairs: Pairs = toml::from_str(recipe).unwrap();
    assert_eq!(pairs.check(), []);
    pairs.build(group)
}

fn indices(recipe: &str) -> Vec<(usize, usize)> {
    built(recipe, &group()).pairs.iter().map(|pair| (pair.chosen, pair.rejected)).collect()
}

#[test]
fn correct_answers_meet_wrong_ones() {
    assert_eq!(indices(""), [(0, 1), (0, 3), (2, 1), (2, 3)]);
    let found = built("", &group());
    assert_eq!(found.dropped, Dropped { ungraded: 1, ..Dropped::default() });
    // 1, 2, 3 are shared by 0 and 3; their rewards differ by 0.8.
    assert_eq!(found.pairs[1], Pair { chosen: 0, rejected: 3, prefix: 3, gap: 0.8 });
}

#[test]
fn matching_says_which_pairs_come_first() {
    // Edits over words by the longer text: 0–1 4/5, 0–3 1/4, 2–1 5/5, 2–3 4/4.
    assert_eq!(indices("matching = \"near\""), [(0, 3), (0, 1), (2, 1), (2, 3)]);
    assert_eq!(indices("matching = \"far\""), [(2, 1), (2, 3), (0, 1), (0, 3)]);
    assert_eq!(indices("matching = \"score\""), [(0, 3), (0, 1), (2, 3), (2, 1)]);
    // Gaps 0.9, 0.8, 0.8 and 0.7.
    assert_eq!(indices("matching = \"gap\""), [(0, 1), (0, 3), (2, 1), (2, 3)]);
    assert_eq!(indices("matching = \"prefix\""), [(0, 3), (0, 1), (2, 1), (2, 3)]);
}

#[test]
fn caps_hold_and_are_counted() {
    assert_eq!(indices("per_example = 3"), [(0, 1), (0, 3), (2, 1)]);
    // Each rollout once: 0–1 takes both, then only 2–3 is left.
    assert_eq!(indices("per_rollout = 1"), [(0, 1), (2, 3)]);
    assert_eq!(indices("per_rollout = 1\nmatching = \"near\""), [(0, 3), (2, 1)]);
    assert_eq!(built("per_rollout = 1\nper_example = 1", &group()).dropped.over_cap, 3);
}

#[test]
fn a_score_margin_needs_no_verdict() {
    // Rewards 1, 0.1, 0.9, 0.2, 0.5: ten ordered pairs, of which 1–0.1, 1–0.2, 0.9–0.1 and 0.9–0.2 differ by 0.7.
    let found = built("kind = \"score_margin\"\nmin_gap = 0.69", &group());
    let pairs: Vec<_> = found.pairs.iter().map(|pair| (pair.chosen, pair.rejected)).collect();
    assert_eq!(pairs, [(0, 1), (0, 3), (2, 1), (2, 3)]);
    assert_eq!(found.dropped, Dropped { below_gap: 6, ..Dropped::default() });
}

#[test]
fn a_rating_margin_compares_answers() {
    // The gold rating is 5; 9 is off by 4, 7 by 2, and "n" is no rating.
    assert_eq!(indices("kind = \"rating_margin\"\nmin_gap = 3.0"), [(0, 1), (2, 1)]);
    let found = built("kind = \"rating_margin\"\nmin_gap = 3.0", &group());
    assert_eq!(found.dropped, Dropped { ungraded: 1, below_gap: 2, ..Dropped::default() });
}

#[test]
fn a_shared_prefix_is_asked_for() {
    assert_eq!(indices("kind = \"shared_prefix\""), [(0, 1), (0, 3)]);
    let found = built("kind = \"shared_prefix\"\nmin_prefix = 2", &group());
    assert_eq!((found.pairs.len(), found.dropped.short_prefix), (1, 3));
}

/// Two cuts of one path, behind `1` and behind `1 2`, each with a right and a wrong way on; the path itself and a fresh wrong
/// completion are of no cut. Behind the second cut the wrong one came twice, and another completion was cut there too.
fn branches() -> Vec<Candidate<'static>> {
    let at = |cut: usize, candidate| Candidate { branched_at: Some(cut), ..candidate };
    vec![
        candidate(1.0, Some(true), "path", &[1, 2, 3]),
        candidate(0.0, Some(false), "fresh", &[1, 2, 9]),
        at(1, candidate(1.0, Some(true), "right 1", &[1, 4])),
        at(1, candidate(0.0, Some(false), "wrong 1", &[1, 5])),
        at(2, candidate(1.0, Some(true), "right 2", &[1, 2, 6])),
        at(2, candidate(0.0, Some(false), "wrong 2", &[1, 2, 7])),
        at(2, candidate(0.0, Some(false), "wrong 2", &[1, 2, 7])),
        at(2, candidate(0.0, Some(false), "elsewhere", &[8, 2, 7])),
    ]
}

#[test]
fn ways_on_from_one_cut_meet() {
    let found = built("kind = \"branches\"", &branches());
    let pairs: Vec<_> = found.pairs.iter().map(|pair| (pair.chosen, pair.rejected, pair.prefix)).collect();
    assert_eq!(pairs, [(2, 3, 1), (4, 5, 2)]);
    assert_eq!(found.dropped, Dropped { duplicate: 1, ..Dropped::default() });
    // Without branches there is none, whatever begins alike.
    assert_eq!(built("kind = \"branches\"", &group()).pairs, []);
}

#[test]
fn an_order_of_chance_is_the_same_again() {
    let tokens: Vec<[u32; 1]> = (0..40).map(|token| [token]).collect();
    let of = |token: &'static [u32], right| candidate(0.0, Some(right), "", token);
    let leaked: &'static [[u32; 1]] = tokens.leak();
    let group: Vec<Candidate> =
        leaked.iter().enumerate().map(|(at, token)| of(token.as_slice(), at < 20)).collect();
    let taken = |group: &[Candidate]| {
        let found = built("matching = \"random\"\nper_example = 8", group);
        assert_eq!((found.pairs.len(), found.dropped.over_cap), (8, 392));
        let tokens = |index: usize| group[index].tokens[0];
        found.pairs.iter().map(|pair| (tokens(pair.chosen), tokens(pair.rejected))).collect::<Vec<_>>()
    };
    let first = taken(&group);
    let chosen: std::collections::BTreeSet<u32> = first.iter().map(|(chosen, _)| *chosen).collect();
    // In the order of the rollouts all eight would have the first one.
    assert!(chosen.len() > 3, "{first:?}");
    let turned: Vec<Candidate> = group.iter().rev().copied().collect();
    assert_eq!(taken(&turned), first, "whoever comes first");
}

#[test]
fn only_the_best_of_each_side_may_be_paired() {
    // Right: 0 (1.0), 2 (0.9). Wrong: 1 (0.1), 3 (0.2).
    assert_eq!(indices("chosen = 1"), [(0, 1), (0, 3)]);
    assert_eq!(indices("rejected = 1"), [(0, 3), (2, 3)]);
    let found = built("kind = \"ranked\"\nchosen = 1\nrejected = 1", &group());
    assert_eq!((found.pairs.len(), found.pairs[0].chosen, found.pairs[0].rejected), (1, 0, 3));
    // 0 against 2, and three pairs of right and wrong.
    assert_eq!(found.dropped, Dropped { ungraded: 1, over_cap: 4, ..Dropped::default() });
    assert_eq!(indices("kind = \"ranked\"\nchosen = 10\nrejected = 10"), indices("kind = \"ranked\""));
}

#[test]
fn a_ranking_prefers_right_to_wrong_and_the_better_of_two_right_ones() {
    // Right: 0 (reward 1.0), 2 (0.9). Wrong: 1, 3. The two right ones differ by 0.1.
    assert_eq!(indices("kind = \"ranked\""), [(0, 1), (0, 2), (0, 3), (2, 1), (2, 3)]);
    let apart = built("kind = \"ranked\"\nmin_gap = 0.5", &group());
    let pairs: Vec<_> = apart.pairs.iter().map(|pair| (pair.chosen, pair.rejected)).collect();
    // Right against wrong needs no margin.
    assert_eq!(pairs, [(0, 1), (0, 3), (2, 1), (2, 3)]);
    assert_eq!(apart.dropped, Dropped { ungraded: 1, below_gap: 1, ..Dropped::default() });
    // The best against the best of the others first, as the paper caps them: 1.0 against 0.9, then against 0.2.
    assert_eq!(indices("kind = \"ranked\"\nmatching = \"score\"\nper_example = 2"), [(0, 2), (0, 3)]);
}

#[test]
fn the_rows_own_completion_meets_those_that_come_to_another_answer() {
    let gold = Candidate { gold: true, ..candidate(0.0, Some(true), "g 5", &[]) };
    let mut all = vec![gold];
    all.extend(group());
    let found = built("kind = \"gold_counterfactual\"", &all);
    let pairs: Vec<_> = found.pairs.iter().map(|pair| (pair.chosen, pair.rejected)).collect();
    // Rollouts 1 and 3 are wrong; 0 and 2 came to the gold answer after all, 4 has no verdict.
    assert_eq!(pairs, [(0, 2), (0, 4)]);
    assert_eq!(found.dropped, Dropped { ungraded: 1, same_answer: 2, ..Dropped::default() });
    // A row without a completion of its own prefers nothing.
    let found = built("kind = \"gold_counterfactual\"", &group());
    assert_eq!((found.pairs.len(), found.dropped.none_good), (0, 1));
}

#[test]
fn siblings_part_at_a_fork() {
    // Root: 1 (0.75) and 2 (0.25). Below 1: leaves 3 and 4; below 2: leaves 5 and 6, worth 0.5 and 0.
    let path = |nodes: &[(usize, f64)], reward, tokens| TreePath { nodes: nodes.to_vec(), reward, tokens };
    let paths = [
        path(&[(1, 0.75), (3, 1.0)], 1.0, 4),
        path(&[(1, 0.75), (4, 0.5)], 0.5, 4),
        path(&[(2, 0.25), (5, 0.5)], 0.5, 4),
        path(&[(2, 0.25), (6, 0.0)], 0.0, 4),
    ];
    let tokens: [&[u32]; 4] = [&[1, 3], &[1, 4], &[2, 5], &[2, 6]];
    let group: Vec<_> = (0..4).map(|i| candidate(paths[i].reward, None, "", tokens[i])).collect();
    let built = |recipe: &str| {
        let pairs: Pairs = toml::from_str(&format!("kind = \"siblings\"\n{recipe}")).unwrap();
        assert_eq!(pairs.check(), []);
        pairs.of_tree(&group, &paths)
    };
    let indices = |built: &Built| built.pairs.iter().map(|p| (p.chosen, p.rejected)).collect::<Vec<_>>();
    // Three forks with a gap of 0.5 each, in the order of their nodes: at the root the best leaf of the better child
    // meets the worst of the other.
    let all = built("");
    assert_eq!(indices(&all), [(0, 3), (0, 1), (2, 3)]);
    assert_eq!(all.pairs[1], Pair { chosen: 0, rejected: 1, prefix: 1, gap: 0.5 });
    assert_eq!(indices(&built("per_rollout = 1")), [(0, 3)]);
    assert_eq!(built("min_gap = 0.6").dropped, Dropped { below_gap: 3, ..Dropped::default() });
    // Latest forks first.
    assert_eq!(indices(&built("matching = \"prefix\"")), [(0, 1), (2, 3), (0, 3)]);
    // Children that are worth the same say nothing.
    let level = [path(&[(1, 1.0)], 1.0, 1), path(&[(2, 1.0)], 1.0, 1)];
    let nothing = Pairs { kind: PairKind::Siblings, ..Pairs::default() }.of_tree(&group[..2], &level);
    assert_eq!(nothing.dropped, Dropped { none_bad: 1, ..Dropped::default() });
}

#[test]
fn what_gives_no_pairs_says_why() {
    let [right, wrong, open] = [Some(true), Some(false), None].map(|is| candidate(1.0, is, "t", &[1]));
    let dropped = |recipe: &str, group: &[Candidate]| built(recipe, group).dropped;
    assert_eq!(dropped("", &[right, right]), Dropped { none_bad: 1, ..Dropped::default() });
    assert_eq!(dropped("", &[wrong]), Dropped { none_good: 1, ..Dropped::default() });
    assert_eq!(dropped("", &[open, open]), Dropped { ungraded: 2, ..Dropped::default() });
    assert_eq!(dropped("", &[right, wrong]), Dropped { identical: 1, ..Dropped::default() });
    assert_eq!(
        dropped("kind = \"score_margin\"", &[right, wrong]),
        Dropped { none_bad: 1, ..Dropped::default() }
    );
    assert_eq!(built("", &[]), Built::default());
}

#[test]
fn the_first_error_meets_the_shortest_good_continuation() {
    let right = |tokens| candidate(1.0, Some(true), "", tokens);
    let wrong = candidate(0.0, Some(false), "", &[]);
    // Step 0 can still be recovered from (a right continuation in cut 1), step 1 cannot: cut 2 fails.
    let cuts: [&[Candidate]; 4] = [
        &[right(&[1])],
        &[right(&[1, 2, 3]), wrong, right(&[4, 5]), right(&[6, 7])],
        &[wrong, wrong],
        &[wrong],
    ];
    assert_eq!(first_error(&cuts), Ok(StepPair { step: 1, chosen: 2 }));
    // The first step is the pit: fresh attempts give the chosen one.
    assert_eq!(first_error(&[&[wrong, right(&[1])], &[wrong]]), Ok(StepPair { step: 0, chosen: 1 }));
    assert_eq!(first_error(&[&[wrong], &[wrong]]), Err(Unpaired::NoneGood));
    assert_eq!(first_error(&cuts[..2]), Err(Unpaired::Recoverable));
}

#[test]
fn the_section_is_checked() {
    let keys = |recipe: &str| {
        let found = toml::from_str::<Pairs>(recipe).unwrap().check();
        found.into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
    };
    assert_eq!(keys("kind = \"score_margin\"\nmin_gap = -1.0\nper_rollout = 0"), ["min_gap", "per_rollout"]);
    assert_eq!(keys("min_gap = 0.5"), ["min_gap"]);
    assert_eq!(keys("kind = \"ranked\"\nmin_gap = 0.5"), [""; 0]);
    assert_eq!(keys("chosen = 0\nrejected = 3"), ["chosen"]);
    assert_eq!(keys("kind = \"siblings\"\nchosen = 2\nrejected = 3"), ["chosen", "rejected"]);
}

#[test]
fn paths_to_the_human_mark_meet_those_that_miss_it() {
    // The last one has no votes, so it is no path and cannot be told.
    let shares = [Some(0.2), Some(0.1), Some(0.6), Some(0.3), None];
    let path = |(candidate, confidence)| Candidate { confidence, correct: Some(true), ..candidate };
    let mut group: Vec<Candidate> = group().into_iter().zip(shares).map(path).collect();
    (group[1].correct, group[3].correct) = (Some(false), Some(false));
    let pairs = |recipe: &str| {
        let found = built(recipe, &group);
        assert_eq!(found.dropped.ungraded, 1);
        found.pairs.iter().map(|pair| (pair.chosen, pair.rejected)).collect::<Vec<_>>()
    };
    assert_eq!(pairs("kind = \"path_label\""), [(0, 1), (0, 3), (2, 1), (2, 3)]);
    // Chosen by their votes, 0.6 before 0.2, each with the rejected by theirs, 0.3 before 0.1.
    assert_eq!(pairs("kind = \"path_label\"\nmatching = \"confidence\""), [(2, 3), (2, 1), (0, 3), (0, 1)]);
}
