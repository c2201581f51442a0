// Chooses tokens from rows of log-probabilities: draws, the best, the best with noise, and the leading alternatives. Up
// to some hundred selections a launch, of any mix. Nothing but the few chosen tokens and their numbers leaves the GPU.
// Bound by reading each row once from the second-level cache; where every token gets noise, by the integer arithmetic of
// that, some forty operations a token.
//
// A block looks at a chunk of a row, which it holds in shared memory, and leaves what may matter: its largest entries,
// its best draw, sums, candidates. The last block of a selection to arrive makes the result of that. All of it is the
// same in whatever order blocks and threads run: entries are compared as (value, lowest token), which no two share, and
// sums are made in fixed orders, or of integers.
//
// The result is that of the processor's path, but for rounding: exponentials and logarithms are CUDA's; a mix is not
// normalised before it is drawn from, which shifts all its entries alike; `top_p` adds up weights in fixed point, 2⁻⁴²
// of the largest each, made by f32 exponentials. So the smallest set with a share `top_p` may end a token earlier or
// later where a sum comes within some 3 · 10⁻⁷ of the share: once in a thousand to ten thousand draws, as the tokens
// there weigh 10⁻⁴ to 10⁻³; and as seldom as they weigh little, such a token is then the one that is drawn.
#include "select.cuh"

constexpr u32 NONE = 0xffffffff;
// Tokens that a selection chooses, and the largest `top_k` that goes through a sorted list.
constexpr u32 MOST_CHOSEN = 64;
// Noisy sums are rounded differently before and after they are normalised: so many more are looked at in the end.
constexpr u32 SPARE = 8;
constexpr u32 MOST_KEPT = MOST_CHOSEN + SPARE;
// Candidates of a selection that is cut by top_k or top_p. Where more come, the last block looks at the row again.
constexpr u32 CANDIDATES = 4096;
// Items that are sorted at once, and bins of a histogram.
constexpr u32 SORTED = 1024;
// A weight of 1 in fixed point: half a million of them stay below 2⁶³.
constexpr float ONE = 0x1p42f;
// Tokens are smaller than 2 to this power.
constexpr u32 TOKEN_BITS = 19;
constexpr u32 TOKENS = (1 << TOKEN_BITS) - 1;
static_assert(MOST_CHUNKS * CHUNK <= TOKENS + 1, "every token has its key");

enum Kind : u32 { DRAW, BEST, PERTURBED, GIVEN };

struct Request {
    u64 key;        // of the noise
    double score;   // what a noisy sum begins with
    double inverse; // 1 / temperature, where that is above 0; else 1
    u32 plain;      // row
    u32 signal;     // row of the stream that sees the signal, or NONE
    float gamma;
    float epsilon;
    float temperature;
    float top_p;
    u32 kind;
    u32 count; // DRAW: top_k, 0 for all; BEST, PERTURBED: how many; GIVEN: the token
    u32 alternatives;
    float scale; // `inverse` in f32
};

struct Select {
    u64 slabs;      // u64: addresses of the slabs that hold the rows
    u64 requests;   // Request: [selection]
    u64 keys;       // u64: [selection][chunk][slots]
    u64 parts;      // Part: [selection][chunk]
    u64 candidates; // u64: [selection][CANDIDATES]
    u64 arrived;    // u32: [selection], 0
    u64 found;      // u32: [selection], 0: how many candidates
    u64 results;    // [selection]: u32 tokens, u32 alternatives; Chosen: [chosen]; Leading: [rest]
    u32 vocab;
    u32 stride;  // floats of a row
    u32 slots;   // keys that a chunk may leave
    u32 chosen;  // room for tokens in a result
    u32 result;  // u32 words of a result
    u32 unused;
};

struct Chosen {
    u32 token;
    float logprob;
    float guided;
    float tempered;
    float perturbed;
};

struct Leading {
    u32 token;
    float plain;
    float signal;
};

// What a block leaves of its chunk besides keys.
struct alignas(16) Part {
    double value; // the best draw
    u64 favourite;
    u32 token; // of the draw
    float max;
    float sum; // Σ exp((v − max) / temperature)
    u32 unused;
};

// An entry as one number: larger by value, among equals by the lower token. No entry is 0.
__device__ __forceinline__ u64 key_of(float value, u32 token) {
    return (u64)ordered(value) << TOKEN_BITS | (TOKENS - token);
}

