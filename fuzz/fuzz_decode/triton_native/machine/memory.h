/* Loads, stores and atomic operations, each checked against the storages of the launch. */
#ifndef MEMORY_H
#define MEMORY_H

#include <stdlib.h>

#include "floats.h"

INLINE char *address(int64_t pointer) { return (char *)(intptr_t)(pointer & (((int64_t)1 << ADDRESS_BITS) - 1)); }
INLINE int64_t number_of(int64_t pointer) { return pointer >> ADDRESS_BITS; }

/* Whether `size` bytes at the pointer lie in its storage; a pointer without a number may point into any. */
static __attribute__((noinline)) int is_inside_anew(machine *m, int64_t pointer, int64_t size) {
    int64_t number = number_of(pointer), plain = (int64_t)(intptr_t)address(pointer);
    if (number > 0 && number <= m->tensors) {
        m->recent_start = (number << ADDRESS_BITS) + m->starts[number];
        m->recent_bytes = m->ends[number] - m->starts[number];
        return plain >= m->starts[number] && plain + size <= m->ends[number];
    }
    if (number == 0)
        for (int64_t k = 1; k <= m->storages; k++)
            if (plain >= m->starts[k] && plain + size <= m->ends[k]) return 1;
    return 0;
}
INLINE int is_inside(machine *m, int64_t pointer, int64_t size) {
    int64_t place = pointer - m->recent_start;
    return (place >= 0 && place <= m->recent_bytes - size) || is_inside_anew(m, pointer, size);
}

static void note_outside(machine *m, const instruction *i, int64_t pointer, int64_t size, int stored) {
    if (m->report.outside_elements++) return;
    m->report.outside_pointer = pointer;
    m->report.outside_program = m->program;
    m->report.outside_instruction = i - m->code;
    m->report.outside_size = size;
    m->report.outside_stored = stored;
}

static void note_undefined(machine *m, const instruction *i, int use, int64_t pointer) {
    if (m->report.undefined_elements++) return;
    m->report.undefined_use = use;
    m->report.undefined_pointer = pointer;
    m->report.undefined_program = m->program;
    m->report.undefined_instruction = i - m->code;
}

INLINE int is_undefined(const machine *m, const instruction *i, const operand *o, int place, int64_t k) {
    return o->offset >= 0 && m->flags[o->flag] && SHADOW(o->offset, SIZE(place), o->column ? k : 0);
}

/* An access of `count` elements: b is the mask, if there is one. Afterwards `active` says which of them are to be made. */
typedef struct {
    int64_t count;
    const int64_t *pointers;
    const i1 *mask; /* NULL: all */
    int none;       /* no lane is active */
} access;

static void note_undefined_uses(machine *m, const instruction *i, const access *x, const operand *mask, int mask_place) {
    for (int64_t k = 0; k < x->count; k++) {
        int active = !x->none && (!x->mask || x->mask[k]);
        if (is_undefined(m, i, mask, mask_place, k)) note_undefined(m, i, USE_MASK, x->pointers[k]);
        else if (active && is_undefined(m, i, &i->a, 1, k)) note_undefined(m, i, USE_ADDRESS, x->pointers[k]);
    }
}

static void keep_reads(machine *m, const access *x, int64_t size) {
    if (m->reads_count + x->count > m->reads_capacity) {
        int64_t capacity = 2 * m->reads_capacity + x->count + 4096;
        int64_t *grown = realloc(m->reads, capacity * sizeof *grown);
        if (!grown) return;
        m->reads = grown;
        m->reads_capacity = capacity;
    }
    for (int64_t k = 0; k < x->count; k++)
        if ((!x->mask || x->mask[k]) && is_inside(m, x->pointers[k], size))
            m->reads[m->reads_count++] = (int64_t)(intptr_t)address(x->pointers[k]);
}

