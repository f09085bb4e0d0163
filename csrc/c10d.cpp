// libtorch's c10d over a C ABI: a key-value store that all ranks of a run reach, and sums and lists over all of them. A
// tensor crosses as tch's own pointer (at::Tensor *), an exception as in guarded.h. One call at a time on each handle.
//
// Gloo has the control plane (numbers and texts) and tensors on the CPU. Those on the ranks' devices are NCCL's where there is one,
// which is opened by a library of its own (nccl/nccl.cpp) and called through c10d's Backend, as Gloo is.

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <c10/util/Logging.h>

#include "guarded.h"
#include "nccl/interface.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using c10d::Backend;
using std::chrono::milliseconds;

struct Store {
  c10::intrusive_ptr<c10d::Store> of;
};

struct Group {
  c10::intrusive_ptr<Backend> gloo;
  // NCCL, and the device whose tensors it carries.
  c10::intrusive_ptr<Backend> nccl;
  std::optional<at::Device> device;
  // How long a call waits for the other ranks.
  milliseconds limit;

  ~Group() { let_go(); }

  void let_go() {
    auto held = std::move(nccl);
    nccl.reset();
    device.reset();
    if (!held) return;
    try {
      held->shutdown();
    } catch (const std::exception &) {
      // The others have ended, and so does this one.
    }
  }
};

