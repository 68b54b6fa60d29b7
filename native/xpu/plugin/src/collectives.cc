// "bkcl": collectives of TVM's Disco workers over memory that their processes share.  A worker is a process with a chip of its own (worker
// 0 a thread of the process that the session is in).
//
// Nobody waits for ever: who waits looks now and then whether some worker has failed or ended, and then throws.  What a worker calls next
// is compared with what the others of its group call, so that programs that have come apart are told and not mixed up.
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <tvm/runtime/disco/builtin.h>
#include <tvm/runtime/disco/disco_worker.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <climits>
#include <cstdio>
#include <cstring>
#include <ctime>

#include "plugin.h"

namespace oarlock_xpu {
namespace {
using tvm::runtime::DiscoWorker;
using tvm::runtime::Tensor;

constexpr size_t kSlot = 4 << 20;  // bytes of a worker that are exchanged at a time
constexpr int kMost = 64, kMaxRank = 8;

struct Barrier {
  std::atomic<uint32_t> arrived, generation;
};

struct Letter {  // to one worker
  std::atomic<uint32_t> full;
  int32_t from, rank;
  DLDataType dtype;
  int64_t shape[kMaxRank];
};

struct Shared {
  std::atomic<uint32_t> failed;  // the number of the worker that did, + 1
  Barrier barriers[kMost + 1];   // of groups, and the last of all
  uint64_t calls[kMost];         // what each worker does: kind and size
  Letter letters[kMost];
};
constexpr size_t kHeader = (sizeof(Shared) + 4095) / 4096 * 4096;
static_assert(std::atomic<uint32_t>::is_always_lock_free, "other processes use it");

size_t bytes_for(int workers) { return kHeader + 2 * kSlot * static_cast<size_t>(workers); }

struct Comm {
  Shared* shared = nullptr;
  int workers = 0, group_size = 0, id = 0;
  std::vector<int64_t> processes;

  ~Comm() { detach(); }
  void detach() {
    if (shared) munmap(shared, bytes_for(workers));
    shared = nullptr;
  }
  int group() const { return id / group_size; }
  int first() const { return group() * group_size; }
  char* slot(int worker) const { return reinterpret_cast<char*>(shared) + kHeader + kSlot * static_cast<size_t>(worker); }
  char* post(int worker) const { return slot(workers + worker); }
};
thread_local Comm comm;

Comm& joined() {
  if (!comm.shared) TVM_FFI_THROW(RuntimeError) << "a collective is called in a thread that is no worker of a parallel session";
  return comm;
}

bool alive(int64_t process) {
  char path[64], text[512];
  snprintf(path, sizeof(path), "/proc/%lld/stat", static_cast<long long>(process));
  FILE* file = fopen(path, "r");
  if (!file) return false;
  const size_t n = fread(text, 1, sizeof(text) - 1, file);
  fclose(file);
  text[n] = 0;
  const char* end = strrchr(text, ')');  // the name may have anything in it
  return end && end[1] == ' ' && end[2] != 'Z' && end[2] != 'X';
}

// Until *word is no longer `value`, or the other way round with `is`; throws when some worker has failed or ended.
void await(std::atomic<uint32_t>& word, uint32_t value, bool until_is = false) {
  Comm& c = comm;
  auto done = [&] { return (word.load(std::memory_order_acquire) == value) == until_is; };
  for (int spin = 0; spin < 200; ++spin)
    if (done()) return;
  while (!done()) {
    const uint32_t seen = word.load(std::memory_order_acquire);
    timespec patience{0, 100000000};
    if (!done()) syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT, seen, &patience, nullptr, 0);
    if (done()) return;
    if (const uint32_t failed = c.shared->failed.load()) TVM_FFI_THROW(RuntimeError) << "worker " << failed - 1 << " has failed";
    for (int i = 0; i < c.workers; ++i)
      if (!alive(c.processes[static_cast<size_t>(i)])) {
        uint32_t none = 0;
        c.shared->failed.compare_exchange_strong(none, static_cast<uint32_t>(i) + 1);
        TVM_FFI_THROW(RuntimeError) << "worker " << i << " has ended";
      }
  }
}

void wake(std::atomic<uint32_t>& word) { syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0); }

// `workers` of them pass together.
void meet(Barrier& barrier, int workers) {
  const uint32_t generation = barrier.generation.load();
  if (barrier.arrived.fetch_add(1) + 1 == static_cast<uint32_t>(workers)) {
    barrier.arrived.store(0);
    barrier.generation.fetch_add(1);
    wake(barrier.generation);
  } else {
    await(barrier.generation, generation);
  }
}

