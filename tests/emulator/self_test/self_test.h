// What the kernels of the self test take.
#pragma once

struct MultiplyArguments {
    // For each warp 16 × 16 and 16 × 8 bf16 values, by rows, and 16 × 8 floats to add to, `times` times.
    const unsigned short *a, *b;
    float *d;
    unsigned times;
};

struct ShuffleArguments {
    // Eight values a lane.
    unsigned *out;
};

struct SumArguments {
    const float *values;
    float *block_sums;
    float *sum;
    unsigned *counter;
    unsigned count;
};

struct AddArguments {
    unsigned *at;
    unsigned value;
};

struct AccessArguments {
    unsigned *at;
    long long index;
};

struct BarrierArguments {
    unsigned *out;
    unsigned rounds;
    unsigned skip;
};
