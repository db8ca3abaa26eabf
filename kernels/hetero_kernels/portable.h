// The few words in which OpenCL C and CUDA C differ, and the vectors that kernels are written in.
//
// Build-time names, all given before this text:
//   W      lanes of a vector: 4, 8 or 16 on processors, 1 in CUDA C and wherever an item is a lane.
//   INDEX  i32, or i64 when a tensor has 2^31 elements or more.
//   ROUNDED  defined where a product is rounded before it is added to, as NumPy does it: spikes hang on the last bit.
//
// Scalars are called by their bits: i8 .. i64, u8 .. u64, f32, f64; a bool is a u8 that holds 0 or 1. With a `v`
// behind it the name is W of them. f16 and bf16 are ways of storing: their arithmetic is f32.
//
// A buffer may be read and written 64 bytes past its end, so that a vector may overhang.

#define CAT_(a, b) a##b
#define CAT(a, b) CAT_(a, b)
#define WIDE_(a, b) a##b
#define WIDE_OF(a, b) WIDE_(a, b)
#define WIDE(a) WIDE_OF(a, W)  // apart from CAT: a macro does not expand within itself

#ifdef __OPENCL_VERSION__

#if defined(__has_attribute) && W > 1
#if __has_attribute(intel_vec_len_hint)  // Intel's compiler would take our vectors apart, to make its own across items
#define KERNEL __attribute__((intel_vec_len_hint(1))) __kernel void
#endif
#endif
#ifndef KERNEL
#define KERNEL __kernel void
#endif
#ifdef ROUNDED
#pragma OPENCL FP_CONTRACT OFF
#endif
#define GLOBAL __global
#define LOCAL __local
#define TO_LOCAL __local  // of a pointer
#define INLINE static inline
#define RESTRICT restrict
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define GROUPS ((INDEX)get_num_groups(0))  // of a launch along one line
#define ADD_ONE(p) atomic_inc(p)           // in one go; what was there
#define PUT(p, x) atomic_xchg(p, x)        // where others do so
#define GLOBAL_ID(d) ((INDEX)get_global_id(d))
#define GROUP_ID(d) ((INDEX)get_group_id(d))
#define LOCAL_ID(d) ((INDEX)get_local_id(d))
typedef char i8;
typedef short i16;
typedef int i32;
typedef long i64;
typedef uchar u8;
typedef ushort u16;
typedef uint u32;
typedef ulong u64;
typedef float f32;
#ifdef HAS_F64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double f64;
#endif

#else  // CUDA C, as NVRTC compiles it

#define KERNEL extern "C" __global__ void
#define GLOBAL
#define LOCAL __shared__
#define TO_LOCAL
#define INLINE static __device__ inline
#define RESTRICT __restrict__
#define BARRIER __syncthreads()
#define GROUPS ((INDEX)gridDim.x)
#define ADD_ONE(p) atomicAdd(p, 1)
#define PUT(p, x) atomicExch(p, x)
#ifdef LARGE_GRID  // groups in one line, see for_large_grids in text.py
typedef struct { unsigned int x, y; } Grid;
#define HETERO_GROUP(d) \
    ((d) == 0 ? blockIdx.x % grid_.x : (d) == 1 ? blockIdx.x / grid_.x % grid_.y : blockIdx.x / grid_.x / grid_.y)
#else
#define HETERO_GROUP(d) HETERO_AT(blockIdx, d)
#endif
#define GLOBAL_ID(d) ((INDEX)HETERO_GROUP(d) * (INDEX)HETERO_AT(blockDim, d) + (INDEX)HETERO_AT(threadIdx, d))
#define GROUP_ID(d) ((INDEX)HETERO_GROUP(d))
#define LOCAL_ID(d) ((INDEX)HETERO_AT(threadIdx, d))
#define HETERO_AT(v, d) ((d) == 0 ? v.x : (d) == 1 ? v.y : v.z)
typedef signed char i8;
typedef short i16;
typedef int i32;
typedef long long i64;
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef float f32;
typedef double f64;
#define HAS_F64
#ifndef INFINITY  // NVRTC knows no headers
#define INFINITY __int_as_float(0x7f800000)
#endif

#endif

#ifdef __OPENCL_VERSION__
#define LANE_BITS(x) as_uint(x)
#else
#define LANE_BITS(x) __float_as_uint(x)
#endif