__device__ __forceinline__ float value_of(u64 key) {
    return unordered((u32)(key >> TOKEN_BITS));
}

__device__ __forceinline__ u32 token_of(u64 key) {
    return TOKENS - ((u32)key & TOKENS);
}

// A row of log-probabilities.
struct Stream {
    float *row;
    float shift;

    __device__ __forceinline__ float operator[](u32 token) const { return row[token] - shift; }
};

__device__ __forceinline__ Stream stream_of(const Select &a, u32 index) {
    float *row = row_at(a.slabs, a.stride, index);
    return {row, row_end(row, a.stride)->shift};
}

// What is chosen from: one stream, or a mix of two that is not normalised.
struct Source {
    Stream p;
    Stream q;
    float gamma;
    float epsilon;
    bool mixes;

    __device__ __forceinline__ float entry(float p, float q) const {
        if (epsilon > 0.0f) return fmaf(gamma, logf((expf(q) + epsilon) / (expf(p) + epsilon)), p);
        return fmaf(gamma, q - p, p);
    }

    __device__ __forceinline__ float operator[](u32 token) const {
        return mixes ? entry(p[token], q[token]) : p[token];
    }
};

// γ of 0 is exactly one stream, 1 exactly the other.
__device__ __forceinline__ Source source_of(const Select &a, const Request &r) {
    const bool guided = r.signal != NONE;
    const bool mixes = guided && r.gamma != 0.0f && r.gamma != 1.0f;
    const Stream p = stream_of(a, guided && r.gamma == 1.0f ? r.signal : r.plain);
    return {p, mixes ? stream_of(a, r.signal) : p, r.gamma, r.epsilon, mixes};
}

// What a selection needs to know.
struct Plan {
    u32 top;      // this many of the largest entries
    u32 noisy;    // this many of the largest noisy sums
    bool draws;   // the best draw from all tokens
    bool cuts;    // candidates of a draw from some tokens
    bool sums;    // what the distribution at the temperature adds up to
    bool tempers; // noisy sums are of entries divided by the temperature
};

__device__ __forceinline__ Plan plan_of(const Request &r, bool mixes) {
    const bool is_draw = r.kind == DRAW, greedy = is_draw && r.temperature <= 0.0f;
    const bool warm = is_draw && !greedy, few = warm && r.count > 0 && r.count <= MOST_CHOSEN;
    Plan plan;
    plan.top = r.alternatives;
    if (greedy && plan.top == 0) plan.top = 1;
    if ((r.kind == BEST || few) && r.count > plan.top) plan.top = r.count;
    plan.noisy = r.kind == PERTURBED ? r.count + SPARE : 0;
    plan.draws = warm && r.count == 0 && r.top_p >= 1.0f;
    plan.cuts = warm && !few && !plan.draws;
    plan.tempers = r.kind == PERTURBED && r.temperature > 0.0f && r.temperature != 1.0f;
    plan.sums = plan.cuts || plan.tempers || (r.kind == PERTURBED && mixes);
    return plan;
}

// Noise: Gumbel numbers of uniform ones, which SplitMix64 makes of the selection's key and the token.

