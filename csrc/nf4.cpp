// Products with weights of four bits, over a C ABI: the weight is there in full only while a product is made, and again while its gradient
// goes back. A tensor crosses as tch's own pointer (at::Tensor *), an exception as in guarded.h.

#include <ATen/core/Tensor.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/stack.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include "guarded.h"

extern "C" void rationale_nf4_read(const uint8_t *packed, const float *absmax, const float *table, size_t n, bool bf16, void *to,
                                   int threads);

namespace {

constexpr int64_t BLOCK = 64;

// The weight [out, in] in `kind`: two numbers a byte with the first in its upper half, each block of 64 numbers over its largest magnitude.
at::Tensor dense(const at::Tensor &packed, const at::Tensor &absmax, const at::Tensor &table, int64_t out, int64_t in,
                 at::ScalarType kind) {
  const int64_t n = out * in;
  if (packed.device().is_cpu() && (kind == at::kFloat || kind == at::kBFloat16)) {
    auto whole = at::empty({out, in}, packed.options().dtype(kind));
    rationale_nf4_read(packed.const_data_ptr<uint8_t>(), absmax.const_data_ptr<float>(), table.const_data_ptr<float>(), n,
                       kind == at::kBFloat16, whole.mutable_data_ptr(), at::get_num_threads());
    return whole;
  }
  const auto codes = at::stack({packed.bitwise_right_shift(4), packed.bitwise_and(15)}, -1).view({-1}).to(at::kInt);
  const auto blocks = table.index_select(0, codes).view({-1, BLOCK}).mul(absmax.unsqueeze(1));
  return blocks.view({-1}).narrow(0, 0, n).view({out, in}).to(kind);
}

struct Product : torch::autograd::Function<Product> {
  static at::Tensor forward(torch::autograd::AutogradContext *context, const at::Tensor &x, const at::Tensor &packed,
                            const at::Tensor &absmax, const at::Tensor &table, int64_t out, int64_t in) {
    context->save_for_backward({packed, absmax, table});
    context->saved_data["out"] = out;
    context->saved_data["in"] = in;
    const auto weight = dense(packed, absmax, table, out, in, x.scalar_type());
    // As model/linear.rs does for few rows on a CPU.
    const bool few = x.device().is_cpu() && x.scalar_type() == at::kFloat && x.dim() == 2 && x.size(0) >= 2 && x.size(0) <= 64;
    return few ? at::matmul(weight, x.t()).t().contiguous() : at::linear(x, weight);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext *context, torch::autograd::variable_list grads) {
    const auto saved = context->get_saved_variables();
    const auto out = context->saved_data["out"].toInt(), in = context->saved_data["in"].toInt();
    const auto weight = dense(saved[0], saved[1], saved[2], out, in, grads[0].scalar_type());
    return {at::matmul(grads[0], weight), {}, {}, {}, {}, {}};
  }
};

} // namespace

extern "C" {

char *rationale_nf4_dense(at::Tensor *packed, at::Tensor *absmax, at::Tensor *table, int64_t out, int64_t in, bool bf16,
                          at::Tensor **found) {
  return guarded([&] {
    *found = new at::Tensor(dense(*packed, *absmax, *table, out, in, bf16 ? at::kBFloat16 : at::kFloat));
  });
}

// x Wᵀ, with a graph where the caller keeps one.
char *rationale_nf4_product(at::Tensor *x, at::Tensor *packed, at::Tensor *absmax, at::Tensor *table, int64_t out, int64_t in,
                            at::Tensor **found) {
  const bool graph = c10::GradMode::is_enabled();
  return guarded([&] {
    c10::AutoGradMode mode(graph);
    *found = new at::Tensor(Product::apply(*x, *packed, *absmax, *table, out, in));
  });
}
}
