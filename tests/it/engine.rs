//! What decoding promises: the same tokens as a full forward pass, the same tokens in any batch, and its ends.

use rationale::engine::{
    Completion, Decoder, Desk, Generated, Job, Request, Sampler, Sampling, StopReason, Stops, Token,
};
use rationale::model::attention::Packed;
use rationale::model::{Adapter, Config, Model};
use std::collections::HashSet;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const VOCAB: i64 = 29;

fn config(vocab: i64, hidden: i64, layers: usize) -> Config {
    Config {
        vocab_size: vocab as usize,
        hidden_size: hidden as usize,
        intermediate_size: 24,
        num_hidden_layers: layers,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
        max_position_embeddings: 64,
        tie_word_embeddings: false,
        initializer_range: 0.5,
        ..Config::default()
    }
}

fn new_model(config: Config, kind: Kind) -> Model {
    Model::init(config, kind, Device::Cpu, 1).expect("a valid shape")
}

/// A two-layer model of random weights, large enough that its distribution is neither flat nor a point.
fn random_model(kind: Kind) -> Model {
    new_model(config(VOCAB, 16, 2), kind)
}

/// A model without layers whose next token is drawn with these probabilities, whatever came before: states are
/// all ones, and ln p is spread over the columns of the head.
fn constant_model(probabilities: &[f32]) -> Model {
    let vocab = probabilities.len() as i64;
    let embedding = Tensor::ones([vocab, 4], (Kind::Float, Device::Cpu));
    let head = (Tensor::from_slice(probabilities).log() / 4.0).unsqueeze(1).repeat([1, 4]);
    Model { embedding, head: Some(head), ..new_model(config(vocab, 4, 0), Kind::Float) }
}

/// A model without layers that counts: after token i it is all but sure of i + 1.
fn counting_model(vocab: i64) -> Model {
    let embedding = Tensor::eye(vocab, (Kind::Float, Device::Cpu));
    let head = Some(embedding.roll([1i64], [0i64]) * 10.0);
    Model { embedding, head, ..new_model(config(vocab, vocab, 0), Kind::Float) }
}

fn request(prompt: &[u32], seeds: &[u64]) -> Request {
    Request { prompt: prompt.to_vec(), seeds: seeds.to_vec() }
}

fn decode(model: &Model, requests: &[Request], sampling: &Sampling, eos: &[u32], slots: usize) -> Generated {
    let words = |ids: &[u32]| ids.iter().map(|&id| char::from(b'a' + id as u8)).collect::<String>();
    let mut decoder = Decoder::new(model, Stops { eos, decode: Box::new(words) }, slots);
    decoder.generate(requests, sampling, &mut |_| {}).unwrap()
}

fn greedy(max_new_tokens: usize) -> Sampling {
    Sampling { temperature: 0.0, max_new_tokens, ..Sampling::default() }
}

/// Logits after every token of one sequence, by a plain pass over the whole of it.
fn full_logits(model: &Model, tokens: &[u32]) -> Tensor {
    let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    let mut packed = Packed::new(&[ids.len()], Device::Cpu);
    let positions = packed.positions();
    model.logits(&model.hidden(&Tensor::from_slice(&ids), &positions, &mut packed)).to_kind(Kind::Float)
}

fn prompts() -> Vec<Request> {
    vec![
        request(&[3], &[11, 12, 13, 14]),
        request(&[1, 2, 3, 4, 5, 6, 7], &[21, 22, 23]),
        request(&[20, 0, 20], &[31]),
        request(&[9; 18], &[41, 42]),
    ]
}

/// Decoding with a cache is the full forward pass, token by token: its greedy token is the argmax of that pass.
#[test]
fn greedy_tokens_are_the_argmax_of_a_full_pass() {
    let model = random_model(Kind::Float);
    let requests = prompts();
    let generated = decode(&model, &requests, &greedy(20), &[], 3);
    for (request, group) in requests.iter().zip(&generated.completions) {
        let mut sequence = request.prompt.clone();
        for _ in 0..20 {
            let logits = full_logits(&model, &sequence);
            sequence.push(logits.get(-1).argmax(-1, false).int64_value(&[]) as u32);
        }
        for completion in group {
            assert_eq!(completion.tokens, sequence[request.prompt.len()..]);
            assert_eq!(completion.stop, StopReason::Length);
        }
    }
}

