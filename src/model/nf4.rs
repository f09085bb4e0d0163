//! Weights of four bits (QLoRA, Dettmers et al. 2023, arXiv 2305.14314), as bitsandbytes keeps them: blocks of 64 numbers over their largest magnitude, each the nearest of 16
//! quantiles of a normal distribution. They are frozen: products read them, nothing writes them.

use super::{Block, Config, Model};
use crate::error::{Error, Result, thrown};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ffi::{c_char, c_void};
use tch::{Kind, TchError, Tensor};

/// As what the matrices of the layers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Quantize {
    /// NormalFloat of four bits in blocks of 64.
    Nf4,
}

/// The 16 numbers (the paper's appendix E).
const VALUES: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Numbers that share a scale.
pub(super) const BLOCK: i64 = 64;

/// A matrix in four bits a number.
#[derive(Debug)]
pub struct Nf4 {
    /// Two numbers a byte, the first in its upper half; flat, row by row, filled up to whole blocks.
    packed: Tensor,
    /// The largest magnitude of each block, f32.
    absmax: Tensor,
    /// The 16 numbers, beside them.
    table: Tensor,
    out: i64,
    input: i64,
    /// What it is read as.
    kind: Kind,
}

impl Nf4 {
    /// The nearest to `weight [out, in]`.
    pub fn of(weight: &Tensor) -> Result<Self> {
        let (out, input) = weight.size2()?;
        let device = weight.device();
        let missing = -(out * input) & (BLOCK - 1);
        let flat = weight.detach().to_kind(Kind::Float).f_reshape([-1])?.f_constant_pad_nd([0, missing])?;
        let blocks = flat.f_view([-1, BLOCK])?;
        let absmax = blocks.abs().f_amax([1], true)?;
        let scaled = (&blocks * absmax.clamp_min(1e-38).reciprocal()).clamp(-1.0, 1.0);
        let table = Tensor::from_slice(&VALUES);
        let bounds = ((table.narrow(0, 0, 15) + table.narrow(0, 1, 15)) / 2.0).to_device(device);
        let codes = scaled.f_bucketize(&bounds, true, false)?.to_kind(Kind::Uint8).f_view([-1, 2])?;
        let packed = codes.select(1, 0) * 16 + codes.select(1, 1);
        let packed = packed.to_kind(Kind::Uint8).contiguous();
        let (absmax, table) = (absmax.f_view([-1])?, table.to_device(device));
        Ok(Self { packed, absmax, table, out, input, kind: weight.kind() })
    }

    /// A tensor of its shape without memory, for who asks of the weight all but its numbers, which are none.
    pub fn outline(&self) -> Tensor {
        let nothing = Tensor::full([1, 1], f64::NAN, (self.kind, self.packed.device()));
        nothing.expand([self.out, self.input], false)
    }

    /// The weight in full.
    pub fn dense(&self) -> Result<Tensor> {
        let mut found = std::ptr::null_mut();
        let bf16 = self.kind == Kind::BFloat16;
        // SAFETY: live tensors, of which `of` has seen to kinds and sizes; `found` is set when no message comes back.
        check(unsafe {
            let [packed, absmax, table] = self.pointers();
            rationale_nf4_dense(packed, absmax, table, self.out, self.input, bf16, &mut found)
        })?;
        // SAFETY: allocated by `new at::Tensor`, as tch's own are, and owned by nobody else.
        Ok(unsafe { Tensor::from_ptr(found.cast()) })
    }

    /// x Wᵀ of `x [rows, in]`, `[rows, out]`. The gradient of `x` reads the weight again.
    pub fn product(&self, x: &Tensor) -> Result<Tensor> {
        let mut found = std::ptr::null_mut();
        // SAFETY: as above; libtorch refuses an `x` that does not fit.
        check(unsafe {
            let [packed, absmax, table] = self.pointers();
            rationale_nf4_product(x.as_ptr().cast(), packed, absmax, table, self.out, self.input, &mut found)
        })?;
        // SAFETY: as above.
        Ok(unsafe { Tensor::from_ptr(found.cast()) })
    }

    /// Bytes that a matrix of so many numbers takes.
    pub(super) fn bytes(numbers: usize) -> usize {
        let blocks = numbers.div_ceil(BLOCK as usize);
        blocks * (BLOCK as usize / 2 + 4)
    }

    fn pointers(&self) -> [*const c_void; 3] {
        [&self.packed, &self.absmax, &self.table].map(|tensor| tensor.as_ptr() as *const c_void)
    }
}

/// Keeps the linear maps of a layer in four bits.
pub(super) fn quantise(layer: &mut dyn Block) -> Result<()> {
    layer.linears_mut().into_iter().try_for_each(|linear| linear.quantise())
}

impl Config {
    /// Refuses a model most of whose weights are in no linear map.
    pub fn quantisable(&self) -> Result<()> {
        match self.form()?.experts {
            None => Ok(()),
            Some(_) => Err(Error::Model(format!(
                "policy.quantize keeps linear maps in four bits, and most weights of a {:?} model are its experts'; models without experts can be quantised",
                self.family
            ))),
        }
    }
}

