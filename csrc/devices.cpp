// What libtorch says of itself and of its devices, which tch does not bind, over a C ABI; an exception crosses as guarded.h says.

#include "guarded.h"

#include <ATen/Context.h>
#include <ATen/Version.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <cstdint>
#include <string>

extern "C" {

// How libtorch was built, with its version. The caller frees the text with rationale_free.
char *rationale_torch_config(char **out) {
  return guarded([&] { *out = strdup(at::show_config().c_str()); });
}

// Which of its CPU kernels libtorch runs here. The caller frees the text with rationale_free.
char *rationale_cpu_capability(char **out) {
  return guarded([&] { *out = strdup(at::get_cpu_capability().c_str()); });
}

// Bytes of tensors on a CUDA device: now, and the most since the last rationale_forget_peak.
char *rationale_cuda_bytes(int32_t device, int64_t *now, int64_t *peak) {
  return guarded([&] {
    auto index = static_cast<c10::DeviceIndex>(device);
    auto stats = at::getDeviceAllocator(c10::kCUDA)->getDeviceStats(index);
    auto &bytes = stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)];
    *now = bytes.current;
    *peak = bytes.peak;
  });
}

char *rationale_forget_peak(int32_t device) {
  return guarded([&] {
    at::getDeviceAllocator(c10::kCUDA)->resetPeakStats(static_cast<c10::DeviceIndex>(device));
  });
}

// Whether f32 matrices may be multiplied as TF32 on CUDA devices (10 bits of mantissa).
char *rationale_allow_tf32(bool allow) {
  return guarded([&] { at::globalContext().setAllowTF32CuBLAS(allow); });
}
}