fn largest_logprob_error(model: &Model, reference: &Model, sampling: &Sampling) -> f64 {
    let requests = prompts();
    let generated = decode(model, &requests, sampling, &[], 4);
    let mut worst = 0f64;
    for (request, completion) in
        requests.iter().zip(&generated.completions).flat_map(|(r, g)| g.iter().map(move |c| (r, c)))
    {
        let sequence = [request.prompt.clone(), completion.tokens.clone()].concat();
        let temperature = if sampling.temperature == 0.0 { 1.0 } else { sampling.temperature };
        let all = (full_logits(reference, &sequence) / temperature).log_softmax(-1, Kind::Float);
        for (index, (&token, &logprob)) in completion.tokens.iter().zip(&completion.logprobs).enumerate() {
            let at = [(request.prompt.len() + index) as i64 - 1, i64::from(token)];
            worst = worst.max((all.double_value(&at) - f64::from(logprob)).abs());
        }
    }
    worst
}

/// The recorded log-probabilities are those of a full pass at the sampling temperature, over the whole vocabulary even where
/// sampling was truncated and penalised.
#[test]
fn logprobs_are_those_of_a_full_pass() {
    let model = random_model(Kind::Float);
    let truncated = Sampling {
        max_new_tokens: 24,
        temperature: 0.7,
        top_k: 12,
        top_p: 0.9,
        repetition_penalty: 1.2,
        ..Sampling::default()
    };
    for sampling in [truncated, greedy(24), Sampling { max_new_tokens: 24, ..Sampling::default() }] {
        let worst = largest_logprob_error(&model, &model, &sampling);
        // Two summation orders of f32, which a CPU's kernels choose by where the memory lies: up to 2.6e-5 was seen of
        // log-probabilities of up to 16 nats, which are 1e-6 apart. What is wrong in a position or a cache moves them by 0.01 and more.
        assert!(worst < 1e-4, "{sampling:?}: off by {worst}");
    }
}

/// A bf16 model decodes the distribution that its weights and its adapter say, whichever format this CPU computes in: states
/// rounded to 8 bits move log-probabilities of this model by up to 0.14, an adapter left out by up to 5.7.
#[test]
fn sixteen_bit_weights_decode_their_own_distribution() {
    let sampling = Sampling { max_new_tokens: 24, ..Sampling::default() };
    let worst = largest_logprob_error(&adapted_bf16(), &rounded(), &sampling);
    assert!(worst < 0.6, "off by {worst}");
}

/// The random model in bf16, with an adapter as large as the weights on the first layer's query projection.
fn adapted_bf16() -> Model {
    adapted(random_model(Kind::BFloat16))
}

/// The bf16 model's weights in f32.
fn rounded() -> Model {
    adapted(random_model(Kind::BFloat16).copy(Kind::Float, Device::Cpu))
}

fn adapted(mut model: Model) -> Model {
    let kind = model.kind();
    let ones = |size: [i64; 2]| Tensor::ones(size, (kind, Device::Cpu));
    let linears = model.layers[0].linears_mut();
    let query = linears.into_iter().find(|linear| linear.name == "self_attn.q_proj").unwrap();
    query.adapter = Some(Adapter { a: ones([3, 16]), b: ones([32, 3]) * 0.25, scale: 0.5 });
    model
}

/// A sample's tokens hang on its seed and prompt alone: not on how many slots there are, nor on the order of the
/// requests, nor on which samples share a request.
#[test]
fn tokens_do_not_depend_on_the_batch() {
    let model = random_model(Kind::Float);
    let sampling = Sampling { max_new_tokens: 30, temperature: 1.3, ..Sampling::default() };
    let tokens = |requests: &[Request], slots| -> Vec<Vec<Vec<u32>>> {
        let generated = decode(&model, requests, &sampling, &[5, 6], slots);
        generated.completions.into_iter().map(|g| g.into_iter().map(|c| c.tokens).collect()).collect()
    };
    let requests = prompts();
    let expected = tokens(&requests, 1);
    let lengths: std::collections::BTreeSet<_> = expected.iter().flatten().map(Vec::len).collect();
    assert!(lengths.len() > 3, "completions end at different times, so that slots are reused: {lengths:?}");
    for slots in [3, 8] {
        assert_eq!(tokens(&requests, slots), expected, "{slots} slots");
    }
    let reversed: Vec<Request> = requests.iter().rev().cloned().collect();
    let mut found = tokens(&reversed, 3);
    found.reverse();
    assert_eq!(found, expected, "reversed order");
    let single: Vec<Request> =
        requests.iter().flat_map(|r| r.seeds.iter().map(|&seed| request(&r.prompt, &[seed]))).collect();
    assert_eq!(tokens(&single, 4).concat(), expected.concat(), "one request a sample");
}

