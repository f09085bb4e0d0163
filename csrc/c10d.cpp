// libtorch's c10d over a C ABI: a key-value store that all ranks of a run reach, and sums and lists over all of them. A
// tensor crosses as tch's own pointer (at::Tensor *), an exception as in guarded.h. One call at a time on each handle.

#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <c10/util/Logging.h>

#include "guarded.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
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
  c10::intrusive_ptr<Backend> cpu;
  // How long a call waits for the other ranks.
  milliseconds limit;
};

// Waits for a call. The thread that made it lets go of its tensors a moment later, and is given that moment: what is freed next is free.
void settle(const c10::intrusive_ptr<c10d::Work> &work) {
  work->wait();
  for (int turn = 0; turn < 200 && work.use_count() > 1; turn++) std::this_thread::yield();
}

// Tensors of one kind and device travel together up to this many bytes; larger ones alone, in their own memory.
constexpr int64_t BUCKET = 8 << 20;
// Buckets on their way at once, so that one is packed while another travels.
constexpr size_t UNDER_WAY = 2;

// A call under way, with the tensors that it reads and writes; those of a device travel by way of the CPU.
struct Pending {
  c10::intrusive_ptr<c10d::Work> work;
  at::Tensor sent, received, target;
};

Pending *pending(const at::Tensor &sent, const at::Tensor &target) {
  auto received = target.is_cpu() ? target : at::empty(target.sizes(), target.options().device(at::kCPU));
  return new Pending{{}, sent.contiguous().cpu(), received, target};
}

struct Bucket {
  std::vector<at::Tensor> parts;
  at::Tensor flat;
  c10::intrusive_ptr<c10d::Work> work;
};

bool alone(const at::Tensor &tensor) { return tensor.is_contiguous() && tensor.device().is_cpu(); }

void start(Group &group, Bucket &bucket, c10d::ReduceOp op) {
  if (bucket.parts.size() == 1 && alone(bucket.parts[0])) {
    bucket.flat = bucket.parts[0];
  } else {
    std::vector<at::Tensor> flat;
    for (const auto &part : bucket.parts) flat.push_back(part.reshape({-1}));
    bucket.flat = at::cat(flat).cpu();
  }
  std::vector<at::Tensor> one{bucket.flat};
  c10d::AllreduceOptions options;
  options.reduceOp = op;
  options.timeout = group.limit;
  bucket.work = group.cpu->allreduce(one, options);
}

void finish(Bucket &bucket) {
  settle(bucket.work);
  if (bucket.parts.size() == 1 && bucket.flat.is_same(bucket.parts[0])) return;
  int64_t at = 0;
  for (auto &part : bucket.parts) {
    part.copy_(bucket.flat.narrow(0, at, part.numel()).view(part.sizes()));
    at += part.numel();
  }
}

void reduce(Group &group, const std::vector<at::Tensor> &tensors, c10d::ReduceOp op) {
  std::deque<Bucket> under_way;
  Bucket next;
  int64_t bytes = 0;
  auto send = [&] {
    if (next.parts.empty()) return;
    if (under_way.size() == UNDER_WAY) {
      finish(under_way.front());
      under_way.pop_front();
    }
    start(group, next, op);
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
    *out = new Group{gloo, milliseconds(millis)};
  });
}

// How long a call waits for the other ranks from here on.
char *rationale_group_limit(Group *group, int64_t millis) {
  return guarded([&] {
    group->limit = milliseconds(millis);
    group->cpu->setTimeout(group->limit);
  });
}

// Replaces each of `n` tensors by its sum, or maximum, over all ranks.
char *rationale_group_reduce(Group *group, at::Tensor *const *tensors, size_t n, bool maximum) {
  return guarded([&] {
    std::vector<at::Tensor> list;
    for (size_t i = 0; i < n; i++) list.push_back(*tensors[i]);
    reduce(*group, list, maximum ? c10d::ReduceOp::MAX : c10d::ReduceOp::SUM);
  });
}

// The tensors of all ranks, which are of one shape, end to end in their first dimension.
char *rationale_group_gather(Group *group, at::Tensor *own, at::Tensor **out) {
  return guarded([&] {
    auto input = own->contiguous();
    auto sizes = input.sizes().vec();
    sizes.at(0) *= group->cpu->getSize();
    auto all = at::empty(sizes, input.options());
    c10d::AllgatherOptions options;
    options.timeout = group->limit;
    settle(group->cpu->_allgather_base(all, input, options));
    *out = new at::Tensor(all);
  });
}

// Begins to gather the flat tensors of all ranks, which are of one size, into `all`, end to end.
char *rationale_group_begin_gather(Group *group, at::Tensor *own, at::Tensor *all, Pending **out) {
  return guarded([&] {
    std::unique_ptr<Pending> call(pending(*own, *all));
    c10d::AllgatherOptions options;
    options.timeout = group->limit;
    call->work = group->cpu->_allgather_base(call->received, call->sent, options);
    *out = call.release();
  });
}

// Begins to send each rank its one of `parts`, equal parts of a flat tensor, and to receive the others' for this one.
char *rationale_group_begin_exchange(Group *group, at::Tensor *parts, at::Tensor *received, Pending **out) {
  return guarded([&] {
    std::unique_ptr<Pending> call(pending(*parts, *received));
    std::vector<int64_t> equal;
    c10d::AllToAllOptions options;
    options.timeout = group->limit;
    call->work = group->cpu->alltoall_base(call->received, call->sent, equal, equal, options);
    *out = call.release();
  });
}

// Waits until what was begun is done.
char *rationale_pending_finish(Pending *call) {
  return guarded([&] {
    settle(call->work);
    if (!call->received.is_same(call->target)) call->target.copy_(call->received);
  });
}

void rationale_pending_close(Pending *call) { delete call; }

void rationale_group_close(Group *group) { delete group; }
}
