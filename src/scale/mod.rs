//! `train scale`: what models take and do on clusters, on paper: bytes a GPU, bytes sent, seconds of computing and of sampling.
//!
//! Nothing is measured. The formulas stand with their sources in `layout`; their memory terms are those of `--dry-run`.

mod layout;
mod shapes;

pub use crate::devices::Shard;
pub use layout::{Layout, Paper};
pub use shapes::{MODELS, qwen3_600m};

use crate::error::{Error, Result};
use crate::log::terminal::tell;
use std::fmt::Write;

/// A cluster: what a GPU has of everything. The defaults are H200s (141 GB) in nodes of eight, with a 400 Gb/s adapter each.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Cluster {
    /// Numbers of GPUs, with commas between.
    #[arg(long, value_delimiter = ',', default_values_t = [8, 16, 64, 256, 1024])]
    pub gpus: Vec<usize>,
    /// GPUs of a node.
    #[arg(long, default_value_t = 8)]
    pub gpus_per_node: usize,
    /// Bytes of memory.
    #[arg(long, default_value_t = 141e9)]
    pub memory: f64,
    /// Bytes a second from memory.
    #[arg(long, default_value_t = 4.8e12)]
    pub memory_bandwidth: f64,
    /// Dense bf16 operations a second.
    #[arg(long, default_value_t = 989e12)]
    pub flops: f64,
    /// The share of the last two that is reached.
    #[arg(long, default_value_t = 0.4)]
    pub utilisation: f64,
    /// Bytes a second to other GPUs of the node.
    #[arg(long, default_value_t = 400e9)]
    pub links: f64,
    /// Bytes a second to other nodes.
    #[arg(long, default_value_t = 50e9)]
    pub network: f64,
    /// Seconds of a small sum over GPUs of a node.
    #[arg(long, default_value_t = 1e-5)]
    pub latency: f64,
}

/// A step of reinforcement learning: what is sampled, and learned at once.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct Work {
    /// Sequences of a step.
    #[arg(long, default_value_t = 1024)]
    pub sequences: usize,
    /// Tokens of a prompt.
    #[arg(long, default_value_t = 512)]
    pub prompt: usize,
    /// Tokens of a completion.
    #[arg(long, default_value_t = 2048)]
    pub completion: usize,
    /// Sequences that are sampled at once by one copy of the weights, at most.
    #[arg(long, default_value_t = 128)]
    pub slots: usize,
    /// Tokens that are learned from at once.
    #[arg(long, default_value_t = 16_384)]
    pub tokens_per_microbatch: usize,
}

/// What models take and do on clusters, on paper: bytes a GPU, bytes sent, seconds of computing and of sampling.
#[derive(Debug, Clone, PartialEq, clap::Parser)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    work: Work,
    /// Every layout, not the fastest that fits alone.
    #[arg(long)]
    all: bool,
}

const EXAMPLES: &str = "Examples:
  train scale
  train scale --gpus 32 --memory 80e9 --memory-bandwidth 3.35e12
  train scale --gpus 64 --completion 8192 --all";

impl Default for Cluster {
    fn default() -> Self {
        Self {
            gpus: vec![8, 16, 64, 256, 1024],
            gpus_per_node: 8,
            memory: 141e9,
            memory_bandwidth: 4.8e12,
            flops: 989e12,
            utilisation: 0.4,
            links: 400e9,
            network: 50e9,
            latency: 1e-5,
        }
    }
}

impl Default for Work {
    fn default() -> Self {
        Self { sequences: 1024, prompt: 512, completion: 2048, slots: 128, tokens_per_microbatch: 16_384 }
    }
}

impl Work {
    fn length(&self) -> usize {
        self.prompt + self.completion
    }

    fn tokens(&self) -> f64 {
        (self.sequences * self.length()) as f64
    }
}

impl Paper {
    /// The most bytes at any time.
    pub fn peak(&self) -> f64 {
        self.learning.max(self.sampling)
    }

    /// Seconds of a step, where sending hides behind computing as far as it goes.
    pub fn step(&self) -> f64 {
        let [sampling, computing, sending] = self.seconds;
        sampling + computing.max(sending)
    }
}