__device__ __forceinline__ u64 random_bits(u64 key, u32 token) {
    u64 z = key + (u64)(token + 1) * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

// The exact number. Only for few tokens: consumer GPUs are slow in f64. Not inlined, as it is long and used often.
__device__ __noinline__ double gumbel(u64 bits) {
    const double uniform = ((double)(bits >> 11) + 0.5) * 0x1p-53;
    return -log(-log(uniform));
}

// A number that `gumbel` does not exceed, by at most ln 2 where it matters: −ln(−ln u) ≤ −ln(1 − u), and the ones that
// the bits begin with tell the power of two of 1 − u.
__device__ __forceinline__ float gumbel_bound(u64 bits) {
    const u32 zeros = ~(u32)(bits >> 32);
    return (zeros ? (float)__clz(zeros) + 1.0f : 54.0f) * 0.6931473f;
}

// No Gumbel number is larger: 54 ln 2.
constexpr float MOST_NOISE = 37.43f;

// How far sums in f32 of these terms can be off, generously.
__device__ __forceinline__ float slack_of(float value) {
    return fmaf(fabsf(value), 1e-6f, 1e-3f);
}

// a · b, rounded before anything is added to it, as the processor does.
__device__ __forceinline__ double product(double a, double b) {
#ifdef VIGOR_EMULATION
    return a * b;
#else
    return __dmul_rn(a, b);
#endif
}

// The best draw so far: largest `value · inverse + noise` in f64. A token that cannot exceed what some thread of the
// block has seen is passed over without f64 arithmetic; the result is the same.
struct Draw {
    u64 key;
    double inverse;
    float scale;
    volatile float *bar; // shared: some token has as much. A lost update costs time only.
    double value;
    u32 token;

    // Whether a token may exceed `needed`.
    __device__ __forceinline__ bool may_exceed(float needed, float entry, u32 candidate) const {
        const float scaled = entry * scale, slack = slack_of(scaled);
        if (scaled + slack + MOST_NOISE < needed) return false;
        return !(scaled + slack + gumbel_bound(random_bits(key, candidate)) < needed);
    }

    __device__ __forceinline__ void evaluate(float entry, u32 candidate) {
        const double sum = product((double)entry, inverse) + gumbel(random_bits(key, candidate));
        take(sum, candidate);
        if ((float)sum > *bar) *bar = (float)sum;
    }

    __device__ __forceinline__ void consider(float entry, u32 candidate) {
        if (may_exceed(*bar, entry, candidate)) evaluate(entry, candidate);
    }

    __device__ __forceinline__ void take(double sum, u32 candidate) {
        if (sum > value || (sum == value && candidate < token)) {
            value = sum;
            token = candidate;
        }
    }

    // The best of the block, in all its threads.
    __device__ __forceinline__ void join() {
        __shared__ double values[WARPS];
        __shared__ u32 tokens[WARPS];
        for (u32 step = WARP / 2; step > 0; step /= 2) {
            const double sum = __shfl_xor_sync(EVERY_LANE, value, step);
            const u32 candidate = __shfl_xor_sync(EVERY_LANE, token, step);
            take(sum, candidate);
        }
        if (threadIdx.x % WARP == 0) {
            values[threadIdx.x / WARP] = value;
            tokens[threadIdx.x / WARP] = token;
        }
        __syncthreads();
        for (u32 i = 0; i < WARPS; i++) take(values[i], tokens[i]);
        __syncthreads();
    }
};

// The largest of many. A group of threads holds the largest of its keys; the `n`th of these cannot be above the `n`th of
// all, and what is at least as large lies in `n` groups only, so it fits here.
struct Top {
    u64 groups[THREADS];
    u64 survivors[1536];
    u64 least;
    u32 count;
};

// Puts the `n` largest of `count` keys to `out`, largest first, then zeros. `key(i, least)` gives a key, or 0 where that
// is less than `least`.
template <typename Key>
__device__ __forceinline__ void keep_largest(Top &top, u32 n, u32 count, const Key &key, u64 *out) {
    u64 best = 0;
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        const u64 k = key(i, best);
        best = k > best ? k : best;
    }
    if (n == 1) {
        best = block_max(best);
        if (threadIdx.x == 0) *out = best;
        __syncthreads();
        return;
    }
    // Fewer groups are compared faster; there must be `n`, and not many more entries than that in `n` of them.
    const u32 lanes = n <= 16 ? 4 : 1;
    for (u32 step = 1; step < lanes; step *= 2) {
        const u64 other = __shfl_xor_sync(EVERY_LANE, best, step);
        best = other > best ? other : best;
    }
    const u32 member = threadIdx.x % lanes;
    if (member == 0) top.groups[threadIdx.x / lanes] = best;
    if (threadIdx.x == 0) {
        top.least = 1;
        top.count = 0;
    }
    __syncthreads();
    u32 rank = 0;
    for (u32 i = member; i < THREADS / lanes; i += lanes) rank += top.groups[i] > best;
    for (u32 step = 1; step < lanes; step *= 2) rank += __shfl_xor_sync(EVERY_LANE, rank, step);
    if (member == 0 && best != 0 && rank == n - 1) top.least = best;
    __syncthreads();
    const u64 least = top.least;
    for (u32 i = threadIdx.x; i < count; i += THREADS) {
        const u64 k = key(i, least);
        if (k >= least) top.survivors[atomicAdd(&top.count, 1)] = k;
    }
    __syncthreads();
    const u32 survivors = top.count;
    for (u32 i = threadIdx.x; i < survivors; i += THREADS) {
        const u64 k = top.survivors[i];
        u32 before = 0;
        for (u32 j = 0; j < survivors; j++) before += top.survivors[j] > k;
        if (before < n) out[before] = k;
    }
    for (u32 i = survivors + threadIdx.x; i < n; i += THREADS) out[i] = 0;
    __syncthreads();
}

