// The head of the Memory-Augmented GRU, from the last layer's state to the predicted vector
// before it is normalised: a read of the memory by content, the fusion layer and the output
// layers. One cooperative launch for any number of rows, NB at a time; its phases are separated
// by barriers over the whole grid.
//
// The affine parts of both LayerNorms and everything else constant is folded into the
// weights, as the exported graph has them. Weights are [outputs][inputs], rows aligned to 16
// bytes.
//
// Compile with -DDIM=<width of a vector> -DHIDDEN=<units of a layer> -DSLOTS=<slots of the memory> -DWIDE=<units between the two
// output layers>, all multiples of 128, and -DNB=<rows at a time>.
#define BLOCK 256
#define WARPS (BLOCK / 32)
#define FULL 0xFFFFFFFFu
#define FIRST (DIM + SLOTS + HIDDEN)  // outputs of the first phase: query, products, own part
#define SMALLEST_NORM 1e-12f          // as in torch.nn.functional.normalize

#ifndef EMULATED  // the test without a GPU brings its own
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
// The sum (or the largest) over the block, in every thread. `room` holds WARPS floats.
__device__ __forceinline__ float sum_over_block(float v, float* room) {
  v = sum_over_warp(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = v;
  __syncthreads();
  float s = 0;
  for (int i = 0; i < WARPS; i++) s += room[i];
  return s;
}
__device__ __forceinline__ float max_over_block(float v, float* room) {
  v = max_over_warp(v);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = v;
  __syncthreads();
  float m = room[0];
  for (int i = 1; i < WARPS; i++) m = fmaxf(m, room[i]);
  return m;
}
__device__ __forceinline__ float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

// One output for NB rows: `weights` [N], `rows` [NB][N] in shared memory.
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

// Waits for all blocks. `arrived` starts a launch at 0 and counts every arrival of it.
__device__ __forceinline__ void whole_grid(int* arrived, int expected) {
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
gru_head(const float* __restrict__ first_weights,  // [FIRST][HIDDEN]: query, products, own part
         const float* __restrict__ first_bias,     // [FIRST]
         const float* __restrict__ content,        // [HIDDEN][SLOTS]
         const float* __restrict__ expand,         // [WIDE][HIDDEN]
         const float* __restrict__ expand_bias,    // [WIDE]
         const float* __restrict__ output,         // [DIM][WIDE]
         const float* __restrict__ output_bias,    // [DIM]
         const float* __restrict__ hidden,         // [rows][HIDDEN] the last layer's states
         const float* __restrict__ last,           // [rows][DIM] the last vectors
         float* first, float* fused, float* wide,  // scratch: [rows][FIRST], [rows][HIDDEN], [rows][WIDE]
         float* moved,                             // [rows][DIM] out: last + step
         int rows, float epsilon, int* arrived) {  // rows: a multiple of NB
  const int tid = threadIdx.x, lane = tid & 31;
  const int number = blockIdx.x * WARPS + (tid >> 5), warps = gridDim.x * WARPS;
  __shared__ float room[WARPS];
  extern __shared__ float4 shared[];  // NB rows of the widest input of a phase
  float* staged = (float*)shared;
  float out[NB];

  for (int at = 0; at < rows; at += NB) {
    __syncthreads();  // the rows before have been read
    for (int i = tid; i < NB * HIDDEN; i += BLOCK) staged[i] = hidden[at * HIDDEN + i];
    __syncthreads();
    for (int o = number; o < FIRST; o += warps) {
      dot_rows<HIDDEN>(first_weights + (size_t)o * HIDDEN, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++) first[(at + b) * FIRST + o] = out[b] + first_bias[o];
    }
  }
  whole_grid(arrived, gridDim.x);

  for (int at = 0; at < rows; at += NB) {
    // Softmax over cosine(query, slot) = query . slot / |query|; the slots have length 1.
    for (int b = 0; b < NB; b++) {
      const float* row = first + (at + b) * FIRST;
      float* attention = staged + b * SLOTS;
      float s = 0;
      for (int i = tid; i < DIM; i += BLOCK) { const float q = __ldcg(row + i); s += q * q; }
      const float scale = 1.0f / fmaxf(sqrtf(sum_over_block(s, room)), SMALLEST_NORM);
      float m = -1e30f;
      for (int i = tid; i < SLOTS; i += BLOCK) {
        const float c = __ldcg(row + DIM + i) * scale;
        attention[i] = c;
        m = fmaxf(m, c);
      }
      m = max_over_block(m, room);
      s = 0;
      for (int i = tid; i < SLOTS; i += BLOCK) {
        const float e = __expf(attention[i] - m);
        attention[i] = e;
        s += e;
      }
      const float share = 1.0f / sum_over_block(s, room);
      for (int i = tid; i < SLOTS; i += BLOCK) attention[i] *= share;
    }
    __syncthreads();
    for (int o = number; o < HIDDEN; o += warps) {
      dot_rows<SLOTS>(content + (size_t)o * SLOTS, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++)
          fused[(at + b) * HIDDEN + o] = gelu(out[b] + __ldcg(first + (at + b) * FIRST + DIM + SLOTS + o));
    }
    __syncthreads();
  }
  whole_grid(arrived, 2 * gridDim.x);

  for (int at = 0; at < rows; at += NB) {
    for (int b = 0; b < NB; b++) {
      float* row = staged + b * HIDDEN;
      float s = 0;
      for (int i = tid; i < HIDDEN; i += BLOCK) { const float v = __ldcg(fused + (at + b) * HIDDEN + i); row[i] = v; s += v; }
      const float mean = sum_over_block(s, room) * (1.0f / HIDDEN);
      float q = 0;
      for (int i = tid; i < HIDDEN; i += BLOCK) { const float v = row[i] - mean; q += v * v; }
      const float scale = rsqrtf(sum_over_block(q, room) * (1.0f / HIDDEN) + epsilon);
      for (int i = tid; i < HIDDEN; i += BLOCK) row[i] = (row[i] - mean) * scale;
    }
    __syncthreads();
    for (int o = number; o < WIDE; o += warps) {
      dot_rows<HIDDEN>(expand + (size_t)o * HIDDEN, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++) wide[(at + b) * WIDE + o] = gelu(out[b] + expand_bias[o]);
    }
    __syncthreads();
  }
  whole_grid(arrived, 3 * gridDim.x);

  for (int at = 0; at < rows; at += NB) {
    for (int i = tid; i < NB * WIDE; i += BLOCK) staged[i] = __ldcg(wide + at * WIDE + i);
    __syncthreads();
    for (int o = number; o < DIM; o += warps) {
      dot_rows<WIDE>(output + (size_t)o * WIDE, staged, out);
      if (lane == 0)
        for (int b = 0; b < NB; b++) moved[(at + b) * DIM + o] = last[(at + b) * DIM + o] + out[b] + output_bias[o];
    }
    __syncthreads();
  }
}
