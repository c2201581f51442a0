// CUDA C++ as far as kernels/ uses it, for the processor: what the compiler and its headers give there, and a scheduler
// that runs the threads of a block one at a time.
//
// A thread of a block is a fiber: it runs until it waits for others (an operation of its warp, a barrier of the
// block) or returns. The blocks of a launch run one after the other in a shuffled order; the lanes of a warp and the
// warps of a block run in orders that change at every barrier. So a kernel that lacks a barrier reads what is not there
// yet, and does so in every run with the same seed.
//
// All of this serves one launch at a time, under a lock; that is why variables in shared memory are plain statics.
#pragma once

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#ifndef __x86_64__
#error "the switch between fibers is written for x86-64"
#endif

// Not to be confused with a function of the C library that has the same name.
#define __global__ __attribute__((visibility("hidden")))
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __shared__ static
#define __constant__ static
// Headers of the standard library use this name within attributes: include them before this file.
#define __noinline__ __attribute__((noinline))

// A pointer to the block's dynamic shared memory.
#define DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(emulation::dynamic_shared())

// Makes a kernel known by its name.
#define KERNEL(name) static const emulation::Registration registration_of_##name(emulation::kernel_of<name>(#name));

#define threadIdx (emulation::running->index)
#define blockIdx (emulation::launched.block)
#define blockDim (emulation::launched.block_size)
#define gridDim (emulation::launched.grid_size)