// What the last block needs to cut a distribution.
struct Cutting {
    u64 sorted[SORTED];
    // A histogram: how many, and their weights in two halves.
    u32 count[SORTED];
    u32 low[SORTED];
    u32 high[SORTED];
    u64 before;
    u32 bin;
    u32 collected;
};

// The sum of a block's values up to each thread's own.
__device__ __forceinline__ u64 block_scan(u64 value, u64 &total) {
    __shared__ u64 warps[WARPS];
    const u32 lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    for (u32 step = 1; step < WARP; step *= 2) {
        const u64 other = __shfl_up_sync(EVERY_LANE, value, step);
        if (lane >= step) value += other;
    }
    if (lane == WARP - 1) warps[warp] = value;
    __syncthreads();
    total = 0;
    u64 before = 0;
    for (u32 i = 0; i < WARPS; i++) {
        if (i < warp) before += warps[i];
        total += warps[i];
    }
    __syncthreads();
    return before + value;
}

// The item at which the running sum of `measure` over SORTED items reaches `target`, to `c.bin`, with the sum before it.
// Whether there is one.
template <typename Measure>
__device__ __forceinline__ bool crossing(Cutting &c, u64 target, const Measure &measure) {
    constexpr u32 EACH = SORTED / THREADS;
    u64 own = 0, total;
    for (u32 i = 0; i < EACH; i++) own += measure(threadIdx.x * EACH + i);
    const u64 until = block_scan(own, total);
    u64 before = until - own;
    if (before < target && target <= until) {
        u32 item = threadIdx.x * EACH;
        for (u64 next = measure(item); before + next < target; next = measure(item)) {
            before += next;
            item++;
        }
        c.bin = item;
        c.before = before;
    }
    __syncthreads();
    return target <= total;
}

// The weight of an entry, relative to the largest.
struct Weigh {
    float max;
    float scale;

    __device__ __forceinline__ u64 operator()(u64 key) const {
        return key ? (u64)(expf((value_of(key) - max) * scale) * ONE) : 0;
    }
};

// The keys of a selection: candidates, or all of the row.
struct Items {
    const u64 *list; // null for the row
    u32 count;

    // Calls `visit(key)` for each key of at least `least`. The row is slow to come, so much of it is asked for at once.
    template <typename Visit>
    __device__ __forceinline__ void each(const Source &source, u64 least, const Visit &visit) const {
        constexpr u32 AHEAD = 4;
        for (u32 first = threadIdx.x; first < count; first += THREADS * AHEAD) {
            u64 keys[AHEAD];
#pragma unroll
            for (u32 i = 0; i < AHEAD; i++) {
                const u32 at = first + i * THREADS;
                keys[i] = 0;
                if (at < count) keys[i] = list ? list[at] : key_of(source[at], at);
            }
#pragma unroll
            for (u32 i = 0; i < AHEAD; i++)
                if (keys[i] != 0 && keys[i] >= least) visit(keys[i]);
        }
    }
};

// Sorts the first `count` keys, largest first.
__device__ __forceinline__ void sort(Cutting &c, u32 count) {
    u32 size = 2;
    while (size < count) size *= 2;
    for (u32 i = count + threadIdx.x; i < size; i += THREADS) c.sorted[i] = 0;
    __syncthreads();
    for (u32 run = 2; run <= size; run *= 2) {
        for (u32 step = run / 2; step > 0; step /= 2) {
            for (u32 i = threadIdx.x; i < size / 2; i += THREADS) {
                const u32 low = i / step * step * 2 + i % step, high = low + step;
                const u64 a = c.sorted[low], b = c.sorted[high];
                const bool descending = (low & run) == 0;
                if ((a < b) == descending) {
                    c.sorted[low] = b;
                    c.sorted[high] = a;
                }
            }
            __syncthreads();
        }
    }
}

