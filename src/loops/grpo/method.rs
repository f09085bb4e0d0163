//! GRPO at work: a step's groups become items, and items a loss.

use super::*;
use crate::advantage::Scale;
use crate::advantage::steps::Form;
use crate::data::Example;
use crate::section::Idle;

impl Section for Grpo {
    fn check(&self) -> Vec<Misfit> {
        Grpo::check(self)
    }

    fn needs(&self, _: &StageView) -> Needs {
        Needs {
            trains: true,
            rows: true,
            rollouts: true,
            own_samples: true,
            leaves_given: true,
            rewards: true,
            reference: self.needs_reference().then(|| ReferenceKind::of(&self.reference)),
            // The value head is no part of what is divided among ranks.
            undivided: self.critic.is_some(),
            selects: Selects::Rollouts,
            ..Needs::default()
        }
    }

    fn idle(&self) -> Vec<Idle> {
        let mut idle = Vec::new();
        if !self.needs_reference() {
            let why = "with kl.coefficient = 0";
            idle.extend([("kl.estimator", why), ("kl.place", why), ("reference", why)]);
        } else if self.kl.place == KlPlace::Reward
            && self.zero_variance != ZeroVariance::Keep
            && self.critic.is_none()
        {
            idle.push(("zero_variance", "with kl.place = \"reward\", by which rewards of a group differ"));
        }
        if self.critic.is_some() {
            let why = "with loop.grpo.critic, whose values are what rewards are held against";
            let keys = [
                "advantage",
                "zero_variance",
                "resample_limit",
                "steps.baseline",
                "steps.mask_separators",
                "step_rewards.credit",
            ];
            idle.extend(keys.map(|key| (key, why)));
        }
        if self.reference.every == 0 {
            idle.push(("reference.mix", "without reference.every"));
        }
        if self.zero_variance != ZeroVariance::Resample {
            idle.push(("resample_limit", "without zero_variance = \"resample\""));
        }
        if self.advantage.scale == Scale::None && self.advantage.whiten == Whiten::None {
            idle.push(("advantage.epsilon", "without advantage.scale and advantage.whiten"));
        }
        if let Some(steps) = &self.steps {
            let of_form = [
                ("steps.temperature", "without steps.form = \"min\"", steps.form == Form::Min),
                (
                    "steps.threshold",
                    "without steps.form = \"clip\" or \"clip_delta\"",
                    matches!(steps.form, Form::Clip | Form::ClipDelta),
                ),
                ("steps.best_of", "without steps.form = \"progress\"", steps.form == Form::Progress),
            ];
            idle.extend(of_form.iter().filter(|(.., read)| !read).map(|(key, why, _)| (*key, *why)));
        }
        if self.curriculum.as_ref().is_some_and(|curriculum| curriculum.pass_rate.is_none()) {
            let why = "without curriculum.pass_rate";
            idle.extend([("curriculum.window", why), ("curriculum.outside", why)]);
        }
        idle
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let steps = self.steps.as_ref().filter(|steps| !stage.rewards.contains(&steps.reward.as_str()));
        let of_group = self.advantage.baseline != Baseline::None && self.advantage.compare_by.is_none();
        let compares = of_group && self.critic.is_none();
        let resamples = self.zero_variance == ZeroVariance::Resample && self.critic.is_none();
        let all = [
            steps.map(|steps| {
                Misfit::new(
                    "loop.grpo.steps",
                    format!("there is no [reward.{}] that scores steps", steps.reward),
                    "add [reward.process] with its model, and weight = 0 to keep its value out of the outcome",
                )
            }),
            stage.rollout.size.is_none().then(|| {
                Misfit::new(
                    "loop.grpo",
                    "it learns from the policy's own samples, and [rollout.dataset] reads others'",
                    "use [rollout.group]",
                )
            }),
            (stage.rollout.size == Some(1) && compares).then(|| {
                Misfit::new(
                    "rollout.group.size",
                    "a group of one has no baseline to be compared with",
                    "use at least 2, loop.grpo.advantage.baseline = \"none\", or [loop.grpo.critic]",
                )
            }),
            (self.step_rewards.is_some() && !stage.rollout.values_steps).then(|| {
                Misfit::new(
                    "loop.grpo.step_rewards",
                    "nothing says what the steps are worth",
                    "use [rollout.prefix], which continues completions from cuts between their steps",
                )
            }),
            (resamples && self.resample_limit == 0).then(|| {
                Misfit::new(
                    "loop.grpo.resample_limit",
                    "resampling zero-variance groups at most 0 times does nothing",
                    "give at least 1, or zero_variance = \"drop\"",
                )
            }),
            (stage.policy.sampling.temperature == 0.0).then(|| {
                Misfit::new(
                    "policy.sampling.temperature",
                    "greedy samples of one prompt are all the same, so a group teaches nothing",
                    "use a positive temperature, such as 1.0",
                )
            }),
        ];
        all.into_iter().flatten().collect()
    }

