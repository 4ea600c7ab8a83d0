// Arguments of a matrix product, and what is done with its sums: for linear.cu and tiles.cu.
#pragma once
#include "common.cuh"

struct Linear {
  Mat m;
  const float *bias, *norm_w, *norm_b;  // norm_w not null: a norm; norm_b not null: LayerNorm, else RMSNorm
  const float *x;
  float *y;
  i64 x_at, x_stride, y_at, y_stride;
  int count, act, add;
  float eps;
  // qkv (append = 1): keys and values of this layer, and the position in them
  u8 *k, *v;
  const int *pos;
  int append, n, dim, head_dim, padded, steps, keys_bf16, unused;
  i64 k_head, v_head;  // bytes of one head's keys, values
};

// Mean and 1/standard deviation of a row whose values are x(k), by one warp.
template <typename X>
INLINE void row_stats(const Linear &a, X x, int lane, float &mean, float &rstd) {
  float sum = 0.0f, squares = 0.0f;
  if (a.norm_b)
    for (int k = lane; k < a.m.cols; k += 32) sum += x(k);
  mean = a.norm_b ? warp_sum(sum) / (float)a.m.cols : 0.0f;
  for (int k = lane; k < a.m.cols; k += 32) squares = fmaf(x(k) - mean, x(k) - mean, squares);
  rstd = 1.0f / sqrtf(warp_sum(squares) / (float)a.m.cols + a.eps);
}

// Writes one output of qkv: a query to y, a key or value to the cache (layout in cuda/kv.rs).
INLINE void append(const Linear &a, int x_row, int row, float value) {
  int lane = x_row / a.n, step = a.pos[0] + x_row % a.n, part = row / a.dim, column = row % a.dim;
  if (part == 0) {
    a.y[(i64)x_row * a.dim + column] = value;
    return;
  }
  if (step >= a.steps) return;
  int d = column % a.head_dim;
  i64 head = (i64)lane * (a.dim / a.head_dim) + column / a.head_dim;
  int width = a.keys_bf16 ? 8 : 4;
  i64 at = part == 1 ? (((i64)(step >> 5) * (a.padded / width) + d / width) * 32 + (step & 31)) * width + d % width
                     : (i64)step * a.padded + d;
  u8 *to = part == 1 ? a.k + head * a.k_head : a.v + head * a.v_head;
  if (a.keys_bf16)
    ((u16 *)to)[at] = to_bf16(value);
  else
    ((float *)to)[at] = value;
}

// Bias, activation and residual of one sum; writes the output.
INLINE void finish(const Linear &a, int x_row, int row, float sum) {
  if (row >= a.m.rows) return;
  if (a.bias) sum += a.bias[row];
  if (a.act == 1) sum = gelu(sum);
  if (a.act == 2) sum = sum > 0.0f ? sum : 0.0f;
  if (a.append) {
    append(a, x_row, row, sum);
    return;
  }
  float *y = a.y + a.y_at + x_row * a.y_stride + row;
  *y = a.add ? *y + sum : sum;
}
