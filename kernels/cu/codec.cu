// Kernels of the codecs, besides matrix products. The transforms of spectra and of the inverse STFT are matrix products too; what
// comes before and after them is here.
#include "common.cuh"
// For each index i below n, over all threads of the grid.
#define EACH(i, n) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)

struct CopyRows {
  const float *src;
  float *dst;
  i64 from_at, from_stride, to_at, to_stride;
  int rows, width;
};
KERNEL copy_rows(CopyRows a) {
  EACH(i, (i64)a.rows * a.width) {
    i64 r = i / a.width, c = i % a.width;
    a.dst[a.to_at + r * a.to_stride + c] = a.src[a.from_at + r * a.from_stride + c];
  }
}

struct Elu {
  const float *x;
  float *y;
  i64 len;
};
KERNEL elu(Elu a) {
  EACH(i, a.len) a.y[i] = elu1(a.x[i]);
}

struct Depthwise {
  const float *w, *bias, *x;
  float *y;
  int kernel, dim, count, unused;
};
KERNEL depthwise(Depthwise a) {
  EACH(i, (i64)a.count * a.dim) {
    i64 t = i / a.dim, c = i % a.dim;
    float y = a.bias[c];
    for (int k = 0; k < a.kernel; k++) y = fmaf(a.w[(i64)k * a.dim + c], a.x[(t + k) * a.dim + c], y);
    a.y[i] = y;
  }
}

struct LstmGates {
  const float *gates, *hidden;  // [4 size]: i, f, g, o
  float *h, *c, *row;
  int size, unused;
};
KERNEL lstm_gates(LstmGates a) {
  EACH(j, a.size) {
    float g[4];
#pragma unroll
    for (int k = 0; k < 4; k++) g[k] = a.gates[(i64)k * a.size + j] + a.hidden[(i64)k * a.size + j];
    float kept = sigmoid(g[1]) * a.c[j];
    float c = fmaf(sigmoid(g[0]), tanh_(g[2]), kept);
    float h = sigmoid(g[3]) * tanh_(c);
    a.c[j] = c, a.h[j] = h, a.row[j] = h;
  }
}

struct AddRows {
  const float *rows, *x;
  float *y;
  i64 x_at, x_stride, y_at, y_stride;
  int count, width;
};
KERNEL add_rows(AddRows a) {
  EACH(i, (i64)a.count * a.width) {
    i64 r = i / a.width, c = i % a.width;
    a.y[a.y_at + r * a.y_stride + c] = a.rows[i] + a.x[a.x_at + r * a.x_stride + c];
  }
}

// Real and imaginary parts [count, 2 bins] to features (ln(|X| 4/n + 1e-5) + 6) / 3.
struct Magnitude {
  const float *parts;
  float *y;
  i64 y_at, y_stride;
  int count, bins;
  float scale;
  int unused;
};
KERNEL magnitude(Magnitude a) {
  EACH(i, (i64)a.count * a.bins) {
    i64 t = i / a.bins, k = i % a.bins;
    float re = a.parts[t * 2 * a.bins + k], im = a.parts[t * 2 * a.bins + a.bins + k];
    float m = sqrtf(fmaf(im, im, re * re)) * a.scale;
    a.y[a.y_at + t * a.y_stride + k] = (ln_(m + 1e-5f) + 6.0f) / 3.0f;
  }
}

// Log magnitudes and phases to real and imaginary parts; rows of 2 half.
struct Polar {
  const float *x;
  float *y;
  i64 x_at, x_stride, y_at, y_stride;
  int count, half;
  float max_log;
  int unused;
};
KERNEL polar(Polar a) {
  EACH(i, (i64)a.count * a.half) {
    i64 t = i / a.half, k = i % a.half;
    const float *x = a.x + a.x_at + t * a.x_stride;
    float *y = a.y + a.y_at + t * a.y_stride;
    float l = x[k], m = exp_(l > a.max_log ? a.max_log : l), s, c;
    sincosf(x[a.half + k], &s, &c);
    y[k] = m * c;
    y[a.half + k] = k == 0 || k == a.half - 1 ? 0.0f : m * s;
  }
}

