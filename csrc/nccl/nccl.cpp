// libtorch's NCCL as a library of its own, librationale_nccl.so: what the program loads where it is there (src/ranks/nccl.rs). It is
// made by scripts/nccl.sh, since it needs headers of CUDA and NCCL; of their libraries it calls none by name.

#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <c10/core/DeviceGuard.h>

#include "../guarded.h"
#include "interface.h"

#include <chrono>
#include <cstdlib>
#include <string>
#include <type_traits>

extern "C" {

const char *rationale_nccl_made_for() { return RATIONALE_NCCL_INTERFACE; }

// Of the NCCL that is loaded, which may be another than that of the headers.
char *rationale_nccl_version(char **out) {
  return guarded([&] { *out = strdup(c10d::getNcclVersion().c_str()); });
}

int rationale_nccl_carries() { return static_cast<int>(at::kCUDA); }

char *rationale_nccl_open(const c10::intrusive_ptr<c10d::Store> *store, int rank, int count, int device, int64_t millis,
                          c10::intrusive_ptr<c10d::Backend> *out) {
  return guarded([&] {
    // Sums by NVLink's switches come in another order now and then; the same run twice is to be the same bit for bit. So does libtorch
    // where it is told to be deterministic.
    setenv("NCCL_ALGO", "^NVLS", 0);
    at::Device own(at::kCUDA, static_cast<at::DeviceIndex>(device));
    c10::DeviceGuard here(own);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = std::chrono::milliseconds(millis);
    auto nccl = c10::make_intrusive<c10d::ProcessGroupNCCL>(*store, rank, count, options);
    nccl->eagerConnectSingleDevice(own);
    *out = std::move(nccl);
  });
}

static_assert(std::is_same_v<decltype(&rationale_nccl_open), rationale_nccl_opens *>);
}