// The workers that take part: those of the group, or all.
struct Circle {
  int first, count;
  Barrier& barrier;
  void meet() { oarlock_xpu::meet(barrier, count); }
};

Circle circle(bool in_group) {
  Comm& c = joined();
  if (in_group) return {c.first(), c.group_size, c.shared->barriers[c.group()]};
  return {0, c.workers, c.shared->barriers[kMost]};
}

enum Kind : uint64_t { kAllReduce = 1, kAllGather, kBroadcast, kScatter, kGather };

// All of a circle call the same; else their programs have come apart.
void agree(Circle& who, Kind kind, uint64_t bytes, uint64_t detail = 0) {
  Comm& c = comm;
  c.shared->calls[c.id] = kind << 56 | detail << 48 | (bytes & 0xFFFFFFFFFFFF);
  who.meet();
  for (int i = who.first; i < who.first + who.count; ++i)
    if (c.shared->calls[i] != c.shared->calls[c.id])
      TVM_FFI_THROW(RuntimeError) << "workers " << c.id << " and " << i
                                  << " call different collectives, or with tensors of different sizes";
  who.meet();
}

size_t size_of(const Tensor& tensor) { return ffi::GetDataSize(*tensor.operator->()); }

void read(const Tensor& tensor, size_t offset, void* to, size_t size) {
  if (!size) return;
  const char* data = static_cast<const char*>(tensor->data) + tensor->byte_offset + offset;
  if (tensor->device.device_type == kXpu)
    check(xpu_memcpy(to, data, size, XPU_DEVICE_TO_HOST), "a collective reads from the device");
  else
    memcpy(to, data, size);
}

void write(const Tensor& tensor, size_t offset, const void* from, size_t size) {
  if (!size) return;
  char* data = static_cast<char*>(tensor->data) + tensor->byte_offset + offset;
  if (tensor->device.device_type == kXpu)
    check(xpu_memcpy(data, from, size, XPU_HOST_TO_DEVICE), "a collective writes to the device");
  else
    memcpy(data, from, size);
}

// Calls f(offset, size) for parts of so many bytes that fit a slot; all of a circle are done with one before the next begins.
template <typename F>
void in_parts(Circle& who, size_t bytes, F f) {
  for (size_t at = 0; at < bytes; at += kSlot) {
    f(at, std::min(kSlot, bytes - at));
    who.meet();
  }
}

template <typename T>
void reduce(std::vector<char>& into, const char* from, size_t bytes, int kind) {
  T* a = reinterpret_cast<T*>(into.data());
  const T* b = reinterpret_cast<const T*>(from);
  for (size_t i = 0; i < bytes / sizeof(T); ++i) switch (kind) {
      case 1:
        a[i] *= b[i];
        break;
      case 2:
        a[i] = std::min(a[i], b[i]);
        break;
      case 3:
        a[i] = std::max(a[i], b[i]);
        break;
      default:
        a[i] += b[i];
    }
}

void all_reduce(Tensor send, int kind, bool in_group, Tensor receive) {
  Circle who = circle(in_group);
  const DLDataType type = send->dtype;
  using Reduce = void (*)(std::vector<char>&, const char*, size_t, int);
  Reduce f = nullptr;
  if (type.code == kDLFloat) f = type.bits == 32 ? reduce<float> : type.bits == 64 ? reduce<double> : nullptr;
  if (type.code == kDLInt) f = type.bits == 32 ? reduce<int32_t> : type.bits == 64 ? reduce<int64_t> : nullptr;
  if (!f || kind < 0 || kind > 4 || (kind == 4 && type.code != kDLFloat))
    TVM_FFI_THROW(ValueError) << "no allreduce of kind " << kind << " for elements of " << static_cast<int>(type.bits) << " bits";
  const size_t bytes = size_of(send);
  if (size_of(receive) != bytes) TVM_FFI_THROW(ValueError) << "allreduce gives a tensor of the same size";
  agree(who, kAllReduce, bytes, static_cast<uint64_t>(kind));
  std::vector<char> sum;
  in_parts(who, bytes, [&](size_t at, size_t size) {
    read(send, at, comm.slot(comm.id), size);
    who.meet();
    // in the order of the workers everywhere: all get the same bits
    sum.assign(comm.slot(who.first), comm.slot(who.first) + size);
    for (int i = 1; i < who.count; ++i) f(sum, comm.slot(who.first + i), size, kind);
    if (kind == 4) {
      if (type.bits == 32)
        for (size_t i = 0; i < size / 4; ++i) reinterpret_cast<float*>(sum.data())[i] /= static_cast<float>(who.count);
      else
        for (size_t i = 0; i < size / 8; ++i) reinterpret_cast<double*>(sum.data())[i] /= who.count;
    }
    write(receive, at, sum.data(), size);
  });
}

