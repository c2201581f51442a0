// The beginning of a pass: the embeddings of its tokens, made ready for the first norm. Bound by the latency of a few
// loads.
#include "layout.cuh"

struct Embed {
    u64 pass;    // Pass
    u64 tokens;  // u32: numbers in the vocabulary
    u64 table;   // 16-bit values: [vocabulary][width]
    u64 norm;    // f32 weights of the first norm
    u64 stream;  // f32: [token][width]
    u64 x;       // activations
    u64 squares; // f32: [token][parts], sums of squares of 16 values each
    u32 width;
    u32 parts;
    u32 is_f16;  // else bf16
    u32 unused;
};
static_assert(sizeof(Embed) == 72, "as the Rust that launches it has it");

// The value of an f16 number, exactly.
__device__ __forceinline__ float f16_to_float(u32 bits) {
    const u32 sign = (bits & 0x8000) << 16, rest = bits & 0x7fff;
    // Shifted into place the exponent is 112 too small, also that of subnormal numbers after the product.
    return __uint_as_float(__float_as_uint(__uint_as_float(rest << 13) * 0x1p112f) | sign);
}

// A block a token; sixteen lanes share a part.
extern "C" __global__ void __launch_bounds__(256) embed(Embed a) {
    let_next_start();
    wait_for_previous();
    const u32 token = blockIdx.x;
    if (token >= ((const Pass *)a.pass)->tokens) return;
    const u16 *row = (const u16 *)a.table + (size_t)((const u32 *)a.tokens)[token] * a.width;
    const float *norm = (const float *)a.norm;
    for (u32 first = 0; first < a.parts * 16; first += 256) {
        const u32 i = first + threadIdx.x;
        float value = 0.0f;
        if (i < a.width) {
            value = a.is_f16 ? f16_to_float(row[i]) : bf16_low(row[i]);
            ((float *)a.stream)[(size_t)token * a.width + i] = value;
            ((u16 *)a.x)[activation_at(token, i, a.parts)] = to_bf16(value * norm[i]);
        }
        float squares = value * value;
        for (u32 step = 8; step > 0; step /= 2) squares += __shfl_xor_sync(EVERY_LANE, squares, step);
        if (i % 16 == 0 && i / 16 < a.parts) ((float *)a.squares)[(size_t)token * a.parts + i / 16] = squares;
    }
}
KERNEL(embed)
