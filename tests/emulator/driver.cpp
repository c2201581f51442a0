// The functions of NVIDIA's driver that vigor calls, on emulated GPUs: tests load this library as libcuda.so.1, with
// the kernels inside. To build it, in the root of the repository:
//
//   c++ -std=c++17 -O2 -g -fno-strict-aliasing -Wno-unknown-pragmas -fPIC -shared -DVIGOR_EMULATION -Itests/emulator
//     -Ikernels -x c++ kernels/*.cu tests/emulator/*.cpp -Wl,-soname,libcuda.so.1 -o libcuda.so.1
//
// With -fsanitize=alignment,bounds -fsanitize-undefined-trap-on-error as well, a load that is not aligned as its type
// and an index beyond an array end the process too.
//
// VIGOR_EMULATED_DEVICES   number of GPUs, 1
// VIGOR_EMULATED_MEMORY    memory of each in MiB, 2048
// VIGOR_EMULATED_SEED      changes the order in which blocks, warps and lanes run, 1
//
// Everything a stream is asked for is done at once. Each allocation ends before a page that may not be touched, and the
// pages of a freed one may never be touched again: a kernel with a wrong address ends the process with a message.

#include <stdint.h>
#include <time.h>

#include <algorithm>
#include <memory>
#include <set>

#include "emulation.h"

#define API extern "C" __attribute__((visibility("default"))) Result

