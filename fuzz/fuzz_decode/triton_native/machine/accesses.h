/* Accesses of memory, each checked against the storages of the launch. */
#ifndef ACCESSES_H
#define ACCESSES_H

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

static void note_undefined(machine *m, const instruction *i, int use, int64_t pointer, int origin) {
    report *r = &m->report;
    r->undefined_elements++;
    for (int64_t k = 0; k < r->undefined_uses; k++)
        if (r->undefined[k].use == use && number_of(r->undefined[k].pointer) == number_of(pointer)) return;
    if (r->undefined_uses == MOST_USES) return;
    const int64_t k = r->undefined_uses++;
    r->undefined[k].use = use, r->undefined[k].pointer = pointer, r->undefined[k].origin = origin;
    r->undefined[k].program = m->program, r->undefined[k].instruction = i - m->code;
}

/* The shadow's byte of an operand's element; 0: it is defined */
INLINE uint8_t is_undefined(const machine *m, const instruction *i, const operand *o, int place, int64_t k) {
    return o->offset >= 0 && m->flags[o->flag] ? SHADOW(o->offset, SIZE(place), o->column ? k : 0) : 0;
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
        const int active = !x->none && (!x->mask || x->mask[k]);
        const uint8_t masks = is_undefined(m, i, mask, mask_place, k), addresses = is_undefined(m, i, &i->a, 1, k);
        if (masks) note_undefined(m, i, USE_MASK, x->pointers[k], masks);
        else if (active && addresses) note_undefined(m, i, USE_ADDRESS, x->pointers[k], addresses);
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

#define MASKED(k) (x.mask && !x.mask[k])

#endif