// -- vectors -------------------------------------------------------------------------------------------------
//
// CONVERT(T, x)        each lane as C converts it
// AS(T, x)             the same bits
// CMP(x < y)           a comparison as bools
// SELECT(T, c, x, y)   x where the bool c is 1, else y; both are T
// PICK(m, x, y)        the same by a comparison itself, of lanes as wide as those of x
// SPLAT(T, x)          every lane x
// LOAD(T, p, i)        p[i] .. p[i + W - 1]
// STORE(T, p, i, x)    and back
// STORE_SOME(T, p, i, x, n)  the first n lanes
// LOAD_ONE(T, p, i)    every lane p[i]
// KEEP(array, x)       lanes into an array of one's own; KEPT(T, array) takes them back
// LANE_BITS(x)         the bits of one float
// STORE_ONE(T, p, i, x)      the first lane

#if W == 1

typedef i8 i8v;
typedef i16 i16v;
typedef i32 i32v;
typedef i64 i64v;
typedef u8 u8v;
typedef u16 u16v;
typedef u32 u32v;
typedef u64 u64v;
typedef f32 f32v;
#ifdef HAS_F64
typedef f64 f64v;
#endif

#define CONVERT(T, x) ((T)(x))
#define SELECT(T, c, x, y) ((c) ? (x) : (y))
#define CMP(x) ((u8)(x))
#define LANES_FROM(T, first) ((T)(first))
#define LOAD_PLAIN(T, p, i) ((p)[i])
#define KEEP(array, x) ((array)[0] = (x))
#define KEPT(T, array) ((array)[0])
#define STORE_PLAIN(T, p, i, x) ((p)[i] = (x))
#define FOLD(f, x) (x)
#define ANY(x) (x)

#ifdef __OPENCL_VERSION__
#define AS_i32(x) as_int(x)
#define AS_u32(x) as_uint(x)
#define AS_f32(x) as_float(x)
#define AS_i64(x) as_long(x)
#define AS_u64(x) as_ulong(x)
#define AS_f64(x) as_double(x)
#else
template <class T, class S> __device__ inline T hetero_as(S s) { T t; memcpy(&t, &s, sizeof t); return t; }
#define AS_i32(x) hetero_as<i32>(x)
#define AS_u32(x) hetero_as<u32>(x)
#define AS_f32(x) hetero_as<f32>(x)
#define AS_i64(x) hetero_as<i64>(x)
#define AS_u64(x) hetero_as<u64>(x)
#define AS_f64(x) hetero_as<f64>(x)
#endif

#else  // W lanes, OpenCL C only

typedef WIDE(char) i8v;
typedef WIDE(short) i16v;
typedef WIDE(int) i32v;
typedef WIDE(long) i64v;
typedef WIDE(uchar) u8v;
typedef WIDE(ushort) u16v;
typedef WIDE(uint) u32v;
typedef WIDE(ulong) u64v;
typedef WIDE(float) f32v;
#ifdef HAS_F64
typedef WIDE(double) f64v;
#endif

// The same where it lies in memory, aligned as its elements are. Through a pointer to these a vector is one load:
// vload8 of PoCL 3.0 costs four times as much.
#define IN_MEMORY(T, bytes) typedef CAT(T, v) CAT(T, u) __attribute__((aligned(bytes)))
IN_MEMORY(i8, 1);
IN_MEMORY(i16, 2);
IN_MEMORY(i32, 4);
IN_MEMORY(i64, 8);
IN_MEMORY(u8, 1);
IN_MEMORY(u16, 2);
IN_MEMORY(u32, 4);
IN_MEMORY(u64, 8);
IN_MEMORY(f32, 4);
#ifdef HAS_F64
IN_MEMORY(f64, 8);
#endif

#define CONVERT_i8 WIDE(convert_char)
#define CONVERT_i16 WIDE(convert_short)
#define CONVERT_i32 WIDE(convert_int)
#define CONVERT_i64 WIDE(convert_long)
#define CONVERT_u8 WIDE(convert_uchar)
#define CONVERT_u16 WIDE(convert_ushort)
#define CONVERT_u32 WIDE(convert_uint)
#define CONVERT_u64 WIDE(convert_ulong)
#if W == 8  // in halves: convert_float8 of a double8 aborts the compiler of PoCL 3.0 (LLVM 14, AVX2)
#define CONVERT_f32(x) ((float8)(convert_float4((x).lo), convert_float4((x).hi)))
#else
#define CONVERT_f32 WIDE(convert_float)
#endif
#define CONVERT_f64 WIDE(convert_double)
#define CONVERT(T, x) CAT(CONVERT_, T)(x)
#define AS_i32 WIDE(as_int)
#define AS_u32 WIDE(as_uint)
#define AS_f32 WIDE(as_float)
#define AS_i64 WIDE(as_long)
#define AS_u64 WIDE(as_ulong)
#define AS_f64 WIDE(as_double)
#define MASK_i8 i8
#define MASK_u8 i8
#define MASK_i16 i16
#define MASK_u16 i16
#define MASK_i32 i32
#define MASK_u32 i32
#define MASK_f32 i32
#define MASK_i64 i64
#define MASK_u64 i64
#define MASK_f64 i64
#define SELECT(T, c, x, y) (-CONVERT(CAT(MASK_, T), c) ? (x) : (y))
#define CMP(x) (CONVERT_u8(x) & (u8)1)
#define LOAD_PLAIN(T, p, i) ((CAT(T, v))*(GLOBAL const CAT(T, u) *)((p) + (i)))
#define KEEP(array, x) WIDE(vstore)(x, 0, array)
#define KEPT(T, array) WIDE(vload)(0, array)
#define STORE_PLAIN(T, p, i, x) (*(GLOBAL CAT(T, u) *)((p) + (i)) = (x))

