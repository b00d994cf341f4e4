/* Loads and stores. */
#ifndef MEMORY_H
#define MEMORY_H

#include "unwritten.h"

static void note_undefined_stores(machine *m, const instruction *i, const access *x) {
    for (int64_t k = 0; k < x->count; k++) {
        const uint8_t origin = is_undefined(m, i, &i->b, 2, k);
        if (origin && (!x->mask || x->mask[k])) note_undefined(m, i, USE_STORE, x->pointers[k], origin);
    }
}

/* Of a load: lanes that got no value at all, or an undefined `other`. */
static void shade_load(machine *m, const instruction *i, const access *x) {
    int has_other = HAS(c), other_undefined = has_other && UNDEFINED(c);
    m->flags[i->out.flag] = (x->none || x->mask) && (!has_other || other_undefined);
    if (!m->flags[i->out.flag]) return;
    for (int64_t k = 0; k < x->count; k++) {
        int masked = x->none || !x->mask[k];
        SHADOW(i->out.offset, SIZE(0), k) = !masked ? 0 : has_other ? is_undefined(m, i, &i->c, 3, k) : MASKED_LANE;
    }
}

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
        if (m->allocations && !x.none) shade_unwritten(m, i, &x, sizeof(T));                                                     \
    }                                                                                                                            \
    static void store_##T(machine *m, const instruction *i) {                                                                    \
        const T *value = IN(T, b);                                                                                               \
        const int64_t step = i->b.column;                                                                                        \
        const access x = begin_access(m, i, &i->c, 3, sizeof(T), 1);                                                             \
        if (x.none) return;                                                                                                      \
        if (UNDEFINED(b)) note_undefined_stores(m, i, &x);                                                                       \
        if (m->allocations) mark_stored(m, i, &x, sizeof(T));                                                                    \
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

#define ROW_MEMORY(T) {"load." #T, load_##T, own_shadow}, {"store." #T, store_##T, own_shadow},
static const operation memory_operations[] = {
    ROW_MEMORY(i8) ROW_MEMORY(i16) ROW_MEMORY(i32) ROW_MEMORY(i64) {NULL, NULL, NULL}};

#endif
