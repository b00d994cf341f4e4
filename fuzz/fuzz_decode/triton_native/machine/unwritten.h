/* Memory that the target allocated and that nothing may have written: each of its bytes has a mark, which kernels' stores remove. */
#ifndef UNWRITTEN_H
#define UNWRITTEN_H

#include "accesses.h"

enum { WRITTEN, NEVER_WRITTEN, UNDEFINED_STORED }; /* marks */

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

/* The number of the storage at the pointer, if parts of that may not be written; 0: all are */
static int64_t allocation_at(const machine *m, int64_t pointer) {
    int64_t number = number_of(pointer), plain = (int64_t)(intptr_t)address(pointer);
    if (number == 0)
        for (number = m->storages; number > 0 && (plain < m->starts[number] || plain >= m->ends[number]);) number--;
    else if (number > m->tensors) return 0;
    return number > 0 && number <= LAST_UNWRITTEN - UNWRITTEN && m->allocations[number].marks ? number : 0;
}
INLINE uint8_t *marks_at(const machine *m, int64_t number, int64_t pointer) {
    return m->allocations[number].marks + ((int64_t)(intptr_t)address(pointer) - m->starts[number]);
}

/* Whether no byte has a value. One that is marked as never written, but not what it was filled with, was written by somebody. */
static int is_unwritten(const machine *m, int64_t number, int64_t pointer, int64_t size) {
    const uint8_t *marks = marks_at(m, number, pointer), *bytes = (const uint8_t *)address(pointer);
    for (int64_t k = 0; k < size; k++)
        if (marks[k] == WRITTEN || (marks[k] == NEVER_WRITTEN && bytes[k] != m->allocations[number].fill)) return 0;
    return 1;
}

/* Lane k of the result has what the memory at the pointer holds, which is no value. */
static void shade_lane(machine *m, const instruction *i, int64_t k, int64_t number, int64_t pointer) {
    allocation *a = m->allocations + number;
    if (!a->mark) a->mark = *marks_at(m, number, pointer), a->program = m->program, a->instruction = i - m->code;
    if (!m->flags[i->out.flag])
        for (int64_t lane = 0; lane < COUNT; lane++) SHADOW(i->out.offset, SIZE(0), lane) = 0;
    m->flags[i->out.flag] = 1;
    SHADOW(i->out.offset, SIZE(0), k) = (uint8_t)(UNWRITTEN + number);
}

/* A group of lanes is that of one range of an allocation: all are active, and neighbours. Returns the range's marks, or NULL. */
static uint8_t *marks_of_group(machine *m, const access *x, int64_t first, int64_t size) {
    const int64_t pointer = x->pointers[first];
    if (first + GROUP > x->count || active_lanes(x, first) != ALL_LANES || !are_neighbours(x->pointers + first, size)) return NULL;
    const int64_t number = is_inside(m, pointer, GROUP * size) ? allocation_at(m, pointer) : 0;
    return number ? marks_at(m, number, pointer) : NULL;
}

static int all_written(const uint8_t *marks, int64_t count) {
    uint8_t any = WRITTEN;
    for (int64_t k = 0; k < count; k++) any |= marks[k];
    return any == WRITTEN;
}

/* Of a load, whose lanes nearly always are in one tensor: in that of the first one. */
static __attribute__((noinline)) void shade_unwritten(machine *m, const instruction *i, const access *x, int64_t size) {
    if (number_of(x->pointers[0]) && !allocation_at(m, x->pointers[0])) return;
    for (int64_t k = 0; k < x->count; k++) {
        const uint8_t *marks = k % GROUP ? NULL : marks_of_group(m, x, k, size);
        if (marks && all_written(marks, GROUP * size)) {
            k += GROUP - 1;
            continue;
        }
        const int64_t pointer = x->pointers[k], number = !x->mask || x->mask[k] ? allocation_at(m, pointer) : 0;
        if (number && is_inside(m, pointer, size) && is_unwritten(m, number, pointer, size)) shade_lane(m, i, k, number, pointer);
    }
}

INLINE int in_one_storage(const access *x) {
    int64_t difference = 0;
    for (int64_t k = 0; k < x->count; k++) difference |= x->pointers[k] ^ x->pointers[0];
    return !number_of(difference);
}

/* Of a store. What is undefined stays so in memory. */
static __attribute__((noinline)) void mark_stored(machine *m, const instruction *i, const access *x, int64_t size) {
    if (number_of(x->pointers[0]) && in_one_storage(x) && !allocation_at(m, x->pointers[0])) return;
    for (int64_t k = 0; k < x->count; k++) {
        uint8_t *marks = k % GROUP || UNDEFINED(b) ? NULL : marks_of_group(m, x, k, size);
        if (marks) {
            memset(marks, WRITTEN, GROUP * size);
            k += GROUP - 1;
            continue;
        }
        const int64_t pointer = x->pointers[k], number = !x->mask || x->mask[k] ? allocation_at(m, pointer) : 0;
        if (number && is_inside(m, pointer, size))
            memset(marks_at(m, number, pointer), is_undefined(m, i, &i->b, 2, k) ? UNDEFINED_STORED : WRITTEN, size);
    }
}

/* Of an atomic operation, before it is done; keeps: the new value depends on the old one; undefined: it depends on another one. */
static __attribute__((noinline)) void mark_updated(machine *m, const instruction *i, int64_t k, int64_t pointer, int64_t size,
                                                   int keeps, int undefined) {
    const int64_t number = allocation_at(m, pointer);
    if (!number) return;
    const int old = is_unwritten(m, number, pointer, size);
    if (old) shade_lane(m, i, k, number, pointer);
    memset(marks_at(m, number, pointer), undefined || (old && keeps) ? UNDEFINED_STORED : WRITTEN, size);
}

#endif
