#include "common.cuh"
__device__ __forceinline__ int warp_scan(int v) {
  int lane = threadIdx.x & 31;
  for (int d = 1; d < 32; d <<= 1) {
    int o = __shfl_up_sync(FULL, v, d);
    if (lane >= d) v += o;
  }
  return v;
}
// Inclusive prefix sum of n ints, 256 a block; blocks hand their sums on through `state` (one u64 a block: flag, sum).
// `ticket` gives blocks their order, so a block only ever waits for one that has begun.
KERNEL scan(int *__restrict__ y, const int *__restrict__ x, u64 *state, u32 *ticket, int n) {
  __shared__ int sums[8];
  __shared__ u32 turn;
  __shared__ int before;
  int t = threadIdx.x, lane = t & 31, warp = t >> 5;
  if (t == 0) turn = atomicAdd(ticket, 1);
  __syncthreads();
  u32 block = turn;
  int i = block * 256 + t;
  int v = warp_scan(i < n ? x[i] : 0);
  if (lane == 31) sums[warp] = v;
  __syncthreads();
  if (warp == 0) {
    int s = warp_scan(lane < 8 ? sums[lane] : 0);
    if (lane < 8) sums[lane] = s;
    if (lane == 7) {
      int base = 0;
      if (block > 0) {
        u64 got;
        do {
          got = atomicAdd(&state[block - 1], 0ull);
        } while (!(got >> 32));
        base = (int)(u32)got;
      }
      before = base;
      atomicExch(&state[block], (1ull << 32) | (u32)(base + s));
    }
  }
  __syncthreads();
  v += before + (warp ? sums[warp - 1] : 0);
  if (i < n) y[i] = v;
}

// Sum of n floats: each block writes its part, the last to finish adds the parts up.
KERNEL sum_last_block(float *out, float *parts, u32 *done, const float *__restrict__ x, int n) {
  __shared__ float scratch[32];
  __shared__ bool last;
  float v = 0.0f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) v += x[i];
  v = block_sum(v, scratch);
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = v;
    __threadfence();
    last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (!last) return;
  v = threadIdx.x < gridDim.x ? parts[threadIdx.x] : 0.0f;
  v = block_sum(v, scratch);
  if (threadIdx.x == 0) *out = v;
}

// Counts of bytes: shared atomics, then global ones.
KERNEL histogram(u32 *bins, const unsigned char *__restrict__ x, int n) {
  __shared__ u32 mine[256];
  for (int b = threadIdx.x; b < 256; b += blockDim.x) mine[b] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&mine[x[i]], 1);
  __syncthreads();
  for (int b = threadIdx.x; b < 256; b += blockDim.x)
    if (mine[b]) atomicAdd(&bins[b], mine[b]);
}
