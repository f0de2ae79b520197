// The CUDA side of this crate's operations. Compiled at run time (see mod.rs) once for each ELEMENT (float, double), with every
// index in 32 bits: a tensor of more than 2^32 elements is refused before it gets here. A thread computes one element
// of a result, but in the reductions, where a block computes one; none adds into memory that another adds into, so that
// every sum has one order.

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

// The sum over a block of 256 threads, in all of them.
__device__ double block_sum(double mine) {
    __shared__ double sums[256];
    sums[threadIdx.x] = mine;
    for (u32 half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    __syncthreads();
    return sums[0];
}

// Runs through the elements of the block's channel: `at` is the place of each.
#define FOR_ELEMENT_OF_CHANNEL(at, count) \
    for (u32 k = threadIdx.x, at; k < count && (at = (k / inner * channels + blockIdx.x) * inner + k % inner, true); \
         k += blockDim.x)

KERNEL channel_sum(const u32 count, const u32 channels, const u32 inner, const T *x, T *sum) {
    double mine = 0;
    FOR_ELEMENT_OF_CHANNEL(at, count) { mine += double(x[at]); }
    const double total = block_sum(mine);
    if (threadIdx.x == 0) sum[blockIdx.x] = T(total);
}

KERNEL channel_dot(const u32 count, const u32 channels, const u32 inner, const T *x, const T *y, T *sum) {
    double mine = 0;
    FOR_ELEMENT_OF_CHANNEL(at, count) { mine += double(x[at]) * double(y[at]); }
    const double total = block_sum(mine);
    if (threadIdx.x == 0) sum[blockIdx.x] = T(total);
}

KERNEL channel_center(const u32 count, const u32 channels, const u32 inner, const T *x, T *y) {
    double mine = 0;
    FOR_ELEMENT_OF_CHANNEL(at, count) { mine += double(x[at]); }
    const double mean = block_sum(mine) / count;
    FOR_ELEMENT_OF_CHANNEL(at, count) { y[at] = T(double(x[at]) - mean); }
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
        const u32 plane = i / (v.output * h.output);
        y[i] = x[plane * v.input * h.input + winners[i]];
    }
}

// The transpose of gather: an element adds up the windows that it has won.
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
