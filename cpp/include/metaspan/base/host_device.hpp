// METASPAN_HD marks functions that are compiled for the CPU and, by nvcc, for a CUDA device too.
#pragma once

#if defined(__CUDACC__)
#define METASPAN_HD __host__ __device__
#else
#define METASPAN_HD
#endif