namespace {

enum Result : unsigned {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_HANDLE = 400,
    ILLEGAL_STATE = 401,
    NOT_FOUND = 500,
    NOT_SUPPORTED = 801,
    CAPTURE_UNSUPPORTED = 900,
    CAPTURE_INVALIDATED = 901,
    CAPTURE_WRONG_THREAD = 908,
};

struct ResultName {
    Result result;
    const char *name, *text;
};

constexpr ResultName RESULTS[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {ILLEGAL_STATE, "CUDA_ERROR_ILLEGAL_STATE", "the operation cannot be performed in the present state"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
     "operation failed due to a previous error during capture"},
    {CAPTURE_WRONG_THREAD, "CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD",
     "attempt to terminate a thread-local capture sequence from another thread"},
};

constexpr int MULTIPROCESSORS = 132;
constexpr size_t DEFAULT_SHARED = 48 * 1024;

// Numbers of CUfunction_attribute, CUevent_flags and CUlaunchAttributeID.
constexpr int FUNCTION_MAX_DYNAMIC_SHARED = 8;
constexpr unsigned EVENT_WITHOUT_TIMING = 2;
constexpr unsigned PROGRAMMATIC_STREAM_SERIALIZATION = 6;

typedef uint64_t Address;

struct Device;

struct Module {
    Device *device;
};

struct Function {
    Device *device;
    const emulation::Kernel *kernel;
    size_t max_shared;
};

// Something a stream does.
struct Work {
    enum { LAUNCH, COPY, FILL } kind;
    // LAUNCH
    const emulation::Kernel *kernel;
    emulation::Index grid, block;
    size_t shared;
    std::vector<char> arguments;
    // COPY and FILL
    char *to;
    const char *from;
    unsigned char value;
    size_t bytes;
};

struct Graph {
    std::vector<Work> work;
};

struct Stream {
    Device *device;
    // What is recorded while a capture goes on; who began it and how strictly; whether something forbidden was tried.
    std::unique_ptr<Graph> recorded;
    pthread_t recorder;
    unsigned mode;
    bool invalid;
};

struct Event {
    bool timing, recorded;
    timespec time;
};

// A GPU, which is also its context.
struct Device {
    int ordinal;
    size_t memory, used;
    // What the null stream stands for.
    Stream default_stream;
};

struct Allocation {
    size_t bytes;
    Device *device;
    bool freed;
};

// Guards all of this. A launch holds it, so nothing changes meanwhile. Nothing is taken down at the end of the process,
// when other threads may still work.
std::mutex lock;
typedef std::lock_guard<std::mutex> Held;
bool started;
auto &devices = *new std::vector<std::unique_ptr<Device>>;
auto &modules = *new std::set<Module *>;
auto &streams = *new std::set<Stream *>;
auto &events = *new std::set<Event *>;
auto &graphs = *new std::set<Graph *>;
auto &functions = *new std::map<std::pair<Module *, std::string>, Function>;
// By address. Freed ones stay, as their addresses are not used again.
auto &allocations = *new std::map<Address, Allocation>;
auto &pinned = *new std::map<void *, size_t>;

thread_local Device *current;

// What lies at an address that may not be touched.
void describe(const void *at, char *text, size_t size) {
    const Address address = reinterpret_cast<Address>(at);
    const auto after = allocations.upper_bound(address);
    constexpr size_t FAR = 2 * emulation::PAGE;
    const size_t to_next = after == allocations.end() ? FAR : after->first - address;
    if (after != allocations.begin()) {
        const auto &[start, allocation] = *std::prev(after);
        const char *freed = allocation.freed ? "freed " : "";
        if (address - start < allocation.bytes) {
            snprintf(text, size, ": byte %zu of %smemory of %zu bytes", size_t(address - start), freed,
                     allocation.bytes);
            return;
        }
        const size_t behind = address - start - allocation.bytes;
        if (behind < FAR && behind <= to_next) {
            snprintf(text, size, ": %zu bytes behind the end of %smemory of %zu bytes", behind, freed,
                     allocation.bytes);
            return;
        }
    }
    if (to_next < FAR) {
        snprintf(text, size, ": %zu bytes before %smemory of %zu bytes", to_next, after->second.freed ? "freed " : "",
                 after->second.bytes);
        return;
    }
    snprintf(text, size, ": no memory of the device");
}

size_t round_up(size_t bytes, size_t multiple) {
    return (bytes + multiple - 1) / multiple * multiple;
}

size_t number_from_environment(const char *name, size_t otherwise) {
    const char *text = getenv(name);
    return text ? strtoull(text, nullptr, 10) : otherwise;
}

bool is_device(int device) {
    return device >= 0 && size_t(device) < devices.size();
}

bool is_device(const Device *context) {
    return std::any_of(devices.begin(), devices.end(), [&](const auto &d) { return d.get() == context; });
}

// The stream of a handle, or null: 0, 1 and 2 stand for the default stream of the current context.
Stream *stream_of(void *handle) {
    if (reinterpret_cast<uintptr_t>(handle) <= 2) return current ? &current->default_stream : nullptr;
    Stream *stream = static_cast<Stream *>(handle);
    return streams.count(stream) ? stream : nullptr;
}

// Whether a capture forbids what may make a stream wait, here and now. Such an attempt ends the capture.
bool forbidden_by_capture() {
    bool forbidden = false;
    for (Stream *stream : streams) {
        const bool own = stream->recorded && pthread_equal(stream->recorder, pthread_self());
        if (stream->recorded && (stream->mode == 0 || (stream->mode == 1 && own))) forbidden = stream->invalid = true;
    }
    return forbidden;
}

// Whether the bytes lie in memory of a device, in one allocation.
bool on_device(Address address, size_t bytes) {
    const auto after = allocations.upper_bound(address);
    if (after == allocations.begin()) return false;
    const auto &[start, allocation] = *std::prev(after);
    return !allocation.freed && address - start <= allocation.bytes && bytes <= allocation.bytes - (address - start);
}

void run(const Work &work) {
    switch (work.kind) {
    case Work::LAUNCH:
        emulation::launch(*work.kernel, work.grid, work.block, work.shared, work.arguments.data());
        break;
    case Work::COPY:
        memmove(work.to, work.from, work.bytes);
        break;
    case Work::FILL:
        memset(work.to, work.value, work.bytes);
        break;
    }
}

// Does it, or records it.
Result submit(void *handle, Work &&work) {
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (!stream->recorded)
        run(work);
    else if (stream->invalid)
        return CAPTURE_INVALIDATED;
    else
        stream->recorded->work.push_back(std::move(work));
    return SUCCESS;
}

Result submit_copy(void *handle, void *to, const void *from, size_t bytes) {
    Work work = {};
    work.kind = Work::COPY;
    work.to = static_cast<char *>(to);
    work.from = static_cast<const char *>(from);
    work.bytes = bytes;
    return submit(handle, std::move(work));
}

Result submit_fill(void *handle, Address to, unsigned char value, size_t bytes) {
    if (!on_device(to, bytes)) return INVALID_VALUE;
    Work work = {};
    work.kind = Work::FILL;
    work.to = reinterpret_cast<char *>(to);
    work.value = value;
    work.bytes = bytes;
    return submit(handle, std::move(work));
}

Result submit_launch(void *handle, Function *function, emulation::Index grid, emulation::Index block, size_t shared,
                     void **parameters, void **extra) {
    if (!current) return INVALID_CONTEXT;
    Stream *stream = stream_of(handle);
    const auto known = [&](const auto &entry) { return &entry.second == function; };
    if (!stream || !std::any_of(functions.begin(), functions.end(), known)) return INVALID_HANDLE;
    if (stream->device != current || function->device != current) return INVALID_HANDLE;
    if (!grid.x || !grid.y || !grid.z || grid.x > 0x7fffffff || grid.y > 0xffff || grid.z > 0xffff)
        return INVALID_VALUE;
    if (!block.x || !block.y || !block.z || block.x > 1024 || block.y > 1024 || block.z > 64) return INVALID_VALUE;
    if (block.x * block.y * block.z > emulation::MAX_THREADS) return INVALID_VALUE;
    if (shared > std::max(function->max_shared, DEFAULT_SHARED) || !parameters || extra) return INVALID_VALUE;
    Work work = {};
    work.kind = Work::LAUNCH;
    work.kernel = function->kernel;
    work.grid = grid;
    work.block = block;
    work.shared = shared;
    const char *arguments = static_cast<const char *>(parameters[0]);
    work.arguments.assign(arguments, arguments + function->kernel->arguments);
    return submit(handle, std::move(work));
}

} // namespace

