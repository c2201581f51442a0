// Checks the emulator, through the functions of the driver. To build and run it, in the root of the repository:
//
//   c++ -std=c++17 -O2 -g -fno-strict-aliasing -DVIGOR_EMULATION -Itests/emulator -Ikernels -x c++
//     tests/emulator/*.cpp tests/emulator/self_test/*.cu tests/emulator/self_test/*.cpp -o self_test && ./self_test
//
// With the argument `speed` it measures instead.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "self_test.h"

extern "C" {
int cuInit(unsigned);
int cuDeviceGetName(char *, int, int);
int cuDevicePrimaryCtxRetain(void **, int);
int cuCtxSetCurrent(void *);
int cuCtxGetCurrent(void **);
int cuMemGetInfo_v2(size_t *, size_t *);
int cuMemAlloc_v2(uint64_t *, size_t);
int cuMemFree_v2(uint64_t);
int cuMemHostAlloc(void **, size_t, unsigned);
int cuMemFreeHost(void *);
int cuMemcpyHtoDAsync_v2(uint64_t, const void *, size_t, void *);
int cuMemcpyDtoHAsync_v2(void *, uint64_t, size_t, void *);
int cuMemsetD8Async(uint64_t, unsigned char, size_t, void *);
int cuStreamCreate(void **, unsigned);
int cuStreamSynchronize(void *);
int cuStreamBeginCapture_v2(void *, unsigned);
int cuStreamEndCapture(void *, void **);
int cuStreamIsCapturing(void *, unsigned *);
int cuGraphInstantiateWithFlags(void **, void *, unsigned long long);
int cuGraphLaunch(void *, void *);
int cuGraphDestroy(void *);
int cuGraphExecDestroy(void *);
int cuModuleLoadData(void **, const void *);
int cuModuleGetFunction(void **, void *, const char *);
int cuFuncSetAttribute(void *, int, int);
int cuLaunchKernelEx(const void *, void *, void **, void **);
int cuLaunchKernel(void *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *, void **,
                   void **);
}