// The smallest key of the shortest prefix, by size, of the keys between `least` and `most` whose number (or weight)
// reaches `target`; 0 where there is none. Histograms narrow the range down until what is left can be sorted.
__device__ __forceinline__ u64 find_cut(Cutting &c, const Items &items, const Source &source, const Weigh &weigh,
                                        bool by_weight, u64 least, u64 most, u64 target) {
    u32 inside = items.count;
    while (inside > SORTED) {
        u32 shift = 0;
        while ((most - least) >> shift >= SORTED) shift++;
        for (u32 i = threadIdx.x; i < SORTED; i += THREADS) c.count[i] = c.low[i] = c.high[i] = 0;
        __syncthreads();
        items.each(source, least, [&](u64 key) {
            if (key > most) return;
            const u32 bin = (u32)((most - key) >> shift);
            atomicAdd(&c.count[bin], 1);
            if (!by_weight) return;
            const u64 weight = weigh(key);
            const u32 low = (u32)weight, before = atomicAdd(&c.low[bin], low);
            const u32 high = (u32)(weight >> 32) + (before + low < low);
            if (high) atomicAdd(&c.high[bin], high);
        });
        __syncthreads();
        const bool found = crossing(c, target, [&](u32 i) {
            return by_weight ? ((u64)c.high[i] << 32) + c.low[i] : (u64)c.count[i];
        });
        if (!found) return 0;
        inside = c.count[c.bin];
        target -= c.before;
        most -= (u64)c.bin << shift;
        const u64 width = ((u64)1 << shift) - 1;
        if (most - least > width) least = most - width;
        // All have read before the next round writes.
        __syncthreads();
    }
    if (threadIdx.x == 0) c.collected = 0;
    __syncthreads();
    items.each(source, least, [&](u64 key) {
        if (key <= most) c.sorted[atomicAdd(&c.collected, 1)] = key;
    });
    __syncthreads();
    const u32 count = c.collected;
    sort(c, count);
    const bool found = crossing(c, target, [&](u32 i) {
        return i < count ? by_weight ? weigh(c.sorted[i]) : (u64)1 : (u64)0;
    });
    return found ? c.sorted[c.bin] : 0;
}

struct Shared {
    union {
        struct {
            union {
                float values[CHUNK];
                Quad quads[CHUNK / 4];
            };
            Top top;
        };
        Cutting cutting;
    };
    u64 leading[MOST_CHOSEN];
    u64 noisy[MOST_KEPT];
    u64 noisy_again[MOST_KEPT];
    u32 count;
    u32 base;
    float bar;
};

// The share `top_p` of a total, in whole units, at least one.
__device__ __forceinline__ u64 share_of(float top_p, u64 total) {
    const double share = ceil((double)top_p * (double)total);
    const u64 units = share < 1.0 ? 1 : (u64)share;
    return units < total ? units : total;
}

// Draws from the candidates, or where they do not suffice from the row, as far as top_k and top_p leave them.
__device__ __forceinline__ void draw_from_some(Cutting &c, const Request &r, const Source &source, const Weigh &weigh,
                                               u64 total, const Items &listed, const Items &row, Draw &draw) {
    const bool is_whole = listed.count <= CANDIDATES;
    Items items = is_whole ? listed : row;
    const auto weight_from = [&](u64 least) {
        u64 sum = 0, all;
        items.each(source, least, [&](u64 key) { sum += weigh(key); });
        block_scan(sum, all);
        return all;
    };
    const u64 most = key_of(weigh.max, 0);
    u64 least = 0;
    if (r.count > 0) {
        if (items.count < r.count) items = row;
        least = find_cut(c, items, source, weigh, false, 0, most, r.count);
        // top_p is then a share of what top_k left.
        if (r.top_p < 1.0f) total = weight_from(least);
    }
    if (r.top_p < 1.0f) {
        const u64 target = share_of(r.top_p, total);
        if (items.list && weight_from(least) < target) items = row;
        // What weighs less than a unit need not be looked at.
        const u64 lightest = key_of(weigh.max - 30.0f * r.temperature, TOKENS);
        const u64 cut = find_cut(c, items, source, weigh, true, lightest > least ? lightest : least, most, target);
        if (cut) least = cut;
    }
    items.each(source, least, [&](u64 key) { draw.consider(value_of(key), token_of(key)); });
    draw.join();
}

__device__ __forceinline__ Draw draw_of(const Request &r, volatile float *bar) {
    return {r.key, r.inverse, r.scale, bar, -INFINITY, NONE};
}