// Spectra with locked phases, in four steps: samples of white noise, whose spectra are a matrix product; for each bin its peak and
// that peak's advance; phases, row after row; spectra. Arithmetic as in src/cpu/locked.rs. Below bin `from` phases are given.
struct WhiteNoise {
  const int *state;  // [half + 1]; the last is the number of rows so far
  float *x;
  int half, hop, len;
  unsigned seed;
};
KERNEL white_noise(WhiteNoise a) {
  unsigned first = (unsigned)a.state[a.half] * (unsigned)a.hop;
  EACH(i, a.len) {
    unsigned x = first + (unsigned)i + a.seed * 0x9e3779b9u;
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    x ^= x >> 16;
    a.x[i] = (float)(int)(x ^ 0x80000000u) * (1.7320508f / 2147483648.0f);
  }
}

struct FindPeaks {
  const float *x;
  int *peak, *advance;  // [count, half]
  i64 x_at, x_stride;
  int count, half, n_fft, hop;
  float scale;  // hop / n_fft turns
  int unused;
};
KERNEL find_peaks(FindPeaks a) {
  EACH(i, (i64)a.count * a.half) {
    i64 t = i / a.half;
    int k = i % a.half, last = a.half - 1;
    const float *l = a.x + a.x_at + t * a.x_stride;
    for (;;) {
      float here = l[k], above = k < last ? l[k + 1] : NEG_INF, below = k > 0 ? l[k - 1] : NEG_INF;
      if (above > here && above >= below)
        k++;
      else if (below > here)
        k--;
      else
        break;
    }
    float offset = 0.0f;
    if (k > 0 && k < last) {
      float curve = l[k - 1] - 2.0f * l[k] + l[k + 1];
      if (curve < -1e-6f) offset = fminf(fmaxf(0.5f * (l[k - 1] - l[k + 1]) / curve, -0.5f), 0.5f);
    }
    a.peak[i] = k;
    a.advance[i] = (int)((unsigned)((((unsigned long long)k * a.hop) << 32) / a.n_fft) + (unsigned)__float2int_rn(offset * a.scale));
  }
}

struct LockPhases {
  const int *peak, *advance;
  int *state, *phases;  // [half + 1], [count, half]
  int count, half;
};
// One block: a row needs the row before it.
KERNEL __launch_bounds__(1024) lock_phases(LockPhases a) {
  for (int t = 0; t < a.count; t++) {
    const int *before = t == 0 ? a.state : a.phases + (i64)(t - 1) * a.half;
    for (int k = threadIdx.x; k < a.half; k += blockDim.x) {
      i64 i = (i64)t * a.half + k;
      a.phases[i] = (int)((unsigned)before[a.peak[i]] + (unsigned)a.advance[i]);
    }
    __syncthreads();
  }
  for (int k = threadIdx.x; k < a.half; k += blockDim.x) a.state[k] = a.phases[(i64)(a.count - 1) * a.half + k];
  if (threadIdx.x == 0) a.state[a.half] = (int)((unsigned)a.state[a.half] + (unsigned)a.count);
}

struct LockedSpectra {
  const float *x, *noise;
  const int *phases;
  float *y;
  i64 x_at, x_stride, y_at, y_stride;
  int count, half;
  float max_log, scale;  // of the noise's spectra
  int from, unused;
};
KERNEL locked_spectra(LockedSpectra a) {
  EACH(i, (i64)a.count * a.half) {
    i64 t = i / a.half, k = i % a.half;
    const float *x = a.x + a.x_at + t * a.x_stride, *noise = a.noise + t * 2 * a.half;
    float *y = a.y + a.y_at + t * a.y_stride;
    float l = x[k], m = exp_(l > a.max_log ? a.max_log : l);
    if (k < a.from) {
      float sin, cos;
      sincosf(x[a.half + k], &sin, &cos);
      y[k] = m * cos;
      y[a.half + k] = k == 0 ? 0.0f : m * sin;
      continue;
    }
    float odds = exp_(fminf(fmaxf(x[a.half + k], -30.0f), 30.0f)), share = 1.0f / (1.0f + odds);
    float tone = m * sqrtf(share), rough = m * sqrtf(odds * share * 1.442695f);
    if (k & 1) tone = -tone;
    unsigned phase = (unsigned)a.phases[i], quarter = (phase + (1u << 29)) >> 30;
    float r = (float)(int)(phase - (quarter << 30)) * (6.2831855f / 4294967296.0f), z = r * r;
    float s = fmaf(fmaf(fmaf(-1.0f / 5040.0f, z, 1.0f / 120.0f), z, -1.0f / 6.0f), r * z, r);
    float c = fmaf(fmaf(fmaf(fmaf(1.0f / 40320.0f, z, -1.0f / 720.0f), z, 1.0f / 24.0f), z, -0.5f), z, 1.0f);
    float cos = quarter == 0 ? c : quarter == 1 ? -s : quarter == 2 ? -c : s;
    float sin = quarter == 0 ? s : quarter == 1 ? c : quarter == 2 ? -s : -c;
    y[k] = fmaf(rough, noise[k] * a.scale, tone * cos);
    y[a.half + k] = k == 0 || k == a.half - 1 ? 0.0f : fmaf(rough, noise[a.half + k] * a.scale, tone * sin);
  }
}