// NCCL's own watchdog ends the process without a word to the others, so it comes after who waits has given up.
constexpr milliseconds AFTER_OURS{60'000};

// Who carries a tensor, and whether from where it is or by way of the CPU. This is chosen here and nowhere else.
struct Way {
  Backend &backend;
  bool nccl, direct;
};

Way way(Group &group, const at::Tensor &tensor) {
  if (group.nccl && tensor.device() == *group.device) return {*group.nccl, true, true};
  return {*group.gloo, false, tensor.is_cpu()};
}

// A call under way.
struct Call {
  c10::intrusive_ptr<c10d::Work> work;
  bool nccl;
  milliseconds limit;
};

// Waits for a call.
void settle(const Call &call) {
  // What the device is told from here on comes behind NCCL's part.
  call.work->wait();
  if (!call.nccl) {
    // The thread that made Gloo's lets go of its tensors a moment later, and is given that moment: what is freed next is free.
    for (int turn = 0; turn < 200 && call.work.use_count() > 1; turn++) std::this_thread::yield();
    return;
  }
  // Nor does the caller go on before it is done, who otherwise would hear nothing of ranks that do not come. The device has work
  // meanwhile: what was told to it before the call waits for nothing.
  auto until = std::chrono::steady_clock::now() + call.limit;
  for (int turn = 0; !call.work->isCompleted(); turn++) {
    if (std::chrono::steady_clock::now() > until) throw std::runtime_error("NCCL waits for the other ranks");
    if (turn < 1000)
      std::this_thread::yield();
    else
      std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  if (auto error = call.work->exception()) std::rethrow_exception(error);
}

// Tensors of one kind and device travel together up to this many bytes; larger ones alone, in their own memory.
constexpr int64_t BUCKET = 8 << 20;
// Buckets on their way at once, so that one is packed while another travels.
constexpr size_t UNDER_WAY = 2;

// A call under way, with the tensors that it reads and writes.
struct Pending {
  Call call;
  at::Tensor sent, received, target;
};

Pending *pending(Group &group, const at::Tensor &sent, const at::Tensor &target) {
  auto by = way(group, target);
  auto received = by.direct ? target : at::empty(target.sizes(), target.options().device(at::kCPU));
  return new Pending{{{}, by.nccl, group.limit}, by.direct ? sent.contiguous() : sent.contiguous().cpu(), received, target};
}

struct Bucket {
  std::vector<at::Tensor> parts;
  at::Tensor flat;
  Call call;
};

void start(Group &group, Bucket &bucket, c10d::ReduceOp op, bool control) {
  auto by = control ? Way{*group.gloo, false, true} : way(group, bucket.parts[0]);
  if (bucket.parts.size() == 1 && bucket.parts[0].is_contiguous() && by.direct) {
    bucket.flat = bucket.parts[0];
  } else {
    std::vector<at::Tensor> flat;
    for (const auto &part : bucket.parts) flat.push_back(part.reshape({-1}));
    bucket.flat = by.direct ? at::cat(flat) : at::cat(flat).cpu();
  }
  std::vector<at::Tensor> one{bucket.flat};
  c10d::AllreduceOptions options;
  options.reduceOp = op;
  options.timeout = group.limit;
  bucket.call = {by.backend.allreduce(one, options), by.nccl, group.limit};
}

void finish(Bucket &bucket) {
  settle(bucket.call);
  if (bucket.parts.size() == 1 && bucket.flat.is_same(bucket.parts[0])) return;
  int64_t at = 0;
  for (auto &part : bucket.parts) {
    part.copy_(bucket.flat.narrow(0, at, part.numel()).view(part.sizes()));
    at += part.numel();
  }
}

// `control`: numbers of the control plane, which lie on the CPU.
void reduce(Group &group, const std::vector<at::Tensor> &tensors, c10d::ReduceOp op, bool control) {
  std::deque<Bucket> under_way;
  Bucket next;
  int64_t bytes = 0;
  auto send = [&] {
    if (next.parts.empty()) return;
    if (under_way.size() == UNDER_WAY) {
      finish(under_way.front());
      under_way.pop_front();
    }
    start(group, next, op, control);
    under_way.push_back(std::move(next));
    next = Bucket();
    bytes = 0;
  };
  for (const auto &tensor : tensors) {
    int64_t own = tensor.nbytes();
    bool fits = !next.parts.empty() && next.parts[0].dtype() == tensor.dtype() &&
                next.parts[0].device() == tensor.device() && bytes + own <= BUCKET;
    if (!fits) send();
    next.parts.push_back(tensor);
    bytes += own;
  }
  send();
  for (auto &bucket : under_way) finish(bucket);
}

} // namespace

extern "C" {

// Reaches the store at host:port, or, where it `serves`, holds it; a port of 0 is any that is free.
char *rationale_store_open(const char *host, uint16_t port, bool serves, int64_t millis, Store **out, uint16_t *bound) {
  return guarded([&] {
    // A lost connection is an exception here; libtorch would print it too, with all its frames.
    if (!getenv("TORCH_CPP_LOG_LEVEL")) FLAGS_caffe2_log_level = c10::GLOG_ERROR;
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = serves;
    options.waitWorkers = false;
    options.multiTenant = true;
    options.timeout = milliseconds(millis);
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    *bound = store->getPort();
    *out = new Store{store};
  });
}

// The same store for keys that all begin with `prefix`, over a connection of its own.
char *rationale_store_under(Store *store, const char *prefix, Store **out) {
  return guarded([&] { *out = new Store{c10::make_intrusive<c10d::PrefixStore>(prefix, store->of->clone())}; });
}

char *rationale_store_set(Store *store, const char *key, const char *value) {
  return guarded([&] { store->of->set(key, std::vector<uint8_t>(value, value + strlen(value))); });
}

// Sets the key where it has no value yet.
char *rationale_store_claim(Store *store, const char *key, const char *value) {
  return guarded([&] { store->of->compareSet(key, {}, std::vector<uint8_t>(value, value + strlen(value))); });
}

// The key's value, to be freed with rationale_free; null where it has none.
char *rationale_store_look(Store *store, const char *key, char **out) {
  return guarded([&] {
    *out = nullptr;
    if (!store->of->check({key})) return;
    auto value = store->of->get(key);
    *out = strdup(std::string(value.begin(), value.end()).c_str());
  });
}

// Adds to a counter, which begins with 0; what it comes to.
char *rationale_store_add(Store *store, const char *key, int64_t by, int64_t *out) {
  return guarded([&] { *out = store->of->add(key, by); });
}

void rationale_store_close(Store *store) { delete store; }

// Meets the other ranks; `host` is the name or address of this machine that they reach, null where it is the machine's own
// name, `interface` the network interface instead.
char *rationale_group_open(Store *store, int rank, int count, const char *host, const char *interface, int64_t millis,
                           Group **out) {
  return guarded([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(milliseconds(millis));
    options->devices.push_back(interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                               : host    ? c10d::ProcessGroupGloo::createDeviceForHostname(host)
                                         : c10d::ProcessGroupGloo::createDefaultDevice());
    auto gloo = c10::make_intrusive<c10d::ProcessGroupGloo>(store->of, rank, count, options);
    *out = new Group{gloo, {}, {}, milliseconds(millis)};
  });
}

// What the library of NCCL has to be made for.
const char *rationale_nccl_expected() { return RATIONALE_NCCL_INTERFACE; }

// Has NCCL carry the tensors of a device from here on; `open` is its library's. All ranks make the call.
char *rationale_group_carry(Group *group, Store *store, rationale_nccl_opens *open, int type, int index) {
  return guarded([&] {
    group->let_go();
    at::Device device(static_cast<at::DeviceType>(type), static_cast<at::DeviceIndex>(index));
    int rank = group->gloo->getRank(), count = group->gloo->getSize();
    c10::intrusive_ptr<Backend> nccl;
    std::unique_ptr<char, decltype(&free)> said(
        open(&store->of, rank, count, index, (group->limit + AFTER_OURS).count(), &nccl), free);
    if (said) throw std::runtime_error(said.get());
    group->nccl = nccl;
    group->device = device;
    // Better seen now than in the middle of a step.
    auto numbers = at::full({1}, rank + 1.0, at::TensorOptions(device).dtype(at::kDouble));
    reduce(*group, {numbers}, c10d::ReduceOp::SUM, false);
    double found = numbers.item<double>(), right = count * (count + 1) / 2.0;
    TORCH_CHECK(found == right, "its sum of the numbers from 1 to ", count, " is ", found, ", and not ", right);
  });
}

// Has Gloo carry all tensors.
char *rationale_group_let_go(Group *group) {
  return guarded([&] { group->let_go(); });
}

// How long a call waits for the other ranks from here on.
char *rationale_group_limit(Group *group, int64_t millis) {
  return guarded([&] {
    group->limit = milliseconds(millis);
    group->gloo->setTimeout(group->limit);
    if (group->nccl) group->nccl->setTimeout(group->limit + AFTER_OURS);
  });
}

// Replaces each of `n` tensors by its sum over all ranks.
char *rationale_group_sum(Group *group, at::Tensor *const *tensors, size_t n) {
  return guarded([&] {
    std::vector<at::Tensor> list;
    for (size_t i = 0; i < n; i++) list.push_back(*tensors[i]);
    reduce(*group, list, c10d::ReduceOp::SUM, false);
  });
}

// Replaces each of `n` numbers by its sum, or maximum, over all ranks.
char *rationale_group_numbers(Group *group, double *numbers, size_t n, bool maximum) {
  return guarded([&] {
    auto list = at::from_blob(numbers, {static_cast<int64_t>(n)}, at::TensorOptions(at::kDouble));
    reduce(*group, {list}, maximum ? c10d::ReduceOp::MAX : c10d::ReduceOp::SUM, true);
  });
}

// The tensors of all ranks, which are of one shape, end to end in their first dimension; those of the `control` plane lie on the CPU.
char *rationale_group_gather(Group *group, at::Tensor *own, bool control, at::Tensor **out) {
  return guarded([&] {
    auto by = control ? Way{*group->gloo, false, true} : way(*group, *own);
    auto input = by.direct ? own->contiguous() : own->contiguous().cpu();
    auto sizes = input.sizes().vec();
    sizes.at(0) *= group->gloo->getSize();
    auto all = at::empty(sizes, input.options());
    c10d::AllgatherOptions options;
    options.timeout = group->limit;
    settle({by.backend._allgather_base(all, input, options), by.nccl, group->limit});
    *out = new at::Tensor(all.to(own->device()));
  });
}

// Begins to gather the flat tensors of all ranks, which are of one size, into `all`, end to end.
char *rationale_group_begin_gather(Group *group, at::Tensor *own, at::Tensor *all, Pending **out) {
  return guarded([&] {
    std::unique_ptr<Pending> begun(pending(*group, *own, *all));
    c10d::AllgatherOptions options;
    options.timeout = group->limit;
    begun->call.work = way(*group, *all).backend._allgather_base(begun->received, begun->sent, options);
    *out = begun.release();
  });
}

// Begins to send each rank its one of `parts`, equal parts of a flat tensor, and to receive the others' for this one.
char *rationale_group_begin_exchange(Group *group, at::Tensor *parts, at::Tensor *received, Pending **out) {
  return guarded([&] {
    std::unique_ptr<Pending> begun(pending(*group, *parts, *received));
    std::vector<int64_t> equal;
    c10d::AllToAllOptions options;
    options.timeout = group->limit;
    begun->call.work = way(*group, *received).backend.alltoall_base(begun->received, begun->sent, equal, equal, options);
    *out = begun.release();
  });
}

// Waits until what was begun is done.
char *rationale_pending_finish(Pending *begun) {
  return guarded([&] {
    settle(begun->call);
    if (!begun->received.is_same(begun->target)) begun->target.copy_(begun->received);
  });
}

void rationale_pending_close(Pending *begun) { delete begun; }

void rationale_group_close(Group *group) { delete group; }
}
