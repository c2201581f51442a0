// Products of a pass's activations with one weight matrix, and what follows them in the decoder.
//
// Bound by reading the weights, up to about 64 tokens: they lie in memory in the order in which the lanes want them, so
// every load of a warp is 512 bytes in a row, and nothing goes through shared memory but the final sums. Activations are
// small and come from the caches.
//
// The inputs are always cut into SLICES, each slice is one chain of tensor-core products, and the slices are added as a
// tree. How many tokens are computed together, and how blocks share the slices, changes nothing in that order: so a
// token's result does not depend on what else is in the pass, to the bit.
#include "layout.cuh"

constexpr u32 SLICES = 8;
constexpr u32 WARPS = 8;

// What is done with the sums.
constexpr u32 LOGITS = 0;   // written, in f32, to the rows of the wanted tokens
constexpr u32 HEADS = 1;    // queries, keys and values: turned by their position; keys and values go to their page
constexpr u32 RESIDUAL = 2; // added to the residual stream, which is made ready for the next norm
constexpr u32 GATE = 3;     // silu(gate) · up

struct Linear {
    u64 weights;      // fragments: [row tile][unit][lane], 16 bytes each
    u64 scales;       // quantised: [row tile][group][8] pairs of f32 (rows r and r + 8)
    u64 offsets;      // as scales, or 0
    u64 x;            // input activations
    u64 bias;         // f32, 16 a row tile; or 0
    u64 pass;         // Pass
    u64 token_of;     // u32 a row: which token of the input it is; 0: its own number
    u64 squares;      // sums of squares of the input, `parts` a token, for its norm; 0: no norm
    u64 partial;      // room for the sums of blocks that share a row tile
    u64 counters;     // u32, zero
    u32 row_tiles;    // 16 outputs each
    u32 k_tiles;      // 16 inputs each
    u32 units;        // 16-byte loads of a lane over all inputs
    u32 parts;        // of `squares`
    float width;      // inputs that the norm is over
    float epsilon;    // of the norm
    u32 zero;         // 4-bit weights: what is taken from the integers
    u32 task;         // LOGITS …
    u64 out;          // LOGITS: u64 addresses of slabs of rows · HEADS: queries, bf16 · GATE: activations
    u64 rows;         // LOGITS: u32 number of each wanted row · RESIDUAL: f32 stream · HEADS: u32 positions
    u64 keys;         // HEADS: pages · RESIDUAL: f32 weights of the next norm · LOGITS: unused
    u64 values;       // HEADS: pages · RESIDUAL: activations for the next product
    u64 places;       // HEADS: u32 page × PAGE + place in it · RESIDUAL: sums of squares of the stream
    u64 angles;       // HEADS: cosine and sine, f32 pairs, head_dim / 2 a position
    u32 outputs;      // LOGITS: vocabulary · RESIDUAL: width · GATE: width
    u32 stride;       // LOGITS: f32 values a row
    u32 heads;        // HEADS: query heads
    u32 kv_heads;     // HEADS: key heads
    u32 dim_tiles;    // HEADS: head_dim / 16
    u32 first_tile;   // HEADS: of all heads, that of these weights' first row tile
    u32 out_tiles;    // GATE, RESIDUAL: 16 values each of the activations written
};
static_assert(sizeof(Linear) == 192, "as the Rust that launches it has it");

// The ways in which weights lie in memory. A unit is what a lane loads at once: TILES tiles of 16 × 16 weights. GROUP
// tiles share scales; 0: there are none.
struct Bf16 {
    static constexpr u32 TILES = 1, GROUP = 0;
    static constexpr bool OFFSETS = false;
    static __device__ __forceinline__ Quad tile(const Quad &unit, u32, u32) { return unit; }
};

// Unsigned bytes whose zero is 128.
__device__ __forceinline__ u32 bytes_to_bf16(u32 two, u32 selector_low, u32 selector_high) {
    // A byte in the last bits of 2²³ is a float that is that much larger.
    const float zero = 8388608.0f + 128.0f;
    const float low = __uint_as_float(__byte_perm(two, 0x4b000000, selector_low)) - zero;
    const float high = __uint_as_float(__byte_perm(two, 0x4b000000, selector_high)) - zero;
    return pack_bf16(low, high);
}

