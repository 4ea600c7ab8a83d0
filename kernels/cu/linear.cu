// Matrix products: y = act(W norm(x) + bias), or y += ..., and qkv, which appends keys and values to the cache.
//
// A lane computes one output, a warp a panel of 32. All lanes read the same x, from shared memory. The sum over k of one output
// is cut into segments of 128; accumulator w of 8 takes segments w, w + 8, ... in ascending k, and the eight are added in
// ascending order. Every kernel here keeps this order, whatever the number of rows. So, bit for bit, a prefill equals its steps
// and a batch equals its lanes; up to 128 columns the bits are the CPU's.
//
// linear_F_R: up to R rows of x for one read of the weights; each of the 8 warps of a block has one accumulator. Two normalised
// rows of up to 2048 values stay in shared memory, so that a block loads them once.
// linear_F_many: each of the 8 warps of a block takes 8 rows of x, and the weights come from the first-level cache.
#include "linear.cuh"
#define SEGMENT 128
#define WARPS 8

// Loads one segment of R rows of x, whose values are x(r, k), into shared memory: normalised, zeros past the end.
template <int R, typename X>
INLINE void stage_x(const Linear &a, X x, int rows, int first, int lane, const float (*stats)[2], float (*stage)[SEGMENT]) {
#pragma unroll(R > 2 ? 1 : 4)
  for (int k = first + lane; k < first + SEGMENT; k += 32) {
    bool in = k < a.m.cols;
    float w = 0.0f, b = 0.0f;
    if (a.norm_w && in) {
      w = a.norm_w[k];
      b = a.norm_b ? a.norm_b[k] : 0.0f;
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
      float v = in && r < rows ? x(r, k) : 0.0f;
      if (a.norm_w && in && r < rows) {
        float unit = (v - stats[r][0]) * stats[r][1];
        v = a.norm_b ? fmaf(unit, w, b) : unit * w;
      }
      stage[r][k - first] = v;
    }
  }
}

template <int R>
INLINE void fma4(float a, float b, float c, float d, int k, float (*x)[SEGMENT], float *acc) {
#pragma unroll
  for (int r = 0; r < R; r++) {
    float4 q = *(const float4 *)&x[r][k];
    acc[r] = fmaf(d, q.w, fmaf(c, q.z, fmaf(b, q.y, fmaf(a, q.x, acc[r]))));
  }
}
INLINE float int8(u32 word, int i) { return (float)((int)(word << (24 - 8 * i)) >> 24); }
template <int R>
INLINE void fma_i8(u32 q, int k, float (*x)[SEGMENT], float *acc) {
  fma4<R>(int8(q, 0), int8(q, 1), int8(q, 2), int8(q, 3), k, x, acc);
}
template <int R>
INLINE void fma_i4(u32 q, int k, float (*x)[SEGMENT], float *acc) {
  fma4<R>(nibble<0>(q), nibble<1>(q), nibble<2>(q), nibble<3>(q), k, x, acc);
  q >>= 16;
  fma4<R>(nibble<0>(q), nibble<1>(q), nibble<2>(q), nibble<3>(q), k + 4, x, acc);
}

// WIDTH: weights of a row in 16 bytes.
template <int F>
struct Piece {
  static constexpr int WIDTH = F == F32 ? 4 : F == BF16 ? 8 : F == Q8 ? 16 : 32;
};