/// 20,000 draws from (.4, .3, .15, .1, .05): Pearson's χ² with 4 degrees of freedom exceeds 18.5 once in a thousand times.
#[test]
fn samples_follow_the_distribution() {
    let probabilities = [0.4f32, 0.3, 0.15, 0.1, 0.05];
    let model = constant_model(&probabilities);
    let sampling = Sampling { max_new_tokens: 5, ..Sampling::default() };
    let generated = decode(&model, &[request(&[0], &(0..4000).collect::<Vec<_>>())], &sampling, &[], 1000);
    let mut counts = [0f64; 5];
    for &token in generated.completions[0].iter().flat_map(|c| &c.tokens) {
        counts[token as usize] += 1.0;
    }
    let expected = |p: f32| 20_000.0 * f64::from(p);
    let chi: f64 =
        counts.iter().zip(probabilities).map(|(n, p)| (n - expected(p)).powi(2) / expected(p)).sum();
    assert!(chi < 18.5, "χ² = {chi}, counts {counts:?}");
}

/// top_k = 2 leaves tokens 0 and 1 with .4 + .3 of the mass; their recorded log-probabilities stay ln .4 and ln .3.
#[test]
fn truncation_reports_the_mass_it_kept() {
    let model = constant_model(&[0.4, 0.3, 0.15, 0.1, 0.05]);
    let sampling = Sampling { max_new_tokens: 20, top_k: 2, ..Sampling::default() };
    let generated = decode(&model, &[request(&[0], &[1, 2, 3])], &sampling, &[], 2);
    assert!((generated.statistics.kept_mass - 0.7).abs() < 1e-5, "{}", generated.statistics.kept_mass);
    for completion in &generated.completions[0] {
        for (&token, &logprob) in completion.tokens.iter().zip(&completion.logprobs) {
            let expected = [0.4f32, 0.3].get(token as usize).expect("only the two most likely tokens").ln();
            assert!((logprob - expected).abs() < 1e-5);
        }
    }
}

/// With a penalty that no unseen token can lose to, greedy decoding from token 0 walks through the rest by likelihood.
#[test]
fn the_repetition_penalty_counts_prompt_and_completion() {
    let model = constant_model(&[0.4, 0.1, 0.3, 0.05, 0.15]);
    let sampling = Sampling { repetition_penalty: 1000.0, ..greedy(4) };
    let generated = decode(&model, &[request(&[0], &[0]), request(&[4, 2], &[0])], &sampling, &[], 2);
    assert_eq!(generated.completions[0][0].tokens, [2, 4, 1, 3]);
    // Of 0, 1, 3 the likeliest first; then all are seen, and ln .4 is still the largest of the penalised.
    assert_eq!(generated.completions[1][0].tokens, [0, 1, 3, 0]);
}

/// The model counts up from the prompt. Ids 12 and 9 both end a sequence: from 7 it ends at 9, from 10 at 12.
#[test]
fn every_end_id_ends_a_sequence() {
    let generated =
        decode(&counting_model(20), &[request(&[7], &[0]), request(&[10], &[0])], &greedy(50), &[12, 9], 2);
    let (first, second) = (&generated.completions[0][0], &generated.completions[1][0]);
    assert_eq!((&first.tokens[..], &first.stop), (&[8, 9][..], &StopReason::Eos(9)));
    assert_eq!((&second.tokens[..], &second.stop), (&[11, 12][..], &StopReason::Eos(12)));
}

/// Token i is written as the letter i: "def" is complete at token 5, and an end id after it is never reached.
#[test]
fn a_stop_string_ends_with_the_token_that_completes_it() {
    let sampling = Sampling { stop: vec!["zz".into(), "def".into()], ..greedy(50) };
    let generated = decode(&counting_model(20), &[request(&[0], &[0])], &sampling, &[7], 1);
    let completion = &generated.completions[0][0];
    assert_eq!(completion.tokens, [1, 2, 3, 4, 5]);
    assert_eq!(completion.logprobs.len(), 5);
    assert_eq!(completion.stop, StopReason::StopString("def".into()));
}

