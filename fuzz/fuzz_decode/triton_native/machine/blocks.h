/* Operations that move elements between places of blocks, and matrix products. */
#ifndef BLOCKS_H
#define BLOCKS_H

#include "memory.h"

/* copy: out is dense; extra[0]: the index in the tables of the rank, the shape and a's stride for each axis; extra[1]: a's first element.
 * Copies `size` bytes an element, from a frame or its shadow: there an element's byte is at the same offset. */

#define MAX_RANK 12

#define DEFINE_STRIDED(T)                                                                                                        \
    static void strided_##T(T *restrict out, const T *in, int rank, const int32_t *shape, const int32_t *strides) {              \
        int32_t index[MAX_RANK] = {0};                                                                                           \
        int64_t columns = rank ? shape[rank - 1] : 1, step = rank ? strides[rank - 1] : 1;                                       \
        for (;;) {                                                                                                               \
            if (step == 1) memcpy(out, in, columns * sizeof(T));                                                                 \
            else if (step == 0) { const T value = *in; for (int64_t k = 0; k < columns; k++) out[k] = value; }                   \
            else for (int64_t k = 0; k < columns; k++) out[k] = in[k * step];                                                    \
            out += columns;                                                                                                      \
            int axis = rank - 2;                                                                                                 \
            for (; axis >= 0; axis--) {                                                                                          \
                in += strides[axis];                                                                                             \
                if (++index[axis] < shape[axis]) break;                                                                          \
                in -= (int64_t)index[axis] * strides[axis];                                                                      \
                index[axis] = 0;                                                                                                 \
            }                                                                                                                    \
            if (axis < 0) return;                                                                                                \
        }                                                                                                                        \
    }
DEFINE_STRIDED(i8)
DEFINE_STRIDED(i16)
DEFINE_STRIDED(i32)
DEFINE_STRIDED(i64)

static void copy_within(machine *m, const instruction *i, char *frame) {
    const int32_t *table = m->tables + i->extra[0];
    int rank = table[0];
    const int32_t *shape = table + 1, *strides = shape + rank;
    char *out = frame + i->out.offset;
    const char *in = frame + i->a.offset + (int64_t)i->extra[1] * SIZE(0);
    switch (SIZE(0)) {
    case 1: strided_i8((i8 *)out, (const i8 *)in, rank, shape, strides); break;
    case 2: strided_i16((i16 *)out, (const i16 *)in, rank, shape, strides); break;
    case 4: strided_i32((i32 *)out, (const i32 *)in, rank, shape, strides); break;
    default: strided_i64((i64 *)out, (const i64 *)in, rank, shape, strides);
    }
}
static void copy(machine *m, const instruction *i) { copy_within(m, i, m->frame); }
static void shade_copy(machine *m, const instruction *i) { copy_within(m, i, m->shadow); }

/* move: a dense block */
static void move(machine *m, const instruction *i) { memcpy(OUT(char), IN(char, a), COUNT * SIZE(0)); }
static void shade_move(machine *m, const instruction *i) {
    memcpy(m->shadow + i->out.offset, m->shadow + i->a.offset, COUNT * SIZE(0));
}

/* concat: a's first extra[0] elements, then b's; interleave: a and b by turns */
static void concat_within(const instruction *i, char *frame) {
    int64_t size = SIZE(0), first = i->extra[0] * size;
    memcpy(frame + i->out.offset, frame + i->a.offset, first);
    memcpy(frame + i->out.offset + first, frame + i->b.offset, COUNT * size - first);
}
static void interleave_within(const instruction *i, char *frame) {
    int64_t size = SIZE(0), pairs = COUNT / 2;
    char *out = frame + i->out.offset;
    for (int64_t k = 0; k < pairs; k++) {
        memcpy(out + 2 * k * size, frame + i->a.offset + k * size, size);
        memcpy(out + (2 * k + 1) * size, frame + i->b.offset + k * size, size);
    }
}
/* The shadow of an operand without undefined lanes is not kept: it is cleared first. */
static void clear_unflagged(machine *m, const operand *o, int64_t bytes) {
    if (o->offset >= 0 && !m->flags[o->flag]) memset(m->shadow + o->offset, 0, bytes);
}
static void concat(machine *m, const instruction *i) { concat_within(i, m->frame); }
static void shade_concat(machine *m, const instruction *i) {
    clear_unflagged(m, &i->a, (int64_t)i->extra[0] * SIZE(0));
    clear_unflagged(m, &i->b, (COUNT - i->extra[0]) * SIZE(0));
    concat_within(i, m->shadow);
}
static void interleave(machine *m, const instruction *i) { interleave_within(i, m->frame); }
static void shade_interleave(machine *m, const instruction *i) {
    clear_unflagged(m, &i->a, COUNT / 2 * SIZE(0));
    clear_unflagged(m, &i->b, COUNT / 2 * SIZE(0));
    interleave_within(i, m->shadow);
}

