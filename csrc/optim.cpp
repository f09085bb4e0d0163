// The operations on lists of tensors that tch does not bind, over a C ABI. A tensor crosses as tch's own
// pointer (at::Tensor *); an exception crosses as a message that the caller frees with rationale_free.

#include <ATen/core/Tensor.h>
#include <ATen/ops/_foreach_copy.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/stack.h>

#include "guarded.h"

#include <cstdlib>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; i++) out.push_back(*tensors[i]);
  return out;
}

} // namespace

extern "C" {

void rationale_free(char *message) { free(message); }

// One AdamW step over `n` parameters that share one step counter.
char *rationale_fused_adamw(at::Tensor *const *parameters, at::Tensor *const *gradients, at::Tensor *const *averages,
                            at::Tensor *const *squares, size_t n, at::Tensor *steps, double lr, double beta1,
                            double beta2, double weight_decay, double eps) {
  return guarded([&] {
    std::vector<at::Tensor> counters(n, *steps);
    at::_fused_adamw_(list(parameters, n), list(gradients, n), list(averages, n), list(squares, n), {}, counters, lr,
                      beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

// The 2-norm of each of `n` tensors, as one new tensor of n values.
char *rationale_norms(at::Tensor *const *tensors, size_t n, at::Tensor **out) {
  return guarded([&] { *out = new at::Tensor(at::stack(at::_foreach_norm(list(tensors, n), 2))); });
}

// tensor *= factor, the factor being a tensor of one value: no wait for the device.
char *rationale_scale(at::Tensor *const *tensors, size_t n, at::Tensor *factor) {
  return guarded([&] { at::_foreach_mul_(list(tensors, n), *factor); });
}

// to = from, rounded to the kind of `to`.
char *rationale_copy(at::Tensor *const *to, at::Tensor *const *from, size_t n) {
  return guarded([&] { at::_foreach_copy_(list(to, n), list(from, n)); });
}

// Lets go of the tensor's gradient, as `parameter.grad = None` does.
char *rationale_drop_grad(at::Tensor *tensor) {
  return guarded([&] { tensor->mutable_grad() = at::Tensor(); });
}
}
