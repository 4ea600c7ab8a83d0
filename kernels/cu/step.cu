// First and last kernel of a step: embeddings and sampling. Order and rounding are the CPU's (cpu/mod.rs, cpu/sample.rs): equal
// logits give equal tokens.
#include "common.cuh"
#define TABLES 24

struct Embed {
  Mat tables[TABLES];      // streams, then controls
  const int *seq, *ctl, *masked, *pos;
  const float *sinusoids;  // [steps, dim]
  float *x;
  int streams, controls, steps, dim, n, branches;
};
// One (lane, i) a block.
KERNEL embed(Embed a) {
  int i = blockIdx.x % a.n, lane = blockIdx.x / a.n, song = lane / a.branches, branch = lane % a.branches, s = a.pos[0] + i;
  if (s < 0 || s >= a.steps) return;
  for (int d = threadIdx.x; d < a.dim; d += blockDim.x) {
    float x = a.sinusoids[(i64)s * a.dim + d];
    for (int t = 0; t < a.streams + a.controls; t++) {
      const Mat &m = a.tables[t];
      int r = t < a.streams ? a.seq[((i64)song * a.streams + t) * a.steps + s] : a.ctl[((i64)branch * a.controls + t - a.streams) * a.steps + s];
      if (r < 0 || t < a.streams && a.masked[branch * a.streams + t]) r = m.rows - 1;  // the special id's row, the last one
      if (r < m.rows) x += weight(m, r, d);
    }
    a.x[((i64)lane * a.n + i) * a.dim + d] = x;
  }
}

struct Sampling {
  float temperature, top_p, cfg;
  u32 top_k, seed_low, seed_high, frame_base, nonfinite;
};
struct Sample {
  const float *logits;
  int *seq, *pos;
  Sampling *sampling;
  const int *cards, *delays;
  const float *cfg_scale;  // factor of the guidance on each stream
  u32 *finished;           // blocks that are done; 0 between launches
  int songs, branches, streams, steps, width, n, logits_len, sort_len;  // largest card, rounded up to fours and to a power of two
};

INLINE void philox(u32 c[4], u32 k0, u32 k1) {
#pragma unroll
  for (int round = 0; round < 10; round++) {
    if (round > 0) k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    u32 al = c[0] * 0xD2511F53u, ah = __umulhi(c[0], 0xD2511F53u), bl = c[2] * 0xCD9E8D57u, bh = __umulhi(c[2], 0xCD9E8D57u);
    u32 c1 = c[1], c3 = c[3];
    c[0] = bh ^ c1 ^ k0, c[1] = bl, c[2] = ah ^ c3 ^ k1, c[3] = al;
  }
}
INLINE float gumbel(u32 word) {
  float u = ((float)(word >> 9) + 0.5f) * (1.0f / 8388608.0f);
  return -ln_(-ln_(u));
}
// An integer that orders as the float does.
INLINE u32 key(float x) {
  u32 b = __float_as_uint(x);
  return b & 0x80000000u ? ~b : b | 0x80000000u;
}
// First maximum over the block: the largest value above -inf, of equal ones the lowest index; -1 if there is none.
INLINE void first_maximum(float &best, int &at, float *values, int *places) {
  int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (int d = 16; d; d >>= 1) {
    float v = __shfl_xor_sync(FULL, best, d);
    int p = __shfl_xor_sync(FULL, at, d);
    if (p >= 0 && (at < 0 || v > best || (v == best && p < at))) best = v, at = p;
  }
  __syncthreads();
  if (lane == 0) values[warp] = best, places[warp] = at;
  __syncthreads();
  best = values[0], at = places[0];
  for (int w = 1; w < blockDim.x / 32; w++)
    if (places[w] >= 0 && (at < 0 || values[w] > best || (values[w] == best && places[w] < at))) best = values[w], at = places[w];
}
INLINE int block_count(int n, int *counts) {
  for (int d = 16; d; d >>= 1) n += __shfl_xor_sync(FULL, n, d);
  __syncthreads();
  if ((threadIdx.x & 31) == 0) counts[threadIdx.x >> 5] = n;
  __syncthreads();
  n = 0;
  for (int w = 0; w < blockDim.x / 32; w++) n += counts[w];
  return n;
}