template <u32 TILES_A_GROUP, bool HAS_OFFSETS> struct Bytes {
    static constexpr u32 TILES = 2, GROUP = TILES_A_GROUP;
    static constexpr bool OFFSETS = HAS_OFFSETS;
    static __device__ __forceinline__ Quad tile(const Quad &unit, u32 index, u32) {
        const u32 first = index == 0 ? unit.x : unit.z, second = index == 0 ? unit.y : unit.w;
        // Selectors take byte 0 … 3 of the word, and 0x4b with two zeros of the constant.
        return {bytes_to_bf16(first, 0x7440, 0x7441), bytes_to_bf16(first, 0x7442, 0x7443),
                bytes_to_bf16(second, 0x7440, 0x7441), bytes_to_bf16(second, 0x7442, 0x7443)};
    }
};

// Four bits each: those of a register's low half in the low half of the word.
__device__ __forceinline__ u32 nibbles_to_bf16(u32 word, u32 register_index, u32 zero) {
    // Four bits in the mantissa of 128 add as much.
    const u32 shifted = (word >> (4 * register_index) & 0x000f000f) | 0x43004300;
#ifdef VIGOR_EMULATION
    return pack_bf16(bf16_low(shifted) - 128.0f - (float)zero, bf16_high(shifted) - 128.0f - (float)zero);
#else
    const u32 one = 0x3f803f80, minus = (0xc300 + zero) * 0x00010001; // −(128 + zero)
    u32 out;
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(out) : "r"(shifted), "r"(one), "r"(minus));
    return out;
#endif
}

template <bool HAS_OFFSETS> struct Nibbles {
    static constexpr u32 TILES = 4, GROUP = 2;
    static constexpr bool OFFSETS = HAS_OFFSETS;
    static __device__ __forceinline__ Quad tile(const Quad &unit, u32 index, u32 zero) {
        const u32 word = index == 0 ? unit.x : index == 1 ? unit.y : index == 2 ? unit.z : unit.w;
        return {nibbles_to_bf16(word, 0, zero), nibbles_to_bf16(word, 1, zero), nibbles_to_bf16(word, 2, zero),
                nibbles_to_bf16(word, 3, zero)};
    }
};

// What a lane loads at once: weights, and the scales of their groups (rows r and r + 8).
template <class Format> struct Unit {
    static constexpr u32 GROUPS = Format::GROUP == 0 ? 0 : Format::TILES / Format::GROUP;
    Quad weights;
    Pair scales[GROUPS == 0 ? 1 : GROUPS], offsets[Format::OFFSETS ? GROUPS : 1];
};

// The weights of a row tile, as a lane sees them.
template <class Format> struct Weights {
    const Quad *weights;
    const Pair *scales, *offsets;

    __device__ __forceinline__ Weights(const Linear &a, u32 row_tile) {
        const u32 lane = threadIdx.x % WARP;
        const size_t group = (size_t)row_tile * a.units * Unit<Format>::GROUPS * 8 + lane / 4;
        weights = (const Quad *)a.weights + (size_t)row_tile * a.units * WARP + lane;
        scales = (const Pair *)a.scales + group;
        offsets = (const Pair *)a.offsets + group;
    }

    __device__ __forceinline__ void load(Unit<Format> &unit, u32 number) const {
        unit.weights = load_once(weights + (size_t)number * WARP);
        if constexpr (Format::GROUP > 0)
#pragma unroll
            for (u32 g = 0; g < Unit<Format>::GROUPS; g++) {
                const size_t at = (size_t)(number * Unit<Format>::GROUPS + g) * 8;
                unit.scales[g] = load_once(scales + at);
                if constexpr (Format::OFFSETS) unit.offsets[g] = load_once(offsets + at);
            }
    }
};

