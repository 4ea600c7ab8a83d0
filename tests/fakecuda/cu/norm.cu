#include "common.cuh"
// One block a row: y = (x - mean) / sqrt(var + eps) * gain + bias, then GELU (erf) where asked.
KERNEL layer_norm(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ gain,
                  const float *__restrict__ bias, float eps, int cols, int gelu) {
  __shared__ float scratch[32];
  const float *row = x + (size_t)blockIdx.x * cols;
  float sum = 0.0f;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) sum += row[c];
  float mean = block_sum(sum, scratch) / (float)cols;
  float square = 0.0f;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    float d = row[c] - mean;
    square += d * d;
  }
  float scale = rsqrtf(block_sum(square, scratch) / (float)cols + eps);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) {
    float v = (row[c] - mean) * scale * gain[c] + bias[c];
    if (gelu) v = 0.5f * v * (1.0f + erff(v * 0.70710678f));
    y[(size_t)blockIdx.x * cols + c] = v;
  }
}

// Sines of positions, as a transformer's embedding has them; large arguments take the slow path through local memory.
KERNEL sine_table(float *y, const float *x, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    y[2 * i] = sinf(x[i]);
    y[2 * i + 1] = cosf(x[i]);
  }
}

// y += a * x on pairs of f16.
KERNEL axpy_f16x2(u32 *y, const u32 *x, u32 a, int pairs) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < pairs) {
    u32 v;
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(v) : "r"(a), "r"(x[i]), "r"(y[i]));
    y[i] = v;
  }
}