// Hidden, so that these variables are reached without the table of a shared library.
namespace emulation __attribute__((visibility("hidden"))) {

constexpr unsigned LANES = 32;
constexpr unsigned MAX_THREADS = 1024;
constexpr unsigned ALL = 0xffffffff;
constexpr size_t MAX_SHARED = 227 * 1024;
constexpr size_t PAGE = 4096;
constexpr size_t STACK = 64 * 1024;
// What lies below a stack and may not be touched, not even by a large frame.
constexpr size_t STACK_GUARD = 64 * 1024;

struct Index {
    unsigned x, y, z;
};

// A place in the source.
struct Site {
    const char *file;
    int line;
};

struct Kernel {
    const char *name;
    size_t arguments;
    void (*run)(const void *arguments);
};

struct Warp;

// Something that lanes of a warp do together. The last of them to arrive completes it for all.
struct Operation {
    const char *name;
    void (*complete)(Warp &warp, unsigned mask);
};

struct Fiber {
    void *stack_pointer;
    char *stack_top;
    Index index;
    unsigned lane;
    Warp *warp;
};

// What a lane waits for.
struct Call {
    const Operation *operation;
    unsigned mask;
    Site site;
};

struct alignas(64) Warp {
    // Operands and result of mma: pairs of bf16 in a and b, columns of a and rows of b side by side in a pair.
    unsigned a[16][8];
    unsigned b[8][8];
    float d[16][8];
    // Operands and results of the other operations, by lane.
    unsigned long long in[LANES];
    unsigned long long out[LANES];
    unsigned char from[LANES];
    Call calls[LANES];
    // Sets of lanes: those that have not returned, that wait in an operation, that wait for the block.
    unsigned live, waiting, at_barrier;
    // From a lane to the one that runs after it; odd, so that it leads to all.
    unsigned step;
    Fiber fibers[LANES];
};

struct Launched {
    const Kernel *kernel;
    const void *arguments;
    Index grid_size, block_size, block;
    pthread_t thread;
    unsigned warps;
    // The order of the warps until the next barrier, and how many of them have had their turn.
    unsigned order[MAX_THREADS / LANES];
    unsigned position;
    // The barrier that the threads of the block wait for; no file when none waits.
    Site barrier;
    unsigned long long random;
    char *shared;
};

inline Launched launched;
inline Warp warps[MAX_THREADS / LANES];
// The code that launched.
inline Fiber home;
inline Fiber *running = &home;
// The end of dynamic shared memory; the page behind it may not be touched.
inline char *shared_end;
inline std::mutex launch_lock;
// Says in words what lies at an address; set by who gives out memory.
inline void (*describe_address)(const void *address, char *text, size_t size);

inline std::map<std::string, Kernel> &registry() {
    static std::map<std::string, Kernel> &kernels = *new std::map<std::string, Kernel>;
    return kernels;
}

struct Registration {
    explicit Registration(const Kernel &kernel) { registry().emplace(kernel.name, kernel); }
};

template <typename Arguments>
constexpr size_t size_of_arguments(void (*)(Arguments)) {
    static_assert(std::is_trivially_copyable_v<Arguments>, "a kernel takes one plain struct");
    return sizeof(Arguments);
}

template <typename Arguments>
inline void call(void (*kernel)(Arguments), const void *arguments) {
    kernel(*static_cast<const Arguments *>(arguments));
}

template <auto kernel>
Kernel kernel_of(const char *name) {
    return {name, size_of_arguments(kernel), [](const void *arguments) { call(kernel, arguments); }};
}

// Where the launch is, as the beginning of a message.
inline int describe_place(char *text, size_t size) {
    const Index &block = launched.block, &thread = running->index;
    return snprintf(text, size, "emulated GPU: kernel %s, block (%u, %u, %u), thread (%u, %u, %u): ",
                    launched.kernel->name, block.x, block.y, block.z, thread.x, thread.y, thread.z);
}

// Ends the process with a message.
[[noreturn]] __attribute__((noinline, cold, format(printf, 1, 2))) inline void die(const char *format, ...) {
    char text[1024];
    size_t length = describe_place(text, sizeof text);
    va_list values;
    va_start(values, format);
    length += vsnprintf(text + length, sizeof text - length, format, values);
    va_end(values);
    if (length > sizeof text - 2) length = sizeof text - 2;
    text[length] = '\n';
    if (write(STDERR_FILENO, text, length + 1) < 0) _exit(134);
    abort();
}

// Says which access was wrong, and leaves the rest to the handler before this one: the access is tried again.
constexpr int HANDLED[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
constexpr unsigned HANDLED_SIGNALS = sizeof HANDLED / sizeof HANDLED[0];
inline struct sigaction previous_actions[HANDLED_SIGNALS];

inline void on_fault(int signal, siginfo_t *info, void *context) {
    if (running != &home && pthread_equal(launched.thread, pthread_self())) {
        char text[1024];
        size_t length = describe_place(text, sizeof text);
        const auto add = [&](const char *format, auto... values) {
            length += snprintf(text + length, sizeof text - length, format, values...);
        };
        const char *address = static_cast<const char *>(info->si_addr);
        const char *stack_end = running->stack_top - STACK;
        if (signal == SIGFPE) {
            add("integer division by zero");
        } else if (signal == SIGILL) {
            add("a check that the compiler was asked for failed");
        } else if (info->si_code == SI_KERNEL) {
            add("access that is not aligned, or to no possible address");
        } else if (address < stack_end && address >= stack_end - STACK_GUARD) {
            add("the stack of %zu bytes is full", STACK);
        } else if (address >= shared_end && address < shared_end + PAGE) {
            add("access %zu bytes behind the end of dynamic shared memory", static_cast<size_t>(address - shared_end));
        } else {
            add("access to %p", static_cast<const void *>(address));
            if (describe_address) describe_address(address, text + length, sizeof text - length);
            length = strlen(text);
        }
        // Where in the code, for addr2line.
        const auto code = static_cast<ucontext_t *>(context)->uc_mcontext.gregs[REG_RIP];
        Dl_info object;
        if (dladdr(reinterpret_cast<void *>(code), &object))
            add("\n  addr2line -Cfipe %s %#zx", object.dli_fname,
                static_cast<size_t>(code) - reinterpret_cast<size_t>(object.dli_fbase));
        add("\n");
        if (write(STDERR_FILENO, text, std::min(length, sizeof text - 1)) < 0) _exit(134);
    }
    for (unsigned i = 0; i < HANDLED_SIGNALS; i++)
        if (HANDLED[i] == signal) sigaction(signal, &previous_actions[i], nullptr);
}

inline unsigned random_below(unsigned bound) {
    unsigned long long &r = launched.random;
    r ^= r << 13, r ^= r >> 7, r ^= r << 17;
    return static_cast<unsigned>((r >> 32) * bound >> 32);
}

inline void shuffle(unsigned *values, unsigned count) {
    for (unsigned i = count; i > 1; i--)
        std::swap(values[i - 1], values[random_below(i)]);
}

// Leaves one stack for another. The compiler saves what it still needs of the registers, as all are said to change.
// Below the stack pointer 128 bytes may be in use.
inline __attribute__((always_inline)) void switch_stack(void **from, void *to) {
    asm volatile("leaq -128(%%rsp), %%rsp\n\t"
                 "pushq %%rbp\n\t"
                 "leaq 1f(%%rip), %%rax\n\t"
                 "pushq %%rax\n\t"
                 "movq %%rsp, (%%rdi)\n\t"
                 "movq %%rsi, %%rsp\n\t"
                 "popq %%rax\n\t"
                 "jmp *%%rax\n"
                 "1:\n\t"
                 "popq %%rbp\n\t"
                 "leaq 128(%%rsp), %%rsp"
                 : "+D"(from), "+S"(to)
                 :
                 : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm0", "xmm1",
                   "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13",
                   "xmm14", "xmm15", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory",
                   "cc"
#ifdef __AVX512F__
                   ,
                   "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26",
                   "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k1", "k2", "k3", "k4", "k5", "k6", "k7"
#endif
    );
}

// The end of a warp that waits for itself: some lanes in an operation, the others elsewhere.
[[noreturn]] __attribute__((noinline, cold)) inline void die_of_deadlock(const Warp &warp) {
    const Call &call = warp.calls[__builtin_ctz(warp.waiting)];
    die("deadlock in its warp: lanes %08x wait in warp operations (the first in %s, %s:%d, for lanes %08x), lanes %08x "
        "wait at __syncthreads, lanes %08x have returned",
        warp.waiting, call.operation->name, call.site.file, call.site.line, call.mask, warp.at_barrier, ~warp.live);
}

// Who runs when no lane of the running warp can: a lane of another warp; of any, after a barrier; nobody, at the end.
__attribute__((noinline)) inline Fiber *next_elsewhere() {
    if (running->warp && running->warp->waiting) die_of_deadlock(*running->warp);
    for (;;) {
        while (launched.position < launched.warps) {
            Warp &warp = warps[launched.order[launched.position++]];
            const unsigned ready = warp.live & ~warp.at_barrier;
            if (!ready) continue;
            warp.step = 2 * random_below(LANES / 2) + 1;
            unsigned lane = random_below(LANES);
            while (!(ready >> lane & 1))
                lane = (lane + 1) % LANES;
            return &warp.fibers[lane];
        }
        unsigned released = 0;
        for (unsigned w = 0; w < launched.warps; w++) {
            released |= warps[w].at_barrier;
            warps[w].at_barrier = 0;
        }
        if (!released) return &home;
        launched.barrier = {nullptr, 0};
        shuffle(launched.order, launched.warps);
        launched.position = 0;
    }
}

// Lets others run until this thread can go on.
inline __attribute__((always_inline)) void yield() {
    Fiber *self = running;
    Warp &warp = *self->warp;
    const unsigned ready = warp.live & ~(warp.waiting | warp.at_barrier);
    Fiber *next;
    if (ready) {
        unsigned lane = self->lane;
        do
            lane = (lane + warp.step) % LANES;
        while (!(ready >> lane & 1));
        next = &warp.fibers[lane];
    } else {
        next = next_elsewhere();
        if (next == self) return;
    }
    running = next;
    switch_stack(&self->stack_pointer, next->stack_pointer);
}

// What a fiber runs.
[[noreturn]] inline void run_thread() {
    launched.kernel->run(launched.arguments);
    Fiber *self = running;
    Warp &warp = *self->warp;
    const unsigned bit = 1u << self->lane;
    warp.live &= ~bit;
    for (unsigned rest = warp.waiting; rest; rest &= rest - 1) {
        const Call &call = warp.calls[__builtin_ctz(rest)];
        if (call.mask & bit)
            die("returned while lanes %08x of its warp wait for it in %s (%s:%d)", warp.waiting, call.operation->name,
                call.site.file, call.site.line);
    }
    yield();
    __builtin_unreachable();
}

[[noreturn]] __attribute__((noinline, cold)) inline void die_of_mask(const char *name, unsigned mask, Site site) {
    const Warp &warp = *running->warp;
    if (!(mask >> running->lane & 1))
        die("%s (%s:%d): the mask %08x lacks the calling lane %u", name, site.file, site.line, mask, running->lane);
    die("%s (%s:%d): lanes %08x of the mask have returned, or the block has no such threads", name, site.file,
        site.line, mask & ~warp.live);
}

[[noreturn]] __attribute__((noinline, cold)) inline void die_of_difference(const Operation &operation, unsigned mask,
                                                                           Site site, unsigned other) {
    const Call &call = running->warp->calls[other];
    die("lane %u calls %s (%s:%d) for lanes %08x, while lane %u waits in %s (%s:%d) for lanes %08x", running->lane,
        operation.name, site.file, site.line, mask, other, call.operation->name, call.site.file, call.site.line,
        call.mask);
}

// Waits until all lanes of the mask have come here, with their operands in the warp; then it is complete.
inline __attribute__((always_inline)) void join(const Operation &operation, unsigned mask, Site site) {
    Warp &warp = *running->warp;
    const unsigned lane = running->lane;
    if (!(mask >> lane & 1) || mask & ~warp.live) die_of_mask(operation.name, mask, site);
    const unsigned others = warp.waiting & mask;
    if (others) {
        const unsigned other = __builtin_ctz(others);
        if (warp.calls[other].operation != &operation || warp.calls[other].mask != mask)
            die_of_difference(operation, mask, site, other);
    }
    if ((others | 1u << lane) == mask) {
        warp.waiting &= ~mask;
        operation.complete(warp, mask);
    } else {
        warp.calls[lane] = {&operation, mask, site};
        warp.waiting |= 1u << lane;
        yield();
    }
}

inline __attribute__((always_inline)) void wait_for_block(Site site) {
    Site &barrier = launched.barrier;
    if (!barrier.file)
        barrier = site;
    else if (barrier.line != site.line || (barrier.file != site.file && strcmp(barrier.file, site.file)))
        die("waits at __syncthreads (%s:%d), while another thread of the block waits at %s:%d", site.file, site.line,
            barrier.file, barrier.line);
    running->warp->at_barrier |= 1u << running->lane;
    yield();
}

inline void *dynamic_shared() {
    return launched.shared;
}

// Memory between two pages that may not be touched.
inline char *guarded(size_t bytes) {
    void *at = mmap(nullptr, bytes + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) return nullptr;
    char *memory = static_cast<char *>(at) + PAGE;
    if (bytes && mprotect(memory, bytes, PROT_READ | PROT_WRITE)) {
        munmap(at, bytes + 2 * PAGE);
        return nullptr;
    }
    return memory;
}

// What the first launch needs.
inline void prepare() {
    constexpr size_t shared_pages = (MAX_SHARED + PAGE - 1) / PAGE * PAGE;
    char *shared = guarded(shared_pages);
    char *stacks = guarded(MAX_THREADS * (STACK + STACK_GUARD));
    if (!shared || !stacks) abort();
    shared_end = shared + shared_pages;
    for (unsigned i = 0; i < MAX_THREADS; i++) {
        char *guard = stacks + i * (STACK + STACK_GUARD);
        if (mprotect(guard, STACK_GUARD, PROT_NONE)) abort();
        Fiber &fiber = warps[i / LANES].fibers[i % LANES];
        fiber.stack_top = guard + STACK_GUARD + STACK;
        fiber.lane = i % LANES;
        fiber.warp = &warps[i / LANES];
    }
    struct sigaction action = {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (unsigned i = 0; i < HANDLED_SIGNALS; i++)
        sigaction(HANDLED[i], &action, &previous_actions[i]);
}

// Runs one block.
inline void run_block(unsigned threads) {
    for (unsigned i = 0; i < threads; i++) {
        Fiber &fiber = warps[i / LANES].fibers[i % LANES];
        // The stacks begin at different distances from a page, or they would compete for the same lines of the cache.
        // At its first turn a fiber jumps to `run_thread`, as if called from nowhere.
        void **top = reinterpret_cast<void **>(fiber.stack_top - 64 - i % LANES * 128);
        top[1] = nullptr;
        top[0] = reinterpret_cast<void *>(run_thread);
        fiber.stack_pointer = top;
    }
    for (unsigned w = 0; w < launched.warps; w++) {
        const unsigned lanes = threads - w * LANES;
        warps[w].live = lanes >= LANES ? ALL : (1u << lanes) - 1;
        warps[w].waiting = warps[w].at_barrier = 0;
        launched.order[w] = w;
    }
    shuffle(launched.order, launched.warps);
    launched.position = 0;
    launched.barrier = {nullptr, 0};
    running = next_elsewhere();
    switch_stack(&home.stack_pointer, running->stack_pointer);
}

// Runs a kernel. A block has at most MAX_THREADS threads and MAX_SHARED bytes.
inline void launch(const Kernel &kernel, Index grid, Index block, size_t shared_bytes, const void *arguments) {
    const std::lock_guard<std::mutex> held(launch_lock);
    static const bool prepared = (prepare(), true);
    (void)prepared;
    // Fibers overflow into a page that may not be touched; the handler needs a stack of its own.
    static char signal_stack[64 * 1024];
    stack_t own = {}, before;
    own.ss_sp = signal_stack;
    own.ss_size = sizeof signal_stack;
    sigaltstack(&own, &before);

    launched.kernel = &kernel;
    launched.arguments = arguments;
    launched.grid_size = grid;
    launched.block_size = block;
    launched.thread = pthread_self();
    const unsigned threads = block.x * block.y * block.z;
    launched.warps = (threads + LANES - 1) / LANES;
    shared_bytes = (shared_bytes + 15) / 16 * 16;
    launched.shared = shared_end - shared_bytes;
    for (unsigned i = 0; i < threads; i++)
        warps[i / LANES].fibers[i % LANES].index = {i % block.x, i / block.x % block.y, i / block.x / block.y};
    // The same for every launch of a kernel, whatever ran before.
    static const char *seed = getenv("VIGOR_EMULATED_SEED");
    launched.random = (seed ? strtoull(seed, nullptr, 10) : 1) * 0x9e3779b97f4a7c15 ^ 0x2545f4914f6cdd1d;
    for (const char *c = kernel.name; *c; c++)
        launched.random = (launched.random ^ static_cast<unsigned char>(*c)) * 0x100000001b3;
    launched.random |= 1;
    std::vector<unsigned> order(size_t(grid.x) * grid.y * grid.z);
    for (size_t i = 0; i < order.size(); i++)
        order[i] = i;
    shuffle(order.data(), order.size());
    for (const unsigned b : order) {
        launched.block = {b % grid.x, b / grid.x % grid.y, b / grid.x / grid.y};
        memset(launched.shared, 0xff, shared_bytes);
        run_block(threads);
    }
    sigaltstack(&before, nullptr);
}

// Operations of a warp.

inline const Operation SYNC = {"__syncwarp", [](Warp &, unsigned) {}};

inline const Operation SHUFFLE = {"__shfl_sync", [](Warp &warp, unsigned mask) {
                                      for (unsigned lane = 0; lane < LANES; lane++) {
                                          if (!(mask >> lane & 1)) continue;
                                          if (!(mask >> warp.from[lane] & 1))
                                              die("__shfl_sync: lane %u asks for the value of lane %u, which is not in "
                                                  "the mask %08x",
                                                  lane, warp.from[lane], mask);
                                          warp.out[lane] = warp.in[warp.from[lane]];
                                      }
                                  }};

inline const Operation BALLOT = {"__ballot_sync", [](Warp &warp, unsigned mask) {
                                     unsigned votes = 0;
                                     for (unsigned lane = 0; lane < LANES; lane++)
                                         votes |= (warp.in[lane] ? 1u : 0u) << lane;
                                     for (unsigned lane = 0; lane < LANES; lane++)
                                         if (mask >> lane & 1) warp.out[lane] = votes & mask;
                                 }};

template <typename T>
inline __attribute__((always_inline)) T shuffled(unsigned mask, T value, unsigned from, Site site) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    Warp &warp = *running->warp;
    const unsigned lane = running->lane;
    memcpy(&warp.in[lane], &value, sizeof value);
    warp.from[lane] = from;
    join(SHUFFLE, mask, site);
    memcpy(&value, &warp.out[lane], sizeof value);
    return value;
}

inline __attribute__((always_inline)) unsigned ballot(unsigned mask, bool vote, Site site) {
    Warp &warp = *running->warp;
    const unsigned lane = running->lane;
    warp.in[lane] = vote;
    join(BALLOT, mask, site);
    return warp.out[lane];
}

typedef unsigned Words4 __attribute__((vector_size(16), may_alias));
typedef float Floats4 __attribute__((vector_size(16), may_alias));
typedef double Doubles4 __attribute__((vector_size(32), may_alias));

// The product of a warp's operands. A product of bf16 values is exact in double, so fused or not, the sum is the same.
inline __attribute__((always_inline)) void multiply_in(Warp &warp) {
    Doubles4 b[16][2];
    for (unsigned pair = 0; pair < 8; pair++) {
        for (unsigned half = 0; half < 2; half++) {
            const Words4 packed = *reinterpret_cast<const Words4 *>(&warp.b[pair][4 * half]);
            b[2 * pair][half] = __builtin_convertvector(reinterpret_cast<Floats4>(packed << 16), Doubles4);
            b[2 * pair + 1][half] = __builtin_convertvector(reinterpret_cast<Floats4>(packed & 0xffff0000), Doubles4);
        }
    }
    alignas(32) double a[16][2][8];
    for (unsigned row = 0; row < 16; row++) {
        for (unsigned half = 0; half < 2; half++) {
            const Words4 packed = *reinterpret_cast<const Words4 *>(&warp.a[row][4 * half]);
            *reinterpret_cast<Doubles4 *>(&a[row][0][4 * half]) =
                __builtin_convertvector(reinterpret_cast<Floats4>(packed << 16), Doubles4);
            *reinterpret_cast<Doubles4 *>(&a[row][1][4 * half]) =
                __builtin_convertvector(reinterpret_cast<Floats4>(packed & 0xffff0000), Doubles4);
        }
    }
    // Four rows at a time, so that sums do not wait for each other.
    for (unsigned row = 0; row < 16; row += 4) {
        Doubles4 sums[4][2] = {};
        for (unsigned pair = 0; pair < 8; pair++) {
#pragma GCC unroll 2
            for (unsigned odd = 0; odd < 2; odd++) {
#pragma GCC unroll 4
                for (unsigned r = 0; r < 4; r++) {
                    const double factor = a[row + r][odd][pair];
                    sums[r][0] += factor * b[2 * pair + odd][0];
                    sums[r][1] += factor * b[2 * pair + odd][1];
                }
            }
        }
#pragma GCC unroll 4
        for (unsigned r = 0; r < 4; r++) {
            for (unsigned half = 0; half < 2; half++) {
                Floats4 *d = reinterpret_cast<Floats4 *>(&warp.d[row + r][4 * half]);
                *d = __builtin_convertvector(__builtin_convertvector(*d, Doubles4) + sums[r][half], Floats4);
            }
        }
    }
}

__attribute__((target("avx2,fma"))) inline void multiply_wide(Warp &warp, unsigned) {
    multiply_in(warp);
}

inline void multiply_narrow(Warp &warp, unsigned) {
    multiply_in(warp);
}

inline const Operation MULTIPLY = {
    "mma", __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? multiply_wide : multiply_narrow};

inline __attribute__((always_inline)) void mma_m16n8k16(float (&d)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                                        const char *file = __builtin_FILE(),
                                                        int line = __builtin_LINE()) {
    Warp &warp = *running->warp;
    const unsigned group = running->lane / 4, member = running->lane % 4;
    warp.a[group][member] = a[0];
    warp.a[group + 8][member] = a[1];
    warp.a[group][member + 4] = a[2];
    warp.a[group + 8][member + 4] = a[3];
    warp.b[member][group] = b0;
    warp.b[member + 4][group] = b1;
    memcpy(&warp.d[group][2 * member], &d[0], 8);
    memcpy(&warp.d[group + 8][2 * member], &d[2], 8);
    join(MULTIPLY, ALL, {file, line});
    memcpy(&d[0], &warp.d[group][2 * member], 8);
    memcpy(&d[2], &warp.d[group + 8][2 * member], 8);
}

template <typename To, typename From>
inline To bits_as(From value) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To result;
    memcpy(&result, &value, sizeof result);
    return result;
}

inline unsigned short to_bf16(float value) {
    if (value != value) return 0x7fff;
    const unsigned bits = bits_as<unsigned>(value);
    return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A type that a call's other arguments decide.
template <typename T>
using Same = std::common_type_t<T>;

template <typename T>
constexpr bool ATOMIC = std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;

// Replaces what lies at an address by a function of it, and gives what lay there.
template <typename T, typename F>
inline T exchange(T *at, F change) {
    const T before = *at;
    *at = change(before);
    return before;
}

} // namespace emulation

#define EMULATED inline __attribute__((always_inline))
#define EMULATED_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

EMULATED void __syncthreads(EMULATED_SITE) {
    emulation::wait_for_block({file, line});
}

EMULATED void __syncwarp(unsigned mask = ~0u, EMULATED_SITE) {
    emulation::join(emulation::SYNC, mask, {file, line});
}

// The source lane of a shuffle, where a warp is cut into segments of `width`: a lane that finds no source in its
// segment takes its own value.

template <typename T>
EMULATED T __shfl_sync(unsigned mask, T value, int from, int width = 32, EMULATED_SITE) {
    const unsigned lane = emulation::running->lane, segment = lane & -width;
    return emulation::shuffled(mask, value, segment | (from & (width - 1)), {file, line});
}

template <typename T>
EMULATED T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32, EMULATED_SITE) {
    const unsigned lane = emulation::running->lane, from = (lane ^ bits) & 31;
    return emulation::shuffled(mask, value, from <= (lane | (width - 1)) ? from : lane, {file, line});
}

