//! What libtorch says of itself and of its devices (csrc/devices.cpp), made safe.

use crate::error::{Error, Result, taken, thrown};
use std::ffi::c_char;
use tch::{Device, TchError};

/// The version of the libtorch that this process runs on, such as `2.11.0`.
pub fn version() -> Result<String> {
    let config = text(rationale_torch_config)?;
    let said = config.split("TORCH_VERSION=").nth(1).and_then(|rest| rest.split([',', '\n']).next());
    said.map(|version| version.trim().to_owned())
        .ok_or_else(|| Error::Devices(format!("libtorch does not say its version, but: {config}")))
}

/// Which of its CPU kernels libtorch runs here, such as `AVX512`.
pub fn cpu_capability() -> Result<String> {
    text(rationale_cpu_capability)
}

/// Bytes of tensors on a CUDA device: now, and the most since [`forget_peak`].
pub fn cuda_bytes(index: usize) -> Result<(u64, u64)> {
    let (mut now, mut peak) = (0, 0);
    // SAFETY: two numbers to write to.
    outcome(unsafe { rationale_cuda_bytes(index as i32, &mut now, &mut peak) })?;
    Ok((now.unsigned_abs(), peak.unsigned_abs()))
}

/// Lets the peak of a CUDA device begin anew from what there is now.
pub fn forget_peak(index: usize) -> Result<()> {
    // SAFETY: no pointers.
    outcome(unsafe { rationale_forget_peak(index as i32) })
}

/// The most bytes of tensors on a device since this was asked last; none of a CPU.
pub fn peak_since(device: Device) -> Result<Option<u64>> {
    let Device::Cuda(index) = device else { return Ok(None) };
    let (_, peak) = cuda_bytes(index)?;
    forget_peak(index)?;
    Ok(Some(peak))
}

/// Whether f32 matrices may be multiplied as TF32 on CUDA devices.
pub fn allow_tf32(allow: bool) -> Result<()> {
    // SAFETY: no pointers.
    outcome(unsafe { rationale_allow_tf32(allow) })
}

fn outcome(message: *mut c_char) -> Result<()> {
    // SAFETY: it comes from csrc/devices.cpp.
    unsafe { thrown(message) }.map_err(|text| Error::Torch(TchError::Torch(text)))
}

fn text(of: unsafe extern "C" fn(*mut *mut c_char) -> *mut c_char) -> Result<String> {
    let mut out = std::ptr::null_mut();
    // SAFETY: `out` is set when no message comes back.
    outcome(unsafe { of(&mut out) })?;
    // SAFETY: a C string that csrc/devices.cpp allocated and hands over.
    Ok(unsafe { taken(out) })
}

unsafe extern "C" {
    fn rationale_torch_config(out: *mut *mut c_char) -> *mut c_char;
    fn rationale_cpu_capability(out: *mut *mut c_char) -> *mut c_char;
    fn rationale_cuda_bytes(device: i32, now: *mut i64, peak: *mut i64) -> *mut c_char;
    fn rationale_forget_peak(device: i32) -> *mut c_char;
    fn rationale_allow_tf32(allow: bool) -> *mut c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_says_its_version_and_its_kernels() {
        assert!(version().unwrap().starts_with("2.11."), "{:?}", version());
        assert!(!cpu_capability().unwrap().is_empty());
    }

    #[test]
    fn what_libtorch_refuses_is_an_error_with_its_words() {
        // Without CUDA there is no allocator to ask; with it, there is no such device.
        let refused = cuda_bytes(99).unwrap_err().to_string();
        assert!(refused.starts_with("torch: ") && refused.len() > 20, "{refused}");
    }
}
