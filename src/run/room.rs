//! Whether a stage has room in this machine's memory, and what would have: in words.

use super::beside::{Beside, On};
use super::footprint::{Footprint, Setting, apart, kind, sum};
use super::plan::{count, size};
use crate::devices::{Shard, machine, name_of};
use crate::model::Config;
use crate::model::memory::Division;
use crate::recipe::Stage;
use tch::{Device, Kind};

/// The most ranks of a layout that is proposed.
const MOST: usize = 1024;

/// The phases in words, and where this machine has less, what would do.
pub(super) fn words(stage: &Stage, shape: &Config, beside: &[Beside], ranks: usize) -> Vec<String> {
    let planned = planned(stage, shape, beside, ranks);
    let Planned { footprint, apart, setting } = &planned;
    let format = if kind(stage, &setting.devices) == Kind::Float { "f32" } else { "bf16" };
    let packed = if stage.policy.quantize.is_some() { ", the layers' matrices in nf4" } else { "" };
    let mut lines = vec![format!(
        "memory: about {} for {} parameters in {format}{packed}",
        size(footprint.peak()),
        count(shape.size())
    )];
    for (phase, parts) in &footprint.0 {
        let listed = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let listed: Vec<String> = listed.map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
        lines.push(format!("{phase} {}: {}", size(sum(parts)), listed.join(", ")));
    }
    for (on, parts) in apart {
        let listed: Vec<String> =
            parts.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
        let all = size(parts.iter().map(|(_, bytes)| bytes).sum());
        let place = match on {
            On::Rank(device) => format!("beside, on {}", name_of(*device)),
            On::Serving => format!("on each of {} rank(s) set apart", setting.serving),
        };
        lines.push(format!("{place} {all}: {}", listed.join(", ")));
    }
    lines.extend(excess(stage, shape, beside, &planned).map(|misfit| format!("that {misfit}")));
    lines
}

/// That a stage takes more than this machine has, and what would take less; nothing where it fits.
pub(super) fn too_large(stage: &Stage, shape: &Config, beside: &[Beside], ranks: usize) -> Option<String> {
    let planned = planned(stage, shape, beside, ranks);
    let misfit = excess(stage, shape, beside, &planned)?;
    let on_cpu = planned.setting.on_cpu;
    let taken = if on_cpu { planned.footprint.peak() } else { planned.beside_on_cpu() };
    Some(format!("the memory of about {} that it takes {misfit}", size(taken)))
}

/// What a stage takes in a layout.
struct Planned {
    footprint: Footprint,
    /// What lies elsewhere than the policy.
    apart: Vec<(On, Vec<(String, usize)>)>,
    setting: Setting,
}

impl Planned {
    /// Bytes of a rank's processor for what lies there while the policy does not.
    fn beside_on_cpu(&self) -> usize {
        let here = self.apart.iter().filter(|(on, _)| *on == On::Rank(Device::Cpu));
        here.flat_map(|(_, parts)| parts).map(|(_, bytes)| bytes).sum()
    }
}

fn planned(stage: &Stage, shape: &Config, beside: &[Beside], ranks: usize) -> Planned {
    let setting = Setting::of(stage, ranks);
    let among = (ranks / stage.devices.replicas).max(1);
    let division = Division { shard: stage.devices.shard, ranks: among };
    Planned {
        footprint: Footprint::of(stage, shape, beside, setting, division),
        apart: apart(stage, shape, beside, setting, division),
        setting,
    }
}

fn excess(stage: &Stage, shape: &Config, beside: &[Beside], planned: &Planned) -> Option<String> {
    let (footprint, setting) = (&planned.footprint, planned.setting);
    let there = there(setting)?;
    if !setting.on_cpu {
        let place =
            if setting.ranks + setting.serving > 1 { "which each rank has here" } else { "of this machine" };
        return (planned.beside_on_cpu() > there).then(|| {
            let there = size(there);
            format!("beside the policy does not fit the {there} {place}; put less of it on the CPU, or take smaller models")
        });
    }
    let there = Some(there).filter(|there| footprint.peak() > *there)?;
    let undivided = stage.needs().undivided;
    let peak = |layout: Division| match layout.shard {
        Shard::Parameters if undivided => usize::MAX,
        _ => Footprint::of(stage, shape, beside, Setting { ranks: layout.ranks, ..setting }, layout).peak(),
    };
    let all = setting.ranks + setting.serving;
    Some(misfit(nearest(setting.ranks, there, peak), there, all, footprint.most()))
}