// What a block does: leaves what may matter of its chunk.
__device__ __forceinline__ void survey(const Select &a, const Request &r, Shared &shared) {
    const Source source = source_of(a, r);
    const Plan plan = plan_of(r, source.mixes);
    const u32 part_index = blockIdx.y * gridDim.x + blockIdx.x;
    const u32 first = blockIdx.x * CHUNK, size = min(CHUNK, a.vocab - first);
#pragma unroll
    for (u32 load = 0; load < CHUNK / THREADS / 4; load++) {
        const u32 at = (load * THREADS + threadIdx.x) * 4;
        // The room behind the vocabulary is part of the row.
        if (at >= size) continue;
        const Quad p = *(const Quad *)(source.p.row + first + at);
        float v[4] = {__uint_as_float(p.x) - source.p.shift, __uint_as_float(p.y) - source.p.shift,
                      __uint_as_float(p.z) - source.p.shift, __uint_as_float(p.w) - source.p.shift};
        if (source.mixes) {
            const Quad q = *(const Quad *)(source.q.row + first + at);
            v[0] = source.entry(v[0], __uint_as_float(q.x) - source.q.shift);
            v[1] = source.entry(v[1], __uint_as_float(q.y) - source.q.shift);
            v[2] = source.entry(v[2], __uint_as_float(q.z) - source.q.shift);
            v[3] = source.entry(v[3], __uint_as_float(q.w) - source.q.shift);
        }
        shared.quads[at / 4] = {__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]),
                                __float_as_uint(v[3])};
    }
    // The most probable tokens of the streams tell how large entries become.
    float likely = 0.0f, certainty = 0.0f;
    if (plan.draws || plan.cuts) {
        const u32 token = min(row_end(source.p.row, a.stride)->largest, a.vocab - 1);
        likely = source[token];
        certainty = source.p[token];
        if (plan.draws && threadIdx.x == 0)
            shared.bar = (float)(product((double)likely, r.inverse) + gumbel(random_bits(r.key, token)));
        if (source.mixes) {
            const u32 other = min(row_end(source.q.row, a.stride)->largest, a.vocab - 1);
            likely = fmaxf(likely, source[other]);
        }
    }
    if (threadIdx.x == 0) shared.count = 0;
    __syncthreads();

    const float *values = shared.values;
    u64 *kept = (u64 *)a.keys + (size_t)part_index * a.slots;
    if (plan.top > 0)
        keep_largest(shared.top, plan.top, size, [&](u32 i, u64) { return key_of(values[i], first + i); }, kept);
    if (plan.noisy > 0) {
        const auto noisy = [&](u32 i, u64 floor) -> u64 {
            const float entry = plan.tempers ? values[i] / r.temperature : values[i];
            const u64 bits = random_bits(r.key, first + i);
            const float bound = entry + slack_of(entry) + gumbel_bound(bits);
            if (ordered(bound) < floor >> TOKEN_BITS) return 0;
            return key_of((float)((double)entry + gumbel(bits)), first + i);
        };
        keep_largest(shared.top, plan.noisy, size, noisy, kept + plan.top);
    }
    Part part = {0.0, 0, 0, 0.0f, 0.0f, 0};
    if (plan.draws) {
        Draw draw = draw_of(r, &shared.bar);
        for (u32 i = threadIdx.x * 4; i < size; i += THREADS * 4) {
            // Four at a time, so that their random numbers do not wait for each other.
            const Quad v = shared.quads[i / 4];
            const float needed = *draw.bar;
            u32 contenders = draw.may_exceed(needed, __uint_as_float(v.x), first + i);
            contenders |= draw.may_exceed(needed, __uint_as_float(v.y), first + i + 1) << 1;
            contenders |= draw.may_exceed(needed, __uint_as_float(v.z), first + i + 2) << 2;
            contenders |= draw.may_exceed(needed, __uint_as_float(v.w), first + i + 3) << 3;
            for (u32 j = 0; contenders >> j; j++)
                if (contenders >> j & 1 && i + j < size) draw.evaluate(values[i + j], first + i + j);
        }
        draw.join();
        part.value = draw.value;
        part.token = draw.token;
    }
    if (plan.sums) {
        u32 largest = 0;
        for (u32 i = threadIdx.x; i < size; i += THREADS) largest = max(largest, ordered(values[i]));
        part.max = unordered((u32)block_max(largest));
        float sum = 0.0f;
        for (u32 i = threadIdx.x; i < size; i += THREADS) sum += expf((values[i] - part.max) * r.scale);
        part.sum = block_sum(sum);
    }
    if (r.signal != NONE && r.alternatives > 0) {
        const Stream plain = stream_of(a, r.plain);
        u64 favourite = 0;
        for (u32 i = threadIdx.x; i < size; i += THREADS) {
            const u64 key = key_of(plain[first + i], first + i);
            favourite = key > favourite ? key : favourite;
        }
        part.favourite = block_max(favourite);
    }
    if (plan.cuts) {
        u64 *candidates = (u64 *)a.candidates + (size_t)blockIdx.y * CANDIDATES;
        u32 *found = (u32 *)a.found + blockIdx.y;
        // What weighs e⁻¹² of the likely tokens or less is hardly ever within top_p. Where no token is likely at
        // temperature 1, the tail is long and needs less of it.
        const float reach = fmaxf(12.0f * r.temperature + certainty, 4.0f * r.temperature);
        const float floor = likely - reach;
        u32 mine = 0;
        for (u32 i = threadIdx.x; i < size; i += THREADS) mine += values[i] >= floor;
        u32 place = mine ? atomicAdd(&shared.count, mine) : 0;
        __syncthreads();
        if (threadIdx.x == 0 && shared.count > 0) shared.base = atomicAdd(found, shared.count);
        __syncthreads();
        if (mine) {
            place += shared.base;
            for (u32 i = threadIdx.x; i < size; i += THREADS) {
                if (values[i] < floor) continue;
                if (place < CANDIDATES) candidates[place] = key_of(values[i], first + i);
                place++;
            }
        }
    }
    if (threadIdx.x == 0) ((Part *)a.parts)[part_index] = part;
}