#if W == 16
#define LANES_FROM(T, first) (SPLAT(T, first) + (CAT(T, v))(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
#define FOLD(f, x) f(FOLD_EVEN(f, x), FOLD_ODD(f, x))
#define FOLD_EVEN(f, x) f(f(f((x).s0, (x).s8), f((x).s4, (x).sc)), f(f((x).s2, (x).sa), f((x).s6, (x).se)))
#define FOLD_ODD(f, x) f(f(f((x).s1, (x).s9), f((x).s5, (x).sd)), f(f((x).s3, (x).sb), f((x).s7, (x).sf)))
#elif W == 8
#define LANES_FROM(T, first) (SPLAT(T, first) + (CAT(T, v))(0, 1, 2, 3, 4, 5, 6, 7))
#define FOLD(f, x) f(f(f((x).s0, (x).s4), f((x).s2, (x).s6)), f(f((x).s1, (x).s5), f((x).s3, (x).s7)))
#elif W == 4
#define LANES_FROM(T, first) (SPLAT(T, first) + (CAT(T, v))(0, 1, 2, 3))
#define FOLD(f, x) f(f((x).s0, (x).s2), f((x).s1, (x).s3))
#endif
#define ANY(x) any(x)

#endif

#define AS(T, x) CAT(AS_, T)(x)
#define INF_f32 AS_f32((i32v)(0x7f800000))
#define INF_f64 AS_f64((i64v)(0x7ff0000000000000))
#define NAN_f32 AS_f32((i32v)(0x7fc00000))
#define INF(T) CAT(INF_, T)
#define PICK(m, x, y) ((m) ? (x) : (y))
#define SPLAT(T, x) ((CAT(T, v))(x))

// the bits of a float as an integer with its sign
#define BITS_f32(x) AS(i32, x)
#define BITS_f64(x) AS(i64, x)
#define BITS(T, x) CAT(BITS_, T)(x)

// the least and the largest integer
#define LEAST_i8 (-128)
#define LEAST_i16 (-32768)
#define LEAST_i32 (-2147483647 - 1)
#define LEAST_i64 (-9223372036854775807L - 1)
#define MOST_i8 127
#define MOST_i16 32767
#define MOST_i32 2147483647
#define MOST_i64 9223372036854775807L
#define MOST_u8 255
#define MOST_u16 65535
#define MOST_u32 4294967295u
#define MOST_u64 18446744073709551615ul
#define LEAST(T) CAT(LEAST_, T)
#define MOST(T) CAT(MOST_, T)

// -- memory --------------------------------------------------------------------------------------------------
//
// What a buffer holds is a cell: the scalar itself, or the 16 bits of a small float.

typedef u16 f16;
typedef u16 bf16;
typedef u16v f16v;
typedef u16v bf16v;
#if W > 1
IN_MEMORY(f16, 2);
IN_MEMORY(bf16, 2);
#endif

// From 16 bits: move them into place, then set the exponent right by a product, which also does the subnormals.
INLINE f32v decode_f16(u16v cell)
{
    const u32v bits = CONVERT(u32, cell);
    const f32v finite = AS(f32, (bits & 0x7fffu) << 13) * 5.192296858534828e+33f;  // 2^112
    const f32v other = AS(f32, ((bits & 0x7fffu) << 13) | 0x7f800000u);
    const f32v size = PICK((bits & 0x7c00u) == 0x7c00u, other, finite);
    return AS(f32, AS(u32, size) | ((bits & 0x8000u) << 16));
}

