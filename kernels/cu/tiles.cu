// Matrix products of many rows on tensor cores (sm_80 and later): y = act(W norm(x) + bias), or y += ..., and qkv of a prefill.
//
// Weights are exact in bf16: bf16 weights themselves, and the integers of q8 and q4, whose sums are multiplied by the scale after
// each 32 columns. x is split into two bf16 numbers, upper and lower, that hold 16 bits of each value; both are multiplied, and
// the sums kept in f32. So sums agree with f32's to about 1e-5, but not in the order of linear.cu: a prefill here is close to its
// steps, not equal bit for bit.
//
// A block of 4 warps computes 64 outputs of 64 rows of x, 32 columns at a time; a warp computes 32 x 32 of them, in tiles of
// 16 x 8.
#include "linear.cuh"
#define TILE 64
#define STEP 32
#define WIDE 40  // row stride of a tile in shared memory: 80 bytes, so that ldmatrix has no bank conflicts

struct Tiles {
  Linear a;
  u16 *parts;  // [2][count][columns rounded up to 32]: upper and lower parts of the normalised x
};

// One row of x a warp.
KERNEL __launch_bounds__(256) split_rows(Tiles t) {
  const Linear &a = t.a;
  int lane = threadIdx.x & 31, padded = (a.m.cols + STEP - 1) / STEP * STEP;
  i64 row = (i64)blockIdx.x * 8 + (threadIdx.x >> 5);
  if (row >= a.count) return;
  const float *x = a.x + a.x_at + row * a.x_stride;
  float mean = 0.0f, rstd = 0.0f;
  if (a.norm_w) row_stats(a, [&](int k) { return x[k]; }, lane, mean, rstd);
  u16 *upper = t.parts + row * padded, *lower = upper + (i64)a.count * padded;
#pragma unroll 4
  for (int k = lane; k < padded; k += 32) {
    float v = k < a.m.cols ? x[k] : 0.0f;
    if (a.norm_w && k < a.m.cols) {
      float unit = (v - mean) * rstd;
      v = a.norm_b ? fmaf(unit, a.norm_w[k], a.norm_b[k]) : unit * a.norm_w[k];
    }
    u16 high = to_bf16(v);
    upper[k] = high;
    lower[k] = to_bf16(v - from_bf16(high));
  }
}

INLINE u32 shared_address(const void *p) { return (u32)__cvta_generic_to_shared(p); }
INLINE void ldmatrix(u32 *r, const u16 *p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)) : "memory");
}
INLINE void mma(float *c, const u32 *a, const u32 *b) {
#if __CUDA_ARCH__ >= 800
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
  __trap();  // the host never launches this there
#endif
}

// int8 I and I + 1 of four as a pair of bf16; integers up to 127 are exact.
INLINE u32 pair(u32 word, int i) {
  float a = (float)((int)(word << (24 - 8 * i)) >> 24), b = (float)((int)(word << (16 - 8 * i)) >> 24);
  return __float_as_uint(a) >> 16 | (__float_as_uint(b) & 0xffff0000u);
}

// The same for weights I and I + 1 of the four in the lower half of a q4 word.
template <int I>
INLINE u32 pair4(u32 word) {
  return __float_as_uint(nibble<I>(word)) >> 16 | (__float_as_uint(nibble<I + 1>(word)) & 0xffff0000u);
}
INLINE uint4 eight(u32 word) { return make_uint4(pair4<0>(word), pair4<2>(word), pair4<0>(word >> 16), pair4<2>(word >> 16)); }

