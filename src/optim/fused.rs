//! Operations on lists of tensors that tch does not bind (csrc/optim.cpp), made safe.

use crate::error::{Error, Result, thrown};
use std::ffi::{c_char, c_void};
use tch::{TchError, Tensor};

/// A C++ `at::Tensor *`.
type Pointer = *const c_void;

/// The four lists of a step, index by index: what is updated, by what, and the two running means.
#[derive(Default)]
pub(super) struct Lists {
    pub parameters: Vec<Tensor>,
    pub gradients: Vec<Tensor>,
    pub averages: Vec<Tensor>,
    pub squares: Vec<Tensor>,
}

/// AdamW's constants for one call.
pub(super) struct Constants {
    pub lr: f64,
    pub betas: [f64; 2],
    pub weight_decay: f64,
    pub eps: f64,
}

/// One AdamW step in place. `steps` (f32, one value) counts this step already.
pub(super) fn adamw(lists: &Lists, steps: &Tensor, constants: &Constants) -> Result<()> {
    let n = lists.parameters.len();
    assert!([&lists.gradients, &lists.averages, &lists.squares].iter().all(|list| list.len() == n));
    let [parameters, gradients] = [&lists.parameters, &lists.gradients].map(|list| pointers(list));
    let [averages, squares] = [&lists.averages, &lists.squares].map(|list| pointers(list));
    let Constants { lr, betas: [beta1, beta2], weight_decay, eps } = *constants;
    // SAFETY: four arrays of n live tensors; the C++ side copies the handles and keeps nothing.
    check(unsafe {
        rationale_fused_adamw(
            parameters.as_ptr(),
            gradients.as_ptr(),
            averages.as_ptr(),
            squares.as_ptr(),
            n,
            steps.as_ptr() as Pointer,
            lr,
            beta1,
            beta2,
            weight_decay,
            eps,
        )
    })
}

/// The 2-norm of each tensor, `[tensors.len()]`, still on the device.
pub(super) fn norms(tensors: &[Tensor]) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: an array of live tensors; `out` is set when no message comes back.
    check(unsafe { rationale_norms(pointers(tensors).as_ptr(), tensors.len(), &mut out) })?;
    // SAFETY: `out` was allocated by `new at::Tensor`, as tch's own are, and is owned by nobody else.
    Ok(unsafe { Tensor::from_ptr(out.cast()) })
}

/// Multiplies every tensor in place by `factor`, one value on the same device.
pub(super) fn scale(tensors: &[Tensor], factor: &Tensor) -> Result<()> {
    // SAFETY: an array of live tensors.
    check(unsafe { rationale_scale(pointers(tensors).as_ptr(), tensors.len(), factor.as_ptr() as Pointer) })
}

/// Copies `from` into `to`, tensor by tensor, rounded to the kind of `to`.
pub(super) fn copy(to: &[Tensor], from: &[Tensor]) -> Result<()> {
    assert_eq!(to.len(), from.len());
    // SAFETY: two arrays of as many live tensors.
    check(unsafe { rationale_copy(pointers(to).as_ptr(), pointers(from).as_ptr(), to.len()) })
}

fn pointers(tensors: &[Tensor]) -> Vec<Pointer> {
    tensors.iter().map(|tensor| tensor.as_ptr() as Pointer).collect()
}

fn check(message: *mut c_char) -> Result<()> {
    // SAFETY: it comes from csrc/optim.cpp.
    unsafe { thrown(message) }.map_err(|text| Error::Torch(TchError::Torch(text)))
}

unsafe extern "C" {
    fn rationale_fused_adamw(
        parameters: *const Pointer,
        gradients: *const Pointer,
        averages: *const Pointer,
        squares: *const Pointer,
        n: usize,
        steps: Pointer,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
    ) -> *mut c_char;
    fn rationale_norms(tensors: *const Pointer, n: usize, out: *mut *mut c_void) -> *mut c_char;
    fn rationale_scale(tensors: *const Pointer, n: usize, factor: Pointer) -> *mut c_char;
    fn rationale_copy(to: *const Pointer, from: *const Pointer, n: usize) -> *mut c_char;
}