impl Model {
    /// Keeps the linear maps of all layers in four bits: frozen, what learns are adapters.
    pub fn quantise(&mut self) -> Result<()> {
        self.config.quantisable()?;
        self.layers.iter_mut().try_for_each(|layer| quantise(&mut **layer))
    }

    /// Whether some of its weights are kept in four bits.
    pub fn is_quantised(&self) -> bool {
        let mut linears = self.layers.iter().flat_map(|layer| layer.linears());
        linears.any(|linear| linear.quantised.is_some())
    }
}

fn check(message: *mut c_char) -> Result<()> {
    // SAFETY: it comes from csrc/nf4.cpp.
    unsafe { thrown(message) }.map_err(|text| Error::Torch(TchError::Torch(text)))
}

unsafe extern "C" {
    fn rationale_nf4_dense(
        packed: *const c_void,
        absmax: *const c_void,
        table: *const c_void,
        out: i64,
        input: i64,
        bf16: bool,
        found: *mut *mut c_void,
    ) -> *mut c_char;
    fn rationale_nf4_product(
        x: *const c_void,
        packed: *const c_void,
        absmax: *const c_void,
        table: *const c_void,
        out: i64,
        input: i64,
        found: *mut *mut c_void,
    ) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).unwrap()
    }

    fn sines(out: i64, input: i64) -> Tensor {
        let values: Vec<f32> =
            (0..out * input).map(|i| (0.37 * (i * i % 1009) as f64).sin() as f32).collect();
        Tensor::from_slice(&values).reshape([out, input])
    }

    /// A block's largest is kept, here −2, over which 0.17 is −0.085 … 0.34 / 2 = 0.17, nearest 0.1609; 0 stays; the second block has a scale of its own. −1 is
    /// code 0, 0 code 7, 0.1609 code 9: the first byte is 0x07, the second 0x97.
    #[test]
    fn a_number_is_the_nearest_quantile() {
        let mut numbers = vec![0f32; 70];
        (numbers[0], numbers[2], numbers[65]) = (-2.0, 0.34, 0.01);
        let weight = Tensor::from_slice(&numbers).view([2, 35]);
        let nf4 = Nf4::of(&weight).unwrap();
        assert_eq!((nf4.packed.size(), nf4.absmax.size()), (vec![64], vec![2]));
        assert_eq!([nf4.packed.int64_value(&[0]), nf4.packed.int64_value(&[1])], [0x07, 0x97]);
        let read = values(&nf4.dense().unwrap());
        assert_eq!((read.len(), read[0], read[1]), (70, -2.0, 0.0));
        assert!((read[2] - 2.0 * 0.160_930_2).abs() < 1e-7 && (read[65] - 0.01).abs() < 1e-9);
        assert_eq!(Nf4::bytes(70), 2 * (32 + 4));
    }

    /// What was rounded once is its own nearest, in f32; and read in bf16 it is the f32's rounded.
    #[test]
    fn rounding_again_changes_nothing() {
        let weight = sines(24, 40);
        let once = Nf4::of(&weight).unwrap().dense().unwrap();
        assert!(Nf4::of(&once).unwrap().dense().unwrap().equal(&once));
        let mut nf4 = Nf4::of(&weight).unwrap();
        nf4.kind = Kind::BFloat16;
        assert!(nf4.dense().unwrap().equal(&once.to_kind(Kind::BFloat16)));
        assert!(values(&nf4.outline()).iter().all(|number| number.is_nan()));
    }

    /// Products and their gradients are those of the weight in full.
    #[test]
    fn products_and_gradients_are_the_weights() {
        for (kind, rows) in [(Kind::Float, 3), (Kind::Float, 70), (Kind::BFloat16, 70)] {
            let nf4 = Nf4::of(&sines(24, 40).to_kind(kind)).unwrap();
            let weight = nf4.dense().unwrap();
            let [x, y] = [0, 1].map(|_| sines(rows, 40).to_kind(kind).set_requires_grad(true));
            let factors = sines(rows, 24).to_kind(kind);
            let (ours, plain) = (nf4.product(&x).unwrap(), y.linear(&weight, None::<&Tensor>));
            let close = |a: &Tensor, b: &Tensor| {
                (a.to_kind(Kind::Float) - b.to_kind(Kind::Float)).abs().max().double_value(&[])
            };
            let most = if kind == Kind::Float { 1e-5 } else { 0.1 };
            assert!(close(&ours, &plain) < most);
            (&ours * &factors).sum(Kind::Float).backward();
            (&plain * &factors).sum(Kind::Float).backward();
            assert!(close(&x.grad(), &y.grad()) < most);
            assert!(!tch::no_grad(|| nf4.product(&x)).unwrap().requires_grad());
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let nf4 = Nf4::of(&sines(4, 8)).unwrap();
        assert!(nf4.product(&Tensor::zeros([2, 7], (Kind::Float, Device::Cpu))).is_err());
    }
}
