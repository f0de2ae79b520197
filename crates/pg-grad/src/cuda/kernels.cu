// The CUDA side of this crate's operations. Compiled at run time (see mod.rs) once for each ELEMENT (float, double), with
// every index in 32 bits: a tensor of 2^31 elements or more is refused before it gets here. A thread computes one element
// of a result, but in sums, and none adds into memory that another adds into, so that every sum has one order.

typedef ELEMENT T;
typedef unsigned int u32;

#define KERNEL extern "C" __global__ void
#define FOR_ELEMENT(i, n) \
    const u32 i = blockIdx.x * blockDim.x + threadIdx.x; \
    if (i < n)

// ---- elementwise ----------------------------------------------------------------------------------------------------

// Not max: NaN stays NaN.
KERNEL relu(const u32 n, const T *x, T *y) {
    FOR_ELEMENT(i, n) { y[i] = x[i] <= T(0) ? T(0) : x[i]; }
}

KERNEL where_positive(const u32 n, const T *grad, const T *y, T *out) {
    FOR_ELEMENT(i, n) { out[i] = y[i] > T(0) ? grad[i] : T(0); }
}

KERNEL add(const u32 n, const T *x, const T *y, T *out) {
    FOR_ELEMENT(i, n) { out[i] = x[i] + y[i]; }
}

// ---- one number a channel, of (outer, channels, inner) --------------------------------------------------------------

#define CHANNEL(i) (i / inner % channels)

KERNEL channel_scale(const u32 n, const u32 channels, const u32 inner, const T *x, const T *scale, T *y) {
    FOR_ELEMENT(i, n) { y[i] = x[i] * scale[CHANNEL(i)]; }
}

KERNEL channel_shift(const u32 n, const u32 channels, const u32 inner, const T *x, const T *shift, T *y) {
    FOR_ELEMENT(i, n) { y[i] = x[i] + shift[CHANNEL(i)]; }
}

KERNEL channel_affine(
    const u32 n, const u32 channels, const u32 inner, const T *x, const T *scale, const T *shift, T *y) {
    FOR_ELEMENT(i, n) { y[i] = x[i] * scale[CHANNEL(i)] + shift[CHANNEL(i)]; }
}

KERNEL channel_fill(const u32 n, const u32 channels, const u32 inner, const T *value, T *y) {
    FOR_ELEMENT(i, n) { y[i] = value[CHANNEL(i)]; }
}

// Sums over a channel go in two steps: blocks sum parts of it, and then one thread the parts, in order. All in double.
// `sums` is (channels, parts, K).

// The sum over a block of 256 threads, in its first.
__device__ double block_sum(double mine) {
    __shared__ double of_warps[8];
    for (u32 offset = 16; offset > 0; offset /= 2) mine += __shfl_down_sync(0xffffffffu, mine, offset);
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = mine;
    __syncthreads();
    double sum = 0;
    if (threadIdx.x == 0) {
        for (u32 warp = 0; warp < 8; warp++) sum += of_warps[warp];
    }
    return sum;
}

// The part of a channel that a block sums.
struct Part {
    u32 channel, start, end;

    __device__ Part(const u32 count, const u32 parts) {
        const u32 size = (count + parts - 1) / parts, part = blockIdx.x % parts;
        channel = blockIdx.x / parts;
        start = min(part * size, count);
        end = min(start + size, count);
    }
};

// Where element k of a channel lies.
__device__ u32 place(const u32 k, const u32 channel, const u32 channels, const u32 inner) {
    return (k / inner * channels + channel) * inner + k % inner;
}

// The sums over a block's part of the K numbers that `numbers(place, channel, out)` makes of each element.
template <int K, class F>
__device__ void sum_part(
    const u32 count, const u32 channels, const u32 inner, const u32 parts, const F numbers, double *sums) {
    const Part part(count, parts);
    double mine[K] = {}, of_one[K];
#pragma unroll 4
    for (u32 k = part.start + threadIdx.x; k < part.end; k += blockDim.x) {
        numbers(place(k, part.channel, channels, inner), part.channel, of_one);
        for (u32 i = 0; i < K; i++) mine[i] += of_one[i];
    }
    for (u32 i = 0; i < K; i++) {
        const double sum = block_sum(mine[i]);
        if (threadIdx.x == 0) sums[blockIdx.x * K + i] = sum;
    }
}

