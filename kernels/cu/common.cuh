// Types and functions that all kernels share. No toolkit header: NVRTC compiles the kernels with an empty include path.
//
// Compiled with --fmad=false: a fused multiply-add is made only where fmaf is written, as on the CPU, so that equal sums have
// equal bits. Division and square root are exactly rounded (NVRTC's default).
#pragma once
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
typedef signed char i8;

#define KERNEL extern "C" __global__ void
#define INLINE __device__ __forceinline__
#define FULL 0xffffffffu
#define NEG_INF (__int_as_float(0xff800000))
#define F32 0
#define BF16 1
#define Q8 2
#define Q4 3

// bf16 is the upper half of an f32.
INLINE float from_bf16(u32 bits) { return __uint_as_float(bits << 16); }
INLINE float low_bf16(u32 pair) { return __uint_as_float(pair << 16); }
INLINE float high_bf16(u32 pair) { return __uint_as_float(pair & 0xffff0000u); }
// Rounds to nearest even; a NaN stays a NaN.
INLINE u16 to_bf16(float x) {
  u32 b = __float_as_uint(x);
  if (x != x) return (u16)((b >> 16) | 0x40);
  return (u16)((b + 0x7fff + ((b >> 16) & 1)) >> 16);
}

INLINE float warp_sum(float v) {
  for (int d = 16; d; d >>= 1) v += __shfl_xor_sync(FULL, v, d);
  return v;
}
INLINE float warp_max(float v) {
  for (int d = 16; d; d >>= 1) v = fmaxf(v, __shfl_xor_sync(FULL, v, d));
  return v;
}

// The functions of cpu/scalar.rs, operation for operation.
#define LN2_HIGH 0.6933594f
#define LN2_LOW (-2.1219444e-4f)

INLINE float exp_(float x) {
  float held = 88.0f < x ? 88.0f : x;
  held = -87.0f > held ? -87.0f : held;
  float t = fmaf(held, 1.44269504088896340736f, 12582912.0f);
  float n = t - 12582912.0f;
  float r = fmaf(n, -LN2_LOW, fmaf(n, -LN2_HIGH, held));
  float p = 1.0f / 5040.0f;
  p = fmaf(p, r, 1.0f / 720.0f);
  p = fmaf(p, r, 1.0f / 120.0f);
  p = fmaf(p, r, 1.0f / 24.0f);
  p = fmaf(p, r, 1.0f / 6.0f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.0f);
  p = fmaf(p, r, 1.0f);
  float y = __uint_as_float(__float_as_uint(p) + (__float_as_uint(t) << 23));
  return x < -87.0f ? 0.0f : y;
}
INLINE float ln_(float x) {
  u32 bits = __float_as_uint(x);
  int e = (int)(bits - 0x3f2aaaabu) >> 23;
  float m = __uint_as_float(bits - ((u32)e << 23));
  float s = (m - 1.0f) / (m + 1.0f);
  float z = s * s;
  float p = 1.0f / 11.0f;
  p = fmaf(p, z, 1.0f / 9.0f);
  p = fmaf(p, z, 1.0f / 7.0f);
  p = fmaf(p, z, 1.0f / 5.0f);
  p = fmaf(p, z, 1.0f / 3.0f);
  float l = fmaf(2.0f * s, z * p, 2.0f * s);
  float f = (float)e;
  return fmaf(f, LN2_HIGH, fmaf(f, LN2_LOW, l));
}
INLINE float gelu(float x) {
  float a = fabsf(x);
  float t = 1.0f / fmaf(a, 0.3275911f * 0.707106781186547524f, 1.0f);
  float p = 0.5307027f;
  p = fmaf(p, t, -0.72657604f);
  p = fmaf(p, t, 0.7107069f);
  p = fmaf(p, t, -0.14224837f);
  p = fmaf(p, t, 0.1274148f);
  float tail = (p * t) * exp_(a * (a * -0.5f));
  return x * (x < 0.0f ? tail : 1.0f - tail);
}
INLINE float elu1(float x) { return x > 0.0f ? x : exp_(x) - 1.0f; }
INLINE float sigmoid(float x) { return 1.0f / (1.0f + exp_(-x)); }
INLINE float tanh_(float x) {
  float t = 1.0f - 2.0f / (exp_(2.0f * fabsf(x)) + 1.0f);
  return x < 0.0f ? -t : t;
}

// A packed matrix (cuda/mat.rs): panels of 32 rows; inside a panel 16 bytes of each row side by side, so that a warp, one row a
// lane, reads 512 contiguous bytes. Scales of q8 and q4 are [panel][cols / 32][32].
struct Mat {
  const uint4 *w;
  const float *scales;
  int rows, cols, format, vectors;  // vectors: 16-byte pieces of a row
};

// Weight I of the four in the lower half of a q4 word, an integer from -8 to 7. A file stores it plus 8: those bits become the
// lowest mantissa bits of a power of two, and the power and the 8 are subtracted. Exact, without a conversion instruction.
template <int I>
INLINE float nibble(u32 word) {
  return __uint_as_float((word & (15u << 4 * I)) | (u32)(150 - 4 * I) << 23) - (float)((1 << (23 - 4 * I)) + 8);
}

// Weight (r, k).
INLINE float weight(const Mat &m, int r, int k) {
  int panel = r >> 5, lane = r & 31;
  if (m.format == F32) {
    const float *w = (const float *)(m.w + ((i64)panel * m.vectors + (k >> 2)) * 32 + lane);
    return w[k & 3];
  }
  if (m.format == BF16) {
    const u16 *w = (const u16 *)(m.w + ((i64)panel * m.vectors + (k >> 3)) * 32 + lane);
    return from_bf16(w[k & 7]);
  }
  float scale = m.scales[((i64)panel * (m.cols >> 5) + (k >> 5)) * 32 + lane];
  if (m.format == Q4) {
    const u32 *w = (const u32 *)(m.w + ((i64)panel * m.vectors + (k >> 5)) * 32 + lane);
    return scale * nibble<0>(w[k >> 3 & 3] >> (k & 7) * 4);
  }
  const i8 *w = (const i8 *)(m.w + ((i64)panel * m.vectors + (k >> 4)) * 32 + lane);
  return scale * (float)w[k & 15];
}
