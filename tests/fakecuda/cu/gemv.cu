#include "common.cuh"
// y[rows] = W[rows][cols] x[cols], one warp a row, 16 bytes a load.
KERNEL gemv_bf16(float *__restrict__ y, const u16 *__restrict__ w, const float *__restrict__ x, int rows, int cols) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, lane = threadIdx.x & 31;
  if (row >= rows) return;
  float sum = 0.0f;
  for (int c = lane * 8; c < cols; c += 256) {
    uint4 q = *(const uint4 *)(w + (size_t)row * cols + c);
    float4 a = *(const float4 *)(x + c), b = *(const float4 *)(x + c + 4);
    sum += bf16_to_f32(q.x & 0xffff) * a.x + bf16_to_f32(q.x >> 16) * a.y;
    sum += bf16_to_f32(q.y & 0xffff) * a.z + bf16_to_f32(q.y >> 16) * a.w;
    sum += bf16_to_f32(q.z & 0xffff) * b.x + bf16_to_f32(q.z >> 16) * b.y;
    sum += bf16_to_f32(q.w & 0xffff) * b.z + bf16_to_f32(q.w >> 16) * b.w;
  }
  sum = warp_sum(sum);
  if (lane == 0) y[row] = sum;
}

__device__ __forceinline__ int dp4a(int a, int b, int c) {
  int d;
  asm("dp4a.s32.s32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(c));
  return d;
}
// y = scale[row] * xscale * (W int8 . x int8), four products an instruction.
KERNEL gemv_i8(float *__restrict__ y, const i8 *__restrict__ w, const float *__restrict__ scale, const i8 *__restrict__ x,
               float xscale, int rows, int cols) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) >> 5, lane = threadIdx.x & 31;
  if (row >= rows) return;
  int sum = 0;
  for (int c = lane * 16; c < cols; c += 512) {
    int4 a = *(const int4 *)(w + (size_t)row * cols + c), b = *(const int4 *)(x + c);
    sum = dp4a(a.x, b.x, sum);
    sum = dp4a(a.y, b.y, sum);
    sum = dp4a(a.z, b.z, sum);
    sum = dp4a(a.w, b.w, sum);
  }
#if __CUDA_ARCH__ >= 800
  sum = __reduce_add_sync(FULL, sum);
#else
  for (int d = 16; d; d >>= 1) sum += __shfl_xor_sync(FULL, sum, d);
#endif
  if (lane == 0) y[row] = (float)sum * (scale[row] * xscale);
}