/// Prints the table.
///
/// # Errors
/// A cluster or a step of nothing.
pub fn run(options: &Options) -> Result<()> {
    let Options { cluster, work, all } = options;
    let counts =
        [&cluster.gpus_per_node, &work.sequences, &work.completion, &work.slots, &work.tokens_per_microbatch];
    let sizes = [
        cluster.memory,
        cluster.memory_bandwidth,
        cluster.flops,
        cluster.utilisation,
        cluster.links,
        cluster.network,
    ];
    if counts.into_iter().chain(&cluster.gpus).any(|&n| n == 0)
        || sizes.iter().any(|&x| !(x > 0.0 && x.is_finite()))
    {
        return Err(Error::Recipe("scale: every number but --prompt must be larger than 0".into()));
    }
    tell(&table(cluster, work, *all)).map_err(Error::io("standard output"))
}

/// A row a layout, as Markdown.
fn table(cluster: &Cluster, work: &Work, all: bool) -> String {
    let mut out = String::from(
        "| model | GPUs | shard | replicas | tensor | state GB | learning GB | sampling GB | sent GB | sampling s | computing s | sending s | step s |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for (name, shape) in MODELS {
        let shape = shape();
        for &gpus in &cluster.gpus {
            let rows = layouts(gpus, cluster);
            let mut rows: Vec<(Layout, Paper)> =
                rows.into_iter().map(|layout| (layout, layout.on_paper(&shape, cluster, work))).collect();
            if !all {
                rows.retain(|(_, paper)| paper.peak() <= cluster.memory);
                rows.sort_by(|(_, a), (_, b)| a.step().total_cmp(&b.step()));
                rows.truncate(1);
            }
            if rows.is_empty() {
                let _ = writeln!(out, "| {name} | {gpus} | does not fit |{}", " |".repeat(10));
            }
            rows.iter().for_each(|(layout, paper)| out += &row(name, layout, paper, cluster));
        }
    }
    out
}

fn row(name: &str, layout: &Layout, paper: &Paper, cluster: &Cluster) -> String {
    let shard = layout.shard.name();
    let over = |bytes: f64| if bytes > cluster.memory { " (over)" } else { "" };
    let [sampling, computing, sending] = paper.seconds;
    format!(
        "| {name} | {} | {shard} | {} | {} | {:.1} | {:.1}{} | {:.1}{} | {:.1} | {sampling:.1} | {computing:.2} | {sending:.2} | {:.1} |\n",
        layout.gpus,
        layout.replicas,
        layout.tensor,
        paper.state / 1e9,
        paper.learning / 1e9,
        over(paper.learning),
        paper.sampling / 1e9,
        over(paper.sampling),
        paper.sent / 1e9,
        paper.step()
    )
}

/// Each way to cut: over all GPUs or inside a node, whole matrices or four and eight parts of them.
fn layouts(gpus: usize, cluster: &Cluster) -> Vec<Layout> {
    let mut all = Vec::new();
    let nodes = gpus / cluster.gpus_per_node;
    for tensor in [1, 4, 8] {
        if tensor > cluster.gpus_per_node || !gpus.is_multiple_of(tensor) {
            continue;
        }
        all.push(Layout { gpus, shard: Shard::None, replicas: 1, tensor });
        for shard in [Shard::Optimizer, Shard::Parameters] {
            all.push(Layout { gpus, shard, replicas: 1, tensor });
            let cut = nodes > 1 && gpus.is_multiple_of(nodes * tensor) && gpus > nodes * tensor;
            all.extend(cut.then_some(Layout { gpus, shard, replicas: nodes, tensor }));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[test]
    fn what_the_command_line_says_by_default_is_the_default() {
        let options = Options::parse_from(["scale"]);
        assert_eq!(
            (options.cluster, options.work, options.all),
            (Cluster::default(), Work::default(), false)
        );
    }

    /// docs/scale.md shows what the program prints.
    #[test]
    fn the_page_has_the_table() {
        let page = include_str!("../../docs/scale.md");
        let table = table(&Cluster::default(), &Work::default(), false);
        assert!(page.contains(&table), "docs/scale.md is not what `train scale` prints:\n{table}");
    }

    #[test]
    fn a_row_that_does_not_fit_is_left_out_or_marked() {
        let small = Cluster { gpus: vec![8], memory: 80e9, ..Cluster::default() };
        let [fitting, every] = [false, true].map(|all| table(&small, &Work::default(), all));
        assert!(fitting.contains("| 70B | 8 | does not fit |") && every.matches("(over)").count() > 5);
        let error =
            run(&Options { cluster: Cluster { gpus: vec![0], ..small }, work: Work::default(), all: true });
        assert_eq!(error.unwrap_err().exit_code(), 2);
    }
}
