// Attention of query rows to one lane's cache. A block takes one (row, head) and 128 steps. Where a row attends to more steps,
// each of its blocks writes (sum, largest, total), and the last block to finish adds these up in ascending order. Blocks are cut
// by absolute step, so a row's bits do not depend on the other rows.
#include "common.cuh"
#define CHUNK 128
#define WIDEST 256

struct Attend {
  const float *q;
  const u8 *k, *v;
  const int *pos, *lens;  // lens not null: attend to the lane's whole text; else to steps up to pos + i
  float *out, *partial;
  u32 *finished;  // blocks of a (row, head) that are done; 0 between launches
  i64 k_head, v_head;  // bytes of one head's keys, values
  int first_row, n, heads, head_dim, padded, steps, splits;
  float scale;
};

// The values of one 16-byte piece.
template <int F>
INLINE void unpack(uint4 q, float *w) {
  if (F == F32) {
    w[0] = __uint_as_float(q.x), w[1] = __uint_as_float(q.y), w[2] = __uint_as_float(q.z), w[3] = __uint_as_float(q.w);
  } else {
    w[0] = low_bf16(q.x), w[1] = high_bf16(q.x), w[2] = low_bf16(q.y), w[3] = high_bf16(q.y);
    w[4] = low_bf16(q.z), w[5] = high_bf16(q.z), w[6] = low_bf16(q.w), w[7] = high_bf16(q.w);
  }
}