// To the nearest value that float16 has, ties to even
INLINE f32v round_f16(f32v x)
{
    const i32v bits = AS(i32, x) & 0x7fffffff;
    const f32v a = AS(f32, bits);
    const f32v normal = AS(f32, (bits + 0xfff + ((bits >> 13) & 1)) & (i32)0xffffe000);
    const f32v small = (a + 0.5f) - 0.5f;  // the spacing of floats at 0.5 is that of the subnormal halves
    const f32v y = PICK(a < 6.103515625e-05f, small, PICK(a >= 65520.0f, INF_f32, normal));
    return PICK(a != a, x, AS(f32, AS(i32, y) | (AS(i32, x) & (i32)0x80000000)));
}

INLINE u16v encode_f16(f32v x)
{
    const u32v bits = AS(u32, round_f16(x));
    const u32v size = bits & 0x7fffffffu;
    const u32v normal = (size >> 13) - (112u << 10);
    const u32v small = CONVERT(u32, AS(f32, size) * 16777216.0f);  // in units of 2^-24
    const u32v top = PICK(size > 0x7f800000u, SPLAT(u32, 0x7e00u), SPLAT(u32, 0x7c00u));
    const u32v cell = PICK(size >= 0x7f800000u, top, PICK(size < 0x38800000u, small, normal));
    return CONVERT(u16, cell | ((bits >> 16) & 0x8000u));
}

INLINE f32v decode_bf16(u16v cell) { return AS(f32, CONVERT(u32, cell) << 16); }

INLINE f32v round_bf16(f32v x)
{
    const u32v bits = AS(u32, x);
    const u32v even = (bits + 0x7fffu + ((bits >> 16) & 1u)) & 0xffff0000u;
    return PICK(x != x, AS(f32, (bits & 0xffff0000u) | 0x00400000u), AS(f32, even));
}

INLINE u16v encode_bf16(f32v x) { return CONVERT(u16, AS(u32, round_bf16(x)) >> 16); }

#define PLAIN(x) (x)
#define DECODE_i8 PLAIN
#define DECODE_i16 PLAIN
#define DECODE_i32 PLAIN
#define DECODE_i64 PLAIN
#define DECODE_u8 PLAIN
#define DECODE_u16 PLAIN
#define DECODE_u32 PLAIN
#define DECODE_u64 PLAIN
#define DECODE_f16 decode_f16
#define DECODE_bf16 decode_bf16
#define DECODE_f32 PLAIN
#define DECODE_f64 PLAIN
#define DECODE(T, cells) CAT(DECODE_, T)(cells)
#define ENCODE_i8 PLAIN
#define ENCODE_i16 PLAIN
#define ENCODE_i32 PLAIN
#define ENCODE_i64 PLAIN
#define ENCODE_u8 PLAIN
#define ENCODE_u16 PLAIN
#define ENCODE_u32 PLAIN
#define ENCODE_u64 PLAIN
#define ENCODE_f16 encode_f16
#define ENCODE_bf16 encode_bf16
#define ENCODE_f32 PLAIN
#define ENCODE_f64 PLAIN
#define ENCODE(T, x) CAT(ENCODE_, T)(x)

// FETCH(p): what lies at p is wanted soon, a hint to a processor. It may be past the end.
#if defined(__has_builtin) && defined(__OPENCL_VERSION__) && W > 1
#if __has_builtin(__builtin_prefetch)
#define FETCH(p) __builtin_prefetch((const void *)(ulong)(p))
#endif
#endif
#ifndef FETCH
#define FETCH(p)
#endif
#define LOAD(T, p, i) DECODE(T, LOAD_PLAIN(T, p, i))
#define LOAD_ONE(T, p, i) DECODE(T, SPLAT(T, (p)[i]))
// With STREAM, stores go past the caches, for outputs larger than they are; p + i is then a multiple of W.
#ifdef __has_builtin
#if __has_builtin(__builtin_nontemporal_store)
#define CAN_STREAM
#endif
#endif
#if defined(STREAM) && defined(CAN_STREAM) && W > 1
#define STORE(T, p, i, x) __builtin_nontemporal_store(ENCODE(T, x), (GLOBAL CAT(T, v) *)((p) + (i)))
#else
#define STORE(T, p, i, x) STORE_PLAIN(T, p, i, ENCODE(T, x))
#endif
#define STORE_SOME(T, p, i, x, n) \
    do { \
        T cells_[W]; \
        KEEP(cells_, ENCODE(T, x)); \
        for (int k_ = 0; k_ < (int)(n) && k_ < W; ++k_) \
            (p)[(i) + k_] = cells_[k_]; \
    } while (0)
#define STORE_ONE(T, p, i, x) STORE_SOME(T, p, i, x, 1)
