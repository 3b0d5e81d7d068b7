// Runs a kernel's source on one CPU core. Each thread of the kernel is a fiber.
//
// A fiber yields at every barrier, at every exchange between lanes and at every poll of memory.
// All blocks therefore make progress together, as resident blocks do on a GPU.
#pragma once
#include <cmath>
#include <csetjmp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <ucontext.h>
#include <vector>

#define EMULATED
#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)

struct alignas(16) float4 { float x, y, z, w; };
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline unsigned __float_as_uint(float v) { unsigned u; std::memcpy(&u, &v, 4); return u; }
inline float __uint_as_float(unsigned u) { float v; std::memcpy(&v, &u, 4); return v; }
inline float __expf(float v) { return std::exp(v); }
inline float rsqrtf(float v) { return 1.0f / std::sqrt(v); }

struct Index { int x = 0, y = 0; };
struct Barrier { int arrived = 0; long passed = 0; };
struct Warp { Barrier barrier; float values[2][32]; };
struct Block {
  Index index;
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<float4> shared;
  float per_warp[8];
};
struct Fiber {
  ucontext_t context;
  jmp_buf place;
  bool begun = false;
  std::unique_ptr<char[]> stack;
  Block* block;
  int thread;
  long exchanges = 0;
  bool done = false;
};

inline Fiber* running;
inline Index grid_size;
inline jmp_buf scheduler_place;
// Only the first resume uses setcontext, which makes a system call. Later ones use longjmp.
inline void yield_fiber() {
  if (!_setjmp(running->place)) _longjmp(scheduler_place, 1);
}
inline void resume(Fiber& fiber) {
  running = &fiber;
  if (_setjmp(scheduler_place)) return;
  if (fiber.begun) _longjmp(fiber.place, 1);
  fiber.begun = true;
  setcontext(&fiber.context);
}
inline void meet(Barrier& barrier, int count) {
  const long before = barrier.passed;
  if (++barrier.arrived == count) { barrier.arrived = 0; barrier.passed++; return; }
  while (barrier.passed == before) yield_fiber();
}

#define threadIdx (Index{running->thread, 0})
#define blockIdx (running->block->index)
#define gridDim (grid_size)
inline void __syncthreads() { meet(running->block->barrier, 256); }
inline float exchange(float value, int from) {
  Warp& warp = running->block->warps[running->thread / 32];
  float* values = warp.values[running->exchanges++ & 1];  // two buffers: a lane may be one exchange ahead
  values[running->thread % 32] = value;
  meet(warp.barrier, 32);
  return values[from];
}
inline void __syncwarp() { exchange(0, 0); }
inline float __shfl_sync(unsigned, float value, int from) { return exchange(value, from); }
inline float __shfl_xor_sync(unsigned, float value, int mask) {
  return exchange(value, (running->thread % 32) ^ mask);
}
inline void load(const float* address, unsigned& a, unsigned& b, unsigned& c, unsigned& d) {
  yield_fiber();
  unsigned words[4];
  std::memcpy(words, address, 16);
  a = words[0]; b = words[1]; c = words[2]; d = words[3];
}
inline void prefetch(float4* to, const float* from) { std::memcpy(to, from, 16); }
inline void end_prefetch() {}
inline int poll(const int* address) { yield_fiber(); return *address; }
inline int atomicAdd(int* address, int more) { const int before = *address; *address += more; return before; }
inline void __threadfence() {}
inline float __ldcg(const float* address) { return *address; }
inline void store(float* address, unsigned bits) { std::memcpy(address, &bits, 4); }

template <class Kernel> void launch(int blocks, int layers, size_t shared_bytes, Kernel kernel) {
  static Kernel* body;
  body = &kernel;
  grid_size = {blocks, layers};
  std::vector<Block> grid(static_cast<size_t>(blocks) * layers);
  std::vector<Fiber> fibers(grid.size() * 256);
  for (size_t i = 0; i < grid.size(); i++) {
    grid[i].index = {static_cast<int>(i % blocks), static_cast<int>(i / blocks)};
    grid[i].warps.resize(8);
    grid[i].shared.resize(shared_bytes / sizeof(float4));
  }
  for (size_t i = 0; i < fibers.size(); i++) {
    Fiber& fiber = fibers[i];
    fiber.block = &grid[i / 256];
    fiber.thread = static_cast<int>(i % 256);
    const size_t size = 32 * 1024;
    fiber.stack.reset(new char[size]);
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = size;
    makecontext(&fiber.context, +[] { (*body)(); running->done = true; _longjmp(scheduler_place, 1); }, 0);
  }
  for (bool working = true; working;) {
    working = false;
    for (Fiber& fiber : fibers)
      if (!fiber.done) { working = true; resume(fiber); }
  }
}
