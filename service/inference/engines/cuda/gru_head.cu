// The head of the Memory-Augmented GRU: it reads the memory by content and computes the fusion
// layer and the two output layers. Input: the last layer's state. Output: the predicted vector,
// not yet normalised. One cooperative launch handles any number of rows, NB at a time. Barriers
// over the whole grid separate its four phases.
//
// The exporter has folded all constants, including the affine parts of both LayerNorms, into
// the weights. Weights are [outputs][inputs]; their rows are aligned to 16 bytes.
//
// Compile with -DNB=<rows at a time> and four multiples of 128: -DDIM=<width of a vector>
// -DHIDDEN=<units of a layer> -DSLOTS=<slots of the memory> -DEXPANDED=<units between the two
// output layers>.
#define BLOCK 256
#define WARPS (BLOCK / 32)
#define FULL 0xFFFFFFFFu
#define FIRST (DIM + SLOTS + HIDDEN)  // outputs of the first phase: query, products, the state's part of the fusion
#define SMALLEST_NORM 1e-12f          // as in torch.nn.functional.normalize

#ifndef EMULATED  // tests/support/cuda_emulation.h defines these for the CPU
__device__ __forceinline__ int poll(const int* address) {
  int value;
  asm volatile("ld.volatile.global.s32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}
#endif

__device__ __forceinline__ float sum_over_warp(float v) {
  #pragma unroll
  for (int offset = 16; offset; offset >>= 1) v += __shfl_xor_sync(FULL, v, offset);
  return v;
}
__device__ __forceinline__ float max_over_warp(float v) {
  #pragma unroll
  for (int offset = 16; offset; offset >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL, v, offset));
  return v;
}
// The sum (or the maximum) over the block, returned to every thread. `per_warp` holds WARPS floats.
__device__ __forceinline__ float sum_over_block(float v, float* per_warp) {
  v = sum_over_warp(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) per_warp[threadIdx.x >> 5] = v;
  __syncthreads();
  float s = 0;
  for (int i = 0; i < WARPS; i++) s += per_warp[i];
  return s;
}
__device__ __forceinline__ float max_over_block(float v, float* per_warp) {
  v = max_over_warp(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) per_warp[threadIdx.x >> 5] = v;
  __syncthreads();
  float m = per_warp[0];
  for (int i = 1; i < WARPS; i++) m = fmaxf(m, per_warp[i]);
  return m;
}
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

// One output for each of NB rows. `weights` is [N]; `rows` is [NB][N] in shared memory.
template <int N> __device__ __forceinline__ void dot_rows(const float* weights, const float* rows, float (&out)[NB]) {
  const int lane = threadIdx.x & 31;
  #pragma unroll
  for (int b = 0; b < NB; b++) out[b] = 0;
  #pragma unroll
  for (int j = 0; j < N / 128; j++) {
    const float4 w = *(const float4*)(weights + 4 * (lane + 32 * j));
    #pragma unroll
    for (int b = 0; b < NB; b++) {
      const float4 x = *(const float4*)(rows + b * N + 4 * (lane + 32 * j));
      out[b] += w.x * x.x + w.y * x.y + w.z * x.z + w.w * x.w;
    }
  }
  #pragma unroll
  for (int b = 0; b < NB; b++) out[b] = sum_over_warp(out[b]);
}

// A barrier over the grid. `arrived` counts all arrivals of a launch; the host resets it to 0.
__device__ __forceinline__ void sync_grid(int* arrived, int expected) {
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    atomicAdd(arrived, 1);
    while (poll(arrived) < expected) {}
  }
  __syncthreads();
  __threadfence();
}