template <int F>
INLINE void attend(const Attend &a) {
  constexpr int WIDTH = F == F32 ? 4 : 8;
  constexpr int APART = CHUNK + 32 / WIDTH;  // stride of a piece's columns that avoids bank conflicts
  __shared__ float q[WIDEST], score[CHUNK], sums[APART * WIDTH], warps[8];
  __shared__ u32 before;
  int t = threadIdx.x, lane32 = t & 31, warp = t >> 5;
  int item = blockIdx.x, row = a.first_row + item / a.heads, head = item % a.heads, dim = a.heads * a.head_dim;
  int lane = row / a.n, i = row % a.n;
  int seen = min(a.lens ? a.lens[lane] : a.pos[0] + i + 1, a.steps);
  int chunks = max(1, (seen + CHUNK - 1) / CHUNK), chunk = blockIdx.y;
  if (chunk >= chunks) return;
  float *out = a.out + (i64)row * dim + head * a.head_dim;
  if (seen <= 0) {
    for (int d = t; d < a.head_dim; d += CHUNK) out[d] = 0.0f;
    return;
  }
  int first = chunk * CHUNK, count = min(CHUNK, seen - first), pieces = a.padded / WIDTH;
  const u8 *k = a.k + ((i64)lane * a.heads + head) * a.k_head, *v = a.v + ((i64)lane * a.heads + head) * a.v_head;
  for (int d = t; d < a.padded; d += CHUNK) q[d] = d < a.head_dim ? a.q[(i64)row * dim + head * a.head_dim + d] : 0.0f;
  __syncthreads();

  // Scores: one step a thread.
  float s = NEG_INF, acc = 0.0f;
  int step = first + t;
  if (t < count) {
    const uint4 *keys = (const uint4 *)k + (i64)(step >> 5) * pieces * 32 + (step & 31);
#pragma unroll 4
    for (int p = 0; p < pieces; p++) {
      float w[WIDTH];
      unpack<F>(keys[p * 32], w);
#pragma unroll
      for (int j = 0; j < WIDTH; j++) acc = fmaf(w[j], q[p * WIDTH + j], acc);
    }
    s = acc * a.scale;
  }
  float largest = warp_max(s);
  if (lane32 == 0) warps[warp] = largest;
  __syncthreads();
  largest = fmaxf(fmaxf(warps[0], warps[1]), fmaxf(warps[2], warps[3]));
  float e = t < count ? exp_(s - largest) : 0.0f;
  score[t] = e;
  float total = warp_sum(e);
  if (lane32 == 0) warps[4 + warp] = total;
  __syncthreads();
  total = ((warps[4] + warps[5]) + warps[6]) + warps[7];

  // Weighted sum: a thread takes one piece of the columns and every groups-th step.
  int groups = CHUNK / pieces, piece = t % pieces, group = t / pieces;
  float sum[WIDTH];
#pragma unroll
  for (int j = 0; j < WIDTH; j++) sum[j] = 0.0f;
  if (group < groups) {
    const uint4 *values = (const uint4 *)v + (i64)first * pieces + piece;
#pragma unroll 4
    for (int s = group; s < count; s += groups) {
      float w[WIDTH], e = score[s];
      unpack<F>(values[(i64)s * pieces], w);
#pragma unroll
      for (int j = 0; j < WIDTH; j++) sum[j] = fmaf(e, w[j], sum[j]);
    }
#pragma unroll
    for (int j = 0; j < WIDTH; j++) sums[j * APART + t] = sum[j];
  }
  __syncthreads();
  i64 first_partial = (i64)item * a.splits;
  float *mine = chunks > 1 ? a.partial + (first_partial + chunk) * (WIDEST + 2) : out;
  for (int d = t; d < a.head_dim; d += CHUNK) {
    const float *of = sums + d % WIDTH * APART + d / WIDTH;
    float y = of[0];
    for (int g = 1; g < groups; g++) y += of[g * pieces];
    mine[d] = chunks > 1 ? y : y / total;
  }
  if (chunks == 1) return;
  if (t == 0) mine[WIDEST] = largest, mine[WIDEST + 1] = total;
  __threadfence();
  __syncthreads();
  if (t == 0) before = atomicAdd(&a.finished[item], 1);
  __syncthreads();
  if (before != (u32)chunks - 1) return;
  __threadfence();
  if (t == 0) a.finished[item] = 0;
  const volatile float *all = a.partial + first_partial * (WIDEST + 2);
  float top = NEG_INF;
  for (int c = 0; c < chunks; c++) top = fmaxf(top, all[c * (WIDEST + 2) + WIDEST]);
  for (int d = t; d < a.head_dim; d += CHUNK) {
    float y = 0.0f, l = 0.0f;
    for (int c = 0; c < chunks; c++) {
      float f = exp_(all[c * (WIDEST + 2) + WIDEST] - top);
      y = fmaf(f, all[c * (WIDEST + 2) + d], y);
      l = fmaf(f, all[c * (WIDEST + 2) + WIDEST + 1], l);
    }
    out[d] = y / l;
  }
}

KERNEL __launch_bounds__(CHUNK) attend_f32(Attend a) { attend<F32>(a); }
KERNEL __launch_bounds__(CHUNK) attend_bf16(Attend a) { attend<BF16>(a); }

// Writes keys and values of one lane's text to the cache, one step a block. `k` and `v` point to the lane.
struct SetText {
  const float *keys, *values;
  u8 *k, *v;
  i64 k_head, v_head;
  int heads, head_dim, padded, bf16;
};
KERNEL set_text(SetText a) {
  int step = blockIdx.x, dim = a.heads * a.head_dim, width = a.bf16 ? 8 : 4;
  for (int c = threadIdx.x; c < dim; c += blockDim.x) {
    int head = c / a.head_dim, d = c % a.head_dim;
    i64 k_at = (((i64)(step >> 5) * (a.padded / width) + d / width) * 32 + (step & 31)) * width + d % width;
    i64 v_at = (i64)step * a.padded + d;
    float key = a.keys[(i64)step * dim + c], value = a.values[(i64)step * dim + c];
    u8 *k = a.k + head * a.k_head, *v = a.v + head * a.v_head;
    if (a.bf16)
      ((u16 *)k)[k_at] = to_bf16(key), ((u16 *)v)[v_at] = to_bf16(value);
    else
      ((float *)k)[k_at] = key, ((float *)v)[v_at] = value;
  }
}