/// The context is 64: a prompt of 60 has room for 4 tokens, whatever max_new_tokens says.
#[test]
fn the_context_ends_a_sequence() {
    let generated = decode(&random_model(Kind::Float), &[request(&[1; 60], &[0])], &greedy(50), &[], 1);
    assert_eq!(generated.completions[0][0].tokens.len(), 4);
    assert_eq!(generated.completions[0][0].stop, StopReason::Length);
}

/// From 10, 14, 14, 14 the counting model reaches the end id 16 after 6, 2, 2, 2 tokens. The first comes with the
/// prompt, so the sequences need 5, 1, 1, 1 passes: in two slots 5 steps (6 if a freed slot waited for the batch to end), and 8 rows,
/// for the last two steps have one sequence only.
#[test]
fn a_freed_slot_is_taken_by_the_next_sample() {
    let requests = [request(&[10], &[0]), request(&[14], &[0, 1, 2])];
    let generated = decode(&counting_model(20), &requests, &greedy(50), &[16], 2);
    let lengths: Vec<usize> = generated.completions.iter().flatten().map(|c| c.tokens.len()).collect();
    assert_eq!(lengths, [6, 2, 2, 2]);
    assert_eq!((generated.statistics.steps, generated.statistics.rows), (5, 8));
    assert_eq!(generated.statistics.decoded_tokens, 12);
}

/// Ten samples of one prompt of 18 tokens on three slots compute 18 prompt tokens, and report every completion.
#[test]
fn a_prompt_is_computed_once_for_its_group() {
    let model = random_model(Kind::Float);
    let sampling = Sampling { max_new_tokens: 6, ..Sampling::default() };
    let mut last = None;
    let requests = [request(&[9; 18], &(0..10).collect::<Vec<_>>())];
    let mut decoder = Decoder::new(&model, Stops::at(&[5]), 3);
    let generated = decoder.generate(&requests, &sampling, &mut |p| last = Some(*p)).unwrap();
    assert_eq!(generated.statistics.prefill_tokens, 18);
    let last = last.unwrap();
    assert_eq!((last.finished, last.total, last.live), (10, 10, 0));
    assert_eq!(last.tokens, generated.completions[0].iter().map(|c| c.tokens.len()).sum::<usize>());
}

/// What cannot be decoded is refused with the request's index.
#[test]
fn requests_that_cannot_be_decoded_are_named() {
    let model = random_model(Kind::Float);
    let refused = |model: &Model, second: Request| {
        let mut decoder = Decoder::new(model, Stops::at(&[]), 2);
        let requests = [request(&[1], &[0]), second];
        decoder.generate(&requests, &greedy(4), &mut |_| {}).unwrap_err().to_string()
    };
    assert!(refused(&model, request(&[], &[0])).contains("request 1: the prompt is empty"));
    assert!(
        refused(&model, request(&[1; 64], &[0])).contains("request 1: the prompt's 64 tokens leave no room")
    );
    assert!(refused(&model, request(&[29], &[0])).contains("request 1: token 29 is outside"));
    // Token 2's embedding is not a number, so that only the second request's logits are not.
    let _ = tch::no_grad(|| model.embedding.get(2).fill_(f64::NAN));
    assert!(refused(&model, request(&[2], &[0])).contains("request 1: the logits of token 0 are not finite"));
}

/// No requests, or none with seeds, give no completions rather than an error.
#[test]
fn nothing_asked_is_nothing_decoded() {
    let model = random_model(Kind::Float);
    assert!(decode(&model, &[], &greedy(4), &[], 2).completions.is_empty());
    assert_eq!(decode(&model, &[request(&[1], &[])], &greedy(4), &[], 2).completions, [vec![]]);
}

