#include "common.cuh"
__device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }
// An LSTM layer over `steps` inputs, hidden size 64, one block of 256 threads (one a gate row).
// gates = W x + U h + b in order i f g o; h and c stay in shared memory; y[steps][64] is h after each step.
KERNEL lstm(float *__restrict__ y, const float *__restrict__ x, const float *__restrict__ w, const float *__restrict__ u,
            const float *__restrict__ b, int steps, int inputs) {
  __shared__ float h[64], c[64], gate[256];
  extern __shared__ float in[];
  int t = threadIdx.x;
  if (t < 64) h[t] = c[t] = 0.0f;
  for (int s = 0; s < steps; s++) {
    for (int i = t; i < inputs; i += 256) in[i] = x[(size_t)s * inputs + i];
    __syncthreads();
    float sum = b[t];
    for (int i = 0; i < inputs; i++) sum += w[t * inputs + i] * in[i];
#pragma unroll 8
    for (int i = 0; i < 64; i++) sum += u[t * 64 + i] * h[i];
    gate[t] = t >= 128 && t < 192 ? tanhf(sum) : sigmoid(sum);
    __syncthreads();
    if (t < 64) {
      c[t] = gate[64 + t] * c[t] + gate[t] * gate[128 + t];
      h[t] = gate[192 + t] * tanhf(c[t]);
      y[s * 64 + t] = h[t];
    }
    __syncthreads();
  }
}