// The products of one warp: one row tile, NT tiles of eight tokens.
template <class Format, u32 NT> struct Products {
    // Units that are on their way while others are computed. Where they bring scales, there is room for fewer.
    static constexpr u32 AHEAD = (NT <= 2 ? 8 : 4) / (Format::GROUP == 0 ? 1 : Format::OFFSETS && Format::TILES == 4 ? 4 : 2);
    typedef Unit<Format> Units[AHEAD];
    float sums[NT][4];

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (u32 n = 0; n < NT; n++)
#pragma unroll
            for (u32 i = 0; i < 4; i++) sums[n][i] = 0.0f;
    }

    __device__ __forceinline__ void add(const Products &other) {
#pragma unroll
        for (u32 n = 0; n < NT; n++)
#pragma unroll
            for (u32 i = 0; i < 4; i++) sums[n][i] += other.sums[n][i];
    }

    static __device__ __forceinline__ void load(Units &units, const Weights<Format> &weights, u32 number, u32 end) {
#pragma unroll
        for (u32 i = 0; i < AHEAD; i++)
            if (number + i < end) weights.load(units[i], number + i);
    }

    // Adds one unit. `x[n]` is the place of the lane's inputs of token tile n.
    __device__ __forceinline__ void unit(const Linear &a, const Unit<Format> &unit, u32 number, const Pair *inputs,
                                         const u32 (&x)[NT]) {
        if constexpr (Format::GROUP == 0) {
#pragma unroll
            for (u32 n = 0; n < NT; n++) {
                const Pair b = inputs[x[n] + number * WARP];
                mma(sums[n], unit.weights, b.x, b.y);
            }
        } else {
            const Quad ones = {0x3f803f80, 0x3f803f80, 0x3f803f80, 0x3f803f80};
#pragma unroll
            for (u32 g = 0; g < Unit<Format>::GROUPS; g++) {
                Quad tiles[Format::GROUP];
#pragma unroll
                for (u32 j = 0; j < Format::GROUP; j++)
                    tiles[j] = Format::tile(unit.weights, g * Format::GROUP + j, a.zero);
#pragma unroll
                for (u32 n = 0; n < NT; n++) {
                    float integers[4] = {0, 0, 0, 0}, inputs_sum[4] = {0, 0, 0, 0};
#pragma unroll
                    for (u32 j = 0; j < Format::GROUP; j++) {
                        const u32 tile = number * Format::TILES + g * Format::GROUP + j;
                        // The last unit may be longer than the inputs; its weights are zero.
                        const Pair b = inputs[x[n] + min(tile, a.k_tiles - 1) * WARP];
                        mma(integers, tiles[j], b.x, b.y);
                        if constexpr (Format::OFFSETS) mma(inputs_sum, ones, b.x, b.y);
                    }
#pragma unroll
                    for (u32 i = 0; i < 4; i++) {
                        const Pair &scale = unit.scales[g];
                        sums[n][i] = fmaf(__uint_as_float(i < 2 ? scale.x : scale.y), integers[i], sums[n][i]);
                        if constexpr (Format::OFFSETS) {
                            const Pair &offset = unit.offsets[g];
                            sums[n][i] = fmaf(__uint_as_float(i < 2 ? offset.x : offset.y), inputs_sum[i], sums[n][i]);
                        }
                    }
                }
            }
        }
    }

    // One slice, whose first units are loaded.
    __device__ __forceinline__ void slice(const Linear &a, Units &loaded, const Weights<Format> &weights, u32 first,
                                          u32 end, const Pair *inputs, const u32 (&x)[NT]) {
        clear();
        for (u32 number = first; number < end; number += AHEAD) {
            Units next;
            load(next, weights, number + AHEAD, end);
#pragma unroll
            for (u32 i = 0; i < AHEAD; i++)
                if (number + i < end) unit(a, loaded[i], number + i, inputs, x);
#pragma unroll
            for (u32 i = 0; i < AHEAD; i++) loaded[i] = next[i];
        }
    }
};

__device__ __forceinline__ u32 slice_begin(u32 slice, u32 units) {
    return (u32)((u64)slice * units / SLICES);
}

// The tree over COUNT slices from `slice` on.
template <class Format, u32 NT, u32 COUNT>
__device__ __forceinline__ void slices(Products<Format, NT> &out, const Linear &a,
                                       typename Products<Format, NT>::Units &loaded, const Weights<Format> &weights,
                                       u32 slice, const Pair *inputs, const u32 (&x)[NT]) {
    if constexpr (COUNT == 1) {
        out.slice(a, loaded, weights, slice_begin(slice, a.units), slice_begin(slice + 1, a.units), inputs, x);
    } else {
        slices<Format, NT, COUNT / 2>(out, a, loaded, weights, slice, inputs, x);
        Products<Format, NT> second;
        const u32 half = slice + COUNT / 2;
        Products<Format, NT>::load(loaded, weights, slice_begin(half, a.units), slice_begin(half + 1, a.units));
        slices<Format, NT, COUNT / 2>(second, a, loaded, weights, half, inputs, x);
        out.add(second);
    }
}