// Sum i of K of a channel, from those of its parts.
__device__ double total(const double *sums, const u32 channel, const u32 parts, const u32 K, const u32 i) {
    double total = 0;
    for (u32 part = 0; part < parts; part++) total += sums[(channel * parts + part) * K + i];
    return total;
}

KERNEL channel_sum(
    const u32 count, const u32 channels, const u32 inner, const u32 parts, const T *x, double *sums) {
    const auto numbers = [&](u32 at, u32, double *out) { out[0] = double(x[at]); };
    sum_part<1>(count, channels, inner, parts, numbers, sums);
}

KERNEL channel_dot(
    const u32 count, const u32 channels, const u32 inner, const u32 parts, const T *x, const T *y, double *sums) {
    const auto numbers = [&](u32 at, u32, double *out) { out[0] = double(x[at]) * double(y[at]); };
    sum_part<1>(count, channels, inner, parts, numbers, sums);
}

// `totals` (channels, K) of `sums`, for n = channels * K.
KERNEL channel_totals(const u32 n, const u32 K, const u32 parts, const double *sums, double *totals) {
    FOR_ELEMENT(i, n) { totals[i] = total(sums, i / K, parts, K, i % K); }
}

// The same of one sum, rounded.
KERNEL channel_total(const u32 n, const u32 parts, const double *sums, T *totals) {
    FOR_ELEMENT(i, n) { totals[i] = T(total(sums, i, parts, 1, 0)); }
}

KERNEL channel_center(
    const u32 n, const u32 channels, const u32 inner, const u32 count, const T *x, const double *totals, T *y) {
    FOR_ELEMENT(i, n) { y[i] = T(double(x[i]) - totals[CHANNEL(i)] / count); }
}

// ---- batch normalisation, with the formulas of pg-kernels/src/batch_norm.rs ------------------------------------------

// Of each part the sum, and the squares around its own mean.
KERNEL moments_of_parts(
    const u32 count, const u32 channels, const u32 inner, const u32 parts, const T *x, double *sums) {
    const Part part(count, parts);
    __shared__ double mean;
    double mine = 0;
#pragma unroll 4
    for (u32 k = part.start + threadIdx.x; k < part.end; k += blockDim.x) {
        mine += double(x[place(k, part.channel, channels, inner)]);
    }
    const double sum = block_sum(mine);
    if (threadIdx.x == 0) mean = sum / max(part.end - part.start, 1u);
    __syncthreads();
    mine = 0;
#pragma unroll 4
    for (u32 k = part.start + threadIdx.x; k < part.end; k += blockDim.x) {
        const double distance = double(x[place(k, part.channel, channels, inner)]) - mean;
        mine += distance * distance;
    }
    const double squares = block_sum(mine);
    if (threadIdx.x == 0) {
        sums[blockIdx.x * 2] = sum;
        sums[blockIdx.x * 2 + 1] = squares;
    }
}

// `moments` (channels, 2) holds the mean and the inverse deviation.
KERNEL batch_moments(
    const u32 n, const u32 count, const u32 parts, const double eps, const double *sums, double *moments,
    T *mean, T *unbiased_variance) {
    FOR_ELEMENT(i, n) {
        const double m = total(sums, i, parts, 2, 0) / count;
        const u32 size = (count + parts - 1) / parts;
        double squares = 0;
        for (u32 part = 0; part < parts; part++) {
            const u32 start = min(part * size, count);
            const double members = min(start + size, count) - start;
            if (members == 0) continue;
            const double *of_part = sums + (i * parts + part) * 2;
            const double distance = of_part[0] / members - m;
            squares += of_part[1] + members * distance * distance;
        }
        moments[i * 2] = m;
        moments[i * 2 + 1] = 1 / sqrt(squares / count + eps);
        mean[i] = T(m);
        unbiased_variance[i] = T(squares / (count - 1));
    }
}