static access begin_access(machine *m, const instruction *i, const operand *mask, int mask_place, int64_t size, int stored) {
    access x = {COUNT, IN(int64_t, a), NULL, 0};
    if (mask->offset >= 0) {
        const i1 *bits = (const i1 *)(m->frame + mask->offset);
        if (!mask->column) {
            x.none = !bits[0];
        } else {
            i1 all = 1, any = 0;
            for (int64_t k = 0; k < x.count; k++) all &= bits[k], any |= bits[k];
            if (!all) x.mask = bits;
            x.none = !any;
        }
    }
    if (m->flags[i->a.flag] || (mask->offset >= 0 && m->flags[mask->flag])) note_undefined_uses(m, i, &x, mask, mask_place);
    if (x.none) return x;
    if (m->keep_reads && !stored) keep_reads(m, &x, size);
    return x;
}

static void note_undefined_stores(machine *m, const instruction *i, const access *x) {
    for (int64_t k = 0; k < x->count; k++)
        if ((!x->mask || x->mask[k]) && is_undefined(m, i, &i->b, 2, k)) note_undefined(m, i, USE_STORE, x->pointers[k]);
}

/* Of a load: lanes that got no value at all, or an undefined `other`. */
static void shade_load(machine *m, const instruction *i, const access *x) {
    int has_other = HAS(c), other_undefined = has_other && UNDEFINED(c);
    m->flags[i->out.flag] = (x->none || x->mask) && (!has_other || other_undefined);
    if (!m->flags[i->out.flag]) return;
    for (int64_t k = 0; k < x->count; k++) {
        int masked = x->none || !x->mask[k];
        SHADOW(i->out.offset, SIZE(0), k) = masked && (!has_other || is_undefined(m, i, &i->c, 3, k));
    }
}

/* Lanes are handled in groups, since many are neighbours in memory, and many are masked together. */
enum { GROUP = 16 };
enum { NO_LANE, SOME_LANES, ALL_LANES };

INLINE int active_lanes(const access *x, int64_t first) {
    if (!x->mask) return ALL_LANES;
    i1 all = 1, any = 0;
    for (int k = 0; k < GROUP; k++) all &= x->mask[first + k], any |= x->mask[first + k];
    return all ? ALL_LANES : any ? SOME_LANES : NO_LANE;
}
INLINE int are_neighbours(const int64_t *pointers, int64_t size) {
    int64_t difference = 0;
    for (int k = 0; k < GROUP; k++) difference |= pointers[k] - (pointers[0] + k * size);
    return !difference;
}

#define MASKED(k) (x.mask && !x.mask[k])

