//! Which part of a parameter the optimiser of one of several ranks holds and updates.

use super::fused;
use crate::error::Result;
use crate::ranks::Ranks;
use tch::Tensor;

/// The part of a rank: of a parameter's n elements, in their order, those in `[rank · k, rank · k + k)`, k = ⌈n / count⌉ or the next multiple of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    rank: i64,
    count: i64,
    unit: i64,
}

/// Elements that travel together at most, unless a parameter alone has more.
pub const TOGETHER: i64 = 4 << 20;

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share { rank: 0, count: 1, unit: 1 };

    /// That of a rank.
    pub fn of(ranks: &dyn Ranks) -> Self {
        Self { rank: ranks.rank() as i64, count: ranks.count() as i64, unit: 1 }
    }

    /// The same where so many elements stay together.
    pub fn in_units(self, unit: i64) -> Self {
        Self { unit, ..self }
    }

    /// Whether it is all of it.
    pub fn is_whole(self) -> bool {
        self.count == 1
    }

    /// The largest part of `n` elements.
    fn most(self, n: i64) -> i64 {
        let even = (n + self.count - 1) / self.count;
        (even + self.unit - 1) / self.unit * self.unit
    }

    /// Where the part of `n` elements begins, and how many it has: none where others have them all.
    ///
    /// ```
    /// # use rationale::optim::Share;
    /// assert_eq!(Share::WHOLE.part(7), (0, 7));
    /// ```
    pub fn part(self, n: i64) -> (i64, i64) {
        let most = self.most(n);
        let start = (self.rank * most).min(n);
        (start, most.min(n - start))
    }

    /// The part of a tensor, which shares its memory: the tensor itself where that is all of it, else flat.
    pub fn slice(self, tensor: &Tensor) -> Tensor {
        if self.is_whole() {
            return tensor.shallow_clone();
        }
        let (start, len) = self.part(tensor.numel() as i64);
        tensor.view(-1).narrow(0, start, len)
    }

    /// Gives every rank of what the others have updated: of each tensor this rank's part is right, and all of it is afterwards.
    ///
    /// # Errors
    /// [`Error::Ranks`](crate::Error::Ranks) of ranks that do not reach each other.
    pub fn gather(self, tensors: &[Tensor], ranks: &dyn Ranks) -> Result<()> {
        let mut rest = tensors;
        while !rest.is_empty() {
            let mut elements = 0;
            let fits = |tensor: &&Tensor| {
                elements += tensor.numel() as i64;
                elements <= TOGETHER
            };
            let together = rest.iter().take_while(fits).count().max(1);
            let (now, later) = rest.split_at(together);
            self.gather_together(now, ranks)?;
            rest = later;
        }
        Ok(())
    }

    fn gather_together(self, tensors: &[Tensor], ranks: &dyn Ranks) -> Result<()> {
        let padded = |tensor: &Tensor| -> Result<Tensor> {
            let own = self.slice(tensor);
            let missing = self.most(tensor.numel() as i64) - own.numel() as i64;
            Ok(own.f_constant_pad_nd([0, missing])?)
        };
        let own = tensors.iter().map(padded).collect::<Result<Vec<_>>>()?;
        let all = ranks.gather_tensor(&Tensor::f_cat(&own, 0)?)?.f_view([self.count, -1])?;
        let (mut at, mut to, mut from) = (0, Vec::new(), Vec::new());
        for tensor in tensors {
            let (n, most) = (tensor.numel() as i64, self.most(tensor.numel() as i64));
            from.push(all.f_narrow(1, at, most)?.f_reshape([-1])?.f_narrow(0, 0, n)?);
            to.push(tensor.f_view([-1])?);
            at += most;
        }
        fused::copy(&to, &from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rank: i64, count: i64) -> Share {
        Share { rank, count, unit: 1 }
    }

    #[test]
    fn parts_cover_everything_once() {
        for (n, count) in [(10, 3), (1, 4), (0, 2), (12, 4), (5, 8)] {
            let mut next = 0;
            for rank in 0..count {
                let (start, len) = of(rank, count).part(n);
                assert_eq!(start, next, "{n} elements, rank {rank} of {count}");
                next += len;
            }
            assert_eq!(next, n);
        }
    }

    /// 1000 elements in units of 256 are four units, the last of which is smaller: two and two, or two, two and none.
    #[test]
    fn units_stay_together() {
        let parts =
            |count| (0..count).map(|rank| of(rank, count).in_units(256).part(1000)).collect::<Vec<_>>();
        assert_eq!(parts(2), [(0, 512), (512, 488)]);
        assert_eq!(parts(3), [(0, 512), (512, 488), (1000, 0)]);
    }
}