// The driver as a whole, and its devices.

API cuInit(unsigned flags) {
    const Held held(lock);
    if (flags) return INVALID_VALUE;
    if (!started) {
        started = true;
        emulation::describe_address = describe;
        const size_t count = number_from_environment("VIGOR_EMULATED_DEVICES", 1);
        for (size_t i = 0; i < count; i++) {
            auto device = std::make_unique<Device>();
            device->ordinal = int(i);
            device->memory = number_from_environment("VIGOR_EMULATED_MEMORY", 2048) << 20;
            device->default_stream.device = device.get();
            devices.push_back(std::move(device));
        }
    }
    return devices.empty() ? NO_DEVICE : SUCCESS;
}

API cuDriverGetVersion(int *version) {
    *version = 12080;
    return SUCCESS;
}

API cuGetErrorName(Result result, const char **name) {
    for (const ResultName &known : RESULTS)
        if (known.result == result) {
            *name = known.name;
            return SUCCESS;
        }
    *name = nullptr;
    return INVALID_VALUE;
}

API cuGetErrorString(Result result, const char **text) {
    for (const ResultName &known : RESULTS)
        if (known.result == result) {
            *text = known.text;
            return SUCCESS;
        }
    *text = nullptr;
    return INVALID_VALUE;
}

API cuDeviceGetCount(int *count) {
    const Held held(lock);
    if (!started) return NOT_INITIALIZED;
    *count = int(devices.size());
    return SUCCESS;
}

API cuDeviceGet(int *device, int ordinal) {
    const Held held(lock);
    if (!started) return NOT_INITIALIZED;
    if (!is_device(ordinal)) return INVALID_DEVICE;
    *device = ordinal;
    return SUCCESS;
}

API cuDeviceGetName(char *name, int length, int device) {
    const Held held(lock);
    if (!is_device(device)) return INVALID_DEVICE;
    if (length <= 0) return INVALID_VALUE;
    snprintf(name, size_t(length), "Emulated GPU (this processor)");
    return SUCCESS;
}

API cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    const Held held(lock);
    if (!is_device(device)) return INVALID_DEVICE;
    memset(uuid, 0, 16);
    uuid[15] = static_cast<unsigned char>(device + 1);
    return SUCCESS;
}

API cuDeviceGetUuid(unsigned char *uuid, int device) {
    return cuDeviceGetUuid_v2(uuid, device);
}

API cuDeviceTotalMem_v2(size_t *bytes, int device) {
    const Held held(lock);
    if (!is_device(device)) return INVALID_DEVICE;
    *bytes = devices[size_t(device)]->memory;
    return SUCCESS;
}