/* range: extra[0], extra[0] + 1, ... */
static void range(machine *m, const instruction *i) {
    i32 *restrict out = OUT(i32);
    const i32 first = i->extra[0], count = (i32)COUNT;
    for (i32 k = 0; k < count; k++) out[k] = first + k;
}

/* gather: a is [outer, extra[0], inner], b and out are [outer, extra[1], inner], inner = extra[2]. An index outside gives 0, undefined. */
static int64_t gathered_from(machine *m, const instruction *i, int64_t k) {
    int64_t inner = i->extra[2], lane = k % inner, outer = k / inner / i->extra[1];
    int64_t index = SIZE(2) == 4 ? IN(i32, b)[k] : SIZE(2) == 8 ? IN(i64, b)[k] : SIZE(2) == 2 ? IN(i16, b)[k] : IN(i8, b)[k];
    return index < 0 || index >= i->extra[0] ? -1 : (outer * i->extra[0] + index) * inner + lane;
}
static void gather(machine *m, const instruction *i) {
    int64_t size = SIZE(0);
    int undefined = UNDEFINED(a) | UNDEFINED(b);
    for (int64_t k = 0; k < COUNT; k++) {
        int64_t from = gathered_from(m, i, k);
        if (from < 0) memset(OUT(char) + k * size, 0, size), undefined = 1;
        else memcpy(OUT(char) + k * size, IN(char, a) + from * size, size);
    }
    m->flags[i->out.flag] = (uint8_t)undefined;
    if (!undefined) return;
    for (int64_t k = 0; k < COUNT; k++) {
        int64_t from = gathered_from(m, i, k);
        SHADOW(i->out.offset, size, k) =
            from < 0 ? MASKED_LANE : either(is_undefined(m, i, &i->b, 2, k), is_undefined(m, i, &i->a, 1, from));
    }
}

/* histogram of a's extra[0] values, of those under the mask b if there is one */
static void histogram(machine *m, const instruction *i) {
    i32 *out = OUT(i32);
    memset(out, 0, COUNT * sizeof *out);
    uint8_t undefined = 0;
    for (int64_t k = 0; k < i->extra[0]; k++) {
        if (HAS(b) && !IN(i1, b)[k * i->b.column]) continue;
        uint64_t bin = SIZE(1) == 8 ? (uint64_t)IN(i64, a)[k] : (uint64_t)(int64_t)IN(i32, a)[k];
        undefined = either(undefined, is_undefined(m, i, &i->a, 1, k));
        if (bin < (uint64_t)COUNT) out[bin]++;
    }
    m->flags[i->out.flag] = undefined;
    if (undefined)
        for (int64_t k = 0; k < COUNT; k++) SHADOW(i->out.offset, 4, k) = undefined;
}

/* dot: out[batch, rows, columns] = a[batch, rows, inner] b[batch, inner, columns] + c; extra: batch, rows, inner, columns */

typedef float lanes __attribute__((vector_size(32)));
enum { LANES = 8, TILE_ROWS = 4, TILE_COLUMNS = 2 * LANES };
INLINE lanes lanes_at(const float *p) { lanes v; memcpy(&v, p, sizeof v); return v; }
INLINE lanes all_lanes(float x) { return (lanes){x, x, x, x, x, x, x, x}; }

