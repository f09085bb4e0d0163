//! What ranks say to each other, against what it should come to: two ranks over Gloo with tensors of the device, and NCCL of one rank,
//! which is all of it that one GPU can do.

use super::{Bench, Figure};
use crate::devices::chip;
use crate::error::{Error, Result};
use crate::ranks::{Carrier, Host, Launcher, Place, Processes, Ranks};
use tch::{Device, Kind, Tensor};

const START: &str = "selftest";
const EXACT: &str = "whole numbers, which travel and add up without rounding";
/// Elements of the tensors that are summed: two that travel together, and one that is larger than what does.
const SUMMED: [(i64, Kind); 3] = [(1000, Kind::Float), (700, Kind::BFloat16), (2_200_000, Kind::Float)];
/// Elements that a rank gives to each other one.
const EACH: i64 = 500;

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let device = bench.device;
    let two = together(2, |ranks| talk(ranks, device))?;
    let one = together(1, |ranks| match ranks.carry(device, chip(device))? {
        Carrier::Nccl(_) => talk(ranks, device).map(Ok),
        Carrier::Gloo(why) => Ok(Err(why.unwrap_or_else(|| "it is for CUDA devices".into()))),
    })?;
    let mut figures = judged("two ranks over Gloo", &two);
    match one.into_iter().collect::<std::result::Result<Vec<Said>, String>>() {
        Ok(said) => figures.extend(judged("NCCL of one rank", &said)),
        Err(why) => figures.push(Figure::not_run("NCCL of one rank", why)),
    }
    Ok(figures)
}

/// Threads of this process as the ranks of a run; what each comes to.
fn together<T: Send>(count: usize, act: impl Fn(&Processes) -> Result<T> + Sync) -> Result<Vec<T>> {
    let host = Host::open(START)?;
    let port = host.port();
    let place = |rank| Place {
        rank,
        count,
        local_rank: rank,
        local_count: Some(count),
        address: "127.0.0.1".into(),
        port,
        serves: false,
        launcher: Launcher::Own,
        start: START.into(),
        error_file: None,
    };
    let as_rank = |rank| {
        let ranks = Processes::meet(place(rank), |_| {})?;
        let done = act(&ranks).inspect_err(|error| ranks.fail(error))?;
        ranks.finish().map(|()| done)
    };
    let as_rank = &as_rank;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|rank| scope.spawn(move || as_rank(rank))).collect();
        let joined = threads.into_iter().map(|thread| {
            thread.join().unwrap_or_else(|_| Err(Error::Ranks("a rank's thread has panicked".into())))
        });
        joined.collect()
    })
}

/// What a rank has heard.
struct Said {
    summed: Vec<Tensor>,
    gathered: [Tensor; 2],
    exchanged: Tensor,
}

fn talk(ranks: &dyn Ranks, device: Device) -> Result<Said> {
    let (rank, count) = (ranks.rank(), ranks.count() as i64);
    let own = |length, kind| numbers(rank, length).to_kind(kind).to_device(device);
    let mut summed: Vec<Tensor> = SUMMED.iter().map(|&(length, kind)| own(length, kind)).collect();
    ranks.sum_tensors(&mut summed)?;
    let (sent, options) = (own(EACH, Kind::Float), (Kind::Float, device));
    let (all, received) = (Tensor::zeros([count * EACH], options), Tensor::zeros([count * EACH], options));
    // Both are under way at once, as where parameters are divided.
    let gathering = ranks.begin_gather(&sent, &all)?;
    let exchanging = ranks.begin_exchange(&own(count * EACH, Kind::Float), &received)?;
    ranks.finish(gathering)?;
    ranks.finish(exchanging)?;
    Ok(Said { summed, gathered: [ranks.gather_tensor(&sent)?, all], exchanged: received })
}

/// What a rank gives: whole numbers, of which the sum over two ranks is below 256, so that bf16 has it.
fn numbers(rank: usize, length: i64) -> Tensor {
    Tensor::arange(length, (Kind::Int64, Device::Cpu)).remainder(61) * (rank as i64 + 1)
}

fn judged(who: &str, said: &[Said]) -> Vec<Figure> {
    let count = said.len();
    let (mut sums, mut gathers, mut exchanges) = (0.0f64, 0.0f64, 0.0f64);
    let each = |rank: usize| numbers(rank, EACH);
    let all = Tensor::cat(&(0..count).map(each).collect::<Vec<_>>(), 0);
    for (rank, heard) in said.iter().enumerate() {
        for (found, (length, _)) in heard.summed.iter().zip(SUMMED) {
            let ranks: i64 = (1..=count as i64).sum();
            sums = sums.max(apart(found, &(numbers(0, length) * ranks)));
        }
        for found in &heard.gathered {
            gathers = gathers.max(apart(found, &all));
        }
        let part = |from: usize| numbers(from, count as i64 * EACH).narrow(0, rank as i64 * EACH, EACH);
        let parts = Tensor::cat(&(0..count).map(part).collect::<Vec<_>>(), 0);
        exchanges = exchanges.max(apart(&heard.exchanged, &parts));
    }
    let figure = |what: &str, error| Figure::at_most(format!("{who}: {what}"), error, 0.0, EXACT);
    vec![figure("sums", sums), figure("gathers", gathers), figure("exchanges", exchanges)]
}

/// The largest difference; none where there is another number of them.
fn apart(found: &Tensor, right: &Tensor) -> f64 {
    if found.size() != right.size() {
        return f64::NAN;
    }
    let found = found.to_device(Device::Cpu).to_kind(Kind::Double);
    (found - right.to_kind(Kind::Double)).abs().max().double_value(&[])
}

#[cfg(test)]
mod tests {
    use super::super::planted::{failing, off};
    use super::*;

    #[test]
    fn a_wrong_number_fails() {
        let mut said = together(2, |ranks| talk(ranks, Device::Cpu)).unwrap();
        let who = "two ranks";
        assert_eq!(failing(&judged(who, &said)), [""; 0]);
        let right = said[1].summed[2].copy();
        said[1].summed[2] = off(&right);
        assert_eq!(failing(&judged(who, &said)), ["two ranks: sums"]);
        said[1].summed[2] = right;
        said[0].gathered[1] = off(&said[0].gathered[1]);
        assert_eq!(failing(&judged(who, &said)), ["two ranks: gathers"]);
        said[0].gathered[1] = said[0].gathered[0].copy();
        said[1].exchanged = said[1].exchanged.flip([0]);
        assert_eq!(failing(&judged(who, &said)), ["two ranks: exchanges"]);
    }

    #[test]
    fn what_cannot_be_run_here_is_said() {
        let figures = check(&Bench { device: Device::Cpu }).unwrap();
        assert_eq!(failing(&figures), [""; 0]);
        let told: Vec<String> = figures.iter().map(Figure::to_string).collect();
        assert_eq!(told[0], "two ranks over Gloo: sums 0 (≤ 0)");
        if std::env::var_os("RATIONALE_NCCL").is_none() {
            assert_eq!(told[3], "NCCL of one rank: not run: it is for CUDA devices");
        }
    }

    #[test]
    fn a_rank_that_fails_is_not_waited_for() {
        let failed = together(2, |ranks| match ranks.rank() {
            0 => Err(Error::Devices("no such GPU".into())),
            _ => ranks.sum(&mut [1.0]),
        });
        assert!(failed.unwrap_err().to_string().contains("no such GPU"));
    }
}