template <int F>
INLINE void tiles(const Tiles &t) {
  constexpr bool BLOCKS = F == Q8 || F == Q4;
  constexpr int WIDTH = F == BF16 ? 8 : 16;             // columns of a piece (q4: of half a piece)
  constexpr int PIECES = TILE * STEP / WIDTH / 128;     // pieces of weights for each thread and step: 2 or 1
  const Linear &a = t.a;
  __shared__ __align__(16) u16 w[TILE][WIDE], x[2][TILE][WIDE];
  int tid = threadIdx.x, lane = tid & 31, warp = tid >> 5, outs = (warp & 1) * 32, rows = (warp >> 1) * 32;
  int first_out = blockIdx.x * TILE;
  i64 first_row = (i64)blockIdx.y * TILE;
  int steps = (a.m.cols + STEP - 1) / STEP, padded = steps * STEP;
  uint4 next_w[PIECES], next_x[4];
  // Each thread loads pieces of weights (a warp loads 32 outputs) and 16 bytes of x (four threads a row).
  auto fetch = [&](int s) {
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
      int at = i * 128 + tid, panel = first_out / 32 + at / 32 % 2, piece = s * (STEP / WIDTH) + at / 64;
      if (F == Q4) piece = s;
      bool in = panel * 32 < a.m.rows && piece < a.m.vectors;
      const uint4 *from = a.m.w + ((i64)panel * a.m.vectors + piece) * 32 + lane;
      next_w[i] = make_uint4(0, 0, 0, 0);
      if (in && F == Q4) {
        uint2 half = ((const uint2 *)from)[at / 64];
        next_w[i] = make_uint4(half.x, half.y, 0, 0);
      } else if (in) {
        next_w[i] = *from;
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
      i64 row = first_row + i % 2 * 32 + tid / 4;
      const u16 *from = t.parts + ((i64)(i / 2) * a.count + row) * padded + s * STEP + tid % 4 * 8;
      next_x[i] = row < a.count ? *(const uint4 *)from : make_uint4(0, 0, 0, 0);
    }
  };
  auto store = [&]() {
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
      int at = i * 128 + tid;
      u16 *to = &w[at / 32 % 2 * 32 + lane][at / 64 * WIDTH];
      uint4 q = next_w[i];
      if (F == BF16) {
        *(uint4 *)to = q;
      } else if (F == Q4) {
        ((uint4 *)to)[0] = eight(q.x);
        ((uint4 *)to)[1] = eight(q.y);
      } else {
        ((uint4 *)to)[0] = make_uint4(pair(q.x, 0), pair(q.x, 2), pair(q.y, 0), pair(q.y, 2));
        ((uint4 *)to)[1] = make_uint4(pair(q.z, 0), pair(q.z, 2), pair(q.w, 0), pair(q.w, 2));
      }
    }
#pragma unroll
    for (int i = 0; i < 4; i++) *(uint4 *)&x[i / 2][i % 2 * 32 + tid / 4][tid % 4 * 8] = next_x[i];
  };
  float acc[2][4][4];
#pragma unroll
  for (int i = 0; i < 32; i++) (&acc[0][0][0])[i] = 0.0f;
  fetch(0);
#pragma unroll 1
  for (int s = 0; s < steps; s++) {
    __syncthreads();
    store();
    __syncthreads();
    if (s + 1 < steps) fetch(s + 1);
    float block[2][4][4];
#pragma unroll
    for (int i = 0; BLOCKS && i < 32; i++) (&block[0][0][0])[i] = 0.0f;
    float(*sum)[4][4] = BLOCKS ? block : acc;
#pragma unroll
    for (int k = 0; k < STEP; k += 16) {
      u32 fw[2][4];
#pragma unroll
      for (int m = 0; m < 2; m++) ldmatrix(fw[m], &w[outs + m * 16 + (lane & 15)][k + (lane >> 4) * 8]);
#pragma unroll
      for (int part = 0; part < 2; part++)
#pragma unroll
        for (int n = 0; n < 4; n += 2) {
          u32 fx[4];
          ldmatrix(fx, &x[part][rows + n * 8 + (lane & 7) + (lane >> 4) * 8][k + (lane >> 3 & 1) * 8]);
#pragma unroll
          for (int m = 0; m < 2; m++) mma(sum[m][n], fw[m], fx), mma(sum[m][n + 1], fw[m], fx + 2);
        }
    }
    if (BLOCKS) {
#pragma unroll
      for (int m = 0; m < 2; m++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
          int out = first_out + outs + m * 16 + h * 8 + lane / 4;
          float scale = out < a.m.rows ? a.m.scales[((i64)(out >> 5) * (a.m.cols >> 5) + s) * 32 + (out & 31)] : 0.0f;
#pragma unroll
          for (int n = 0; n < 4; n++)
#pragma unroll
            for (int i = 2 * h; i < 2 * h + 2; i++) acc[m][n][i] = fmaf(scale, block[m][n][i], acc[m][n][i]);
        }
    }
  }
#pragma unroll
  for (int m = 0; m < 2; m++)
#pragma unroll
    for (int n = 0; n < 4; n++)
#pragma unroll
      for (int i = 0; i < 4; i++) {
        i64 row = first_row + rows + n * 8 + lane % 4 * 2 + (i & 1);
        if (row < a.count) finish(a, row, first_out + outs + m * 16 + (i >> 1) * 8 + lane / 4, acc[m][n][i]);
      }
}

KERNEL __launch_bounds__(128) tiles_bf16(Tiles t) { tiles<BF16>(t); }
KERNEL __launch_bounds__(128) tiles_q8(Tiles t) { tiles<Q8>(t); }
KERNEL __launch_bounds__(128) tiles_q4(Tiles t) { tiles<Q4>(t); }
