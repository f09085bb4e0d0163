// What the program and the library of NCCL (nccl.cpp) have in common. Both call one c10d::Backend, whose functions are found by their
// place, so that both have to be compiled against one release of libtorch.

#pragma once

#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <torch/headeronly/version.h>

#define RATIONALE_TEXT_OF(x) #x
#define RATIONALE_TEXT(x) RATIONALE_TEXT_OF(x)
// The number is raised with every change of what follows.
#define RATIONALE_NCCL_INTERFACE                                                                                       \
  "interface 1 of libtorch " RATIONALE_TEXT(TORCH_VERSION_MAJOR) "." RATIONALE_TEXT(TORCH_VERSION_MINOR)

extern "C" {

// The library exports, beside rationale_nccl_open:
//
//   const char *rationale_nccl_made_for()       RATIONALE_NCCL_INTERFACE, as it was when the library was compiled
//   char *rationale_nccl_version(char **out)    NCCL's version, a text that the caller frees; an exception as in guarded.h
//   int rationale_nccl_carries()                the c10::DeviceType whose tensors it carries

// rationale_nccl_open: opens NCCL as rank `rank` of `count` on the device of this number, when all have come. The keys that it sets
// in the store begin with its own prefix. Its calls fail after `millis`.
typedef char *rationale_nccl_opens(const c10::intrusive_ptr<c10d::Store> *store, int rank, int count, int device,
                                   int64_t millis, c10::intrusive_ptr<c10d::Backend> *out);
}