// Adds the products of one segment to acc[r], in ascending k.
template <int F, int R>
INLINE void dot(const Linear &a, int panel, int segment, int lane, float (*x)[SEGMENT], float *acc) {
  constexpr int WIDTH = Piece<F>::WIDTH;
  constexpr int EACH = SEGMENT / WIDTH;
  // Loads in flight.
  constexpr int U = R > 2 ? 2 : F == Q8 || F == Q4 ? 4 : 8;
  int from = segment * EACH, to = min(from + EACH, a.m.vectors);
  const uint4 *w = a.m.w + ((i64)panel * a.m.vectors + from) * 32 + lane;
#pragma unroll 1
  for (int v = from; v < to; v += U, w += U * 32) {
    uint4 q[U];
    float scale[U];  // q8 uses every second one
#pragma unroll
    for (int u = 0; u < U; u++)  // past the end: zero weights times zero x
      q[u] = v + u < to ? w[u * 32] : make_uint4(0, 0, 0, 0);
    if (F == Q8) {
      const float *scales = a.m.scales + ((i64)panel * (a.m.vectors / 2) + v / 2) * 32 + lane;
#pragma unroll
      for (int u = 0; u < U; u += 2) scale[u] = v + u < to ? scales[u / 2 * 32] : 0.0f;
    }
    if (F == Q4) {
      const float *scales = a.m.scales + ((i64)panel * a.m.vectors + v) * 32 + lane;
#pragma unroll
      for (int u = 0; u < U; u++) scale[u] = v + u < to ? scales[u * 32] : 0.0f;
    }
#pragma unroll
    for (int u = 0; u < U; u++) {
      int k = (v - from + u) * WIDTH;
      if (F == F32) {
        fma4<R>(__uint_as_float(q[u].x), __uint_as_float(q[u].y), __uint_as_float(q[u].z), __uint_as_float(q[u].w), k, x, acc);
      } else if (F == BF16) {
        fma4<R>(low_bf16(q[u].x), high_bf16(q[u].x), low_bf16(q[u].y), high_bf16(q[u].y), k, x, acc);
        fma4<R>(low_bf16(q[u].z), high_bf16(q[u].z), low_bf16(q[u].w), high_bf16(q[u].w), k + 4, x, acc);
      } else if (F == Q4) {
        float block[R];
#pragma unroll
        for (int r = 0; r < R; r++) block[r] = 0.0f;
        fma_i4<R>(q[u].x, k, x, block);
        fma_i4<R>(q[u].y, k + 8, x, block);
        fma_i4<R>(q[u].z, k + 16, x, block);
        fma_i4<R>(q[u].w, k + 24, x, block);
#pragma unroll
        for (int r = 0; r < R; r++) acc[r] = fmaf(scale[u], block[r], acc[r]);
      } else if (u % 2 == 0) {
        float block[R];
#pragma unroll
        for (int r = 0; r < R; r++) block[r] = 0.0f;
#pragma unroll
        for (int h = 0; h < 2; h++) {
          uint4 p = q[u + h < U ? u + h : u];  // U is even
          fma_i8<R>(p.x, k + 16 * h, x, block);
          fma_i8<R>(p.y, k + 16 * h + 4, x, block);
          fma_i8<R>(p.z, k + 16 * h + 8, x, block);
          fma_i8<R>(p.w, k + 16 * h + 12, x, block);
        }
#pragma unroll
        for (int r = 0; r < R; r++) acc[r] = fmaf(scale[u], block[r], acc[r]);
      }
    }
  }
}

// Prefetches a warp's first 4 KB of weights (q4: those of two segments) to the second-level cache while the block normalises x.
template <int F>
INLINE void prefetch(const Linear &a, int panel, int segment, int lane) {
  constexpr int EACH = SEGMENT / Piece<F>::WIDTH;
  int piece = (segment + (lane >> 2) / EACH * WARPS) * EACH + (lane >> 2) % EACH;
  if (piece >= a.m.vectors) return;
  const uint4 *line = a.m.w + ((i64)panel * a.m.vectors + piece) * 32 + (lane & 3) * 8;
  asm volatile("prefetch.global.L2 [%0];" ::"l"(line));
}

