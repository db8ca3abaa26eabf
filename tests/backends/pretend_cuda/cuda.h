// CUDA C as C++ on a processor. A block runs on one thread: each of its threads is a fiber, which runs until it ends or
// reaches a barrier. The order of the fibers turns around from one barrier to the next and from block to block, so that
// what lacks a barrier most likely shows.
//
// After the kernels comes PRETEND(name) for each of them.

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>  // and not math.h, which takes g++ longer than a kernel

struct Three { unsigned x, y, z; };
static Three blockIdx, blockDim, gridDim, threadIdx;
#define __global__
#define __device__
#define __shared__ static
#define __restrict__
#define __syncthreads() pretend_barrier()
#define memcpy __builtin_memcpy
static inline unsigned __float_as_uint(float f) { unsigned u; __builtin_memcpy(&u, &f, 4); return u; }
static inline float __int_as_float(int i) { float f; __builtin_memcpy(&f, &i, 4); return f; }

#define ONE(name) \
    static inline float name(float x) { return __builtin_##name##f(x); } \
    static inline double name(double x) { return __builtin_##name(x); }
#define TWO(name) \
    static inline float name(float x, float y) { return __builtin_##name##f(x, y); } \
    static inline double name(double x, double y) { return __builtin_##name(x, y); }
ONE(acos) ONE(acosh) ONE(asin) ONE(asinh) ONE(atan) ONE(atanh) ONE(ceil) ONE(cos) ONE(cosh) ONE(erf) ONE(exp)
ONE(expm1) ONE(fabs) ONE(floor) ONE(log) ONE(log10) ONE(log1p) ONE(log2) ONE(rint) ONE(sin) ONE(sinh) ONE(sqrt)
ONE(tan) ONE(tanh) ONE(trunc)
TWO(atan2) TWO(copysign) TWO(fmod) TWO(hypot) TWO(nextafter) TWO(pow)
#undef ONE
#undef TWO

enum State { READY, WAITING, DONE };
static const int MOST = 1024, STACK = 1 << 16;
static ucontext_t pretend_main, pretend_fibers[MOST];
static State pretend_states[MOST];
static int pretend_now;
static char *pretend_stacks;
static void (*pretend_body)(void *const *);
static void *const *pretend_arguments;

static void pretend_barrier()
{
    pretend_states[pretend_now] = WAITING;
    swapcontext(&pretend_fibers[pretend_now], &pretend_main);
}

static void pretend_fiber()
{
    pretend_body(pretend_arguments);
    pretend_states[pretend_now] = DONE;
}

// How many threads reach a barrier that others have not, or 0.
static int pretend_block(int n, int order)
{
    for (int i = 0; i < n; ++i) {
        getcontext(&pretend_fibers[i]);
        pretend_fibers[i].uc_stack.ss_sp = pretend_stacks + (size_t)i * STACK;
        pretend_fibers[i].uc_stack.ss_size = STACK;
        pretend_fibers[i].uc_link = &pretend_main;
        makecontext(&pretend_fibers[i], pretend_fiber, 0);
        pretend_states[i] = READY;
    }
    for (int round = order;; ++round) {
        int waiting = 0;
        for (int k = 0; k < n; ++k) {
            const int i = pretend_now = round % 2 ? n - 1 - k : k;
            if (pretend_states[i] == DONE)
                continue;
            threadIdx = Three{i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
            swapcontext(&pretend_main, &pretend_fibers[i]);
            waiting += pretend_states[i] == WAITING;
        }
        if (waiting == 0)
            return 0;
        if (waiting < n)
            return waiting;
    }
}

static int pretend_grid(void (*body)(void *const *), void *const *arguments, const unsigned *grid, const unsigned *block)
{
    if (!pretend_stacks)
        pretend_stacks = (char *)__builtin_malloc((size_t)MOST * STACK);
    pretend_body = body;
    pretend_arguments = arguments;
    gridDim = Three{grid[0], grid[1], grid[2]};
    blockDim = Three{block[0], block[1], block[2]};
    const int n = block[0] * block[1] * block[2];
    const uint64_t blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    for (uint64_t b = blocks; b-- > 0;) {
        blockIdx = Three{(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
        if (const int stuck = pretend_block(n, b % 2))
            return stuck;
    }
    return 0;
}

template <int... I> struct Places {};
template <class... A, int... I> void pretend_call(void (*f)(A...), void *const *arguments, Places<I...>)
{
    f(*(A *)arguments[I]...);
}
template <class... A> void pretend_with(void (*f)(A...), void *const *arguments)
{
    pretend_call(f, arguments, Places<__integer_pack(sizeof...(A))...>());
}
template <class A> struct Size { static const int bytes = sizeof(A); };
template <class A> struct Size<A *> { static const int bytes = -(int)sizeof(A *); };
template <class... A> int pretend_parameters(void (*)(A...), int *sizes)
{
    int k = 0;
    ((sizes[k++] = Size<A>::bytes), ...);
    return k;
}

#define PRETEND(name) \
    static void pretend_body_##name(void *const *a) { pretend_with(name, a); } \
    extern "C" int pretend_sizes_##name(int *sizes) { return pretend_parameters(name, sizes); } \
    extern "C" int pretend_launch_##name(void *const *a, const unsigned *grid, const unsigned *block) \
    { \
        return pretend_grid(pretend_body_##name, a, grid, block); \
    }