API cuDeviceGetAttribute(int *value, int attribute, int device) {
    static const std::map<int, int> ATTRIBUTES = {
        {1, 1024},                          // MAX_THREADS_PER_BLOCK
        {2, 1024},                          // MAX_BLOCK_DIM_X
        {3, 1024},                          // MAX_BLOCK_DIM_Y
        {4, 64},                            // MAX_BLOCK_DIM_Z
        {5, 0x7fffffff},                    // MAX_GRID_DIM_X
        {6, 0xffff},                        // MAX_GRID_DIM_Y
        {7, 0xffff},                        // MAX_GRID_DIM_Z
        {8, int(DEFAULT_SHARED)},           // MAX_SHARED_MEMORY_PER_BLOCK
        {9, 65536},                         // TOTAL_CONSTANT_MEMORY
        {10, 32},                           // WARP_SIZE
        {12, 65536},                        // MAX_REGISTERS_PER_BLOCK
        {13, 1980000},                      // CLOCK_RATE
        {16, MULTIPROCESSORS},              // MULTIPROCESSOR_COUNT
        {36, 2619000},                      // MEMORY_CLOCK_RATE
        {37, 5120},                         // GLOBAL_MEMORY_BUS_WIDTH
        {38, 50 << 20},                     // L2_CACHE_SIZE
        {39, 2048},                         // MAX_THREADS_PER_MULTIPROCESSOR
        {41, 1},                            // UNIFIED_ADDRESSING
        {75, 9},                            // COMPUTE_CAPABILITY_MAJOR
        {76, 0},                            // COMPUTE_CAPABILITY_MINOR
        {81, 228 * 1024},                   // MAX_SHARED_MEMORY_PER_MULTIPROCESSOR
        {82, 65536},                        // MAX_REGISTERS_PER_MULTIPROCESSOR
        {97, int(emulation::MAX_SHARED)},   // MAX_SHARED_MEMORY_PER_BLOCK_OPTIN
        {106, 32},                          // MAX_BLOCKS_PER_MULTIPROCESSOR
        {111, 1024},                        // RESERVED_SHARED_MEMORY_PER_BLOCK
    };
    const Held held(lock);
    if (!is_device(device)) return INVALID_DEVICE;
    // All other abilities are missing.
    const auto found = ATTRIBUTES.find(attribute);
    *value = found == ATTRIBUTES.end() ? 0 : found->second;
    return SUCCESS;
}

API cuDeviceCanAccessPeer(int *can, int device, int peer) {
    const Held held(lock);
    if (!is_device(device) || !is_device(peer)) return INVALID_DEVICE;
    *can = 0;
    return SUCCESS;
}

// Contexts.

API cuDevicePrimaryCtxRetain(Device **context, int device) {
    const Held held(lock);
    if (!started) return NOT_INITIALIZED;
    if (!is_device(device)) return INVALID_DEVICE;
    *context = devices[size_t(device)].get();
    return SUCCESS;
}

// The context stays, with what was made in it.
API cuDevicePrimaryCtxRelease_v2(int device) {
    const Held held(lock);
    return is_device(device) ? SUCCESS : INVALID_DEVICE;
}

API cuCtxSetCurrent(Device *context) {
    const Held held(lock);
    if (context && !is_device(context)) return INVALID_CONTEXT;
    current = context;
    return SUCCESS;
}

API cuCtxGetCurrent(Device **context) {
    const Held held(lock);
    if (!started) return NOT_INITIALIZED;
    *context = current;
    return SUCCESS;
}

API cuCtxGetDevice(int *device) {
    if (!current) return INVALID_CONTEXT;
    *device = current->ordinal;
    return SUCCESS;
}

API cuCtxSynchronize() {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    return forbidden_by_capture() ? CAPTURE_UNSUPPORTED : SUCCESS;
}

API cuCtxSetFlags(unsigned) {
    return current ? SUCCESS : INVALID_CONTEXT;
}

API cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    if (!current) return INVALID_CONTEXT;
    *least = *greatest = 0;
    return SUCCESS;
}

// Memory.

API cuMemGetInfo_v2(size_t *free, size_t *total) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    *free = current->memory - current->used;
    *total = current->memory;
    return SUCCESS;
}