/// The completions of two calls, the second of which goes on from where the first ended, how many prompts the second has and
/// how many prompt tokens it computed; with what the first left, or anew.
fn two_calls(model: &Model, sampling: &Sampling, kept: bool) -> (Vec<Completion>, usize, usize) {
    let mut decoder = Decoder::new(model, Stops::at(&[]), 3);
    decoder.keep_cache(kept);
    let first = prompts();
    let one = decoder.generate(&first, sampling, &mut |_| {}).unwrap();
    if kept {
        // The prompts, none of which begins with another, and of each completion all but its last token.
        let prompts: usize = first.iter().map(|request| request.prompt.len()).sum();
        let groups = one.completions.iter().enumerate();
        let distinct: HashSet<(usize, &[u32])> =
            groups.flat_map(|(i, group)| group.iter().map(move |c| (i, &c.tokens[..5]))).collect();
        assert_eq!(decoder.held(), prompts + 5 * distinct.len());
    }
    let go_on = |(request, group): (&Request, &Vec<Completion>)| {
        let path = |c: &Completion| [&request.prompt[..], &c.tokens].concat();
        group.iter().map(|c| Request { prompt: path(c), seeds: vec![7, 8] }).collect::<Vec<_>>()
    };
    let second: Vec<Request> = first.iter().zip(&one.completions).flat_map(go_on).collect();
    decoder.keep_cache(false);
    let two = decoder.generate(&second, sampling, &mut |_| {}).unwrap();
    assert_eq!(decoder.held(), 0, "nothing is held that nobody asks for");
    let distinct: HashSet<&[u32]> = second.iter().map(|request| &request.prompt[..]).collect();
    let all = one.completions.iter().chain(&two.completions).flatten().cloned();
    (all.collect(), distinct.len(), two.statistics.prefill_tokens)
}

/// A second call that goes on from the first computes one token of each prompt, the last, and says what it says anew.
#[test]
fn what_is_kept_changes_what_is_computed_and_nothing_else() {
    let model = random_model(Kind::Float);
    for sampling in [greedy(6), Sampling { max_new_tokens: 6, ..Sampling::default() }] {
        let (with, prompts, computed) = two_calls(&model, &sampling, true);
        let (without, _, anew) = two_calls(&model, &sampling, false);
        for (with, without) in with.iter().zip(&without) {
            assert_eq!(with.tokens, without.tokens);
            let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-4;
            assert!(with.logprobs.iter().zip(&without.logprobs).all(near));
        }
        assert_eq!(computed, prompts);
        assert!(anew > 4 * computed);
    }
}

/// Examples of 34 tokens before five questions are computed once, and each is answered as it is alone.
#[test]
fn what_all_prompts_begin_with_is_computed_once() {
    let model = random_model(Kind::Float);
    let examples: Vec<u32> = (0..34).map(|i| (i * i + 3) % 29).collect();
    let asked = |question: u32| request(&[&examples[..], &[question, question + 5]].concat(), &[1, 2]);
    let requests: Vec<Request> = (0..5).map(asked).collect();
    for sampling in [greedy(8), Sampling { max_new_tokens: 8, ..Sampling::default() }] {
        let together = decode(&model, &requests, &sampling, &[], 4);
        assert_eq!(together.statistics.prefill_tokens, 34 + 5 * 2);
        for (request, group) in requests.iter().zip(&together.completions) {
            let alone = decode(&model, std::slice::from_ref(request), &sampling, &[], 1);
            assert_eq!(alone.statistics.prefill_tokens, 36);
            let tokens = |group: &[Completion]| group.iter().map(|c| c.tokens.clone()).collect::<Vec<_>>();
            assert_eq!(tokens(group), tokens(&alone.completions[0]));
        }
    }
}

/// Gives each job once so many tokens were written, and wants one of them for so many tokens only.
struct Coming {
    jobs: Vec<(usize, Job)>,
    given: usize,
    written: usize,
    told: Vec<Vec<Vec<Token>>>,
    ended: Vec<Option<Vec<Completion>>>,
    given_up: Option<(usize, usize)>,
}

impl Coming {
    fn new(jobs: Vec<(usize, Job)>, given_up: Option<(usize, usize)>) -> Self {
        let told = jobs.iter().map(|(_, job)| vec![Vec::new(); job.request.seeds.len()]).collect();
        Self { ended: vec![None; jobs.len()], jobs, given: 0, written: 0, told, given_up }
    }
}

impl Desk for Coming {
    fn next(&mut self, idle: bool) -> Vec<Job> {
        let now = |(after, _): &&(usize, Job)| *after <= self.written || idle;
        let new: Vec<Job> =
            self.jobs[self.given..].iter().take_while(now).map(|(_, job)| job.clone()).collect();
        self.given += new.len();
        new
    }

    fn wants(&mut self, job: usize) -> bool {
        self.given_up.is_none_or(|(other, tokens)| other != job || self.told[job][0].len() < tokens)
    }