template <typename T>
EMULATED T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATED_SITE) {
    const unsigned lane = emulation::running->lane, from = lane + (by & 31);
    return emulation::shuffled(mask, value, from <= (lane | (width - 1)) ? from : lane, {file, line});
}

template <typename T>
EMULATED T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32, EMULATED_SITE) {
    const int lane = emulation::running->lane, from = lane - int(by & 31);
    return emulation::shuffled(mask, value, from >= (lane & -width) ? from : lane, {file, line});
}

EMULATED unsigned __ballot_sync(unsigned mask, int vote, EMULATED_SITE) {
    return emulation::ballot(mask, vote, {file, line});
}

EMULATED int __any_sync(unsigned mask, int vote, EMULATED_SITE) {
    return emulation::ballot(mask, vote, {file, line}) != 0;
}

EMULATED int __all_sync(unsigned mask, int vote, EMULATED_SITE) {
    return emulation::ballot(mask, vote, {file, line}) == mask;
}

// One thread runs at a time, and a fence is only for the compiler; atomic operations need nothing.

EMULATED void __threadfence() {
    asm volatile("" ::: "memory");
}

EMULATED void __threadfence_block() {
    asm volatile("" ::: "memory");
}

template <typename T>
EMULATED T atomicAdd(T *at, emulation::Same<T> value) {
    static_assert(emulation::ATOMIC<T> || std::is_same_v<T, float>, "no such operation");
    return emulation::exchange(at, [=](T before) { return before + value; });
}