// What the last block of a selection does: makes the result of what all of them left. Everything is read again, as that
// costs less than the registers to keep it.
__device__ __forceinline__ void finish(const Select &a, const Request &r, Shared &shared) {
    const u32 chunks = gridDim.x, selection = blockIdx.y;
    const bool guided = r.signal != NONE;
    const Source source = source_of(a, r);
    const Plan plan = plan_of(r, source.mixes);
    const u64 *keys = (const u64 *)a.keys + (size_t)selection * chunks * a.slots;
    const Part *parts = (const Part *)a.parts + (size_t)selection * chunks;
    Draw draw = draw_of(r, &shared.bar);
    u32 *result = (u32 *)a.results + (size_t)selection * a.result;
    Chosen *chosen = (Chosen *)(result + 2);
    Leading *leading = (Leading *)(chosen + a.chosen);
    const Stream plain = stream_of(a, r.plain);
    const Stream signal = guided ? stream_of(a, r.signal) : plain;
    const auto choose = [&](u32 i, u32 token) {
        const float logprob = plain[token];
        chosen[i] = {token, logprob, signal[token], logprob, 0.0f};
    };
    if (plan.top > 0) {
        const auto fetch = [&](u32 i, u64) { return keys[(size_t)(i / plan.top) * a.slots + i % plan.top]; };
        keep_largest(shared.top, plan.top, chunks * plan.top, fetch, shared.leading);
    }
    Weigh weigh = {0.0f, r.scale};
    u64 total = 0;
    if (plan.sums) {
        u32 largest = 0;
        if (threadIdx.x < chunks) largest = ordered(parts[threadIdx.x].max);
        weigh.max = unordered((u32)block_max(largest));
        u64 sum = 0;
        if (threadIdx.x < chunks) {
            const Part &part = parts[threadIdx.x];
            sum = (u64)(part.sum * expf((part.max - weigh.max) * weigh.scale) * ONE);
        }
        block_scan(sum, total);
    }

    u32 tokens = 1;
    if (r.kind == GIVEN) {
        if (threadIdx.x == 0) choose(0, r.count);
    } else if (r.kind == BEST) {
        tokens = min(r.count, a.vocab);
        if (threadIdx.x < tokens) choose(threadIdx.x, token_of(shared.leading[threadIdx.x]));
    } else if (r.kind == PERTURBED) {
        tokens = min(r.count, a.vocab);
        const auto fetch = [&](u32 i, u64) {
            return keys[(size_t)(i / plan.noisy) * a.slots + plan.top + i % plan.noisy];
        };
        keep_largest(shared.top, plan.noisy, chunks * plan.noisy, fetch, shared.noisy);
        // Now the sums as they are told, normalised; these decide the order.
        float tempered = 0.0f, perturbed = 0.0f;
        u64 key = 0;
        u32 token = 0;
        if (threadIdx.x < plan.noisy) {
            key = shared.noisy[threadIdx.x];
            if (key) {
                token = token_of(key);
                const float temperature = plan.tempers ? r.temperature : 1.0f;
                tempered = source[token] / temperature;
                if (plan.sums) tempered -= weigh.max / temperature + logf((float)total / ONE);
                perturbed = (float)(r.score + (double)tempered + gumbel(random_bits(r.key, token)));
                key = key_of(perturbed, token);
            }
            shared.noisy_again[threadIdx.x] = key;
        }
        __syncthreads();
        if (key) {
            u32 rank = 0;
            for (u32 i = 0; i < plan.noisy; i++) rank += shared.noisy_again[i] > key;
            if (rank < tokens) chosen[rank] = {token, plain[token], signal[token], tempered, perturbed};
        }
    } else if (plan.draws) {
        if (threadIdx.x < chunks) draw.take(parts[threadIdx.x].value, parts[threadIdx.x].token);
        draw.join();
    } else if (plan.cuts) {
        u32 *found = (u32 *)a.found + selection;
        const u64 *candidates = (const u64 *)a.candidates + (size_t)selection * CANDIDATES;
        const Items listed = {candidates, *found}, row = {nullptr, a.vocab};
        if (threadIdx.x == 0) shared.bar = -INFINITY;
        __syncthreads();
        if (threadIdx.x == 0) *found = 0;
        draw_from_some(shared.cutting, r, source, weigh, total, listed, row, draw);
    } else if (r.temperature > 0.0f) {
        // A small top_k: the leading entries are what is drawn from.
        u32 left = min(r.count, a.vocab);
        if (r.top_p < 1.0f) {
            weigh.max = value_of(shared.leading[0]);
            u64 weights;
            block_scan(threadIdx.x < left ? weigh(shared.leading[threadIdx.x]) : 0, weights);
            const auto weight = [&](u32 i) { return i < left ? weigh(shared.leading[i]) : 0; };
            if (crossing(shared.cutting, share_of(r.top_p, weights), weight)) left = shared.cutting.bin + 1;
        }
        if (threadIdx.x == 0) shared.bar = -INFINITY;
        __syncthreads();
        if (threadIdx.x < left) {
            const u64 key = shared.leading[threadIdx.x];
            draw.consider(value_of(key), token_of(key));
        }
        draw.join();
    } else {
        draw.token = token_of(shared.leading[0]);
    }
    if (r.kind == DRAW && threadIdx.x == 0) choose(0, draw.token < a.vocab ? draw.token : 0);

    u32 told = min(r.alternatives, a.vocab);
    if (threadIdx.x < WARP && r.alternatives > 0) {
        const u32 lane = threadIdx.x, token = lane < told ? token_of(shared.leading[lane]) : NONE;
        if (lane < told) leading[lane] = {token, plain[token], signal[token]};
        if (guided) {
            u64 favourite = 0;
            for (u32 i = 0; i < chunks; i++) favourite = parts[i].favourite > favourite ? parts[i].favourite : favourite;
            const u32 extra = token_of(favourite);
            if (!__any_sync(EVERY_LANE, token == extra)) {
                if (lane == 0) leading[told] = {extra, plain[extra], signal[extra]};
                told++;
            }
        }
    }
    if (threadIdx.x == 0) {
        result[0] = tokens;
        result[1] = told;
    }
}

// blockIdx: chunk, selection.
extern "C" __global__ void __launch_bounds__(THREADS, 5) select_tokens(Select a) {
    __shared__ Shared shared;
    let_next_start();
    wait_for_previous();
    const Request &r = ((const Request *)a.requests)[blockIdx.y];
    if (r.kind == GIVEN && r.alternatives == 0) {
        // There is nothing to look for.
        if (blockIdx.x > 0) return;
    } else {
        survey(a, r, shared);
        if (!arrived_last((u32 *)a.arrived + blockIdx.y, gridDim.x)) return;
    }
    finish(a, r, shared);
}
KERNEL(select_tokens)