// Samples one token: one (song, stream) a block of 256 threads. Shared memory: sort keys [sort_len] of 8 bytes, logits [logits_len].
KERNEL __launch_bounds__(256, 2) sample(Sample a) {
  extern __shared__ __align__(16) u8 memory[];
  u64 *order = (u64 *)memory;
  float *logits = (float *)(memory + 8 * a.sort_len);
  __shared__ float values[8];
  __shared__ int places[8];
  int t = threadIdx.x, song = blockIdx.x / a.streams, stream = blockIdx.x % a.streams, s = a.pos[0] + a.n - 1;
  int *slot = a.seq + ((i64)song * a.streams + stream) * a.steps + s + 1;
  int card = a.cards[stream], frame = s - a.delays[stream];
  bool unknown = s + 1 < a.steps && *slot == -1;
  int token = card;
  if (unknown && frame >= 0) {
    Sampling p = *a.sampling;
    int first = 0;
    for (int k = 0; k < stream; k++) first += a.cards[k];
    const float *cond = a.logits + (i64)song * a.branches * a.width + first, *null = cond + a.width;
    float best = NEG_INF, scale = a.cfg_scale[stream], guidance = fmaf(scale, p.cfg, 1.0f - scale);
    int at = -1;
    for (int c = t; c < (card + 3 & ~3); c += 256) {
      float l = c < card ? cond[c] : NEG_INF;
      if (c < card && a.branches == 2) l = fmaf(l - null[c], guidance, null[c]);
      if (!(fabsf(l) < __int_as_float(0x7f800000))) l = NEG_INF;
      logits[c] = l;
      if (l > best) best = l, at = c;
    }
    first_maximum(best, at, values, places);
    __syncthreads();
    token = at;
    if (at < 0) {
      token = 0;
      if (t == 0) atomicAdd(&a.sampling->nonfinite, 1);
    } else if (p.temperature > 0.0f) {
      if (p.top_p > 0.0f) {
        // By falling logit, equal ones by rising code: bitonic sort of (key, ~code), falling.
        for (int c = t; c < a.sort_len; c += 256) order[c] = c < card ? (u64)key(logits[c]) << 32 | (0xffffffffu - c) : 0;
        __syncthreads();
        for (int size = 2; size <= a.sort_len; size *= 2)
          for (int stride = size / 2; stride; stride /= 2) {
            for (int c = t; c < a.sort_len / 2; c += 256) {
              int lo = 2 * c - (c & (stride - 1)), hi = lo + stride;
              u64 x = order[lo], y = order[hi];
              if ((x < y) == ((lo & size) == 0)) order[lo] = y, order[hi] = x;
            }
            __syncthreads();
          }
        // Weight of the c-th in order in the low half, its code in the high half.
        for (int c = t; c < card; c += 256) {
          u32 code = 0xffffffffu - (u32)order[c];
          order[c] = (u64)code << 32 | __float_as_uint(exp_((logits[code] - best) / p.temperature));
        }
        __syncthreads();
        if (t == 0) {
          float total = 0.0f, before = 0.0f;
          for (int c = 0; c < card; c++) total += __uint_as_float((u32)order[c]);
          for (int c = 0; c < card; c++) {
            if (before > p.top_p * total) logits[order[c] >> 32] = NEG_INF;
            before += __uint_as_float((u32)order[c]);
          }
        }
        __syncthreads();
      } else if (p.top_k > 0 && p.top_k < (u32)card) {
        // The k-th largest, bit by bit from the highest.
        u32 kth = 0;
        for (int bit = 31; bit >= 0; bit--) {
          u32 try_ = kth | 1u << bit;
          int n = 0;
          for (int c = t; c < card; c += 256) n += key(logits[c]) >= try_;
          if (block_count(n, places) >= (int)p.top_k) kth = try_;
        }
        float least = __uint_as_float(kth & 0x80000000u ? kth & 0x7fffffffu : ~kth);
        for (int c = t; c < card; c += 256)
          if (logits[c] < least) logits[c] = NEG_INF;
        __syncthreads();
      }
      float highest = NEG_INF;
      int sampled = -1;
      for (int word = t; 4 * word < card; word += 256) {
        u32 random[4] = {(u32)word, p.frame_base + (u32)frame, (u32)stream, (u32)song};
        philox(random, p.seed_low, p.seed_high);
        float4 four = *(const float4 *)(logits + 4 * word);  // -inf past the card
        float each[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
          int c = 4 * word + i;
          float l = each[i];
          float value = l / p.temperature + gumbel(random[i]);
          if (l > NEG_INF && value > highest) highest = value, sampled = c;
        }
      }
      first_maximum(highest, sampled, values, places);
      if (sampled >= 0) token = sampled;
    }
  }
  __syncthreads();
  if (unknown && t == 0) *slot = token;
  // The last block to finish moves the position, which all have read by then.
  if (t == 0) {
    __threadfence();
    if (atomicAdd(a.finished, 1) == gridDim.x - 1) {
      *a.finished = 0;
      a.pos[0] = s + 1;
    }
  }
}

struct Advance {
  int *pos;
  int n, unused;
};
KERNEL advance(Advance a) { a.pos[0] += a.n; }