    fn token(&mut self, job: usize, sample: usize, token: Token) {
        self.written += 1;
        self.told[job][sample].push(token);
    }

    fn ended(&mut self, job: usize, completions: Vec<Completion>) {
        self.ended[job] = Some(completions);
    }
}

/// Jobs that come while others are decoded, each with settings of its own, are written as in calls of their own, token by
/// token, whether their prompts go on from those in flight or are the same; one that is given up is not heard of again, and
/// leaves its place to the others.
#[test]
fn jobs_join_and_leave_what_is_decoded() {
    let model = random_model(Kind::Float);
    let sampling = |change: &dyn Fn(&mut Sampling)| {
        let mut sampling = Sampling { max_new_tokens: 12, ..Sampling::default() };
        change(&mut sampling);
        Arc::new(sampling)
    };
    let drawn = sampling(&|_| {});
    let greedy = sampling(&|s| s.temperature = 0.0);
    let penalised = sampling(&|s| (s.repetition_penalty, s.temperature) = (1.8, 0.0));
    let cut = sampling(&|s| (s.top_k, s.temperature, s.max_new_tokens) = (4, 1.7, 20));
    let long = [3; 20];
    let longer = [&long[..], &[4; 9]].concat();
    let job = |after, prompt: &[u32], seeds: &[u64], sampling: &Arc<Sampling>, top| {
        (after, Job { request: request(prompt, seeds), sampling: sampling.clone(), top })
    };
    let jobs = vec![
        job(0, &long, &[1, 2], &cut, 0),
        job(3, &longer, &[3], &greedy, 3),
        job(5, &long, &[4], &drawn, 0),
        job(9, &[7, 8], &[5, 6, 7, 8], &penalised, 0),
        job(20, &longer, &[9], &cut, 2),
        job(60, &[1, 2, 3], &[10, 11], &drawn, 1),
    ];
    for (slots, given_up) in [(3, None), (16, None), (1, Some((0, 4))), (3, Some((1, 2))), (3, Some((3, 1)))]
    {
        let mut desk = Coming::new(jobs.clone(), given_up);
        // One that is to be given up must not end before.
        let eos: &[u32] = if given_up.is_none() { &[5] } else { &[] };
        let mut decoder = Decoder::new(&model, Stops::at(eos), slots);
        decoder.serve(&mut desk).unwrap();
        assert_eq!(decoder.held(), 0);
        for (number, (_, job)) in jobs.iter().enumerate() {
            if given_up.is_some_and(|(other, _)| other == number) {
                assert_eq!(desk.ended[number], None);
                continue;
            }
            let alone = decode(&model, std::slice::from_ref(&job.request), &job.sampling, eos, slots);
            let written = desk.ended[number].as_ref().unwrap_or_else(|| panic!("job {number} on {slots}"));
            for ((one, told), alone) in written.iter().zip(&desk.told[number]).zip(&alone.completions[0]) {
                assert_eq!((&one.tokens, &one.stop), (&alone.tokens, &alone.stop), "job {number} on {slots}");
                let ids: Vec<u32> = told.iter().map(|token| token.id).collect();
                let logprobs: Vec<f32> = told.iter().map(|token| token.logprob).collect();
                assert_eq!((&ids, &logprobs), (&one.tokens, &one.logprobs));
                for (token, alone) in told.iter().zip(&alone.logprobs) {
                    assert!((token.logprob - alone).abs() < 1e-4);
                    assert_eq!(token.top.len(), job.top);
                    let likeliest = token.top.first().is_none_or(|top| match job.sampling.temperature {
                        0.0 => *top == (token.id, token.logprob),
                        _ => top.1 >= token.logprob,
                    });
                    assert!(likeliest, "{token:?}");
                }
            }
        }
    }
}

/// A desk that goes on without the jobs that fail.
struct Lenient {
    jobs: Coming,
    failed: Vec<(usize, String)>,
    stopped: Vec<(usize, usize, usize)>,
}

impl Desk for Lenient {
    fn next(&mut self, idle: bool) -> Vec<Job> {
        self.jobs.next(idle)
    }

    fn token(&mut self, job: usize, sample: usize, token: Token) {
        self.jobs.token(job, sample, token);
    }

    fn stopped(&mut self, job: usize, sample: usize, _: &StopReason) {
        self.stopped.push((job, sample, self.jobs.told[job][sample].len()));
    }