API cuMemAlloc_v2(Address *address, size_t bytes) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!bytes) return INVALID_VALUE;
    if (forbidden_by_capture()) return CAPTURE_UNSUPPORTED;
    const size_t rounded = round_up(bytes, 16);
    if (rounded < bytes || rounded > current->memory - current->used) return OUT_OF_MEMORY;
    const size_t pages = round_up(rounded, emulation::PAGE);
    char *memory = emulation::guarded(pages);
    if (!memory) return OUT_OF_MEMORY;
    memset(memory, 0xff, pages);
    *address = reinterpret_cast<Address>(memory + pages - rounded);
    current->used += rounded;
    allocations[*address] = {bytes, current, false};
    return SUCCESS;
}

API cuMemFree_v2(Address address) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!address) return SUCCESS;
    const auto found = allocations.find(address);
    if (found == allocations.end() || found->second.freed) return INVALID_VALUE;
    if (forbidden_by_capture()) return CAPTURE_UNSUPPORTED;
    Allocation &allocation = found->second;
    const size_t rounded = round_up(allocation.bytes, 16);
    const Address start = address / emulation::PAGE * emulation::PAGE;
    // The memory goes, the addresses stay taken.
    mmap(reinterpret_cast<void *>(start), address + rounded - start, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    allocation.freed = true;
    allocation.device->used -= rounded;
    return SUCCESS;
}

API cuMemHostAlloc(void **memory, size_t bytes, unsigned) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!bytes) return INVALID_VALUE;
    if (forbidden_by_capture()) return CAPTURE_UNSUPPORTED;
    const size_t pages = round_up(bytes, emulation::PAGE);
    *memory = emulation::guarded(pages);
    if (!*memory) return OUT_OF_MEMORY;
    memset(*memory, 0xff, pages);
    pinned[*memory] = pages;
    return SUCCESS;
}

API cuMemAllocHost_v2(void **memory, size_t bytes) {
    return cuMemHostAlloc(memory, bytes, 0);
}

API cuMemFreeHost(void *memory) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    const auto found = pinned.find(memory);
    if (found == pinned.end()) return INVALID_VALUE;
    if (forbidden_by_capture()) return CAPTURE_UNSUPPORTED;
    munmap(static_cast<char *>(memory) - emulation::PAGE, found->second + 2 * emulation::PAGE);
    pinned.erase(found);
    return SUCCESS;
}

API cuMemcpyHtoDAsync_v2(Address to, const void *from, size_t bytes, void *stream) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!on_device(to, bytes)) return INVALID_VALUE;
    return submit_copy(stream, reinterpret_cast<void *>(to), from, bytes);
}

API cuMemcpyDtoHAsync_v2(void *to, Address from, size_t bytes, void *stream) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!on_device(from, bytes)) return INVALID_VALUE;
    return submit_copy(stream, to, reinterpret_cast<const void *>(from), bytes);
}

API cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes, void *stream) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!on_device(to, bytes) || !on_device(from, bytes)) return INVALID_VALUE;
    return submit_copy(stream, reinterpret_cast<void *>(to), reinterpret_cast<const void *>(from), bytes);
}

API cuMemcpyPeerAsync(Address to, Device *to_context, Address from, Device *from_context, size_t bytes, void *stream) {
    {
        const Held held(lock);
        if (!is_device(to_context) || !is_device(from_context)) return INVALID_CONTEXT;
    }
    return cuMemcpyDtoDAsync_v2(to, from, bytes, stream);
}

API cuMemsetD8Async(Address to, unsigned char value, size_t bytes, void *stream) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    return submit_fill(stream, to, value, bytes);
}

namespace {

bool waiting_is_forbidden() {
    const Held held(lock);
    return forbidden_by_capture();
}

} // namespace

API cuMemcpyHtoD_v2(Address to, const void *from, size_t bytes) {
    return waiting_is_forbidden() ? CAPTURE_UNSUPPORTED : cuMemcpyHtoDAsync_v2(to, from, bytes, nullptr);
}

API cuMemcpyDtoH_v2(void *to, Address from, size_t bytes) {
    return waiting_is_forbidden() ? CAPTURE_UNSUPPORTED : cuMemcpyDtoHAsync_v2(to, from, bytes, nullptr);
}

API cuMemcpyDtoD_v2(Address to, Address from, size_t bytes) {
    return waiting_is_forbidden() ? CAPTURE_UNSUPPORTED : cuMemcpyDtoDAsync_v2(to, from, bytes, nullptr);
}

API cuMemsetD8_v2(Address to, unsigned char value, size_t bytes) {
    return waiting_is_forbidden() ? CAPTURE_UNSUPPORTED : cuMemsetD8Async(to, value, bytes, nullptr);
}

