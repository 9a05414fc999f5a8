// METASPAN_HD marks functions that are compiled for the CPU and, by nvcc, for a CUDA device too.
// METASPAN_HD_CALL marks those of them that device code calls and does not inline: long functions
// with many callers, whose copies would take minutes to compile.
#pragma once

#if defined(__CUDACC__)
#define METASPAN_HD __host__ __device__
#define METASPAN_HD_CALL __host__ __device__ __noinline__
#else
#define METASPAN_HD
#define METASPAN_HD_CALL
#endif
