// The threads of a block as fibres (x86-64).
#include <emulated.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

Index threadIdx, blockIdx, blockDim, gridDim;
char emulated_slots[1024][8];
unsigned emulated_thread = 0;

namespace {
constexpr size_t kStack = 64 << 10;
enum State { RUN, BLOCK, WARP, DONE };
struct Fibre {
  void* sp;
  State state;
} fibres[1024];
void* scheduler_sp;
char* stacks = nullptr;
void (*current_kernel)(void**);
void** current_arguments;
bool alone;  // the kernel has no barriers: its threads run one after another, without fibres

extern "C" void emulated_switch(void** from, void* to);
asm(R"(
.globl emulated_switch
.hidden emulated_switch
emulated_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
)");

void start() {
  current_kernel(current_arguments);
  fibres[emulated_thread].state = DONE;
  emulated_switch(&fibres[emulated_thread].sp, scheduler_sp);
}

void wait(State state) {
  if (alone) {
    fprintf(stderr, "a barrier in a kernel that was said to have none\n");
    abort();
  }
  fibres[emulated_thread].state = state;
  emulated_switch(&fibres[emulated_thread].sp, scheduler_sp);
}

void at(unsigned thread) {
  emulated_thread = thread;
  threadIdx = {thread % blockDim.x, thread / blockDim.x % blockDim.y, thread / blockDim.x / blockDim.y};
}

void run_block(unsigned threads) {
  if (alone) {
    for (unsigned i = 0; i < threads; ++i) at(i), current_kernel(current_arguments);
    return;
  }
  if (!stacks) stacks = (char*)mmap(nullptr, 1024 * kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  for (unsigned i = 0; i < threads; ++i) {
    void** top = (void**)(stacks + (i + 1) * kStack) - 3;  // so that start() finds the stack as a call leaves it
    *--top = (void*)start;
    fibres[i] = {top - 6, RUN};
  }
  for (unsigned left = threads; left;) {
    bool moved = false;
    for (unsigned i = 0; i < threads; ++i) {
      if (fibres[i].state != RUN) continue;
      moved = true;
      at(i);
      emulated_switch(&scheduler_sp, fibres[i].sp);
      left -= fibres[i].state == DONE;
    }
    // a warp goes on when none of its threads can run otherwise
    for (unsigned warp = 0; warp < threads; warp += 32)
      for (unsigned i = warp; i < warp + 32 && i < threads; ++i)
        if (fibres[i].state == WARP) fibres[i].state = RUN, moved = true;
    if (!moved) {  // every thread that is left stands at the block's barrier
      for (unsigned i = 0; i < threads; ++i)
        if (fibres[i].state == BLOCK) fibres[i].state = RUN;
    }
  }
}
}  // namespace

void emulated_wait_block() { wait(BLOCK); }
void emulated_wait_warp() { wait(WARP); }

extern "C" __attribute__((visibility("default"))) void emulated_enter(const unsigned* grid, const unsigned* block,
                                                                     const EmulatedKernel* kernel, void** arguments) {
  gridDim = {grid[0], grid[1], grid[2]};
  blockDim = {block[0], block[1], block[2]};
  current_kernel = kernel->run;
  alone = !kernel->barriers;
  current_arguments = arguments;
  unsigned threads = block[0] * block[1] * block[2];
  for (blockIdx.z = 0; blockIdx.z < grid[2]; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < grid[1]; ++blockIdx.y)
      for (blockIdx.x = 0; blockIdx.x < grid[0]; ++blockIdx.x) run_block(threads);
}