namespace {

void *stream, *module;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define SUCCEEDS(call) CHECK((call) == 0)

template <typename T>
T *device_copy(const std::vector<T> &values) {
    uint64_t address;
    SUCCEEDS(cuMemAlloc_v2(&address, values.size() * sizeof(T)));
    SUCCEEDS(cuMemcpyHtoDAsync_v2(address, values.data(), values.size() * sizeof(T), stream));
    return reinterpret_cast<T *>(address);
}

template <typename T>
std::vector<T> host_copy(const T *at, size_t count) {
    std::vector<T> values(count);
    SUCCEEDS(cuMemcpyDtoHAsync_v2(values.data(), reinterpret_cast<uint64_t>(at), count * sizeof(T), stream));
    return values;
}

template <typename T>
void release(T *at) {
    SUCCEEDS(cuMemFree_v2(reinterpret_cast<uint64_t>(at)));
}

void *function(const char *name) {
    void *found;
    SUCCEEDS(cuModuleGetFunction(&found, module, name));
    return found;
}

template <typename Arguments>
int launch(const char *name, unsigned blocks, unsigned threads, unsigned shared, Arguments arguments) {
    void *parameters[] = {&arguments};
    return cuLaunchKernel(function(name), blocks, 1, 1, threads, 1, 1, shared, stream, parameters, nullptr);
}

// Runs something in a process of its own, which must die and say this.
template <typename F>
void dies(const char *saying, F run) {
    int ends[2];
    CHECK(pipe(ends) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        run();
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char buffer[4096];
    for (ssize_t got; (got = read(ends[0], buffer, sizeof buffer)) > 0;)
        said.append(buffer, size_t(got));
    close(ends[0]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    printf("  %s", said.c_str());
    CHECK(WIFSIGNALED(status));
    CHECK(said.find(saying) != std::string::npos);
}

float from_bf16(unsigned short value) {
    const uint32_t bits = uint32_t(value) << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

unsigned short some_bf16() {
    // Values of all signs and of very different sizes.
    return static_cast<unsigned short>((rand() & 0x807f) | (100 + rand() % 40) << 7);
}

void multiplies() {
    const unsigned warps = 12;
    std::vector<unsigned short> a(256 * warps), b(128 * warps);
    std::vector<float> d(128 * warps);
    for (auto &value : a)
        value = some_bf16();
    for (auto &value : b)
        value = some_bf16();
    for (auto &value : d)
        value = from_bf16(some_bf16());
    const MultiplyArguments arguments = {device_copy(a), device_copy(b), device_copy(d), 2};
    SUCCEEDS(launch("multiply", warps / 4, 128, 0, arguments));
    const std::vector<float> got = host_copy(arguments.d, d.size());
    for (unsigned warp = 0; warp < warps; warp++)
        for (unsigned row = 0; row < 16; row++)
            for (unsigned column = 0; column < 8; column++) {
                double product = 0.0;
                for (unsigned k = 0; k < 16; k++)
                    product += double(from_bf16(a[warp * 256 + row * 16 + k])) *
                               from_bf16(b[warp * 128 + k * 8 + column]);
                const unsigned at = warp * 128 + row * 8 + column;
                const float once = float(d[at] + product);
                CHECK(got[at] == float(once + product));
            }
    release(arguments.a);
    release(arguments.b);
    release(arguments.d);
}

void shuffles() {
    unsigned *out = device_copy(std::vector<unsigned>(256));
    SUCCEEDS(launch("shuffle", 1, 32, 0, ShuffleArguments{out}));
    const std::vector<unsigned> got = host_copy(out, 256);
    for (unsigned lane = 0; lane < 32; lane++) {
        const unsigned *of = &got[8 * lane];
        CHECK(of[0] == (lane + 5) % 32);
        CHECK(of[1] == (lane ^ 3));
        CHECK(of[2] == (lane % 8 < 6 ? lane + 2 : lane));
        CHECK(of[3] == (lane >= 30 ? lane - 30 : lane));
        CHECK(of[4] == 0x49249249);
        CHECK(of[5] == 1);
        CHECK(of[6] == 9);
        CHECK(of[7] == (lane < 16 ? lane ^ 1 : 8));
    }
    release(out);
}

void sums() {
    const unsigned count = 10000, blocks = 40, threads = 256;
    std::vector<float> values(blocks * threads);
    double expected = 0.0;
    for (unsigned i = 0; i < count; i++)
        expected += values[i] = float(i % 97);
    SumArguments arguments = {device_copy(values), device_copy(std::vector<float>(blocks)),
                              device_copy(std::vector<float>(1)), device_copy(std::vector<unsigned>(1)), count};
    for (int repeat = 0; repeat < 3; repeat++) {
        SUCCEEDS(launch("sum", blocks, threads, threads / 32 * 4, arguments));
        CHECK(host_copy(arguments.sum, 1)[0] == expected);
        CHECK(host_copy(arguments.counter, 1)[0] == 0);
    }
    // Shared memory that was not written yet is not a number; with a few seeds the first warp happens to run last.
    SUCCEEDS(launch("sum_without_barrier", 1, threads, threads / 32 * 4, arguments));
    CHECK(isnan(host_copy(arguments.sum, 1)[0]) || getenv("VIGOR_EMULATED_SEED"));
    release(arguments.values);
    release(arguments.block_sums);
    release(arguments.sum);
    release(arguments.counter);
}

void barriers() {
    const unsigned threads = 1000, skip = 777, count = 5;
    BarrierArguments arguments = {device_copy(std::vector<unsigned>(threads)), count, skip};
    void *parameters[] = {&arguments};
    SUCCEEDS(cuLaunchKernel(function("rounds"), 1, 1, 1, 10, 20, 5, 0, stream, parameters, nullptr));
    std::vector<unsigned> values(skip), next(skip);
    for (unsigned t = 0; t < skip; t++)
        values[t] = t;
    for (unsigned round = 0; round < count; round++) {
        for (unsigned t = 0; t < skip; t++)
            next[t] = values[t] + values[(t + 1) % skip];
        values = next;
    }
    CHECK(host_copy(arguments.out, skip) == values);
    release(arguments.out);
}

void graphs() {
    unsigned *at = device_copy(std::vector<unsigned>(1));
    void *graph, *executable;
    unsigned status;
    SUCCEEDS(cuStreamBeginCapture_v2(stream, 1));
    SUCCEEDS(cuStreamIsCapturing(stream, &status));
    CHECK(status == 1);
    SUCCEEDS(launch("add", 3, 10, 0, AddArguments{at, 2}));
    SUCCEEDS(launch("add", 1, 1, 0, AddArguments{at, 1000}));
    SUCCEEDS(cuStreamEndCapture(stream, &graph));
    CHECK(host_copy(at, 1)[0] == 0);
    SUCCEEDS(cuGraphInstantiateWithFlags(&executable, graph, 0));
    SUCCEEDS(cuGraphLaunch(executable, stream));
    SUCCEEDS(cuGraphLaunch(executable, stream));
    CHECK(host_copy(at, 1)[0] == 2120);
    SUCCEEDS(cuGraphExecDestroy(executable));
    SUCCEEDS(cuGraphDestroy(graph));

    uint64_t address;
    SUCCEEDS(cuStreamBeginCapture_v2(stream, 1));
    CHECK(cuMemAlloc_v2(&address, 16) == 900);
    CHECK(cuStreamSynchronize(stream) == 900);
    CHECK(cuStreamEndCapture(stream, &graph) == 901);
    CHECK(cuStreamEndCapture(stream, &graph) == 401);
    SUCCEEDS(cuStreamSynchronize(stream));
    release(at);
}

void refusals() {
    void *none;
    CHECK(cuModuleGetFunction(&none, module, "no_such_kernel") == 500);
    unsigned *at = device_copy(std::vector<unsigned>(5, 7));
    const AddArguments arguments = {at, 1};
    CHECK(launch("add", 0, 1, 0, arguments) == 1);
    CHECK(launch("add", 1, 0, 0, arguments) == 1);
    CHECK(launch("add", 1, 1025, 0, arguments) == 1);
    CHECK(launch("add", 1, 1, 48 * 1024 + 1, arguments) == 1);
    // As CUlaunchConfig and its attribute: the start before the end of the kernel before, and a cluster.
    struct {
        unsigned id, pad;
        uint64_t value[8];
    } attribute = {6, 0, {1}};
    const struct {
        unsigned grid[3], block[3], shared;
        void *stream, *attributes;
        unsigned count;
    } config = {{1, 1, 1}, {1, 1, 1}, 0, stream, &attribute, 1};
    AddArguments none_added = {at, 0};
    void *parameters[] = {&none_added};
    SUCCEEDS(cuLaunchKernelEx(&config, function("add"), parameters, nullptr));
    attribute.id = 4;
    CHECK(cuLaunchKernelEx(&config, function("add"), parameters, nullptr) == 801);
    CHECK(cuFuncSetAttribute(function("add"), 8, 227 * 1024 + 1) == 1);
    SUCCEEDS(cuFuncSetAttribute(function("add"), 8, 227 * 1024));
    SUCCEEDS(launch("add", 1, 1, 227 * 1024, arguments));
    CHECK(host_copy(at, 5) == std::vector<unsigned>({8, 7, 7, 7, 7}));
    CHECK(cuMemsetD8Async(reinterpret_cast<uint64_t>(at), 0, 21, stream) == 1);

    size_t before, total, now;
    uint64_t address;
    SUCCEEDS(cuMemGetInfo_v2(&before, &total));
    CHECK(cuMemAlloc_v2(&address, before + 1) == 2);
    SUCCEEDS(cuMemAlloc_v2(&address, 1000));
    CHECK(host_copy(reinterpret_cast<unsigned char *>(address), 1000) == std::vector<unsigned char>(1000, 0xff));
    SUCCEEDS(cuMemFree_v2(address));
    CHECK(cuMemFree_v2(address) == 1);
    SUCCEEDS(cuMemGetInfo_v2(&now, &total));
    CHECK(before == now);
    void *host;
    SUCCEEDS(cuMemHostAlloc(&host, 5000, 0));
    memset(host, 0, 5000);
    SUCCEEDS(cuMemFreeHost(host));
    release(at);
}

void deaths() {
    unsigned *at = device_copy(std::vector<unsigned>(64));
    unsigned *freed = device_copy(std::vector<unsigned>(64));
    release(freed);
    const auto run = [](const char *name, unsigned *where, long long index) {
        return [=] { launch(name, 2, 64, 256, AccessArguments{where, index}); };
    };
    dies("thread (3, 0, 0): access to", run("read_at", at, 64));
    dies(": 0 bytes behind the end of memory of 256 bytes", run("read_at", at, 64));
    dies(": byte 0 of freed memory of 256 bytes", run("read_at", freed, 0));
    dies("bytes before memory of 256 bytes", run("read_at", at, -1024));
    dies("kernel write_shared_at", run("write_shared_at", nullptr, 64));
    dies("0 bytes behind the end of dynamic shared memory", run("write_shared_at", nullptr, 64));
    dies("the stack of 65536 bytes is full", run("recurse", at, 1000));
    dies("returned", run("leave_early", at, 0));
    dies("__ballot_sync", run("differ", at, 0));
    dies("deadlock in its warp", run("hang", at, 0));
    dies("while another thread of the block waits at", run("two_barriers", at, 0));
    release(at);
}

// Launches from several threads at once.
void threads() {
    void *context;
    SUCCEEDS(cuCtxGetCurrent(&context));
    unsigned *at = device_copy(std::vector<unsigned>(1));
    std::vector<std::thread> all;
    for (int i = 0; i < 4; i++)
        all.emplace_back([=] {
            CHECK(launch("add", 1, 1, 0, AddArguments{at, 1}) == 201);
            SUCCEEDS(cuCtxSetCurrent(context));
            for (int repeat = 0; repeat < 100; repeat++)
                SUCCEEDS(launch("add", 2, 33, 0, AddArguments{at, 1}));
        });
    for (auto &thread : all)
        thread.join();
    CHECK(host_copy(at, 1)[0] == 4 * 100 * 66);
    release(at);
}

double seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return double(now.tv_sec) + 1e-9 * double(now.tv_nsec);
}

void speed() {
    const unsigned warps = 8, times = 200000;
    MultiplyArguments multiply = {device_copy(std::vector<unsigned short>(256 * warps)),
                                  device_copy(std::vector<unsigned short>(128 * warps)),
                                  device_copy(std::vector<float>(128 * warps)), times};
    double before = seconds();
    SUCCEEDS(launch("multiply", 1, 32 * warps, 0, multiply));
    printf("%.0f ns for an mma\n", 1e9 * (seconds() - before) / (warps * times));

    BarrierArguments barrier = {device_copy(std::vector<unsigned>(1024)), 500000, 1024};
    before = seconds();
    SUCCEEDS(launch("switches", 1, 32, 0, barrier));
    printf("%.1f ns for a lane at __syncwarp\n", 1e9 * (seconds() - before) / (32.0 * barrier.rounds));
    barrier.rounds = 5000;
    before = seconds();
    SUCCEEDS(launch("rounds", 1, 1024, 0, barrier));
    printf("%.1f ns for a thread at __syncthreads, of 1024\n", 1e9 * (seconds() - before) / (2048.0 * barrier.rounds));
    barrier.rounds = 1;
    before = seconds();
    SUCCEEDS(launch("switches", 10000, 256, 0, barrier));
    printf("%.1f ns for a thread of a short block\n", 1e9 * (seconds() - before) / 2560000.0);
}

} // namespace

int main(int count, char **arguments) {
    void *context;
    SUCCEEDS(cuInit(0));
    SUCCEEDS(cuDevicePrimaryCtxRetain(&context, 0));
    SUCCEEDS(cuCtxSetCurrent(context));
    SUCCEEDS(cuStreamCreate(&stream, 1));
    SUCCEEDS(cuModuleLoadData(&module, ""));
    if (count > 1 && !strcmp(arguments[1], "speed")) {
        speed();
        return 0;
    }
    // Unbuffered, as the children share it.
    setvbuf(stdout, nullptr, _IONBF, 0);
    const struct {
        const char *name;
        void (*run)();
    } checks[] = {{"multiplies", multiplies}, {"shuffles", shuffles}, {"sums", sums},       {"barriers", barriers},
                  {"graphs", graphs},         {"refusals", refusals}, {"threads", threads}, {"deaths", deaths}};
    for (const auto &check : checks) {
        printf("%s\n", check.name);
        check.run();
    }
    printf("all as it should be\n");
    return 0;
}
