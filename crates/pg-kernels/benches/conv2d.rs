//! The three passes of convolutions of VGG16 and ResNet-50, batch 8 at 224 pixels: `cargo bench -p pg-kernels`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use pg_kernels::{Conv2dGeometry, Conv2dOptions, conv2d};
use std::hint::black_box;

/// Channels, filters, side of the input, side of the kernel, stride.
const SHAPES: [[usize; 5]; 10] = [
    [3, 64, 224, 7, 2],
    [64, 64, 224, 3, 1],
    [64, 64, 56, 3, 1],
    [256, 256, 56, 3, 1],
    [128, 128, 28, 3, 1],
    [512, 512, 28, 3, 1],
    [512, 512, 14, 3, 1],
    [512, 512, 7, 3, 1],
    [256, 64, 56, 1, 1],
    [512, 2048, 7, 1, 1],
];

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}

fn convolutions(criterion: &mut Criterion) {
    for [channels, filters, side, window, stride] in SHAPES {
        let options = Conv2dOptions {
            stride: (stride, stride),
            padding: (window / 2, window / 2),
            ..Conv2dOptions::default()
        };
        let kernel = [filters, channels, window, window];
        let Ok(g) = Conv2dGeometry::new([8, channels, side, side], kernel, options) else { continue };
        let (x, w, dy) = (numbers(g.input_len()), numbers(g.kernel_len()), numbers(g.output_len()));
        let mut group = criterion.benchmark_group("conv2d");
        group.sample_size(10);
        let products = g.output_len() * channels * window * window;
        group.throughput(Throughput::Elements(2 * products as u64));
        let name = format!("{channels}x{side} to {filters}, {window}x{window}/{stride}");
        group.bench_function(BenchmarkId::new("forward", &name), |b| {
            b.iter(|| conv2d::forward(&g, black_box(&x), &w));
        });
        group.bench_function(BenchmarkId::new("input gradient", &name), |b| {
            b.iter(|| conv2d::input_gradient(&g, black_box(&dy), &w));
        });
        group.bench_function(BenchmarkId::new("weight gradient", &name), |b| {
            b.iter(|| conv2d::weight_gradient(&g, black_box(&x), &dy));
        });
    }
}

criterion_group!(benches, convolutions);
criterion_main!(benches);