void all_gather(Tensor send, bool in_group, Tensor receive) {
  Circle who = circle(in_group);
  const size_t bytes = size_of(send);
  if (size_of(receive) != bytes * static_cast<size_t>(who.count)) TVM_FFI_THROW(ValueError) << "allgather gives a tensor of another size";
  agree(who, kAllGather, bytes);
  in_parts(who, bytes, [&](size_t at, size_t size) {
    read(send, at, comm.slot(comm.id), size);
    who.meet();
    for (int i = 0; i < who.count; ++i) write(receive, static_cast<size_t>(i) * bytes + at, comm.slot(who.first + i), size);
  });
}

void broadcast(Tensor send, bool in_group, Tensor receive) {
  Circle who = circle(in_group);
  const size_t bytes = size_of(receive);
  agree(who, kBroadcast, bytes);
  in_parts(who, bytes, [&](size_t at, size_t size) {
    if (comm.id == who.first) read(send, at, comm.slot(who.first), size);
    who.meet();
    write(receive, at, comm.slot(who.first), size);
  });
}

void scatter(ffi::Optional<Tensor> send, bool in_group, Tensor receive) {
  Circle who = circle(in_group);
  const size_t bytes = size_of(receive);
  if (comm.id == who.first && (!send || size_of(*send) != bytes * static_cast<size_t>(who.count)))
    TVM_FFI_THROW(ValueError) << "scatter takes a tensor of another size";
  agree(who, kScatter, bytes);
  in_parts(who, bytes, [&](size_t at, size_t size) {
    if (comm.id == who.first)
      for (int i = 0; i < who.count; ++i) read(*send, static_cast<size_t>(i) * bytes + at, comm.slot(who.first + i), size);
    who.meet();
    write(receive, at, comm.slot(comm.id), size);
  });
}

void gather(Tensor send, bool in_group, ffi::Optional<Tensor> receive) {
  Circle who = circle(in_group);
  const size_t bytes = size_of(send);
  if (comm.id == who.first && (!receive || size_of(*receive) != bytes * static_cast<size_t>(who.count)))
    TVM_FFI_THROW(ValueError) << "gather gives a tensor of another size";
  agree(who, kGather, bytes);
  in_parts(who, bytes, [&](size_t at, size_t size) {
    read(send, at, comm.slot(comm.id), size);
    who.meet();
    if (comm.id == who.first)
      for (int i = 0; i < who.count; ++i) write(*receive, static_cast<size_t>(i) * bytes + at, comm.slot(who.first + i), size);
  });
}

// ---- from one worker to another

void send_to(Tensor tensor, int to) {
  Comm& c = joined();
  if (to < 0 || to >= c.workers || to == c.id) TVM_FFI_THROW(ValueError) << "there is no worker " << to << " to send to";
  if (tensor->ndim > kMaxRank) TVM_FFI_THROW(ValueError) << "a tensor of " << tensor->ndim << " dims is not sent";
  Letter& letter = c.shared->letters[to];
  const size_t bytes = size_of(tensor);
  size_t at = 0;
  do {  // an empty tensor is a letter too
    await(letter.full, 0, true);
    letter.from = c.id;
    letter.rank = tensor->ndim;
    letter.dtype = tensor->dtype;
    std::copy(tensor->shape, tensor->shape + tensor->ndim, letter.shape);
    const size_t size = std::min(kSlot, bytes - at);
    read(tensor, at, c.post(to), size);
    letter.full.store(1, std::memory_order_release);
    wake(letter.full);
    at += size;
  } while (at < bytes);
}

// A tensor that worker `from` sent: into `into`, where that is given, else a new one on the CPU.
Tensor receive_from(int from, ffi::Optional<Tensor> into) {
  Comm& c = joined();
  Letter& letter = c.shared->letters[c.id];
  size_t at = 0, bytes = 0;
  do {
    await(letter.full, 0);
    if (letter.from != from) TVM_FFI_THROW(RuntimeError) << "worker " << letter.from << " sends a tensor, and worker " << from << " should";
    if (!at) {
      const ffi::Shape shape(letter.shape, letter.shape + letter.rank);
      bytes = ffi::GetDataSize(shape.Product(), letter.dtype);
      if (!into) into = Tensor::Empty(shape, letter.dtype, Device{kDLCPU, 0});
      if (size_of(*into) != bytes) TVM_FFI_THROW(ValueError) << "a tensor of " << bytes << " bytes comes from worker " << from;
    }
    const size_t size = std::min(kSlot, bytes - at);
    write(*into, at, c.post(c.id), size);
    letter.full.store(0, std::memory_order_release);
    wake(letter.full);
    at += size;
  } while (at < bytes);
  return *into;
}