// 1 / sqrt(mean of squares + epsilon) of the tokens of a block, for which its warps share the work: each lane adds up its
// part of several tokens side by side.
template <u32 TOKENS> __device__ __forceinline__ void inverse_norms(const Linear &a, u32 first, u32 tokens, float *out) {
    constexpr u32 EACH = TOKENS / WARPS;
    const u32 *token_of = (const u32 *)a.token_of;
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const float *squares[EACH];
    float sums[EACH];
#pragma unroll
    for (u32 i = 0; i < EACH; i++) {
        const u32 row = min(first + warp + i * WARPS, tokens - 1);
        squares[i] = (const float *)a.squares + (size_t)(token_of ? token_of[row] : row) * a.parts;
        sums[i] = 0.0f;
    }
    for (u32 part = lane; part < a.parts; part += WARP)
#pragma unroll
        for (u32 i = 0; i < EACH; i++) sums[i] += squares[i][part];
#pragma unroll
    for (u32 i = 0; i < EACH; i++) {
        const float value = 1.0f / sqrtf(warp_sum(sums[i]) / a.width + a.epsilon);
        if (lane == 0) out[warp + i * WARPS] = value;
    }
}

// What becomes of two sums: those of outputs `row` and `row + 8` of a row tile. Eight neighbouring lanes hold the rows of
// one token; all lanes of a warp call it, and those of rows that the pass does not have pass `live` = false.
__device__ __forceinline__ void finish(const Linear &a, u32 token, bool live, u32 row_tile, u32 row, float low, float high) {
    if (a.bias) {
        const float *bias = (const float *)a.bias + row_tile * 16 + row;
        low += bias[0];
        high += bias[8];
    }
    if (a.task == LOGITS) {
        if (!live) return;
        float *out = row_at(a.out, a.stride, ((const u32 *)a.rows)[token]);
        const u32 at = row_tile * 16 + row;
        if (at < a.outputs) out[at] = low;
        if (at + 8 < a.outputs) out[at + 8] = high;
    } else if (a.task == HEADS) {
        if (!live) return;
        const u32 head = (a.first_tile + row_tile) / a.dim_tiles, tile = (a.first_tile + row_tile) % a.dim_tiles, dim = a.dim_tiles * 16;
        if (head < a.heads + a.kv_heads) {
            // Rows r and r + 8 are the two that turn together.
            const Pair *angles = (const Pair *)a.angles + (size_t)((const u32 *)a.rows)[token] * (dim / 2);
            const Pair angle = angles[tile * 8 + row];
            const float cosine = __uint_as_float(angle.x), sine = __uint_as_float(angle.y);
            const float turned = low * cosine - high * sine;
            high = low * sine + high * cosine;
            low = turned;
        }
        const u32 d = tile * 16 + row;
        if (head < a.heads) {
            u16 *q = (u16 *)a.out + ((size_t)token * a.heads + head) * dim + d;
            q[0] = to_bf16(low);
            q[8] = to_bf16(high);
            return;
        }
        const u32 place = ((const u32 *)a.places)[token];
        const bool is_key = head < a.heads + a.kv_heads;
        const u32 kv_head = head - a.heads - (is_key ? 0 : a.kv_heads);
        const size_t page = ((size_t)(place / PAGE) * a.kv_heads + kv_head) * PAGE * dim;
        if (is_key) {
            u16 *k = (u16 *)a.keys + page;
            k[key_at(place % PAGE, d, a.dim_tiles)] = to_bf16(low);
            k[key_at(place % PAGE, d + 8, a.dim_tiles)] = to_bf16(high);
        } else {
            u16 *v = (u16 *)a.values + page;
            v[value_at(place % PAGE, d, a.dim_tiles)] = to_bf16(low);
            v[value_at(place % PAGE, d + 8, a.dim_tiles)] = to_bf16(high);
        }
    } else if (a.task == RESIDUAL) {
        float *stream = (float *)a.rows + (size_t)token * a.outputs;
        const float *norm = (const float *)a.keys;
        u16 *next = (u16 *)a.values;
        const u32 at = row_tile * 16 + row;
        float squares = 0.0f;
        if (live && at < a.outputs) {
            const float value = stream[at] + low;
            stream[at] = value;
            next[activation_at(token, at, a.out_tiles)] = to_bf16(value * norm[at]);
            squares = value * value;
        }
        if (live && at + 8 < a.outputs) {
            const float value = stream[at + 8] + high;
            stream[at + 8] = value;
            next[activation_at(token, at + 8, a.out_tiles)] = to_bf16(value * norm[at + 8]);
            squares = fmaf(value, value, squares);
        }
        for (u32 step = 4; step > 0; step /= 2) squares += __shfl_xor_sync(EVERY_LANE, squares, step);
        if (live && row == 0) ((float *)a.places)[(size_t)token * a.row_tiles + row_tile] = squares;
    } else if (a.task == GATE) {
        const u32 at = row_tile * 8 + row;
        if (!live || at >= a.outputs) return;
        const float gated = low / (1.0f + expf(-low)) * high;
        ((u16 *)a.out)[activation_at(token, at, a.out_tiles)] = to_bf16(gated);
    }
}

