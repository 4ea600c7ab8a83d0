#include "common.cuh"
// Kernels with one planted fault each; tests hold that the machine finds it and names it.
KERNEL no_barrier_write_read(float *y, const float *x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[63 - threadIdx.x];
}
KERNEL no_barrier_read_write(float *y, const float *x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  float v = s[63 - threadIdx.x];
  s[threadIdx.x] = v * 2.0f;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
KERNEL no_syncwarp(float *y, const float *x) {
  __shared__ float s[32];
  s[threadIdx.x] = x[threadIdx.x];
  y[threadIdx.x] = s[31 - threadIdx.x];
}
KERNEL out_of_bounds(float *y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i <= n) y[i] = 1.0f;
}
KERNEL misaligned(float *y, const float *x) {
  float4 v = *(const float4 *)(x + 1 + threadIdx.x * 4);
  y[threadIdx.x] = v.x + v.y + v.z + v.w;
}
KERNEL shared_overrun(float *y, int extra) {
  __shared__ float s[64];
  s[threadIdx.x + extra] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
KERNEL shared_uninitialised(float *y, int n) {
  __shared__ float s[64];
  if (threadIdx.x < n) s[threadIdx.x] = 1.0f;
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
}
KERNEL half_warp_shuffle(int *y) {
  if (threadIdx.x < 16) y[threadIdx.x] = __shfl_xor_sync(FULL, threadIdx.x, 1);
}
KERNEL divergent_barrier(int *y) {
  if (threadIdx.x < 16) {
    y[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = 2;
  } else {
    y[threadIdx.x] = 3;
  }
}
KERNEL wait_for_ever(volatile int *flag, int *y) {
  while (*flag == 0) {
  }
  *y = 1;
}
KERNEL barrier_for_ever(int *y) {
  if (threadIdx.x < 32) asm volatile("bar.sync 1, 96;" ::: "memory");
  y[threadIdx.x] = 1;
}
KERNEL global_race(int *y) { y[0] = blockIdx.x * blockDim.x + threadIdx.x; }
KERNEL global_race_read(int *y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x, n = gridDim.x * blockDim.x;
  int v = y[(i + 1) % n];
  y[i] = v + 1;
}
KERNEL no_copy_wait(float *y, const float *x) {
#if __CUDA_ARCH__ >= 800
  __shared__ __align__(16) float s[128];
  s[threadIdx.x] = 0.0f;
  __syncthreads();
  if (threadIdx.x < 32)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\n cp.async.commit_group;" ::"r"(shared_address(s + threadIdx.x * 4)), "l"(x + threadIdx.x * 4) : "memory");
  __syncthreads();
  y[threadIdx.x] = s[threadIdx.x];
#endif
}
KERNEL no_fence(float *out, float *parts, u32 *done) {
  // As sum_last_block, with the fence forgotten.
  if (threadIdx.x == 0) {
    parts[blockIdx.x] = 1.0f;
    if (atomicAdd(done, 1) == gridDim.x - 1) {
      float v = 0.0f;
      for (int i = 0; i < gridDim.x; i++) v += parts[i];
      *out = v;
    }
  }
}
KERNEL trap_at_once() { __trap(); }
KERNEL fine(float *y, const float *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] * 2.0f;
}
__constant__ float coefficients[4];
KERNEL polynomial(float *y, const float *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = coefficients[0] + x[i] * (coefficients[1] + x[i] * (coefficients[2] + x[i] * coefficients[3]));
}
