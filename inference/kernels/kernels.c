/* What is computed for every pixel between the network and the file, on a CPU.

   Each function does in one pass what `inference/models/band.py` and `inference/foreground/reference.py` do with one
   torch operation after the other; tests compare them. Rows stay in the cache, floats stay in registers or in a few rows
   of scratch memory, and only the band is touched where only the band changes.

   Pixels are words of 32 bits, red in the lowest byte. All planes are contiguous. The functions allocate nothing, hold no
   lock and share no state: any number of threads may call them. Loops are written so that clang turns them into vector
   instructions; vectors are spelt out only where it does not. */

#include <stdint.h>
#include <string.h>

#define API __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline))
#define RESTRICT __restrict__

enum {
    CELL = 32,      /* band.CELL */
    PARTS = 4,      /* band.PARTS */
    RIM = 6,        /* cvunet.RIM */
    GUIDE_RIM = 2,  /* RIM / 2 - 1, in blocks of 2 x 2 pixels */
    MOST_FACTOR = 8, /* 1 << band.MOST_LIFTS */
    USUAL_RADIUS = 2 /* reference.NARROW: for this one loops are unrolled */
};

typedef float floats8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t ints8 __attribute__((vector_size(32), aligned(4)));
typedef uint32_t words8 __attribute__((vector_size(32), aligned(4)));
typedef uint16_t shorts8 __attribute__((vector_size(16), aligned(2)));
typedef uint16_t shorts4 __attribute__((vector_size(8), aligned(2)));
typedef uint32_t words4 __attribute__((vector_size(16), aligned(4)));
typedef int32_t ints4 __attribute__((vector_size(16), aligned(4)));
typedef uint8_t bytes32 __attribute__((vector_size(32), aligned(1)));
typedef uint8_t bytes4 __attribute__((vector_size(4), aligned(1)));
typedef int8_t bytes8 __attribute__((vector_size(8), aligned(1)));
typedef _Float16 halves4 __attribute__((vector_size(8), aligned(2)));
typedef float floats4 __attribute__((vector_size(16), aligned(4)));

/* What this was compiled from: SHA-256 of this file, as hatch_build.py passes it. */
API const char *kernels_source(void) { return SOURCE; }

INLINE int smaller(int a, int b) { return a < b ? a : b; }
INLINE int larger(int a, int b) { return a > b ? a : b; }
INLINE int clamped(int value, int end) { return value < 0 ? 0 : value >= end ? end - 1 : value; }

/* The network's numbers: 32-bit floats, or their upper halves (bfloat16), rounded to nearest, ties to even. */
INLINE floats8 load8(const void *plane, long index, int bfloat16) {
    if (!bfloat16) return *(const floats8 *)((const float *)plane + index);
    shorts8 packed = *(const shorts8 *)((const uint16_t *)plane + index);
    return (floats8)(__builtin_convertvector(packed, words8) << 16);
}

INLINE void store8(void *plane, long index, floats8 values, int bfloat16) {
    if (!bfloat16) {
        *(floats8 *)((float *)plane + index) = values;
        return;
    }
    words8 bits = (words8)values;
    bits = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    *(shorts8 *)((uint16_t *)plane + index) = __builtin_convertvector(bits, shorts8);
}