// y = w z + b, plus a shortcut if it `adds`, rectified if it `rectifies`.
KERNEL batch_norm(
    const u32 n, const u32 channels, const u32 inner, const u32 adds, const u32 rectifies, const double *moments,
    const T *x, const T *weight, const T *bias, const T *shortcut, T *y) {
    FOR_ELEMENT(i, n) {
        const u32 c = CHANNEL(i);
        const double z = (double(x[i]) - moments[c * 2]) * moments[c * 2 + 1];
        double value = double(weight[c]) * z + double(bias[c]);
        if (adds) value += double(shortcut[i]);
        y[i] = T(rectifies && value <= 0 ? 0.0 : value);
    }
}

KERNEL batch_norm_sums(
    const u32 count, const u32 channels, const u32 inner, const u32 parts, const double *moments, const T *x,
    const T *dy, double *sums) {
    const auto numbers = [&](u32 at, u32 channel, double *out) {
        out[0] = double(dy[at]);
        out[1] = double(dy[at]) * (double(x[at]) - moments[channel * 2]);
    };
    sum_part<2>(count, channels, inner, parts, numbers, sums);
}

// With the totals of batch_norm_sums.
KERNEL batch_norm_input_gradient(
    const u32 n, const u32 channels, const u32 inner, const u32 count, const double *moments, const double *totals,
    const T *x, const T *weight, const T *dy, T *dx) {
    FOR_ELEMENT(i, n) {
        const u32 c = CHANNEL(i);
        const double mean = moments[c * 2], r = moments[c * 2 + 1];
        const double dy_mean = totals[c * 2] / count, dy_z = totals[c * 2 + 1] * r / count;
        const double z = (double(x[i]) - mean) * r;
        dx[i] = T(double(weight[c]) * r * (double(dy[i]) - dy_mean - z * dy_z));
    }
}

KERNEL batch_norm_weight_gradients(const u32 n, const double *moments, const double *totals, T *dw, T *db) {
    FOR_ELEMENT(i, n) {
        dw[i] = T(totals[i * 2 + 1] * moments[i * 2 + 1]);
        db[i] = T(totals[i * 2]);
    }
}

KERNEL batch_norm_second_sums(
    const u32 count, const u32 channels, const u32 inner, const u32 parts, const double *moments, const T *x,
    const T *dy, const T *v, double *sums) {
    const auto numbers = [&](u32 at, u32 channel, double *out) {
        const double distance = double(x[at]) - moments[channel * 2], g = double(dy[at]), direction = double(v[at]);
        out[0] = g;
        out[1] = direction;
        out[2] = g * distance;
        out[3] = direction * distance;
        out[4] = g * direction;
    };
    sum_part<5>(count, channels, inner, parts, numbers, sums);
}

// Means of a channel, from the totals of batch_norm_second_sums.
struct SecondMeans {
    double dy, v, dy_z, v_z, correlation;

    __device__ SecondMeans(const double *totals, const double r, const u32 count) {
        dy = totals[0] / count;
        v = totals[1] / count;
        dy_z = totals[2] * r / count;
        v_z = totals[3] * r / count;
        correlation = totals[4] / count - dy * v - dy_z * v_z;
    }
};

KERNEL batch_norm_second(
    const u32 n, const u32 channels, const u32 inner, const u32 count, const double *moments, const double *totals,
    const T *x, const T *weight, const T *dy, const T *v, T *by_x, T *by_dy) {
    FOR_ELEMENT(i, n) {
        const u32 c = CHANNEL(i);
        const double r = moments[c * 2 + 1], w_r = double(weight[c]) * r;
        const SecondMeans mean(totals + c * 5, r, count);
        const double z = (double(x[i]) - moments[c * 2]) * r;
        const double of_v = double(v[i]) - mean.v - z * mean.v_z, of_dy = double(dy[i]) - mean.dy - z * mean.dy_z;
        by_x[i] = T(-w_r * r * (z * mean.correlation + mean.dy_z * of_v + mean.v_z * of_dy));
        by_dy[i] = T(w_r * of_v);
    }
}

KERNEL batch_norm_second_weight(
    const u32 n, const u32 count, const double *moments, const double *totals, T *by_weight) {
    FOR_ELEMENT(i, n) {
        const double r = moments[i * 2 + 1];
        by_weight[i] = T(r * count * SecondMeans(totals + i * 5, r, count).correlation);
    }
}

// ---- windows --------------------------------------------------------------------------------------------------------

// One axis of a windowed operation; as `Axis` in mod.rs.
struct Axis { u32 input, window, stride, padding, dilation, output; };