#define DEFINE_MEMORY(T)                                                                                                         \
    INLINE void load_lane_##T(machine *m, const instruction *i, int64_t pointer, T *out) {                                       \
        if (is_inside(m, pointer, sizeof(T))) memcpy(out, address(pointer), sizeof(T));                                          \
        else *out = 0, note_outside(m, i, pointer, sizeof(T), 0);                                                                \
    }                                                                                                                            \
    INLINE void store_lane_##T(machine *m, const instruction *i, int64_t pointer, const T *value) {                              \
        if (is_inside(m, pointer, sizeof(T))) memcpy(address(pointer), value, sizeof(T));                                        \
        else note_outside(m, i, pointer, sizeof(T), 1);                                                                          \
    }                                                                                                                            \
    static void load_##T(machine *m, const instruction *i) {                                                                     \
        T *restrict out = OUT(T);                                                                                                \
        const T none = 0, *other = HAS(c) ? IN(T, c) : &none;                                                                    \
        const int64_t step = HAS(c) ? i->c.column : 0;                                                                           \
        const access x = begin_access(m, i, &i->b, 2, sizeof(T), 0);                                                             \
        shade_load(m, i, &x);                                                                                                    \
        int64_t k = 0;                                                                                                           \
        if (x.none)                                                                                                              \
            for (; k < x.count; k++) out[k] = other[k * step];                                                                   \
        for (; k + GROUP <= x.count; k += GROUP) {                                                                               \
            const int lanes = active_lanes(&x, k);                                                                               \
            if (lanes == NO_LANE)                                                                                                \
                for (int j = 0; j < GROUP; j++) out[k + j] = other[(k + j) * step];                                              \
            else if (lanes == ALL_LANES && are_neighbours(x.pointers + k, sizeof(T)) &&                                          \
                     is_inside(m, x.pointers[k], GROUP * sizeof(T)))                                                             \
                memcpy(out + k, address(x.pointers[k]), GROUP * sizeof(T));                                                      \
            else                                                                                                                 \
                for (int j = 0; j < GROUP; j++) {                                                                                \
                    if (MASKED(k + j)) out[k + j] = other[(k + j) * step];                                                       \
                    else load_lane_##T(m, i, x.pointers[k + j], out + k + j);                                                    \
                }                                                                                                                \
        }                                                                                                                        \
        for (; k < x.count; k++) {                                                                                               \
            if (MASKED(k)) out[k] = other[k * step];                                                                             \
            else load_lane_##T(m, i, x.pointers[k], out + k);                                                                    \
        }                                                                                                                        \
    }                                                                                                                            \
    static void store_##T(machine *m, const instruction *i) {                                                                    \
        const T *value = IN(T, b);                                                                                               \
        const int64_t step = i->b.column;                                                                                        \
        const access x = begin_access(m, i, &i->c, 3, sizeof(T), 1);                                                             \
        if (x.none) return;                                                                                                      \
        if (UNDEFINED(b)) note_undefined_stores(m, i, &x);                                                                       \
        int64_t k = 0;                                                                                                           \
        for (; step && k + GROUP <= x.count; k += GROUP) {                                                                       \
            const int lanes = active_lanes(&x, k);                                                                               \
            if (lanes == ALL_LANES && are_neighbours(x.pointers + k, sizeof(T)) &&                                               \
                is_inside(m, x.pointers[k], GROUP * sizeof(T)))                                                                  \
                memcpy(address(x.pointers[k]), value + k, GROUP * sizeof(T));                                                    \
            else if (lanes != NO_LANE)                                                                                           \
                for (int j = 0; j < GROUP; j++)                                                                                  \
                    if (!MASKED(k + j)) store_lane_##T(m, i, x.pointers[k + j], value + k + j);                                  \
        }                                                                                                                        \
        for (; k < x.count; k++)                                                                                                 \
            if (!MASKED(k)) store_lane_##T(m, i, x.pointers[k], value + k * step);                                               \
    }
DEFINE_MEMORY(i8)
DEFINE_MEMORY(i16)
DEFINE_MEMORY(i32)
DEFINE_MEMORY(i64)

static int is_reached(machine *m, const instruction *i, int64_t pointer, int64_t size) {
    int inside = is_inside(m, pointer, size);
    if (!inside) note_outside(m, i, pointer, size, 1);
    return inside;
}

/* out = old values; a: pointers, b: operands, c: mask, if there is one */
#define DEFINE_ATOMIC(NAME, T, VALUE, GET, PUT, EXPRESSION)                                                                      \
    static void atomic_##NAME##_##T(machine *m, const instruction *i) {                                                          \
        T *restrict out = OUT(T);                                                                                                \
        const T *values = IN(T, b);                                                                                              \
        int64_t step = i->b.column;                                                                                              \
        access x = begin_access(m, i, &i->c, 3, sizeof(T), 1);                                                                   \
        m->flags[i->out.flag] = x.none || x.mask;                                                                                \
        if (m->flags[i->out.flag])                                                                                               \
            for (int64_t k = 0; k < x.count; k++) SHADOW(i->out.offset, sizeof(T), k) = x.none || x.mask[k] == 0;                \
        for (int64_t k = 0; k < x.count; k++) {                                                                                  \
            T old = 0, new;                                                                                                      \
            if (!x.none && !MASKED(k)) {                                                                                         \
                if (UNDEFINED(b) && is_undefined(m, i, &i->b, 2, k)) note_undefined(m, i, USE_STORE, x.pointers[k]);             \
                if (is_reached(m, i, x.pointers[k], sizeof(T))) {                                                                                             \
                    memcpy(&old, address(x.pointers[k]), sizeof(T));                                                             \
                    const VALUE a = GET(old), b = GET(values[k * step]);                                                         \
                    (void)a, (void)b;                                                                                            \
                    new = (T)PUT(EXPRESSION);                                                                                    \
                    memcpy(address(x.pointers[k]), &new, sizeof(T));                                                             \
                }                                                                                                                \
            }                                                                                                                    \
            out[k] = old;                                                                                                        \
        }                                                                                                                        \
    }
