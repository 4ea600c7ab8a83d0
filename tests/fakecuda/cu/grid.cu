#include "common.cuh"
// A barrier over the whole grid of a cooperative launch: arrivals are counted, the last one opens the next round.
__device__ void grid_barrier(u32 *count, volatile u32 *round) {
  __syncthreads();
  if (threadIdx.x == 0) {
    u32 now = *round;
    __threadfence();
    if (atomicAdd(count, 1) == gridDim.x - 1) {
      *count = 0;
      __threadfence();
      *round = now + 1;
    } else {
      while (*round == now) {
      }
    }
    __threadfence();
  }
  __syncthreads();
}
// `steps` rounds of y[i] = (x[i-1] + x[i] + x[i+1]) / 3 on a ring, two buffers, a grid barrier between rounds.
KERNEL smooth(float *a, float *b, u32 *barrier, int n, int steps) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int s = 0; s < steps; s++) {
    if (i < n) b[i] = (a[(i + n - 1) % n] + a[i] + a[(i + 1) % n]) / 3.0f;
    grid_barrier(barrier, barrier + 1);
    float *t = a;
    a = b;
    b = t;
  }
}

// Named barriers: warps 1 to 3 make, warp 0 takes, `rounds` times. 128 threads.
KERNEL relay(int *out, int rounds) {
  __shared__ int slot[96];
  int t = threadIdx.x;
  int sum = 0;
  for (int r = 0; r < rounds; r++) {
    if (t >= 32) {
      if (r) asm volatile("bar.sync 2, 128;" ::: "memory");
      slot[t - 32] = t * r;
      asm volatile("bar.arrive 1, 128;" ::: "memory");
    } else {
      asm volatile("bar.sync 1, 128;" ::: "memory");
      sum += slot[t] + slot[t + 32] + slot[t + 64];
      if (r + 1 < rounds) asm volatile("bar.arrive 2, 128;" ::: "memory");
    }
  }
  if (t < 32) out[t] = sum;
  int live = __syncthreads_count(t & 1);
  if (t == 0) out[32] = live;
}
