// Copies of whole pages of keys and values, all layers at once. Bound by memory.
#include "layout.cuh"

struct CopyPages {
    u64 pages; // all pages of a layer's keys, then of its values, layer by layer
    u64 pairs; // u32 pairs: from, to
    u64 size;  // 16-byte pieces of a page
    u64 count; // pages
};
static_assert(sizeof(CopyPages) == 32, "as the Rust that launches it has it");

// blockIdx: pair, layer's keys or values.
extern "C" __global__ void __launch_bounds__(256) copy_pages(CopyPages a) {
    wait_for_previous();
    const Pair pair = ((const Pair *)a.pairs)[blockIdx.x];
    Quad *pages = (Quad *)a.pages + (u64)blockIdx.y * a.count * a.size;
    for (u64 i = threadIdx.x; i < a.size; i += 256) pages[pair.y * a.size + i] = pages[pair.x * a.size + i];
}
KERNEL(copy_pages)