template <typename T>
EMULATED T atomicExch(T *at, emulation::Same<T> value) {
    static_assert(emulation::ATOMIC<T> || std::is_same_v<T, float>, "no such operation");
    return emulation::exchange(at, [=](T) { return value; });
}

template <typename T>
EMULATED T atomicMax(T *at, emulation::Same<T> value) {
    static_assert(emulation::ATOMIC<T>, "no such operation");
    return emulation::exchange(at, [=](T before) { return before > value ? before : value; });
}

template <typename T>
EMULATED T atomicMin(T *at, emulation::Same<T> value) {
    static_assert(emulation::ATOMIC<T>, "no such operation");
    return emulation::exchange(at, [=](T before) { return before < value ? before : value; });
}

template <typename T>
EMULATED T atomicCAS(T *at, emulation::Same<T> expected, emulation::Same<T> value) {
    static_assert(emulation::ATOMIC<T>, "no such operation");
    return emulation::exchange(at, [=](T before) { return before == expected ? value : before; });
}

EMULATED float __uint_as_float(unsigned value) {
    return emulation::bits_as<float>(value);
}

EMULATED unsigned __float_as_uint(float value) {
    return emulation::bits_as<unsigned>(value);
}

EMULATED float __int_as_float(int value) {
    return emulation::bits_as<float>(value);
}