// Bytes of a warp's weights that are asked for ahead of time at most: all blocks together must not fill the cache.
constexpr u32 MOST_PREFETCHED = 16384;

// Blocks of eight warps: ROWS row tiles, the other way the slices, COUNT a warp. blockIdx: row tiles, parts of the
// slices, groups of NT · 8 tokens; where a block goes through many slices (COUNT > 1) the groups come first, so that those
// of the same weights run side by side.
template <class Format, u32 NT, u32 ROWS, u32 COUNT> __device__ __forceinline__ void linear(const Linear &a) {
    constexpr u32 ACROSS = WARPS / ROWS;                 // warps that share a row tile
    constexpr u32 BLOCKS = SLICES / (ACROSS * COUNT);    // blocks that share a row tile
    constexpr u32 TOKENS = NT * 8, PADDED = 20;          // so that lanes write to different banks
    __shared__ float sums[WARPS][TOKENS * PADDED];
    __shared__ float inverse[TOKENS];

    const u32 tile_block = COUNT > 1 ? blockIdx.z : blockIdx.x, token_block = COUNT > 1 ? blockIdx.x : blockIdx.z;
    const u32 tile_blocks = COUNT > 1 ? gridDim.z : gridDim.x;
    const u32 warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const u32 row_tile = tile_block * ROWS + warp % ROWS;
    const u32 slice = (blockIdx.y * ACROSS + warp / ROWS) * COUNT;
    const u32 first_token = token_block * TOKENS;

    let_next_start();
    // While the kernel before this one ends, the first weights are loaded and the next ones come nearer.
    typename Products<Format, NT>::Units loaded;
    const Weights<Format> weights(a, min(row_tile, a.row_tiles - 1));
    const u32 begin = slice_begin(slice, a.units), ahead = min(begin + Products<Format, NT>::AHEAD, slice_begin(slice + 1, a.units));
    Products<Format, NT>::load(loaded, weights, begin, slice_begin(slice + 1, a.units));
    prefetch(weights.weights - lane + (size_t)ahead * WARP,
             min((slice_begin(slice + COUNT, a.units) - ahead) * WARP * (u32)sizeof(Quad), MOST_PREFETCHED));
    // What the pass is about was written before it began.
    const Pass *pass = (const Pass *)a.pass;
    const u32 tokens = a.task == LOGITS ? pass->wanted : pass->tokens;
    const u32 *token_of = (const u32 *)a.token_of;
    u32 x[NT];
#pragma unroll
    for (u32 n = 0; n < NT; n++) {
        // Rows that the pass does not have compute with the last one's inputs, for nothing.
        const u32 row = min(first_token + n * 8 + lane / 4, tokens - 1);
        const u32 token = token_of ? token_of[row] : row;
        x[n] = token / 8 * a.k_tiles * WARP + token % 8 * 4 + lane % 4;
    }
    wait_for_previous();
    if (first_token >= tokens) return;
    if (a.squares && BLOCKS == 1) inverse_norms<TOKENS>(a, first_token, tokens, inverse);
    Products<Format, NT> products;
    slices<Format, NT, COUNT>(products, a, loaded, weights, slice, (const Pair *)a.x, x);

    const u32 group = lane / 4, member = lane % 4;
#pragma unroll
    for (u32 n = 0; n < NT; n++)
#pragma unroll
        for (u32 i = 0; i < 4; i++)
            sums[warp][(n * 8 + member * 2 + i % 2) * PADDED + group + i / 2 * 8] = products.sums[n][i];
    __syncthreads();

    constexpr u32 PAIRS = ROWS * TOKENS * 8;
    const auto tree = [&](u32 pair, u32 row) {
        const u32 at = pair / 8 % TOKENS * PADDED + row, tile = pair / (8 * TOKENS);
        float values[ACROSS];
#pragma unroll
        for (u32 i = 0; i < ACROSS; i++) values[i] = sums[i * ROWS + tile][at];
#pragma unroll
        for (u32 step = 1; step < ACROSS; step *= 2)
#pragma unroll
            for (u32 i = 0; i + step < ACROSS; i += 2 * step) values[i] += values[i + step];
        return values[0];
    };
    Pair *partial = (Pair *)a.partial + (size_t)(token_block * tile_blocks + tile_block) * BLOCKS * PAIRS;
    if constexpr (BLOCKS > 1) {
        for (u32 pair = threadIdx.x; pair < PAIRS; pair += WARPS * WARP)
            partial[blockIdx.y * PAIRS + pair] = {__float_as_uint(tree(pair, pair % 8)), __float_as_uint(tree(pair, pair % 8 + 8))};
        if (!arrived_last((u32 *)a.counters + token_block * tile_blocks + tile_block, BLOCKS)) return;
        if (a.squares) inverse_norms<TOKENS>(a, first_token, tokens, inverse);
        __syncthreads();
    }
    for (u32 pair = threadIdx.x; pair < PAIRS; pair += WARPS * WARP) {
        float low, high;
        if constexpr (BLOCKS > 1) {
            float lows[BLOCKS], highs[BLOCKS];
#pragma unroll
            for (u32 i = 0; i < BLOCKS; i++) {
                const Pair part = load_others(partial + i * PAIRS + pair);
                lows[i] = __uint_as_float(part.x);
                highs[i] = __uint_as_float(part.y);
            }
#pragma unroll
            for (u32 step = 1; step < BLOCKS; step *= 2)
#pragma unroll
                for (u32 i = 0; i + step < BLOCKS; i += 2 * step) {
                    lows[i] += lows[i + step];
                    highs[i] += highs[i + step];
                }
            low = lows[0];
            high = highs[0];
        } else {
            low = tree(pair, pair % 8);
            high = tree(pair, pair % 8 + 8);
        }
        const u32 t = pair / 8 % TOKENS, tile = tile_block * ROWS + pair / (8 * TOKENS);
        const bool live = first_token + t < tokens && tile < a.row_tiles;
        if (a.squares && live) {
            low *= inverse[t];
            high *= inverse[t];
        }
        finish(a, first_token + t, live, min(tile, a.row_tiles - 1), pair % 8, low, high);
    }
}

