//! The kernels alone: `cargo bench --bench kernels`, or `cargo bench --bench kernels -- matmul/Q4K`.
//!
//! The matrix has the shape of a feed-forward layer of a 0.5B model. Products and attention report the multiply-adds' two
//! operations a second as "elements"; the others report the vocabulary's entries. `vigor bench` says what all of
//! them come to together.

use std::hint::black_box;

use candle_core::quantized::QTensor;
use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use vigor::engine::{Guidance, RngKey, Sampling};
use vigor::model::cpu::PackedMatrix;
use vigor::model::cpu::attention::{Aligned, HeadShape, KvLayer, PAGE, Query, attend};
use vigor::model::cpu::matmul::{Product, Scratch, matmul};
use vigor::model::cpu::ops::log_softmax;
use vigor::model::cpu::packed::MatrixView;
use vigor::model::quant::WeightType;
use vigor::model::sampling::sampler;
use vigor::team::Team;

/// Output channels and input channels of the matrix: whole blocks of every type.
const SHAPE: (usize, usize) = (4864, 1024);
/// Rows of activations: one sequence, branches, a piece of a prompt.
const ROWS: [usize; 6] = [1, 4, 8, 16, 64, 256];
/// Entries of a row of logits.
const VOCAB: usize = 151_936;

/// Numbers that look like noise, the same in every run.
fn noise(len: usize) -> Vec<f32> {
    let key = RngKey::new(7);
    (0..len as u64).map(|i| (key.uniform(i) * 2.0 - 1.0) as f32).collect()
}

fn products(c: &mut Criterion) {
    let (rows, cols) = SHAPE;
    let weights = Tensor::from_vec(noise(rows * cols), (rows, cols), &Device::Cpu).expect("a matrix");
    let mut group = c.benchmark_group("matmul");
    let types = WeightType::ALL.into_iter().filter_map(|dtype| Some((dtype, dtype.candle()?)));
    for (dtype, candles) in types {
        let quantized = QTensor::quantize(&weights, candles).expect("a type that candle quantises");
        let bytes = quantized.data().expect("on the CPU");
        let packed = PackedMatrix::pack(&MatrixView::new(dtype, rows, cols, &bytes));
        for n in ROWS {
            let (x, mut out) = (noise(n * cols), vec![0.0; n * rows]);
            let mut scratch = Scratch::default();
            group.throughput(Throughput::Elements((2 * n * rows * cols) as u64));
            group.bench_function(BenchmarkId::new(format!("{dtype:?}"), n), |b| {
                b.iter(|| {
                    let mut products = [Product { weights: &packed, out: &mut out }];
                    matmul(black_box(&x), n, &mut products, &mut scratch);
                });
            });
        }
    }
}

/// One layer of a 0.5B model: rows that share a context, and a prompt's rows, each of which sees one position more.
fn attention(c: &mut Criterion) {
    let shape = HeadShape::new(14, 2, 64);
    let mut group = c.benchmark_group("attention");
    for context in [256usize, 1024, 4096] {
        let pages: Vec<u32> = (0..context.div_ceil(PAGE) as u32).collect();
        let [mut k, mut v] = [(); 2].map(|()| Aligned::zeros(pages.len() * shape.page_size()));
        k.copy_from_slice(&noise(pages.len() * shape.page_size()));
        v.copy_from_slice(&k);
        let layer = KvLayer { shape, k: &k, v: &v, cap: None };
        for (name, rows) in [("branches", 1), ("branches", 8), ("branches", 32), ("prompt", 256)] {
            let len = |row: usize| if name == "prompt" { context - rows + row + 1 } else { context };
            let queries: Vec<Query<'_>> =
                (0..rows).map(|row| Query { pages: &pages, from: 0, len: len(row) }).collect();
            let q = noise(rows * shape.heads * shape.head_dim);
            let mut out = vec![0.0; q.len()];
            let positions: usize = (0..rows).map(len).sum();
            group.throughput(Throughput::Elements((4 * shape.heads * shape.head_dim * positions) as u64));
            group.bench_function(BenchmarkId::new(format!("{name}/{rows}"), context), |b| {
                b.iter(|| attend(layer, black_box(&queries), &q, &mut out));
            });
        }
    }
}

fn vocabulary(c: &mut Criterion) {
    let logprobs = |seed: f32| {
        let mut row: Vec<f32> = noise(VOCAB).iter().map(|x| 12.0 * (x * seed).sin()).collect();
        log_softmax(&mut row);
        row
    };
    let (p, q) = (logprobs(1.0), logprobs(3.0));
    let mut group = c.benchmark_group("vocabulary");
    group.throughput(Throughput::Elements(VOCAB as u64));
    let mut row = p.clone();
    group.bench_function("log_softmax", |b| b.iter(|| log_softmax(black_box(&mut row))));
    let candidates = Sampling { temperature: 0.8, top_p: 0.95, top_k: 0 };
    let ways = [
        ("greedy", Sampling::GREEDY),
        ("temperature", Sampling { top_p: 1.0, ..candidates }),
        ("top_p", candidates),
        ("top_k", Sampling { top_p: 1.0, top_k: 50, ..candidates }),
    ];
    for (name, sampling) in ways {
        let mut position = 0;
        group.bench_function(BenchmarkId::new("draw", name), |b| {
            b.iter(|| {
                position += 1;
                sampler::draw(black_box(&p), sampling, RngKey::new(1).with(position))
            });
        });
    }
    let mut mixed = Vec::new();
    let guidance = Guidance { gamma: 3.0, epsilon: 1e-8 };
    group.bench_function("mix", |b| {
        b.iter(|| black_box(guidance.mix(black_box(&p), &q, &mut mixed)[0]));
    });
}

fn settings() -> Criterion {
    use std::time::Duration;
    Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
}

criterion_group! { name = kernels; config = settings(); targets = products, attention, vocabulary }

fn main() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Team::new(threads).install(kernels);
    Criterion::default().configure_from_args().final_summary();
}