    fn columns(&self) -> Vec<(String, String)> {
        let compared = self.advantage.compare_by.iter().map(|column| ("advantage.compare_by", column));
        let pools = self.curriculum.iter().filter_map(|curriculum| curriculum.column.as_ref());
        let named = compared.chain(pools.map(|column| ("curriculum.column", column)));
        named.map(|(key, column)| (key.to_owned(), column.clone())).collect()
    }

    fn check_rows(&self, rows: &[&Example], whole: bool) -> Vec<Misfit> {
        self.lacking(rows, whole)
    }

    fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
        self.warn();
        Ok(Box::new(GrpoMethod { grpo: self.clone(), recent: Recent::default(), warms_up: false }))
    }
}

impl Method for GrpoMethod {
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        self.grpo.critic.iter().for_each(|critic| critic.attach(&mut worker.policy));
        Ok(None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let ranks = worker.ranks.clone();
        let (sampled, dropped, noted, seen) = agreed(&*ranks, self.groups(worker, step, metrics))?;
        worker.alarms.watch(seen, worker.rewards.weights(), step, &*ranks, metrics)?;
        self.share_notes(&*ranks, noted)?;
        let draws = worker.source.section().traits().size.unwrap_or(1);
        let (groups, places): (Vec<Group>, Vec<Vec<usize>>) =
            sampled.iter().map(|group| drawn(group, draws)).unzip();
        let temperature = worker.sampling.scoring_temperature();
        let references = self.grpo.references(worker, &groups, temperature)?;
        let outcomes = self.grpo.outcomes(&groups, &references, &weights(worker));
        self.warms_up = self.grpo.critic.as_ref().is_some_and(|critic| critic.warms_up(step));
        let credited = match &self.grpo.critic {
            Some(critic) => Some(self.grpo.credited(
                critic,
                worker,
                &groups,
                (&outcomes[..], &references[..]),
                metrics,
            )?),
            None => None,
        };
        let advantages: Vec<Vec<f64>> = match &credited {
            Some(all) => all.iter().map(|group| group.iter().map(Credited::mean).collect()).collect(),
            None => self.grpo.advantages(worker, &groups, &outcomes)?,
        };
        let by_tokens: Option<Vec<Vec<Vec<f32>>>> = match &credited {
            Some(all) => {
                Some(all.iter().map(|group| group.iter().map(Credited::by_token).collect()).collect())
            }
            None => self.grpo.by_tokens(worker, &groups, &advantages, metrics)?,
        };
        let mut references = references.into_iter();
        let numbers = numbers(&sampled, &*worker.ranks)?;
        let (mut items, mut dealt) = (Vec::new(), Vec::new());
        let mut credits = Vec::with_capacity(groups.len());
        let mut of_tokens = Vec::with_capacity(groups.len());
        for (number, (group, advantages)) in groups.iter().zip(advantages).enumerate() {
            let of_group = credited.as_ref().map(|all| &all[number]);
            let by_token = by_tokens.as_ref().map(|all| &all[number]);
            let kept = selected(&worker.select, &sampled[number], metrics);
            for (i, (rollout, reference)) in group.rollouts.iter().zip(references.by_ref()).enumerate() {
                let cut_off = self.grpo.truncated == Truncated::Mask && rollout.truncated();
                let alike = || vec![advantages[i] as f32; rollout.sampled()];
                let item = Item::of(vec![rollout.sequence(&group.prompt)])
                    .with_tokens(OLD_LOGPROBS, rollout.logprobs.clone())
                    .with_tokens(ADVANTAGES, by_token.map_or_else(alike, |all| all[i].clone()));
                let item = match reference {
                    Some(reference) => item.with_tokens(REF_LOGPROBS, reference),
                    None => item,
                };
                items.push(match of_group {
                    Some(of_group) => of_group[i].on(item),
                    None => item,
                });
                let masked = cut_off || !kept.contains(&places[number][i]);
                dealt.push(Dealt { group: numbers[number], masked });
            }
            let first_of = |at: usize| places[number].iter().position(|place| *place == at);
            let all = 0..sampled[number].rollouts.len();
            let credit = all.clone().map(|at| kept.contains(&at).then_some(advantages[first_of(at)?]));
            credits.push(credit.collect());
            let tokens = |at| Some(by_token?[first_of(at)?].clone());
            let differ = |of: &Vec<f32>| of.windows(2).any(|pair| pair[0] != pair[1]);
            of_tokens.push(all.map(|at| tokens(at).filter(differ).unwrap_or_default()).collect());
        }
        let sampled_tokens = items.iter().map(Item::learned).sum();
        let seed = seed::derive(&[worker.seed, step as u64]);
        let longest = worker.sampling.max_new_tokens;
        let updates = self.grpo.updates(&items, &dealt, longest, seed, &*worker.ranks)?;
        let groups = sampled.into_iter().zip(credits).collect();
        Ok(Batch {
            items,
            updates,
            groups,
            dropped,
            by_token: of_tokens,
            sampled_tokens,
            temperature,
            ..Batch::default()
        })
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let (logprobs, entropy) = (&output.scored.logprobs, &output.scored.entropy);
        let (grpo, device) = (&self.grpo, logprobs.device());
        let lengths = lengths(items);
        let spread = |per_item: Vec<f64>| {
            let values = per_item.iter().zip(&lengths).flat_map(|(&v, &n)| std::iter::repeat_n(v as f32, n));
            Tensor::from_slice(&values.collect::<Vec<f32>>()).to_device(device)
        };
        let column = |name| stacked(items, name, device).expect("every rollout has it");
        let (old_logprobs, advantages) = (column(OLD_LOGPROBS), column(ADVANTAGES));
        let weights = spread(grpo.loss.weights(&lengths));
        let tokens = PolicyTokens {
            logprobs,
            old_logprobs: &old_logprobs,
            advantages: &advantages,
            weights: &weights,
            lengths: &lengths,
        };
        let terms = grpo.loss.sum(&tokens);
        let count = lengths.iter().sum::<usize>() as f64;
        terms.report(|name, mean, count| metrics.add(name, mean, count));
        if terms.clips.count > 0.0 {
            metrics.min("clip_ratio/low_min", terms.clips.low_min);
            metrics.max("clip_ratio/high_max", terms.clips.high_max);
            metrics.max("ratio/max", terms.clips.ratio_max);
        }
        metrics.add("entropy", entropy.mean(tch::Kind::Float).double_value(&[]), count);
        let difference = (logprobs.detach() - &old_logprobs).abs();
        metrics.add(
            "sampling/sampling_logp_difference/mean",
            difference.mean(tch::Kind::Float).double_value(&[]),
            count,
        );
        metrics.max("sampling/sampling_logp_difference/max", difference.max().double_value(&[]));

        let mut loss = terms.loss;
        if let Some(reference) = stacked(items, REF_LOGPROBS, device) {
            let kl = grpo.kl.estimator.tokens(logprobs, &reference);
            metrics.add("kl", kl.mean(tch::Kind::Float).double_value(&[]), count);
            if grpo.kl.place == KlPlace::Loss {
                loss += (kl * &weights).sum(tch::Kind::Float) * grpo.kl.coefficient;
            }
        }
        if grpo.entropy_coefficient != 0.0 {
            let scale = PolicyLoss::entropy_scale(output.weight, output.tokens);
            loss -= entropy.sum(tch::Kind::Float) * (grpo.entropy_coefficient * scale);
        }
        let Some(critic) = &grpo.critic else { return Ok(loss) };
        let of_critic = critic.loss(items, output, self.warms_up, metrics)?;
        Ok(if self.warms_up { of_critic } else { loss + of_critic })
    }

    fn state_dict(&self) -> Value {
        match &self.grpo.curriculum {
            Some(_) => json!({ "recent": self.recent }),
            None => Value::Null,
        }
    }

    fn load_state_dict(
        &mut self,
        _: &mut Worker,
        state: &Value,
        _: &mut dyn FnMut() -> Result<Vec<Trace>>,
    ) -> Result<()> {
        self.restore(state)
    }

    fn after(&mut self, worker: &mut Worker, step: usize, _: &Metrics) -> Result<bool> {
        worker.refresh_reference(&self.grpo.reference, step);
        Ok(false)
    }
}
