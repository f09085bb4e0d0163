//! AdamW's two means as bytes (Dettmers et al. 2022, arXiv 2110.02861), as bitsandbytes keeps them: blocks of 256 numbers share a scale, and a
//! byte is one of 256 numbers of [-1, 1], or of [0, 1], that lie the closer to each other the nearer to 0. An update reads the means, moves the weights by the new
//! ones, and rounds these.

use crate::Result;
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};

/// Numbers that share a scale.
pub(super) const BLOCK: i64 = 256;

/// A tensor of fewer elements is remembered in f32.
pub(super) const LEAST: i64 = 4096;

/// Elements whose numbers are there in f32 at a time, off the CPU.
const AT_ONCE: i64 = 4 << 20;

/// Numbers as bytes.
#[derive(Debug)]
pub(super) struct Quantised {
    /// As many as there are numbers, flat.
    pub codes: Tensor,
    /// The largest magnitude of each block.
    pub absmax: Tensor,
}

/// AdamW's constants of one step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub lr: f64,
    pub betas: [f64; 2],
    pub weight_decay: f64,
    pub eps: f64,
    /// Which step it is, from 1 on.
    pub number: f64,
}

/// What bytes mean for numbers with a sign, and for those without one.
struct Maps {
    signed: Vec<f32>,
    unsigned: Vec<f32>,
}

fn maps() -> &'static Maps {
    static MAPS: OnceLock<Maps> = OnceLock::new();
    MAPS.get_or_init(|| Maps { signed: dynamic_map(true), unsigned: dynamic_map(false) })
}

/// bitsandbytes' `create_dynamic_map`: 0, 1, and seven powers of ten, of which the i-th is divided evenly into 2ⁱ parts (2ⁱ⁺¹ without a sign) from a
/// tenth of it to all of it; a byte means the middle of one.
fn dynamic_map(signed: bool) -> Vec<f32> {
    let mut values: Vec<f32> = vec![0.0, 1.0];
    for i in 0..7 {
        let parts = 1i64 << if signed { i } else { i + 1 };
        let bounds = Tensor::linspace(0.1, 1.0, parts + 1, (Kind::Float, Device::Cpu));
        let middles = (bounds.narrow(0, 0, parts) + bounds.narrow(0, 1, parts)) / 2.0 * 10f64.powi(i - 6);
        let middles = Vec::<f32>::try_from(middles).expect("a flat tensor of f32");
        if signed {
            values.extend(middles.iter().map(|x| -x));
        }
        values.extend(middles);
    }
    values.sort_by(f32::total_cmp);
    values
}

/// One AdamW step of f32 `parameter` along its `gradient`.
pub(super) fn adamw(
    parameter: &mut Tensor,
    gradient: &Tensor,
    [average, square]: [&mut Quantised; 2],
    step: &Step,
) -> Result<()> {
    let gradient = gradient.contiguous();
    match (parameter.device(), parameter.is_contiguous()) {
        (Device::Cpu, true) => in_place(parameter, &gradient, [average, square], step),
        (Device::Cpu, false) => {
            let mut copy = parameter.contiguous();
            in_place(&mut copy, &gradient, [average, square], step);
            parameter.f_copy_(&copy)?;
        }
        _ => by_operations(parameter, &gradient, [average, square], step)?,
    }
    Ok(())
}

/// The same by a loop over the memory of contiguous tensors on the CPU.
fn in_place(parameter: &mut Tensor, gradient: &Tensor, [average, square]: [&mut Quantised; 2], step: &Step) {
    let n = parameter.numel();
    for (tensor, kind, len) in [
        (&*parameter, Kind::Float, n),
        (gradient, Kind::Float, n),
        (&average.codes, Kind::Uint8, n),
        (&square.codes, Kind::Uint8, n),
        (&average.absmax, Kind::Float, n.div_ceil(BLOCK as usize)),
        (&square.absmax, Kind::Float, n.div_ceil(BLOCK as usize)),
    ] {
        assert!(tensor.device() == Device::Cpu && tensor.is_contiguous());
        assert_eq!((tensor.kind(), tensor.numel()), (kind, len));
    }
    let Maps { signed, unsigned } = maps();
    // SAFETY: contiguous tensors of these lengths and kinds, as was asserted; maps of 256 numbers that live on.
    unsafe {
        rationale_adamw8(
            parameter.data_ptr().cast(),
            gradient.data_ptr().cast_const().cast(),
            average.codes.data_ptr().cast(),
            average.absmax.data_ptr().cast(),
            square.codes.data_ptr().cast(),
            square.absmax.data_ptr().cast(),
            n,
            signed.as_ptr(),
            unsigned.as_ptr(),
            &step.constants(),
            tch::get_num_threads(),
        );
    }
}