/* out[4, 16] += a[4, inner] b[inner, 16] */
INLINE void product_of_tile(float *restrict out, const float *restrict a, const float *restrict b, int64_t inner, int64_t columns) {
    lanes left[TILE_ROWS], right[TILE_ROWS];
    for (int r = 0; r < TILE_ROWS; r++) left[r] = lanes_at(out + r * columns), right[r] = lanes_at(out + r * columns + LANES);
    for (int64_t k = 0; k < inner; k++) {
        const lanes b_left = lanes_at(b + k * columns), b_right = lanes_at(b + k * columns + LANES);
        for (int r = 0; r < TILE_ROWS; r++) {
            const lanes factor = all_lanes(a[r * inner + k]);
            left[r] += factor * b_left;
            right[r] += factor * b_right;
        }
    }
    for (int r = 0; r < TILE_ROWS; r++) {
        memcpy(out + r * columns, &left[r], sizeof(lanes));
        memcpy(out + r * columns + LANES, &right[r], sizeof(lanes));
    }
}

static void product_of_floats(float *restrict out, const float *restrict a, const float *restrict b, int64_t rows, int64_t inner,
                              int64_t columns) {
    const int64_t whole_rows = rows - rows % TILE_ROWS, whole_columns = columns - columns % TILE_COLUMNS;
    for (int64_t row = 0; row < whole_rows; row += TILE_ROWS)
        for (int64_t column = 0; column < whole_columns; column += TILE_COLUMNS)
            product_of_tile(out + row * columns + column, a + row * inner, b + column, inner, columns);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < inner; k++)
            for (int64_t c = row < whole_rows ? whole_columns : 0; c < columns; c++)
                out[row * columns + c] += a[row * inner + k] * b[k * columns + c];
}

#define DEFINE_WIDENING(T)                                                                                                       \
    static void widen_##T(float *restrict out, const char *in, int64_t count) {                                                  \
        const T *restrict values = (const T *)in;                                                                                \
        for (int64_t k = 0; k < count; k++) out[k] = wide_##T(values[k]);                                                        \
    }
DEFINE_WIDENING(f16)
DEFINE_WIDENING(bf16)
DEFINE_WIDENING(f32)
DEFINE_WIDENING(f8E4M3FN)
DEFINE_WIDENING(f8E5M2)
DEFINE_WIDENING(f8E4M3FNUZ)
DEFINE_WIDENING(f8E5M2FNUZ)
enum { TYPE_F16, TYPE_BF16, TYPE_F32, TYPE_F8E4M3FN, TYPE_F8E5M2, TYPE_F8E4M3FNUZ, TYPE_F8E5M2FNUZ, TYPE_F64, TYPE_I8 };
static void (*const widen[])(float *restrict, const char *, int64_t) = {
    widen_f16, widen_bf16, widen_f32, widen_f8E4M3FN, widen_f8E5M2, widen_f8E4M3FNUZ, widen_f8E5M2FNUZ};

/* Operands of any float type of at most 32 bits; the tables at extra[0] have batch, rows, inner, columns and the types of a, b and c. */
static void dot_floats(machine *m, const instruction *i) {
    const int32_t *table = m->tables + i->extra[0];
    const int64_t batch = table[0], rows = table[1], inner = table[2], columns = table[3];
    float *a = (float *)m->scratch, *b = a + rows * inner, *sums = b + inner * columns;
    for (int64_t k = 0; k < batch; k++) {
        const int64_t first = k * rows * columns;
        const float *left = IN(float, a) + k * rows * inner, *right = IN(float, b) + k * inner * columns;
        if (table[4] != TYPE_F32) widen[table[4]](a, IN(char, a) + k * rows * inner * SIZE(1), rows * inner), left = a;
        if (table[5] != TYPE_F32) widen[table[5]](b, IN(char, b) + k * inner * columns * SIZE(2), inner * columns), right = b;
        float *result = table[6] == TYPE_F32 ? OUT(float) + first : sums;
        if (i->c.column)
            widen[table[6]](result, IN(char, c) + first * SIZE(3), rows * columns);
        else {
            widen[table[6]](result, IN(char, c), 1);
            for (int64_t e = 1; e < rows * columns; e++) result[e] = result[0];
        }
        product_of_floats(result, left, right, rows, inner, columns);
        if (table[6] == TYPE_F16)
            for (int64_t e = 0; e < rows * columns; e++) OUT(f16)[first + e] = narrow_f16(sums[e]);
        else if (table[6] == TYPE_BF16)
            for (int64_t e = 0; e < rows * columns; e++) OUT(bf16)[first + e] = narrow_bf16(sums[e]);
    }
}