void send_to_next_group(Tensor tensor) { send_to(tensor, joined().id + joined().group_size); }
void receive_from_previous_group(Tensor tensor) { receive_from(joined().id - joined().group_size, tensor); }

// Memory for `workers`, by a descriptor that their processes inherit.
int64_t create(int workers) {
  if (workers < 1 || workers > kMost) TVM_FFI_THROW(ValueError) << workers << " workers: at most " << kMost << " are possible";
  const int descriptor = memfd_create("oarlock-bkcl", 0);
  if (descriptor < 0 || ftruncate(descriptor, static_cast<off_t>(bytes_for(workers))))
    TVM_FFI_THROW(RuntimeError) << "no memory for " << workers << " workers: " << strerror(errno);
  return descriptor;
}

void join(ffi::Shape processes, int64_t descriptor, int groups) {
  DiscoWorker* worker = DiscoWorker::ThreadLocal();
  Comm& c = comm;
  c.detach();
  c.workers = static_cast<int>(processes.size());
  if (groups < 1 || c.workers % groups) TVM_FFI_THROW(ValueError) << c.workers << " workers in " << groups << " groups";
  struct stat found {};
  if (fstat(static_cast<int>(descriptor), &found) || static_cast<size_t>(found.st_size) != bytes_for(c.workers))
    TVM_FFI_THROW(ValueError) << "the descriptor has no memory for " << c.workers << " workers";
  void* memory = mmap(nullptr, bytes_for(c.workers), PROT_READ | PROT_WRITE, MAP_SHARED, static_cast<int>(descriptor), 0);
  if (memory == MAP_FAILED) TVM_FFI_THROW(RuntimeError) << "the workers' memory cannot be mapped: " << strerror(errno);
  c.shared = static_cast<Shared*>(memory);
  c.group_size = c.workers / groups;
  c.id = worker->worker_id;
  c.processes.assign(processes.begin(), processes.end());
  worker->ccl = "bkcl";
  worker->default_device = Device{kXpu, 0};  // each process has one chip
  Circle all = circle(false);
  all.meet();
}

// Tell the others, whatever they wait for.
void fail(int64_t descriptor, int worker) {
  void* memory = mmap(nullptr, kHeader, PROT_READ | PROT_WRITE, MAP_SHARED, static_cast<int>(descriptor), 0);
  if (memory == MAP_FAILED) return;
  uint32_t none = 0;
  static_cast<Shared*>(memory)->failed.compare_exchange_strong(none, static_cast<uint32_t>(worker) + 1);
  munmap(memory, kHeader);
}
}  // namespace

TVM_FFI_STATIC_INIT_BLOCK() {
  tvm::ffi::reflection::GlobalDef()
      .def("oarlock_xpu.bkcl_create", create)
      .def("oarlock_xpu.bkcl_fail", fail)
      .def("oarlock_xpu.bkcl_send", send_to)
      .def("oarlock_xpu.bkcl_receive", [](int from) { return receive_from(from, std::nullopt); })
      .def("runtime.disco.bkcl.init_ccl_per_worker", join)
      .def("runtime.disco.bkcl.allreduce", all_reduce)
      .def("runtime.disco.bkcl.allgather", all_gather)
      .def("runtime.disco.bkcl.broadcast_from_worker0", broadcast)
      .def("runtime.disco.bkcl.scatter_from_worker0", scatter)
      .def("runtime.disco.bkcl.gather_to_worker0", gather)
      .def("runtime.disco.bkcl.send_to_worker", send_to)
      .def("runtime.disco.bkcl.recv_from_worker", [](Tensor into, int from) { receive_from(from, into); })
      .def("runtime.disco.bkcl.send_to_next_group", send_to_next_group)
      .def("runtime.disco.bkcl.recv_from_prev_group", receive_from_previous_group)
      .def("runtime.disco.bkcl.sync_worker", [] {
        const Device device = DiscoWorker::ThreadLocal()->default_device;
        tvm::runtime::DeviceAPI::Get(device)->StreamSync(device, nullptr);
      });
}
}  // namespace oarlock_xpu
