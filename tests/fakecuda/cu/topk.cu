#include "common.cuh"
// The k largest of n floats and their places, largest first, ties to the lower place. One block of 256.
KERNEL top_k(float *__restrict__ value, int *__restrict__ place, const float *__restrict__ x, int n, int k) {
  __shared__ u64 best;
  u64 below = ~0ull;
  for (int j = 0; j < k; j++) {
    if (threadIdx.x == 0) best = 0;
    __syncthreads();
    u64 mine = 0;
    for (int i = threadIdx.x; i < n; i += blockDim.x) {
      u32 bits = __float_as_uint(x[i]);
      bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;  // order of floats as order of integers
      u64 key = ((u64)bits << 32) | (u32)~i;
      if (key < below && key > mine) mine = key;
    }
    atomicMax(&best, mine);
    __syncthreads();
    below = best;
    if (threadIdx.x == 0) {
      u32 bits = (u32)(below >> 32);
      bits = bits & 0x80000000u ? bits & 0x7fffffffu : ~bits;
      value[j] = __uint_as_float(bits);
      place[j] = (int)~(u32)below;
    }
    __syncthreads();
  }
}

// The same for one warp and k = 1 by votes: the largest key and who holds it.
KERNEL warp_argmax(u32 *out, const u32 *x) {
  u32 v = x[threadIdx.x], top = v;
#if __CUDA_ARCH__ >= 800
  top = __reduce_max_sync(FULL, v);
#else
  for (int d = 16; d; d >>= 1) top = max(top, __shfl_xor_sync(FULL, top, d));
#endif
  u32 holders = __ballot_sync(FULL, v == top), same = __match_any_sync(FULL, v);
  if (threadIdx.x == 0) {
    out[0] = top;
    out[1] = __ffs(holders) - 1;
    out[2] = __any_sync(1u, v == 0);
  }
  out[3 + threadIdx.x] = __popc(same);
}