// The column matrices (samples, channels * window, positions) of x (samples, channels, height, width); what a window
// reads in the padding is 0.
KERNEL im2col(const u32 n, const u32 channels, const Axis v, const Axis h, const T *x, T *columns) {
    FOR_ELEMENT(i, n) {
        const u32 positions = v.output * h.output, rows = channels * v.window * h.window;
        const u32 position = i % positions, row = i / positions % rows, sample = i / positions / rows;
        const u32 plane = sample * channels + row / (v.window * h.window);
        // Before the first element these wrap around, to more than any size.
        const u32 y = position / h.output * v.stride + row / h.window % v.window * v.dilation - v.padding;
        const u32 c = position % h.output * h.stride + row % h.window * h.dilation - h.padding;
        columns[i] = y < v.input && c < h.input ? x[(plane * v.input + y) * h.input + c] : T(0);
    }
}

// The outputs whose window element k reads input position `at`: whether there is one, and which.
__device__ bool reads(const Axis a, const u32 at, const u32 k, u32 *output) {
    const u32 start = at + a.padding, offset = k * a.dilation;
    if (start < offset || (start - offset) % a.stride != 0) return false;
    *output = (start - offset) / a.stride;
    return *output < a.output;
}

// The transpose of im2col: each element of x is the sum of the elements of columns that read it.
KERNEL col2im(const u32 n, const u32 channels, const Axis v, const Axis h, const T *columns, T *x) {
    FOR_ELEMENT(i, n) {
        const u32 positions = v.output * h.output;
        const u32 c = i % h.input, y = i / h.input % v.input, plane = i / h.input / v.input;
        T sum = 0;
        for (u32 ky = 0, oy; ky < v.window; ky++) {
            if (!reads(v, y, ky, &oy)) continue;
            for (u32 kx = 0, ox; kx < h.window; kx++) {
                if (!reads(h, c, kx, &ox)) continue;
                const u32 row = (plane * v.window + ky) * h.window + kx;
                sum += columns[row * positions + oy * h.output + ox];
            }
        }
        x[i] = sum;
    }
}

// The position within its plane of each window's largest element: the first of equals, a NaN before all others.
KERNEL max_pool2d_winners(const u32 n, const Axis v, const Axis h, const T *x, u32 *winners) {
    FOR_ELEMENT(i, n) {
        const u32 ox = i % h.output, oy = i / h.output % v.output, plane = i / h.output / v.output;
        const T *values = x + plane * v.input * h.input;
        u32 best = v.input * h.input;
        for (u32 ky = 0; ky < v.window; ky++) {
            const u32 y = oy * v.stride + ky - v.padding;
            if (y >= v.input) continue;
            for (u32 kx = 0; kx < h.window; kx++) {
                const u32 c = ox * h.stride + kx - h.padding;
                if (c >= h.input) continue;
                const u32 at = y * h.input + c;
                if (best == v.input * h.input || values[at] > values[best] ||
                    (values[at] != values[at] && values[best] == values[best])) {
                    best = at;
                }
            }
        }
        winners[i] = best;
    }
}

KERNEL gather(const u32 n, const Axis v, const Axis h, const T *x, const u32 *winners, T *y) {
    FOR_ELEMENT(i, n) {
        const u32 plane = i / (v.output * h.output), size = v.input * h.input;
        // Winners that are held may be those of another network.
        y[i] = winners[i] < size ? x[plane * size + winners[i]] : T(nan(""));
    }
}

// The transpose of gather: an element adds up the windows that it has won, in the order of the CPU's.
KERNEL scatter_add(const u32 n, const Axis v, const Axis h, const T *y, const u32 *winners, T *x) {
    FOR_ELEMENT(i, n) {
        const u32 c = i % h.input, row = i / h.input % v.input, plane = i / h.input / v.input;
        T sum = 0;
        for (u32 ky = v.window, oy; ky-- > 0;) {
            if (!reads(v, row, ky, &oy)) continue;
            for (u32 kx = h.window, ox; kx-- > 0;) {
                if (!reads(h, c, kx, &ox)) continue;
                const u32 window = (plane * v.output + oy) * h.output + ox;
                if (winners[window] == row * h.input + c) sum += y[window];
            }
        }
        x[i] = sum;
    }
}