// Streams.

API cuStreamCreate(Stream **stream, unsigned) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    *stream = new Stream{};
    (*stream)->device = current;
    streams.insert(*stream);
    return SUCCESS;
}

API cuStreamCreateWithPriority(Stream **stream, unsigned flags, int) {
    return cuStreamCreate(stream, flags);
}

API cuStreamDestroy_v2(Stream *stream) {
    const Held held(lock);
    if (!streams.erase(stream)) return INVALID_HANDLE;
    delete stream;
    return SUCCESS;
}

API cuStreamSynchronize(void *handle) {
    const Held held(lock);
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (stream->recorded) {
        stream->invalid = true;
        return CAPTURE_UNSUPPORTED;
    }
    return SUCCESS;
}

API cuStreamQuery(void *handle) {
    return cuStreamSynchronize(handle);
}

API cuStreamBeginCapture_v2(void *handle, unsigned mode) {
    const Held held(lock);
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (mode > 2) return INVALID_VALUE;
    // The default stream cannot be captured.
    if (stream == &stream->device->default_stream) return CAPTURE_UNSUPPORTED;
    if (stream->recorded) return ILLEGAL_STATE;
    stream->recorded = std::make_unique<Graph>();
    stream->recorder = pthread_self();
    stream->mode = mode;
    stream->invalid = false;
    return SUCCESS;
}

API cuStreamEndCapture(void *handle, Graph **graph) {
    const Held held(lock);
    *graph = nullptr;
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    if (!stream->recorded) return ILLEGAL_STATE;
    if (stream->mode != 2 && !pthread_equal(stream->recorder, pthread_self())) return CAPTURE_WRONG_THREAD;
    std::unique_ptr<Graph> recorded = std::move(stream->recorded);
    if (stream->invalid) return CAPTURE_INVALIDATED;
    *graph = recorded.release();
    graphs.insert(*graph);
    return SUCCESS;
}

API cuStreamIsCapturing(void *handle, unsigned *status) {
    const Held held(lock);
    Stream *stream = stream_of(handle);
    if (!stream) return INVALID_HANDLE;
    *status = !stream->recorded ? 0 : stream->invalid ? 2 : 1;
    return SUCCESS;
}

// What was recorded before is done already; captures do not spread from stream to stream.
API cuStreamWaitEvent(void *handle, Event *event, unsigned) {
    const Held held(lock);
    Stream *stream = stream_of(handle);
    if (!stream || !events.count(event)) return INVALID_HANDLE;
    return stream->recorded ? NOT_SUPPORTED : SUCCESS;
}

// Events.

API cuEventCreate(Event **event, unsigned flags) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    *event = new Event{};
    (*event)->timing = !(flags & EVENT_WITHOUT_TIMING);
    events.insert(*event);
    return SUCCESS;
}

API cuEventRecord(Event *event, void *handle) {
    const Held held(lock);
    Stream *stream = stream_of(handle);
    if (!stream || !events.count(event)) return INVALID_HANDLE;
    if (stream->recorded) return NOT_SUPPORTED;
    event->recorded = true;
    clock_gettime(CLOCK_MONOTONIC, &event->time);
    return SUCCESS;
}

API cuEventQuery(Event *event) {
    const Held held(lock);
    return events.count(event) ? SUCCESS : INVALID_HANDLE;
}

API cuEventSynchronize(Event *event) {
    return cuEventQuery(event);
}

API cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
    const Held held(lock);
    for (const Event *event : {start, end})
        if (!events.count(const_cast<Event *>(event)) || !event->timing || !event->recorded) return INVALID_HANDLE;
    const double seconds = double(end->time.tv_sec - start->time.tv_sec);
    *milliseconds = float(1e3 * seconds + 1e-6 * double(end->time.tv_nsec - start->time.tv_nsec));
    return SUCCESS;
}

API cuEventDestroy_v2(Event *event) {
    const Held held(lock);
    if (!events.erase(event)) return INVALID_HANDLE;
    delete event;
    return SUCCESS;
}

// Graphs. One that can be launched is a graph as well, a copy.

