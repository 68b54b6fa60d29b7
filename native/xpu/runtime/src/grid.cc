// The grid: clusters one after another, the cores of a cluster as fibres.
//
// One fibre runs core after core.  Only where a core stops at a barrier does another fibre go on with the next core, so kernels without
// barriers never switch.  When all cores of the cluster stand at the barrier, they go on in turn.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

#include "core.h"

namespace xpu_sim {

thread_local Running* running = nullptr;
thread_local Core* current = nullptr;

namespace {
constexpr size_t kStack = 256 << 10;

struct Fibre {
  ucontext_t context;
  sigjmp_buf fault;
  std::vector<char> stack = std::vector<char>(kStack);
  Core* core = nullptr;  // that it runs, or that waits in it
};

struct Scheduler {
  ucontext_t main;
  Cluster* cluster;
  size_t next = 0;  // the core that was not started
  std::vector<std::unique_ptr<Fibre>> fibres;
  std::vector<Fibre*> idle, waiting;
  Fibre* active = nullptr;
};
thread_local Scheduler* scheduler = nullptr;

void finish(Core& core) {
  core.ended = true;
  if (!core.late.empty()) kernel_fault(core.late);
  if (!core.flights.empty()) {
    const Flight& f = core.flights.front();
    kernel_fault(format("ends with %zu transfers that were never fenced, the first started at %s: call mfence() before the kernel ends",
                        core.flights.size(), at(f.place).c_str()));
  }
}

void fibre_main() {
  Scheduler& s = *scheduler;
  Fibre& me = *s.active;
  if (sigsetjmp(me.fault, 0) == 0) {
    while (s.next < s.cluster->cores.size()) {
      Core& core = s.cluster->cores[s.next++];
      me.core = current = &core;
      running->launch->kernel->run(running->launch->arguments.data());
      current = &core;
      finish(core);
    }
  }
  current = nullptr;
  s.idle.push_back(&me);
  swapcontext(&me.context, &s.main);
  abort();  // an idle fibre is started anew, not resumed
}

void start(Scheduler& s) {
  if (s.idle.empty()) {
    s.fibres.push_back(std::make_unique<Fibre>());
    s.idle.push_back(s.fibres.back().get());
  }
  Fibre* fibre = s.active = s.idle.back();
  s.idle.pop_back();
  getcontext(&fibre->context);
  fibre->context.uc_stack.ss_sp = fibre->stack.data();
  fibre->context.uc_stack.ss_size = fibre->stack.size();
  fibre->context.uc_link = nullptr;
  makecontext(&fibre->context, fibre_main, 0);
  swapcontext(&s.main, &fibre->context);
}

void release_barrier(Scheduler& s) {
  for (const Core& core : s.cluster->cores) {
    if (!core.ended) continue;
    const Core& stuck = *s.waiting.front()->core;
    running->fault = format("%s: cluster %d hangs: core %d waits in sync_cluster at %s, and core %d ended without it",
                            place_of_kernel().c_str(), s.cluster->number, stuck.ids.core, at(stuck.waiting).c_str(), core.ids.core);
    return;
  }
  double latest = 0;
  for (const Core& core : s.cluster->cores) latest = std::max(latest, core.now);
  std::vector<Fibre*> group;
  group.swap(s.waiting);
  ++running->counters.barriers;
  for (Fibre* fibre : group) {
    fibre->core->now = latest;
    ++fibre->core->epoch;
  }
  for (Fibre* fibre : group) {
    if (!running->fault.empty()) return;
    s.active = fibre;
    swapcontext(&s.main, &fibre->context);
  }
}

void run_cluster(Scheduler& s, Cluster& cluster) {
  s.cluster = &cluster;
  s.next = 0;
  s.idle.clear();
  s.waiting.clear();
  for (auto& fibre : s.fibres) s.idle.push_back(fibre.get());
  while (running->fault.empty()) {
    if (s.next < cluster.cores.size()) {
      start(s);
    } else if (!s.waiting.empty()) {
      release_barrier(s);
    } else {
      return;
    }
  }
}

void prepare(Cluster& cluster, int number, const Launch& launch) {
  const int64_t capacity = running->capacity, room = capacity + 64;
  cluster.number = number;
  cluster.local.resize((launch.cores * room) + 64);
  cluster.shares.clear();
  cluster.shared_top = 0;
  cluster.cores.assign(launch.cores, Core());
  char* memory = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(cluster.local.data()) + 63) / 64 * 64);
  for (int i = 0; i < launch.cores; ++i) {
    Core& core = cluster.cores[i];
    core.ids = {i, launch.cores, number, launch.clusters};
    core.cluster = &cluster;
    core.memory = memory + i * room / 64 * 64;
  }
}