template <int F, int R>
INLINE void few(const Linear &a) {
  constexpr int ROOM = R == 2 ? 2 * WARPS : WARPS;  // segments
  __shared__ __align__(16) float stage[ROOM][R][SEGMENT];
  __shared__ float part[WARPS][R][32];
  __shared__ float stats[R][2];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5, panel = blockIdx.x;
  int first = blockIdx.y * R, rows = min(R, a.count - first);
  const float *x = a.x + a.x_at + first * a.x_stride;
  auto given = [&](int r, int k) { return x[r * a.x_stride + k]; };
  auto held = [&](int r, int k) { return stage[k / SEGMENT][r][k % SEGMENT]; };
  prefetch<F>(a, panel, warp, lane);
  bool hold = ROOM > WARPS && a.norm_w && a.m.cols <= ROOM * SEGMENT;
  if (hold) {
#pragma unroll 4
    for (int k = threadIdx.x; k < a.m.cols; k += blockDim.x)
#pragma unroll
      for (int r = 0; r < R; r++) stage[k / SEGMENT][r][k % SEGMENT] = r < rows ? given(r, k) : 0.0f;
    __syncthreads();
  }
#pragma unroll 1
  for (int r = warp; r < R; r += warps) {
    float mean = 0.0f, rstd = 0.0f;
    if (a.norm_w && r < rows) {
      if (hold)
        row_stats(a, [&](int k) { return held(r, k); }, lane, mean, rstd);
      else
        row_stats(a, [&](int k) { return given(r, k); }, lane, mean, rstd);
    }
    if (lane == 0) stats[r][0] = mean, stats[r][1] = rstd;
  }
  __syncthreads();
  float acc[R];
#pragma unroll
  for (int r = 0; r < R; r++) acc[r] = 0.0f;
#pragma unroll 1
  for (int s = warp; s * SEGMENT < a.m.cols; s += WARPS) {
    float(*mine)[SEGMENT] = stage[hold ? s : warp];
    if (hold)
      stage_x<R>(a, held, rows, s * SEGMENT, lane, stats, mine);
    else
      stage_x<R>(a, given, rows, s * SEGMENT, lane, stats, mine);
    __syncwarp();
    dot<F, R>(a, panel, s, lane, mine, acc);
    __syncwarp();
  }
#pragma unroll
  for (int r = 0; r < R; r++) part[warp][r][lane] = acc[r];
  __syncthreads();
#pragma unroll 1
  for (int r = warp; r < rows; r += warps) {
    float sum = part[0][r][lane];
    for (int w = 1; w < warps; w++) sum += part[w][r][lane];
    finish(a, first + r, panel * 32 + lane, sum);
  }
}

template <int F>
INLINE void many(const Linear &a) {
  constexpr int R = 8;
  __shared__ __align__(16) float stage[WARPS][R][SEGMENT];
  __shared__ float stats[WARPS][R][2];
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, panel = blockIdx.y;
  i64 first = ((i64)blockIdx.x * WARPS + warp) * R;
  if (first >= a.count) return;
  int rows = min((i64)R, a.count - first);
  const float *x = a.x + a.x_at + first * a.x_stride;
  auto given = [&](int r, int k) { return x[r * a.x_stride + k]; };
#pragma unroll 1
  for (int r = 0; r < R; r++) {
    float mean = 0.0f, rstd = 0.0f;
    if (a.norm_w && r < rows) row_stats(a, [&](int k) { return given(r, k); }, lane, mean, rstd);
    if (lane == 0) stats[warp][r][0] = mean, stats[warp][r][1] = rstd;
  }
  __syncwarp();
  float sum[R];
#pragma unroll 1
  for (int w = 0; w < WARPS && (w == 0 || w * SEGMENT < a.m.cols); w++) {
    float acc[R];
#pragma unroll
    for (int r = 0; r < R; r++) acc[r] = 0.0f;
#pragma unroll 1
    for (int s = w; s * SEGMENT < a.m.cols; s += WARPS) {
      stage_x<R>(a, given, rows, s * SEGMENT, lane, stats[warp], stage[warp]);
      __syncwarp();
      dot<F, R>(a, panel, s, lane, stage[warp], acc);
      __syncwarp();
    }
#pragma unroll
    for (int r = 0; r < R; r++) sum[r] = w == 0 ? acc[r] : sum[r] + acc[r];
  }
#pragma unroll
  for (int r = 0; r < R; r++) stage[warp][r][lane] = sum[r];
#pragma unroll 1
  for (int r = 0; r < rows; r++) finish(a, first + r, panel * 32 + lane, stage[warp][r][lane]);
}

#define FEW(F, f, R) KERNEL __launch_bounds__(256, 2) linear_##f##_##R(Linear a) { few<F, R>(a); }
#define ALL(F, f) \
  FEW(F, f, 2) FEW(F, f, 8) KERNEL __launch_bounds__(256, 2) linear_##f##_many(Linear a) { many<F>(a); }
ALL(F32, f32)
ALL(BF16, bf16)
ALL(Q8, q8)
ALL(Q4, q4)