// Blocks of `many` tokens go through all slices: for prompts, and for so many outputs that there are blocks enough.
#define LINEAR(name, Format, MANY)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256, 2) name##_8(Linear a) { linear<Format, 1, 1, 1>(a); }                \
    KERNEL(name##_8)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(256, 2) name##_16(Linear a) { linear<Format, 2, 1, 1>(a); }               \
    KERNEL(name##_16)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256, 2) name##_32(Linear a) { linear<Format, 4, 2, 1>(a); }               \
    KERNEL(name##_32)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256, 1) name##_64(Linear a) { linear<Format, 8, 4, 1>(a); }               \
    KERNEL(name##_64)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256, 1) name##_many(Linear a) { linear<Format, MANY / 8, 4, 4>(a); }      \
    KERNEL(name##_many)

typedef Bytes<2, false> BytesBy32;
typedef Bytes<2, true> BytesBy32Offset;
typedef Bytes<1, false> BytesBy16;
typedef Nibbles<false> NibblesBy32;
typedef Nibbles<true> NibblesBy32Offset;

LINEAR(linear_bf16, Bf16, 64)
LINEAR(linear_bytes, BytesBy32, 32)
LINEAR(linear_bytes_offset, BytesBy32Offset, 32)
LINEAR(linear_bytes_16, BytesBy16, 32)
LINEAR(linear_nibbles, NibblesBy32, 32)
LINEAR(linear_nibbles_offset, NibblesBy32Offset, 32)
