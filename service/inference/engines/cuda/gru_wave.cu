// A stack of GRU layers over whole contexts, or over many single steps, in one persistent launch.
//
// Every weight stays on its multiprocessor: in registers, or in shared memory for those inputs
// of layer 0 that exceed the width of the hidden state. Layers run as a wavefront: layer l
// processes vector t while layer l - 1 processes vector t + 1. Blocks do not synchronise by
// barriers. Instead the host fills `x` and `seq` with a NaN bit pattern (UNSET) that no writer
// produces, and a reader polls an address until the pattern is gone. The kernel may therefore
// start before the vectors have arrived.
//
// Whole contexts (CARRIED = 1): NB rows carry their state from vector to vector.
// Single steps (CARRIED = 0): T groups of NB rows pass through the layers one after the other;
// each row starts from its own state.
//
// A block has 8 warps and computes 16 hidden units of one layer; a warp computes 2 units.
// A launch covers gridDim.y layers from `first` on; all its blocks must be resident at once
// (a cooperative launch refuses what does not fit).
//
// The cell is PyTorch's (https://docs.pytorch.org/docs/stable/generated/torch.nn.GRU.html),
// gates in the order reset, update, new.
//
// Compile with -DDIM=<width of a vector> -DHIDDEN=<units of a layer> -DNB=<rows side by side>
// -DCARRIED=<1 or 0>. DIM and HIDDEN must be multiples of 128, and DIM >= HIDDEN. HIDDEN = 512
// is the largest width whose weights fit.
#define H HIDDEN
#define BLOCK 256
#define HIDDEN_QUADS (H / 4)
#define INPUT_QUADS (DIM / 4)
#define QUADS_PER_LANE (H / 128)                    // float4s of a state that a lane reads
#define EXTRA_QUADS (DIM / 128 - QUADS_PER_LANE)    // further float4s of a vector
#define UNSET 0xFFFFFFFFu
#define SPIN_LIMIT (1 << 22)                        // about three seconds; then `failed` is set
#define FULL 0xFFFFFFFFu

#ifndef EMULATED  // tests/support/cuda_emulation.h defines these for the CPU
#if __CUDA_ARCH__ >= 800
// Copies 16 bytes to shared memory asynchronously, bypassing the L1 cache.
__device__ __forceinline__ void prefetch(float4* to, const float* from) {
  unsigned address = (unsigned)__cvta_generic_to_shared(to);
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(address), "l"(from) : "memory");
}
__device__ __forceinline__ void end_prefetch() { asm volatile("cp.async.wait_all;" ::: "memory"); }
#else
__device__ __forceinline__ void prefetch(float4* to, const float* from) { to->x = __uint_as_float(UNSET); }
__device__ __forceinline__ void end_prefetch() {}
#endif
__device__ __forceinline__ void load(const float* address, unsigned& a, unsigned& b, unsigned& c, unsigned& d) {
  asm volatile("ld.volatile.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(a), "=r"(b), "=r"(c), "=r"(d) : "l"(address) : "memory");
}
__device__ __forceinline__ void store(float* address, unsigned bits) {
  asm volatile("st.volatile.global.u32 [%0], %1;" :: "l"(address), "r"(bits) : "memory");
}
#endif

__device__ __forceinline__ float4 wait_for(const float* address, int* failed) {
  unsigned a, b, c, d;
  int spins = 0;
  do {
    load(address, a, b, c, d);
    if (++spins > SPIN_LIMIT) { *failed = 1; break; }
  } while (a == UNSET || b == UNSET || c == UNSET || d == UNSET);
  return make_float4(__uint_as_float(a), __uint_as_float(b), __uint_as_float(c), __uint_as_float(d));
}

__device__ __forceinline__ bool is_unset(float4 v) {
  return __float_as_uint(v.x) == UNSET || __float_as_uint(v.y) == UNSET || __float_as_uint(v.z) == UNSET ||
         __float_as_uint(v.w) == UNSET;
}

__device__ __forceinline__ void publish(float* address, float value) {
  unsigned bits = __float_as_uint(value);
  if (bits == UNSET) bits = 0x7FC00000u;  // the canonical NaN: readers would wait for UNSET forever
  store(address, bits);
}

__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }
__device__ __forceinline__ float fast_tanh(float x) { return 2.0f / (1.0f + __expf(-2.0f * x)) - 1.0f; }