double modelled_ns(const Launch& launch, const KernelCounters& c, double slowest) {
  const Chip& chip = *launch.device->chip;
  double gm = (c.gm_read + c.gm_written) / chip.gm_rate(), l3 = (c.l3_read + c.l3_written) / chip.l3_rate();
  const double launched = !launch.replayed ? chip.launch_us : graph_starts() ? 0 : chip.replay_us;
  graph_starts() = false;
  return launched * 1e3 + std::max({slowest, gm, l3});
}
}  // namespace

bool& graph_starts() {
  static bool starts = false;
  return starts;
}

bool in_kernel() { return current != nullptr; }

std::string at(const Place& place) {
  const char* name = place.file ? strrchr(place.file, '/') : nullptr;
  return format("%s:%d", name ? name + 1 : place.file ? place.file : "?", place.line);
}

std::string place_of_kernel() {
  if (!running) return "no kernel";
  const XPUKernelInfo& k = *running->launch->kernel;
  std::string text = format("kernel %s (%s)", k.name, at({k.file, k.line}).c_str());
  if (current) text += format(k.is_sdnn ? ", matrix unit %d" : ", cluster %d, core %d", current->ids.cluster, current->ids.core);
  return text;
}

void kernel_fault(const std::string& what) {
  if (running->fault.empty()) running->fault = place_of_kernel() + ": " + what;
  siglongjmp(scheduler->active->fault, 1);
}

Core& core_or_abort(const char* what, const char* file, int line) {
  if (current) return *current;
  fprintf(stderr, "xpu: %s at %s:%d is called outside of a kernel: launch the kernel\n", what, file, line);
  abort();
}

void run_kernel(const Launch& launch) {
  const Chip& chip = *launch.device->chip;
  Running run{};
  run.launch = &launch;
  const double units = static_cast<double>(launch.clusters) * launch.cores, widest = 16e-3 * chip.mhz;  // 16 bytes a cycle
  run.core_bytes_ns_gm = launch.kernel->is_sdnn ? chip.gm_rate() / units : std::min(chip.gm_rate() / units, widest);
  run.core_bytes_ns_l3 = launch.kernel->is_sdnn ? chip.l3_rate() / units : std::min(chip.l3_rate() / units, widest);
  run.capacity = launch.kernel->is_sdnn ? chip.sdnn_mem : chip.lm;

  static thread_local Cluster cluster;
  static thread_local Scheduler own;
  running = &run;
  scheduler = &own;
  double slowest = 0, compute = 0, dma = 0;
  for (int number = 0; number < launch.clusters && run.fault.empty(); ++number) {
    prepare(cluster, number, launch);
    run_cluster(own, cluster);
    for (const Core& core : cluster.cores) {
      compute = std::max(compute, core.now);
      dma = std::max(dma, core.dma_free);
      slowest = std::max(compute, dma);
      run.counters.lm_peak = std::max(run.counters.lm_peak, core.peak);
    }
    run.counters.sm_peak = std::max(run.counters.sm_peak, cluster.shared_top);
  }
  current = nullptr;
  if (run.fault.empty() && launch.kernel->is_checked) {
    std::string race = find_global_race(run.accesses);
    if (!race.empty()) run.fault = place_of_kernel() + ": " + race;
  }
  running = nullptr;
  if (!run.fault.empty()) fail(XPUERR_KERNEL_FAULT, run.fault);
  KernelCounters& total = launch.device->kernels[launch.kernel->name];
  const KernelCounters& c = run.counters;
  ++total.launches;
  total.replayed += launch.replayed;
  total.compute_ns += compute;
  total.dma_ns += dma;
  for (auto field : {&KernelCounters::gm_read, &KernelCounters::gm_written, &KernelCounters::l3_read, &KernelCounters::l3_written,
                     &KernelCounters::dma, &KernelCounters::ops, &KernelCounters::macs, &KernelCounters::barriers})
    total.*field += c.*field;
  total.lm_peak = std::max(total.lm_peak, c.lm_peak);
  total.sm_peak = std::max(total.sm_peak, c.sm_peak);
  total.modelled_ns += modelled_ns(launch, c, slowest);
}

}  // namespace xpu_sim

using namespace xpu_sim;

extern "C" {

const XPUCoreIds* xpu_emu_ids(void) { return &core_or_abort("core_id", "?", 0).ids; }

void xpu_emu_sync_cluster(const char* file, int line) {
  Core& core = core_or_abort("sync_cluster", file, line);
  core.waiting = {file, line};
  Scheduler& s = *scheduler;
  Fibre* me = s.active;
  s.waiting.push_back(me);
  swapcontext(&me->context, &s.main);
  current = me->core;
  current->waiting = {nullptr, 0};
}

void xpu_emu_fail(const char* what, const char* file, int line) {
  core_or_abort(what, file, line);
  kernel_fault(format("%s at %s", what, at({file, line}).c_str()));
}

void xpu_emu_ops(int64_t count) {
  Core& core = core_or_abort("XPU_OPS", "?", 0);
  running->counters.ops += count;
  core.now += count / (16e-3 * running->launch->device->chip->mhz);  // one vector of 16 a cycle
}
}