extern "C" __global__ void __launch_bounds__(BLOCK, 1)
gru_head(const float* __restrict__ first_weights,  // [FIRST][HIDDEN] query, products, fusion
         const float* __restrict__ first_bias,     // [FIRST]
         const float* __restrict__ content,        // [HIDDEN][SLOTS]
         const float* __restrict__ expand,         // [EXPANDED][HIDDEN]
         const float* __restrict__ expand_bias,    // [EXPANDED]
         const float* __restrict__ output,         // [DIM][EXPANDED]
         const float* __restrict__ output_bias,    // [DIM]
         const float* __restrict__ hidden,         // [rows][HIDDEN] states of the last layer
         const float* __restrict__ last,           // [rows][DIM] last vectors
         float* first, float* fused, float* expanded,  // scratch: [rows][FIRST], [rows][HIDDEN], [rows][EXPANDED]
         float* predicted,                         // [rows][DIM] out: last + step
         int rows, float epsilon, int* arrived) {  // rows: a multiple of NB
  const int tid = threadIdx.x, lane = tid & 31;
  const int warp_index = blockIdx.x * WARPS + (tid >> 5), warps = gridDim.x * WARPS;
  __shared__ float per_warp[WARPS];
  extern __shared__ float4 shared[];  // NB rows of the widest phase input
  float* staged = (float*)shared;
  float out[NB];

  for (int at = 0; at < rows; at += NB) {
    __syncthreads();  // all threads have read the previous rows
    for (int i = tid; i < NB * HIDDEN; i += BLOCK) staged[i] = hidden[at * HIDDEN + i];
    __syncthreads();
    for (int o = warp_index; o < FIRST; o += warps) {
      dot_rows<HIDDEN>(first_weights + (size_t)o * HIDDEN, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++) first[(at + b) * FIRST + o] = out[b] + first_bias[o];
    }
  }
  sync_grid(arrived, gridDim.x);

  for (int at = 0; at < rows; at += NB) {
    // Softmax over cosine(query, slot) = query . slot / |query|. Slots have norm 1.
    for (int b = 0; b < NB; b++) {
      const float* row = first + (at + b) * FIRST;
      float* attention = staged + b * SLOTS;
      float s = 0;
      for (int i = tid; i < DIM; i += BLOCK) { const float q = __ldcg(row + i); s += q * q; }
      const float scale = 1.0f / fmaxf(sqrtf(sum_over_block(s, per_warp)), SMALLEST_NORM);
      float m = -1e30f;
      for (int i = tid; i < SLOTS; i += BLOCK) {
        const float c = __ldcg(row + DIM + i) * scale;
        attention[i] = c;
        m = fmaxf(m, c);
      }
      m = max_over_block(m, per_warp);
      s = 0;
      for (int i = tid; i < SLOTS; i += BLOCK) {
        const float e = __expf(attention[i] - m);
        attention[i] = e;
        s += e;
      }
      const float share = 1.0f / sum_over_block(s, per_warp);
      for (int i = tid; i < SLOTS; i += BLOCK) attention[i] *= share;
    }
    __syncthreads();
    for (int o = warp_index; o < HIDDEN; o += warps) {
      dot_rows<SLOTS>(content + (size_t)o * SLOTS, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++)
          fused[(at + b) * HIDDEN + o] = gelu(out[b] + __ldcg(first + (at + b) * FIRST + DIM + SLOTS + o));
    }
    __syncthreads();
  }
  sync_grid(arrived, 2 * gridDim.x);

  for (int at = 0; at < rows; at += NB) {
    for (int b = 0; b < NB; b++) {
      float* row = staged + b * HIDDEN;
      float s = 0;
      for (int i = tid; i < HIDDEN; i += BLOCK) { const float v = __ldcg(fused + (at + b) * HIDDEN + i); row[i] = v; s += v; }
      const float mean = sum_over_block(s, per_warp) * (1.0f / HIDDEN);
      float q = 0;
      for (int i = tid; i < HIDDEN; i += BLOCK) { const float v = row[i] - mean; q += v * v; }
      const float scale = rsqrtf(sum_over_block(q, per_warp) * (1.0f / HIDDEN) + epsilon);
      for (int i = tid; i < HIDDEN; i += BLOCK) row[i] = (row[i] - mean) * scale;
    }
    __syncthreads();
    for (int o = warp_index; o < EXPANDED; o += warps) {
      dot_rows<HIDDEN>(expand + (size_t)o * HIDDEN, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++) expanded[(at + b) * EXPANDED + o] = gelu(out[b] + expand_bias[o]);
    }
    __syncthreads();
  }
  sync_grid(arrived, 3 * gridDim.x);

  for (int at = 0; at < rows; at += NB) {
    for (int i = tid; i < NB * EXPANDED; i += BLOCK) staged[i] = __ldcg(expanded + at * EXPANDED + i);
    __syncthreads();
    for (int o = warp_index; o < DIM; o += warps) {
      dot_rows<EXPANDED>(output + (size_t)o * EXPANDED, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++) predicted[(at + b) * DIM + o] = last[(at + b) * DIM + o] + out[b] + output_bias[o];
    }
    __syncthreads();
  }
}