    fn failed(&mut self, job: usize, error: rationale::Error) -> rationale::Result<()> {
        self.failed.push((job, error.to_string()));
        Ok(())
    }

    fn ended(&mut self, job: usize, completions: Vec<Completion>) {
        self.jobs.ended(job, completions);
    }
}

/// A job that cannot be decoded, and one whose logits are no numbers, end alone: the others are written as in calls of their own.
#[test]
fn a_job_that_fails_ends_no_other() {
    let model = random_model(Kind::Float);
    let _ = tch::no_grad(|| model.embedding.get(2).fill_(f64::NAN));
    let sampling = Arc::new(Sampling { max_new_tokens: 12, top_p: 0.9, ..Sampling::default() });
    let job = |after, prompt: &[u32], seeds: &[u64]| {
        (after, Job { request: request(prompt, seeds), sampling: sampling.clone(), top: 0 })
    };
    let jobs =
        vec![job(0, &[1], &[1, 2]), job(0, &[2], &[3, 4]), job(0, &[], &[5]), job(4, &[3], &[6, 7, 8])];
    for slots in [1, 2, 8] {
        let jobs_there = Coming::new(jobs.clone(), None);
        let mut desk = Lenient { jobs: jobs_there, failed: vec![], stopped: vec![] };
        // Token 2 ends a sequence, so that none is fed it.
        let mut decoder = Decoder::new(&model, Stops::at(&[2, 5]), slots);
        decoder.serve(&mut desk).unwrap();
        assert_eq!(decoder.held(), 0);
        desk.failed.sort();
        assert_eq!(desk.failed.iter().map(|(job, _)| *job).collect::<Vec<_>>(), [1, 2], "on {slots}");
        assert!(
            desk.failed[0].1.contains("request 1: the logits of token 0 are not finite"),
            "{:?}",
            desk.failed
        );
        assert!(desk.failed[1].1.contains("request 2: the prompt is empty"), "{:?}", desk.failed);
        assert_eq!((&desk.jobs.ended[1], &desk.jobs.ended[2]), (&None, &None));
        for number in [0, 3] {
            let alone =
                decode(&model, std::slice::from_ref(&jobs[number].1.request), &sampling, &[2, 5], slots);
            let written = desk.jobs.ended[number].as_ref().unwrap();
            for (sample, (one, alone)) in written.iter().zip(&alone.completions[0]).enumerate() {
                assert_eq!((&one.tokens, &one.stop), (&alone.tokens, &alone.stop), "job {number} on {slots}");
                // It is told of with its last token, whatever is left of its job.
                assert!(desk.stopped.contains(&(number, sample, one.tokens.len())), "{:?}", desk.stopped);
            }
        }
        assert_eq!(desk.stopped.len(), 5);
    }
}

/// What goes wrong in the middle of a sequence leaves nothing in its slot for the one that comes next.
#[test]
fn a_slot_of_a_failed_job_is_clean() {
    // A sequence that writes token 2 reads what is no number with its next.
    let model = random_model(Kind::Float);
    let _ = tch::no_grad(|| model.embedding.get(2).fill_(f64::NAN));
    let sampling = Arc::new(Sampling { max_new_tokens: 20, ..Sampling::default() });
    let job = |seed: u64| (0, Job { request: request(&[3], &[seed]), sampling: sampling.clone(), top: 0 });
    let jobs: Vec<(usize, Job)> = (0..32).map(job).collect();
    let mut desk = Lenient { jobs: Coming::new(jobs.clone(), None), failed: vec![], stopped: vec![] };
    Decoder::new(&model, Stops::at(&[]), 2).serve(&mut desk).unwrap();
    for (number, (_, job)) in jobs.iter().enumerate() {
        let mut decoder = Decoder::new(&model, Stops::at(&[]), 1);
        let alone = decoder.generate(std::slice::from_ref(&job.request), &sampling, &mut |_| {});
        let written = desk.jobs.ended[number].as_ref().map(|all| &all[0].tokens);
        let alone = alone.ok().map(|alone| alone.completions[0][0].tokens.clone());
        assert_eq!(written, alone.as_ref(), "job {number}");
        assert_eq!(desk.failed.iter().any(|(failed, _)| *failed == number), alone.is_none());
    }
    let halfway = desk.failed.iter().filter(|(_, why)| !why.contains("token 0 "));
    assert!(halfway.count() > 0 && desk.failed.len() < jobs.len(), "{:?}", desk.failed);
}