/// The same by libtorch's operations on any device, some blocks at a time.
fn by_operations(
    parameter: &Tensor,
    gradient: &Tensor,
    [average, square]: [&mut Quantised; 2],
    step: &Step,
) -> Result<()> {
    let Constants { beta1, beta2, eps, keeps, lr_by_correction, root_of_correction } = step.constants();
    let [beta1, beta2, eps] = [beta1, beta2, eps].map(f64::from);
    let maps =
        [&maps().signed, &maps().unsigned].map(|map| Tensor::from_slice(map).to_device(parameter.device()));
    let (parameter, gradient) = (parameter.f_view([-1])?, gradient.f_view([-1])?);
    let n = parameter.numel() as i64;
    let mut start = 0;
    while start < n {
        let len = AT_ONCE.min(n - start);
        let g = blocks(&gradient.f_narrow(0, start, len)?)?;
        let m = average.read(&maps[0], start, len)? * beta1 + &g * (1.0 - beta1);
        let v = square.read(&maps[1], start, len)? * beta2 + g.square() * (1.0 - beta2);
        let moved = &m / (v.sqrt() / f64::from(root_of_correction) + eps) * f64::from(lr_by_correction);
        let mut own = parameter.f_narrow(0, start, len)?;
        let _ = own.g_mul_scalar_(f64::from(keeps)).f_sub_(&moved.f_view([-1])?.f_narrow(0, 0, len)?)?;
        average.write(&maps[0], &m, start, len)?;
        square.write(&maps[1], &v, start, len)?;
        start += len;
    }
    Ok(())
}

/// Numbers as blocks `[n, 256]`, the last filled up with zeros.
fn blocks(flat: &Tensor) -> Result<Tensor> {
    let missing = -(flat.numel() as i64) & (BLOCK - 1);
    Ok(flat.f_constant_pad_nd([0, missing])?.f_view([-1, BLOCK])?)
}

impl Quantised {
    /// As many zeros as `like` has numbers.
    pub fn zeros(like: &Tensor) -> Self {
        let (n, device) = (like.numel() as i64, like.device());
        Self {
            codes: Tensor::zeros([n], (Kind::Uint8, device)),
            absmax: Tensor::zeros([(n + BLOCK - 1) / BLOCK], (Kind::Float, device)),
        }
    }

    fn scales(&self, start: i64, len: i64) -> Result<Tensor> {
        Ok(self.absmax.f_narrow(0, start / BLOCK, (len + BLOCK - 1) / BLOCK)?)
    }

    fn read(&self, map: &Tensor, start: i64, len: i64) -> Result<Tensor> {
        let codes = self.codes.f_narrow(0, start, len)?.to_kind(Kind::Int);
        Ok(blocks(&map.f_index_select(0, &codes)?)? * self.scales(start, len)?.f_unsqueeze(1)?)
    }

    fn write(&mut self, map: &Tensor, values: &Tensor, start: i64, len: i64) -> Result<()> {
        let absmax = values.abs().f_amax([1], true)?;
        let scaled = (values * absmax.clamp_min(1e-38).reciprocal()).clamp(-1.0, 1.0);
        let bounds = (map.f_narrow(0, 0, 255)? + map.f_narrow(0, 1, 255)?) / 2.0;
        let codes = scaled.f_bucketize(&bounds, true, false)?.f_view([-1])?.f_narrow(0, 0, len)?;
        self.codes.f_narrow(0, start, len)?.f_copy_(&codes.to_kind(Kind::Uint8))?;
        self.scales(start, len)?.f_copy_(&absmax.f_view([-1])?)?;
        Ok(())
    }
}

/// What the loop is told (csrc/blockwise.cpp).
#[repr(C)]
struct Constants {
    beta1: f32,
    beta2: f32,
    eps: f32,
    keeps: f32,
    lr_by_correction: f32,
    root_of_correction: f32,
}

impl Step {
    fn constants(&self) -> Constants {
        let [beta1, beta2] = self.betas;
        Constants {
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: self.eps as f32,
            keeps: (1.0 - self.lr * self.weight_decay) as f32,
            lr_by_correction: (self.lr / (1.0 - beta1.powf(self.number))) as f32,
            root_of_correction: (1.0 - beta2.powf(self.number)).sqrt() as f32,
        }
    }
}