#define INTEGER_ATOMICS(X, T)                                                                                                    \
    X(and, T, a &b) X(or, T, a | b) X(xor, T, a ^ b) X(add, T, (u##T)a + (u##T)b) X(exch, T, b)                                  \
    X(max, T, a > b ? a : b) X(min, T, a < b ? a : b) X(umax, T, (u##T)a > (u##T)b ? a : b) X(umin, T, (u##T)a < (u##T)b ? a : b)
#define VALUE_f16 float
#define VALUE_bf16 float
#define VALUE_f32 float
#define VALUE_f64 double
#define EACH_ATOMIC_FLOAT(DO, X) DO(X, f16) DO(X, bf16) DO(X, f32) DO(X, f64)
#define FLOAT_ATOMICS(X, T) X(fadd, T, a + b) X(exch, T, b)
#define DEFINE_INTEGER_ATOMIC(NAME, T, EXPRESSION) DEFINE_ATOMIC(NAME, T, T, , , EXPRESSION)
#define DEFINE_FLOAT_ATOMIC(NAME, T, EXPRESSION) DEFINE_ATOMIC(NAME, T, VALUE_##T, wide_##T, narrow_##T, EXPRESSION)
#define EACH_ATOMIC_INTEGER(DO, X) DO(X, i16) DO(X, i32) DO(X, i64)
EACH_ATOMIC_INTEGER(INTEGER_ATOMICS, DEFINE_INTEGER_ATOMIC)
EACH_ATOMIC_FLOAT(FLOAT_ATOMICS, DEFINE_FLOAT_ATOMIC)

/* out = old values; a: pointers, b: what is expected, c: what is stored if it is found */
#define DEFINE_EXCHANGE(T)                                                                                                       \
    static void atomic_cas_##T(machine *m, const instruction *i) {                                                               \
        static const operand no_mask = {-1, 0, 0, 0};                                                                            \
        T *restrict out = OUT(T);                                                                                                \
        access x = begin_access(m, i, &no_mask, 0, sizeof(T), 1);                                                                \
        for (int64_t k = 0; k < x.count; k++) {                                                                                  \
            T old = 0;                                                                                                           \
            if (is_undefined(m, i, &i->b, 2, k) || is_undefined(m, i, &i->c, 3, k))                                              \
                note_undefined(m, i, USE_STORE, x.pointers[k]);                                                                  \
            if (is_reached(m, i, x.pointers[k], sizeof(T))) {                                                                                                 \
                memcpy(&old, address(x.pointers[k]), sizeof(T));                                                                 \
                if (old == IN(T, b)[k * i->b.column]) memcpy(address(x.pointers[k]), IN(T, c) + k * i->c.column, sizeof(T));     \
            }                                                                                                                    \
            out[k] = old;                                                                                                        \
        }                                                                                                                        \
        m->flags[i->out.flag] = 0;                                                                                               \
    }
DEFINE_EXCHANGE(i16)
DEFINE_EXCHANGE(i32)
DEFINE_EXCHANGE(i64)

#define ROW_MEMORY(T) {"load." #T, load_##T, own_shadow}, {"store." #T, store_##T, own_shadow},
#define ROW_ATOMIC(NAME, T, EXPRESSION) {"atomic." #NAME "." #T, atomic_##NAME##_##T, own_shadow},
#define ROW_EXCHANGE(T) {"atomic.cas." #T, atomic_cas_##T, own_shadow},
static const operation memory_operations[] = {
    ROW_MEMORY(i8) ROW_MEMORY(i16) ROW_MEMORY(i32) ROW_MEMORY(i64)
    EACH_ATOMIC_INTEGER(INTEGER_ATOMICS, ROW_ATOMIC) EACH_ATOMIC_FLOAT(FLOAT_ATOMICS, ROW_ATOMIC)
    ROW_EXCHANGE(i16) ROW_EXCHANGE(i32) ROW_EXCHANGE(i64) {NULL, NULL, NULL}};

#endif