#define DEFINE_DOT(NAME, T, A)                                                                                                   \
    static void NAME(machine *m, const instruction *i) {                                                                         \
        const int32_t *table = m->tables + i->extra[0];                                                                          \
        const int64_t batch = table[0], rows = table[1], inner = table[2], columns = table[3];                                   \
        for (int64_t row = 0; row < batch * rows; row++) {                                                                       \
            T *restrict out = OUT(T) + row * columns;                                                                            \
            const A *restrict a = IN(A, a) + row * inner, *restrict b = IN(A, b) + row / rows * inner * columns;                 \
            for (int64_t c = 0; c < columns; c++) out[c] = IN(T, c)[(row * columns + c) * i->c.column];                          \
            for (int64_t k = 0; k < inner; k++)                                                                                  \
                for (int64_t c = 0; c < columns; c++) out[c] += (T)a[k] * (T)b[k * columns + c];                                 \
        }                                                                                                                        \
    }
DEFINE_DOT(dot_integers, ui32, i8)
DEFINE_DOT(dot_doubles, double, double)

/* Whether a dot's operand is 0: then no finite value of the other operand matters. */
static i1 is_zero(int type, const char *element) {
    if (type == TYPE_I8) return !*element;
    if (type == TYPE_F64) return *(const double *)element == 0;
    float value;
    widen[type](&value, element, 1);
    return value == 0;
}

/* An operand's shadow, and which of its elements are defined and 0 */
static void find_lanes(const machine *m, const instruction *i, const operand *o, int place, int type, int64_t first, int64_t count,
                       uint8_t *undefined, i1 *zero) {
    for (int64_t k = 0; k < count; k++) {
        undefined[k] = is_undefined(m, i, o, place, first + k);
        zero[k] = !undefined[k] && is_zero(type, m->frame + o->offset + (first + k) * SIZE(place));
    }
}

static void shade_dot(machine *m, const instruction *i) {
    const int32_t *table = m->tables + i->extra[0];
    const int64_t batch = table[0], rows = table[1], inner = table[2], columns = table[3];
    i1 *undefined_a = (i1 *)m->scratch, *zero_a = undefined_a + rows * inner;
    i1 *undefined_b = zero_a + rows * inner, *zero_b = undefined_b + inner * columns, *lanes = zero_b + inner * columns;
    for (int64_t n = 0; n < batch; n++) {
        find_lanes(m, i, &i->a, 1, table[4], n * rows * inner, rows * inner, undefined_a, zero_a);
        find_lanes(m, i, &i->b, 2, table[5], n * inner * columns, inner * columns, undefined_b, zero_b);
        for (int64_t row = 0; row < rows; row++) {
            const int64_t first = (n * rows + row) * columns;
            for (int64_t c = 0; c < columns; c++) lanes[c] = is_undefined(m, i, &i->c, 3, first + c);
            for (int64_t k = 0; k < inner; k++) {
                const uint8_t a = undefined_a[row * inner + k], counts = zero_a[row * inner + k] ? 0 : 255;
                const i1 *restrict b = undefined_b + k * columns, *restrict zero = zero_b + k * columns;
                for (int64_t c = 0; c < columns; c++) lanes[c] = either(lanes[c], either(zero[c] ? 0 : a, b[c] & counts));
            }
            for (int64_t c = 0; c < columns; c++) SHADOW(i->out.offset, SIZE(0), first + c) = lanes[c];
        }
    }
}

static const operation block_operations[] = {{"copy", copy, shade_copy},
                                             {"move", move, shade_move},
                                             {"concat", concat, shade_concat},
                                             {"interleave", interleave, shade_interleave},
                                             {"range", range, NULL},
                                             {"gather", gather, own_shadow},
                                             {"histogram", histogram, own_shadow},
                                             {"dot.floats", dot_floats, shade_dot},
                                             {"dot.integers", dot_integers, shade_dot},
                                             {"dot.doubles", dot_doubles, shade_dot},
                                             {NULL, NULL, NULL}};

#endif