// Overlap-add of windows [count, n_fft] and the tail: samples, divided by the envelope, and the next tail.
struct Overlap {
  const float *windows, *tail, *envelope;
  float *y, *next;
  i64 y_at;
  int count, n_fft, hop, unused;
};
KERNEL overlap(Overlap a) {
  EACH(p, (i64)a.count * a.hop + a.n_fft) {
    float v = p < a.n_fft ? a.tail[p] : 0.0f;
    i64 t = p < a.n_fft ? 0 : (p - a.n_fft) / a.hop + 1;
    for (; t < a.count && t * a.hop <= p; t++) v += a.windows[t * a.n_fft + p - t * a.hop];
    if (p < (i64)a.count * a.hop)
      a.y[a.y_at + p] = v * a.envelope[p % a.hop];
    else
      a.next[p - (i64)a.count * a.hop] = v;
  }
}

// One book of a quantizer, one row a block of 128 threads: the code with the largest score, whose vector is subtracted from the
// residual. norms not null: the Euclidean score 2<r, e> - |e|^2.
struct ArgmaxCode {
  Mat vectors;
  const float *scores, *norms;
  float *z;
  int *codes;
  i64 z_at, z_stride;
};
KERNEL __launch_bounds__(128) argmax_code(ArgmaxCode a) {
  __shared__ float values[128];
  __shared__ int places[128];
  int t = threadIdx.x, row = blockIdx.x;
  float best = NEG_INF;
  int at = 0x7fffffff;
  for (int c = t; c < a.vectors.rows; c += 128) {
    float s = a.scores[(i64)row * a.vectors.rows + c];
    if (a.norms) s = fmaf(s, 2.0f, -a.norms[c]);
    if (s > best) best = s, at = c;
  }
  values[t] = best, places[t] = at;
  for (int d = 64; d; d /= 2) {
    __syncthreads();
    if (t < d && (values[t + d] > values[t] || (values[t + d] == values[t] && places[t + d] < places[t])))
      values[t] = values[t + d], places[t] = places[t + d];
  }
  __syncthreads();
  int code = places[0] == 0x7fffffff ? 0 : places[0];
  if (t == 0) a.codes[row] = code;
  float *z = a.z + a.z_at + row * a.z_stride;
  for (int k = t; k < a.vectors.cols; k += 128) z[k] -= weight(a.vectors, code, k);
}

// Sets a row of z to the vector of its code, or adds the vector; one row a block.
struct LookupCodes {
  Mat vectors;
  const int *codes;
  float *z;
  i64 z_at, z_stride;
  int add, unused;
};
KERNEL lookup_codes(LookupCodes a) {
  int row = blockIdx.x, code = a.codes[row];
  float *z = a.z + a.z_at + row * a.z_stride;
  bool in = code >= 0 && code < a.vectors.rows;
  for (int k = threadIdx.x; k < a.vectors.cols; k += blockDim.x) {
    float w = in ? weight(a.vectors, code, k) : 0.0f;
    z[k] = a.add ? z[k] + w : w;
  }
}