__device__ __forceinline__ float sum_over_warp(float v) {
  #pragma unroll
  for (int offset = 16; offset; offset >>= 1) v += __shfl_xor_sync(FULL, v, offset);
  return v;
}

// Sums each of a lane's eight values over the warp. Lane l returns the sum of value l >> 2.
__device__ __forceinline__ float reduce_eight(float (&v)[8], int lane) {
  #pragma unroll
  for (int i = 0; i < 4; i++) {
    float give = (lane & 16) ? v[i] : v[i + 4], keep = (lane & 16) ? v[i + 4] : v[i];
    v[i] = keep + __shfl_xor_sync(FULL, give, 16);
  }
  #pragma unroll
  for (int i = 0; i < 2; i++) {
    float give = (lane & 8) ? v[i] : v[i + 2], keep = (lane & 8) ? v[i + 2] : v[i];
    v[i] = keep + __shfl_xor_sync(FULL, give, 8);
  }
  float give = (lane & 4) ? v[0] : v[1], keep = (lane & 4) ? v[1] : v[0];
  float s = keep + __shfl_xor_sync(FULL, give, 4);
  s += __shfl_xor_sync(FULL, s, 2);
  s += __shfl_xor_sync(FULL, s, 1);
  return s;
}

__device__ __forceinline__ float dot4(const float* w, float4 x) {
  return w[0] * x.x + w[1] * x.y + w[2] * x.z + w[3] * x.w;
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
gru_wave(const float* __restrict__ w0,  // [3H][DIM]      layer 0, of the normalised vector
         const float* __restrict__ w,   // [L][3H][H]     other layers, of the layer below; [0] is unused
         const float* __restrict__ u,   // [L][3H][H]     of the layer's state
         const float* __restrict__ bi,  // [L][3H]        biases of the input
         const float* __restrict__ bh,  // [L][3H]        biases of the state
         const float* __restrict__ h0,  // [L][NB][H]     states before the first vector;
                                        // CARRIED = 0: [L][T][NB][H], one per step
         const float* x,                // [T][NB][DIM]   vectors, UNSET until they arrive
         float* seq,                    // [L][T][NB][H]  out: states after each vector, initially UNSET
         int T, int first, float epsilon, int* failed) {
  const int layer = first + blockIdx.y, tid = threadIdx.x, warp = tid >> 5, lane = tid & 31;
  const int unit = blockIdx.x * 16 + warp * 2;  // and unit + 1
  // Layout: states [2][NB][HIDDEN_QUADS]; inputs [2][NB][INPUT_QUADS]; layer 0's extra weights
  // [8 warps][2 units * 3 gates][EXTRA_QUADS][32 lanes]; constants [16 units][8].
  extern __shared__ float4 shared[];
  float4* states = shared;
  float4* inputs = shared + 2 * NB * HIDDEN_QUADS;
  float4* extra = inputs + 2 * NB * INPUT_QUADS + warp * 6 * EXTRA_QUADS * 32;

  float wu[2][3][4 * QUADS_PER_LANE], wx[2][3][4 * QUADS_PER_LANE];
  const float* in_weights = layer ? w + (size_t)layer * 3 * H * H : w0;
  const int in_width = layer ? H : DIM;
  #pragma unroll
  for (int i = 0; i < 2; i++)
    #pragma unroll
    for (int g = 0; g < 3; g++) {
      const size_t row = (size_t)(g * H + unit + i);
      #pragma unroll
      for (int j = 0; j < QUADS_PER_LANE; j++) {
        float4 a = *(const float4*)(u + ((size_t)layer * 3 * H + row) * H + 4 * (lane + 32 * j));
        wu[i][g][4 * j] = a.x; wu[i][g][4 * j + 1] = a.y; wu[i][g][4 * j + 2] = a.z; wu[i][g][4 * j + 3] = a.w;
        float4 c = *(const float4*)(in_weights + row * in_width + 4 * (lane + 32 * j));
        wx[i][g][4 * j] = c.x; wx[i][g][4 * j + 1] = c.y; wx[i][g][4 * j + 2] = c.z; wx[i][g][4 * j + 3] = c.w;
      }
      if (!layer)
        #pragma unroll
        for (int j = 0; j < EXTRA_QUADS; j++)
          extra[((i * 3 + g) * EXTRA_QUADS + j) * 32 + lane] =
              *(const float4*)(w0 + row * DIM + 4 * (lane + 32 * (j + QUADS_PER_LANE)));
    }
  const int mine = unit + (lane >> 4);  // the unit whose state this lane computes
  // A unit's three biases and, for layer 0, the sums of its three rows of w0. Layer 0 multiplies
  // by the unnormalised vector d and normalises the product afterwards:
  // W (d - mean) scale = scale W d - scale mean (row sums of W).
  float* constants = (float*)(inputs + 2 * NB * INPUT_QUADS + BLOCK / 32 * 6 * EXTRA_QUADS * 32) + (mine & 15) * 8;
  #pragma unroll
  for (int i = 0; i < 2; i++)
    #pragma unroll
    for (int g = 0; g < 3; g++) {
      float s = 0;
      if (!layer)
        for (int j = lane; j < DIM; j += 32) s += w0[(g * H + unit + i) * DIM + j];
      s = sum_over_warp(s);
      if (lane == 16 * i) {
        const int row = layer * 3 * H + g * H + mine;
        constants[g] = bi[row] + (g < 2 ? bh[row] : 0);
        constants[4 + g] = s;
      }
    }
  __syncwarp();
  const float b_own = bh[layer * 3 * H + 2 * H + mine];

  float bias[NB][3];   // biases of this lane's unit, including the LayerNorm's mean
  float px[NB][2][3];  // this lane's part of the input's contribution to each gate
  auto read_input = [&](int t) {
    const int p = t & 1;
    const int quads = layer ? HIDDEN_QUADS : INPUT_QUADS;
    const float* from = layer ? seq + ((layer - 1) * T + t) * NB * H : x + t * NB * DIM;
    float4* to = inputs + p * NB * INPUT_QUADS;
    if (!layer) end_prefetch();
    for (int i = tid; i < NB * quads; i += BLOCK)
      if (layer || is_unset(to[i])) to[i] = wait_for(from + 4 * i, failed);
    __syncthreads();
    #pragma unroll
    for (int b = 0; b < NB; b++) {
      const float4* row = to + b * quads + lane;
      #pragma unroll
      for (int i = 0; i < 2; i++)
        #pragma unroll
        for (int g = 0; g < 3; g++) px[b][i][g] = 0;
      if (layer) {
        #pragma unroll
        for (int g = 0; g < 3; g++) bias[b][g] = constants[g];
        #pragma unroll
        for (int j = 0; j < QUADS_PER_LANE; j++) {
          const float4 v = row[32 * j];
          #pragma unroll
          for (int i = 0; i < 2; i++)
            #pragma unroll
            for (int g = 0; g < 3; g++) px[b][i][g] += dot4(&wx[i][g][4 * j], v);
        }
        continue;
      }
      // LayerNorm. Its affine scale and shift are folded into w0 and bi. The first value is
      // subtracted from all of them, so that a large common offset does not cost precision.
      const float origin = to[b * quads].x;
      float s = 0, q = 0;
      #pragma unroll
      for (int j = 0; j < QUADS_PER_LANE + EXTRA_QUADS; j++) {
        float4 v = row[32 * j];
        v.x -= origin; v.y -= origin; v.z -= origin; v.w -= origin;
        s += v.x + v.y + v.z + v.w;
        q += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
        #pragma unroll
        for (int k = 0; k < 6; k++)
          if (j < QUADS_PER_LANE) {
            px[b][k / 3][k % 3] += dot4(&wx[k / 3][k % 3][4 * (j % QUADS_PER_LANE)], v);
          } else {
            const float4 c = extra[(k * EXTRA_QUADS + j - QUADS_PER_LANE) * 32 + lane];
            px[b][k / 3][k % 3] += c.x * v.x + c.y * v.y + c.z * v.z + c.w * v.w;
          }
      }
      s = sum_over_warp(s) * (1.0f / DIM);
      q = sum_over_warp(q) * (1.0f / DIM);
      const float scale = rsqrtf(q - s * s + epsilon);
      #pragma unroll
      for (int g = 0; g < 3; g++) bias[b][g] = constants[g] - s * scale * constants[4 + g];
      #pragma unroll
      for (int k = 0; k < 6; k++) px[b][k / 3][k % 3] *= scale;
    }
  };

  // Layer 0 does not wait for its input: it prefetches the next vector during the current step.
  auto fetch_ahead = [&](int t) {
    if (layer || t >= T) return;
    float4* to = inputs + (t & 1) * NB * INPUT_QUADS;
    for (int i = tid; i < NB * INPUT_QUADS; i += BLOCK) prefetch(to + i, x + t * NB * DIM + 4 * i);
  };

  fetch_ahead(0);
  read_input(0);
  for (int t = 0; t < T; t++) {
    fetch_ahead(t + 1);
    float4* to = states + (t & 1) * NB * HIDDEN_QUADS;
    if (t == 0 || !CARRIED) {
      const float4* from = (const float4*)(h0 + (CARRIED ? layer : layer * T + t) * NB * H);
      for (int i = tid; i < NB * HIDDEN_QUADS; i += BLOCK) to[i] = from[i];
    } else {
      const float* from = seq + (layer * T + t - 1) * NB * H;
      for (int i = tid; i < NB * HIDDEN_QUADS; i += BLOCK) to[i] = wait_for(from + 4 * i, failed);
    }
    __syncthreads();
    #pragma unroll
    for (int b = 0; b < NB; b++) {
      // Per unit: reset, update, the state's part of the new gate, the input's part of it.
      float v[8];
      #pragma unroll
      for (int i = 0; i < 2; i++) {
        v[4 * i] = px[b][i][0]; v[4 * i + 1] = px[b][i][1]; v[4 * i + 2] = 0; v[4 * i + 3] = px[b][i][2];
      }
      #pragma unroll
      for (int j = 0; j < QUADS_PER_LANE; j++) {
        float4 h = to[b * HIDDEN_QUADS + lane + 32 * j];
        #pragma unroll
        for (int i = 0; i < 2; i++)
          #pragma unroll
          for (int g = 0; g < 3; g++) v[4 * i + g] += dot4(&wu[i][g][4 * j], h);
      }
      const float s = reduce_eight(v, lane);
      const int base = lane & 16;
      const float reset = sigmoid(__shfl_sync(FULL, s, base) + bias[b][0]);
      const float update = sigmoid(__shfl_sync(FULL, s, base + 4) + bias[b][1]);
      const float own = __shfl_sync(FULL, s, base + 8) + b_own;
      const float fresh = fast_tanh(__shfl_sync(FULL, s, base + 12) + bias[b][2] + reset * own);
      const float before = ((const float*)(to + b * HIDDEN_QUADS))[mine];
      if ((lane & 15) == 0) publish(seq + ((layer * T + t) * NB + b) * H + mine, fresh + update * (before - fresh));
    }
    if (t + 1 < T) read_input(t + 1);  // overlaps the propagation of the state to the other blocks
  }
}
