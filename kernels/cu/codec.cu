// What the codecs need beside matrix products. Transforms (spectra, inverse STFT) are matrix products too: here is what stands
// around them.
#include "common.cuh"
#define AT(i, n) for (i64 i = (i64)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (i64)gridDim.x * blockDim.x)

struct CopyRows {
  const float *src;
  float *dst;
  i64 from_at, from_stride, to_at, to_stride;
  int rows, width;
};
KERNEL copy_rows(CopyRows a) {
  AT(i, (i64)a.rows * a.width) {
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
  AT(i, a.len) a.y[i] = elu1(a.x[i]);
}

struct Depthwise {
  const float *w, *bias, *x;
  float *y;
  int kernel, dim, count, unused;
};
KERNEL depthwise(Depthwise a) {
  AT(i, (i64)a.count * a.dim) {
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
  AT(j, a.size) {
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
  AT(i, (i64)a.count * a.width) {
    i64 r = i / a.width, c = i % a.width;
    a.y[a.y_at + r * a.y_stride + c] = a.rows[i] + a.x[a.x_at + r * a.x_stride + c];
  }
}

// Real and imaginary parts [count, 2 bins] to (ln(|X| 4/n + 1e-5) + 6) / 3.
struct Magnitude {
  const float *parts;
  float *y;
  i64 y_at, y_stride;
  int count, bins;
  float scale;
  int unused;
};
KERNEL magnitude(Magnitude a) {
  AT(i, (i64)a.count * a.bins) {
    i64 t = i / a.bins, k = i % a.bins;
    float re = a.parts[t * 2 * a.bins + k], im = a.parts[t * 2 * a.bins + a.bins + k];
    float m = sqrtf(fmaf(im, im, re * re)) * a.scale;
    a.y[a.y_at + t * a.y_stride + k] = (ln_(m + 1e-5f) + 6.0f) / 3.0f;
  }
}

// Log magnitudes and phases to real and imaginary parts, rows of 2 half.
struct Polar {
  const float *x;
  float *parts;
  i64 x_at, x_stride;
  int count, half;
  float max_log;
  int unused;
};
KERNEL polar(Polar a) {
  AT(i, (i64)a.count * a.half) {
    i64 t = i / a.half, k = i % a.half;
    const float *x = a.x + a.x_at + t * a.x_stride;
    float l = x[k], m = exp_(l > a.max_log ? a.max_log : l), s, c;
    sincosf(x[a.half + k], &s, &c);
    a.parts[t * 2 * a.half + k] = m * c;
    a.parts[t * 2 * a.half + a.half + k] = k == 0 || k == a.half - 1 ? 0.0f : m * s;
  }
}

// Adds up windows [count, n_fft] over the tail: samples out, divided by the envelope, and the new tail.
struct Overlap {
  const float *windows, *tail, *envelope;
  float *y, *next;
  i64 y_at;
  int count, n_fft, hop, unused;
};
KERNEL overlap(Overlap a) {
  AT(p, (i64)a.count * a.hop + a.n_fft) {
    float v = p < a.n_fft ? a.tail[p] : 0.0f;
    i64 t = p < a.n_fft ? 0 : (p - a.n_fft) / a.hop + 1;
    for (; t < a.count && t * a.hop <= p; t++) v += a.windows[t * a.n_fft + p - t * a.hop];
    if (p < (i64)a.count * a.hop)
      a.y[a.y_at + p] = v * a.envelope[p % a.hop];
    else
      a.next[p - (i64)a.count * a.hop] = v;
  }
}

// One book of the quantizer, a block of 128 threads a row: the best code, taken off the residual. norms: Euclidean, 2<r, e> - |e|^2.
struct Choose {
  Mat codes;
  const float *scores, *norms;
  float *z;
  int *chosen;
  i64 z_at, z_stride;
};
KERNEL __launch_bounds__(128) choose(Choose a) {
  __shared__ float values[128];
  __shared__ int places[128];
  int t = threadIdx.x, row = blockIdx.x;
  float best = NEG_INF;
  int at = 0x7fffffff;
  for (int c = t; c < a.codes.rows; c += 128) {
    float s = a.scores[(i64)row * a.codes.rows + c];
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
  if (t == 0) a.chosen[row] = code;
  float *z = a.z + a.z_at + row * a.z_stride;
  for (int k = t; k < a.codes.cols; k += 128) z[k] -= weight(a.codes, code, k);
}

// z row (+)= what a code stands for, a block a row.
struct Stand {
  Mat codes;
  const int *chosen;
  float *z;
  i64 z_at, z_stride;
  int add, unused;
};
KERNEL stand(Stand a) {
  int row = blockIdx.x, code = a.chosen[row];
  float *z = a.z + a.z_at + row * a.z_stride;
  bool in = code >= 0 && code < a.codes.rows;
  for (int k = threadIdx.x; k < a.codes.cols; k += blockDim.x) {
    float w = in ? weight(a.codes, code, k) : 0.0f;
    z[k] = a.add ? z[k] + w : w;
  }
}
