//! The kernels that memory bounds, on a ResNet-50's activations (8 x 256 x 56 x 56): `cargo bench -p pg-kernels --bench memory`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pg_kernels::batch_norm::{self, Moments};
use pg_kernels::{ChannelGeometry, Pool2dGeometry, Pool2dOptions, channels, elementwise, max_pool2d, zeros};
use std::hint::black_box;

const SHAPE: [usize; 4] = [8, 256, 56, 56];

fn numbers(len: usize, salt: usize) -> Vec<f32> {
    (0..len).map(|i| ((i + salt) * 7919 % 1009) as f32 / 504.5 - 1.0).collect()
}

fn normalisation(criterion: &mut Criterion) {
    let Ok(g) = ChannelGeometry::new(&SHAPE) else { return };
    let (n, c) = (g.elements(), g.channels());
    let (x, dy, v, w, b) = (numbers(n, 1), numbers(n, 2), numbers(n, 3), numbers(c, 4), numbers(c, 5));
    let moments = Moments::new(&g, &x, 1e-5);
    let mut group = criterion.benchmark_group("batch_norm");
    group.sample_size(10).throughput(Throughput::Elements(n as u64));
    group.bench_function("moments", |bench| bench.iter(|| Moments::new(&g, black_box(&x), 1e-5)));
    group.bench_function("forward", |bench| {
        bench.iter(|| batch_norm::forward(&g, &moments, black_box(&x), &w, &b));
    });
    group.bench_function("forward and rectifier", |bench| {
        bench.iter(|| batch_norm::forward_relu(&g, &moments, black_box(&x), &w, &b, None));
    });
    group.bench_function("forward, shortcut and rectifier", |bench| {
        bench.iter(|| batch_norm::forward_relu(&g, &moments, black_box(&x), &w, &b, Some(&v)));
    });
    group.bench_function("input gradient", |bench| {
        bench.iter(|| batch_norm::input_gradient(&g, &moments, [black_box(&x), &w, &dy], None));
    });
    group.bench_function("second derivative", |bench| {
        let numbers = [&x[..], &w, &dy, &v];
        bench.iter(|| batch_norm::second(&g, &moments, black_box(numbers), [None; 2]));
    });
}

fn others(criterion: &mut Criterion) {
    let Ok(g) = ChannelGeometry::new(&SHAPE) else { return };
    let (n, c) = (g.elements(), g.channels());
    let (x, y, bias) = (numbers(n, 1), numbers(n, 2), numbers(c, 3));
    let mut group = criterion.benchmark_group("elements");
    group.sample_size(10).throughput(Throughput::Elements(n as u64));
    group.bench_function("zeros", |bench| bench.iter(|| zeros::<f32>(n)));
    group.bench_function("rectifier", |bench| {
        bench.iter(|| elementwise::map(black_box(&x), |x: f32| if x <= 0.0 { 0.0 } else { x }));
    });
    group.bench_function("sum of two", |bench| {
        bench.iter(|| elementwise::map2(black_box(&x), &y, |x, y| x + y));
    });
    group.bench_function("bias", |bench| {
        bench.iter(|| channels::shift(&g, black_box(&x), &bias));
    });
    group.bench_function("sum of each channel", |bench| {
        bench.iter(|| channels::sum(&g, black_box(&x)));
    });
    let options = Pool2dOptions { kernel_size: (3, 3), stride: (2, 2), padding: (1, 1) };
    let Ok(pool) = Pool2dGeometry::new(SHAPE, options) else { return };
    let (height, width) = pool.output_size();
    let mut winners = vec![0; SHAPE[0] * SHAPE[1] * height * width];
    group.bench_function("max pooling", |bench| {
        bench.iter(|| max_pool2d::winners(&pool, black_box(&x), &mut winners));
    });
}

criterion_group!(benches, normalisation, others);
criterion_main!(benches);