API cuGraphInstantiateWithFlags(Graph **executable, Graph *graph, unsigned long long) {
    const Held held(lock);
    if (!graphs.count(graph)) return INVALID_HANDLE;
    *executable = new Graph(*graph);
    graphs.insert(*executable);
    return SUCCESS;
}

API cuGraphUpload(Graph *executable, void *handle) {
    const Held held(lock);
    return graphs.count(executable) && stream_of(handle) ? SUCCESS : INVALID_HANDLE;
}

API cuGraphLaunch(Graph *executable, void *handle) {
    const Held held(lock);
    Stream *stream = stream_of(handle);
    if (!stream || !graphs.count(executable)) return INVALID_HANDLE;
    for (const Work &work : executable->work) {
        if (!stream->recorded)
            run(work);
        else
            stream->recorded->work.push_back(work);
    }
    return SUCCESS;
}

API cuGraphDestroy(Graph *graph) {
    const Held held(lock);
    if (!graphs.erase(graph)) return INVALID_HANDLE;
    delete graph;
    return SUCCESS;
}

API cuGraphExecDestroy(Graph *executable) {
    return cuGraphDestroy(executable);
}

// Kernels. A module has all kernels of this library, whatever its image.

API cuModuleLoadData(Module **module, const void *image) {
    const Held held(lock);
    if (!current) return INVALID_CONTEXT;
    if (!image) return INVALID_VALUE;
    *module = new Module{current};
    modules.insert(*module);
    return SUCCESS;
}

API cuModuleUnload(Module *module) {
    const Held held(lock);
    if (!modules.erase(module)) return INVALID_HANDLE;
    for (auto entry = functions.begin(); entry != functions.end();)
        entry = entry->first.first == module ? functions.erase(entry) : std::next(entry);
    delete module;
    return SUCCESS;
}

API cuModuleGetFunction(Function **function, Module *module, const char *name) {
    const Held held(lock);
    if (!modules.count(module)) return INVALID_HANDLE;
    const auto kernel = emulation::registry().find(name);
    if (kernel == emulation::registry().end()) return NOT_FOUND;
    const Function fresh = {module->device, &kernel->second, DEFAULT_SHARED};
    *function = &functions.emplace(std::make_pair(module, std::string(name)), fresh).first->second;
    return SUCCESS;
}

API cuFuncSetAttribute(Function *function, int attribute, int value) {
    const Held held(lock);
    if (attribute != FUNCTION_MAX_DYNAMIC_SHARED) return SUCCESS;
    if (value < 0 || size_t(value) > emulation::MAX_SHARED) return INVALID_VALUE;
    function->max_shared = size_t(value);
    return SUCCESS;
}

API cuFuncGetAttribute(int *value, int attribute, Function *function) {
    const Held held(lock);
    switch (attribute) {
    case 0: // MAX_THREADS_PER_BLOCK
        *value = int(emulation::MAX_THREADS);
        return SUCCESS;
    case 5: // PTX_VERSION
    case 6: // BINARY_VERSION
        *value = 90;
        return SUCCESS;
    case FUNCTION_MAX_DYNAMIC_SHARED:
        *value = int(function->max_shared);
        return SUCCESS;
    default:
        *value = 0;
        return SUCCESS;
    }
}

API cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                   unsigned block_y, unsigned block_z, unsigned shared, void *stream, void **parameters, void **extra) {
    const Held held(lock);
    return submit_launch(stream, function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, parameters,
                         extra);
}

// CUlaunchAttribute and CUlaunchConfig.
struct LaunchAttribute {
    unsigned id;
    char pad[4];
    alignas(8) char value[64];
};

struct LaunchConfig {
    unsigned grid_x, grid_y, grid_z, block_x, block_y, block_z, shared;
    void *stream;
    LaunchAttribute *attributes;
    unsigned number_of_attributes;
};

API cuLaunchKernelEx(const LaunchConfig *config, Function *function, void **parameters, void **extra) {
    const Held held(lock);
    // A kernel that may start early starts when the one before has ended. Nothing else can be asked for.
    for (unsigned i = 0; i < config->number_of_attributes; i++)
        if (config->attributes[i].id != PROGRAMMATIC_STREAM_SERIALIZATION) return NOT_SUPPORTED;
    return submit_launch(config->stream, function, {config->grid_x, config->grid_y, config->grid_z},
                         {config->block_x, config->block_y, config->block_z}, config->shared, parameters, extra);
}
