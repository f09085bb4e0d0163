//! A parameter in training: its master weight, its gradient so far and what its rule remembers of earlier ones.

use super::blockwise::{BLOCK, Quantised};
use super::share::Share;
use crate::Result;
use crate::checkpoint::part_name;
use crate::model::drop_grad;
use tch::{Kind, Tensor};

/// A parameter and all that is remembered of it.
#[derive(Debug)]
pub(super) struct Slot {
    pub name: String,
    pub parameter: Tensor,
    /// Its shape.
    pub size: Vec<i64>,
    pub part: Part,
    /// Of the share; the parameter's own memory where that is f32 already.
    pub master: Tensor,
    pub memory: Memory,
    /// The step's gradient so far, f32.
    gradient: Option<Tensor>,
}

/// What of a parameter's elements is updated here.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// So much of the parameter, which is whole.
    Of(Share),
    /// `parameter` is a slice of it that begins with this element, whose gradient is the sum over ranks.
    From(i64),
}

/// By which rule a parameter moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    AdamW,
    AdamW8,
    Muon,
}

/// What a rule remembers of a parameter's share: in f32, or in bytes.
#[derive(Debug)]
pub(super) enum Memory {
    /// The running means of the gradient and of its square.
    AdamW { average: Tensor, square: Tensor },
    /// The same in bytes.
    AdamW8 { average: Quantised, square: Quantised },
    /// The running mean of the gradient.
    Muon { momentum: Tensor },
}

/// A tensor of the state that is kept, as the whole parameter has it.
pub(super) struct Kept {
    pub name: String,
    /// What is here of it.
    pub tensor: Tensor,
    /// The shape of all of it.
    pub size: Vec<i64>,
    /// Where the part begins that is here; none where that is all.
    pub start: Option<i64>,
}

impl Kept {
    /// The name under which the part is stored.
    pub fn stored_name(&self) -> String {
        self.start.map_or(self.name.clone(), |start| part_name(&self.name, start))
    }
}

impl Memory {
    fn of(rule: Rule, master: &Tensor) -> Self {
        match rule {
            Rule::AdamW => Self::AdamW { average: master.zeros_like(), square: master.zeros_like() },
            Rule::AdamW8 => {
                Self::AdamW8 { average: Quantised::zeros(master), square: Quantised::zeros(master) }
            }
            Rule::Muon => Self::Muon { momentum: master.zeros_like() },
        }
    }

    /// Its tensors, by what PyTorch's optimisers call them, and how many of the parameter's elements stand behind one of theirs.
    fn tensors(&self) -> Vec<(&'static str, &Tensor, i64)> {
        match self {
            Self::AdamW { average, square } => vec![("exp_avg", average, 1), ("exp_avg_sq", square, 1)],
            Self::AdamW8 { average, square } => vec![
                ("exp_avg", &average.codes, 1),
                ("exp_avg.absmax", &average.absmax, BLOCK),
                ("exp_avg_sq", &square.codes, 1),
                ("exp_avg_sq.absmax", &square.absmax, BLOCK),
            ],
            Self::Muon { momentum } => vec![("momentum_buffer", momentum, 1)],
        }
    }
}

impl Slot {
    pub fn new(name: String, parameter: Tensor, size: Vec<i64>, part: Part, rule: Rule) -> Self {
        let own = match part {
            Part::Of(share) => share.slice(&parameter.detach()),
            Part::From(_) => parameter.detach(),
        };
        let master = own.to_kind(Kind::Float);
        let memory = Memory::of(rule, &master);
        Self { name, parameter, size, part, master, memory, gradient: None }
    }

    /// Whether the parameter is here as a whole, and so is its gradient.
    pub fn is_whole(&self) -> bool {
        matches!(self.part, Part::Of(_))
    }

    /// Where the part begins that is updated here; none where it is all.
    pub fn start(&self) -> Option<i64> {
        match self.part {
            Part::Of(share) if share.is_whole() => None,
            Part::Of(share) => Some(share.part(self.parameter.numel() as i64).0),
            Part::From(start) => Some(start),
        }
    }

    /// The part of what is as large as the parameter that is here.
    pub fn own(&self, tensor: &Tensor) -> Tensor {
        match self.part {
            Part::Of(share) => share.slice(tensor),
            Part::From(_) => tensor.shallow_clone(),
        }
    }

    /// This part of a flat tensor of zeros that is as large as all of the parameter.
    pub fn among_zeros(&self, own: &Tensor) -> Result<Tensor> {
        let whole = own.f_new_zeros([self.size.iter().product::<i64>()], (own.kind(), own.device()))?;
        let (start, len) = (self.start().unwrap_or(0), own.numel() as i64);
        whole.f_narrow(0, start, len)?.f_copy_(&own.f_reshape([-1])?)?;
        Ok(whole)
    }

    /// The part of `whole`, which has the parameter's shape, that is updated here, in the master's.
    pub fn part_of_whole(&self, whole: &Tensor) -> Result<Tensor> {
        let (start, size) = (self.start().unwrap_or(0), self.master.size());
        Ok(whole.f_reshape([-1])?.f_narrow(0, start, self.master.numel() as i64)?.f_reshape(size)?)
    }

    pub fn has_master(&self) -> bool {
        self.parameter.kind() != Kind::Float
    }

    /// Norms and biases do not, as in transformers' and TRL's trainers.
    pub fn decays(&self) -> bool {
        self.size.len() >= 2
    }

    pub fn accumulate(&mut self) -> Result<()> {
        let fresh = self.parameter.grad();
        if !fresh.defined() {
            return Ok(());
        }
        match &mut self.gradient {
            Some(sum) => {
                let _ = sum.g_add_(&fresh);
            }
            None => self.gradient = Some(fresh.detach().to_kind(Kind::Float)),
        }
        drop_grad(&self.parameter)
    }

    pub fn gradient(&mut self) -> Tensor {
        let zeros = || self.parameter.detach().zeros_like().to_kind(Kind::Float);
        self.gradient.get_or_insert_with(zeros).shallow_clone()
    }

    /// The gradient of what is updated here.
    pub fn own_gradient(&mut self) -> Tensor {
        let gradient = self.gradient();
        self.own(&gradient)
    }

    pub fn forget_gradient(&mut self) -> Result<()> {
        self.gradient = None;
        drop_grad(&self.parameter)
    }

    pub fn state(&self) -> Vec<Kept> {
        let n = self.size.iter().product::<i64>();
        let kept = |what: &str, tensor: &Tensor, each: i64| Kept {
            name: format!("{}.{what}", self.name),
            tensor: tensor.shallow_clone(),
            size: if each == 1 { self.size.clone() } else { vec![(n + each - 1) / each] },
            start: self.start().map(|start| (start + each - 1) / each),
        };
        let mut parts: Vec<Kept> =
            self.memory.tensors().into_iter().map(|(what, t, n)| kept(what, t, n)).collect();
        parts.extend(self.has_master().then(|| kept("master", &self.master, 1)));
        parts
    }
}
