#include "common.cuh"
__device__ __forceinline__ void copy16(void *shared, const void *global) {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(shared)), "l"(global) : "memory");
#else
  *(uint4 *)shared = *(const uint4 *)global;
#endif
}
__device__ __forceinline__ void copy_commit() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
template <int left> __device__ __forceinline__ void copy_wait() {
#if __CUDA_ARCH__ >= 800
  asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
#endif
}
__device__ __forceinline__ void ldmatrix4(u32 *r, const void *p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address(p)));
}
__device__ __forceinline__ void ldmatrix2(u32 *r, const void *p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(p)));
}
__device__ __forceinline__ void ldmatrix2_trans(u32 *r, const void *p) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address(p)));
}

// C[m][n] f32 = A[m][k] B[n][k]^T, bf16, tiles of 32 x 32 x 32, double buffered. Four warps, each 16 x 16.
KERNEL gemm_bf16(float *__restrict__ c, const u16 *__restrict__ a, const u16 *__restrict__ b, int m, int n, int k) {
#if __CUDA_ARCH__ >= 800
  __shared__ __align__(16) u16 as[2][32][40], bs[2][32][40];  // rows of 80 bytes: no bank conflict in ldmatrix
  int t = threadIdx.x, lane = t & 31, warp = t >> 5, wm = (warp & 1) * 16, wn = (warp >> 1) * 16;
  int row = t >> 2, col = (t & 3) * 8;
  const u16 *ag = a + (size_t)(blockIdx.y * 32 + row) * k + col, *bg = b + (size_t)(blockIdx.x * 32 + row) * k + col;
  float acc[2][4] = {};
  copy16(&as[0][row][col], ag);
  copy16(&bs[0][row][col], bg);
  copy_commit();
  for (int step = 0; step * 32 < k; step++) {
    int now = step & 1;
    if ((step + 1) * 32 < k) {
      copy16(&as[now ^ 1][row][col], ag + (step + 1) * 32);
      copy16(&bs[now ^ 1][row][col], bg + (step + 1) * 32);
    }
    copy_commit();
    copy_wait<1>();
    __syncthreads();
    for (int kk = 0; kk < 32; kk += 16) {
      u32 fa[4], fb[2];
      ldmatrix4(fa, &as[now][wm + (lane & 15)][kk + (lane >> 4) * 8]);
      for (int j = 0; j < 2; j++) {
        ldmatrix2(fb, &bs[now][wn + j * 8 + (lane & 7)][kk + ((lane >> 3) & 1) * 8]);
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                     : "+f"(acc[j][0]), "+f"(acc[j][1]), "+f"(acc[j][2]), "+f"(acc[j][3])
                     : "r"(fa[0]), "r"(fa[1]), "r"(fa[2]), "r"(fa[3]), "r"(fb[0]), "r"(fb[1]));
      }
    }
    __syncthreads();
  }
  for (int j = 0; j < 2; j++)
    for (int h = 0; h < 2; h++) {
      size_t r = blockIdx.y * 32 + wm + (lane >> 2) + h * 8, q = blockIdx.x * 32 + wn + j * 8 + (lane & 3) * 2;
      *(float2 *)(c + r * n + q) = make_float2(acc[j][2 * h], acc[j][2 * h + 1]);
    }
#else
  __trap();
#endif
}

// The same in f16 by the m16n8k8 tile that sm_75 has; B is [k][n] and read through ldmatrix.trans. One warp, 16 x 8.
KERNEL gemm_f16_k8(float *__restrict__ c, const u16 *__restrict__ a, const u16 *__restrict__ b, int m, int n, int k) {
  __shared__ __align__(16) u16 as[16][24], bs[16][8];
  int lane = threadIdx.x;
  float acc[4] = {};
  for (int k0 = 0; k0 < k; k0 += 16) {
    __syncwarp();
    *(uint4 *)&as[lane >> 1][(lane & 1) * 8] = *(const uint4 *)(a + (size_t)(blockIdx.y * 16 + (lane >> 1)) * k + k0 + (lane & 1) * 8);
    if (lane < 16) *(uint4 *)bs[lane] = *(const uint4 *)(b + (size_t)(k0 + lane) * n + blockIdx.x * 8);
    __syncwarp();
    u32 fa[4], fb[2];
    ldmatrix4(fa, &as[lane & 15][(lane >> 4) * 8]);
    ldmatrix2_trans(fb, bs[lane & 15]);
    for (int h = 0; h < 2; h++)
      asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
                   : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3]) : "r"(fa[2 * h]), "r"(fa[2 * h + 1]), "r"(fb[h]));
  }
  for (int h = 0; h < 2; h++) {
    size_t r = blockIdx.y * 16 + (lane >> 2) + h * 8, q = blockIdx.x * 8 + (lane & 3) * 2;
    c[r * n + q] = acc[2 * h];
    c[r * n + q + 1] = acc[2 * h + 1];
  }
}

// C[m][n] s32 = A[m][k] B[n][k]^T in s8, one warp a 16 x 8 tile, fragments read straight from global memory.
KERNEL gemm_s8(int *__restrict__ c, const i8 *__restrict__ a, const i8 *__restrict__ b, int m, int n, int k) {
  int lane = threadIdx.x, group = lane >> 2, quad = lane & 3, acc[4] = {};
  const i8 *a0 = a + (size_t)(blockIdx.y * 16 + group) * k, *a1 = a0 + 8 * (size_t)k, *b0 = b + (size_t)(blockIdx.x * 8 + group) * k;
  for (int k0 = 0; k0 < k; k0 += 32) {
#if __CUDA_ARCH__ >= 800
    u32 r0 = *(const u32 *)(a0 + k0 + quad * 4), r1 = *(const u32 *)(a1 + k0 + quad * 4);
    u32 r2 = *(const u32 *)(a0 + k0 + 16 + quad * 4), r3 = *(const u32 *)(a1 + k0 + 16 + quad * 4);
    u32 s0 = *(const u32 *)(b0 + k0 + quad * 4), s1 = *(const u32 *)(b0 + k0 + 16 + quad * 4);
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(acc[0]), "+r"(acc[1]), "+r"(acc[2]), "+r"(acc[3]) : "r"(r0), "r"(r1), "r"(r2), "r"(r3), "r"(s0), "r"(s1));
#else
    for (int h = 0; h < 2; h++) {
      u32 r0 = *(const u32 *)(a0 + k0 + h * 16 + quad * 4), r1 = *(const u32 *)(a1 + k0 + h * 16 + quad * 4);
      u32 s = *(const u32 *)(b0 + k0 + h * 16 + quad * 4);
      asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(acc[0]), "+r"(acc[1]) : "r"(r0), "r"(s));
      asm volatile("mma.sync.aligned.m8n8k16.row.col.s32.s8.s8.s32 {%0,%1}, {%2}, {%3}, {%0,%1};" : "+r"(acc[2]), "+r"(acc[3]) : "r"(r1), "r"(s));
    }
#endif
  }
  for (int h = 0; h < 2; h++) {
    size_t r = blockIdx.y * 16 + group + h * 8, q = blockIdx.x * 8 + quad * 2;
    c[r * n + q] = acc[2 * h];
    c[r * n + q + 1] = acc[2 * h + 1];
  }
}
