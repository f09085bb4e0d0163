//! The memory that a tensor's numbers lie in, given back and taken anew (csrc/storage.cpp), made safe: every tensor that shares it keeps
//! its shape, its place and its part in graphs, and reading one that has none is libtorch's error.

use crate::error::{Error, Result, thrown};
use std::ffi::{c_char, c_void};
use tch::Tensor;

/// Gives the memory back that `tensor` and all its views lie in.
pub(super) fn release(tensor: &Tensor) -> Result<()> {
    // SAFETY: a live tensor.
    check(unsafe { rationale_storage_release(tensor.as_ptr() as *const c_void) })
}

/// Takes memory for all of `tensor`, which is contiguous and begins with its storage. What is in it is not defined.
pub(super) fn reserve(tensor: &Tensor) -> Result<()> {
    // SAFETY: a live tensor; the C++ side checks that it is all of its storage.
    check(unsafe { rationale_storage_reserve(tensor.as_ptr() as *const c_void) })
}

/// Has the C library give memory of a megabyte and more back as soon as it is free: by itself it keeps what is smaller than the largest that
/// was ever freed, and layers that come and go leave holes.
pub(super) fn keep_nothing() {
    // SAFETY: it changes how later allocations are made and touches none that are there.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 20);
    }
}

/// Adds `gradient` to what `tensor` has as its gradient, in whatever number format it has.
pub(super) fn add_grad(tensor: &Tensor, gradient: &Tensor) -> Result<()> {
    // SAFETY: two live tensors.
    check(unsafe { rationale_add_grad(tensor.as_ptr() as *const c_void, gradient.as_ptr() as *const c_void) })
}

/// Lets go of the tensor's gradient.
pub(crate) fn drop_grad(tensor: &Tensor) -> Result<()> {
    // SAFETY: a live tensor.
    check(unsafe { rationale_drop_grad(tensor.as_ptr() as *const c_void) })
}

fn check(message: *mut c_char) -> Result<()> {
    // SAFETY: it comes from csrc/.
    unsafe { thrown(message) }.map_err(|text| Error::Torch(tch::TchError::Torch(text)))
}

unsafe extern "C" {
    fn rationale_storage_release(tensor: *const c_void) -> *mut c_char;
    fn rationale_storage_reserve(tensor: *const c_void) -> *mut c_char;
    fn rationale_add_grad(tensor: *const c_void, gradient: *const c_void) -> *mut c_char;
    fn rationale_drop_grad(tensor: *const c_void) -> *mut c_char;
}