unsafe extern "C" {
    fn rationale_adamw8(
        parameter: *mut f32,
        gradient: *const f32,
        average: *mut u8,
        average_scale: *mut f32,
        square: *mut u8,
        square_scale: *mut f32,
        n: usize,
        signed_map: *const f32,
        unsigned_map: *const f32,
        constants: *const Constants,
        threads: i32,
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::far;

    /// Seven powers of ten below 1: the least positive number is the middle of a tenth of 10⁻⁶ and all of it, 0.55 · 10⁻⁶. The largest but 1 is the middle of
    /// the last of 64 parts of [0.1, 1], 1 − 0.9 / 128; without a sign of 128, 1 − 0.9 / 256.
    #[test]
    fn maps_are_dense_near_zero() {
        let Maps { signed, unsigned } = maps();
        assert_eq!((signed.len(), unsigned.len()), (256, 256));
        let close = |a: f32, b: f64| (f64::from(a) / b - 1.0).abs() < 1e-6;
        assert_eq!((signed[127], signed[255], unsigned[0], unsigned[255]), (0.0, 1.0, 0.0, 1.0));
        assert!(close(signed[128], 5.5e-7) && close(signed[126], -5.5e-7));
        assert!(close(signed[254], 1.0 - 0.9 / 128.0) && close(unsigned[254], 1.0 - 0.9 / 256.0));
    }

    fn sines(n: i64, salt: f64) -> Tensor {
        let values: Vec<f32> = (0..n).map(|i| (salt + 0.37 * (i * i % 1009) as f64).sin() as f32).collect();
        Tensor::from_slice(&values)
    }

    fn step(number: f64) -> Step {
        Step { lr: 0.1, betas: [0.9, 0.999], weight_decay: 0.1, eps: 1e-8, number }
    }

    /// What a GPU does by operations the CPU does by a loop; a number that lies between two bytes' to the last bit may go to either.
    #[test]
    fn the_loop_and_the_operations_agree() {
        let n = 1000;
        let [mut one, other] = [sines(n, 1.0), sines(n, 1.0)];
        let mut means = [0, 1, 2, 3].map(|_| Quantised::zeros(&one));
        for number in 1..5 {
            let gradient = sines(n, f64::from(number)) * 10f64.powi(number - 2);
            let [a, b, c, d] = &mut means;
            in_place(&mut one, &gradient, [a, b], &step(f64::from(number)));
            by_operations(&other, &gradient, [c, d], &step(f64::from(number))).unwrap();
        }
        assert!(far(&one, &other) < 1e-4);
        for (loops, operations) in [(0, 2), (1, 3)] {
            let far = means[loops].codes.to_kind(Kind::Int) - means[operations].codes.to_kind(Kind::Int);
            assert!(far.abs().max().int64_value(&[]) <= 1);
            assert!(far.abs().sum(Kind::Int64).int64_value(&[]) <= 2);
            let far = (&means[loops].absmax - &means[operations].absmax).abs() / &means[loops].absmax;
            assert!(far.max().double_value(&[]) < 1e-5);
        }
    }

    /// The means of a first step are (1 − β) g and (1 − β) g²: their block's largest is kept exactly, zero as zero, and the step is ± lr. A number that is a
    /// tenth of the largest is one of 64 parts of [0.1, 1] at most half a part away.
    #[test]
    fn a_first_step_is_a_whole_learning_rate() {
        let mut parameter = Tensor::zeros([300], (Kind::Float, Device::Cpu));
        let mut values = vec![0f32; 300];
        (values[0], values[1], values[299]) = (2.0, -0.3, 1e-3);
        let gradient = Tensor::from_slice(&values);
        let [mut average, mut square] = [Quantised::zeros(&parameter), Quantised::zeros(&parameter)];
        adamw(&mut parameter, &gradient, [&mut average, &mut square], &step(1.0)).unwrap();
        let at = |place: i64| parameter.double_value(&[place]);
        assert!((at(0) + 0.1).abs() < 1e-6 && (at(1) - 0.1).abs() < 1e-5 && at(2) == 0.0, "{}", at(0));
        assert!((at(299) + 0.1).abs() < 1e-4, "{}", at(299));
        let map = Tensor::from_slice(&maps().signed);
        let read = average.read(&map, 0, 300).unwrap().view([-1]);
        assert!((read.double_value(&[0]) - 0.2).abs() < 1e-7 && read.double_value(&[2]) == 0.0);
        assert!((read.double_value(&[1]) + 0.03).abs() < 0.2 * 0.9 / 128.0);
        assert!((read.double_value(&[299]) - 1e-4).abs() < 1e-9);
    }
}