/* e to the power of x; relative error below 1e-6. Cephes' polynomial on -ln(2)/2..ln(2)/2. */
INLINE float exponential(float x) {
    x = x < -80 ? -80 : x > 80 ? 80 : x;
    float n = __builtin_rintf(x * 1.44269504f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1;
    union { int32_t i; float f; } scale = {.i = ((int32_t)n + 127) << 23};
    return p * scale.f;
}

INLINE float sigmoid(float x) { return 1 / (1 + exponential(-x)); }

/* Where an enlarged (or shrunk) line reads: between `low` and `high`, `weight` of the way. As F.interpolate without
   align_corners. */
typedef struct {
    int low, high;
    float weight;
} Place;

INLINE Place place(int index, float step, int length) {
    float at = (index + 0.5f) * step - 0.5f;
    at = at < 0 ? 0 : at;
    int low = smaller((int)at, length - 1);
    return (Place){low, smaller(low + 1, length - 1), at - low};
}

/* Halve H x W words: as band.halve. `half` is (H + 1) / 2 x (W + 1) / 2. */
API void halve(const uint32_t *RESTRICT plane, int height, int width, uint32_t *RESTRICT half) {
    const uint32_t mask = 0x7f7f7f7f;
    int columns = width / 2;
    for (int y = 0; y < height; y += 2) {
        const uint32_t *upper = plane + (long)y * width;
        const uint32_t *lower = y + 1 < height ? upper + width : upper;
        for (int x = 0; x < columns; x++) {
            uint32_t a = upper[2 * x], b = lower[2 * x], c = upper[2 * x + 1], d = lower[2 * x + 1];
            uint32_t left = (a & b) + ((a ^ b) >> 1 & mask), right = (c & d) + ((c ^ d) >> 1 & mask);
            half[x] = (left | right) - ((left ^ right) >> 1 & mask);
        }
        if (width & 1) {
            uint32_t a = upper[width - 1], b = lower[width - 1];
            half[columns] = (a & b) + ((a ^ b) >> 1 & mask);
        }
        half += columns + (width & 1);
    }
}

/* Resize h x w floats, in rows of `stride`, to H x W, bilinear. `scratch` has w + 2 floats. */
API void enlarge(const float *RESTRICT plane, int h, int w, int stride, float *RESTRICT result, int height, int width,
                 float *RESTRICT scratch) {
    float down = (float)h / height, across = (float)w / width;
    float *line = scratch + 1;
    for (int y = 0; y < height; y++, result += width) {
        Place row = place(y, down, h);
        const float *low = plane + (long)row.low * stride, *high = plane + (long)row.high * stride;
        for (int x = 0; x < w; x++) line[x] = low[x] + row.weight * (high[x] - low[x]);
        if (width == 2 * w) {
            line[-1] = line[0];
            line[w] = line[w - 1];
            for (int x = 0; x < w; x++) {
                result[2 * x] = 0.25f * line[x - 1] + 0.75f * line[x];
                result[2 * x + 1] = 0.75f * line[x] + 0.25f * line[x + 1];
            }
        } else {
            for (int x = 0; x < width; x++) {
                Place column = place(x, across, w);
                result[x] = line[column.low] + column.weight * (line[column.high] - line[column.low]);
            }
        }
    }
}

/* Find the cells to refine: as band.cell_bounds and band.undecided_cells.

   Logits h x w, in rows of `stride`, are continued to `down` x `across`, so that rows x columns of cells cover equal parts of them. Writes for
   each cell 1 if it is undecided, else 0 or 255 for what is certain, and lists the undecided ones as pairs of row and
   column; returns their number. `scratch` has 2 * across + 2 * (PARTS + 2) * PARTS * columns floats. */
API int find_cells(const float *RESTRICT logits, int h, int w, int stride, int down, int across, int rows, int columns,
                   float decided, uint8_t *RESTRICT states, int32_t *RESTRICT cells, float *RESTRICT scratch) {
    int parts = PARTS * columns, count = 0;
    float *least = scratch, *most = least + across;
    float *minima = most + across, *maxima = minima + (long)(PARTS + 2) * parts;
    for (int row = 0; row < rows; row++) {
        int first = larger(PARTS * row - 1, 0), last = smaller(PARTS * row + PARTS, PARTS * rows - 1);
        for (int part = first; part <= last; part++) {
            int slot = part % (PARTS + 2);
            if (row > 0 && part < PARTS * row + 1) continue; /* still there from the row above */
            int top = (int)((long)part * down / (PARTS * rows));
            int end = (int)(((long)(part + 1) * down + PARTS * rows - 1) / (PARTS * rows));
            for (int y = top; y < end; y++) {
                const float *line = logits + (long)smaller(y, h - 1) * stride;
                if (y == top) {
                    memcpy(least, line, sizeof(float) * w);
                    memcpy(most, line, sizeof(float) * w);
                } else {
                    for (int x = 0; x < w; x++) {
                        least[x] = line[x] < least[x] ? line[x] : least[x];
                        most[x] = line[x] > most[x] ? line[x] : most[x];
                    }
                }
            }
            for (int x = w; x < across; x++) {
                least[x] = least[w - 1];
                most[x] = most[w - 1];
            }
            for (int column = 0; column < parts; column++) {
                int left = (int)((long)column * across / parts);
                int right = (int)(((long)(column + 1) * across + parts - 1) / parts);
                float low = least[left], high = most[left];
                for (int x = left + 1; x < right; x++) {
                    low = least[x] < low ? least[x] : low;
                    high = most[x] > high ? most[x] : high;
                }
                minima[(long)slot * parts + column] = low;
                maxima[(long)slot * parts + column] = high;
            }
        }
        for (int column = 0; column < columns; column++) {
            int left = larger(PARTS * column - 1, 0), right = smaller(PARTS * column + PARTS, parts - 1);
            float low = 1e30f, high = -1e30f;
            for (int part = first; part <= last; part++) {
                long slot = (long)(part % (PARTS + 2)) * parts;
                for (int x = left; x <= right; x++) {
                    low = minima[slot + x] < low ? minima[slot + x] : low;
                    high = maxima[slot + x] > high ? maxima[slot + x] : high;
                }
            }
            int undecided = low < decided && high > -decided;
            states[(long)row * columns + column] = undecided ? 1 : low > 0 ? 255 : 0;
            if (undecided) {
                cells[2 * count] = row;
                cells[2 * count + 1] = column;
                count++;
            }
        }
    }
    return count;
}

/* The first pixel of a cell: the last row and column of cells are moved inwards. */
INLINE int start_of(int cell, int size) { return smaller(cell * CELL, larger(0, size - CELL)); }

INLINE void gather_as(const uint32_t *RESTRICT level, int level_height, int level_width, const float *RESTRICT logits,
                      int height, int width, const int32_t *RESTRICT cells, int count, void *RESTRICT windows,
                      int bfloat16) {
    int rows = smaller(CELL, height) + 2 * RIM, columns = smaller(CELL, width) + 2 * RIM;
    uint32_t colours[CELL + 2 * RIM];
    float line[CELL + 2 * RIM];
    long at = 0;
    for (int n = 0; n < count; n++, at += (long)rows * columns * 4) {
        int top = start_of(cells[2 * n], height) - RIM, left = start_of(cells[2 * n + 1], width) - RIM;
        int inside = left >= 0 && left + columns <= smaller(level_width, width);
        for (int y = 0; y < rows; y++) {
            const float *from = logits + (long)clamped(top + y, height) * width;
            const uint32_t *words = level + (long)clamped(top + y, level_height) * level_width;
            const uint32_t *picture = words + left;
            const float *alpha = from + left;
            if (!inside) {
                for (int x = 0; x < columns; x++) {
                    colours[x] = words[clamped(left + x, level_width)];
                    line[x] = from[clamped(left + x, width)];
                }
                picture = colours;
                alpha = line;
            }
            /* A block of 2 x 2 pixels is 16 numbers: 8 of its upper row, then 8 of its lower one. */
            long target = at + (long)(y / 2) * columns * 8 + (y & 1) * 8;
            for (int x = 0; x < columns; x += 2, target += 16) {
                uint64_t pair;
                memcpy(&pair, picture + x, 8);
                pair ^= 0x8080808080808080u; /* to signed bytes, as band.TO_SIGNED */
                bytes8 bytes;
                memcpy(&bytes, &pair, 8);
                floats8 values = __builtin_convertvector(bytes, floats8);
                values[3] = alpha[x];
                values[7] = alpha[x + 1];
                store8(windows, target, values, bfloat16);
            }
        }
    }
}

/* Copy windows for the edge head: N x (h/2 + RIM) x (w/2 + RIM) x 16, see band.WindowHead.

   `level` is a picture of words, `logits` are its enlarged ones, at its size with sides rounded up to even ones. */
API void gather(const uint32_t *level, int level_height, int level_width, const float *logits, int height, int width,
                const int32_t *cells, int count, void *windows, int bfloat16) {
    if (bfloat16)
        gather_as(level, level_height, level_width, logits, height, width, cells, count, windows, 1);
    else
        gather_as(level, level_height, level_width, logits, height, width, cells, count, windows, 0);
}

INLINE void guide_as(const void *RESTRICT guide, int h, int w, int channels, int height, int width,
                     const int32_t *RESTRICT cells, int count, void *RESTRICT windows, int bfloat16) {
    int blocks_down = height / 2, blocks_across = width / 2;
    int rows = smaller(CELL, height) / 2 + 2 * GUIDE_RIM, columns = smaller(CELL, width) / 2 + 2 * GUIDE_RIM;
    float down = (float)h / blocks_down, across = (float)w / blocks_across;
    Place places[CELL / 2 + 2 * GUIDE_RIM];
    long at = 0;
    for (int n = 0; n < count; n++) {
        int top = start_of(cells[2 * n], height) / 2 - GUIDE_RIM;
        int left = start_of(cells[2 * n + 1], width) / 2 - GUIDE_RIM;
        for (int x = 0; x < columns; x++) {
            places[x] = place(clamped(left + x, blocks_across), across, w);
            places[x].low *= channels;
            places[x].high *= channels;
        }
        for (int y = 0; y < rows; y++) {
            Place row = place(clamped(top + y, blocks_down), down, h);
            long low = (long)row.low * w * channels, high = (long)row.high * w * channels;
            for (int x = 0; x < columns; x++) {
                Place column = places[x];
                for (int c = 0; c < channels; c += 8, at += 8) {
                    floats8 a = load8(guide, low + column.low + c, bfloat16);
                    floats8 b = load8(guide, low + column.high + c, bfloat16);
                    floats8 d = load8(guide, high + column.low + c, bfloat16);
                    floats8 e = load8(guide, high + column.high + c, bfloat16);
                    floats8 upper = a + column.weight * (b - a), lower = d + column.weight * (e - d);
                    store8(windows, at, upper + row.weight * (lower - upper), bfloat16);
                }
            }
        }
    }
}

/* Enlarge the guide, h x w x C, to the blocks of an H x W picture, in these cells: N x (h/2 + 4) x (w/2 + 4) x C. */
API void gather_guide(const void *guide, int h, int w, int channels, int height, int width, const int32_t *cells,
                      int count, void *windows, int bfloat16) {
    if (bfloat16)
        guide_as(guide, h, w, channels, height, width, cells, count, windows, 1);
    else
        guide_as(guide, h, w, channels, height, width, cells, count, windows, 0);
}

INLINE floats4 load4(const void *plane, long index, int bfloat16) {
    if (!bfloat16) return *(const floats4 *)((const float *)plane + index);
    shorts4 packed = *(const shorts4 *)((const uint16_t *)plane + index);
    return (floats4)(__builtin_convertvector(packed, words4) << 16);
}

INLINE void join_as(const void *RESTRICT skip, const void *RESTRICT seen, const void *RESTRICT advice,
                    const void *RESTRICT reduced, int count, int height, int width, int h, int w, int channels,
                    int hidden, const float *RESTRICT weights, float bias, void *RESTRICT result,
                    float *RESTRICT scratch, int bfloat16) {
    float down = (float)h / height, across = (float)w / width;
    float *advices = scratch, *colours = advices + (long)w * hidden, *gates = colours + (long)w * channels;
    for (int n = 0; n < count; n++) {
        for (int y = 0; y < height; y++) {
            Place row = place(y, down, h);
            long low = ((long)n * h + row.low) * w, high = ((long)n * h + row.high) * w;
            for (int i = 0; i < w * hidden; i += 4) {
                floats4 upper = load4(advice, low * hidden + i, bfloat16);
                floats4 lower = load4(advice, high * hidden + i, bfloat16);
                *(floats4 *)(advices + i) = upper + row.weight * (lower - upper);
            }
            for (int i = 0; i < w * channels; i += 8) {
                floats8 upper = load8(reduced, low * channels + i, bfloat16);
                floats8 lower = load8(reduced, high * channels + i, bfloat16);
                *(floats8 *)(colours + i) = upper + row.weight * (lower - upper);
            }
            long line = ((long)n * height + y) * width;
            for (int x = 0; x < width; x++) {
                Place column = place(x, across, w);
                const float *left = advices + (long)column.low * hidden, *right = advices + (long)column.high * hidden;
                floats4 sum = {0, 0, 0, 0};
                for (int k = 0; k < hidden; k += 4) {
                    floats4 a = *(const floats4 *)(left + k), b = *(const floats4 *)(right + k);
                    floats4 value = load4(seen, (line + x) * hidden + k, bfloat16) + a + column.weight * (b - a);
                    value = (floats4)((ints4)value & (ints4)(value > 0));
                    sum += value * *(const floats4 *)(weights + k);
                }
                gates[x] = sum[0] + sum[1] + sum[2] + sum[3] + bias;
            }
            for (int x = 0; x < width; x++) gates[x] = sigmoid(gates[x]);
            for (int x = 0; x < width; x++) {
                Place column = place(x, across, w);
                const float *left = colours + (long)column.low * channels;
                const float *right = colours + (long)column.high * channels;
                for (int k = 0; k < channels; k += 8) {
                    long at = (line + x) * channels + k;
                    floats8 a = *(const floats8 *)(left + k), b = *(const floats8 *)(right + k);
                    floats8 value = load8(skip, at, bfloat16) * gates[x] + a + column.weight * (b - a);
                    value = (floats8)((ints8)value & (ints8)(value > 0));
                    store8(result, at, value, bfloat16);
                }
            }
        }
    }
}

/* Join a skip connection with the coarser level: as cvunet.Up before its blocks.

   `skip` and `result` are N x H x W x C, `seen` N x H x W x D, `advice` and `reduced` N x h x w x D and C; C is a multiple of
   8, D of 4. The gate is `weights`, D, and a bias. `scratch` has w * (C + D) + W floats. */
API void join(const void *skip, const void *seen, const void *advice, const void *reduced, int count, int height,
              int width, int h, int w, int channels, int hidden, const float *weights, float bias, void *result,
              float *scratch, int bfloat16) {
    if (bfloat16)
        join_as(skip, seen, advice, reduced, count, height, width, h, w, channels, hidden, weights, bias, result,
                scratch, 1);
    else
        join_as(skip, seen, advice, reduced, count, height, width, h, w, channels, hidden, weights, bias, result,
                scratch, 0);
}

INLINE void scatter_as(const void *RESTRICT found, const float *RESTRICT logits, int height, int width,
                       const int32_t *RESTRICT cells, int count, float *RESTRICT refined, halves4 *RESTRICT slopes,
                       int bfloat16) {
    int rows = smaller(CELL, height), columns = smaller(CELL, width);
    long at = 0;
    for (int n = 0; n < count; n++, at += (long)rows * columns * 4) {
        long corner = (long)start_of(cells[2 * n], height) * width + start_of(cells[2 * n + 1], width);
        for (int y = 0; y < rows; y++) {
            long from = at + (long)(y / 2) * columns * 8 + (y & 1) * 8, to = corner + (long)y * width;
            for (int x = 0; x < columns; x += 2, from += 16) {
                floats8 pair = load8(found, from, bfloat16);
                refined[to + x] = logits[to + x] + pair[0];
                refined[to + x + 1] = logits[to + x + 1] + pair[4];
                if (slopes) {
                    floats4 one = __builtin_shufflevector(pair, pair, 1, 2, 3, 3);
                    floats4 two = __builtin_shufflevector(pair, pair, 5, 6, 7, 7);
                    slopes[to + x] = __builtin_convertvector(one, halves4);
                    slopes[to + x + 1] = __builtin_convertvector(two, halves4);
                }
            }
        }
    }
}

/* Add what the edge head found, N x h/2 x w/2 x 16, to the logits of these cells, and store its slopes unless NULL. */
API void scatter(const void *found, const float *logits, int height, int width, const int32_t *cells, int count,
                 float *refined, void *slopes, int bfloat16) {
    if (bfloat16)
        scatter_as(found, logits, height, width, cells, count, refined, slopes, 1);
    else
        scatter_as(found, logits, height, width, cells, count, refined, slopes, 0);
}

enum { MOST_SMALL = CELL + 2, LINE = 64 /* bytes of a line of the cache */ };

/* Enlarge a line of `length` numbers, with a neighbour on each side, by `factor`. */
INLINE void stretch(const float *RESTRICT line, int length, float *RESTRICT result, int factor) {
    for (int x = 0; x < length; x++) {
        for (int phase = 0; phase < factor; phase++) {
            float at = (phase + 0.5f) / factor - 0.5f;
            int before = at < 0;
            float weight = before ? at + 1 : at, low = line[x + 1 - before], high = line[x + 2 - before];
            result[factor * x + phase] = low + weight * (high - low);
        }
    }
}

/* Alpha of a cell, from the linear models of a level that is `factor` times smaller. */
INLINE void upsample_cell(const uint32_t *RESTRICT picture, int picture_height, int picture_width,
                          const uint32_t *RESTRICT level, int h, int w, const float *RESTRICT logits, int stride,
                          const halves4 *RESTRICT slopes, int top, int left, int rows, int columns, float slope_scale,
                          float snap, uint8_t *RESTRICT alpha, int factor) {
    int visible_rows = smaller(rows, picture_height - top), visible = smaller(columns, picture_width - left);
    /* The cell's rows lie too far apart for the processor to foresee: they are fetched while the models are made. */
    for (int y = 0; y < visible_rows; y++) {
        const uint32_t *words = picture + (long)(top + y) * picture_width + left;
        for (int x = 0; x < visible; x += LINE / 4) __builtin_prefetch(words + x);
        __builtin_prefetch(words + visible - 1);
    }
    /* The models: a constant and three slopes, with a neighbour on each side. */
    float models[4][MOST_SMALL][MOST_SMALL];
    int down = rows / factor, across = columns / factor;
    int small_top = top / factor - 1, small_left = left / factor - 1;
    for (int y = 0; y < down + 2; y++) {
        int row = clamped(small_top + y, h);
        const uint32_t *colours = level + (long)row * w;
        const float *from = logits + (long)row * stride;
        const halves4 *slope = slopes + (long)row * stride;
        for (int x = 0; x < across + 2; x++) {
            int column = clamped(small_left + x, w);
            floats4 one = __builtin_convertvector(slope[column], floats4) * slope_scale;
            models[0][y][x] = from[column];
            models[1][y][x] = one[0];
            models[2][y][x] = one[1];
            models[3][y][x] = one[2];
        }
        for (int x = 0; x < across + 2; x++) models[0][y][x] = sigmoid(models[0][y][x]);
        for (int x = 0; x < across + 2; x++) {
            uint32_t word = colours[clamped(small_left + x, w)];
            models[0][y][x] -= models[1][y][x] * (float)(word & 255) + models[2][y][x] * (float)(word >> 8 & 255) +
                               models[3][y][x] * (float)(word >> 16 & 255);
        }
    }
    /* Each row is enlarged once, before rows are mixed. */
    float wide[4][MOST_SMALL][CELL];
    for (int k = 0; k < 4; k++)
        for (int y = 0; y < down + 2; y++) stretch(models[k][y], across, wide[k][y], factor);
    float scale = 255 / (1 - 2 * snap);
    for (int y = 0; y < visible_rows; y++) {
        float at = (y % factor + 0.5f) / factor - 0.5f;
        int low = y / factor + 1 - (at < 0), high = smaller(low + 1, down + 1);
        float weight = at < 0 ? at + 1 : at, line[4][CELL];
        for (int k = 0; k < 4; k++)
            for (int x = 0; x < CELL; x++)
                line[k][x] = wide[k][low][x] + weight * (wide[k][high][x] - wide[k][low][x]);
        const uint32_t *words = picture + (long)(top + y) * picture_width + left;
        uint8_t *result = alpha + (long)(top + y) * picture_width + left;
        for (int x = 0; x < visible; x++) {
            uint32_t word = words[x];
            float value = line[0][x] + line[1][x] * (float)(int)(word & 255) + line[2][x] * (float)(int)(word >> 8 & 255) +
                          line[3][x] * (float)(int)(word >> 16 & 255);
            value = (value - snap) * scale;
            value = value < 0 ? 0 : value > 255 ? 255 : value;
            result[x] = (uint8_t)(int)__builtin_rintf(value);
        }
    }
}

/* Alpha of a whole picture, from its refined level: as band.upsample.

   `level` has h x w words, `logits` and `slopes` have rows of `stride`. `states` and `cells` are of `find_cells`, for the
   picture with its sides rounded up to multiples of `factor`. */
API void upsample(const uint32_t *picture, int height, int width, const uint32_t *level, int h, int w,
                  const float *logits, int stride, const void *slopes, const uint8_t *states, const int32_t *cells,
                  int count, float slope_scale, float snap, int factor, uint8_t *alpha) {
    int padded_height = (height + factor - 1) / factor * factor, padded_width = (width + factor - 1) / factor * factor;
    int columns = (padded_width + CELL - 1) / CELL;
    for (int y = 0; y < height; y += CELL) {
        const uint8_t *state = states + (long)(y / CELL) * columns;
        for (int column = 0; column < columns && column * CELL < width;) {
            int end = column + 1;
            while (end < columns && state[end] == state[column]) end++;
            if (state[column] != 1)
                for (int row = y; row < smaller(y + CELL, height); row++)
                    memset(alpha + (long)row * width + column * CELL, state[column],
                           smaller(end * CELL, width) - column * CELL);
            column = end;
        }
    }
    for (int n = 0; n < count; n++) {
        int top = start_of(cells[2 * n], padded_height), left = start_of(cells[2 * n + 1], padded_width);
        int rows = smaller(CELL, padded_height), across = smaller(CELL, padded_width);
#define UPSAMPLE(FACTOR)                                                                                           \
    case FACTOR:                                                                                                   \
        upsample_cell(picture, height, width, level, h, w, logits, stride, slopes, top, left, rows, across,        \
                      slope_scale, snap, alpha, FACTOR);                                                           \
        break;
        switch (factor) {
            UPSAMPLE(1)
            UPSAMPLE(2)
            UPSAMPLE(4)
            UPSAMPLE(MOST_FACTOR)
        }
    }
}

/* PNG's filter Up of a cut-out: as `codec/png.py` does it with numpy.

   Rows of `width` pixels of four bytes become rows of their filter type, 2, and the differences to the row above; the first
   row follows `above`, or nothing if that is NULL. Unless `keep_hidden`, fully transparent pixels count as black. */
API void filter_up(const uint8_t *rows, const uint8_t *above, int height, int width, int keep_hidden,
                   uint8_t *RESTRICT filtered) {
    const uint32_t least = keep_hidden ? 0 : 1 << 24;
    long bytes = 4 * (long)width;
    for (int y = 0; y < height; y++, above = rows, rows += bytes, filtered += bytes) {
        *filtered++ = 2;
        long i = 0;
        for (; i + 32 <= bytes; i += 32) {
            words8 own, upper = {0};
            memcpy(&own, rows + i, 32);
            if (above) memcpy(&upper, above + i, 32);
            own &= (words8)(own >= least);
            upper &= (words8)(upper >= least);
            bytes32 difference = (bytes32)own - (bytes32)upper;
            memcpy(filtered + i, &difference, 32);
        }
        for (; i < bytes; i += 4) {
            uint32_t own, upper = 0;
            memcpy(&own, rows + i, 4);
            if (above) memcpy(&upper, above + i, 4);
            own = own >= least ? own : 0;
            upper = upper >= least ? upper : 0;
            for (int k = 0; k < 4; k++) filtered[i + k] = (uint8_t)((own >> 8 * k) - (upper >> 8 * k));
        }
    }
}

/* Write alpha, `pixels` bytes, into the highest byte of as many words. Returns whether any is neither 0 nor 255. */
API int set_alpha(uint32_t *RESTRICT picture, const uint8_t *RESTRICT alpha, long pixels) {
    uint8_t mixed = 0;
    for (long i = 0; i < pixels; i++) {
        picture[i] = (picture[i] & 0xffffff) | (uint32_t)alpha[i] << 24;
        mixed |= (uint8_t)(alpha[i] - 1) < 254 ? 1 : 0;
    }
    return mixed;
}

/* Sum up alpha, the highest byte of H x W words, and find where it is at least `least` (1 to 255).

   Writes left, top, right and bottom, the latter two exclusive, to `box`; zeros if that is nowhere. `columns` has W words. */
API int64_t measure_alpha(const uint32_t *RESTRICT picture, int height, int width, int least, uint32_t *RESTRICT columns,
                          int32_t *RESTRICT box) {
    const uint32_t visible = (uint32_t)least << 24;
    int64_t sum = 0;
    memset(box, 0, 4 * sizeof(int32_t));
    memset(columns, 0, sizeof(uint32_t) * width);
    for (int y = 0; y < height; y++, picture += width) {
        uint32_t row = 0, most = 0;
        for (int x = 0; x < width; x++) {
            uint32_t word = picture[x];
            row += word >> 24;
            most = word > most ? word : most;
            columns[x] = word > columns[x] ? word : columns[x];
        }
        sum += row;
        if (most < visible) continue;
        if (!box[3]) box[1] = y;
        box[3] = y + 1;
    }
    for (int x = 0; x < width; x++) {
        if (columns[x] < visible) continue;
        if (!box[2]) box[0] = x;
        box[2] = x + 1;
    }
    return sum;
}

INLINE floats4 colours_of(uint32_t word) {
    bytes4 bytes;
    memcpy(&bytes, &word, 4);
    floats4 values = __builtin_convertvector(bytes, floats4) * (1 / 255.0f);
    values[3] = 1;
    return values;
}

INLINE floats4 within(floats4 values) {
    floats4 one = {1, 1, 1, 1};
    ints4 positive = (ints4)values & (ints4)(values > 0), above = (ints4)(values > one);
    return (floats4)((positive & ~above) | ((ints4)one & above));
}

/* As reference.fuse. */
INLINE floats4 fuse(floats4 image, float alpha, floats4 fore, floats4 back) {
    return within(fore + alpha * (image - (back + alpha * (fore - back))));
}

/* Colour fields are h x w x 8 floats: three channels of foreground and a gap, three of background and a gap. */

/* A row of fields, w x 8, between two of h x w x 8. */
INLINE void field_row(const float *RESTRICT fields, int w, Place row, float *RESTRICT line) {
    const float *low = fields + (long)row.low * w * 8, *high = fields + (long)row.high * w * 8;
    for (int i = 0; i < 8 * w; i++) line[i] = low[i] + row.weight * (high[i] - low[i]);
}

/* A pixel between two of such a row. */
INLINE floats8 field_between(const float *line, Place column) {
    floats8 low = *(const floats8 *)(line + 8 * column.low), high = *(const floats8 *)(line + 8 * column.high);
    return low + column.weight * (high - low);
}

INLINE floats4 fore_of(floats8 both) { return __builtin_shufflevector(both, both, 0, 1, 2, 3); }
INLINE floats4 back_of(floats8 both) { return __builtin_shufflevector(both, both, 4, 5, 6, 7); }

/* Average colours around every pixel of h x w words, weighted by the cube of alpha: as reference.weighted_blur.

   The colours are the picture's own, or those of `wide`, smaller fields that are enlarged and fused with it; with `inverted`,
   the weight is that of 1 - alpha. The result goes to every second four of `fields`, and the enlarged background to those
   behind. `scratch` has (2 * radius + 2) * (w + 2 * radius) * 4 floats, and 8 * wide_w more. */
INLINE void blur(const uint32_t *RESTRICT image, int h, int w, const float *RESTRICT wide, int wide_h, int wide_w,
                 int inverted, int radius, float *RESTRICT fields, floats4 *RESTRICT scratch) {
    int slots = 2 * radius + 1, across = w + 2 * radius;
    floats4 *line = scratch + (long)slots * across;
    float *wide_line = (float *)(line + across);
    memset(scratch, 0, sizeof(floats4) * (slots + 1) * across);
    for (int y = 0; y < h + radius; y++) {
        floats4 *fresh = scratch + (long)(y % slots) * across + radius;
        if (wide && y < h) field_row(wide, wide_w, place(y, (float)wide_h / h, wide_h), wide_line);
        for (int x = 0; x < w; x++) {
            floats4 result = {0, 0, 0, 0};
            if (y < h) {
                long at = (long)y * w + x;
                float alpha = (float)(int)(image[at] >> 24) * (1 / 255.0f);
                floats4 colours = colours_of(image[at]);
                if (wide) {
                    floats8 both = field_between(wide_line, place(x, (float)wide_w / w, wide_w));
                    *(floats4 *)(fields + 8 * at + 4) = back_of(both);
                    colours = fuse(colours, alpha, fore_of(both), back_of(both));
                    colours[3] = 1;
                }
                float weight = inverted ? 1 - alpha : alpha;
                result = colours * (weight * weight * weight);
            }
            fresh[x] = result;
        }
        int middle = y - radius;
        if (middle < 0) continue;
        for (int x = radius; x < radius + w; x++) {
            floats4 sum = scratch[x];
            for (int k = 1; k < slots; k++) sum += scratch[(long)k * across + x];
            line[x] = sum;
        }
        for (int x = 0; x < w; x++) {
            floats4 sum = line[x];
            for (int k = 1; k < slots; k++) sum += line[x + k];
            long at = (long)middle * w + x;
            *(floats4 *)(fields + 8 * at) = (sum + colours_of(image[at]) * 1e-3f) / (sum[3] + 1e-3f);
        }
    }
}

/* The first, wide pass over h x w words with alpha. */
API void wide_fields(const uint32_t *image, int h, int w, int radius, float *fields, void *scratch) {
    blur(image, h, w, 0, 0, 0, 0, radius, fields, scratch);
    blur(image, h, w, 0, 0, 0, 1, radius, fields + 4, scratch);
}

/* The second, narrow pass over h x w words, from the wide one's fields. */
API void narrow_fields(const uint32_t *image, int h, int w, int radius, const float *wide, int wide_h, int wide_w,
                       float *fields, void *scratch) {
    if (radius == USUAL_RADIUS)
        blur(image, h, w, wide, wide_h, wide_w, 0, USUAL_RADIUS, fields, scratch);
    else
        blur(image, h, w, wide, wide_h, wide_w, 0, radius, fields, scratch);
}

/* Whether `count` bytes of alpha, a multiple of 8, are all 0 or all 255. */
INLINE int is_plain(const uint8_t *alpha, int count) {
    uint64_t all = ~0ull, any = 0;
    for (int i = 0; i < count; i += 8) {
        uint64_t eight;
        memcpy(&eight, alpha + i, 8);
        all &= eight;
        any |= eight;
    }
    return !any || !~all;
}

/* Give the semi-transparent pixels of H x W words their foreground colour: as reference.decontaminate_band.

   `alpha` is the words' highest bytes, `fields` are of `narrow_fields`. `scratch` has 8 * w floats. */
API void decontaminate(uint32_t *RESTRICT picture, const uint8_t *RESTRICT alpha, int height, int width,
                       const float *RESTRICT fields, int h, int w, float *RESTRICT scratch) {
    float down = (float)h / height, across = (float)w / width;
    for (int y = 0; y < height; y++, picture += width, alpha += width) {
        int ready = 0;
        for (int x = 0; x < width; x++) {
            if (x + 32 <= width && is_plain(alpha + x, 32)) {
                x += 31;
                continue;
            }
            if (x + 8 <= width && is_plain(alpha + x, 8)) {
                x += 7;
                continue;
            }
            if ((uint8_t)(alpha[x] - 1) >= 254) continue;
            if (!ready) {
                field_row(fields, w, place(y, down, h), scratch);
                ready = 1;
            }
            floats8 both = field_between(scratch, place(x, across, w));
            uint32_t word = picture[x];
            float own = (float)(int)alpha[x] * (1 / 255.0f);
            floats4 result = fuse(colours_of(word), own, fore_of(both), back_of(both)) * 255.0f + 0.5f;
            bytes4 bytes = __builtin_convertvector(__builtin_convertvector(result, ints4), bytes4);
            bytes[3] = alpha[x];
            memcpy(picture + x, &bytes, 4);
        }
    }
}

/* The cell that names a cell's island. `labels` are 1 + the cell through which that is reached, itself in the end. */
INLINE int island_of(int32_t *RESTRICT labels, int cell) {
    while (labels[cell] != cell + 1) {
        labels[cell] = labels[labels[cell] - 1];
        cell = labels[cell] - 1;
    }
    return cell;
}

INLINE void unite(int32_t *RESTRICT labels, int a, int b) {
    if (!labels[b]) return;
    a = island_of(labels, a), b = island_of(labels, b);
    if (a < b) labels[b] = a + 1;
    else labels[a] = b + 1;
}

INLINE float number_at(const void *plane, long index, int bfloat16) {
    if (!bfloat16) return ((const float *)plane)[index];
    union { uint32_t bits; float number; } both = {(uint32_t)((const uint16_t *)plane)[index] << 16};
    return both.number;
}

/* Set logits h x w (even sides) on unsure islands to `clear`, in place: as islands.drop_unsure_islands.

   `scratch` has 4 * (h / 2) * (w / 2) numbers. */
API void drop_unsure_islands(void *RESTRICT logits, int h, int w, int bfloat16, float sure_logit, float share, float part,
                             float clear, int margin, int32_t *RESTRICT scratch) {
    int rows = h / 2, columns = w / 2, cells = rows * columns, largest = 0;
    int32_t *labels = scratch, *area = labels + cells, *sure = area + cells, *marks = sure + cells;
    for (int y = 0, cell = 0; y < rows; y++) {
        for (int x = 0; x < columns; x++, cell++) {
            area[cell] = sure[cell] = marks[cell] = labels[cell] = 0;
            for (int k = 0; k < 4; k++) {
                float logit = number_at(logits, (long)(2 * y + k / 2) * w + 2 * x + k % 2, bfloat16);
                area[cell] += logit > 0;
                sure[cell] += logit > sure_logit;
            }
            if (!area[cell]) continue;
            labels[cell] = cell + 1;
            if (x) unite(labels, cell, cell - 1);
            if (y) unite(labels, cell, cell - columns);
            if (y && x) unite(labels, cell, cell - columns - 1);
            if (y && x + 1 < columns) unite(labels, cell, cell - columns + 1);
        }
    }
    for (int cell = 0; cell < cells; cell++) {
        if (!labels[cell]) continue;
        int island = island_of(labels, cell);
        labels[cell] = island + 1;
        if (island == cell) continue;
        area[island] += area[cell];
        sure[island] += sure[cell];
    }
    for (int cell = 0; cell < cells; cell++)
        if (labels[cell] == cell + 1 && sure[cell] >= share * area[cell]) largest = larger(largest, area[cell]);
    if (!largest) return;
    for (int y = 0, cell = 0; y < rows; y++) {
        for (int x = 0; x < columns; x++, cell++) {
            if (!labels[cell]) continue;
            int island = labels[cell] - 1;
            int mark = sure[island] < share * area[island] && area[island] >= part * largest ? 1 : 2;
            for (int v = larger(0, y - margin); v <= smaller(rows - 1, y + margin); v++)
                for (int u = larger(0, x - margin); u <= smaller(columns - 1, x + margin); u++)
                    marks[v * columns + u] |= mark;
        }
    }
    union { float number; uint32_t bits; } cleared = {clear};
    for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
            if (marks[(y / 2) * columns + x / 2] != 1) continue;
            if (bfloat16) ((uint16_t *)logits)[(long)y * w + x] = (uint16_t)(cleared.bits >> 16);
            else ((float *)logits)[(long)y * w + x] = clear;
        }
    }
}