/// What there is of this machine's memory for each of the ranks that it would run.
fn there(setting: Setting) -> Option<usize> {
    Some(machine::bytes("MemTotal")? / (setting.ranks + setting.serving))
}

/// The nearest layout that fits: less whole on every rank, then more ranks with as much each; with what it takes.
fn nearest(ranks: usize, there: usize, peak: impl Fn(Division) -> usize) -> Option<(Division, usize)> {
    let more = std::iter::successors(Some(ranks), |ranks| Some(2 * ranks)).take_while(|n| *n <= MOST);
    let layouts = more.flat_map(|ranks| Shard::ALL.map(|shard| Division { shard, ranks }));
    layouts.map(|layout| (layout, peak(layout))).find(|(_, peak)| *peak <= there)
}

/// That it does not fit, what takes most of it, and which layout would fit.
fn misfit(nearest: Option<(Division, usize)>, there: usize, ranks: usize, most: &str) -> String {
    let place = if ranks > 1 { "which each rank has here" } else { "of this machine" };
    let less = match most {
        "activations" | "kept by the C library" => {
            "policy.gradient_checkpointing = true or a lower optim.tokens_per_microbatch"
        }
        "KV cache" | "logits" => "a lower policy.decode_slots",
        "gradients and optimiser" | "optimiser" => "[policy.lora] or optim.moments = \"8bit\"",
        _ => "a smaller model",
    };
    let divided = match nearest {
        Some((Division { shard, ranks }, peak)) => format!(
            "devices.shard = \"{}\" on {ranks} rank(s) with as much each takes {}",
            shard.name(),
            size(peak)
        ),
        None => format!("no layout of up to {MOST} ranks fits"),
    };
    format!(
        "does not fit the {} {place}; most of it is {most}, which {less} would lower; {divided}",
        size(there)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16 bytes a parameter, of which 12 are divided by the optimiser's share and all by the parameters'.
    #[test]
    fn the_nearest_layout_divides_before_it_takes_more_ranks() {
        let peak = |Division { shard, ranks }: Division| match shard {
            Shard::None => 1600,
            Shard::Optimizer => 400 + 1200 / ranks,
            Shard::Parameters => 100 + 1600 / ranks,
        };
        let found = |ranks, there| {
            nearest(ranks, there, peak).map(|(layout, peak)| (layout.shard, layout.ranks, peak))
        };
        assert_eq!(found(2, 1000), Some((Shard::Optimizer, 2, 1000)));
        assert_eq!(found(2, 999), Some((Shard::Parameters, 2, 900)));
        // On four ranks the optimiser's share alone would take 700.
        assert_eq!(found(2, 800), Some((Shard::Optimizer, 4, 700)));
        assert_eq!(found(2, 150), Some((Shard::Parameters, 32, 150)));
        assert_eq!(found(2, 100), None);
    }

    #[test]
    fn what_does_not_fit_is_said_with_what_would() {
        let layout = Division { shard: Shard::Parameters, ranks: 8 };
        let said = misfit(Some((layout, 2_000_000_000)), 3_000_000_000, 2, "gradients and optimiser");
        assert_eq!(
            said,
            "does not fit the 3.0 GB which each rank has here; most of it is gradients and optimiser, which [policy.lora] or optim.moments = \
             \"8bit\" would lower; devices.shard = \"parameters\" on 8 rank(s) with as much each takes 2.0 GB"
        );
        let said = misfit(None, 3_000_000_000, 1, "weights");
        assert_eq!(
            said,
            "does not fit the 3.0 GB of this machine; most of it is weights, which a smaller model would lower; no layout of up to 1024 ranks fits"
        );
    }
}
