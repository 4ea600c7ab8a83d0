#include "common.cuh"
// One query over `len` positions, one block of 128 threads a head of 64: out[h] = softmax(q.K / 8) V.
// Scores live in dynamic shared memory (len floats).
KERNEL attention(float *__restrict__ out, const float *__restrict__ q, const float *__restrict__ k,
                 const float *__restrict__ v, int len) {
  extern __shared__ float score[];
  __shared__ float scratch[32];
  __shared__ float part[2][64];
  int head = blockIdx.x, t = threadIdx.x, lane = t & 31, warp = t >> 5;
  const float *qh = q + head * 64, *kh = k + (size_t)head * len * 64, *vh = v + (size_t)head * len * 64;
  float2 a = *(const float2 *)(qh + lane * 2);
  float top = NEG_INF;
  for (int p = warp; p < len; p += 4) {
    float2 b = *(const float2 *)(kh + (size_t)p * 64 + lane * 2);
    float s = warp_sum(a.x * b.x + a.y * b.y) * 0.125f;
    if (lane == 0) score[p] = s;
    top = fmaxf(top, s);
  }
  if (lane == 0) scratch[warp] = top;
  __syncthreads();
  top = warp_max(lane < 4 ? scratch[lane] : NEG_INF);
  float sum = 0.0f;
  for (int p = t; p < len; p += 128) {
    float e = expf(score[p] - top);
    score[p] = e;
    sum += e;
  }
  sum = block_sum(sum, scratch);
  int d = t & 63, half = t >> 6;
  float acc = 0.0f;
  for (int p = half; p < len; p += 2) acc += score[p] * vh[(size_t)p * 64 + d];
  part[half][d] = acc;
  __syncthreads();
  if (half == 0) out[head * 64 + d] = (part[0][d] + part[1][d]) / sum;
}