EMULATED int __float_as_int(float value) {
    return emulation::bits_as<int>(value);
}

EMULATED long long __double_as_longlong(double value) {
    return emulation::bits_as<long long>(value);
}

EMULATED double __longlong_as_double(long long value) {
    return emulation::bits_as<double>(value);
}

EMULATED unsigned __umulhi(unsigned a, unsigned b) {
    return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}

EMULATED unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}

EMULATED int __popc(unsigned value) {
    return __builtin_popcount(value);
}

EMULATED int __clz(int value) {
    return value ? __builtin_clz(value) : 32;
}

EMULATED int __ffs(int value) {
    return __builtin_ffs(value);
}

EMULATED unsigned __brev(unsigned value) {
    value = (value >> 1 & 0x55555555) | (value & 0x55555555) << 1;
    value = (value >> 2 & 0x33333333) | (value & 0x33333333) << 2;
    value = (value >> 4 & 0x0f0f0f0f) | (value & 0x0f0f0f0f) << 4;
    return __builtin_bswap32(value);
}

// Four bytes of the eight in x and y. The fourth bit of a selector asks for the byte's sign eight times, as prmt does.
EMULATED unsigned __byte_perm(unsigned x, unsigned y, unsigned selectors) {
    const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
    unsigned result = 0;
    for (unsigned i = 0; i < 4; i++) {
        const unsigned selector = selectors >> 4 * i & 15;
        unsigned byte = bytes >> 8 * (selector & 7) & 0xff;
        if (selector & 8) byte = byte & 0x80 ? 0xff : 0;
        result |= byte << 8 * i;
    }
    return result;
}

template <typename T>
EMULATED T __ldg(const T *at) {
    return *at;
}

EMULATED float __expf(float x) {
    return expf(x);
}

EMULATED float __logf(float x) {
    return logf(x);
}

EMULATED float __frcp_rn(float x) {
    return 1.0f / x;
}

EMULATED float __fdividef(float x, float y) {
    return x / y;
}

EMULATED float rsqrtf(float x) {
    return 1.0f / sqrtf(x);
}

template <typename A, typename B>
EMULATED std::enable_if_t<std::is_integral_v<A> && std::is_integral_v<B>, std::common_type_t<A, B>> min(A a, B b) {
    const std::common_type_t<A, B> x = a, y = b;
    return x < y ? x : y;
}

template <typename A, typename B>
EMULATED std::enable_if_t<std::is_integral_v<A> && std::is_integral_v<B>, std::common_type_t<A, B>> max(A a, B b) {
    const std::common_type_t<A, B> x = a, y = b;
    return x > y ? x : y;
}

#undef EMULATED
#undef EMULATED_SITE
