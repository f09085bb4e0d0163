// What a tensor's numbers lie in, over a C ABI: the memory is given back and taken anew while every tensor that shares it keeps its
// shape, its place and its part in graphs. A tensor crosses as tch's own pointer (at::Tensor *), an exception as in guarded.h.

#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>

#include "guarded.h"

namespace {

void hold(const at::Tensor &tensor, size_t bytes) {
  auto *storage = tensor.storage().unsafeGetStorageImpl();
  auto *allocator = storage->allocator();
  TORCH_CHECK(allocator, "memory that was not allocated here cannot be given back");
  // Before the new is there, so that there are never both.
  storage->set_data_ptr_noswap(c10::DataPtr(nullptr, storage->device()));
  if (bytes > 0) storage->set_data_ptr_noswap(allocator->allocate(bytes));
  storage->set_nbytes(bytes);
}

} // namespace

extern "C" {

// Gives the memory back. Who reads a tensor of it has an exception: its data is not allocated.
char *rationale_storage_release(at::Tensor *tensor) {
  return guarded([&] { hold(*tensor, 0); });
}

// Takes memory for the whole of a contiguous tensor that begins with its storage; what is in it is not defined.
char *rationale_storage_reserve(at::Tensor *tensor) {
  return guarded([&] {
    TORCH_CHECK(tensor->is_contiguous() && tensor->storage_offset() == 0, "a tensor of all of its storage is needed");
    hold(*tensor, tensor->numel() * tensor->element_size());
  });
}

// Adds to what a tensor has as its gradient, whatever number format that has.
char *rationale_add_grad(at::Tensor *tensor, at::Tensor *gradient) {
  return guarded([&] {
    auto &own = tensor->mutable_grad();
    if (own.defined())
      own.add_(*gradient);
    else
      own = *gradient;
  });
}
}
